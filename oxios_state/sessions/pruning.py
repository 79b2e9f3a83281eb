"""Pruning: removing the sessions that the rules choose, for good or into an archive."""

from __future__ import annotations

import logging
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from oxios_state.errors import InvalidNameError, LockTimeoutError, StateError
from oxios_state.model.progress import over
from oxios_state.model.summary import SessionList
from oxios_state.model.values import SESSIONS
from oxios_state.storage import names, reads
from oxios_state.storage.moves import move
from oxios_state.storage.tree import remove

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from oxios_state.documents import Documents
    from oxios_state.model.progress import Progress
    from oxios_state.model.revision import Revision
    from oxios_state.model.summary import SessionSummary
    from oxios_state.storage.tree import Directory

_log = logging.getLogger("oxios_state")
_LOGGED_AT_ONCE = 20  # ids in one line of the log
_MAX_HOLD = 0.01  # seconds for which a prune keeps others waiting for the lock


class Removal:
    """The removal of sessions: each only if it is still at the revision at which it was chosen.

    Attributes:
        removed: The summaries of the sessions that were removed, also if an error ended the removal early.

    Args:
        documents: The documents of the store.
        archive: The category that the sessions are moved into; None deletes them.

    Raises:
        InvalidNameError: If *archive* is not allowed.
    """

    def __init__(self, documents: Documents, archive: str | None) -> None:
        self._documents = documents
        self._tree = documents.tree
        self._archive = archive
        self._archived_as: dict[str, str] = {}  # the names in the archive, by ids
        self.removed = SessionList()
        if archive is not None:
            names.check_category(archive)
            if self._tree.real_category(archive) == self._tree.real_category(SESSIONS):
                raise InvalidNameError("sessions cannot be archived into their own category")

    def remove(
        self, sessions: Sequence[tuple[SessionSummary, Revision]], progress: Progress | None = None
    ) -> SessionList:
        """Remove sessions, return the summaries of those that were removed, and log them.

        The lock is held for moments only, so that others can save meanwhile. A session that cannot be removed does not
        stop the removal of the others.

        Args:
            sessions: The sessions, each with the revision at which it was chosen.
            progress: Wraps the list of sessions. It runs without the lock.

        Raises:
            LockTimeoutError: If a lock was not free in time.
            DurabilityError: If sessions are removed, but a power cut could undo that.
            OSError, StateError: If a session could not be removed: the first such error, with a note of how many were.
        """
        waiting = deque(sessions)
        removed = self.removed
        failures: list[OSError | StateError] = []
        steps = iter(over([summary for summary, _ in sessions], progress))
        try:
            while waiting:
                before = len(waiting)
                categories = (SESSIONS, self._archive or SESSIONS)
                with self._documents.locks.hold_all(*categories), self._tree.open(SESSIONS) as directory:
                    self._remove_for_a_moment(directory, waiting, failures)
                deque(islice(steps, before - len(waiting)), maxlen=0)
            deque(steps, maxlen=0)
        except LockTimeoutError as error:
            error.add_note(f"{len(removed)} sessions were removed before")
            raise
        finally:  # also after an error or an interrupt, a power cut does not bring back what was removed
            if removed:
                try:
                    with self._tree.open(SESSIONS) as directory:
                        directory.sync(f"{len(removed)} sessions are removed")
                finally:
                    self._log_removed()
        if failures:
            failures[0].add_note(f"{len(removed)} sessions were removed, {len(failures)} could not be")
            raise failures[0]
        return removed

    def _remove_for_a_moment(
        self,
        directory: Directory,
        waiting: deque[tuple[SessionSummary, Revision]],
        failures: list[OSError | StateError],
    ) -> None:
        """Remove the first of the *waiting* sessions, until it is time to let others have the lock."""
        deadline = time.monotonic() + _MAX_HOLD
        while waiting:
            summary, revision = waiting.popleft()
            try:
                if self._remove_unchanged(directory, f"{summary.id}.json", revision):
                    self.removed.append(summary)
            except (OSError, StateError) as error:
                failures.append(error)
            if time.monotonic() >= deadline:
                break

    def _remove_unchanged(self, directory: Directory, file_name: str, revision: Revision) -> bool:
        """Remove a session's file if it is still at *revision*, and return whether it was removed.

        Raises:
            InvalidNameError: If it is a symbolic link, which is not archived, or its new name is too long.
            OSError: If it cannot be removed.
        """
        if self._archive is None and directory.remove_if(file_name, revision.identity):
            return True
        path = directory.file(file_name)
        result = reads.read_unless_known(path, (revision.identity,), self._tree.max_file_bytes)
        if result is None or (result[0] is not None and not revision.matches(result[0])):
            return False
        if self._archive is None:
            return remove(path)
        if path.is_symlink():
            raise InvalidNameError(f"a symbolic link is not archived: {path}")
        return self._move(path, self._archive)

    def _move(self, path: Path, archive: str) -> bool:
        """Move a session's file into the archive; one that is there already keeps its name, the new one is numbered."""
        number, name = 1, path.stem
        while True:
            try:
                moved = move(self._tree, path, self._documents.path(archive, name, path.suffix))
            except FileExistsError:
                number += 1
                name = f"{path.stem}.{number}"
            else:
                self._archived_as[path.stem] = name
                return moved

    def _log_removed(self) -> None:
        """Log the sessions that were removed: their number and the first of them at INFO, the rest at DEBUG."""
        action = "removed" if self._archive is None else f"archived in {self._archive!r}"
        ids = [self._id_and_name(summary.id) for summary in self.removed]
        first, rest = ids[:_LOGGED_AT_ONCE], ids[_LOGGED_AT_ONCE:]
        more = f" and {len(rest)} more" if rest else ""
        base = self._tree.base
        _log.info("sessions of %s %s: %d: %s%s", base, action, len(ids), ", ".join(first), more)
        for start in range(0, len(rest), _LOGGED_AT_ONCE):
            some = rest[start : start + _LOGGED_AT_ONCE]
            _log.debug("sessions of %s %s as well: %s", base, action, ", ".join(some))

    def _id_and_name(self, session_id: str) -> str:
        """Return an id for the log, with the name in the archive if that is another."""
        name = self._archived_as.get(session_id, session_id)
        return repr(session_id) if name == session_id else f"{session_id!r} as {name!r}"
