"""The sessions that a store handled last, kept for as long as their files are what they were, within a bound on memory.

What is kept is never handed out: each caller gets a session of its own, which shares nothing with it but the records,
and these cannot be changed.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import attrs

from oxios_state import codec, reading
from oxios_state.frozen import freeze, thaw
from oxios_state.model import Session
from oxios_state.revisions import Revision
from oxios_state.sessiontext import SessionText

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oxios_state.revisions import Identity

_COST = 5  # bytes of memory for each byte of a document: measured, for its text and the objects made of it
_NOTHING = SessionText(b"", {}, b"", exact=False)


class RecentSessions:
    """Loads sessions, and keeps them.

    Args:
        limit: How much memory they may take, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._forget()

    def __reduce__(self) -> tuple[Any, ...]:
        return RecentSessions, (self.limit,)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        # What a file of this identity holds, the latest last: as it was loaded, or as it was saved.
        self._kept: OrderedDict[str, tuple[Identity, Session | SessionText]] = OrderedDict()
        self._cost = 0
        self._pid = os.getpid()  # last, for who sees it to see the new lock

    def _forget_if_forked(self) -> None:
        if self._pid != os.getpid():  # a thread that is not here may hold the lock
            self._forget()

    def load(self, path: Path) -> Session | None:
        """Load a session, from its file or as it was kept; None if there is none.

        Raises:
            CorruptStateError: If it is not a session, or not the one that its file's name says.
            OSError: If it cannot be read.
        """
        known, kept = self._get(path)
        found = reading.read_unknown(path, (known,))
        if found is None:
            return None
        raw, identity = found
        if raw is not None:
            session = codec.decode_named(raw, path)
            session.revision = Revision(identity, (raw,))
        elif isinstance(kept, SessionText):
            # What a file gives may differ from what was put into it: a tuple comes back as a list.
            session, text = kept.decode(path)
            session.revision = Revision(identity, text)
        else:
            self._put(path, identity, kept)  # as the latest
            return _twin(kept, thaw)
        self._put(path, identity, _twin(session, freeze))
        return session

    def keep(self, path: Path, session: Session) -> None:
        """Keep a session that was just saved."""
        if session.revision is not None and isinstance(session.revision.content, SessionText):
            text = session.revision.content
            self._put(path, session.revision.identity, _twin(session, freeze) if text.is_exact else text)

    def known(self, path: Path) -> Identity | None:
        """Give the identity under which a session is kept, if it is."""
        return self._get(path)[0]

    def _get(self, path: Path) -> tuple[Identity | None, Session | SessionText]:
        self._forget_if_forked()
        return self._kept.get(str(path), (None, _NOTHING))

    def _put(self, path: Path, identity: Identity | None, what: Session | SessionText) -> None:
        self._forget_if_forked()
        with self._lock:
            self._drop(self._kept.pop(str(path), None))
            if identity is not None and identity[2] * _COST <= self.limit:
                self._kept[str(path)] = identity, what
                self._cost += identity[2] * _COST
            while self._cost > self.limit:
                self._drop(self._kept.popitem(last=False)[1])

    def _drop(self, kept: tuple[Identity, Session | SessionText] | None) -> None:
        if kept is not None:
            self._cost -= kept[0][2] * _COST


_MEMBERS = [vars(Session)[field.name] for field in attrs.fields(Session)]


def _twin(session: Session, convert: Callable[[Any], Any]) -> Session:
    """Make a session with lists of its own, and what is free-form in it converted."""
    twin = object.__new__(Session)
    for member in _MEMBERS:  # past the validators, which looked at all this before
        member.__set__(twin, member.__get__(session))
    for name in codec.RECORDS:
        object.__setattr__(twin, name, getattr(session, name).copy())
    object.__setattr__(twin, "metadata", convert(session.metadata))
    object.__setattr__(twin, "extra", convert(session.extra))
    return twin
