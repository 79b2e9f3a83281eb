"""Which sessions there are: a summary of each, made anew where the file is not what it was."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from oxios_state.codec import documents as codec
from oxios_state.errors import CorruptStateError, StateError
from oxios_state.model import timestamps
from oxios_state.model.progress import over
from oxios_state.model.session import Session, SessionSummary, title_of
from oxios_state.sessions.summarycache import Entry, SummaryCache
from oxios_state.storage import forks as forking
from oxios_state.storage import names
from oxios_state.storage import reads as reading
from oxios_state.storage import tree as files
from oxios_state.storage.revisions import Revision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oxios_state.model.progress import Progress

SESSIONS = "sessions"
_log = logging.getLogger("oxios_state")


class _Listed(NamedTuple):
    """What was found; assigned at once, as other threads list too."""

    entries: dict[str, Entry]  # by the names of the files
    summaries: list[tuple[SessionSummary, Revision]]
    written: Mapping[str, Entry]  # what the file has


class Summaries:
    """The summaries of all sessions of a store."""

    def __init__(self, tree: files.Tree) -> None:
        self._tree = tree
        self._cache = SummaryCache(tree)
        self._last: _Listed | None = None
        self._start_afresh()
        forking.in_children(self, Summaries._start_afresh)

    def _start_afresh(self) -> None:
        self._keeping = threading.Lock()  # never waited for

    def __reduce__(self) -> tuple[Any, ...]:
        return Summaries, (self._tree,)

    def list(self, progress: Progress | None = None) -> list[tuple[SessionSummary, Revision]]:
        """Summarise all sessions, with the revisions of their files: the latest first, ties by id.

        A file that cannot be read is left out, with a warning in the log ``oxios_state`` that says which and why.

        Args:
            progress: Is told of each file.
        """
        last = self._last
        known, listed, written = last or self._left()
        entries: dict[str, Entry] = {}
        unchanged = 0
        for name, identity in over(reading.identities(self._tree.directory(SESSIONS), ".json"), progress):
            entry = known.get(name)
            if entry is not None and entry.revision.identity == identity:
                unchanged += 1
            elif (entry := self._look(name)) is None:
                continue
            entries[name] = entry
        if last is None or not unchanged == len(entries) == len(known):
            # By numbers, which are compared at a tenth of what timestamps with nanoseconds take.
            latest_first = sorted(
                (-timestamps.nanoseconds(entry.summary.updated_at), entry.summary.id, entry.summary, entry.revision)
                for entry in entries.values()
                if entry.summary is not None
            )
            listed = [(summary, revision) for _, _, summary, revision in latest_first]
            self._keep(_Listed(entries, listed, written), last)
        if len(listed) < len(entries):
            for entry in entries.values():
                if entry.summary is None:
                    _warn(entry.problem)
        return list(listed)

    def _left(self) -> _Listed:
        """Give what another process left."""
        entries = self._cache.read()
        return _Listed(entries, [], entries)

    def _keep(self, found: _Listed, last: _Listed | None) -> None:
        """Keep what was found, unless another thread keeps, or has kept, what it found since *last*: that may be newer.

        So what is kept, and what the file has, are always of one list; what they lack is seen by the next one.
        """
        if not self._keeping.acquire(blocking=False):
            return
        try:
            if self._last is last:
                self._last = found._replace(written=self._cache.write(found.entries, found.written))
        finally:
            self._keeping.release()

    def _look(self, file_name: str) -> Entry | None:
        """Look at a file; None if it is not there, or its content is not to be had."""
        name = file_name.removesuffix(".json")
        try:
            names.check_name(name, ".json")
            path = self._tree.document(SESSIONS, name, ".json")
            found = reading.read_unknown(path)
        except (StateError, OSError) as error:
            _warn(error)
            return None
        if found is None or found[0] is None:
            return None
        revision = Revision(found[1], (found[0],))
        try:
            summary = summarise(codec.decode_named(found[0], path))
        except CorruptStateError as error:
            return Entry(revision.slim(), None, str(error))
        return Entry(revision.slim(), summary)


def _warn(problem: object) -> None:
    _log.warning("left out of the list of sessions: %s", problem)


def summarise(session: Session) -> SessionSummary:
    """Make a session's summary."""
    return SessionSummary(
        id=str(session.id),
        user_id=session.user_id,
        message_count=len(session.user_messages),
        active_seed_id=session.active_seed_id,
        project_id=_project_id(session),
        title=title_of(session),
        created_at=session.created_at,
        updated_at=session.updated_at,
    )


def _project_id(session: Session) -> str | None:
    listed = session.metadata.get("project_ids")
    if isinstance(listed, str):
        listed = [part.strip() for part in listed.split(",")]
    candidates: list[Any] = [session.extra.get("project_id"), session.metadata.get("project_id")]
    candidates += listed if isinstance(listed, list) else []
    return next((candidate for candidate in candidates if candidate and isinstance(candidate, str)), None)
