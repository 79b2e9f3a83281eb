"""What a file held at one moment, and whether it still does: mostly told from its identity, without reading it.

A file system stamps a change with the tick of a clock that stands still for some milliseconds, so two changes may get
the same stamps, and the inode of a replaced file is used again at once. Hence two rules. The identity of a file that
was read is trusted only if its last change was then long enough ago (git calls the others "racily clean"). A file that
this library writes gets a modification time that no other write would give it, so its identity is trusted at once.
"""

from __future__ import annotations

import os
import sys
import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Identity = tuple[int, int, int, int, int]
"""Device, inode, size in bytes, modification time and change time in nanoseconds."""
NO_FILE: Identity = (0, 0, 0, 0, 0)
UNKNOWN = b""
"""The digest of a content that was not kept: an empty file's is another."""

_SECOND = 10**9  # nanoseconds
_TICK = _SECOND // 10  # longer than the tick of any system's clock, and some more for that of a file server
_COARSE_TICK = 21 * _SECOND // 10  # FAT keeps every other second
_WINDOWS = sys.platform == "win32"
_MICROSECOND = 1000  # nanoseconds
_KEPT = 100  # nanoseconds: what NTFS and SMB keep of a time


def identity_of(status: os.stat_result) -> Identity:
    """Give the identity of a file."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_settled(identity: Identity, now: int) -> bool:
    """Say whether the next change will show in the identity.

    Args:
        identity: What was found at *now* or later.
        now: The time in nanoseconds, from before the file was looked at.
    """
    changed = identity[3] if _WINDOWS else identity[4]  # Windows has the time of creation there
    return now - changed > (_TICK if changed % _SECOND else _COARSE_TICK)


def mark(descriptor: int, token: int) -> int | None:
    """Give an open file a modification time, a moment ago, that no other write would give it.

    Args:
        descriptor: The file, completely written.
        token: A random number.

    Returns:
        The time in nanoseconds, for `is_marked`; None where that is not possible.
    """
    if os.utime not in os.supports_fd:
        return None
    # Never a whole microsecond, even when cut: what keeps no less of a time, where many are the same, shows it altered.
    below = _KEPT + token % (_MICROSECOND - _KEPT)
    moment = (time.time_ns() // _MICROSECOND - 1 - token // _MICROSECOND % 2**13) * _MICROSECOND + below
    try:
        os.utime(descriptor, ns=(moment, moment))
    except OSError:
        return None  # a file system without it: its files are compared by what they hold
    return moment


def is_marked(status: os.stat_result, marked: int) -> bool:
    """Say whether a file still has its mark."""
    return status.st_mtime_ns in {marked, marked // _KEPT * _KEPT}


class Revision:
    """What the store saw in a file: to be compared with what is there later. Immutable.

    Args:
        identity: The file's identity then, if it can be trusted.
        content: What it held, in pieces.
        digest: What stands for the content, if that is known; `UNKNOWN` if that is not, which no content is like.
    """

    __slots__ = ("_digest", "content", "identity")

    def __init__(self, identity: Identity | None, content: Iterable[bytes], digest: bytes | None = None) -> None:
        self.identity = identity
        self.content = content
        self._digest = digest

    def __repr__(self) -> str:
        return f"Revision({self.identity})"

    def __copy__(self) -> Revision:
        return self

    def __deepcopy__(self, _: object) -> Revision:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Revision, (self.identity, (), self.digest)

    @property
    def digest(self) -> bytes:
        """What stands for the content: equal for equal bytes, and practically only for these."""
        if self._digest is None:
            self._digest = _digest(self.content)
        return self._digest

    def slim(self) -> Revision:
        """Give this without the content: told from the identity alone, if that can be trusted, else from the digest."""
        return Revision(self.identity, (), self.digest if self.identity is None else UNKNOWN)

    def holds(self, raw: bytes) -> bool:
        """Say whether this is the revision of a file that holds *raw*."""
        return _digest((raw,)) == self.digest


def _digest(pieces: Iterable[bytes]) -> bytes:
    total = blake2b(digest_size=16)
    for piece in pieces:
        total.update(piece)
    return total.digest()
