"""Records from plain values, many at once: a column at a time, which CPython does in C.

This is `codec`'s quick way for what is as it should be, which nearly all is. What is not goes to cattrs, one record at
a time, which says what is wrong and where.
"""

from __future__ import annotations

from collections import deque
from itertools import chain, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from oxios_state import timestamps
from oxios_state.frozen import SCALARS, FrozenDict, freeze
from oxios_state.jsonvalues import DEEPEST, depth_exceeds
from oxios_state.model import AgentResponse, TrajectoryStepRecord, UserMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    """Make records of class *cls*; None if one of *items* has other keys or a value of another type than usual."""
    columns = _columns(_COLUMNS[cls], items)
    if columns is None:
        return None
    if cls is TrajectoryStepRecord:
        if min(columns["duration_ms"]) < 0 or max(columns["duration_ms"]) >= 2**64:
            return None
        columns["tool_args"] = _frozen(columns["tool_args"])
        if columns["tool_args"] is None:
            return None
    elif cls is AgentResponse:
        columns["seed_id_absent"] = repeat(object=False)
    columns["extra"] = repeat(_NO_EXTRA)
    records = list(map(object.__new__, repeat(cls, len(items))))
    for name, column in columns.items():
        # Past __init__, whose validators would look at each value again, and past the guard of what is frozen.
        deque(map(getattr(cls, name).__set__, records, column), maxlen=0)
    return records


def _columns(kinds: dict[str, set[type]], items: list[Any]) -> dict[str, Any] | None:
    if set(map(type, items)) != {dict} or set(map(len, items)) != {len(kinds)}:
        return None
    try:
        rows = map(itemgetter(*kinds), items)
        columns: dict[str, Any] = dict(zip(kinds, zip(*rows, strict=True), strict=True))
    except KeyError:
        return None
    if not all(set(map(type, columns[key])) <= kinds[key] for key in kinds):
        return None
    columns["timestamp"] = timestamps.parse_all(columns["timestamp"])
    return columns if columns["timestamp"] is not None else None


def _frozen(values: tuple[Any, ...]) -> Iterable[Any] | None:
    """Freeze free-form values; None if one is nested too deep."""
    if set(map(type, values)) == {dict} and SCALARS.issuperset(
        map(type, chain.from_iterable(map(dict.values, values)))
    ):
        return map(FrozenDict, values)
    return None if depth_exceeds(list(values), DEEPEST - RECORD_DEPTH + 1) else map(freeze, values)
