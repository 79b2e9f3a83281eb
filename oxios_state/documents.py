"""One document: its path, its lock, and how it is loaded, saved and deleted. All saves go through `Documents.save`."""

from __future__ import annotations

from contextlib import contextmanager
from os.path import splitext
from typing import TYPE_CHECKING, Any

from oxios_state.codec import documents as codec
from oxios_state.codec import json_text
from oxios_state.errors import StateError, UnsupportedValueError
from oxios_state.maintenance.problems import Quarantine
from oxios_state.maintenance.quarantine import QuarantineDirectory, sound_identity
from oxios_state.storage import atomic_write, names, reads
from oxios_state.storage.atomic_write import Staged
from oxios_state.storage.locks import CategoryLocks
from oxios_state.storage.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator
    from pathlib import Path

    from oxios_state.maintenance.quarantine import Decode
    from oxios_state.model.revision import Identity


class Documents:
    """The documents in one base directory.

    Attributes:
        tree: The directories.
        locks: The locks of the categories.
        quarantine: The collection of the files in quarantine.

    Args:
        base: The base directory, absolute.
        durable: Whether a save returns only when its data would survive a power cut.
        lock_timeout: How long to wait for a lock, in seconds.
        max_file_bytes: The size of the largest document that is read or saved.
        read_only: Whether every change is refused.
    """

    def __init__(self, base: Path, *, durable: bool, lock_timeout: float, max_file_bytes: int, read_only: bool) -> None:
        self.tree = Tree(base, durable=durable, read_only=read_only, max_file_bytes=max_file_bytes)
        self.locks = CategoryLocks(self.tree, lock_timeout)
        self._quarantine = QuarantineDirectory(self.tree, self.locks)
        self.quarantine = Quarantine(self._quarantine)

    def path(self, category: str, name: str, extension: str) -> Path:
        """Return the path of a document, which need not exist.

        Raises:
            InvalidNameError: If *category* or *name* is not allowed.
        """
        names.check_category(category)
        names.check_name(name, extension)
        with self.tree.open(category) as directory:
            return directory.file(f"{name}{extension}")

    def save(
        self,
        category: str,
        path: Path,
        content: Iterable[bytes],
        *,
        decode: Decode,
        known: Container[Identity | None] = (),
        check: Callable[[], object] | None = None,
        saved: Callable[[Identity | None], object] = lambda _: None,
    ) -> None:
        """Save a document: stage its content, lock, compare, replace and sync.

        Args:
            category: The category.
            path: The document, from `path`.
            content: Its next content, in pieces.
            decode: Decodes the document. Without *check*, a file that it refuses is copied to quarantine before it is
                replaced.
            known: Identities of the file when *decode* accepted it.
            check: Called under the lock before the replacement; raises an error to prevent it.
            saved: Called after the replacement with the identity that the document has now, None if it cannot be
                trusted.

        Raises:
            InvalidNameError: If *path* is an alias of another file.
            UnsupportedValueError: If the content is larger than the store's largest file.
            LockTimeoutError: If the category's lock was not free in time.
            DurabilityError: If it is saved, but a power cut could undo it.
            OSError: If it cannot be saved; the document is unchanged. The error names it.
        """
        self.tree.refuse_change()
        pieces = list(content)
        self._refuse_size(path, sum(map(len, pieces)))
        with _staged(self.tree, path, pieces) as staged:
            sound = None if check else sound_identity(path, decode, known, self.tree.max_file_bytes)
            with self.locks.hold(category):
                self.locks.refuse_alias(path, known)
                if check:
                    check()
                    saved(staged.replace())
                else:
                    with self._quarantine.keeping(path, decode, sound):
                        saved(staged.replace())
            staged.sync()

    def _refuse_size(self, path: Path, size: int) -> None:
        limit = self.tree.max_file_bytes
        if size > limit:
            advice = "go on in a new document or session, or raise max_file_bytes in every program that loads it"
            reason = f"the document has {size} bytes, more than max_file_bytes={limit}, and could not be loaded again"
            raise UnsupportedValueError(path, f"{reason}: {advice}")

    def read(self, path: Path) -> bytes | None:
        """Return the content of a document's file; None if it does not exist.

        Raises:
            CorruptStateError: If it is not a regular file, or larger than the store's largest file.
            OSError: If it cannot be read.
        """
        return reads.read(path, self.tree.max_file_bytes)

    def delete(self, category: str, *paths: Path) -> bool:
        """Delete the first of *paths* that exists, and return whether one did.

        Raises:
            InvalidNameError: If the path is an alias of another file.
            LockTimeoutError: If the category's lock was not free in time.
            DurabilityError: If it is deleted, but a power cut could undo that.
        """
        self.tree.refuse_change()
        if not any(map(reads.is_there, paths)):
            return False  # without creating a lock file in a directory that may not exist
        with self.locks.hold(category), self.tree.open(category) as directory:
            for path in paths:
                self.locks.refuse_alias(path)
                if directory.remove(path.name):
                    directory.sync("the document is deleted")
                    return True
        return False

    def sweep(self) -> list[Path]:
        """Remove the temporary files of dead writers, and return their paths."""
        return atomic_write.sweep(self.tree)

    # Documents that are not sessions.

    def save_markdown(self, category: str, name: str, content: str) -> None:
        """Save a Markdown document."""
        path = self.path(category, name, ".md")
        if not isinstance(content, str):
            raise TypeError(f"content must be str, not {type(content).__name__}")
        self.save(category, path, (json_text.encode_text(content, path),), decode=json_text.decode_text)

    def load_markdown(self, category: str, name: str) -> str | None:
        """Load a Markdown document; return None if there is none."""
        path = self.path(category, name, ".md")
        raw = self.read(path)
        return None if raw is None else json_text.decode_text(raw, path)

    def save_json(self, category: str, name: str, data: Any) -> None:
        """Save a JSON document."""
        path = self.path(category, name, ".json")
        self.save(category, path, (codec.encode_json(data, path),), decode=json_text.decode)

    def load_json(self, category: str, name: str, type: Any, default: Any) -> Any:
        """Load a JSON document as *type*; return *default* if there is none."""
        path = self.path(category, name, ".json")
        raw = self.read(path)
        return default if raw is None else codec.decode_json(raw, type, path)

    def names(self, category: str) -> list[str]:
        """Return the names of a category's documents without extension, sorted, each once."""
        names.check_category(category)
        with self.tree.open(category) as directory:
            documents = map(splitext, directory.documents())
            return sorted({name for name, extension in documents if names.is_allowed(name, extension)})

    def delete_either(self, category: str, name: str) -> bool:
        """Delete the JSON document of this name if there is one, else the Markdown document."""
        paths = [self.path(category, name, ".md")]
        if names.is_allowed(name, ".json"):
            paths.insert(0, self.path(category, name, ".json"))
        return self.delete(category, *paths)


@contextmanager
def _staged(tree: Tree, path: Path, content: list[bytes]) -> Iterator[Staged]:
    """Stage a document's next content for the block, which replaces the document.

    An OSError before the replacement names the document and says that it is not saved, unless it is a `StateError`,
    whose text is complete.
    """
    staged: Staged | None = None
    try:
        with Staged(tree, path, content) as staged:
            yield staged
    except OSError as error:
        if isinstance(error, StateError) or (staged is not None and staged.is_replaced):
            raise
        if error.errno is None:  # an error of a program, not of the system: its type and text say more
            error.add_note(f"not saved: {path}")
            raise
        place = "" if error.filename in {None, str(path)} else f": {error.filename}"
        raise OSError(error.errno, f"not saved, {error.strerror}{place}", str(path)) from error
