"""Staging: a document's next content in a temporary file beside it, until a rename puts it in its place.

A document appears and changes by ``rename`` alone, which POSIX makes atomic: a reader finds the old bytes or the new.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from oxios_state.errors import StateError
from oxios_state.storage import locks, revisions
from oxios_state.storage import tree as files
from oxios_state.storage.names import OWN_PREFIX
from oxios_state.storage.revisions import Revision, identity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from oxios_state.storage.revisions import Identity

# Windows refuses to replace a file that somebody has open, which readers do for an instant.
_REPLACE_TRIES = 50 if files.WINDOWS else 1
_REPLACE_PAUSE = 0.02  # seconds

_CREATE_TRIES = 100
_MOST_PIECES = 1024  # IOV_MAX of Linux, macOS and the BSDs

_OWN_TEMPORARY = rf"{re.escape(OWN_PREFIX)}\.[0-9a-f]{{16}}\.tmp"
_KERNEL_TEMPORARY = r".+\.[0-9]+\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tmp"
_STALE_AFTER = 3600.0  # seconds: of a temporary file that its writer does not lock, only the age tells


class Staged:
    """A document's next content, complete in a temporary file beside it: a context manager.

    `replace` puts it in the document's place, and `sync` makes that last. Without `replace`, leaving removes it, and an
    `OSError` that leaves with it, such as from a lock, says that the document was not saved.

    Args:
        tree: The directory of the store.
        path: The document.
        content: What it is to hold, in pieces.

    Raises:
        OSError: If it cannot be written; the document is as it was, and the error names it.
    """

    def __init__(self, tree: files.Tree, path: Path, content: Iterable[bytes]) -> None:
        self._tree = tree
        self._path = path
        self._directory = files.parent(path)
        self._content = content
        self._temporary: str | None = None
        self._descriptor = -1
        self._token = b""
        self._mark: int | None = None
        with files.naming(path, "not saved, "):
            tree.make_directory(self._directory)
            try:
                self._write(self._create(), list(content))
            except BaseException:
                self._discard()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        unsaved = self._temporary is not None
        self._discard()
        if unsaved and isinstance(error, OSError) and not isinstance(error, StateError):
            if str(error.strerror).startswith("not saved"):
                return
            reason = f"not saved, {error.strerror}: {error.filename}"
            raise OSError(error.errno, reason, str(self._path)) from error

    def replace(self) -> Revision:
        """Put the content in the document's place, once.

        Returns:
            The revision that the document has now.

        Raises:
            OSError: If that fails; the document is as it was, and the error names it.
        """
        if files.WINDOWS:
            self._close()
        if self._temporary is not None:
            with files.naming(self._path, "not saved, "):
                _replace(self._temporary, self._path)
            self._temporary = None
        return Revision(self._marked_identity(), self._content)

    def _marked_identity(self) -> Identity | None:
        if self._mark is None or self._descriptor < 0:
            return None
        with suppress(OSError):
            status = os.fstat(self._descriptor)  # after the rename, which changes the identity
            if revisions.is_marked(status, self._mark):
                return identity_of(status)
        return None

    def sync(self) -> None:
        """Make the replacement survive a power cut.

        Raises:
            DurabilityError: If that fails.
        """
        self._tree.sync(self._directory, f"{self._path.name} is saved")

    def _create(self) -> str:
        for _ in range(_CREATE_TRIES):
            self._token = os.urandom(8)
            temporary = os.path.join(self._directory, f"{OWN_PREFIX}.{self._token.hex()}.tmp")
            self._descriptor = os.open(temporary, files.CREATE, 0o600)
            self._temporary = temporary
            # The lock says that the writer lives. A sweep that came in the instant before has the file now.
            if locks.try_lock(self._descriptor, temporary) and os.fstat(self._descriptor).st_nlink:
                return temporary
            self._discard()
        reason = "the system refuses to lock a temporary file"  # as AppArmor and SELinux can
        raise OSError(errno.ENOLCK, reason, str(self._path))

    def _write(self, temporary: str, pieces: list[bytes]) -> None:
        written = 0
        if 1 < len(pieces) <= _MOST_PIECES and hasattr(os, "writev"):  # Windows has none
            written = os.writev(self._descriptor, pieces)
        if written < sum(map(len, pieces)):
            rest = memoryview(b"".join(pieces))[written:]
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        self._mark = revisions.mark(self._descriptor, int.from_bytes(self._token))
        with suppress(FileNotFoundError):
            mode = os.lstat(self._path).st_mode
            if stat.S_ISREG(mode) and stat.S_IMODE(mode) != 0o600:
                os.chmod(self._descriptor if os.chmod in os.supports_fd else temporary, stat.S_IMODE(mode))
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


def _replace(source: str, target: Path) -> None:
    tries = _REPLACE_TRIES
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            tries -= 1
            if not tries:
                raise
            time.sleep(_REPLACE_PAUSE)


def sweep(tree: files.Tree) -> list[Path]:
    """Remove the temporary files whose writer is dead, in all categories and beside them, and say which.

    A writer of this library holds a lock on its file until it is renamed, so a file without one has no writer. The
    kernel's, and on Windows all, are taken for dead after an hour.
    """
    return [path for path in _everything(tree) if is_orphan(path, tree.remove)]


def _everything(tree: files.Tree) -> Iterator[Path]:
    for category, _, filenames in tree.walk():
        yield from (category / name for name in filenames)
    for name in ("cache", "quarantine"):
        for directory, _, filenames in os.walk(tree.own / name):
            yield from (Path(directory, filename) for filename in filenames)


def is_orphan(path: Path, then: Callable[[Path], object] = lambda _: None) -> bool:
    """Say whether *path* is a temporary file whose writer is dead, and do *then* with it while that is certain."""
    own = bool(re.fullmatch(_OWN_TEMPORARY, path.name))
    with suppress(OSError):  # it was renamed since it was listed, or is not for us to open
        if own and not files.WINDOWS:
            return _is_unlocked(path, then)
        if own or re.fullmatch(_KERNEL_TEMPORARY, path.name):
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime >= _STALE_AFTER:
                then(path)
                return True
    return False


def _is_unlocked(path: Path, then: Callable[[Path], object]) -> bool:
    flags = files.COMMON | files.NO_LINK | files.NO_WAIT
    try:
        descriptor = os.open(path, os.O_RDWR | flags)  # some network file systems lock what is open for writing only
    except PermissionError:
        descriptor = os.open(path, os.O_RDONLY | flags)  # it has its read-only document's mode
    try:
        if not (stat.S_ISREG(os.fstat(descriptor).st_mode) and locks.try_lock(descriptor, str(path))):
            return False
        then(path)  # under the lock, for a writer that has just made it to notice
        return True
    finally:
        os.close(descriptor)
