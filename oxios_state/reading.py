"""Reading a file, unless what it holds is known: a reader takes no lock, and finds the old content or the new one."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING

from oxios_state import files
from oxios_state.errors import CorruptStateError
from oxios_state.revisions import NO_FILE, identity_of, is_settled

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from oxios_state.revisions import Identity

_READ = os.O_RDONLY | files.COMMON | getattr(os, "O_NONBLOCK", 0)  # a FIFO would have its reader wait for a writer


def read(path: Path) -> bytes | None:
    """Read a file; None if there is none.

    Raises:
        CorruptStateError: If it is not a regular file.
        OSError: If it cannot be read.
    """
    found = read_unknown(path)
    return None if found is None else found[0]


def read_unknown(path: Path, known: Container[Identity | None] = ()) -> tuple[bytes | None, Identity | None] | None:
    """Read a file as `read` does, unless its identity is *known*: that stands for its content.

    Returns:
        The content, None if it was not read; and the identity, None if that cannot be trusted.
    """
    now = time.time_ns()
    try:
        # Opened, not just asked for its status: a network file system then looks whether what it knows is still true.
        descriptor = _open(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise CorruptStateError(path, "a socket, not a regular file") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CorruptStateError(path, "not a regular file")
        identity = identity_of(status)
        if identity in known:
            return None, identity
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            content = file.read()
        trusted = is_settled(identity, now) and len(content) == status.st_size
        return content, identity if trusted else None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, _READ | files.NO_LINK)
    except OSError:
        if not os.path.islink(path):
            raise
        return os.open(path, _READ)  # `Tree` has looked where it leads


def identity(path: Path) -> Identity:
    """Give the identity of a file: of a link or of what is not there, one that is no file's."""
    try:
        return identity_of(os.lstat(path))
    except OSError:
        return NO_FILE


def identities(directory: Path, extension: str) -> list[tuple[str, Identity]]:
    """Give the names of a directory's files with *extension*, in no order, each with its identity; none without it.

    A link, and what goes meanwhile, has an identity that is no file's.
    """
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                if name.endswith(extension) and name != extension:
                    try:
                        # On Windows an entry's own status has no inode.
                        status = os.lstat(entry) if files.WINDOWS else entry.stat(follow_symlinks=False)
                    except OSError:
                        found.append((name, NO_FILE))
                    else:
                        found.append((name, identity_of(status)))
    except FileNotFoundError:
        pass
    return found
