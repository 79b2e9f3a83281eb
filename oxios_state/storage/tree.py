"""Files: listing, moving and removal of what is under one base directory, and the syncing of directories."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oxios_state.errors import DurabilityError, InvalidNameError
from oxios_state.storage.names import OWN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXTENSIONS = (".json", ".md")

WINDOWS = sys.platform == "win32"
COMMON = getattr(os, "O_BINARY", 0)  # of Windows; Python itself keeps what it opens from child processes
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # a FIFO would have who opens it wait for another
# What file systems without hard links say: of Linux's own, of FUSE, of servers; and of a file that has too many.
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | COMMON


class Tree:
    """The documents under a base directory. Nothing is created before the first write.

    Args:
        base: The directory, absolute.
        durable: Whether what is written is synced, to survive a power cut.
    """

    def __init__(self, base: Path, *, durable: bool) -> None:
        self.base = base
        self.durable = durable
        self._lasting: set[Path] = set()  # directories that a power cut leaves
        self._own_made: set[Path] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Tree, durable=self.durable), (self.base,)  # what it knows of directories is of this process

    @property
    def own(self) -> Path:
        """The directory of this library's own files."""
        return join(self.base, OWN_PREFIX)

    def document(self, category: str, name: str, extension: str) -> Path:
        """Give a document's path.

        Raises:
            InvalidNameError: If a symbolic link on the way leads outside the base directory.
        """
        path = join(self.directory(category), f"{name}{extension}")
        self.refuse_link_outside(path)
        return path

    def directory(self, category: str) -> Path:
        """Give a category's directory, which need not exist.

        Raises:
            InvalidNameError: If a symbolic link on the way leads outside the base directory.
        """
        path = self.base
        for component in category.split("/"):
            path = join(path, component)
            self.refuse_link_outside(path)
        return path

    def real_category(self, category: str) -> str:
        """Give the category that *category* is when links are followed: two names of one directory share a lock."""
        path = self.base
        if not any(os.path.islink(path := join(path, component)) for component in category.split("/")):
            return category
        directory = self.directory(category)
        return Path(os.path.realpath(directory)).relative_to(os.path.realpath(self.base)).as_posix()

    def refuse_link_outside(self, path: Path) -> None:
        """Refuse a symbolic link that leads outside the base directory.

        Raises:
            InvalidNameError: If *path* is one.
        """
        if os.path.islink(path):
            base = os.path.realpath(self.base)
            if os.path.commonpath([base, os.path.realpath(path)]) != base:
                raise InvalidNameError(f"a symbolic link that leads outside {self.base}: {path}")

    def refuse_outside(self, path: Path) -> None:
        """Refuse a path that is not that of a category or of something in one.

        Raises:
            ValueError: If it leads outside the base, or into the library's own directory.
        """
        parts = path.parts[len(self.base.parts) :]
        if self.base not in path.parents or ".." in parts or parts[0] == OWN_PREFIX:
            raise ValueError(f"not a document of {self.base}: {path}")
        for parent in path.parents[: len(parts) - 1]:
            self.refuse_link_outside(parent)

    def scan(self, category: str) -> list[os.DirEntry[str]]:
        """List what is in a category and has the extension of a document, in no order; none if it does not exist."""
        try:
            with os.scandir(self.directory(category)) as entries:
                return [entry for entry in entries if entry.name.endswith(EXTENSIONS) and entry.name not in EXTENSIONS]
        except FileNotFoundError:
            return []

    def is_document(self, entry: os.DirEntry[str]) -> bool:
        """Say whether what was scanned is a file, in this directory or elsewhere below the base."""
        try:
            self.refuse_link_outside(Path(entry))
            return entry.is_file()
        except (InvalidNameError, OSError):  # OSError: links that lead in a circle
            return False

    def remove(self, path: Path) -> bool:
        """Remove a file, durably once its directory is synced; say whether it was there."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
        return True

    def move(self, path: Path, target: Path) -> bool:
        """Move a file into another directory; a power cut leaves it in one of them, or in both.

        On a file system without hard links, and for what is no regular file, a power cut may also take it.

        Returns:
            Whether it is gone from *path*: the kernel, which takes no locks, may have saved it anew.

        Raises:
            InvalidNameError: If *target* is *path* by another name.
            FileExistsError: If there is another file at *target*. If it is the same file, *path* alone goes.
        """
        self.make_directory(target.parent)
        if path.name == target.name and os.path.samefile(path.parent, target.parent):
            raise InvalidNameError(f"a file is not moved to where it is: {target}")
        linked = _link(path, target)
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
        """Make what was done in *directory* survive a power cut.

        Raises:
            DurabilityError: If it could not be synced; *done* says what was done all the same.
        """
        if not self.durable:
            return
        try:
            sync_directory(directory)
        except OSError as error:
            reason = f"{done}, but a power cut could undo it: {error.strerror}"
            raise DurabilityError(error.errno, reason, str(directory)) from error

    def make_directory(self, directory: Path) -> None:
        """Make *directory* and those above it, each only for its owner and synced into its parent.

        One below the base is synced once even if it was there: who made it may not have come to that.
        """
        if directory in self._lasting and directory.is_dir():
            return
        unsure = []
        while not directory.is_dir() or (
            self.durable and self.base in directory.parents and directory not in self._lasting
        ):
            unsure.append(directory)
            directory = directory.parent
        for path in reversed(unsure):
            made = True
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:  # if that is a file, the next step says so
                made = False
            if self.durable:
                try:
                    sync_directory(path.parent)
                except OSError:
                    if made:
                        with suppress(OSError):
                            path.rmdir()  # or another would take it for one that lasts
                    raise
            self._lasting.add(path)

    def make_own_directory(self, name: str) -> Path:
        """Make a directory of this library's own, which git ignores, and give its path."""
        directory = join(self.own, name)
        if directory not in self._own_made or not (_is_directory(self.own) and _is_directory(directory)):
            self.refuse_link_outside(self.own)
            self.refuse_link_outside(directory)
            self.make_directory(directory)
            ignore = self.own / ".gitignore"
            with naming(ignore):
                found = ignore.read_bytes() if ignore.is_file() else b""
                # What is not the user's may be empty, cut off or zeros, after a power cut or on a full disk.
                if found != b"*\n" and not found.strip(b"*\n\0"):
                    descriptor = os.open(ignore, os.O_WRONLY | os.O_CREAT | COMMON | NO_LINK | NO_WAIT, 0o600)
                    with open(descriptor, "wb") as file:
                        file.write(b"*\n")
            self._own_made.add(directory)
        return directory

    def walk(self, failed: Callable[[OSError], object] | None = None) -> Iterator[tuple[Path, list[str], list[str]]]:
        """Go through the directory of each category: its path, and the names of directories and files in it, sorted.

        Neither this library's own directory is one, nor what is git's: Oxios keeps its state in git.
        """
        for directory, subdirectories, filenames in os.walk(self.base, onerror=failed):
            apart = {".git", OWN_PREFIX} if directory == str(self.base) else {".git"}
            subdirectories[:] = sorted(set(subdirectories) - apart)
            yield Path(directory), subdirectories, sorted(set(filenames) - apart)


@lru_cache(maxsize=4096)
def join(directory: Path, name: str) -> Path:
    """Give the path of what is in a directory; the same object again, as a path is dear to make and to spell."""
    return directory / name


@lru_cache(maxsize=4096)
def parent(path: Path) -> Path:
    """Give the path of the directory that something is in; the same object again."""
    return path.parent


def _is_directory(path: Path) -> bool:
    """Say whether there is a directory, not a link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _link(path: Path, target: Path) -> bool:
    """Give a regular file a second name; False where that is not possible."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    try:
        os.link(path, target)
    except FileExistsError:
        if not os.path.samefile(path, target):  # the rest of a move that was cut off
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
    if WINDOWS:
        return  # it cannot open a directory, and journals the names itself
    with naming(directory):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def naming(path: Path, prefix: str = "") -> Iterator[None]:
    """Have an OSError from the block name *path*, with *prefix* before its text: most system calls name nothing."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{prefix}{error.strerror}", str(path)) from error
