"""Session text in pieces: it equals a fresh encoding, however much of the last text is reused."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxios_state import (
    AgentResponse,
    Session,
    StateStore,
    Timestamp,
    TrajectoryStepRecord,
    UnsupportedValueError,
    UserMessage,
)
from oxios_state.codec import documents as codec
from oxios_state.codec import incremental, json_text
from oxios_state.model.immutable import freeze, thaw
from oxios_state.model.records import RECORD_TYPES
from oxios_state.model.revision import Revision
from oxios_state.model.session import copy_of
from oxios_state.storage import atomic_write

PATH = Path("sessions/s.json")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ELSEWHERE = timezone(timedelta(hours=5))


class Level(IntEnum):
    HIGH = 3


class Word(str):
    __slots__ = ()


values: st.SearchStrategy[Any] = st.sampled_from(
    ["x", 1, None, True, 1.5, 1e300, [], {}, (1, 2), Word("w"), Level.HIGH, {"a": [{"b": ()}]}, "\u00e9\n\U0001f680"]
)
times = st.sampled_from([NOON, NOON.astimezone(ELSEWHERE), Timestamp(2026, 3, 1, nanosecond=7, tzinfo=UTC)])
extras = st.dictionaries(st.sampled_from(["new", "x y"]), values, max_size=1)
records: dict[str, st.SearchStrategy[Any]] = {
    "user_messages": st.builds(UserMessage, st.sampled_from(["hi", Word("w")]), timestamp=times, extra=extras),
    "agent_responses": st.builds(
        AgentResponse,
        st.just("ok"),
        seed_id=st.sampled_from([None, "s"]),
        seed_id_absent=st.booleans(),
        timestamp=times,
        extra=extras,
    ),
    "trajectory_steps": st.builds(TrajectoryStepRecord, st.just("t"), values, timestamp=times, extra=extras),
}


def freshly(session: Session) -> bytes:
    """Encode a session without any text of before."""
    document = codec.session_document(session)
    for key in RECORD_TYPES:
        if key in document:
            document[key] = [codec.record_document(record) for record in document[key]]
    return json_text.encode(document, PATH)


def exactly(value: Any) -> Any:
    """Return a form of a value that is equal only for equal types and the same order of keys."""
    if isinstance(value, dict):
        return type(value), [(type(key), key, exactly(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [exactly(item) for item in value]
    if attrs.has(type(value)):
        fields = [field.name for field in attrs.fields(type(value)) if field.name != "_source"]
        return type(value), [exactly(getattr(value, name)) for name in fields]
    return type(value), repr(value)


def save(session: Session) -> incremental.SessionText:
    """Encode a session, and keep its text as a save does."""
    text = incremental.encode(session, PATH)
    session._source = Revision(None, text)
    return text


def change(draw: Any, session: Session) -> None:
    key = draw(st.sampled_from(sorted(RECORD_TYPES)))
    array: list[Any] = getattr(session, key)
    step = draw(st.sampled_from(["append", "extend", "insert", "remove", "replace", "reverse", "move", "cut", "other"]))
    at = draw(st.integers(0, max(len(array) - 1, 0)))
    if step in {"append", "extend"} or not array:
        array += draw(st.lists(records[key], min_size=1, max_size=1 if step == "append" else 3))
    elif step == "insert":
        array.insert(at, draw(records[key]))
    elif step == "remove":
        del array[at]
    elif step == "replace":
        array[at] = attrs.evolve(array[at], extra=draw(extras))
    elif step == "reverse":
        array.reverse()
    elif step == "move":
        array.append(array.pop(at))
    elif step == "cut":
        del array[at:]
    else:
        session.metadata[draw(st.sampled_from(["a", "b"]))] = draw(values)
        session.extra = draw(extras)
        session.active_seed_id = draw(st.sampled_from([None, "seed"]))
        session.updated_at = draw(times)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_text_equals_a_fresh_encoding_after_any_changes(data: st.DataObject) -> None:
    session = Session("u", "s", created_at=NOON)
    for _ in range(data.draw(st.integers(1, 12))):
        for _ in range(data.draw(st.integers(0, 3))):
            change(data.draw, session)
        expected = freshly(session)
        text = save(session)
        assert bytes(text) == expected
        decoded, kept = text.decode(PATH)
        read = codec.decode_session(expected, PATH)
        assert exactly(decoded) == exactly(read)
        assert kept.is_exact
        assert bytes(kept) == expected
        if text.is_exact:  # a cache may then return a copy of the session instead of decoding its text
            assert exactly(copy_of(copy_of(session, freeze), thaw)) == exactly(read)
        if data.draw(st.booleans()):  # another process goes on
            session = decoded
            session._source = Revision(None, kept)


@pytest.mark.parametrize("zones", [[UTC], [ELSEWHERE], [UTC, ELSEWHERE]])
def test_many_saves_leave_few_segments(zones: list[timezone]) -> None:
    session = Session("u", "s", created_at=NOON)
    text = save(session)
    for number in range(100):
        moment = NOON.astimezone(zones[number // 40 % len(zones)])
        session.user_messages.append(UserMessage(f"message {number}", timestamp=moment))
        session.trajectory_steps.append(TrajectoryStepRecord("t", [number], timestamp=moment))
        text = save(session)
        assert bytes(text) == freshly(session)
        assert max(len(text.segments(key)) for key in RECORD_TYPES) <= 32 + 1
        assert text.is_exact == (zones == [UTC] or (len(zones) == 2 and number < 40))
    assert list(text.decode(PATH)[0].user_messages) == session.user_messages


def test_only_new_records_are_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Any] = []
    document = codec.record_document

    def record_and_encode(record: Any) -> dict[str, Any]:
        encoded.append(record)
        return document(record)

    monkeypatch.setattr(incremental, "record_document", record_and_encode)
    session = Session("u", "s", user_messages=[UserMessage("a"), UserMessage("b")])
    save(session)
    session.add_user_message("c")
    save(session)
    save(session)
    assert [record.content for record in encoded] == ["a", "b", "c"]
    session.user_messages.pop(0)
    save(session)
    assert [record.content for record in encoded] == ["a", "b", "c", "b", "c"]


@pytest.mark.parametrize("copy_session", [copy.deepcopy, lambda session: pickle.loads(pickle.dumps(session))])
def test_a_copy_has_the_same_text(full_session: Callable[[], Session], copy_session: Callable[[Session], Any]) -> None:
    session = full_session()
    text = save(session)
    assert bytes(incremental.encode(copy_session(session), PATH)) == bytes(text)


def test_a_replaced_record_is_encoded_again() -> None:
    session = Session("u", "s", user_messages=[UserMessage("a"), UserMessage("b")])
    save(session)
    session.user_messages[0] = attrs.evolve(session.user_messages[0], content="changed")
    assert b'"changed"' in bytes(save(session))


@pytest.mark.parametrize("key", RECORD_TYPES)
def test_the_path_of_a_fault_counts_all_records(key: str) -> None:
    session = Session("u", "s")
    sound, bad = RECORD_TYPES[key]("x", **{"tool_args": 1} if key == "trajectory_steps" else {}), {"x": {1}}
    getattr(session, key).extend([sound, sound])
    save(session)
    with attrs.validators.disabled():
        getattr(session, key).extend([sound, attrs.evolve(sound, extra=bad)])
    with pytest.raises(UnsupportedValueError) as caught:
        save(session)
    assert caught.value.json_path == f"$.{key}[3].x"


# Writing the pieces.


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state", durable=False)


@pytest.mark.parametrize("most", [0, 1, 7, 100, 10**6])
def test_partial_writes_are_continued(store: StateStore, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    session = Session("u", "s", user_messages=[UserMessage(f"m{number}") for number in range(20)])
    writes: list[int] = []

    def writev(descriptor: int, pieces: list[bytes]) -> int:
        writes.append(os.write(descriptor, b"".join(pieces)[:most]))
        return writes[-1]

    def write(descriptor: int, data: memoryview) -> int:
        writes.append(os.write(descriptor, data[: most or 50]))
        return writes[-1]

    monkeypatch.setattr(atomic_write, "os", SimpleNamespace(**vars(os) | {"writev": writev, "write": write}))
    for _ in range(3):
        store.save_session(session)
        assert (store.base_path / "sessions/s.json").read_bytes() == freshly(session)
        session.add_user_message("more")
    assert (len(writes) == 3) == (most == 10**6)


@pytest.mark.parametrize("count", [1, 2, 1023, 1024, 1025, 3000])
def test_any_number_of_pieces_is_written(store: StateStore, count: int) -> None:
    path = store.base_path / "c" / "x.json"
    pieces = [b"%d," % number for number in range(count)]
    with atomic_write.Staged(store._documents.tree, path, pieces) as staged:
        staged.replace()
    assert path.read_bytes() == b"".join(pieces)


def test_pieces_are_written_without_writev(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = {name: value for name, value in vars(os).items() if name != "writev"}
    monkeypatch.setattr(atomic_write, "os", SimpleNamespace(**lacking))
    session = Session("u", "s", user_messages=[UserMessage("hello")])
    store.save_session(session)
    assert (store.base_path / "sessions/s.json").read_bytes() == freshly(session)
