"""Summaries of sessions: what a list shows of each."""

from typing import Any, SupportsIndex, overload

import attrs

from oxios_state.model.dataframes import Moment, Row
from oxios_state.model.display import display
from oxios_state.model.session import Session

_TITLE_LENGTH = 60  # characters


@attrs.frozen
class SessionSummary(Row):
    """A summary of a session, as lists contain it.

    Attributes:
        id: The session's id.
        user_id: The user that it belongs to.
        message_count: The number of user messages.
        active_seed_id: The active seed, if any.
        project_id: The project: the document's ``project_id``, else ``project_id`` in the metadata, else the first of
            ``project_ids`` there (a string, a comma-separated list or an array); None if there is none.
        title: ``title`` in the metadata, else the first line of the first message, at most 60 characters of it; None
            if there is neither.
        created_at: When it was created.
        updated_at: When it was last changed.
    """

    __module__ = "oxios_state"

    id: str
    user_id: str
    message_count: int
    active_seed_id: str | None
    project_id: str | None
    title: str | None
    created_at: Moment
    updated_at: Moment

    def __str__(self) -> str:
        return display(self, "text")

    def _repr_html_(self) -> str:
        return display(self, "html")


class SessionList(list[SessionSummary]):
    """A list of summaries that a notebook and a terminal show as a table. A slice of it is one too."""

    __module__ = "oxios_state"
    __slots__ = ()

    @overload
    def __getitem__(self, index: SupportsIndex) -> SessionSummary: ...
    @overload
    def __getitem__(self, index: slice) -> "SessionList": ...
    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        return SessionList(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)

    def __repr__(self) -> str:
        return display(self, "text")

    def _repr_html_(self) -> str:
        return display(self, "html")


def summarise(session: Session) -> SessionSummary:
    """Return the summary of a session."""
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


def title_of(session: Session) -> str | None:
    """Return the title of a session, as `SessionSummary` documents it."""
    title = session.metadata.get("title")
    if title and isinstance(title, str):
        return title
    # Cut before it is split: a message may have millions of lines.
    beginning = session.user_messages[0].content.lstrip()[:_TITLE_LENGTH] if session.user_messages else ""
    return beginning.splitlines()[0].rstrip() if beginning else None


def _project_id(session: Session) -> str | None:
    ids = session.metadata.get("project_ids")
    if isinstance(ids, str):
        ids = [part.strip() for part in ids.split(",")]
    candidates: list[Any] = [session.extra.get("project_id"), session.metadata.get("project_id")]
    candidates += ids if isinstance(ids, list) else []
    return next((candidate for candidate in candidates if candidate and isinstance(candidate, str)), None)
