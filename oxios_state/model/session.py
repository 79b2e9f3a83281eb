"""A session: one conversation of a user with an agent, and the tool calls of the agent."""

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import uuid4

import attrs
from attrs import field

from oxios_state.model import timestamps
from oxios_state.model.display import display
from oxios_state.model.records import RECORD_TYPES, AgentResponse, TrajectoryStepRecord, UserMessage, extra_validator
from oxios_state.model.revision import Revision
from oxios_state.model.trajectory import RunningStep, Trajectory, record_step
from oxios_state.model.validators import instance_of, is_datetime, is_json, is_optional_text, is_text, list_of
from oxios_state.model.values import check_recorded, with_default

if TYPE_CHECKING:
    from oxios_state.model.turns import Turn

_T = TypeVar("_T")


class SessionId(str):
    """The id of a session: a string, and the name of its document."""

    __module__ = "oxios_state"
    __slots__ = ()

    @classmethod
    def new(cls) -> Self:
        """Return a new random id, a UUID4 like the kernel's."""
        return cls(uuid4())


def _session_id(value: str | None) -> SessionId:
    if value is None:
        return SessionId.new()
    if not isinstance(value, str):
        raise TypeError(f"'id' must be str or None, not {type(value).__name__}")
    return value if type(value) is SessionId else SessionId(str.__str__(value))


@attrs.define(getstate_setstate=False)
class Session:
    """A conversation. Its records are immutable; the session is not, and is not safe to share between threads.

    ``print`` shows it as a transcript, and a notebook as HTML; both shorten long texts.

    Every method that changes it moves `updated_at` to now. Where that is not later, as after the clock was set back,
    `updated_at` moves by a microsecond instead. You may assign attributes, and change the lists and `metadata` in
    place, but then you move `updated_at` yourself.

    Attributes:
        user_id: The user that it belongs to.
        id: Its id, fixed; by default a new random one.
        user_messages: The messages of the user, in order.
        agent_responses: The answers of the agent, in order.
        trajectory_steps: The tool calls, in order.
        active_seed_id: The active seed, if any.
        active_persona_id: The active persona, if any.
        created_at: When it was created; by default now.
        updated_at: When it was last changed; by default `created_at`.
        metadata: Free-form: strings to JSON values.
        extra: Keys of the document that this release does not know, with their values.

    Raises:
        TypeError: If an argument, or a value assigned to an attribute, has another type.
        UnsupportedValueError: If an argument, or a value assigned to an attribute, could not be saved.
    """

    __module__ = "oxios_state"

    user_id: str = field(validator=is_text)
    id: SessionId = field(default=None, converter=_session_id, validator=is_text, on_setattr=attrs.setters.frozen)
    user_messages: list[UserMessage] = field(factory=list, validator=list_of(UserMessage), kw_only=True)
    agent_responses: list[AgentResponse] = field(factory=list, validator=list_of(AgentResponse), kw_only=True)
    trajectory_steps: list[TrajectoryStepRecord] = field(
        factory=list, validator=list_of(TrajectoryStepRecord), kw_only=True
    )
    active_seed_id: str | None = field(default=None, validator=is_optional_text, kw_only=True)
    active_persona_id: str | None = field(default=None, validator=is_optional_text, kw_only=True)
    created_at: datetime = field(factory=timestamps.now, validator=is_datetime, kw_only=True)
    updated_at: datetime = field(
        default=attrs.Factory(lambda self: self.created_at, takes_self=True), validator=is_datetime, kw_only=True
    )
    metadata: dict[str, Any] = field(factory=dict, validator=[instance_of(dict), is_json(2, "metadata")], kw_only=True)
    extra: dict[str, Any] = field(factory=dict, validator=extra_validator(1), kw_only=True, repr=False)
    # The revision of the file that the store loaded or saved this object as; None before. The store's to set.
    _source: Revision | None = field(default=None, init=False, eq=False, repr=False)

    def add_user_message(self, content: str) -> None:
        """Append a message of the user, sent now.

        Raises:
            TypeError: If *content* is not a string.
            UnsupportedValueError: If *content* has a lone surrogate; nothing is appended then.
        """
        self.user_messages.append(UserMessage(content))
        self._touch()

    def add_agent_response(self, response: AgentResponse) -> None:
        """Append an answer of the agent.

        Raises:
            TypeError: If *response* is not an `AgentResponse`.
        """
        self.agent_responses.append(_checked(response, AgentResponse))
        self._touch()

    def extend_trajectory(self, steps: Iterable[TrajectoryStepRecord]) -> None:
        """Append tool calls; without any, nothing changes.

        Raises:
            TypeError: If one of *steps* is not a `TrajectoryStepRecord`; none is appended then.
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
        default: Callable[[Any], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> AbstractContextManager[RunningStep]:
        """Record the tool call that a ``with`` block makes: its start, its duration and its outcome.

        The block assigns the tool's output to ``output`` of the object that it receives; the record keeps the first
        500 characters of its text. The record is appended when the block ends. An exception that leaves the block is
        recorded as a failure, with its type and message as the output, and propagates. A block whose tool fails
        without an exception sets ``is_error``.

        Args:
            tool_name: The tool.
            tool_args: Its arguments: any JSON value. They are copied when the block begins.
            tool_call_id: The provider's id of the call; by default a new random one.
            default: Called with each object in *tool_args* that is not JSON (a path, a date, a set, NaN, an integer
                outside of 64 bits), and returns what is recorded in its place, as in `json.dumps`. ``default=str``
                records its text.
            clock: Returns the time in seconds and never goes back. For tests.

        Raises:
            TypeError: If *tool_name* or *tool_call_id* is not a string; raised before the block runs.
            UnsupportedValueError: If an argument could not be saved; raised before the block runs.
        """
        if default is not None:
            tool_args = with_default(tool_args, default)

        def append(record: TrajectoryStepRecord) -> None:
            self.extend_trajectory([record])

        return record_step(append, tool_name, tool_args, tool_call_id, clock)

    def turns(self) -> "list[Turn]":
        """Return the records as turns: a user message, the response to it, and the tool calls that led there.

        Every record is in exactly one turn, and each kind keeps its order. Records are ordered by time. A response
        ends a turn. A message begins one, unless there were only tool calls since the last response: those become its
        own, as kernels append a message when it has been answered. So a turn has no response where two messages follow
        each other, and no message where two responses do. At the same time, a message comes before its tool calls, and
        these before the response. After the clock was set back, no record overtakes those before it in its list.

        A response's ``trajectory_range``, which newer kernels write, decides which tool calls are its own. It is
        ignored if it is not a range of tool calls, or overlaps that of an earlier response.

        A timestamp without a time zone counts as UTC. The running time is linear in the number of records.
        """
        from oxios_state.model.turns import turns_of  # defines a class, 2 % of the import of this package

        return turns_of(self.user_messages, self.trajectory_steps, self.agent_responses)

    def to_markdown(self) -> str:
        """Return the session as a transcript in Markdown: who and when, then turn by turn what was said and done.

        Nothing that users, agents and tools wrote can change the structure of the transcript. Messages and responses
        stand in block quotes as Markdown, or as source if they contain HTML, images or link definitions outside of
        code; arguments and outputs stand in code fences. Control characters are shown as pictures or escapes. Times
        are in UTC, unless a timestamp has no time zone.
        """
        return display(self, "markdown")

    def set_active_seed(self, seed_id: str | None) -> None:
        """Set the active seed; None clears it.

        Raises:
            TypeError: If *seed_id* is neither a string nor None.
            UnsupportedValueError: If *seed_id* has a lone surrogate.
        """
        self.active_seed_id = seed_id
        self._touch()

    def set_active_persona(self, persona_id: str | None) -> None:
        """Set the active persona; None clears it.

        Raises:
            TypeError: If *persona_id* is neither a string nor None.
            UnsupportedValueError: If *persona_id* has a lone surrogate.
        """
        self.active_persona_id = persona_id
        self._touch()

    def set_metadata(self, key: str, value: Any) -> None:
        """Set a metadata value: any JSON value.

        Saving checks it again, as you may change a list or dict later.

        Raises:
            TypeError: If *key* is not a string.
            UnsupportedValueError: If *value* is not a JSON value that the kernel could read back; nothing changes then.
        """
        if not isinstance(key, str):
            raise TypeError(f"expected str, not {type(key).__name__}")
        check_recorded({key: value}, 2, "metadata")
        self.metadata[key] = value
        self._touch()

    def get_metadata(self, key: str, default: Any = None) -> Any:
        """Return a metadata value, or *default* if there is none."""
        return self.metadata.get(key, default)

    @property
    def trajectory(self) -> Trajectory:
        """The tool calls, in order: a view of ``trajectory_steps``."""
        return Trajectory(self.trajectory_steps)

    @property
    def exchange_count(self) -> int:
        """The number of answered user messages: the lesser of the numbers of messages and responses."""
        return min(len(self.user_messages), len(self.agent_responses))

    @property
    def is_empty(self) -> bool:
        """Whether there are no user messages."""
        return not self.user_messages

    def __repr__(self) -> str:
        counts = f"{len(self.user_messages)} messages, {len(self.agent_responses)} responses"
        steps = f"{len(self.trajectory_steps)} tool calls, updated {self.updated_at.isoformat(' ', 'seconds')}"
        return f"<Session {self.id!r:.80} of {self.user_id!r:.80}: {counts}, {steps}>"

    def __str__(self) -> str:
        return display(self, "text")

    def _repr_html_(self) -> str:
        return display(self, "html")

    # A pickle does not carry the text of the file: its digest is enough to notice a change.

    def __getstate__(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in _FIELDS}
        source = self._source
        if source is not None:
            state["_source"] = source.identity, source.digest, source.category
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["_source"] is not None:
            identity, digest, category = state["_source"]
            state = state | {"_source": Revision(identity, (), digest, category)}
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def _touch(self) -> None:
        now = timestamps.now()
        if (
            self.updated_at.utcoffset() is not None and self.updated_at >= now
        ):  # the clock stands still, or was set back
            now = timestamps.next_after(self.updated_at)
        self.updated_at = now


_FIELDS = tuple(member.name for member in attrs.fields(Session))


def _checked(value: _T, kind: type[_T]) -> _T:
    if type(value) is not kind:  # the attributes of a subclass could not be saved
        raise TypeError(f"expected {kind.__name__}, not {type(value).__name__}")
    return value


def copy_of(session: Session, convert: Callable[[Any], Any]) -> Session:
    """Return a copy of a session with lists of its own; *convert* copies `metadata` and `extra`."""
    copy: Session = object.__new__(Session)
    for name in _FIELDS:  # bypassing the validators, which accepted all values before
        object.__setattr__(copy, name, getattr(session, name))
    for name in RECORD_TYPES:
        object.__setattr__(copy, name, getattr(session, name).copy())
    object.__setattr__(copy, "metadata", convert(session.metadata))
    object.__setattr__(copy, "extra", convert(session.extra))
    return copy
