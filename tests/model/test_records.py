"""Records are immutable values. Those that the codec creates are filled late, and behave like all others."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs
import pytest

from oxios_state import (
    AgentResponse,
    PruneConfig,
    Session,
    SessionSummary,
    Timestamp,
    TrajectoryStepRecord,
    UserMessage,
    converter,
)
from oxios_state.codec import documents as codec
from oxios_state.model import records, timestamps
from oxios_state.model.records import RECORD_TYPES

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIME = "2026-03-01T12:00:00Z"
STAMP = Timestamp(2026, 3, 1, 12, tzinfo=UTC, nanosecond=7)
RECORDS: list[Any] = [
    UserMessage("hello", timestamp=STAMP, extra={"a": [1]}),
    AgentResponse("hi", seed_id="s", evaluation_passed=False, timestamp=NOON, seed_id_absent=True),
    TrajectoryStepRecord("grep", {"a": [1]}, "out", 12, is_error=True, tool_call_id="call", timestamp=NOON),
    SessionSummary("s", "u", 1, None, "p", "t", NOON, STAMP),
    PruneConfig(5, 1.5),
]
ITEMS: dict[str, dict[str, Any]] = {
    "user_messages": {"content": "hello", "timestamp": TIME},
    "agent_responses": {
        "content": "hi",
        "session_id": "s",
        "seed_id": None,
        "phase_reached": "done",
        "evaluation_passed": True,
        "timestamp": TIME,
    },
    "trajectory_steps": {
        "tool_name": "grep",
        "tool_args": {"deep": [{"n": 1}], "s": "x"},
        "output_summary": "found",
        "duration_ms": 12,
        "is_error": False,
        "tool_call_id": "c1",
        "timestamp": TIME,
    },
}
each_array = pytest.mark.parametrize("array", ITEMS)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_immutable_equal_by_value_and_hashable(record: Any) -> None:
    for name in attrs.asdict(record, recurse=False):
        with pytest.raises(AttributeError):
            setattr(record, name, None)
    with pytest.raises(AttributeError):
        record.another = 1
    twin = pickle.loads(pickle.dumps(record))
    assert twin is not record
    assert twin == record
    assert hash(twin) == hash(record)
    assert repr(twin) == repr(record)


def test_records_differ_where_a_field_differs() -> None:
    message, response, step = RECORDS[:3]
    for record, changes in (
        (message, {"content": "x", "timestamp": NOON, "extra": {}}),
        (
            response,
            {"content": "x", "session_id": "x", "seed_id": None, "phase_reached": "x", "evaluation_passed": None},
        ),
        (step, {"tool_name": "x", "tool_args": None, "output_summary": "", "duration_ms": 1, "is_error": False}),
    ):
        for name, value in changes.items():
            assert attrs.evolve(record, **{name: value}) != record
    assert attrs.evolve(response, seed_id_absent=False) == response
    assert message != response


def test_records_have_the_defaults_of_the_contract() -> None:
    before = datetime.now(UTC)
    message, response, step = UserMessage("a"), AgentResponse("b"), TrajectoryStepRecord("t", None)
    assert before <= message.timestamp <= response.timestamp <= step.timestamp <= datetime.now(UTC)
    assert (message.content, message.extra) == ("a", {})
    assert (response.session_id, response.seed_id, response.phase_reached, response.evaluation_passed) == (None,) * 4
    assert (response.content, response.seed_id_absent) == ("b", False)
    assert (step.tool_args, step.output_summary, step.duration_ms, step.is_error) == (None, "", 0, False)
    assert step.tool_call_id == ""
    assert TrajectoryStepRecord("t", {}, "out", 2**64 - 1, is_error=True, tool_call_id="id").duration_ms == 2**64 - 1


# Filled late.


def unread(array: str) -> Any:
    """Return a record as the codec creates it."""
    (record,) = records.unread(RECORD_TYPES[array], [copy.deepcopy(ITEMS[array])])
    assert record._unread is not None
    return record


def constructed(array: str) -> Any:
    """Return the same record, created by its constructor."""
    return RECORD_TYPES[array](**ITEMS[array] | {"timestamp": NOON})


USES: dict[str, Callable[[Any], Any]] = {
    "repr": repr,
    "str": str,
    "asdict": attrs.asdict,
    "astuple": attrs.astuple,
    "evolve": lambda record: attrs.evolve(record, timestamp=datetime(2027, 1, 1, tzinfo=UTC)),
    **{
        f"pickle {protocol}": partial(lambda protocol, record: pickle.loads(pickle.dumps(record, protocol)), protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "document": codec.record_document,
    "unstructure": converter.unstructure,
    "state": lambda record: record.__getstate__(),
    "hash": lambda record: hash(record) if type(record) is not TrajectoryStepRecord else hash(record.tool_name),
    "hasattr": lambda record: [hasattr(record, name) for name in ("timestamp", "extra", "nonsense", "__len__")],
    "fields": lambda record: {field.name: getattr(record, field.name) for field in attrs.fields(type(record))},
    "fields backwards": lambda record: [getattr(record, field.name) for field in attrs.fields(type(record))[::-1]],
    "types": lambda record: [type(getattr(record, field.name)) for field in attrs.fields(type(record))],
}


@each_array
@pytest.mark.parametrize("use", USES)
def test_an_unread_record_behaves_like_any_other(array: str, use: str) -> None:
    record = unread(array)
    assert USES[use](record) == USES[use](constructed(array))
    assert record._unread is None
    assert USES[use](record) == USES[use](constructed(array))


@each_array
def test_unread_records_are_equal_and_hashed_by_value(array: str) -> None:
    assert unread(array) == unread(array)
    assert constructed(array) == unread(array)
    assert unread(array) == constructed(array)
    assert unread(array) != attrs.evolve(constructed(array), extra={"x": 1})
    assert unread(array) != next(unread(other) for other in ITEMS if other != array)
    assert len({unread(array), constructed(array), unread(array)}) == 1


@each_array
def test_an_unread_record_cannot_be_changed(array: str) -> None:
    for name in ("timestamp", "extra", "nonsense", "_unread"):
        record = unread(array)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(record, name, None)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            delattr(record, name)
        assert record == constructed(array)


@each_array
def test_an_unknown_attribute_is_an_attribute_error(array: str) -> None:
    for record in (unread(array), constructed(array), pickle.loads(pickle.dumps(unread(array)))):
        name = RECORD_TYPES[array].__name__
        with pytest.raises(AttributeError, match=f"'{name}' object has no attribute 'nonsense'"):
            _ = record.nonsense
        assert getattr(record, "nonsense", 1) == 1


@each_array
def test_threads_may_read_a_record_for_the_first_time_at_once(array: str) -> None:
    names = [field.name for field in attrs.fields(RECORD_TYPES[array])]
    expected = {name: getattr(constructed(array), name) for name in names}
    count, rounds = 4, 300
    unread_records = [unread(array) for _ in range(rounds)]
    barrier = threading.Barrier(count)

    def read(number: int) -> bool:
        order = names[number % len(names) :] + names[: number % len(names)]
        same = True
        for record in unread_records:
            barrier.wait()
            same &= {name: getattr(record, name) for name in order} == expected
        return same

    with ThreadPoolExecutor(count) as pool:
        assert list(pool.map(read, range(count))) == [True] * count


@each_array
def test_an_interrupted_first_read_is_repeated(array: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = unread(array)

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(timestamps, "parse_canonical", interrupt)
        _ = record.timestamp
    assert record == constructed(array)


def test_a_structured_session_does_not_depend_on_its_document() -> None:
    document: dict[str, Any] = {
        "id": "s",
        "user_id": "u",
        **{array: [copy.deepcopy(item)] for array, item in ITEMS.items()},
        "created_at": TIME,
        "updated_at": TIME,
    }
    session = converter.structure(document, Session)
    for array in ITEMS:
        for name in document[array][0]:
            document[array][0][name] = ["never checked"]
    for array in ITEMS:
        assert getattr(session, array) == [constructed(array)]
