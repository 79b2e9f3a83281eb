"""Which sessions there are: a summary of each document in the category."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from oxios_state import codec, files, names
from oxios_state.errors import CorruptStateError, StateError
from oxios_state.model import Session, SessionSummary

if TYPE_CHECKING:
    from pathlib import Path

SESSIONS = "sessions"
_LONGEST_TITLE = 60
_log = logging.getLogger("oxios_state")


def read_session(tree: files.Tree, session_id: str) -> tuple[Session, bytes] | None:
    """Read a session and its revision; None if there is none.

    Raises:
        CorruptStateError: If it is not a session, or not the one that its file name says.
        InvalidNameError: If its path leads outside the store.
        OSError: If it cannot be read.
    """
    path = tree.document(SESSIONS, session_id, ".json")
    raw = files.read(path)
    if raw is None:
        return None
    return decode_session(raw, path), files.revision_of(raw)


def decode_session(raw: bytes, path: Path) -> Session:
    """Read a session that must be the one that its file's name says.

    Raises:
        CorruptStateError: If it is not a session, or not that one.
    """
    session = codec.decode_session(raw, path)
    if session.id != path.stem:  # to save it, or to remove it by its id, would hit another file
        reason = f"the id is {session.id!r:.80}, but the file is {path.stem!r}'s"
        raise CorruptStateError(path, reason, json_path="$.id")
    return session


def list_sessions(tree: files.Tree) -> list[tuple[SessionSummary, bytes]]:
    """Summarise all sessions, with their revisions: the latest first, ties by id.

    A file that cannot be read is left out, with a warning in the log ``oxios_state`` that says which and why.
    """
    listed = []
    for entry in tree.scan(SESSIONS):
        name, extension = os.path.splitext(entry.name)
        if extension != ".json":
            continue
        try:
            names.check_name(name, extension)
            found = read_session(tree, name)
        except (StateError, OSError) as error:
            _log.warning("left out of the list of sessions: %s", error)
            continue
        if found is not None:
            listed.append((summarise(found[0]), found[1]))
    listed.sort(key=lambda pair: pair[0].id)
    listed.sort(key=lambda pair: pair[0].updated_at, reverse=True)
    return listed


def summarise(session: Session) -> SessionSummary:
    """Make a session's summary."""
    return SessionSummary(
        id=session.id,
        user_id=session.user_id,
        message_count=len(session.user_messages),
        active_seed_id=session.active_seed_id,
        project_id=_project_id(session),
        title=_title(session),
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


def _title(session: Session) -> str | None:
    title = session.metadata.get("title")
    if title and isinstance(title, str):
        return title
    lines = session.user_messages[0].content.strip().splitlines() if session.user_messages else []
    return lines[0][:_LONGEST_TITLE].rstrip() if lines else None
