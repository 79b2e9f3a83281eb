"""The quick way to records gives what the slow way gives, or leaves it to that."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxios_state import AgentResponse, TrajectoryStepRecord, UserMessage, converter

NOON = "2026-03-01T12:00:00.123456789Z"
USUAL: dict[type, dict[str, Any]] = {
    UserMessage: {"content": "hello", "timestamp": NOON},
    AgentResponse: {
        "content": "hi",
        "session_id": "s",
        "seed_id": None,
        "phase_reached": None,
        "evaluation_passed": True,
        "timestamp": "2026-03-01T12:00:00Z",
    },
    TrajectoryStepRecord: {
        "tool_name": "bash",
        "tool_args": {"cmd": "ls", "deep": [{"n": 1}]},
        "output_summary": "",
        "duration_ms": 2**64 - 1,
        "is_error": False,
        "tool_call_id": "call",
        "timestamp": "2026-03-01T12:00:00.500Z",
    },
}
every_class = pytest.mark.parametrize("cls", USUAL, ids=lambda cls: cls.__name__)
MOMENTS = [
    *(NOON, "1969-12-31T23:59:59.999999999Z", "2026-03-01t12:00:00z", "2026-02-30T12:00:00Z", "2026-03-01T12:00:60Z"),
    *("2026-03-01T13:30:00+01:30", "2026-03-01T12:00:00", "2026-03-01T12:00:00Z\n2026-03-01T12:00:00Z", "", "x"),
]
VALUES = st.one_of(
    st.sampled_from([None, True, 0, 1.0, "x", [], {}, -1, 2**64, [1, {"a": []}], {"k": {"l": [None]}}]).map(deepcopy),
    st.sampled_from(MOMENTS),
)


def slowly(cls: type, item: Any) -> Any:
    try:
        return converter.structure(deepcopy(item), cls)
    except (ExceptionGroup, LookupError, TypeError, ValueError) as error:
        return type(error)


def fields(record: Any) -> Any:
    return attrs.asdict(record, recurse=False) | {"type": type(record)} if attrs.has(type(record)) else record


@every_class
def test_records_of_the_usual_shape_are_built_at_once(cls: type) -> None:
    items = [dict(USUAL[cls]) for _ in range(3)]
    records: Any = codec.build_records(cls, items)
    assert records is not None
    assert list(map(fields, records)) == [fields(slowly(cls, item)) for item in items]
    assert len({id(record) for record in records}) == 3
    if cls is TrajectoryStepRecord:
        with pytest.raises(TypeError, match="immutable"):
            records[0].tool_args["deep"][0]["n"] = 2
        items[0]["tool_args"]["deep"][0]["n"] = 2
        assert records[0].tool_args["deep"][0]["n"] == 1


@every_class
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_records_built_at_once_equal_those_that_cattrs_builds(cls: type, data: st.DataObject) -> None:
    # "Nothing is coerced": the quick way takes nothing that the slow one refuses, and makes nothing else of it.
    items: list[Any] = [dict(USUAL[cls]) for _ in range(data.draw(st.integers(1, 3)))]
    for _ in range(data.draw(st.integers(0, 2))):
        item = data.draw(st.sampled_from(items))
        if isinstance(item, dict):
            change = data.draw(st.sampled_from(["set", "add", "remove", "replace", "turn"]))
            key = data.draw(st.sampled_from(sorted(USUAL[cls])))
            if change == "set":
                item[key] = data.draw(VALUES)
            elif change == "add":
                item["unknown"] = data.draw(VALUES)
            elif change == "remove":
                item.pop(key, None)
            elif change == "turn":
                item[key] = item.pop(key, "x")
            else:
                items[items.index(item)] = data.draw(VALUES)
    expected = [fields(slowly(cls, item)) for item in items]
    records: Any = codec.build_records(cls, deepcopy(items))
    assert records is None or list(map(fields, records)) == expected


def test_a_timestamp_without_nanoseconds_is_a_plain_datetime() -> None:
    (message,) = codec.build_records(UserMessage, [{"content": "x", "timestamp": "2026-03-01T12:00:00Z"}]) or []
    assert type(message.timestamp) is datetime
    assert message.timestamp == datetime(2026, 3, 1, 12, tzinfo=UTC)
