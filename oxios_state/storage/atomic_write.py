"""Atomic writes: a document's next content in a temporary file beside it, until a rename puts it in its place.

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

from oxios_state.storage import locks, revisions, system
from oxios_state.storage.names import OWN_PREFIX
from oxios_state.storage.tree import naming, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from oxios_state.model.revision import Identity
    from oxios_state.storage.tree import Tree

# Windows refuses to replace a file that somebody has open, as readers do for an instant.
_REPLACE_TRIES = 50 if system.WINDOWS else 1
_REPLACE_PAUSE = 0.02  # seconds

_CREATE_TRIES = 100
_MAX_PIECES = 1024  # IOV_MAX of Linux, macOS and the BSDs

_OWN_TEMPORARY = rf"{re.escape(OWN_PREFIX)}\.[0-9a-f]{{16}}\.tmp"
_KERNEL_TEMPORARY = r".+\.[0-9]+\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tmp"
_STALE_AFTER = 3600.0  # seconds: the age of an orphan whose writer does not lock its temporary file


class Staged:
    """A document's next content, complete in a temporary file beside it: a context manager.

    `replace` puts it in the document's place, and `sync` makes that survive a power cut. Without `replace`, leaving the
    block removes it.

    Attributes:
        is_replaced: Whether the content is in the document's place.

    Args:
        tree: The directories of the store.
        path: The document.
        content: Its next content, in pieces.

    Raises:
        OSError: If it cannot be written; the document is unchanged, and the error names it.
    """

    def __init__(self, tree: Tree, path: Path, content: Iterable[bytes]) -> None:
        self._tree = tree
        self._path = path
        self._temporary: str | None = None
        self._descriptor = -1
        self._token = b""
        self._mark: int | None = None
        self.is_replaced = False
        with naming(path):
            tree.make_directory(path.parent)
            try:
                self._write(self._create(), list(content))
            except BaseException:
                self._discard()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()

    def replace(self) -> Identity | None:
        """Put the content in the document's place, once.

        Returns:
            The identity that the document has now, if it can be trusted; else None.

        Raises:
            OSError: If that fails; the document is unchanged, and the error names it.
        """
        if system.WINDOWS:
            self._close()
        if self._temporary is not None:
            with naming(self._path):
                _replace(self._temporary, self._path)
            self._temporary, self.is_replaced = None, True
        return self._marked_identity()

    def _marked_identity(self) -> Identity | None:
        if self._mark is None or self._descriptor < 0:
            return None
        with suppress(OSError):
            status = os.fstat(self._descriptor)  # after the rename, which changes the identity
            if revisions.is_marked(status, self._mark):
                return revisions.identity_of(status)
        return None

    def sync(self) -> None:
        """Make the replacement survive a power cut.

        Raises:
            DurabilityError: If that fails.
        """
        self._tree.sync(self._path.parent, f"{self._path.name} is saved")

    def _create(self) -> str:
        for _ in range(_CREATE_TRIES):
            self._token = os.urandom(8)
            temporary = os.path.join(self._path.parent, f"{OWN_PREFIX}.{self._token.hex()}.tmp")
            self._descriptor = os.open(temporary, system.CREATE, 0o600)
            self._temporary = temporary
            # The lock says that the writer lives. If a sweep came in the instant before, it removed the file.
            if locks.try_lock(self._descriptor, temporary) and os.fstat(self._descriptor).st_nlink:
                return temporary
            self._discard()
        reason = "the system refuses to lock a temporary file"  # as AppArmor and SELinux can
        raise OSError(errno.ENOLCK, reason, str(self._path))

    def _write(self, temporary: str, pieces: list[bytes]) -> None:
        written = 0
        if 1 < len(pieces) <= _MAX_PIECES and hasattr(os, "writev"):  # Windows lacks it
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
            system.sync(self._descriptor)  # once: after a failure, Linux may have dropped the pages

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


def sweep(tree: Tree) -> list[Path]:
    """Remove the temporary files of dead writers, in all categories and beside them, and return their paths.

    A writer of this library locks its temporary file until it is renamed, so an unlocked one has no writer. The
    kernel's, and on Windows all, count as orphans after an hour.

    Raises:
        OSError: If the store is read-only.
    """
    tree.refuse_change()
    return [path for path in _all_files(tree) if is_orphan(path, remove)]


def _all_files(tree: Tree) -> Iterator[Path]:
    for category, _, file_names in tree.walk():
        yield from (category / name for name in file_names)
    for name in ("cache", "quarantine"):
        for directory, _, file_names in os.walk(tree.own / name):
            yield from (Path(directory, file_name) for file_name in file_names)


def is_orphan(path: Path, then: Callable[[Path], object] = lambda _: None) -> bool:
    """Return whether *path* is a temporary file of a dead writer; if so, call *then* with it while that is certain."""
    own = bool(re.fullmatch(_OWN_TEMPORARY, path.name))
    with suppress(OSError):  # it was renamed since it was listed, or may not be opened
        if own and not system.WINDOWS:
            return _is_unlocked(path, then)
        if own or re.fullmatch(_KERNEL_TEMPORARY, path.name):
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime >= _STALE_AFTER:
                then(path)
                return True
    return False


def _is_unlocked(path: Path, then: Callable[[Path], object]) -> bool:
    flags = system.BINARY | system.NO_LINK
    try:
        # Some network file systems lock only files open for writing.
        descriptor = system.open_file(path, os.O_RDWR | flags)
    except PermissionError:
        descriptor = system.open_file(path, os.O_RDONLY | flags)  # it has the mode of its read-only document
    try:
        if not (stat.S_ISREG(os.fstat(descriptor).st_mode) and locks.try_lock(descriptor, str(path))):
            return False
        then(path)  # under the lock, so that a writer that has just created it notices
        return True
    finally:
        os.close(descriptor)
