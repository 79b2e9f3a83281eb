"""Files: atomic and durable replacement, reading, listing and removal of the documents under one base directory.

A document appears and changes by ``rename`` alone, which POSIX makes atomic: a reader finds the old bytes or the new.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from filelock import lock_descriptor

from oxios_state.errors import CorruptStateError, DurabilityError, InvalidNameError
from oxios_state.names import OWN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTENSIONS = (".json", ".md")

_WINDOWS = sys.platform == "win32"
_COMMON = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | _COMMON | getattr(os, "O_NONBLOCK", 0)  # a FIFO would have its reader wait for a writer
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _COMMON

# Windows refuses to replace a file that somebody has open, which readers do for an instant.
_REPLACE_TRIES = 50 if _WINDOWS else 1
_REPLACE_PAUSE = 0.02  # seconds

_OWN_TEMPORARY = rf"{re.escape(OWN_PREFIX)}\.[0-9a-f]{{16}}\.tmp"
_KERNEL_TEMPORARY = r".+\.[0-9]+\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tmp"
_STALE_AFTER = 3600.0  # seconds: of a temporary file that its writer does not lock, only the age tells


class Tree:
    """The documents under a base directory. Nothing is created before the first write.

    Args:
        base: The directory, absolute.
        durable: Whether what is written is synced, to survive a power cut.
    """

    def __init__(self, base: Path, *, durable: bool) -> None:
        self.base = base
        self.durable = durable

    @property
    def own(self) -> Path:
        """The directory of this library's own files."""
        return self.base / OWN_PREFIX

    def document(self, category: str, name: str, extension: str) -> Path:
        """Give a document's path.

        Raises:
            InvalidNameError: If a symbolic link on the way leads outside the base directory.
        """
        path = self.directory(category) / f"{name}{extension}"
        self._refuse_link_outside(path)
        return path

    def directory(self, category: str) -> Path:
        """Give a category's directory, which need not exist.

        Raises:
            InvalidNameError: If a symbolic link on the way leads outside the base directory.
        """
        path = self.base
        for component in category.split("/"):
            path /= component
            self._refuse_link_outside(path)
        return path

    def _refuse_link_outside(self, path: Path) -> None:
        if os.path.islink(path):
            base = os.path.realpath(self.base)
            if os.path.commonpath([base, os.path.realpath(path)]) != base:
                raise InvalidNameError(f"a symbolic link that leads outside {self.base}: {path}")

    def scan(self, category: str) -> list[tuple[str, str]]:
        """List a category's documents as pairs of name and extension, in no order; none if it does not exist."""
        try:
            with os.scandir(self.directory(category)) as entries:
                return [(*os.path.splitext(entry.name),) for entry in entries if _is_document(entry)]
        except FileNotFoundError:
            return []

    def remove(self, path: Path) -> bool:
        """Remove a file, durably once its directory is synced; say whether it was there."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
        return True

    def move(self, path: Path, target: Path) -> None:
        """Move a file into another directory; a power cut leaves it in one of them, or in both.

        Raises:
            FileExistsError: If there is another file at *target*. If it is the same file, *path* alone goes.
        """
        self.make_directory(target.parent)
        try:
            os.link(path, target)
        except FileExistsError:
            if not os.path.samefile(path, target):  # the rest of a move that was cut off
                raise
        except PermissionError:  # the file system has no hard links; on these, a power cut may also take the file
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
            os.rename(path, target)
        self.sync(target.parent, f"{target.name} is there")
        self.remove(path)

    def sync(self, directory: Path, done: str) -> None:
        """Make what was done in *directory* survive a power cut.

        Raises:
            DurabilityError: If it could not be synced; *done* says what was done all the same.
        """
        if not self.durable:
            return
        try:
            _sync_directory(directory)
        except OSError as error:
            reason = f"{done}, but a power cut could undo it: {error.strerror}"
            raise DurabilityError(error.errno, reason, str(directory)) from error

    def make_directory(self, directory: Path) -> None:
        """Make *directory* and those above it, each only for its owner and synced into its parent."""
        missing = []
        while not directory.is_dir():
            missing.append(directory)
            directory = directory.parent
        for path in reversed(missing):
            with suppress(FileExistsError):  # another made it meanwhile; if that is a file, the next step says so
                path.mkdir(mode=0o700)
            if self.durable:
                _sync_directory(path.parent)

    def make_own_directory(self, name: str) -> Path:
        """Make a directory of this library's own, which git ignores, and give its path."""
        directory = self.own / name
        if not directory.is_dir():
            self.make_directory(directory)
            with suppress(FileExistsError):
                descriptor = os.open(self.own / ".gitignore", _CREATE, 0o600)
                with open(descriptor, "wb") as file:
                    file.write(b"*\n")
        return directory

    def sweep(self) -> list[Path]:
        """Remove the temporary files of writers that died, in all categories, and say which.

        A writer of this library holds a lock on its file until it is renamed, so a file without one has no writer. The
        kernel's, and on Windows all, are taken for dead after an hour.
        """
        swept = []
        for directory, subdirectories, filenames in os.walk(self.base):
            if directory == str(self.base) and OWN_PREFIX in subdirectories:
                subdirectories.remove(OWN_PREFIX)
            for name in filenames:
                path = Path(directory, name)
                own = bool(re.fullmatch(_OWN_TEMPORARY, name))
                if own and not _WINDOWS:
                    stale = _remove_unlocked(path)
                else:
                    stale = (own or bool(re.fullmatch(_KERNEL_TEMPORARY, name))) and self._remove_old(path)
                if stale:
                    swept.append(path)
        return swept

    def _remove_old(self, path: Path) -> bool:
        with suppress(FileNotFoundError):
            return time.time() - os.lstat(path).st_mtime >= _STALE_AFTER and self.remove(path)
        return False


def read(path: Path) -> bytes | None:
    """Read a file; None if there is none.

    Raises:
        CorruptStateError: If it is not a regular file.
    """
    try:
        descriptor = os.open(path, _READ | (0 if os.path.islink(path) else _NO_LINK))
    except FileNotFoundError:
        return None
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CorruptStateError(path, "not a regular file")
        return file.read()


class Staged:
    """A document's next content, complete in a temporary file beside it: a context manager.

    `replace` puts it in the document's place, and `sync` makes that last. Without `replace`, leaving removes it.

    Raises:
        OSError: If it cannot be written; the document is as it was, and the error names it.
    """

    def __init__(self, tree: Tree, path: Path, content: bytes) -> None:
        self._tree = tree
        self._path = path
        self._temporary: Path | None = None
        self._descriptor = -1
        with _not_saved(path):
            tree.make_directory(path.parent)
            try:
                self._write(self._create(), content)
            except BaseException:
                self._discard()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._discard()

    def replace(self) -> None:
        """Put the content in the document's place.

        Raises:
            OSError: If that fails; the document is as it was, and the error names it.
        """
        with _not_saved(self._path):
            if _WINDOWS:
                self._close()
            if self._temporary is not None:
                _replace(self._temporary, self._path)
                self._temporary = None

    def sync(self) -> None:
        """Make the replacement survive a power cut.

        Raises:
            DurabilityError: If that fails.
        """
        self._tree.sync(self._path.parent, f"{self._path.name} is saved")

    def _create(self) -> Path:
        while True:
            temporary = self._path.parent / f"{OWN_PREFIX}.{os.urandom(8).hex()}.tmp"
            self._descriptor = os.open(temporary, _CREATE, 0o600)
            self._temporary = temporary
            # The lock says that the writer lives. A sweep that came in the instant before has the file now.
            if lock_descriptor(self._descriptor, blocking=False) and os.fstat(self._descriptor).st_nlink:
                return temporary
            self._close()

    def _write(self, temporary: Path, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        with suppress(FileNotFoundError):
            if (mode := stat.S_IMODE(os.stat(self._path).st_mode)) != 0o600:
                os.chmod(temporary, mode)
        if self._tree.durable:
            os.fsync(self._descriptor)  # once: after a failure the kernel may have dropped the pages

    def _discard(self) -> None:
        self._close()
        if self._temporary is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._temporary)
            self._temporary = None

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


@contextmanager
def _not_saved(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"not saved, {error.strerror}", str(path)) from error


def _replace(source: Path, target: Path) -> None:
    for tries_left in reversed(range(_REPLACE_TRIES)):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if not tries_left:
                raise
            time.sleep(_REPLACE_PAUSE)


def _sync_directory(directory: Path) -> None:
    if _WINDOWS:
        return  # it cannot open a directory, and journals the names itself
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_document(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(EXTENSIONS) and entry.name not in EXTENSIONS and entry.is_file()


def _remove_unlocked(path: Path) -> bool:
    """Remove a temporary file while holding its lock, for a writer that just made it to notice; say whether it went."""
    with suppress(FileNotFoundError):  # renamed since it was listed
        descriptor = os.open(path, os.O_WRONLY | _COMMON | _NO_LINK)
        try:
            if lock_descriptor(descriptor, blocking=False):
                os.unlink(path)
                return True
        finally:
            os.close(descriptor)
    return False
