"""The sessions that a store used last, kept in memory within a bound, for as long as their files do not change.

A kept session is never handed out: callers get copies, which share only the records, and these cannot be changed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from oxios_state.codec.incremental import LEAST_PER_BYTE, MOST_PER_BYTE, SessionText, memory_of
from oxios_state.storage import forks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oxios_state.model.revision import Identity
    from oxios_state.model.session import Session

_OVERHEAD = 3000  # bytes that a kept session takes beside what its document contains
_NOTHING = SessionText(b"", {}, b"", exact=False)


class _Kept(NamedTuple):
    """A kept session: the identity of its file, and the session or its text.

    Attributes:
        memory: How much memory it takes at most, in bytes.
        rough: Whether that follows from the size of the file alone.
    """

    identity: Identity
    image: Session | SessionText
    memory: int
    rough: bool


class SessionCache:
    """Sessions by the path of their file and its identity, the most recently used last.

    Each is kept as it was loaded, or as it was saved: as text, if decoding that returns other types, such as a list for
    a tuple.

    Args:
        limit: How much memory the kept sessions, and what `reserve` reserves, may take together, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._reserved = 0
        self._reset()
        forks.reset_in_children(self, SessionCache._reset)

    def _reset(self) -> None:
        self._lock = threading.RLock()  # re-entrant for a signal handler, which runs in the thread that it interrupts
        self._busy = False
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._cost = 0
        self._rough: list[str] = []  # the paths of sessions that may not be measured yet

    def get(self, path: Path) -> tuple[Identity | None, Session | SessionText]:
        """Return the identity of a session's file and what was kept of it; no identity if nothing was."""
        kept = self._kept.get(str(path))
        return (kept.identity, kept.image) if kept else (None, _NOTHING)

    def put(self, path: Path, identity: Identity | None, image: Session | SessionText) -> None:
        """Keep a session, if its identity can be trusted, in place of what was kept of it before."""
        self._change(lambda: self._replace(str(path), identity, image))

    def reserve(self, memory: int) -> bool:
        """Reserve memory for what is kept elsewhere, in place of what was reserved before.

        Returns:
            Whether it fits; sessions make room. If not, nothing is reserved.
        """

        def change() -> None:
            self._reserved = memory if memory <= self.limit else 0
            self._evict()

        return self._change(change) and memory <= self.limit

    def _change(self, change: Callable[[], None]) -> bool:
        """Change what is kept, and return whether that was possible."""
        with self._lock:
            if self._busy:
                return False  # in a signal handler, which interrupted this method
            try:
                self._busy = True
                change()
            except BaseException:  # an interrupt, at any point
                self._cost = 0  # first, or a second interrupt could leave a cost without anything kept
                self._kept.clear()
                raise
            finally:
                self._busy = False
            return True

    def _replace(self, path: str, identity: Identity | None, image: Session | SessionText) -> None:
        before = self._kept.pop(path, None)
        self._drop(before)
        if identity is not None:
            kept = before if before and before.image is image else self._measured(identity, image)
            if kept.memory <= self.limit - self._reserved:
                self._kept[path] = kept
                self._cost += kept.memory
                if kept.rough:
                    self._rough.append(path)
        self._evict()

    def _measured(self, identity: Identity, image: Session | SessionText) -> _Kept:
        """Return a session with the memory that it takes: roughly, unless it matters, as that takes no time."""
        room = self.limit - self._reserved
        most = _OVERHEAD + MOST_PER_BYTE * identity[2]
        if most <= room or _OVERHEAD + LEAST_PER_BYTE * identity[2] > room:
            return _Kept(identity, image, most, rough=True)
        return _Kept(identity, image, _memory_of(image), rough=False)

    def _evict(self) -> None:
        """Make room if there is none: measure what is not measured yet, then drop what was not used for longest."""
        room = self.limit - self._reserved
        if self._cost > room:
            self._measure()
        while self._cost > room:
            self._drop(self._kept.popitem(last=False)[1])

    def _measure(self) -> None:
        rough, self._rough = self._rough, []
        for path in rough:
            kept = self._kept.get(path)
            if kept and kept.rough:
                memory = _memory_of(kept.image)
                self._kept[path] = kept._replace(memory=memory, rough=False)
                self._cost += memory - kept.memory

    def _drop(self, kept: _Kept | None) -> None:
        if kept is not None:
            self._cost -= kept.memory


def _memory_of(image: Session | SessionText) -> int:
    source: Any = image if isinstance(image, SessionText) else image._source
    text = source if isinstance(source, SessionText) else source.text
    return _OVERHEAD + (text.memory if isinstance(text, SessionText) else sum(map(memory_of, text)))
