"""The records of a session: what users, agents and tools said and did. Records are immutable.

The field names are the keys of the kernel's session documents.
"""

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs
from attrs import field
from attrs.validators import lt

from oxios_state.model import timestamps
from oxios_state.model.dataframes import JSONValue, Moment, Row
from oxios_state.model.immutable import FrozenDict, freeze
from oxios_state.model.validators import count, instance_of, is_datetime, is_json, is_optional_text, is_text
from oxios_state.model.values import NOT_STORED, RECORD_DEPTH

_T = TypeVar("_T")
_EMPTY = FrozenDict()


def _refuse_fields(instance: attrs.AttrsInstance, attribute: "attrs.Attribute[Any]", value: dict[str, Any]) -> None:
    """Refuse, as an attrs validator, extra keys that are fields of the class."""
    if fields := value.keys() & ({known.name for known in attrs.fields(type(instance))} - NOT_STORED):
        raise ValueError(f"'{attribute.name}' must not contain fields of the class: {', '.join(sorted(fields))}")


def extra_validator(depth: int) -> Any:
    """Return the attrs validator of the `extra` of a class whose documents stand *depth* levels deep."""
    checks = [instance_of(dict), _refuse_fields, is_json(depth)]

    def validate(instance: attrs.AttrsInstance, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        if value or not isinstance(value, dict):  # most are empty
            for check in checks:
                check(instance, attribute, value)

    return validate


_EXTRA_VALIDATOR = extra_validator(RECORD_DEPTH)


class _Record(Row):
    """Base of the records: immutable, and so its own copy.

    A record that the codec creates is filled late: it keeps the checked JSON object of the document, and its fields are
    set when the first of them is read. Most programs read few of the records that they load: creating all fields at
    once would double the time of a first load.
    """

    __slots__ = ("_unread",)
    _not_columns = NOT_STORED

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        cls: Any = type(self)  # an attrs class; this one is not
        return {member.name: getattr(self, member.name) for member in attrs.fields(cls)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, freeze(value))

    if not TYPE_CHECKING:  # a type checker would believe that every attribute exists

        def __getattr__(self, name: str) -> Any:
            if name != "_unread" and (document := getattr(self, "_unread", None)) is not None:
                _fill(self, document)
                _set_unread(self, None)
                return getattr(self, name)
            return object.__getattribute__(self, name)  # an AttributeError, unless another thread has just filled it


_set_unread: Any = vars(_Record)["_unread"].__set__  # bypasses the guard of frozen classes


def unread(cls: type[_T], documents: Iterable[dict[str, Any]]) -> list[_T]:
    """Return records of class *cls* that are filled when they are first read.

    Args:
        cls: The class of the records.
        documents: Their JSON objects, each with exactly the keys of the class, checked, and not changed any more.
    """
    records = []
    for document in documents:
        record = object.__new__(cls)
        _set_unread(record, document)
        records.append(record)
    return records


def read(record: Any) -> None:
    """Fill a record now, so that it no longer depends on the JSON object that it was created from."""
    _ = record.timestamp  # reading any field fills all


@cache
def _setters(cls: Any) -> list[tuple[str, Any]]:
    # Bypassing __init__, whose validators would check each value again, and the guard of frozen classes.
    return [(member.name, getattr(cls, member.name).__set__) for member in attrs.fields(cls)]


def _fill(record: Any, document: dict[str, Any]) -> None:
    cls: Any = type(record)
    values = document | {"extra": _EMPTY, "seed_id_absent": False}  # a copy: threads may fill a record at once
    values["timestamp"] = timestamps.parse_canonical(values["timestamp"])
    if "tool_args" in values:
        values["tool_args"] = freeze(values["tool_args"])
    for name, set_field in _setters(cls):
        set_field(record, values[name])


@attrs.frozen(getstate_setstate=False)
class UserMessage(_Record):
    """A message of the user.

    Attributes:
        content: The text.
        timestamp: When it was sent; by default now. It must have a time zone.
        extra: Keys of the document that this release does not know, with their values.

    Raises:
        TypeError: If an argument has another type.
        UnsupportedValueError: If an argument could not be saved.
    """

    __module__ = "oxios_state"

    content: str = field(validator=is_text)
    timestamp: Moment = field(factory=timestamps.now, validator=is_datetime, kw_only=True)
    extra: dict[str, Any] = field(
        default=_EMPTY, converter=freeze, validator=_EXTRA_VALIDATOR, kw_only=True, repr=False, hash=False
    )


@attrs.frozen(getstate_setstate=False)
class AgentResponse(_Record):
    """An answer of the agent.

    Attributes:
        content: The text.
        session_id: The session that the answer belongs to, if the kernel recorded it.
        seed_id: The seed that was used, if any.
        phase_reached: How far the orchestration came, if it was recorded.
        evaluation_passed: Whether the evaluation passed, if there was one.
        timestamp: When the answer was made; by default now. It must have a time zone.
        seed_id_absent: True if the document had no ``seed_id``, as newer kernels write it. A `seed_id` of None is then
            omitted again on saving, instead of written as null.
        extra: Keys of the document that this release does not know, with their values.

    Raises:
        TypeError: If an argument has another type.
        UnsupportedValueError: If an argument could not be saved.
    """

    __module__ = "oxios_state"

    content: str = field(validator=is_text)
    session_id: str | None = field(default=None, validator=is_optional_text, kw_only=True)
    seed_id: str | None = field(default=None, validator=is_optional_text, kw_only=True)
    phase_reached: str | None = field(default=None, validator=is_optional_text, kw_only=True)
    evaluation_passed: bool | None = field(default=None, validator=instance_of(bool, type(None)), kw_only=True)
    timestamp: Moment = field(factory=timestamps.now, validator=is_datetime, kw_only=True)
    seed_id_absent: bool = field(default=False, validator=instance_of(bool), kw_only=True, repr=False, eq=False)
    extra: dict[str, Any] = field(
        default=_EMPTY, converter=freeze, validator=_EXTRA_VALIDATOR, kw_only=True, repr=False, hash=False
    )


@attrs.frozen(getstate_setstate=False)
class TrajectoryStepRecord(_Record):
    """A tool call.

    Attributes:
        tool_name: The tool.
        tool_args: Its arguments: any JSON value. The record keeps an immutable copy.
        output_summary: Its output, shortened (kernels keep some 500 characters).
        duration_ms: How long it ran, in milliseconds, 0 to 2^64-1.
        is_error: Whether it failed.
        tool_call_id: The provider's id of the call. Old kernels did not keep it unique.
        timestamp: When it started; by default now. It must have a time zone.
        extra: Keys of the document that this release does not know, with their values.

    Raises:
        TypeError: If an argument has another type.
        UnsupportedValueError: If an argument could not be saved.
        ValueError: If *duration_ms* is out of range.
    """

    __module__ = "oxios_state"

    tool_name: str = field(validator=is_text)
    tool_args: JSONValue = field(
        converter=freeze,
        validator=is_json(RECORD_DEPTH + 1, "tool_args", remedy="session.step(..., default=str) records its text"),
        hash=False,
    )
    output_summary: str = field(default="", validator=is_text)
    duration_ms: int = field(default=0, validator=[count, lt(2**64)])
    is_error: bool = field(default=False, validator=instance_of(bool))
    tool_call_id: str = field(default="", validator=is_text)
    timestamp: Moment = field(factory=timestamps.now, validator=is_datetime, kw_only=True)
    extra: dict[str, Any] = field(
        default=_EMPTY, converter=freeze, validator=_EXTRA_VALIDATOR, kw_only=True, repr=False, hash=False
    )


RECORD_TYPES: dict[str, type[Any]] = {
    "user_messages": UserMessage,
    "agent_responses": AgentResponse,
    "trajectory_steps": TrajectoryStepRecord,
}
"""The arrays of records in a session document, and the class of their records."""
