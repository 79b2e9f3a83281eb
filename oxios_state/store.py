"""The state store: documents, sessions and pruning. It decides; it computes nothing."""

from __future__ import annotations

import logging
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from oxios_state.errors import InvalidNameError, LockTimeoutError, StateError
from oxios_state.model import timestamps
from oxios_state.model.display import display
from oxios_state.model.progress import over
from oxios_state.sessions import pruning as removal
from oxios_state.sessions import retention as pruning
from oxios_state.sessions.index import SESSIONS
from oxios_state.sessions.repository import SessionStore
from oxios_state.sessions.retention import PruneConfig
from oxios_state.storage import atomic_write as staging
from oxios_state.storage import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxios_state.model.progress import Progress
    from oxios_state.model.sequences import SessionList
    from oxios_state.model.session import Session, SessionSummary
    from oxios_state.sessions.retention import PruneThrottle
    from oxios_state.storage.revisions import Revision

_LONGEST_HOLD = 0.01  # seconds that a prune keeps others waiting
_log = logging.getLogger("oxios_state")


class StateStore(SessionStore):
    """The state in one directory, shared with the kernel, other processes and other threads.

    A store is cheap to make, safe to share between threads, and can be pickled. Nothing is created before the first
    save, but for a cache of summaries where there are sessions to list. Readers take no lock: they find a document's
    old content or its new one, whole. What a save, and the order of changes, promise is said at each method; every
    change takes the lock of its category.

    Any method may raise `OSError` where the file system does, with the file's name. An `OSError` from a save that
    begins with "not saved" leaves the document as it was; `DurabilityError` says that it was saved.

    A notebook shows what a store holds, and so does ``print``: both read it. ``repr`` reads nothing.

    Args:
        base_path: The directory; ``~`` is expanded, and a relative path is taken from the working directory of now.
        durable: Whether a save returns only when the data would survive a power cut. Without, what was saved
            last may be undone by one, or torn.
        lock_timeout: How long to wait for a lock, in seconds.
        cache_bytes: How much memory the store may use, in bytes, to keep the sessions that it saved or loaded last; 0
            keeps none. What another changed is read anew.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If *lock_timeout* is negative or not finite, or *cache_bytes* negative.

    Example:
        >>> store = StateStore("~/oxios")
        >>> session = store.get_or_create_session("ada", "first")
        >>> with store.edit_session("first") as session:
        ...     session.add_user_message("List the files")
        >>> [summary.title for summary in store.list_sessions()]
        ['List the files']
    """

    def prune(
        self,
        config: PruneConfig = PruneConfig(),
        *,
        dry_run: bool = False,
        keep: Callable[[SessionSummary], object] | None = None,
        archive: str | None = None,
        progress: Progress | None = None,
    ) -> SessionList:
        """Remove the sessions that are too old or too many, and the temporary files of writers that died.

        Each session is looked at again under the lock, and stays if anybody saved it since it was listed. A file that
        cannot be read stays. One session that cannot be removed does not keep the others from it.

        Args:
            config: The rules.
            dry_run: Only say what would be removed.
            keep: What it returns true for stays, and does not count.
            archive: A category that the sessions are moved into instead of being deleted. One that has a session of
                this id already keeps it; the new one gets a number: ``ID.2``, ``ID.3``.
            progress: What wraps an iterable and tells of each item, such as ``tqdm.tqdm``; is given a list of the files
                to summarise, and then, without *dry_run*, one of the sessions to remove. It runs without a lock.

        Returns:
            The summaries of what was removed, or with *dry_run* would be, the oldest first.

        Raises:
            InvalidNameError: If *archive* is not allowed.
            LockTimeoutError: If a lock was not free in time.
            DurabilityError: If sessions are removed, but a power cut could undo that.
            OSError, StateError: If a session could not be removed: the first such error, with a note of how many were.
        """
        from oxios_state.model.sequences import SessionList

        if archive is not None:
            names.check_category(archive)
            if self._tree.real_category(archive) == self._tree.real_category(SESSIONS):
                raise InvalidNameError("sessions cannot be archived into their own category")
        listed = self._summaries.list(progress)
        chosen = pruning.choose([summary for summary, _ in listed], config, timestamps.now(), keep)
        if dry_run:
            return SessionList(chosen)
        revisions = {summary.id: revision for summary, revision in listed}
        waiting = deque((summary, revisions[summary.id]) for summary in chosen)
        removed = SessionList()
        failures: list[OSError | StateError] = []
        told = iter(over(chosen, progress))
        try:
            while waiting:
                before = len(waiting)
                with self._locks(SESSIONS, archive or SESSIONS), removal.opened(self._tree, SESSIONS) as sessions:
                    _remove_for_a_while(sessions, waiting, archive, removed, failures)
                deque(islice(told, before - len(waiting)), maxlen=0)
            deque(told, maxlen=0)
        except LockTimeoutError as error:
            error.add_note(f"{len(removed)} sessions were removed before")
            raise
        finally:  # also what was removed before an error, or an interrupt, does not come back after a power cut
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

    def __str__(self) -> str:
        return display(self, "text")

    def _repr_html_(self) -> str:
        return display(self, "html")


def _remove_for_a_while(
    sessions: removal.Remover,
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
            if sessions.remove_unchanged(f"{summary.id}.json", revision, archive):
                removed.append(summary)
        except (OSError, StateError) as error:
            failures.append(error)
        if time.monotonic() >= until:
            break
