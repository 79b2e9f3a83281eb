"""The state store: sessions and pruning, on top of the documents. It decides; it computes nothing."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from oxios_state import codec, files, names, pruning, staging, summaries, timestamps
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
from oxios_state.summaries import SESSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from oxios_state.pruning import PruneThrottle

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

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If *lock_timeout* is negative or not finite.
    """

    def save_session(self, session: Session) -> None:
        """Save a session, whatever its file holds by now. Atomic; the last writer wins, as in the kernel.

        If its file cannot be read as a session, what it holds is kept in quarantine.

        Raises:
            InvalidNameError: If the session's id is not allowed.
            UnsupportedValueError: If the kernel could not read it back; with the path to the value.
            LockTimeoutError: If the lock of the sessions was not free in time.
            DurabilityError: If it is saved, but a power cut could undo it.
        """
        self._save_session(session, only_unchanged=False)

    def update_session(self, session: Session) -> None:
        """Save a session if its file is still what this object was loaded from or last saved as. Atomic.

        A session that was neither loaded nor saved is saved if there is no file. A save by the kernel is noticed,
        unless it falls in the instant between the last look at the file and its replacement.

        Raises:
            SessionConflictError: If the file was changed or deleted by another; nothing is written.
            InvalidNameError, UnsupportedValueError, LockTimeoutError, DurabilityError: As for `save_session`.
        """
        self._save_session(session, only_unchanged=True)

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
        missing = SessionNotFoundError(f"no session {session_id!r} in {self.base_path}")
        if not self._path(SESSIONS, session_id, ".json").exists():
            raise missing  # without making a lock in a directory that may not exist
        with self.lock(SESSIONS):
            session = self.load_session(session_id)
            if session is None:
                raise missing
            yield session
            self.update_session(session)

    def load_session(self, session_id: str) -> Session | None:
        """Load a session; None if there is none.

        Raises:
            InvalidNameError: If *session_id* is not allowed.
            CorruptStateError: If it is not a session, or the id in the file is not that of its name.
        """
        names.check_name(session_id, ".json")
        found = summaries.read_session(self._tree, session_id)
        if found is None:
            return None
        session, revision = found
        session.revision = revision
        return session

    def list_sessions(self) -> list[SessionSummary]:
        """Summarise all sessions: the latest `updated_at` first, ties by id.

        A file that cannot be read is left out, with a warning in the log ``oxios_state`` that says which and why.
        """
        return [summary for summary, _ in summaries.list_sessions(self._tree)]

    def delete_session(self, session_id: str) -> bool:
        """Delete a session, readable or not.

        Returns:
            Whether it was there.

        Raises:
            InvalidNameError: If *session_id* is not allowed.
            LockTimeoutError: If the lock of the sessions was not free in time.
            DurabilityError: If it is deleted, but a power cut could undo that.
        """
        return self._delete(SESSIONS, [self._path(SESSIONS, session_id, ".json")])

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
        listed = summaries.list_sessions(self._tree)
        chosen = pruning.choose([summary for summary, _ in listed], config, timestamps.now(), keep)
        if dry_run:
            return chosen
        revisions = {summary.id: revision for summary, revision in listed}
        removed: list[SessionSummary] = []
        failures: list[OSError | StateError] = []
        for summary in chosen:
            try:
                if self._remove_unchanged(summary.id, revisions[summary.id], archive):
                    removed.append(summary)
            except LockTimeoutError as error:
                error.add_note(f"{len(removed)} sessions were removed before")
                raise
            except (OSError, StateError) as error:
                failures.append(error)
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

    def _save_session(self, session: Session, *, only_unchanged: bool) -> None:
        if type(session) is not Session:  # what a subclass adds would be lost
            raise TypeError(f"a Session is expected, not {type(session).__name__}")
        path = self._path(SESSIONS, session.id, ".json")
        content = codec.encode_session(session, path)
        revision = files.revision_of(content)
        with staging.Staged(self._tree, path, content) as staged:
            if not only_unchanged:
                self._keep_if_corrupt(path, summaries.decode_session, session.revision)
            with self.lock(SESSIONS):
                if only_unchanged:
                    _check_unchanged(session, path)
                staged.replace()
            session.revision = revision
            staged.sync()

    def _remove_unchanged(self, session_id: str, revision: bytes, archive: str | None) -> bool:
        with ExitStack() as stack:
            # In the order of their names, as everybody who needs two: so no two can wait for each other.
            for category in sorted({SESSIONS, archive or SESSIONS}):
                stack.enter_context(self.lock(category))
            path = self._path(SESSIONS, session_id, ".json")
            raw = files.read(path)
            if raw is None or files.revision_of(raw) != revision:
                return False
            if archive is None:
                return self._tree.remove(path)
            if path.is_symlink():
                raise InvalidNameError(f"a symbolic link is not archived: {path}")
            return self._archive(path, archive, session_id)

    def _archive(self, path: Path, archive: str, session_id: str) -> bool:
        number = 1
        while True:
            name = session_id if number == 1 else f"{session_id}.{number}"
            try:
                return self._tree.move(path, self._path(archive, name, ".json"))
            except FileExistsError:
                number += 1


def _check_unchanged(session: Session, path: Path) -> None:
    raw = files.read(path)
    if raw is None and session.revision is None:
        return
    if raw is None:
        raise SessionConflictError(f"not saved, it was deleted since it was loaded: {path}")
    if session.revision is None:
        raise SessionConflictError(f"not saved, there is a session of this id already: {path}")
    if files.revision_of(raw) != session.revision:
        raise SessionConflictError(f"not saved, it was changed by another since it was loaded: {path}")
