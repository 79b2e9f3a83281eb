"""The operating system: which one it is, how files are opened safely there, and how they reach the disk."""

from __future__ import annotations

import errno
import os
import sys
import time
from importlib import import_module
from typing import Any

WINDOWS = sys.platform == "win32"

BINARY = getattr(os, "O_BINARY", 0)  # Windows only. Python itself keeps descriptors from child processes
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO would wait for its other end
DIRECTORY = os.O_RDONLY | BINARY | getattr(os, "O_DIRECTORY", 0)
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY
READ = os.O_RDONLY | BINARY

_fcntl: Any = None if WINDOWS else import_module("fcntl")

# Errors of file systems that have no F_FULLFSYNC, such as SMB.
_NO_FULL_SYNC = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.ENOSYS}

# Linux takes a lease away 45 s after the first attempt to open the file (/proc/sys/fs/lease-break-time).
_LEASE_TIMEOUT = 60.0  # seconds
_LEASE_POLL = 0.01  # seconds


def open_file(path: str | os.PathLike[str], flags: int, mode: int = 0o777) -> int:
    """Open a file without waiting for the other end of a FIFO, and return its descriptor.

    Another process may hold a lease on the file, as file servers such as Samba do. Opening asks it to give the lease
    up, and waits for that, as a plain ``open`` would.

    Raises:
        BlockingIOError: If the lease was not given up within a minute.
        OSError: If the file cannot be opened.
    """
    deadline: float | None = None
    while True:
        try:
            return os.open(path, flags | NO_WAIT, mode)
        except BlockingIOError:
            # Tried again, and not opened without NO_WAIT: a FIFO may have taken the place of the file.
            now = time.monotonic()
            deadline = now + _LEASE_TIMEOUT if deadline is None else deadline
            if now >= deadline:
                raise
            time.sleep(_LEASE_POLL)


def sync(descriptor: int) -> None:
    """Write an open file or directory to the disk. Not to be repeated after an error: pages may have been dropped.

    On macOS ``fsync`` reaches the drive's cache only, and F_FULLFSYNC the disk: see fcntl(2) there. As SQLite does, it
    falls back to ``fsync`` where the file system refuses F_FULLFSYNC.

    Raises:
        OSError: If that fails.
    """
    full_sync = getattr(_fcntl, "F_FULLFSYNC", None)
    if full_sync is not None:
        try:
            _fcntl.fcntl(descriptor, full_sync)
        except OSError as error:
            if error.errno not in _NO_FULL_SYNC:
                raise
        else:
            return
    os.fsync(descriptor)
