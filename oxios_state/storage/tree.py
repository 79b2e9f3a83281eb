"""The directories below one base: opening, listing and creating them, moving and removing files, syncing names."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from oxios_state.errors import DurabilityError, InvalidNameError, reason_of
from oxios_state.storage import names, nfs, system
from oxios_state.storage.names import FOREIGN_PREFIXES, NOT_CATEGORIES, OWN_PREFIX
from oxios_state.storage.revisions import NO_FILE, identity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oxios_state.model.revision import Identity

# Errors of file systems without hard links: Linux's own, FUSE, servers; and of a file that has too many.
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}
MAX_FILE_BYTES = 2**30
"""The size of the largest file that a store reads and writes, by default."""

_BEGINNING = 4096  # bytes of a file that tell whose it is
_MOUNT_POINT = " (a file that is a mount point, as in a container, cannot be replaced: mount its directory instead)"
_RELATIVE = {os.stat, os.unlink} <= os.supports_dir_fd


class Directory:
    """A category's directory, which need not exist. `Tree.open` returns it and has checked the links on the way.

    Attributes:
        path: The directory.
    """

    def __init__(self, tree: Tree, path: Path) -> None:
        self._tree = tree
        self.path = path
        self._descriptor: int | None = None

    def file(self, file_name: str) -> Path:
        """Return the path of a file in the directory, which need not exist.

        Raises:
            InvalidNameError: If it is a symbolic link that leads outside the base.
        """
        path = join(self.path, file_name)
        self._tree.refuse_link_outside(path)
        return path

    def documents(self) -> list[str]:
        """Return the file names of the documents, in no order; none if the directory does not exist.

        Symbolic links that lead outside the base are left out.
        """
        nfs.revalidate(self.path)
        try:
            with os.scandir(self.path) as entries:
                return [entry.name for entry in entries if names.is_document(entry.name) and self._is_file(entry)]
        except FileNotFoundError:
            return []

    def _is_file(self, entry: os.DirEntry[str]) -> bool:
        try:
            self._tree.refuse_link_outside(Path(entry))
            return entry.is_file()
        except (InvalidNameError, OSError):  # OSError: links that lead in a circle
            return False

    def identities(self, extension: str) -> list[tuple[str, Identity]]:
        """Return the names of the files with *extension* and their identities, in no order; none without the directory.

        The identity of a link, or of a file that vanishes meanwhile, is that of no file.
        """
        nfs.revalidate(self.path)
        identities = []
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    name = entry.name
                    # Few names begin with a dot, so that one comparison does for most.
                    if name.endswith(extension) and (name[0] != "." or names.is_document(name)):
                        try:
                            # On Windows an entry's own status has no inode.
                            status = os.lstat(entry) if system.WINDOWS else entry.stat(follow_symlinks=False)
                        except OSError:
                            identities.append((name, NO_FILE))
                        else:
                            identities.append((name, identity_of(status)))
        except FileNotFoundError:
            pass
        return identities

    def remove(self, file_name: str) -> bool:
        """Remove a file and return whether it existed. It stays removed after a power cut once `sync` returned."""
        return remove(join(self.path, file_name))

    def remove_if(self, file_name: str, identity: Identity | None) -> bool:
        """Remove a file if it has this identity, and return whether it was removed.

        A file that cannot be removed counts as one of another identity: the caller looks closer, for an error with the
        whole path. Relative to the open directory, this takes three quarters of the time of whole paths.
        """
        if not _RELATIVE:
            return False
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, system.DIRECTORY)
            status = os.stat(file_name, dir_fd=self._descriptor, follow_symlinks=False)
            if identity_of(status) != identity:
                return False
            os.unlink(file_name, dir_fd=self._descriptor)
        except OSError:
            return False
        return True

    def sync(self, done: str) -> None:
        """Make the changes of names in the directory survive a power cut, as `Tree.sync` does."""
        self._tree.sync(self.path, done)

    def close(self) -> None:
        """Close the descriptor, if one was opened."""
        if self._descriptor is not None:
            os.close(self._descriptor)


class Tree:
    """The directories and files below a base directory. Nothing is created before the first write.

    Args:
        base: The base directory, absolute.
        durable: Whether changes are synced, to survive a power cut.
        read_only: Whether every change is refused.
        max_file_bytes: The size of the largest file that is read or written.
    """

    def __init__(
        self, base: Path, *, durable: bool, read_only: bool = False, max_file_bytes: int = MAX_FILE_BYTES
    ) -> None:
        self.base = base
        self.durable = durable
        self.read_only = read_only
        self.max_file_bytes = max_file_bytes
        self._synced: set[Path] = set()  # directories that a power cut does not undo
        self._own_created: set[Path] = set()

    def without_syncs(self) -> Tree:
        """Return this tree for files that need not survive a power cut."""
        return Tree(self.base, durable=False, read_only=self.read_only, max_file_bytes=self.max_file_bytes)

    def refuse_change(self) -> None:
        """Raise an error if the store is read-only.

        Raises:
            OSError: If it is; EROFS, with the base directory.
        """
        if self.read_only:
            reason = "the store is read-only: it was created with read_only=True"
            raise OSError(errno.EROFS, reason, str(self.base))

    @property
    def own(self) -> Path:
        """The directory of the library's own files."""
        return join(self.base, OWN_PREFIX)

    @contextmanager
    def open(self, category: str) -> Iterator[Directory]:
        """Open a category's directory, which need not exist.

        Raises:
            InvalidNameError: If a symbolic link on the way leads outside the base.
        """
        directory = Directory(self, self._directory(category))
        try:
            yield directory
        finally:
            directory.close()

    def _directory(self, category: str) -> Path:
        path = self.base
        for component in category.split("/"):
            path = join(path, component)
            self.refuse_link_outside(path)
        return path

    def real_category(self, category: str) -> str:
        """Return the category that *category* is when links are followed: two names of a directory share a lock."""
        path = self.base
        if not any(os.path.islink(path := join(path, component)) for component in category.split("/")):
            return category
        directory = self._directory(category)
        return Path(os.path.realpath(directory)).relative_to(os.path.realpath(self.base)).as_posix()

    def refuse_link_outside(self, path: Path) -> None:
        """Raise an error for a symbolic link that leads outside the base.

        Raises:
            InvalidNameError: If *path* is one.
        """
        if os.path.islink(path):
            base = os.path.realpath(self.base)
            if os.path.commonpath([base, os.path.realpath(path)]) != base:
                raise InvalidNameError(f"a symbolic link that leads outside {self.base}: {path}")

    def refuse_outside(self, path: Path) -> None:
        """Raise an error for a path that is neither a category nor in one.

        Raises:
            ValueError: If it leads outside the base, or into the library's own directory.
        """
        parts = path.parts[len(self.base.parts) :]
        if self.base not in path.parents or ".." in parts or parts[0] == OWN_PREFIX:
            raise ValueError(f"not a document of {self.base}: {path}")
        for parent in path.parents[: len(parts) - 1]:
            self.refuse_link_outside(parent)

    def move(self, path: Path, target: Path) -> bool:
        """Move a file into another directory; a power cut leaves it in one of them, or in both.

        On a file system without hard links, and for anything but a regular file, a power cut may also lose it.

        Returns:
            Whether it is gone from *path*: the kernel, which takes no locks, may have saved it again.

        Raises:
            InvalidNameError: If *target* is *path* by another name.
            FileExistsError: If there is another file at *target*. If it is the same file, only *path* is removed.
        """
        self.refuse_change()
        self.make_directory(target.parent)
        if path.name == target.name and os.path.samefile(path.parent, target.parent):
            raise InvalidNameError(f"a file cannot be moved to where it is: {target}")
        linked = link(path, target)
        if not linked:
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            os.rename(path, target)
        self.sync(target.parent, f"{target.name} is there")
        try:
            if linked and os.path.samefile(path, target):
                os.unlink(path)
            return not os.path.lexists(path)
        except FileNotFoundError:
            return True

    def sync(self, directory: Path, done: str) -> None:
        """Make the changes of names in a directory survive a power cut.

        Raises:
            DurabilityError: If it could not be synced; *done* says which changes were made all the same.
        """
        if not self.durable:
            return
        try:
            sync_directory(directory)
        except OSError as error:
            reason = f"{done}, but a power cut could undo it: {reason_of(error)}"
            if error.errno is None:  # an error of a program, not of the system
                raise DurabilityError(f"{reason}: {directory}") from error
            raise DurabilityError(error.errno, reason, str(directory)) from error

    def make_directory(self, directory: Path) -> None:
        """Create a directory and its parents, each readable by its owner only and synced into its parent.

        A directory below the base is synced once even if it existed: its creator may have died before it did so.
        """
        if directory in self._synced and directory.is_dir():
            return
        self.refuse_change()
        uncertain = []
        while not directory.is_dir() or (
            self.durable and self.base in directory.parents and directory not in self._synced
        ):
            uncertain.append(directory)
            directory = directory.parent
        for path in reversed(uncertain):
            created = True
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:  # if that is a file, the next step reports it
                created = False
                if path.is_symlink() and not path.exists():
                    reason = f"a symbolic link to a missing directory, {path.readlink()}"
                    raise FileNotFoundError(errno.ENOENT, reason, str(path)) from None
            if self.durable:
                try:
                    sync_directory(path.parent)
                except OSError:
                    if created:
                        with suppress(OSError):
                            path.rmdir()  # or another process would believe it to be synced
                    raise
            self._synced.add(path)

    def make_own_directory(self, name: str) -> Path:
        """Create a directory of the library's own, which git ignores, and return its path."""
        directory = join(self.own, name)
        if directory not in self._own_created or not (_is_directory(self.own) and _is_directory(directory)):
            self.refuse_link_outside(self.own)
            self.refuse_link_outside(directory)
            self.make_directory(directory)
            ignore = self.own / ".gitignore"
            with naming(ignore):
                content = _beginning(ignore) if ignore.is_file() else b""
                # After a power cut, or on a full disk, it may be empty, cut off or zeros; anything else is the user's.
                if content != b"*\n" and len(content) < _BEGINNING and not content.strip(b"*\n\0"):
                    flags = os.O_WRONLY | os.O_CREAT | system.BINARY | system.NO_LINK
                    with open(system.open_file(ignore, flags, 0o600), "wb") as file:
                        file.truncate()
                        file.write(b"*\n")
            self._own_created.add(directory)
        return directory

    def own_directory(self, name: str) -> Path:
        """Return the path of a directory of the library's own, which need not exist.

        Raises:
            InvalidNameError: If it is a symbolic link that leads outside the base.
        """
        self.refuse_link_outside(self.own)
        directory = join(self.own, name)
        self.refuse_link_outside(directory)
        return directory

    def walk(self, failed: Callable[[OSError], object] | None = None) -> Iterator[tuple[Path, list[str], list[str]]]:
        """Yield the base and each category's directory: its path, and the sorted names of its directories and files.

        The files of systems and editors (`names.FOREIGN_PREFIXES`) are left out.

        Args:
            failed: Called with the error of a directory that cannot be listed.
        """
        for directory, subdirectories, file_names in os.walk(self.base, onerror=failed):
            skipped = NOT_CATEGORIES if directory == str(self.base) else {".git"}
            subdirectories[:] = sorted(set(subdirectories) - skipped)
            own_names = (name for name in set(file_names) - skipped if not name.startswith(FOREIGN_PREFIXES))
            yield Path(directory), subdirectories, sorted(own_names)


@lru_cache(maxsize=4096)
def join(directory: Path, name: str) -> Path:
    """Return the path of an entry in *directory*; the same object again.

    Creating and spelling a path takes 1.3 us, and a save needs five.
    """
    return directory / name


def remove(path: Path) -> bool:
    """Remove a file and return whether it existed. The removal survives a power cut once its directory is synced."""
    try:
        with naming(path):
            os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _beginning(path: Path) -> bytes:
    descriptor = system.open_file(path, system.READ)
    try:
        return os.read(descriptor, _BEGINNING)
    finally:
        os.close(descriptor)


def _is_directory(path: Path) -> bool:
    """Return whether *path* is a directory, and not a link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def link(path: Path, target: Path) -> bool:
    """Create a hard link to a regular file; return False where that is not possible."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    try:
        os.link(path, target)
    except FileExistsError:
        if not os.path.samefile(path, target):  # else it is left over from an interrupted move
            raise
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    return True


def sync_directory(directory: Path) -> None:
    """Make the names in a directory survive a power cut.

    Raises:
        OSError: If it could not be synced; with the directory's name.
    """
    if system.WINDOWS:
        return  # Windows cannot open a directory, and journals names itself
    with naming(directory):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            system.sync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Let an OSError of the block name *path*: most system calls name no file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # an error of a program, not of the system: its type and text say more
            error.add_note(str(path))
            raise
        reason = f"{error.strerror}{_MOUNT_POINT}" if error.errno == errno.EBUSY else error.strerror
        raise OSError(error.errno, reason, str(path)) from error
