"""What the store holds: sessions and their records, and summaries of sessions.

The field names are the keys of the kernel's session documents. No I/O happens here, and nothing knows JSON.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs
from attrs import field
from attrs.validators import ge, lt

from oxios_state import timestamps
from oxios_state.frozen import FrozenDict, freeze
from oxios_state.revisions import Revision
from oxios_state.validators import is_a, is_int, list_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_T = TypeVar("_T")
_text = is_a(str)
_optional_text = is_a(str, type(None))
_moment = is_a(datetime)


NOT_ON_DISK = frozenset({"extra", "seed_id_absent", "revision"})
"""The fields of the classes below that are no keys of the document."""


def _no_field(instance: attrs.AttrsInstance, attribute: attrs.Attribute[Any], value: dict[str, Any]) -> None:
    if twice := value.keys() & ({known.name for known in attrs.fields(type(instance))} - NOT_ON_DISK):
        raise ValueError(f"'{attribute.name}' must not hold what is a field: {', '.join(sorted(twice))}")


_extra = [is_a(dict), _no_field]


class SessionId(str):
    """A session's id: a string, and the name of its document."""

    __slots__ = ()

    @classmethod
    def new(cls) -> Self:
        """Make a random id, a UUID4 as the kernel's."""
        from uuid import uuid4

        return cls(uuid4())


class _Record:
    """What cannot be changed, and so is its own copy.

    One that the codec made gets its fields when the first of them is asked for, of a document that was checked before:
    most programs look at few of the records that they load.
    """

    __slots__ = ("_unread",)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self

    if not TYPE_CHECKING:  # a type checker would take every name to be there

        def __getattr__(self, name: str) -> Any:
            if name != "_unread" and (unread := getattr(self, "_unread", None)) is not None:
                fill, item = unread  # what sets the fields, and of what
                fill(self, item)
                UNREAD.__set__(self, None)
                return getattr(self, name)
            return object.__getattribute__(self, name)  # an error, unless another thread has just set it


UNREAD: Any = _Record.__dict__["_unread"]
"""What sets `_Record._unread`, past the guard of what is frozen."""


@attrs.frozen
class UserMessage(_Record):
    """What the user said.

    Attributes:
        content: The text.
        timestamp: When it was sent; now, by default. Without a time zone it cannot be saved.
        extra: The keys of the document that this release does not know, with their values.

    Raises:
        TypeError: If an argument is of another type.
    """

    content: str = field(validator=_text)
    timestamp: datetime = field(factory=timestamps.now, validator=_moment, kw_only=True)
    extra: dict[str, Any] = field(
        default=FrozenDict(), converter=freeze, validator=_extra, kw_only=True, repr=False, hash=False
    )


@attrs.frozen
class AgentResponse(_Record):
    """What the agent answered.

    Attributes:
        content: The text.
        session_id: The session that the answer belongs to, if the kernel said so.
        seed_id: The seed used for it, if any.
        phase_reached: How far the orchestration came, if it said so.
        evaluation_passed: Whether the evaluation passed, if there was one.
        timestamp: When it was made; now, by default. Without a time zone it cannot be saved.
        seed_id_absent: True if the document had no ``seed_id``, as newer kernels write it. A `seed_id` of None is then
            left out again on saving, instead of written as null.
        extra: The keys of the document that this release does not know, with their values.

    Raises:
        TypeError: If an argument is of another type.
    """

    content: str = field(validator=_text)
    session_id: str | None = field(default=None, validator=_optional_text, kw_only=True)
    seed_id: str | None = field(default=None, validator=_optional_text, kw_only=True)
    phase_reached: str | None = field(default=None, validator=_optional_text, kw_only=True)
    evaluation_passed: bool | None = field(default=None, validator=is_a(bool, type(None)), kw_only=True)
    timestamp: datetime = field(factory=timestamps.now, validator=_moment, kw_only=True)
    seed_id_absent: bool = field(default=False, validator=is_a(bool), kw_only=True, repr=False, eq=False)
    extra: dict[str, Any] = field(
        default=FrozenDict(), converter=freeze, validator=_extra, kw_only=True, repr=False, hash=False
    )


@attrs.frozen
class TrajectoryStepRecord(_Record):
    """One tool call.

    Attributes:
        tool_name: The tool.
        tool_args: What it was called with: any JSON value. The record keeps a copy that refuses to be changed.
        output_summary: Its output, shortened (kernels keep about 500 characters).
        duration_ms: How long it ran, in milliseconds, 0 to 2^64-1.
        is_error: Whether it failed.
        tool_call_id: The provider's id of the call. Old kernels did not keep it unique.
        timestamp: When it started; now, by default. Without a time zone it cannot be saved.
        extra: The keys of the document that this release does not know, with their values.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If *duration_ms* is out of range.
    """

    tool_name: str = field(validator=_text)
    tool_args: Any = field(converter=freeze, hash=False)
    output_summary: str = field(default="", validator=_text)
    duration_ms: int = field(default=0, validator=[is_int, ge(0), lt(2**64)])
    is_error: bool = field(default=False, validator=is_a(bool))
    tool_call_id: str = field(default="", validator=_text)
    timestamp: datetime = field(factory=timestamps.now, validator=_moment, kw_only=True)
    extra: dict[str, Any] = field(
        default=FrozenDict(), converter=freeze, validator=_extra, kw_only=True, repr=False, hash=False
    )


def _session_id(value: str | None) -> SessionId:
    if value is None:
        return SessionId.new()
    if not isinstance(value, str):
        raise TypeError(f"'id' must be str or None, not {type(value).__name__}")
    return value if isinstance(value, SessionId) else SessionId(value)


@attrs.define
class Session:
    """A conversation. Records are immutable; a session is not, and is not safe to share between threads.

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
    def trajectory(self) -> Sequence[TrajectoryStepRecord]:
        """The tool calls, in order."""
        return self.trajectory_steps

    @property
    def exchange_count(self) -> int:
        """How many user messages have an answer: the lesser of the counts of messages and responses."""
        return min(len(self.user_messages), len(self.agent_responses))

    @property
    def is_empty(self) -> bool:
        """Whether the user has said nothing."""
        return not self.user_messages

    def _touch(self) -> None:
        now = timestamps.now()
        if self.updated_at.utcoffset() is not None and timedelta(0) <= self.updated_at - now < timedelta(seconds=1):
            now = self.updated_at + timedelta(microseconds=1)  # a clock may stand still, or step back a little
        self.updated_at = now


def _checked(value: _T, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"a {kind.__name__} is expected, not {type(value).__name__}")
    return value


@attrs.frozen
class SessionSummary:
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
    created_at: datetime
    updated_at: datetime
