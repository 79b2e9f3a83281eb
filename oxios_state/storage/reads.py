"""Reading a file, unless what it holds is known: a reader takes no lock, and finds the old content or the new one."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from oxios_state.errors import CorruptStateError
from oxios_state.storage import tree as files
from oxios_state.storage.revisions import NO_FILE, identity_of, is_settled

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from oxios_state.storage.revisions import Identity

_LISTINGS = 2
_LONGEST_TICK, _TOUCH_EVERY = 0.1, 0.001  # seconds
_TRIES = 20  # of reading what another machine replaces meanwhile
_PAUSE = 0.005  # seconds before what a list has, and is not found, is looked for again; `announce` ends that in a tick
_LOOK = os.O_RDONLY | files.COMMON | getattr(os, "O_DIRECTORY", 0)
_on_nfs: dict[tuple[int, int], bool] = {}  # by device, whose number may be used again, and inode of a directory
_READ = os.O_RDONLY | files.COMMON | files.NO_WAIT


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
    for _ in range(_TRIES - 1):
        try:
            found = _read_unknown(path, known)
            if found is not None or not _is_listed(path):
                return found
            time.sleep(_PAUSE)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            _names(files.parent(path))  # an NFS client knew a file by this name that is gone: listing, it looks again
    return _read_unknown(path, known)


def _read_unknown(path: Path, known: Container[Identity | None]) -> tuple[bytes | None, Identity | None] | None:
    look_at(files.parent(path))
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
    look_at(directory)
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


def look_at(directory: Path) -> None:
    """Have a network file system ask the server whether what it knows of the names in *directory* is still true.

    NFS does when a directory is opened ("close-to-open consistency", nfs(5)), and a local file system opens one in two
    microseconds. What does not exist is looked for again from above.
    """
    while True:
        try:
            os.close(os.open(directory, _LOOK))
        except FileNotFoundError:
            if directory.parent != directory:
                directory = files.parent(directory)
                continue
        except OSError:
            pass  # it may not be opened, as a directory or at all: what is done in it says so, or works
        return


def is_there(path: Path) -> bool:
    """Say whether there is anything at *path*.

    Raises:
        OSError: If that cannot be told.
    """
    look_at(files.parent(path))
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return _is_listed(path)
    return True


@contextmanager
def in_step(directory: Path) -> Iterator[None]:
    """Be in step with other machines: know what they did in a directory, and have them know what the block does.

    The caller holds the directory's lock, and gives it back after the block.
    """
    catch_up(directory)
    try:
        yield
    finally:
        announce(directory)


def catch_up(directory: Path) -> None:
    """See what other machines have done in a directory, whose lock the caller has just taken.

    Readers, who open the directory, see that. But of two mounts of one machine (``nosharecache``) an NFS server takes
    what one does for known to the other, and recalls nothing; listing the directory, a client looks again.
    """
    look_at(directory)
    if _is_on_nfs(directory):
        _names(directory)


def announce(directory: Path) -> None:
    """Have other machines notice what was done in a directory, whose lock the caller is about to give back.

    NFS 3, and 4 from a server that does not count changes, tell a change by its time (ctime), which is the tick of the
    server's clock: of two in one tick, a client that has seen the first never sees the second. So the directory is
    touched until its time is another than that of the last change.
    """
    if not _is_on_nfs(directory):
        return
    with suppress(OSError):  # such as that it is gone: what was done is done
        descriptor = os.open(directory, _LOOK)
        try:
            changed, until = os.fstat(descriptor).st_ctime_ns, time.monotonic() + _LONGEST_TICK
            while os.fstat(descriptor).st_ctime_ns == changed and time.monotonic() < until:
                time.sleep(_TOUCH_EVERY)
                os.utime(descriptor)
        finally:
            os.close(descriptor)


def _is_listed(path: Path) -> bool:
    """Say whether there is a file all the same that NFS could not find.

    A client that looks for it while another replaces it may take it for absent, until it lists the directory (seen with
    Linux 6.1, of two mounts of one machine, once in some thousand times).
    """
    directory = files.parent(path)
    if _is_on_nfs(directory):
        for _ in range(_LISTINGS):
            look_at(directory)
            if path.name in _names(directory):
                return True
    return False


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []  # what is done in it next says what is wrong with it


def _is_on_nfs(directory: Path) -> bool:
    try:
        status = os.stat(directory)
    except OSError:
        return False
    key = status.st_dev, status.st_ino
    if key not in _on_nfs:
        from oxios_state.storage import nfs as mounts

        mount = mounts.mount_of(status.st_dev)
        _on_nfs[key] = mount is not None and mount.is_nfs
    return _on_nfs[key]


def is_file(path: Path) -> bool:
    """Say whether there is a regular file at *path*, or at what it links to.

    Raises:
        OSError: If that cannot be told; `os.path.isfile` would say that there is none.
    """
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            raise
        return False
