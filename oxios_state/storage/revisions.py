"""File identities: whether a file still has the content that it had, mostly told without reading it.

A file system stamps a change with the tick of a clock that stands still for some milliseconds, so two changes may get
the same stamps, and the inode of a replaced file is reused at once. Hence two rules. The identity of a file that was
read is trusted only if its last change was long enough ago (git calls the others "racily clean"). A file that this
library writes has a modification time that no other write would set, so its identity is trusted at once.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from oxios_state.storage import system

if TYPE_CHECKING:
    from oxios_state.model.revision import Identity

NO_FILE: Identity = (0, 0, 0, 0, 0)
"""The identity of a missing file, or of a link."""

_SECOND = 10**9  # nanoseconds
_TICK = _SECOND // 10  # longer than the tick of any system's clock, with a margin for that of a file server
_COARSE_TICK = 21 * _SECOND // 10  # FAT keeps every other second
_MICROSECOND = 1000  # nanoseconds
_RESOLUTION = 100  # nanoseconds: that of times on NTFS and SMB


def identity_of(status: os.stat_result) -> Identity:
    """Return the identity of a file."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_settled(identity: Identity, now: int) -> bool:
    """Return whether the next change of a file will show in its identity.

    Args:
        identity: The identity, read at *now* or later.
        now: The time in nanoseconds, from before the file was looked at.
    """
    changed = identity[3] if system.WINDOWS else identity[4]  # the other is the time of creation on Windows
    return now - changed > (_TICK if changed % _SECOND else _COARSE_TICK)


def mark(descriptor: int, token: int) -> int | None:
    """Set the modification time of an open file to a recent time that no other write would set.

    Args:
        descriptor: The file, completely written.
        token: A random number.

    Returns:
        The time in nanoseconds, for `is_marked`; None where the system cannot set it.
    """
    if os.utime not in os.supports_fd:
        return None
    # Never a whole microsecond, even when truncated: a file system of a coarser resolution then shows it altered.
    below = _RESOLUTION + token % (_MICROSECOND - _RESOLUTION)
    moment = (time.time_ns() // _MICROSECOND - 1 - token // _MICROSECOND % 2**13) * _MICROSECOND + below
    try:
        os.utime(descriptor, ns=(moment, moment))
    except OSError:
        return None  # the file system cannot: its files are compared by content
    return moment


def is_marked(status: os.stat_result, marked: int) -> bool:
    """Return whether a file still has its mark."""
    return status.st_mtime_ns in {marked, marked // _RESOLUTION * _RESOLUTION}
