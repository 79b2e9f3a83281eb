"""Documents: markdown and JSON by category and name, and the lock of a category."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from oxios_state.codec import documents as codec
from oxios_state.codec import json_text as jsontext
from oxios_state.maintenance import replacing
from oxios_state.storage import atomic_write as staging
from oxios_state.storage import locks, names
from oxios_state.storage import reads as reading
from oxios_state.storage import tree as files
from oxios_state.storage.aliases import Spelling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oxios_state.maintenance.check import Problem
    from oxios_state.maintenance.probe import Finding
    from oxios_state.maintenance.quarantine import Quarantined
    from oxios_state.model.progress import Progress

_T = TypeVar("_T")
_D = TypeVar("_D")


class DocumentStore:
    """The documents in one directory: what `StateStore` builds on."""

    def __init__(self, base_path: str | os.PathLike[str], *, durable: bool = True, lock_timeout: float = 30.0) -> None:
        if not isinstance(durable, bool):
            raise TypeError(f"durable must be bool, not {type(durable).__name__}")
        self._tree = files.Tree(_checked_base(base_path), durable=durable)
        self._lock_timeout = _checked_timeout(lock_timeout)
        self._spelling = Spelling(self._tree)

    def __repr__(self) -> str:
        settings = f"durable={self.durable}, lock_timeout={self.lock_timeout}"
        return f"{type(self).__name__}({str(self.base_path)!r}, {settings})"

    @property
    def base_path(self) -> Path:
        """The directory, absolute."""
        return self._tree.base

    @property
    def durable(self) -> bool:
        """Whether a save returns only when the data would survive a power cut."""
        return self._tree.durable

    @property
    def lock_timeout(self) -> float:
        """How long to wait for a lock, in seconds."""
        return self._lock_timeout

    def save_markdown(self, category: str, name: str, content: str) -> None:
        """Save a markdown document: the text exactly, in UTF-8. Atomic; the last writer wins.

        What is there and is not UTF-8 is kept in quarantine.

        Raises:
            InvalidNameError: If *category* or *name* is not allowed.
            UnsupportedValueError: If *content* has a lone surrogate.
            LockTimeoutError: If the category's lock was not free in time.
            DurabilityError: If it is saved, but a power cut could undo it.
            TypeError: If *content* is not a string.
        """
        path = self._path(category, name, ".md")
        if not isinstance(content, str):
            raise TypeError(f"content must be str, not {type(content).__name__}")
        self._save(category, path, jsontext.encode_text(content, path), jsontext.decode_text)

    def load_markdown(self, category: str, name: str) -> str | None:
        """Load a markdown document; None if there is none.

        Raises:
            InvalidNameError: If *category* or *name* is not allowed.
            CorruptStateError: If it is not UTF-8 text in a regular file.
        """
        path = self._path(category, name, ".md")
        raw = reading.read(path)
        return None if raw is None else jsontext.decode_text(raw, path)

    def save_json(self, category: str, name: str, data: Any) -> None:
        """Save a JSON document. Atomic; the last writer wins. What is there and is not JSON is kept in quarantine.

        Args:
            category: The category.
            name: The document's name.
            data: A JSON value, or what `converter` makes one of: an attrs class or dataclass, with `datetime`, `UUID`,
                `Path`, `Enum`, `Decimal`, `bytes` (base64), sets and classes in it.

        Raises:
            InvalidNameError: If *category* or *name* is not allowed.
            UnsupportedValueError: If the kernel could not read *data* back; with the path to the value.
            LockTimeoutError: If the category's lock was not free in time.
            DurabilityError: If it is saved, but a power cut could undo it.
        """
        path = self._path(category, name, ".json")
        self._save(category, path, codec.encode_json(data, path), jsontext.decode)

    @overload
    def load_json(self, category: str, name: str, type: type[_T], default: None = None) -> _T | None: ...
    @overload
    def load_json(self, category: str, name: str, type: type[_T], default: _D) -> _T | _D: ...
    @overload
    def load_json(self, category: str, name: str, type: Any = Any, default: Any = None) -> Any: ...
    def load_json(self, category: str, name: str, type: Any = Any, default: Any = None) -> Any:
        """Load a JSON document.

        Args:
            category: The category.
            name: The document's name.
            type: What to make of it: a class, or a type such as ``list[int]``, that `converter` knows. Nothing is
                coerced. By default the plain value.
            default: What to give if there is no such document.

        Raises:
            InvalidNameError: If *category* or *name* is not allowed.
            CorruptStateError: If it is not JSON, or not a *type*; with what is wrong where.
            cattrs.StructureHandlerNotFoundError: If `converter` does not know *type*.
        """
        path = self._path(category, name, ".json")
        raw = reading.read(path)
        return default if raw is None else codec.decode_json(raw, type, path)

    def list_category(self, category: str) -> list[str]:
        """List the documents of a category: names without extension, sorted, each once.

        Only this category's own are listed, not those of the categories below it. What this library refuses to load is
        left out: a file with a name that is not allowed, and a link that leads outside.

        Raises:
            InvalidNameError: If *category* is not allowed.
        """
        names.check_category(category)
        reading.look_at(self._tree.directory(category))
        found = [os.path.splitext(entry.name) for entry in self._tree.scan(category) if self._tree.is_document(entry)]
        return sorted({name for name, extension in found if names.is_allowed(name, extension)})

    def delete_file(self, category: str, name: str) -> bool:
        """Delete the JSON document of this name if there is one, else the markdown document.

        Returns:
            Whether something was deleted.

        Raises:
            InvalidNameError: If *category* or *name* is not allowed.
            LockTimeoutError: If the category's lock was not free in time.
            DurabilityError: If it is deleted, but a power cut could undo that.
        """
        paths = [self._path(category, name, ".md")]
        if names.is_allowed(name, ".json"):
            paths.insert(0, self._path(category, name, ".json"))
        return self._delete(category, paths)

    @contextmanager
    def lock(self, category: str, timeout: float | None = None) -> Iterator[None]:
        """Hold a category's lock: a context manager for a read-modify-write of the caller's own.

        Others who change the category wait: threads in the order in which they came, and other processes, but not the
        kernel, which takes no locks. Re-entrant in a thread. In a forked child the lock stays the parent's.

        Args:
            category: The category.
            timeout: How long to wait, in seconds; `lock_timeout` by default.

        Raises:
            InvalidNameError: If *category* is not allowed, or the file system takes it for another.
            LockTimeoutError: If the lock was not free in time.
            TypeError, ValueError: If *timeout* is not a number, negative or not finite.
        """
        names.check_category(category)
        timeout = self.lock_timeout if timeout is None else _checked_timeout(timeout)
        directory = self._tree.make_own_directory("locks")
        with locks.hold(directory, self._tree.real_category(category), timeout) as first:
            if not first:
                yield
                return
            self._spelling.refuse_category(category)
            with reading.in_step(self._tree.directory(category)):
                yield

    def check(self, *, progress: Progress | None = None, probe: bool = False) -> list[Problem]:
        """Find every file that this library or the kernel could not read, and orphaned temporary files.

        Whatever is wrong with one file, the others are checked too. No document is changed, and no lock of one taken:
        what others save meanwhile may or may not be seen. Without *probe* nothing at all is changed.

        Args:
            progress: What wraps an iterable and tells of each item, such as ``tqdm.tqdm``; is given a list of the files
                and categories.
            probe: Also try the directory as `probe` does: what it does not give is a problem.

        Returns:
            The problems, each with its kind, its path, what is wrong and where, and what can be done.

        """
        from oxios_state.maintenance import check as checking

        found = [checking.problem_of(self.base_path, finding) for finding in (self.probe() if probe else [])]
        return [*filter(None, found), *checking.check(self._tree, progress)]

    def probe(self) -> list[Finding]:
        """Try what the directory gives of what this library's promises rest on.

        That is done in a new directory of this library's own, which is made as a first save would and removed again,
        and with another process, which is ended. No document is touched.

        Returns:
            What was tried, and what was found. What failed, or could not be tried, is a finding too; where nothing can
            be written, that is the only one.
        """
        from oxios_state.maintenance import probe as probing

        return probing.probe(self._tree)

    def quarantine(self, problem: Problem) -> Quarantined | None:
        """Move a file that `check` found out of the way, under the lock of its category. Nothing of it is lost.

        Returns:
            What `restore` puts back; None if the file is gone, or no longer has the problem, and nothing was moved.

        Raises:
            ValueError: If the problem is that of another store, or of the file system.
            OSError: If the file cannot be moved; it is then where it was.
            LockTimeoutError: If the category's lock was not free in time.
        """
        from oxios_state.maintenance import check as checking
        from oxios_state.maintenance import quarantine

        self._tree.refuse_outside(problem.path)
        with self._lock_for(problem.path, problem.path):
            if not reading.is_there(problem.path) or not checking.persists(self._tree, problem):
                return None
            return quarantine.move_in(self._tree, problem.path, problem.reason)

    def quarantined(self) -> list[Quarantined]:
        """List what is in quarantine, the oldest first.

        An entry whose reason cannot be read is left out, with a warning in the log ``oxios_state``.
        """
        from oxios_state.maintenance import quarantine

        return quarantine.entries(self._tree)

    def restore(self, entry: Quarantined) -> None:
        """Put a file from quarantine back in its place, under the lock of its category.

        Raises:
            FileExistsError: If there is a file in its place again.
            FileNotFoundError: If it is no longer in quarantine.
            DurabilityError: If it is restored, but a power cut could leave it in quarantine too.
            ValueError: If it is another store's, or its place is not in a category.
            LockTimeoutError: If the category's lock was not free in time.
        """
        from oxios_state.maintenance import quarantine

        self._tree.refuse_outside(entry.path)
        with self._lock_for(entry.path, entry.content):
            quarantine.move_out(self._tree, entry)

    @contextmanager
    def _lock_for(self, path: Path, moved: Path) -> Iterator[None]:
        """Hold the lock of the category that a path is in and, if what is *moved* is a category, its own."""
        directories = [path.parent, path] if moved.is_dir() and not moved.is_symlink() else [path.parent]
        categories = [directory.relative_to(self.base_path).as_posix() for directory in directories]
        with self._locks(*filter(names.is_category, categories)):  # what no method takes has no lock
            yield

    @contextmanager
    def _locks(self, *categories: str) -> Iterator[None]:
        with ExitStack() as stack:
            # In the order of their names, as everybody who needs two: so no two can wait for each other. Of the names
            # that the directories have: one that is a link has the lock of what it leads to.
            for category in sorted(set(categories), key=self._tree.real_category):
                stack.enter_context(self.lock(category))
            yield

    def _path(self, category: str, name: str, extension: str) -> Path:
        names.check_category(category)
        names.check_name(name, extension)
        return self._tree.document(category, name, extension)

    def _save(self, category: str, path: Path, content: bytes, decode: Callable[[bytes, Path], object]) -> None:
        with staging.Staged(self._tree, path, (content,)) as staged:
            sound = replacing.sound_identity(path, decode)
            with self.lock(category):
                self._spelling.refuse_document(path)
                with replacing.keeping(self._tree, path, decode, sound):
                    staged.replace()
            staged.sync()

    def _delete(self, category: str, paths: list[Path]) -> bool:
        """Delete the first of *paths* that is there."""
        if not any(map(reading.is_there, paths)):
            return False  # without making a lock in a directory that may not exist
        with self.lock(category):
            deleted = any(map(self._remove, paths))
            if deleted:
                self._tree.sync(paths[0].parent, "the document is deleted")
        return deleted

    def _remove(self, path: Path) -> bool:
        self._spelling.refuse_document(path)
        return self._tree.remove(path)


def _checked_base(base_path: str | os.PathLike[str]) -> Path:
    path = os.path.expanduser(os.fspath(base_path))
    if not isinstance(path, str):
        raise TypeError(f"base_path must be str or os.PathLike[str], not {type(base_path).__name__}")
    if not path:
        raise ValueError("the base path is empty; for the working directory, write '.'")
    if path.startswith("~"):
        raise ValueError(f"there is no such user, or no home directory: {path!r}")
    if "\0" in path:
        raise ValueError(f"a path cannot hold a NUL: {path!r}")
    return Path(os.path.abspath(path))


def _checked_timeout(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"a time-out is a number of seconds, not {type(seconds).__name__}")
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise ValueError(f"a time-out must be finite and not negative: {seconds!r}")
    return seconds
