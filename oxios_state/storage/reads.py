"""Reading files. A reader takes no lock: it finds the old content or the new one, and skips content that it knows."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING

from oxios_state.errors import CorruptStateError
from oxios_state.storage import nfs, system
from oxios_state.storage.revisions import NO_FILE, identity_of, is_settled
from oxios_state.storage.tree import MAX_FILE_BYTES, naming

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from oxios_state.model.revision import Identity

_MORE = 2**16  # bytes that are read at once from a file that grows
_TRIES = 20  # while another machine replaces the file
_PAUSE = 0.005  # seconds before a file that is listed but was not found is looked for again


def read(path: Path, limit: int = MAX_FILE_BYTES) -> bytes | None:
    """Return the content of a file; None if it does not exist.

    Raises:
        CorruptStateError: If it is not a regular file, or larger than *limit*, in bytes.
        OSError: If it cannot be read.
    """
    result = read_unless_known(path, limit=limit)
    return None if result is None else result[0]


def read_unless_known(
    path: Path, known: Container[Identity | None] = (), limit: int = MAX_FILE_BYTES
) -> tuple[bytes | None, Identity | None] | None:
    """Read a file as `read` does, unless its identity is *known*, which stands for its content.

    Returns:
        The content, None if it was not read; and the identity, None if that cannot be trusted. None if there is no
        file.
    """
    for _ in range(_TRIES - 1):
        try:
            result = _read_once(path, known, limit)
            if result is not None or not nfs.is_listed(path):
                return result
            time.sleep(_PAUSE)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            nfs.listing(path.parent)  # an NFS client had cached a file that is gone: listing makes it ask again
    return _read_once(path, known, limit)


def _read_once(
    path: Path, known: Container[Identity | None], limit: int
) -> tuple[bytes | None, Identity | None] | None:
    nfs.revalidate(path.parent)
    now = time.time_ns()
    try:
        # Opening, unlike asking for the status, makes a network file system check its cache.
        descriptor = _open(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise CorruptStateError(path, "a socket, not a regular file") from None
    try:
        with naming(path):
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise CorruptStateError(path, "not a regular file")
            identity = identity_of(status)
            if identity in known:
                return None, identity
            refuse_size(path, status.st_size, limit)
            try:
                content = _content(descriptor, status.st_size, limit)
            except MemoryError:
                reason = f"not enough memory for {status.st_size} bytes; max_file_bytes={limit} allows them"
                raise OSError(errno.ENOMEM, reason) from None
            refuse_size(path, len(content), limit)  # it has grown meanwhile
            trusted = is_settled(identity, now) and len(content) == status.st_size
            return content, identity if trusted else None
    finally:
        os.close(descriptor)


def refuse_size(path: Path, size: int, limit: int) -> None:
    """Raise an error for a file that is too large to be read.

    Raises:
        CorruptStateError: If *size* is more than *limit*, in bytes.
    """
    if size > limit:
        raise CorruptStateError(path, f"{size} bytes, more than max_file_bytes={limit}, so it is not read")


def _content(descriptor: int, size: int, limit: int) -> bytes:
    """Return the content of an open file, or its beginning if that is more than *limit*.

    Args:
        descriptor: The file.
        size: Its size; more than it has if it shrinks meanwhile, less if it grows, and 0 in some virtual file systems.
        limit: The largest content, in bytes.
    """
    pieces = []
    total = 0
    while total <= limit:
        expected = size + 1 - total if total <= size else _MORE
        piece = os.read(descriptor, min(expected, limit + 1 - total))
        if not piece:
            break
        pieces.append(piece)
        total += len(piece)
    return b"".join(pieces)


def _open(path: Path) -> int:
    try:
        return system.open_file(path, system.READ | system.NO_LINK)
    except OSError:
        if not os.path.islink(path):
            raise
        return system.open_file(path, system.READ)  # `Tree` has checked where the link leads


def identity(path: Path) -> Identity:
    """Return the identity of a file; `NO_FILE` if it is missing."""
    try:
        return identity_of(os.lstat(path))
    except OSError:
        return NO_FILE


def is_there(path: Path) -> bool:
    """Return whether *path* exists, whatever it is.

    Raises:
        OSError: If the system cannot tell.
    """
    nfs.revalidate(path.parent)
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return nfs.is_listed(path)
    return True


def is_file(path: Path) -> bool:
    """Return whether *path* is a regular file, or a link to one.

    Raises:
        OSError: If the system cannot tell; `os.path.isfile` would return False.
    """
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            raise
        return False
