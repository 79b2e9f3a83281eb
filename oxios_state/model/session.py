"""What the store holds: sessions, and summaries of sessions. No I/O happens here, and nothing knows JSON."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs
from attrs import field

from oxios_state.model import timestamps
from oxios_state.model.dataframes import Moment, Row
from oxios_state.model.display import display
from oxios_state.model.records import AgentResponse, TrajectoryStepRecord, UserMessage, no_field
from oxios_state.model.validators import is_a, list_of
from oxios_state.storage.revisions import Revision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from oxios_state.model.sequences import Trajectory
    from oxios_state.model.trajectory import RunningStep
    from oxios_state.model.turns import Turn

_T = TypeVar("_T")
_text = is_a(str)
_optional_text = is_a(str, type(None))
_moment = is_a(datetime)
_extra = [is_a(dict), no_field]


class SessionId(str):
    """A session's id: a string, and the name of its document."""

    __slots__ = ()

    @classmethod
    def new(cls) -> Self:
        """Make a random id, a UUID4 as the kernel's."""
        from uuid import uuid4

        return cls(uuid4())


def _session_id(value: str | None) -> SessionId:
    if value is None:
        return SessionId.new()
    if not isinstance(value, str):
        raise TypeError(f"'id' must be str or None, not {type(value).__name__}")
    return value if type(value) is SessionId else SessionId(str.__str__(value))


@attrs.define
class Session:
    """A conversation. Records are immutable; a session is not, and is not safe to share between threads.

    ``print`` gives it as a transcript, and a notebook shows it; what is long is shortened there.

    Every method that changes it moves `updated_at`. Attributes may be assigned, and the lists and `metadata` changed in
    place, but that leaves `updated_at` to the caller.

    Attributes:
        user_id: Who it belongs to.
        id: Its id, fixed; a new random one by default.
        user_messages: What the user said, in order.
        agent_responses: What the agent answered, in order.
        trajectory_steps: The tool calls, in order.
        active_seed_id: The active seed, if any.
        active_persona_id: The active persona, if any.
        created_at: When it was made; now, by default.
        updated_at: When it was last changed; `created_at`, by default.
        metadata: Free-form: strings to JSON values.
        extra: The keys of the document that this release does not know, with their values.
        revision: Stands for what the file held when the store loaded or saved this object, for it to notice a change by
            another; None before. The store's to set.

    Raises:
        TypeError: If an argument, or what is assigned to an attribute, is of another type.
    """

    user_id: str = field(validator=_text)
    id: SessionId = field(default=None, converter=_session_id, on_setattr=attrs.setters.frozen)
    user_messages: list[UserMessage] = field(factory=list, validator=list_of(UserMessage), kw_only=True)
    agent_responses: list[AgentResponse] = field(factory=list, validator=list_of(AgentResponse), kw_only=True)
    trajectory_steps: list[TrajectoryStepRecord] = field(
        factory=list, validator=list_of(TrajectoryStepRecord), kw_only=True
    )
    active_seed_id: str | None = field(default=None, validator=_optional_text, kw_only=True)
    active_persona_id: str | None = field(default=None, validator=_optional_text, kw_only=True)
    created_at: datetime = field(factory=timestamps.now, validator=_moment, kw_only=True)
    updated_at: datetime = field(
        default=attrs.Factory(lambda self: self.created_at, takes_self=True), validator=_moment, kw_only=True
    )
    metadata: dict[str, Any] = field(factory=dict, validator=is_a(dict), kw_only=True)
    extra: dict[str, Any] = field(factory=dict, validator=_extra, kw_only=True, repr=False, hash=False)
    revision: Revision | None = field(default=None, init=False, eq=False, repr=False)

    def add_user_message(self, content: str) -> None:
        """Append what the user said, as of now.

        Raises:
            TypeError: If *content* is not a string.
        """
        self.user_messages.append(UserMessage(content))
        self._touch()

    def add_agent_response(self, response: AgentResponse) -> None:
        """Append what the agent answered.

        Raises:
            TypeError: If *response* is not an `AgentResponse`.
        """
        self.agent_responses.append(_checked(response, AgentResponse))
        self._touch()

    def extend_trajectory(self, steps: Iterable[TrajectoryStepRecord]) -> None:
        """Append tool calls; without any, nothing changes.

        Raises:
            TypeError: If one of *steps* is not a `TrajectoryStepRecord`; none is then appended.
        """
        if checked := [_checked(step, TrajectoryStepRecord) for step in steps]:
            self.trajectory_steps.extend(checked)
            self._touch()

    def step(
        self,
        tool_name: str,
        tool_args: Any,
        *,
        tool_call_id: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> AbstractContextManager[RunningStep]:
        """Record the tool call that a ``with`` block makes: when it began, how long it took, and what came of it.

        What the block assigns to ``output`` of the object that it is given is what the tool gave; the record has the
        first 500 characters of its text. It is appended when the block ends. An exception that leaves the block goes
        on, whatever it is; the record is then of an error, and has the exception's type and message instead. A block
        whose tool fails without one sets ``is_error``.

        Args:
            tool_name: The tool.
            tool_args: What it is called with: any JSON value. The record has a copy, made when the block begins.
            tool_call_id: The provider's id of the call; a new random one by default.
            clock: Gives the time in seconds; it never goes back. For tests.

        Raises:
            TypeError: If *tool_name* or *tool_call_id* is not a string; raised before the block runs.
        """
        from oxios_state.model.trajectory import recorded

        return recorded(self, tool_name, tool_args, tool_call_id, clock)

    def turns(self) -> list[Turn]:
        """Give what was said and done as turns: a message, the response to it, and the tool calls that led there.

        Every record is in one turn, and each kind in its order. The records are taken by time. A response ends a turn.
        A message begins one, unless there have been only tool calls since the last response: these are then its own, as
        kernels append a message when it has been answered. So a turn has no response where two messages follow each
        other, and no message where two responses do. At the same time come a message, its tool calls, its response.
        After a clock was set back, no record overtakes those before it in its list.

        Where a response has a ``trajectory_range``, as newer kernels write it, this says which tool calls were its own;
        one that is not a range of tool calls, or reaches back into that of an earlier response, says nothing.

        A timestamp without a time zone counts as UTC. The time it takes is proportional to the number of records.
        """
        from oxios_state.model.turns import turns_of

        return turns_of(self)

    def to_markdown(self) -> str:
        """Write the session as a transcript to read: who and when, then turn by turn what was said and done.

        What users, agents and tools wrote cannot change the structure of the transcript. Messages and responses stand
        in block quotes, as the markdown that they are, or as its source if they have HTML, images or link definitions
        outside of code; arguments and outputs stand in code fences. Control characters are shown as pictures or as
        escapes. Times are in UTC, unless a timestamp has no time zone.
        """
        return display(self, "markdown")

    def set_active_seed(self, seed_id: str | None) -> None:
        """Set the active seed, or none.

        Raises:
            TypeError: If *seed_id* is neither a string nor None.
        """
        self.active_seed_id = seed_id
        self._touch()

    def set_active_persona(self, persona_id: str | None) -> None:
        """Set the active persona, or none.

        Raises:
            TypeError: If *persona_id* is neither a string nor None.
        """
        self.active_persona_id = persona_id
        self._touch()

    def set_metadata(self, key: str, value: Any) -> None:
        """Set a metadata value: any JSON value. Whether it is one is checked on saving.

        Raises:
            TypeError: If *key* is not a string.
        """
        self.metadata[_checked(key, str)] = value
        self._touch()

    def get_metadata(self, key: str, default: Any = None) -> Any:
        """Give a metadata value, or *default* if there is none."""
        return self.metadata.get(key, default)

    @property
    def trajectory(self) -> Trajectory:
        """The tool calls, in order: a view of ``trajectory_steps``."""
        from oxios_state.model.sequences import Trajectory

        return Trajectory(self.trajectory_steps)

    @property
    def exchange_count(self) -> int:
        """How many user messages have an answer: the lesser of the counts of messages and responses."""
        return min(len(self.user_messages), len(self.agent_responses))

    @property
    def is_empty(self) -> bool:
        """Whether the user has said nothing."""
        return not self.user_messages

    def __repr__(self) -> str:
        counts = f"{len(self.user_messages)} messages, {len(self.agent_responses)} responses"
        steps = f"{len(self.trajectory_steps)} tool calls, updated {self.updated_at.isoformat(' ', 'seconds')}"
        return f"<Session {self.id!r:.80} of {self.user_id!r:.80}: {counts}, {steps}>"

    def __str__(self) -> str:
        return display(self, "text")

    def _repr_html_(self) -> str:
        return display(self, "html")

    def _touch(self) -> None:
        now = timestamps.now()
        if self.updated_at.utcoffset() is not None and timedelta(0) <= self.updated_at - now < timedelta(seconds=1):
            now = self.updated_at + timedelta(microseconds=1)  # a clock may stand still, or step back a little
        self.updated_at = now


def _checked(value: _T, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"a {kind.__name__} is expected, not {type(value).__name__}")
    return value


_LONGEST_TITLE = 60


def title_of(session: Session) -> str | None:
    """Give the title of a session, as `SessionSummary` has it."""
    title = session.metadata.get("title")
    if title and isinstance(title, str):
        return title
    lines = session.user_messages[0].content.strip().splitlines() if session.user_messages else []
    return lines[0][:_LONGEST_TITLE].rstrip() if lines else None


@attrs.frozen
class SessionSummary(Row):
    """What a list of sessions shows of one.

    Attributes:
        id: The session's id.
        user_id: Who it belongs to.
        message_count: How many messages the user sent.
        active_seed_id: The active seed, if any.
        project_id: The project: the document's ``project_id``, else ``project_id`` in the metadata, else the first of
            ``project_ids`` there (a string, a comma-separated list or an array); None if there is none.
        title: ``title`` in the metadata, else the first line of the first message, at most 60 characters of it; None
            if there is neither.
        created_at: When it was made.
        updated_at: When it was last changed.
    """

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
