"""Which sessions there are: a summary of each, made anew where the file is not what it was."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from oxios_state import codec, files, names, reading, timestamps
from oxios_state.errors import CorruptStateError, StateError
from oxios_state.model import Session, SessionSummary, title_of
from oxios_state.progress import over
from oxios_state.revisions import Revision
from oxios_state.summarycache import Entry, SummaryCache

if TYPE_CHECKING:
    from oxios_state.progress import Progress

SESSIONS = "sessions"
_log = logging.getLogger("oxios_state")


class Summaries:
    """The summaries of all sessions of a store."""

    def __init__(self, tree: files.Tree) -> None:
        self._tree = tree
        self._cache = SummaryCache(tree)
        # Entries by the names of the files, and the list of them: assigned at once, as other threads list too.
        self._last: tuple[dict[str, Entry], list[tuple[SessionSummary, Revision]]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Summaries, (self._tree,)

    def list(self, progress: Progress | None = None) -> list[tuple[SessionSummary, Revision]]:
        """Summarise all sessions, with the revisions of their files: the latest first, ties by id.

        A file that cannot be read is left out, with a warning in the log ``oxios_state`` that says which and why.

        Args:
            progress: Is told of each file.
        """
        last = self._last
        known, listed = last or (self._cache.read(), [])
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
            self._cache.write(entries)
        if len(listed) < len(entries):
            for entry in entries.values():
                if entry.summary is None:
                    _warn(entry.problem)
        self._last = entries, listed
        return list(listed)

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
