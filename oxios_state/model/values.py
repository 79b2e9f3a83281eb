"""Which values and keys a stored document may hold, and the order of its keys.

The limits are those of the Oxios kernel, which reads documents with serde_json: saving refuses what it could not load.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from oxios_state.errors import UnsupportedValueError
from oxios_state.model.immutable import FrozenDict, FrozenList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_DEPTH = 127
"""How deep arrays and objects may be nested: serde_json refuses more."""
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1
"""The range of integers that serde_json keeps exactly: i64 and u64."""

SESSIONS = "sessions"
"""The category of session documents."""
SESSION_KEYS = (
    "id",
    "user_id",
    "user_messages",
    "agent_responses",
    "trajectory_steps",
    "active_seed_id",
    "active_persona_id",
    "created_at",
    "updated_at",
    "metadata",
)
"""The keys of a session document, in the order in which the kernel writes them."""
OMITTED_KEYS = frozenset({"trajectory_steps", "active_seed_id", "active_persona_id"})
"""The keys of a session document that are omitted when they are empty or null."""

_TEXT: frozenset[type] = frozenset({str})
_OPTIONAL_TEXT: frozenset[type] = frozenset({str, type(None)})
RECORD_KEYS: dict[str, dict[str, frozenset[type]]] = {
    "user_messages": {"content": _TEXT, "timestamp": _TEXT},
    "agent_responses": {
        "content": _TEXT,
        "session_id": _OPTIONAL_TEXT,
        "seed_id": _OPTIONAL_TEXT,
        "phase_reached": _OPTIONAL_TEXT,
        "evaluation_passed": frozenset[type]({bool, type(None)}),
        "timestamp": _TEXT,
    },
    "trajectory_steps": {
        "tool_name": _TEXT,
        "tool_args": frozenset[type]({dict, list, str, int, float, bool, type(None)}),
        "output_summary": _TEXT,
        "duration_ms": frozenset({int}),
        "is_error": frozenset({bool}),
        "tool_call_id": _TEXT,
        "timestamp": _TEXT,
    },
}
"""The arrays of records: the keys of each record in their order, and the types that their values have in JSON."""
OPTIONAL_KEYS = frozenset(
    {
        *("user_messages", "agent_responses", "trajectory_steps", "active_seed_id", "active_persona_id", "metadata"),
        *("session_id", "seed_id", "phase_reached", "evaluation_passed"),
    }
)
"""The keys that a session document and its records may lack."""
NOT_STORED = frozenset({"extra", "seed_id_absent", "_source"})
"""The fields of the model's classes that are not keys of a document."""
RECORD_DEPTH = 3
"""How many containers enclose a record's values: the session, the array and the record itself."""

_MANY = 10_000  # containers at one depth


def json_path(keys: Iterable[str | int]) -> str:
    """Return a path into a document as text: ``$.metadata.scores[3]``, ``$['a key']``."""
    return "$" + "".join(f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]" for key in keys)


class InvalidValueError(Exception):
    """A value that the kernel could not read back.

    Attributes:
        reason: What is wrong.
        keys: The keys and indexes that lead to the value, the innermost first: each level adds its own on the way out.
        remedy: What the caller can record instead; None where that depends on the place of the value.
    """

    def __init__(self, reason: str, *keys: str | int, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.keys: list[str | int] = list(keys)
        self.remedy = remedy

    @property
    def path(self) -> str:
        """The JSON path of the value."""
        return json_path(reversed(self.keys))


def check_value(value: Any, depth: int) -> bool:
    """Raise an error for a value that the kernel could not read back.

    Args:
        value: The value.
        depth: How deep it stands in its document; 1 for the document itself.

    Returns:
        Whether orjson spells the value as the kernel does, and reading it back gives the same types.

    Raises:
        InvalidValueError: With the reason, and the keys that lead to the value.
    """
    kind = type(value)
    if kind is str:
        if not value.isascii():
            check_unicode(value)
        return True
    if value is None or kind is bool:
        return True
    if isinstance(value, dict):
        _check_depth(depth)
        plain = kind is dict or kind is FrozenDict
        for key, item in value.items():
            _check_key(key)
            try:
                plain &= check_value(item, depth + 1) and type(key) is str
            except InvalidValueError as error:
                error.keys.append(key)
                raise
        return plain
    if isinstance(value, list | tuple):
        _check_depth(depth)
        plain = kind is list or kind is FrozenList or kind is tuple
        for index, item in enumerate(value):
            try:
                plain &= check_value(item, depth + 1)
            except InvalidValueError as error:
                error.keys.append(index)
                raise
        return plain
    return _check_scalar(value, kind)


def _check_key(key: Any) -> None:
    if not isinstance(key, str):
        raise InvalidValueError(f"the key {key!r} is not a string", remedy="str(key) makes it one")
    check_unicode(key)


def _check_scalar(value: Any, kind: type) -> bool:
    if isinstance(value, int):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise InvalidValueError("the integer is outside [-2^63, 2^64-1]")
        return kind is int
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidValueError(f"{value} is not JSON")
        return kind is float and "e" not in float.__repr__(value)  # releases of orjson spell 1e16 in different ways
    if isinstance(value, str):
        check_unicode(value)
        return False
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise InvalidValueError(f"{value!r} has no time zone")
        raise InvalidValueError("a datetime is not JSON, or is outside the years 1 to 9999 in UTC")
    raise InvalidValueError(f"a value of type {kind.__qualname__} is not JSON")


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        remedy = "record its text, for example json.dumps(value)"
        raise InvalidValueError(f"nested deeper than {MAX_DEPTH} levels", remedy=remedy)


def check_unicode(text: str) -> None:
    """Raise an error for text that UTF-8 cannot encode.

    Raises:
        InvalidValueError: If it has a lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(
            f"the text has a lone surrogate at character {error.start}",
            remedy='text.encode("utf-8", "replace").decode() replaces it',
        ) from None


def check_recorded(value: Any, depth: int, *keys: str, remedy: str = "record its text, str(value)") -> None:
    """Check a value where it is recorded: saving would refuse it, and with it all that is recorded later.

    Args:
        value: The value.
        depth: How deep it will stand in its document.
        *keys: The keys that lead to the value.
        remedy: What the caller can do about a value that is not JSON.

    Raises:
        UnsupportedValueError: If the kernel could not read it back; without a file, and with the remedy.
    """
    try:
        check_value(value, depth)
    except InvalidValueError as error:
        path = json_path((*keys, *reversed(error.keys)))
        raise UnsupportedValueError(None, f"{error.reason}; {error.remedy or remedy}", path) from None


def with_default(value: Any, default: Callable[[Any], Any], around: tuple[int, ...] = ()) -> Any:
    """Return a value with the results of *default* in place of what is not JSON.

    Args:
        value: The value.
        default: Called with each object that is not JSON, NaN, infinities and integers out of range included.
        around: The identities of the containers that enclose the value. One that contains itself is left as it is.
    """
    if isinstance(value, dict | list | tuple):
        if id(value) in around or len(around) > MAX_DEPTH:
            return value
        inner = (*around, id(value))
        if isinstance(value, dict):
            return {key: with_default(item, default, inner) for key, item in value.items()}
        return [with_default(item, default, inner) for item in value]
    if not isinstance(value, str):
        try:
            check_value(value, 1)
        except InvalidValueError:
            result = default(value)
            return with_default(result, default, around) if isinstance(result, dict | list | tuple) else result
    return value


def depth_exceeds(value: Any, limit: int) -> bool:
    """Return whether plain arrays and objects are nested deeper than *limit*."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
        if len(level) > _MANY:  # a container that contains itself twice would double the number at each depth
            level = list({id(container): container for container in level}.values())
    return True
