"""A record that gets its fields when the first of them is asked for is like one that was made with them."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from oxios_state import AgentResponse, Session, TrajectoryStepRecord, UserMessage, converter
from oxios_state.codec import documents as codec
from oxios_state.model import timestamps
from oxios_state.model.records import RECORD_TYPES

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIME = "2026-03-01T12:00:00Z"
ITEMS: dict[type, dict[str, Any]] = {
    UserMessage: {"content": "hello", "timestamp": TIME},
    AgentResponse: {
        "content": "hi",
        "session_id": "s",
        "seed_id": None,
        "phase_reached": "done",
        "evaluation_passed": True,
        "timestamp": TIME,
    },
    TrajectoryStepRecord: {
        "tool_name": "grep",
        "tool_args": {"deep": [{"n": 1}], "s": "x"},
        "output_summary": "found",
        "duration_ms": 12,
        "is_error": False,
        "tool_call_id": "c1",
        "timestamp": TIME,
    },
}
every_class = pytest.mark.parametrize("cls", ITEMS, ids=lambda cls: cls.__name__)


def unread(cls: type) -> Any:
    built: list[Any] = codec.build_records(cls, [copy.deepcopy(ITEMS[cls])]) or []
    (record,) = built
    assert record._unread is not None
    return record


def made(cls: type) -> Any:
    return cls(**ITEMS[cls] | {"timestamp": NOON})


USES: dict[str, Callable[[Any], Any]] = {
    "repr": repr,
    "str": str,
    "asdict": attrs.asdict,
    "astuple": attrs.astuple,
    "evolve": lambda record: attrs.evolve(record, timestamp=datetime(2027, 1, 1, tzinfo=UTC)),
    "pickle": lambda record: pickle.loads(pickle.dumps(record)),
    "pickle 2": lambda record: pickle.loads(pickle.dumps(record, 2)),
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


@every_class
@pytest.mark.parametrize("use", USES)
def test_an_unread_record_is_used_like_any(cls: type, use: str) -> None:
    record = unread(cls)
    assert USES[use](record) == USES[use](made(cls))
    assert record._unread is None
    assert USES[use](record) == USES[use](made(cls))


@every_class
def test_equality_and_hash_are_those_of_the_values(cls: type) -> None:
    assert unread(cls) == unread(cls)
    assert made(cls) == unread(cls)
    assert unread(cls) == made(cls)
    assert unread(cls) != attrs.evolve(made(cls), extra={"x": 1})
    assert unread(cls) != next(unread(other) for other in ITEMS if other is not cls)
    assert len({unread(cls), made(cls), unread(cls)}) == 1


@every_class
def test_an_unread_record_cannot_be_changed(cls: type) -> None:
    for name in ("timestamp", "extra", "nonsense", "_unread"):
        record = unread(cls)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(record, name, None)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            delattr(record, name)
        assert record == made(cls)


@every_class
def test_what_no_record_has_is_an_attribute_error_that_names_it(cls: type) -> None:
    for record in (unread(cls), made(cls), pickle.loads(pickle.dumps(unread(cls)))):
        with pytest.raises(AttributeError, match=f"'{cls.__name__}' object has no attribute 'nonsense'"):
            _ = record.nonsense
        assert getattr(record, "nonsense", 1) == 1


@every_class
def test_threads_that_read_one_record_at_the_same_time_all_get_its_values(cls: type) -> None:
    names = [field.name for field in attrs.fields(cls)]
    expected = {name: getattr(made(cls), name) for name in names}
    count, rounds = 4, 300
    records = [unread(cls) for _ in range(rounds)]
    barrier = threading.Barrier(count)

    def read(number: int) -> bool:
        order = names[number % len(names) :] + names[: number % len(names)]
        same = True
        for record in records:
            barrier.wait()
            same &= {name: getattr(record, name) for name in order} == expected
        return same

    with ThreadPoolExecutor(count) as pool:
        assert list(pool.map(read, range(count))) == [True] * count


@every_class
def test_a_read_that_was_interrupted_is_done_again(cls: type, monkeypatch: pytest.MonkeyPatch) -> None:
    record = unread(cls)

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(timestamps, "parse_canonical", interrupt)
        _ = record.timestamp
    assert record == made(cls)


def test_what_a_caller_structures_is_his_to_change_later() -> None:
    document: dict[str, Any] = {
        "id": "s",
        "user_id": "u",
        **{key: [copy.deepcopy(ITEMS[cls])] for key, cls in RECORD_TYPES.items()},
        "created_at": TIME,
        "updated_at": TIME,
    }
    session = converter.structure(document, Session)
    for key in RECORD_TYPES:
        for name in document[key][0]:
            document[key][0][name] = ["not what was checked"]
    for key, cls in RECORD_TYPES.items():
        assert getattr(session, key) == [made(cls)]
