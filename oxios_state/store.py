"""The state store: sessions and pruning, on top of the documents. It decides; it computes nothing."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from oxios_state import codec, names, pruning, reading, removal, sessiontext, staging, timestamps
from oxios_state.documents import DocumentStore
from oxios_state.errors import (
    InvalidNameError,
    LockTimeoutError,
    SessionConflictError,
    SessionNotFoundError,
    SessionOwnerError,
    StateError,
)
from oxios_state.model import Session, SessionSummary
from oxios_state.pruning import PruneConfig
from oxios_state.recent import RecentSessions
from oxios_state.summaries import SESSIONS, Summaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from oxios_state.pruning import PruneThrottle
    from oxios_state.revisions import Revision

_LONGEST_HOLD = 0.01  # seconds that a prune keeps others waiting
_log = logging.getLogger("oxios_state")


class StateStore(DocumentStore):
    """The state in one directory, shared with the kernel, other processes and other threads.

    A store is cheap to make, safe to share between threads, and can be pickled. Nothing is created before the first
    save. Readers take no lock: they find a document's old content or its new one, whole. What a save, and the order of
    changes, promise is said at each method; every change takes the lock of its category.

    Any method may raise `OSError` where the file system does, with the file's name. An `OSError` from a save that
    begins with "not saved" leaves the document as it was; `DurabilityError` says that it was saved.

    Args:
        base_path: The directory; ``~`` is expanded, and a relative path is taken from the working directory of now.
        durable: Whether a save returns only when the data would survive a power cut. Without, it may be undone by one,
            but not torn where the file system writes data before it writes a rename.
        lock_timeout: How long to wait for a lock, in seconds.
        cache_bytes: How much memory the store may use, in bytes, to keep the sessions that it saved or loaded last; 0
            keeps none. What another changed is read anew.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If *lock_timeout* is negative or not finite, or *cache_bytes* negative.
    """

    def __init__(
        self,
        base_path: str | os.PathLike[str],
        *,
        durable: bool = True,
        lock_timeout: float = 30.0,
        cache_bytes: int = 64 * 2**20,
    ) -> None:
        super().__init__(base_path, durable=durable, lock_timeout=lock_timeout)
        if type(cache_bytes) is not int:
            raise TypeError(f"cache_bytes must be int, not {type(cache_bytes).__name__}")
        if cache_bytes < 0:
            raise ValueError(f"cache_bytes must not be negative: {cache_bytes}")
        self._recent = RecentSessions(cache_bytes)
        self._summaries = Summaries(self._tree)

    @property
    def cache_bytes(self) -> int:
        """How much memory the store may use to keep sessions, in bytes."""
        return self._recent.limit

    def save_session(self, session: Session) -> None:
        """Save a session, whatever its file holds by now. Atomic; the last writer wins, as in the kernel.

        If its file cannot be read as a session, what it holds is kept in quarantine.

        Raises:
            InvalidNameError: If the session's id is not allowed.
            UnsupportedValueError: If the kernel could not read it back; with the path to the value.
            LockTimeoutError: If the lock of the sessions was not free in time.
            DurabilityError: If it is saved, but a power cut could undo it.
        """
        self._save_session(session, self._path_of(session), only_unchanged=False)

    def update_session(self, session: Session) -> None:
        """Save a session if its file is still what this object was loaded from or last saved as. Atomic.

        A session that was neither loaded nor saved is saved if there is no file. A save by the kernel is noticed,
        unless it falls in the instant between the last look at the file and its replacement.

        Raises:
            SessionConflictError: If the file was changed or deleted by another; nothing is written.
            InvalidNameError, UnsupportedValueError, LockTimeoutError, DurabilityError: As for `save_session`.
        """
        self._save_session(session, self._path_of(session), only_unchanged=True)

    @contextmanager
    def edit_session(self, session_id: str) -> Iterator[Session]:
        """Change a session under the lock: load it, yield it, and save it if the block ends without an exception.

        The save is that of `update_session`: an edit of the same session inside the block, or a save by the kernel
        while it runs, is a conflict and never lost.

        Raises:
            SessionNotFoundError: If there is no such session.
            CorruptStateError: If it cannot be read.
            SessionConflictError: If it was changed meanwhile; nothing is written.
            InvalidNameError, UnsupportedValueError, LockTimeoutError, DurabilityError: As for `save_session`.
        """
        path = self._session_path(session_id)
        missing = SessionNotFoundError(f"no session {session_id!r} in {self.base_path}")
        if not os.path.exists(path):
            raise missing  # without making a lock in a directory that may not exist
        with self.lock(SESSIONS):
            session = self._recent.load(path)
            if session is None:
                raise missing
            yield session
            self._save_session(session, path, only_unchanged=True)

    def load_session(self, session_id: str) -> Session | None:
        """Load a session; None if there is none.

        Raises:
            InvalidNameError: If *session_id* is not allowed.
            CorruptStateError: If it is not a session, or the id in the file is not that of its name.
        """
        return self._recent.load(self._session_path(session_id))

    def list_sessions(self) -> list[SessionSummary]:
        """Summarise all sessions: the latest `updated_at` first, ties by id.

        A file that cannot be read is left out, with a warning in the log ``oxios_state`` that says which and why.
        """
        return [summary for summary, _ in self._summaries.list()]

    def delete_session(self, session_id: str) -> bool:
        """Delete a session, readable or not.

        Returns:
            Whether it was there.

        Raises:
            InvalidNameError: If *session_id* is not allowed.
            LockTimeoutError: If the lock of the sessions was not free in time.
            DurabilityError: If it is deleted, but a power cut could undo that.
        """
        return self._delete(SESSIONS, [self._session_path(session_id)])

    def get_or_create_session(self, user_id: str, session_id: str | None = None) -> Session:
        """Give the session of this id, or make and save a new one for the user.

        Of several callers with one id, in whatever threads and processes, one makes the session and all get it.

        Args:
            user_id: The user.
            session_id: The session's id; None makes a new session with a new id.

        Raises:
            SessionOwnerError: If the session belongs to another user.
            CorruptStateError: If it is there and cannot be read.
            InvalidNameError, UnsupportedValueError, LockTimeoutError, DurabilityError: As for `save_session`.
        """
        session = Session(user_id, session_id)
        found = self.load_session(session.id)
        if found is None:
            with self.lock(SESSIONS):
                found = self.load_session(session.id)
                if found is None:
                    with suppress(SessionConflictError):  # the kernel, which takes no locks, made it meanwhile
                        self.update_session(session)
                        return session
                    found = self.load_session(session.id)
        if found is None:
            raise SessionConflictError(f"session {session.id!r} comes and goes while it is made")
        if found.user_id != user_id:
            raise SessionOwnerError(f"session {session.id!r} belongs to another user than {user_id!r}")
        return found

    def prune(
        self,
        config: PruneConfig = PruneConfig(),
        *,
        dry_run: bool = False,
        keep: Callable[[SessionSummary], object] | None = None,
        archive: str | None = None,
    ) -> list[SessionSummary]:
        """Remove the sessions that are too old or too many, and the temporary files of writers that died.

        Each session is looked at again under the lock, and stays if anybody saved it since it was listed. A file that
        cannot be read stays. One session that cannot be removed does not keep the others from it.

        Args:
            config: The rules.
            dry_run: Only say what would be removed.
            keep: What it returns true for stays, and does not count.
            archive: A category that the sessions are moved into instead of being deleted. One that has a session of
                this id already keeps it; the new one gets a number: ``ID.2``, ``ID.3``.

        Returns:
            The summaries of what was removed, or with *dry_run* would be, the oldest first.

        Raises:
            InvalidNameError: If *archive* is not allowed.
            LockTimeoutError: If a lock was not free in time.
            DurabilityError: If sessions are removed, but a power cut could undo that.
            OSError, StateError: If a session could not be removed: the first such error, with a note of how many were.
        """
        if archive is not None:
            names.check_category(archive)
            if self._tree.real_category(archive) == self._tree.real_category(SESSIONS):
                raise InvalidNameError("sessions cannot be archived into their own category")
        listed = self._summaries.list()
        chosen = pruning.choose([summary for summary, _ in listed], config, timestamps.now(), keep)
        if dry_run:
            return chosen
        revisions = {summary.id: revision for summary, revision in listed}
        waiting = deque((summary, revisions[summary.id]) for summary in chosen)
        removed: list[SessionSummary] = []
        failures: list[OSError | StateError] = []
        while waiting:
            try:
                with self._locks(SESSIONS, archive or SESSIONS):
                    self._remove_for_a_while(waiting, archive, removed, failures)
            except LockTimeoutError as error:
                error.add_note(f"{len(removed)} sessions were removed before")
                raise
        if removed:
            self._tree.sync(self._tree.directory(SESSIONS), f"{len(removed)} sessions are removed")
        staging.sweep(self._tree)
        if failures:
            failures[0].add_note(f"{len(removed)} sessions were removed, {len(failures)} could not be")
            raise failures[0]
        return removed

    def save_session_with_prune(
        self, session: Session, config: PruneConfig, throttle: PruneThrottle | None = None
    ) -> None:
        """Save a session as `save_session` does, then prune if the throttle allows.

        A prune that fails is logged in the log ``oxios_state``, and never raised.

        Args:
            session: The session.
            config: The rules of pruning.
            throttle: Says whether to prune; without one, each call does.

        Raises:
            InvalidNameError, UnsupportedValueError, LockTimeoutError, DurabilityError: As for `save_session`.
        """
        self.save_session(session)
        if throttle is None or throttle.should_prune():
            try:
                self.prune(config)
            except Exception:
                _log.warning("the session is saved, but pruning failed", exc_info=True)

    def _session_path(self, session_id: str) -> Path:
        names.check_name(session_id, ".json")
        return self._tree.document(SESSIONS, session_id, ".json")

    def _path_of(self, session: Session) -> Path:
        if type(session) is not Session:  # what a subclass adds would be lost
            raise TypeError(f"a Session is expected, not {type(session).__name__}")
        return self._session_path(session.id)

    def _save_session(self, session: Session, path: Path, *, only_unchanged: bool) -> None:
        with staging.Staged(self._tree, path, sessiontext.encode(session, path)) as staged:
            if not only_unchanged:
                known = {session.revision.identity if session.revision else None, self._recent.known(path)}
                self._keep_if_corrupt(path, codec.decode_named, known)
            with self.lock(SESSIONS):
                if only_unchanged:
                    _check_unchanged(session.revision, path)
                session.revision = staged.replace()
            self._recent.keep(path, session)
            staged.sync()

    @contextmanager
    def _locks(self, *categories: str) -> Iterator[None]:
        with ExitStack() as stack:
            # In the order of their names, as everybody who needs two: so no two can wait for each other.
            for category in sorted(set(categories)):
                stack.enter_context(self.lock(category))
            yield

    def _remove_for_a_while(
        self,
        waiting: deque[tuple[SessionSummary, Revision]],
        archive: str | None,
        removed: list[SessionSummary],
        failures: list[OSError | StateError],
    ) -> None:
        """Remove the first of the *waiting*, until it is time to let others have the lock."""
        until = time.monotonic() + _LONGEST_HOLD
        while waiting:
            summary, revision = waiting.popleft()
            try:
                if removal.remove_unchanged(self._tree, self._session_path(summary.id), revision, archive):
                    removed.append(summary)
            except (OSError, StateError) as error:
                failures.append(error)
            if time.monotonic() >= until:
                break


def _check_unchanged(revision: Revision | None, path: Path) -> None:
    found = reading.read_unknown(path, () if revision is None else (revision.identity,))
    if found is None and revision is None:
        return
    if found is None:
        raise SessionConflictError(f"not saved, it was deleted since it was loaded: {path}")
    if revision is None:
        raise SessionConflictError(f"not saved, there is a session of this id already: {path}")
    if found[0] is not None and not revision.holds(found[0]):
        raise SessionConflictError(f"not saved, it was changed by another since it was loaded: {path}")
