"""Records from plain values, many at once: checked a column at a time, which CPython does in C.

This is `codec`'s quick way for what is as it should be, which nearly all is. What is not goes to cattrs, one record at
a time, which says what is wrong and where.
"""

from __future__ import annotations

from collections import deque
from itertools import chain, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from oxios_state.model import timestamps
from oxios_state.model.immutable import SCALARS, FrozenDict, freeze
from oxios_state.model.records import FILLERS, UNREAD, AgentResponse, TrajectoryStepRecord, UserMessage
from oxios_state.model.values import DEEPEST, depth_exceeds

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_OPTIONAL_TEXT: set[type] = {str, type(None)}
_COLUMNS: dict[type, dict[str, set[type]]] = {
    UserMessage: {"content": {str}, "timestamp": {str}},
    AgentResponse: {
        "content": {str},
        "session_id": _OPTIONAL_TEXT,
        "seed_id": _OPTIONAL_TEXT,
        "phase_reached": _OPTIONAL_TEXT,
        "evaluation_passed": {bool, type(None)},
        "timestamp": {str},
    },
    TrajectoryStepRecord: {
        "tool_name": {str},
        "tool_args": {dict, list, str, int, float, bool, type(None)},
        "output_summary": {str},
        "duration_ms": {int},
        "is_error": {bool},
        "tool_call_id": {str},
        "timestamp": {str},
    },
}
_NO_EXTRA = FrozenDict()
RECORD_DEPTH = 3
"""How many arrays and objects a record's values are nested in: its own, its array and the session."""


def build(cls: type[_T], items: list[Any]) -> list[_T] | None:
    """Make records of class *cls*; None if one of *items* has other keys or a value of another type than usual.

    The items are checked here, and become the fields when these are asked for.
    """
    if not _are_usual(_COLUMNS[cls], items) or not timestamps.are_usual(_column(items, "timestamp")):
        return None
    if cls is TrajectoryStepRecord:
        durations = _column(items, "duration_ms")
        if min(durations) < 0 or max(durations) >= 2**64 or not _are_shallow(_column(items, "tool_args")):
            return None
    records = list(map(object.__new__, repeat(cls, len(items))))
    # Past the guard of what is frozen.
    deque(map(UNREAD.__set__, records, items), maxlen=0)
    return records


def _column(items: list[Any], key: str) -> list[Any]:
    return list(map(itemgetter(key), items))


def _are_usual(kinds: dict[str, set[type]], items: list[Any]) -> bool:
    if set(map(type, items)) != {dict} or set(map(len, items)) != {len(kinds)}:
        return False
    try:
        # Never a list of lists: what makes many containers has the garbage collector look at all there are.
        return all(set(map(type, map(itemgetter(key), items))) <= kinds[key] for key in kinds)
    except KeyError:
        return False


def _are_shallow(values: list[Any]) -> bool:
    kinds = set(map(type, values))
    if kinds == {dict}:
        kinds = set(map(type, chain.from_iterable(map(dict.values, values))))
    return kinds <= SCALARS or not depth_exceeds(values, DEEPEST - RECORD_DEPTH + 1)


def _filler(cls: type[Any]) -> Callable[[Any, dict[str, Any]], None]:
    """Make what sets the fields of a record of class *cls* to a checked item's values."""
    # Past __init__, whose validators would look at each value again, and past the guard of what is frozen.
    setters = [(field.name, getattr(cls, field.name).__set__) for field in attrs.fields(cls)]
    others = {"extra": _NO_EXTRA, "seed_id_absent": False}

    def fill(record: Any, item: dict[str, Any]) -> None:
        values = item | others  # another thread may be filling the same record of the same item
        values["timestamp"] = timestamps.parse_usual(values["timestamp"])
        if "tool_args" in values:
            values["tool_args"] = freeze(values["tool_args"])
        for name, set_field in setters:
            set_field(record, values[name])

    return fill


FILLERS |= {cls: _filler(cls) for cls in _COLUMNS}
