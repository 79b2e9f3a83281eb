"""The state store: the whole public interface on one page. It delegates to its parts and computes nothing."""

import os
import sys
import threading
from contextlib import AbstractContextManager
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

from oxios_state.model.display import display
from oxios_state.model.progress import Progress
from oxios_state.model.session import Session
from oxios_state.model.validators import check_count, check_number
from oxios_state.sessions.retention import PruneConfig, PruneThrottle
from oxios_state.storage import forks

if TYPE_CHECKING:  # their import is a fifth of that of this package, and a program may need none of them
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from oxios_state.documents import Documents
    from oxios_state.maintenance.problems import Finding, Problem, Quarantine
    from oxios_state.model.summary import SessionList, SessionSummary
    from oxios_state.sessions.repository import Sessions
    from oxios_state.sessions.search import SearchHit

_T = TypeVar("_T")
_D = TypeVar("_D")

# Held during each late import, and during a fork: a child that is forked in the middle of an import would wait for
# ever for a thread that it does not have. Re-entrant for a signal handler.
_importing = threading.RLock()
forks.at_fork(before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release)


class StateStore:
    """The state in one directory, shared with the Oxios kernel, other processes and other threads.

    A store is cheap to create, safe to share between threads, and can be pickled. Nothing is created on disk before the
    first save, except for a cache of summaries where there are sessions to list. Readers take no lock: they find a
    document's old content or its new one, whole. Every change takes the lock of its category.

    Any method may raise `OSError` where the file system does, with the file's name. An `OSError` from a save that
    begins with "not saved" leaves the document unchanged; `DurabilityError` says that it was saved. While the
    interpreter shuts down, as in ``__del__``, every method raises `RuntimeError`; functions registered with ``atexit``
    can still save.

    A notebook, and ``print``, show the content of a store; both read it. ``repr`` reads nothing.

    Args:
        base_path: The directory; ``~`` is expanded, and a relative path is resolved against the working directory now.
        durable: Whether a save returns only when its data would survive a power cut. If not, a power cut may undo or
            tear the last saves.
        lock_timeout: How long to wait for a lock, in seconds.
        cache_bytes: How much memory the store may use, in bytes, to keep the sessions that it saved or loaded last, and
            the summaries of the last list: an upper bound, whatever the layout of the files. 0 keeps neither; lists
            read the cache file then, as they do if the summaries do not fit. What another process changed is read
            again.
        max_file_bytes: The size of the largest file that the store reads or saves, in bytes. A larger one is a
            `CorruptStateError` of that file and is not read; a larger save is an `UnsupportedValueError`.
        read_only: Whether every change is refused. Nothing is written then, not even a cache or a lock file: for a
            notebook beside a running kernel. A method that changes something raises `OSError` (``EROFS``); loading,
            listing, searching and `check` work.

    Raises:
        TypeError: If an argument has another type.
        ValueError: If *lock_timeout* is negative or not finite, *cache_bytes* negative, or *max_file_bytes* below 1.

    Example:
        >>> store = StateStore("~/oxios")
        >>> session = store.get_or_create_session("ada", "first")
        >>> with store.edit_session("first") as session:
        ...     session.add_user_message("List the files")
        >>> [summary.title for summary in store.list_sessions()]
        ['List the files']
    """

    __module__ = "oxios_state"

    def __init__(
        self,
        base_path: str | os.PathLike[str],
        *,
        durable: bool = True,
        lock_timeout: float = 30.0,
        cache_bytes: int = 128 * 2**20,
        max_file_bytes: int = 2**30,
        read_only: bool = False,
    ) -> None:
        for name, value in (("durable", durable), ("read_only", read_only)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be bool, not {type(value).__name__}")
        self._base_path = _absolute(base_path)
        self._durable = durable
        self._lock_timeout = check_number("lock_timeout", lock_timeout, threading.TIMEOUT_MAX)
        self._cache_bytes = check_count("cache_bytes", cache_bytes)
        if not check_count("max_file_bytes", max_file_bytes):
            raise ValueError("max_file_bytes must be at least 1")
        self._max_file_bytes = max_file_bytes
        self._read_only = read_only
        self._parts: dict[str, Any] = {}

    def __repr__(self) -> str:
        names = ("durable", "lock_timeout", "cache_bytes", "max_file_bytes", "read_only")
        options = ", ".join(f"{name}={getattr(self, name)}" for name in names)
        return f"{type(self).__name__}({str(self.base_path)!r}, {options})"

    def __str__(self) -> str:
        return display(self, "text")

    def _repr_html_(self) -> str:
        return display(self, "html")

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_parts": {}}  # a copy has caches and locks of its own

    _is_finalizing = staticmethod(sys.is_finalizing)  # when the interpreter shuts down, `sys` may be gone

    # The parts are imported and created when they are first needed: importing them costs more than the rest of this
    # package. If two threads create a part at once, both use the one that was stored first.

    @property
    def _documents(self) -> "Documents":
        if self._is_finalizing():
            raise RuntimeError(
                "not saved, and not loaded: the interpreter is shutting down, and modules that are needed may be gone."
                " Save earlier, or in a function that is registered with atexit"
            )
        if "documents" not in self._parts:
            with _importing:
                from oxios_state.documents import Documents  # imports cattrs and filelock

            part = Documents(
                self.base_path,
                durable=self.durable,
                lock_timeout=self.lock_timeout,
                max_file_bytes=self.max_file_bytes,
                read_only=self.read_only,
            )
            self._parts.setdefault("documents", part)
        documents: Documents = self._parts["documents"]
        return documents

    @property
    def _sessions(self) -> "Sessions":
        documents = self._documents
        if "sessions" not in self._parts:
            with _importing:
                from oxios_state.sessions.repository import Sessions  # imports cattrs and filelock

            self._parts.setdefault("sessions", Sessions(documents, self.cache_bytes))
        sessions: Sessions = self._parts["sessions"]
        return sessions

    @property
    def base_path(self) -> "Path":
        """The directory, absolute."""
        return self._base_path

    @property
    def durable(self) -> bool:
        """Whether a save returns only when its data would survive a power cut."""
        return self._durable

    @property
    def lock_timeout(self) -> float:
        """How long to wait for a lock, in seconds."""
        return self._lock_timeout

    @property
    def cache_bytes(self) -> int:
        """How much memory the store may use to keep sessions and summaries, in bytes."""
        return self._cache_bytes

    @property
    def max_file_bytes(self) -> int:
        """The size of the largest file that the store reads or saves, in bytes."""
        return self._max_file_bytes

    @property
    def read_only(self) -> bool:
        """Whether every change is refused."""
        return self._read_only

    # Documents.

    def save_markdown(self, category: str, name: str, content: str) -> None:
        """Save a Markdown document: exactly this text, in UTF-8. Atomic; the last writer wins.

        An existing file that is not UTF-8 is copied to quarantine.

        Args:
            category: The category.
            name: The document's name.
            content: The text.

        Raises:
            InvalidNameError: If *category* or *name* is not allowed.
            UnsupportedValueError: If *content* has a lone surrogate, or is larger than `max_file_bytes`.
            LockTimeoutError: If the category's lock was not free in time.
            DurabilityError: If it is saved, but a power cut could undo it.
            TypeError: If *content* is not a string.
        """
        self._documents.save_markdown(category, name, content)

    def load_markdown(self, category: str, name: str) -> str | None:
        """Load a Markdown document; return None if there is none.

        Raises:
            InvalidNameError: If *category* or *name* is not allowed.
            CorruptStateError: If it is not UTF-8 text in a regular file, or is larger than `max_file_bytes`.
        """
        return self._documents.load_markdown(category, name)

    def save_json(self, category: str, name: str, data: Any) -> None:
        """Save a JSON document. Atomic; the last writer wins. An existing file that is not JSON goes to quarantine.

        Args:
            category: The category.
            name: The document's name.
            data: A JSON value, or an object that `converter` turns into one: an attrs class or dataclass, which may
                contain `datetime`, `UUID`, `Path`, `Enum`, `Decimal`, `bytes` (base64), sets and classes.

        Raises:
            InvalidNameError: If *category* or *name* is not allowed.
            UnsupportedValueError: If the kernel could not read *data* back, with the JSON path of the value; or if the
                document would be larger than `max_file_bytes`.
            LockTimeoutError: If the category's lock was not free in time.
            DurabilityError: If it is saved, but a power cut could undo it.
        """
        self._documents.save_json(category, name, data)

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
            type: The type of the result: a class, or a type such as ``list[int]``, that `converter` knows. Nothing is
                coerced. By default the plain JSON value.
            default: The result if there is no such document.

        Raises:
            InvalidNameError: If *category* or *name* is not allowed.
            CorruptStateError: If it is not JSON, or not a *type*, with every fault and its place; or if it is larger
                than `max_file_bytes`. Errors of your class or hook other than `ValueError`, `TypeError`, `LookupError`
                and `ArithmeticError` pass unchanged.
            cattrs.StructureHandlerNotFoundError: If `converter` does not know *type*.
        """
        return self._documents.load_json(category, name, type, default)

    def list_category(self, category: str) -> list[str]:
        """List the documents of a category: names without extension, sorted, each once.

        The documents of the categories below it are not listed. Files that this library refuses to load are left out:
        those whose names are not allowed, and links that lead outside.

        Raises:
            InvalidNameError: If *category* is not allowed.
        """
        return self._documents.names(category)

    def delete_file(self, category: str, name: str) -> bool:
        """Delete the JSON document of this name if there is one, else the Markdown document.

        Returns:
            Whether something was deleted.

        Raises:
            InvalidNameError: If *category* or *name* is not allowed.
            LockTimeoutError: If the category's lock was not free in time.
            DurabilityError: If it is deleted, but a power cut could undo that.
        """
        return self._documents.delete_either(category, name)

    def lock(self, category: str, timeout: float | None = None) -> AbstractContextManager[None]:
        """Hold a category's lock in a ``with`` block, for a read-modify-write of your own.

        Others who change the category wait: threads in the order in which they came, and other processes, but not the
        kernel, which takes no locks. Re-entrant in a thread. In a forked child the lock remains the parent's.

        Args:
            category: The category.
            timeout: How long to wait, in seconds; by default `lock_timeout`.

        Raises:
            InvalidNameError: If *category* is not allowed, or the file system takes it for another.
            LockTimeoutError: If the lock was not free in time.
            TypeError, ValueError: If *timeout* is not a number, negative or not finite.
        """
        if timeout is not None:
            check_number("timeout", timeout, threading.TIMEOUT_MAX)
        return self._documents.locks.hold(category, timeout)

    # Sessions.

    def save_session(self, session: Session) -> None:
        """Save a session, whatever its file contains by now. Atomic; the last writer wins, as in the kernel.

        An existing file that cannot be read as a session is copied to quarantine.

        Raises:
            InvalidNameError: If the session's id is not allowed.
            UnsupportedValueError: If the kernel could not read it back, with the JSON path of the value; or if it is
                larger than `max_file_bytes`.
            LockTimeoutError: If the lock of the sessions was not free in time.
            DurabilityError: If it is saved, but a power cut could undo it.
        """
        self._sessions.save(session)

    def update_session(self, session: Session) -> None:
        """Save a session if its file is unchanged since this object was loaded or last saved. Atomic.

        A session that was neither loaded nor saved is saved if there is no file. A save by the kernel is noticed,
        unless it falls in the instant between the last look at the file and its replacement.

        Raises:
            SessionConflictError: If another process changed or deleted the file; nothing is written.
            InvalidNameError, UnsupportedValueError, LockTimeoutError, DurabilityError: As for `save_session`.
        """
        self._sessions.update(session)

    def edit_session(self, session_id: str) -> AbstractContextManager[Session]:
        """Edit a session under the lock in a ``with`` block: load it, yield it, and save it if the block succeeds.

        The save is that of `update_session`: an edit of the same session inside the block, or a save by the kernel
        while it runs, is a conflict and never lost.

        Raises:
            SessionNotFoundError: If there is no such session.
            CorruptStateError: If it cannot be read.
            SessionConflictError: If it was changed or deleted meanwhile; nothing is written. The yielded object still
                has the changes of the block. If the session was deleted, `save_session` saves it again.
            InvalidNameError, UnsupportedValueError, LockTimeoutError, DurabilityError: As for `save_session`.
        """
        return self._sessions.edit(session_id)

    def load_session(self, session_id: str) -> Session | None:
        """Load a session; return None if there is none.

        Raises:
            InvalidNameError: If *session_id* is not allowed.
            CorruptStateError: If it is not a session, or its id is not the name of its file.
        """
        return self._sessions.load(session_id)

    def list_sessions(
        self,
        *,
        user_id: str | None = None,
        project_id: str | None = None,
        updated_after: date | str | None = None,
        updated_before: date | str | None = None,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> "SessionList":
        """Return the summaries of all sessions, or of some: the latest ``updated_at`` first, ties by id.

        A file that cannot be read is left out, with a warning in the log ``oxios_state`` that names it and the reason.

        Args:
            user_id: Only the sessions of this user.
            project_id: Only the sessions whose summary names this project. A session with several projects is listed
                under the first.
            updated_after: Only the sessions last changed at this time or later: a `datetime`, a `date`, or a text with
                a year such as ``2026-03-01``, ``1 March 2026, 10:00`` or ``March 2026``, which means its beginning.
                Without a time zone, local time is assumed. A local time that the clock skipped means the moment of the
                change. Of one that occurs twice, a datetime means the first, or with ``fold=1`` the second.
            updated_before: Only the sessions last changed before this time.
            limit: The maximum number of sessions.
            progress: Wraps the list of files, to show progress: a callable such as ``tqdm.tqdm``.

        Raises:
            TypeError: If an argument has another type.
            ValueError: If a text is not understood as a date, could mean several, or is a local time that occurs twice;
                or *limit* is negative.
        """
        conditions = user_id, project_id, updated_after, updated_before
        return self._sessions.summaries(conditions, limit, progress)

    def search_sessions(
        self,
        text: str,
        *,
        user_id: str | None = None,
        project_id: str | None = None,
        updated_after: date | str | None = None,
        updated_before: date | str | None = None,
        limit: int | None = None,
        context: int = 40,
        progress: Progress | None = None,
    ) -> "Iterator[SearchHit]":
        """Search what was said and done, in all sessions or in some, the latest first.

        Titles (``title`` in the metadata), messages, responses, and the names, arguments (strings and whole numbers)
        and outputs of tool calls are searched. Case is ignored, as by `str.casefold`, and so is canonical
        normalisation: ``é`` is the same as one character and as a letter with an accent. Each text that contains
        *text* yields one hit, as soon as it is found: the title first, then in the order of the session's turns. Stop
        iterating when you have enough. No lock is held meanwhile, and each file is read once, when it is its turn.

        A file that cannot be read is left out, with a warning in the log ``oxios_state`` that names it and the reason.

        Args:
            text: The text, literally: white space and quotes count.
            user_id: As for `list_sessions`.
            project_id: As for `list_sessions`.
            updated_after: As for `list_sessions`.
            updated_before: As for `list_sessions`.
            limit: The maximum number of hits.
            context: How many characters a snippet shows on each side of the match.
            progress: Wraps the list of files to summarise, and then the list of sessions to search, to show progress.

        Raises:
            TypeError: If an argument has another type.
            ValueError: If *text* is empty, and as for `list_sessions`.
        """
        conditions = user_id, project_id, updated_after, updated_before
        return self._sessions.search(text, context, conditions, limit, progress)

    def delete_session(self, session_id: str) -> bool:
        """Delete a session, readable or not: its file.

        Copies elsewhere stay: those in `quarantine`, which a save over a corrupt file makes and `Quarantine.discard`
        removes, archived ones, those in your backups, and in the history of git.

        Returns:
            Whether it existed.

        Raises:
            InvalidNameError: If *session_id* is not allowed.
            LockTimeoutError: If the lock of the sessions was not free in time.
            DurabilityError: If it is deleted, but a power cut could undo that.
        """
        return self._sessions.delete(session_id)

    def get_or_create_session(self, user_id: str, session_id: str | None = None) -> Session:
        """Return the session of this id, or create and save a new one for the user.

        If several threads or processes ask for one id at once, one creates the session and all get it.

        Args:
            user_id: The user.
            session_id: The session's id; None creates a new session with a new id.

        Raises:
            SessionOwnerError: If the session belongs to another user.
            CorruptStateError: If it exists and cannot be read.
            SessionConflictError: If another process repeatedly created and deleted it.
            InvalidNameError, UnsupportedValueError, LockTimeoutError, DurabilityError: As for `save_session`.
        """
        return self._sessions.get_or_create(user_id, session_id)

    # Pruning.

    def prune(
        self,
        config: PruneConfig = PruneConfig(),
        *,
        dry_run: bool = False,
        keep: "Callable[[SessionSummary], object] | None" = None,
        archive: str | None = None,
        now: datetime | None = None,
        confirm: "Callable[[SessionList], object] | None" = None,
        progress: Progress | None = None,
    ) -> "SessionList":
        """Remove the sessions that are too old or too many, and the temporary files of dead writers.

        First every session that is older than ``ttl_hours`` goes, then the oldest beyond ``max_sessions``. Each session
        is checked again under the lock, and stays if anybody saved it since it was listed. A file that cannot be read
        stays. A session that cannot be removed does not stop the removal of the others.

        If sessions are removed, one line of level INFO in the log ``oxios_state`` says how many, and names the first
        twenty; lines of level DEBUG name the rest.

        Args:
            config: The rules; by default the kernel's, 100 sessions and 168 hours.
            dry_run: Remove nothing, and return what would be removed.
            keep: A predicate: a session that it accepts stays, and does not count.
            archive: A category that the sessions are moved into instead of being deleted. If it has a session of the
                same id already, the new one gets a number: ``ID.2``, ``ID.3``.
            now: The time that ages are counted from, with a time zone, instead of the clock's. For tests.
            confirm: Called once with the list of the sessions before any is removed, without a lock; not called if
                there are none, or with *dry_run*. If it returns a false value, nothing is removed, and the result is
                empty.
            progress: Wraps the list of files to summarise, and then the list of sessions to remove, to show progress:
                a callable such as ``tqdm.tqdm``. It runs without a lock.

        Returns:
            The summaries of the sessions that were removed, or with *dry_run* would be, the oldest first.

        Raises:
            InvalidNameError: If *archive* is not allowed.
            LockTimeoutError: If a lock was not free in time.
            DurabilityError: If sessions are removed, but a power cut could undo that.
            OSError, StateError: If a session could not be removed: the first such error, with a note of how many were.
            TypeError, ValueError: If *now* is not a datetime with a time zone.
        """
        return self._sessions.prune(
            config, dry_run=dry_run, keep=keep, archive=archive, now=now, confirm=confirm, progress=progress
        )

    def save_session_with_prune(
        self, session: Session, config: PruneConfig, throttle: PruneThrottle | None = None
    ) -> "SessionList":
        """Save a session as `save_session` does, then prune if the throttle allows it.

        The session itself is not removed: it counts as the latest, whatever its ``updated_at``. Another prune goes by
        ``updated_at``. A prune that fails is logged in the log ``oxios_state``, and never raised.

        Args:
            session: The session.
            config: The rules of pruning.
            throttle: Decides whether to prune; without one, each call does.

        Returns:
            The summaries of the sessions that were removed, the oldest first. It is empty if the throttle did not allow
            a prune. If the prune failed, it has those that were removed before.

        Raises:
            InvalidNameError, UnsupportedValueError, LockTimeoutError, DurabilityError: As for `save_session`.
        """
        return self._sessions.save_and_prune(session, config, throttle)

    # Maintenance.

    def check(self, *, progress: Progress | None = None, probe: bool = False) -> "list[Problem]":
        """Find every file that this library or the kernel could not read, and orphaned temporary files.

        A problem of one file does not stop the check of the others. No document is changed or locked: saves by others
        meanwhile may or may not be seen. Without *probe* nothing at all is changed.

        Args:
            progress: Wraps the list of files and categories, to show progress: a callable such as ``tqdm.tqdm``.
            probe: Also try the directory as `probe` does: a feature that it lacks is a problem.

        Returns:
            The problems, each with its kind, path, reason and remedy.
        """
        tree = self._documents.tree
        with _importing:
            from oxios_state.maintenance.check import check  # imports cattrs

        findings = self.probe() if probe else []
        problems = [finding.problem(self.base_path) for finding in findings]
        return [*filter(None, problems), *check(tree, progress)]

    def probe(self) -> "list[Finding]":
        """Try the operations that this library's promises rest on, to find out whether the directory supports them.

        The trials run in a new directory of the library's own, which is created as a first save would create it and
        removed again, and in a second process, which is ended. No document is touched.

        Returns:
            The findings. A trial that failed, or was not possible, is a finding too; where nothing can be written, that
            is the only one.
        """
        tree = self._documents.tree
        with _importing:
            from oxios_state.maintenance.probe import probe  # imports subprocess

        return probe(tree)

    def sweep(self) -> "list[Path]":
        """Remove the temporary files of dead writers, and nothing else; `prune` does so, too.

        A writer of this library locks its temporary file, so one that nobody locks has no writer. The kernel's count
        as such after an hour, and on Windows all do. What they contain was never saved.

        Returns:
            The paths of the removed files.
        """
        return self._documents.sweep()

    @property
    def quarantine(self) -> "Quarantine":
        """The quarantine: a collection of the files that were moved out of the way, or copied before a save.

        Iterate over it, `Quarantine.add` problems to it, `Quarantine.restore` and `Quarantine.discard` its entries.
        """
        return self._documents.quarantine


def _absolute(base_path: str | os.PathLike[str]) -> "Path":
    path = os.path.expanduser(os.fspath(base_path))
    if not isinstance(path, str):
        raise TypeError(f"base_path must be str or os.PathLike[str], not {type(base_path).__name__}")
    if not path:
        raise ValueError("the base path is empty; for the working directory, write '.'")
    if path.startswith("~"):
        raise ValueError(f"there is no such user, or no home directory: {path!r}")
    if "\0" in path:
        raise ValueError(f"a path cannot contain NUL: {path!r}")
    with _importing:
        from pathlib import Path  # a twentieth of the import of this package

    return Path(os.path.abspath(path))
