"""Moving files between directories, also between file systems: there by a copy that is synced before the file goes."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from oxios_state.storage import locks, revisions, system
from oxios_state.storage.names import OWN_PREFIX
from oxios_state.storage.revisions import identity_of
from oxios_state.storage.tree import link, naming, remove, sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oxios_state.storage.tree import Tree

_CHUNK = 2**20  # bytes


def move(tree: Tree, path: Path, target: Path) -> bool:
    """Move a file as `Tree.move` does, and between file systems by a copy.

    The copy has the mode and the times, and where that is permitted the owner and the extended attributes. It is
    complete and synced before it gets its name, and *path* is removed only if it is still what was copied.

    Returns:
        Whether it is gone from *path*: the kernel, which takes no locks, may have saved it again.

    Raises:
        InvalidNameError: If *target* is *path* by another name.
        FileExistsError: If there is another file at *target*. If it is the same file, or between file systems one of
            the same content, only *path* is removed.
        OSError: If it cannot be moved. It is at *path*, and if only its removal failed, at *target* too.
    """
    try:
        return tree.move(path, target)
    except FileExistsError:  # Linux looks for that first
        if os.lstat(path).st_dev == os.lstat(target.parent).st_dev:
            raise
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    _Copy(tree, path, target).move()
    return not os.path.lexists(path)


class _Copy:
    """A move by a copy.

    Args:
        tree: The directories of the store.
        path: A file, link, directory or special file.
        target: Where it goes.
    """

    def __init__(self, tree: Tree, path: Path, target: Path) -> None:
        self._tree = tree
        self._path = path
        self._target = target
        # The name of a temporary file: a sweep removes it if this process dies.
        self._temporary = target.with_name(f"{OWN_PREFIX}.{os.urandom(8).hex()}.tmp")
        self._descriptor = -1  # of the temporary file, if that is a regular file: its writer locks it
        # The copied files, directories before their contents, each with a test of whether it is still the same.
        self._copied: list[tuple[Path, Callable[[], bool]]] = []

    def move(self) -> None:
        if os.path.lexists(self._target):
            self._take_leftover()
        else:
            try:
                self._copy(self._path, self._temporary)
                self._publish()
            finally:
                self._close()
                remove_all(self._temporary)
        self._tree.sync(self._target.parent, f"{self._target.name} is there")
        for path, is_unchanged in reversed(self._copied):
            with suppress(FileNotFoundError):
                if is_unchanged():
                    _remove(path)

    def _take_leftover(self) -> None:
        """Take a file of the same content for the copy that an interrupted move left.

        Raises:
            FileExistsError: If it is another.
        """
        if not (_is_regular(self._path) and _is_regular(self._target) and same_content(self._path, self._target)):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self._target))
        self._copied.append((self._path, lambda: same_content(self._path, self._target)))
        sync_file(self._tree, self._target)

    def _copy(self, path: Path, copy: Path) -> None:
        now = time.time_ns()
        status = os.lstat(path)
        identity = identity_of(status)
        is_settled = revisions.is_settled(identity, now)
        final = self._target / copy.relative_to(self._temporary)

        def is_unchanged() -> bool:
            return identity_of(os.lstat(path)) == identity and (is_settled or same_content(path, final))

        if stat.S_ISREG(status.st_mode):
            self._copied.append((path, is_unchanged))
            with naming(path):
                self._copy_content(path, copy, status)
            return
        self._copied.append((path, lambda: stat.S_IFMT(os.lstat(path).st_mode) == stat.S_IFMT(status.st_mode)))
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(copy, 0o700)
            for name in os.listdir(path):
                self._copy(path / name, copy / name)
        elif stat.S_ISLNK(status.st_mode):
            leads_to = os.readlink(path)
            os.symlink(leads_to, copy)
            self._copied[-1] = path, lambda: os.path.islink(path) and os.readlink(path) == leads_to
        else:
            os.mknod(copy, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev)
        _copy_status(path, copy, status)
        if stat.S_ISDIR(status.st_mode) and self._tree.durable:
            sync_directory(copy)

    def _copy_content(self, path: Path, copy: Path, status: os.stat_result) -> None:
        descriptor = os.open(copy, system.CREATE, 0o600)
        if copy == self._temporary:
            self._descriptor = descriptor  # it is closed later, as that unlocks the file
            locks.try_lock(descriptor, str(copy))
        try:
            with open(path, "rb", buffering=0, opener=_open) as source:
                before = identity_of(os.fstat(source.fileno()))
                while chunk := source.read(_CHUNK):
                    view = memoryview(chunk)
                    while view:
                        view = view[os.write(descriptor, view) :]
                after = identity_of(os.fstat(source.fileno()))
            if not before == after == identity_of(status):
                raise OSError(errno.EAGAIN, "somebody saves it while it is moved")
            _copy_status(path, copy, status)
            if self._tree.durable:
                system.sync(descriptor)
        finally:
            if descriptor != self._descriptor:
                os.close(descriptor)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _publish(self) -> None:
        """Rename the copy to its final name, which must be free."""
        if system.WINDOWS:
            self._close()
        if not link(self._temporary, self._target):
            if os.path.lexists(self._target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self._target))
            os.rename(self._temporary, self._target)


def sync_file(tree: Tree, path: Path) -> None:
    """Make the content of a file that another process wrote survive a power cut."""
    if tree.durable:
        with naming(path), open(path, "rb", opener=_open) as file:
            system.sync(file.fileno())


def same_content(path: Path, other: Path) -> bool:
    """Return whether two regular files have the same bytes."""
    with naming(path), open(path, "rb", opener=_open) as one, open(other, "rb", opener=_open) as two:
        if os.fstat(one.fileno()).st_size != os.fstat(two.fileno()).st_size:
            return False
        while chunk := one.read(_CHUNK):
            if chunk != two.read(len(chunk)):
                return False
    return True


def _open(path: str, _: int) -> int:
    return system.open_file(path, system.READ | system.NO_LINK)


def _is_regular(path: Path) -> bool:
    return stat.S_ISREG(os.lstat(path).st_mode)


def _copy_status(path: Path, copy: Path, status: os.stat_result) -> None:
    """Set a copy's owner, mode, times and extended attributes to those of its original, as far as the system permits.

    Without the owner or the group, the bits that would then be another's are dropped.
    """
    mode = stat.S_IMODE(status.st_mode)
    if not system.WINDOWS:
        try:
            os.chown(copy, status.st_uid, status.st_gid, follow_symlinks=False)
        except PermissionError:
            mode &= 0o700
    if mode == stat.S_IMODE(status.st_mode):
        shutil.copystat(path, copy, follow_symlinks=False)
    else:
        os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
        os.chmod(copy, mode)


def _remove(path: Path) -> None:
    if _is_directory(path):
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:  # else something was saved into it meanwhile
                raise
    else:
        os.unlink(path)


def remove_all(path: Path) -> bool:
    """Remove a file, or a directory with its contents, and return whether it existed."""
    if not _is_directory(path):
        return remove(path)
    shutil.rmtree(path)
    return True


def _is_directory(path: Path) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
