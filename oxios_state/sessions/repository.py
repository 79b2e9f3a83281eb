"""The sessions of a store: saving, editing, loading, listing, searching and pruning them."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING

from oxios_state.codec import incremental
from oxios_state.codec.documents import decode_named
from oxios_state.codec.incremental import SessionText
from oxios_state.errors import SessionConflictError, SessionNotFoundError, SessionOwnerError, StateError
from oxios_state.model.immutable import freeze, thaw
from oxios_state.model.progress import over
from oxios_state.model.revision import Revision
from oxios_state.model.session import Session, copy_of
from oxios_state.model.summary import SessionList, summarise
from oxios_state.model.validators import check_count
from oxios_state.model.values import SESSIONS
from oxios_state.sessions.cache import SessionCache
from oxios_state.sessions.filters import SessionFilter
from oxios_state.sessions.index import SessionIndex
from oxios_state.sessions.pruning import Removal
from oxios_state.sessions.retention import choose, time_of
from oxios_state.sessions.search import Needle, search_session
from oxios_state.storage import reads
from oxios_state.storage.atomic_write import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from oxios_state.documents import Documents
    from oxios_state.model.progress import Progress
    from oxios_state.model.revision import Identity
    from oxios_state.model.summary import SessionSummary
    from oxios_state.sessions.filters import Conditions
    from oxios_state.sessions.retention import PruneConfig, PruneThrottle
    from oxios_state.sessions.search import SearchHit

_log = logging.getLogger("oxios_state")


class Sessions:
    """The sessions in one base directory.

    Args:
        documents: The documents of the store; a session is one of them.
        cache_bytes: How much memory the kept sessions may take, in bytes.
    """

    def __init__(self, documents: Documents, cache_bytes: int) -> None:
        self._documents = documents
        self._cache = SessionCache(cache_bytes)
        self._index = SessionIndex(documents.tree, self._cache.reserve)

    def save(self, session: Session) -> None:
        """Save a session, whatever its file contains by now."""
        self._save(session, self._path_of(session), only_unchanged=False)

    def update(self, session: Session) -> None:
        """Save a session if its file is unchanged since this object was loaded or last saved."""
        self._save(session, self._path_of(session), only_unchanged=True)

    @contextmanager
    def edit(self, session_id: str) -> Iterator[Session]:
        """Load a session under the lock, yield it, and save it if the block succeeds."""
        self._documents.tree.refuse_change()
        path = self._path(session_id)
        missing = SessionNotFoundError(f"there is no session {session_id!r} in {self._documents.tree.base}")
        if not reads.is_there(path):
            raise missing  # without creating a lock file in a directory that may not exist
        with self._documents.locks.hold(SESSIONS):
            session = self._load(path)
            if session is None:
                raise missing
            yield session
            self._save(session, path, only_unchanged=True)

    def load(self, session_id: str) -> Session | None:
        """Load a session; return None if there is none."""
        return self._load(self._path(session_id))

    def delete(self, session_id: str) -> bool:
        """Delete a session, readable or not, and return whether it existed."""
        return self._documents.delete(SESSIONS, self._path(session_id))

    def get_or_create(self, user_id: str, session_id: str | None) -> Session:
        """Return the session of this id, or create and save one for the user."""
        if isinstance(session_id, str):
            self._path(session_id)  # refuses a bad name as such, before the session does
        session = Session(user_id, session_id)
        stored = self.load(session.id)
        if stored is None:
            with self._documents.locks.hold(SESSIONS):
                stored = self.load(session.id)
                if stored is None:
                    with suppress(SessionConflictError):  # the kernel, which takes no locks, created it meanwhile
                        self.update(session)
                        return session
                    stored = self.load(session.id)
        if stored is None:
            raise SessionConflictError(f"session {session.id!r} was repeatedly created and deleted by another process")
        if stored.user_id != user_id:
            raise SessionOwnerError(f"session {session.id!r} belongs to another user than {user_id!r}")
        return stored

    def summaries(self, conditions: Conditions, limit: int | None, progress: Progress | None) -> SessionList:
        """Return the summaries of the sessions that meet the conditions, the latest first."""
        limit = None if limit is None else check_count("limit", limit)
        return SessionList(self._chosen(SessionFilter(*conditions), progress)[:limit])

    def search(
        self, text: str, context: int, conditions: Conditions, limit: int | None, progress: Progress | None
    ) -> Iterator[SearchHit]:
        """Yield the places where the sessions that meet the conditions contain a text."""
        needle = Needle(text, context)
        limit = None if limit is None else check_count("limit", limit)
        stop = None if limit is None else min(limit, sys.maxsize)  # islice takes no more
        return islice(self._hits(needle, SessionFilter(*conditions), progress), stop)

    def _hits(self, needle: Needle, conditions: SessionFilter, progress: Progress | None) -> Iterator[SearchHit]:
        for summary in over(self._chosen(conditions, progress), progress):
            path, raw = self._documents.tree.base / SESSIONS / f"{summary.id}.json", None
            try:
                path = self._path(summary.id)
                raw = self._documents.read(path)
                if raw is None or not needle.may_be_in(raw):
                    continue
                session = decode_named(raw, path)
            except (StateError, OSError) as error:
                self._index.report(path, raw, error)
                continue
            if conditions.accepts(summarise(session)):  # again: it may have been saved since it was listed
                yield from search_session(session, needle)

    def prune(
        self,
        config: PruneConfig,
        *,
        dry_run: bool = False,
        keep: Callable[[SessionSummary], object] | None = None,
        archive: str | None = None,
        now: datetime | None = None,
        confirm: Callable[[SessionList], object] | None = None,
        progress: Progress | None = None,
    ) -> SessionList:
        """Remove the sessions that the rules choose, and sweep the temporary files of dead writers."""
        if not dry_run:
            self._documents.tree.refuse_change()
        now = time_of(now)
        removal = Removal(self._documents, archive)
        due = self._due(config, now, keep=keep, progress=progress)
        chosen = SessionList(summary for summary, _ in due)
        if dry_run:
            return chosen
        if confirm is not None and chosen and not confirm(chosen):
            return SessionList()
        sweep(self._documents.tree)
        return removal.remove(due, progress)

    def save_and_prune(self, session: Session, config: PruneConfig, throttle: PruneThrottle | None) -> SessionList:
        """Save a session, then remove others if the throttle allows it; a failure to remove them is logged."""
        self.save(session)
        removal = Removal(self._documents, archive=None)
        if throttle is None or throttle.should_prune():
            try:
                due = self._due(config, time_of(None), latest=session.id)
                sweep(self._documents.tree)
                removal.remove(due)
            except Exception:
                _log.warning("the session is saved, but pruning failed", exc_info=True)
        return removal.removed

    def _due(
        self,
        config: PruneConfig,
        now: datetime,
        *,
        keep: Callable[[SessionSummary], object] | None = None,
        latest: str | None = None,
        progress: Progress | None = None,
    ) -> list[tuple[SessionSummary, Revision]]:
        """Return the sessions that the rules choose, the oldest first, each with the revision of its file."""
        listed = self._index.summaries(progress)
        chosen = choose([summary for summary, _ in listed], config, now, keep, latest)
        revisions = {summary.id: revision for summary, revision in listed}
        return [(summary, revisions[summary.id]) for summary in chosen]

    def _chosen(self, conditions: SessionFilter, progress: Progress | None) -> list[SessionSummary]:
        return conditions.choose(summary for summary, _ in self._index.summaries(progress))

    def _path(self, session_id: str) -> Path:
        return self._documents.path(SESSIONS, session_id, ".json")

    def _path_of(self, session: Session) -> Path:
        if type(session) is not Session:  # the attributes of a subclass would be lost
            raise TypeError(f"expected Session, not {type(session).__name__}")
        return self._path(session.id)

    def _load(self, path: Path) -> Session | None:
        known, kept = self._cache.get(path)
        result = reads.read_unless_known(path, (known,), self._documents.tree.max_file_bytes)
        if result is None:
            return None
        raw, identity = result
        if raw is not None:
            session = decode_named(raw, path)
            session._source = Revision(identity, (raw,))
        elif isinstance(kept, SessionText):
            # Decoding returns what a file would return: a tuple comes back as a list.
            session, text = kept.decode(path)
            session._source = Revision(identity, text)
        else:
            self._cache.put(path, identity, kept)  # as the most recently used
            return copy_of(kept, thaw)
        self._cache.put(path, identity, copy_of(session, freeze))
        return session

    def _save(self, session: Session, path: Path, *, only_unchanged: bool) -> None:
        # A snapshot: another thread that shares the session may change it, or save it, while it is saved. The source
        # comes first, so that the snapshot is never older than its source and cannot undo what the other one saved.
        source = session._source
        image = copy_of(session, freeze)
        text = incremental.encode(image, path)

        def saved(identity: Identity | None) -> None:
            session._source = image._source = Revision(identity, text)
            kept = image if text.is_exact else text.without_inexact_records()
            self._cache.put(path, identity, kept)

        self._documents.save(
            SESSIONS,
            path,
            text,
            decode=decode_named,
            known={source.identity if source else None, self._cache.get(path)[0]},
            check=(lambda: _check_unchanged(source, path, self._documents.tree.max_file_bytes))
            if only_unchanged
            else None,
            saved=saved,
        )


def _check_unchanged(source: Revision | None, path: Path, limit: int) -> None:
    """Raise an error if a session's file is not at its *source* any more.

    Raises:
        SessionConflictError: If another process changed, deleted or created it.
    """
    result = reads.read_unless_known(path, () if source is None else (source.identity,), limit)
    if result is None and source is None:
        return
    if result is None:
        cure = "the object still has its changes, and save_session(session) saves it again"
        raise SessionConflictError(f"not saved, it was deleted since it was loaded: {path}; {cure}")
    if source is None:
        cure = "load that one, or choose another id"
        raise SessionConflictError(f"not saved, there is a session of this id already: {path}; {cure}")
    if result[0] is not None and not source.matches(result[0]):
        cure = "load it again and repeat the change"
        raise SessionConflictError(f"not saved, it was changed by another since it was loaded: {path}; {cure}")
