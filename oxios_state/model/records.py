"""What a session consists of: the records of what was said and done. They cannot be changed.

The field names are the keys of the kernel's session documents. No I/O happens here, and nothing knows JSON.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import attrs
from attrs import field
from attrs.validators import ge, lt

from oxios_state.model import timestamps
from oxios_state.model.dataframes import JSONValue, Moment, Row
from oxios_state.model.immutable import FrozenDict, freeze
from oxios_state.model.validators import is_a, is_int

if TYPE_CHECKING:
    from collections.abc import Callable

_text = is_a(str)
_optional_text = is_a(str, type(None))
_moment = is_a(datetime)


NOT_ON_DISK = frozenset({"extra", "seed_id_absent", "revision"})
"""The fields of the classes below that are no keys of the document."""


def no_field(instance: attrs.AttrsInstance, attribute: attrs.Attribute[Any], value: dict[str, Any]) -> None:
    """Refuse, as a validator, keys that are fields."""
    if twice := value.keys() & ({known.name for known in attrs.fields(type(instance))} - NOT_ON_DISK):
        raise ValueError(f"'{attribute.name}' must not hold what is a field: {', '.join(sorted(twice))}")


_extra = [is_a(dict), no_field]


class _Record(Row):
    """What cannot be changed, and so is its own copy.

    One that the codec made gets its fields when the first of them is asked for, of a document that was checked before:
    most programs look at few of the records that they load.
    """

    __slots__ = ("_unread",)
    _no_columns = NOT_ON_DISK

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self

    if not TYPE_CHECKING:  # a type checker would take every name to be there

        def __getattr__(self, name: str) -> Any:
            if name != "_unread" and (unread := getattr(self, "_unread", None)) is not None:
                FILLERS[type(self)](self, unread)
                UNREAD.__set__(self, None)
                return getattr(self, name)
            return object.__getattribute__(self, name)  # an error, unless another thread has just set it


UNREAD: Any = _Record.__dict__["_unread"]
"""The slot for what a record's fields are made of, past the guard of what is frozen."""

FILLERS: dict[type, Callable[[Any, Any], None]] = {}
"""What sets the fields of a record of a class to what was left unread: `columns` knows."""


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
    timestamp: Moment = field(factory=timestamps.now, validator=_moment, kw_only=True)
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
    timestamp: Moment = field(factory=timestamps.now, validator=_moment, kw_only=True)
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
    tool_args: JSONValue = field(converter=freeze, hash=False)
    output_summary: str = field(default="", validator=_text)
    duration_ms: int = field(default=0, validator=[is_int, ge(0), lt(2**64)])
    is_error: bool = field(default=False, validator=is_a(bool))
    tool_call_id: str = field(default="", validator=_text)
    timestamp: Moment = field(factory=timestamps.now, validator=_moment, kw_only=True)
    extra: dict[str, Any] = field(
        default=FrozenDict(), converter=freeze, validator=_extra, kw_only=True, repr=False, hash=False
    )
