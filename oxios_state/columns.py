"""Records from plain values, many at once: a column at a time, which CPython does in C.

This is `codec`'s quick way for what is as it should be, which nearly all is. What is not goes to cattrs, one record at
a time, which says what is wrong and where.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat
from operator import itemgetter
from typing import Any, TypeVar

from oxios_state import timestamps
from oxios_state.frozen import FrozenDict, freeze
from oxios_state.model import AgentResponse, TrajectoryStepRecord, UserMessage

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


def build(cls: type[_T], items: list[Any]) -> list[_T] | None:
    """Make records of class *cls*; None if one of *items* has another key, an order of keys or a type than usual."""
    kinds = _COLUMNS[cls]
    if set(map(type, items)) != {dict} or set(map(tuple, items)) != {tuple(kinds)}:
        return None
    columns: dict[str, Any] = {key: list(map(itemgetter(key), items)) for key in kinds}
    if not all(set(map(type, columns[key])) <= kinds[key] for key in kinds):
        return None
    columns["timestamp"] = timestamps.parse_all(columns["timestamp"])
    if columns["timestamp"] is None:
        return None
    if cls is TrajectoryStepRecord:
        if min(columns["duration_ms"]) < 0 or max(columns["duration_ms"]) >= 2**64:
            return None
        columns["tool_args"] = list(map(freeze, columns["tool_args"]))
    elif cls is AgentResponse:
        columns["seed_id_absent"] = repeat(object=False)
    columns |= {"extra": repeat(_NO_EXTRA), "encoded": repeat(None)}
    records = list(map(object.__new__, repeat(cls, len(items))))
    for name, column in columns.items():
        # Past __init__, whose validators would look at each value again, and past the guard of what is frozen.
        deque(map(getattr(cls, name).__set__, records, column), maxlen=0)
    return records
