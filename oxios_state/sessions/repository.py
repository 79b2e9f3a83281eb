"""Sessions: saving, editing and loading conversations as documents of one category."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING

from oxios_state.codec import documents as codec
from oxios_state.documents import DocumentStore
from oxios_state.errors import SessionConflictError, SessionNotFoundError, SessionOwnerError
from oxios_state.maintenance import replacing
from oxios_state.model.progress import over
from oxios_state.model.session import Session
from oxios_state.sessions import cache as recent
from oxios_state.sessions.cache import RecentSessions
from oxios_state.sessions.index import SESSIONS, Summaries
from oxios_state.storage import atomic_write as staging
from oxios_state.storage import names
from oxios_state.storage import reads as reading

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

    from oxios_state.model.progress import Progress
    from oxios_state.model.sequences import SessionList
    from oxios_state.sessions.finding import SessionFilter
    from oxios_state.sessions.search import Needle, SearchHit
    from oxios_state.storage.revisions import Revision


class SessionStore(DocumentStore):
    """The sessions in one directory: what `StateStore` builds on."""

    def __init__(
        self,
        base_path: str | os.PathLike[str],
        *,
        durable: bool = True,
        lock_timeout: float = 30.0,
        cache_bytes: int = 128 * 2**20,
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
        if not reading.is_there(path):
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

    def list_sessions(
        self,
        *,
        user_id: str | None = None,
        project_id: str | None = None,
        updated_after: date | str | None = None,
        updated_before: date | str | None = None,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> SessionList:
        """Summarise all sessions, or those that are asked for: the latest ``updated_at`` first, ties by id.

        A file that cannot be read is left out, with a warning in the log ``oxios_state`` that says which and why.

        Args:
            user_id: Only the sessions of this user.
            project_id: Only the sessions whose summary names this project.
            updated_after: Only the sessions that were last changed then or later. A `datetime`, a `date`, or a text
                with a year such as ``2026-03-01``, ``1 March 2026, 10:00`` or ``March 2026``, which is its beginning.
                What has no time zone is in that of the system.
            updated_before: Only the sessions that were last changed before that, and not then.
            limit: At most so many, the latest.
            progress: What wraps an iterable and tells of each item, such as ``tqdm.tqdm``; is given a list of the
                files.

        Raises:
            TypeError: If an argument is of another type.
            ValueError: If a text is not understood as a date, or could mean several; or *limit* is negative.
        """
        from oxios_state.model.sequences import SessionList
        from oxios_state.sessions.finding import SessionFilter, checked_limit

        asked = SessionFilter(user_id, project_id, updated_after, updated_before)
        last = checked_limit(limit)
        return SessionList(asked.choose(summary for summary, _ in self._summaries.list(progress))[:last])

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
    ) -> Iterator[SearchHit]:
        """Search what was said and done, in all sessions or those that are asked for, the latest first.

        Messages, responses, and the arguments (strings and whole numbers) and outputs of tool calls are searched; case
        does not matter, as `str.casefold` has it. Each that has the text gives one hit, in the order of the session's
        turns, as soon as it is found: a program that has enough just stops. No lock is held meanwhile, and a file is
        read once, when it is its turn.

        A file that cannot be read is left out, with a warning in the log ``oxios_state`` that says which and why.

        Args:
            text: The text, as it stands in there: white space and quotes count.
            user_id: As for `list_sessions`.
            project_id: As for `list_sessions`.
            updated_after: As for `list_sessions`.
            updated_before: As for `list_sessions`.
            limit: At most so many hits.
            context: How many characters a snippet shows on each side of the text.
            progress: What wraps an iterable and tells of each item, such as ``tqdm.tqdm``; is given a list of the files
                to summarise, and then one of the sessions to search.

        Raises:
            TypeError: If an argument is of another type.
            ValueError: If *text* is empty, and as for `list_sessions`.
        """
        from oxios_state.sessions.finding import SessionFilter, checked_limit
        from oxios_state.sessions.search import Needle

        asked = SessionFilter(user_id, project_id, updated_after, updated_before)
        return self._search(Needle(text, context), asked, checked_limit(limit), progress)

    def _search(
        self, needle: Needle, asked: SessionFilter, limit: int | None, progress: Progress | None
    ) -> Iterator[SearchHit]:
        from oxios_state.sessions.search import search

        chosen = asked.choose(summary for summary, _ in self._summaries.list(progress))
        hits = search(over(chosen, progress), self._session_path, needle, asked)
        yield from islice(hits, limit)

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

    def _session_path(self, session_id: str) -> Path:
        names.check_name(session_id, ".json")
        return self._tree.document(SESSIONS, session_id, ".json")

    def _path_of(self, session: Session) -> Path:
        if type(session) is not Session:  # what a subclass adds would be lost
            raise TypeError(f"a Session is expected, not {type(session).__name__}")
        return self._session_path(session.id)

    def _save_session(self, session: Session, path: Path, *, only_unchanged: bool) -> None:
        text, image = recent.image_of(session, path)
        known = {session.revision.identity if session.revision else None, self._recent.known(path)}
        with staging.Staged(self._tree, path, text) as staged:
            sound = None if only_unchanged else replacing.sound_identity(path, codec.decode_named, known)
            with self.lock(SESSIONS):
                self._spelling.refuse_document(path, known)
                if only_unchanged:
                    _check_unchanged(session.revision, path)
                    session.revision = staged.replace()
                else:
                    with replacing.keeping(self._tree, path, codec.decode_named, sound):
                        session.revision = staged.replace()
            self._recent.keep(path, session.revision, image)
            staged.sync()


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
