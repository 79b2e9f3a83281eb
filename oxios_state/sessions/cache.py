"""The sessions that a store used last, kept in memory within a bound, for as long as their files do not change.

A kept session is never handed out: callers get copies, which share only the records, and these cannot be changed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from oxios_state.codec.incremental import SessionText
from oxios_state.storage import forks

if TYPE_CHECKING:
    from pathlib import Path

    from oxios_state.model.revision import Identity
    from oxios_state.model.session import Session

# The memory that a kept session takes: a constant, and a factor for each byte of its document. Measured: many small
# objects, as the kernel or this library write them, take the factor; text with an emoji takes 6, most sessions 2 to 4.
# Documents without spaces and line breaks, as others may write them, can take 20.
_OVERHEAD = 3000
_PER_BYTE = 8
_NOTHING = SessionText(b"", {}, b"", exact=False)


class SessionCache:
    """Sessions by the path of their file and its identity, the most recently used last.

    Each is kept as it was loaded, or as it was saved: as text, if decoding that returns other types, such as a list for
    a tuple.

    Args:
        limit: How much memory the kept sessions may take, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._reset()
        forks.reset_in_children(self, SessionCache._reset)

    def _reset(self) -> None:
        self._lock = threading.RLock()  # re-entrant for a signal handler, which runs in the thread that it interrupts
        self._busy = False
        self._kept: OrderedDict[str, tuple[Identity, Session | SessionText]] = OrderedDict()
        self._cost = 0

    def get(self, path: Path) -> tuple[Identity | None, Session | SessionText]:
        """Return the identity of a session's file and what was kept of it; no identity if nothing was."""
        return self._kept.get(str(path), (None, _NOTHING))

    def put(self, path: Path, identity: Identity | None, image: Session | SessionText) -> None:
        """Keep a session, if its identity can be trusted, in place of what was kept of it before."""
        with self._lock:
            if self._busy:
                return  # in a signal handler, which interrupted this method
            try:
                self._busy = True
                self._replace(str(path), identity, image)
            except BaseException:  # an interrupt, at any point
                self._cost = 0  # first, or a second interrupt could leave a cost without anything kept
                self._kept.clear()
                raise
            finally:
                self._busy = False

    def _replace(self, path: str, identity: Identity | None, image: Session | SessionText) -> None:
        self._drop(self._kept.pop(path, None))
        if identity is not None and _cost(identity) <= self.limit:
            self._kept[path] = identity, image
            self._cost += _cost(identity)
        while self._cost > self.limit:
            self._drop(self._kept.popitem(last=False)[1])

    def _drop(self, kept: tuple[Identity, Session | SessionText] | None) -> None:
        if kept is not None:
            self._cost -= _cost(kept[0])


def _cost(identity: Identity) -> int:
    return _OVERHEAD + _PER_BYTE * identity[2]
