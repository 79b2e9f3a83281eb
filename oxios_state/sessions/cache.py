"""The sessions that a store handled last, kept for as long as their files are what they were, within a bound on memory.

What is kept is never handed out: each caller gets a session of its own, which shares nothing with it but the records,
and these cannot be changed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import attrs

from oxios_state.codec import documents as codec
from oxios_state.codec import incremental as sessiontext
from oxios_state.codec.incremental import SessionText
from oxios_state.model.immutable import freeze, thaw
from oxios_state.model.session import Session
from oxios_state.storage import forks as forking
from oxios_state.storage import reads as reading
from oxios_state.storage.revisions import Revision

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oxios_state.storage.revisions import Identity

# What a kept session takes in memory: so much, and so much for each byte of its document. Measured: for what the kernel
# or this library wrote it is the most, which many small objects take; text with an emoji takes 6 bytes for one, most
# sessions 2 to 4. What others write without spaces and line breaks may take 20.
_OVERHEAD = 3000
_PER_BYTE = 8
_NOTHING = SessionText(b"", {}, b"", exact=False)


class RecentSessions:
    """Loads sessions, and keeps them.

    Args:
        limit: How much memory they may take, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._start_afresh()
        forking.in_children(self, RecentSessions._start_afresh)

    def __reduce__(self) -> tuple[Any, ...]:
        return RecentSessions, (self.limit,)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()  # for the handler of a signal that comes while its thread has it
        self._busy = False
        # What a file of this identity holds, the latest last: as it was loaded, or as it was saved.
        self._kept: OrderedDict[str, tuple[Identity, Session | SessionText]] = OrderedDict()
        self._cost = 0

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

    def keep(self, path: Path, revision: Revision, image: Session | SessionText) -> None:
        """Keep the `image_of` a session that was just saved."""
        if isinstance(image, Session):
            image.revision = revision
        self._put(path, revision.identity, image)

    def known(self, path: Path) -> Identity | None:
        """Give the identity under which a session is kept, if it is."""
        return self._get(path)[0]

    def _get(self, path: Path) -> tuple[Identity | None, Session | SessionText]:
        return self._kept.get(str(path), (None, _NOTHING))

    def _put(self, path: Path, identity: Identity | None, what: Session | SessionText) -> None:
        with self._lock:
            if self._busy:
                return  # in a signal handler: what it interrupted goes on later
            self._busy = True
            try:
                self._replace(str(path), identity, what)
            except BaseException:  # an interrupt from the keyboard, wherever it comes
                self._kept.clear()
                self._cost = 0
                raise
            finally:
                self._busy = False

    def _replace(self, path: str, identity: Identity | None, what: Session | SessionText) -> None:
        self._drop(self._kept.pop(path, None))
        if identity is not None and _cost(identity) <= self.limit:
            self._kept[path] = identity, what
            self._cost += _cost(identity)
        while self._cost > self.limit:
            self._drop(self._kept.popitem(last=False)[1])

    def _drop(self, kept: tuple[Identity, Session | SessionText] | None) -> None:
        if kept is not None:
            self._cost -= _cost(kept[0])


def _cost(identity: Identity) -> int:
    return _OVERHEAD + _PER_BYTE * identity[2]


def image_of(session: Session, path: Path) -> tuple[SessionText, Session | SessionText]:
    """Write a session: its text, and what is to be kept of it once that is saved.

    Both are of the same moment: whoever shares it with another thread may change it while it is saved.

    Raises:
        UnsupportedValueError: If the kernel could not read it back.
    """
    image = _twin(session, freeze)
    text = sessiontext.encode(image, path)
    return text, image if text.is_exact else text


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
