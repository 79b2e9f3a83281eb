"""Session documents, and JSON documents of any class: each key of the table, unknown keys, and arrays of records."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import attrs
import pytest
from cattrs import ClassValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

import oxios_state
from oxios_state import (
    AgentResponse,
    CorruptStateError,
    Session,
    SessionId,
    Timestamp,
    TrajectoryStepRecord,
    UnsupportedValueError,
    UserMessage,
)
from oxios_state.codec import documents as codec
from oxios_state.codec import incremental, json_text
from oxios_state.model.records import RECORD_TYPES

PATH = Path("sessions/s.json")
KERNEL = Path(__file__).parents[1] / "data" / "kernel"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
both_engines = pytest.mark.usefixtures("engine")


def full_document() -> dict[str, Any]:
    """Return a session document with every known key, in the contract's order."""
    return {
        "id": "s",
        "user_id": "u",
        "user_messages": [{"content": "hello", "timestamp": "2026-03-01T08:00:00.000000001Z"}],
        "agent_responses": [
            {
                "content": "hi",
                "session_id": "s",
                "seed_id": "seed",
                "phase_reached": "done",
                "evaluation_passed": True,
                "timestamp": "2026-03-01T08:00:01Z",
            }
        ],
        "trajectory_steps": [
            {
                "tool_name": "grep",
                "tool_args": {"z": [1, 2.5, None], "a": {}},
                "output_summary": "2 lines",
                "duration_ms": 18446744073709551615,
                "is_error": False,
                "tool_call_id": "call-1",
                "timestamp": "2026-03-01T08:00:02.500Z",
            }
        ],
        "active_seed_id": "seed",
        "active_persona_id": "persona",
        "created_at": "2026-03-01T08:00:00Z",
        "updated_at": "2026-03-01T08:00:02.500123Z",
        "metadata": {"title": "A title", "a": {"b": [True, None]}},
    }


def to_bytes(document: Any) -> bytes:
    return json.dumps(document, indent=2, ensure_ascii=False).encode()


def decode(document: Any) -> Session:
    return codec.decode_session(to_bytes(document), PATH)


def reencode(document: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(bytes(incremental.encode(decode(document), PATH)))
    return value


# The kernel's own files.


@both_engines
@pytest.mark.parametrize("path", sorted(KERNEL.rglob("*.json")), ids=lambda path: str(path.relative_to(KERNEL)))
def test_a_file_of_the_kernel_survives_to_the_byte(path: Path) -> None:
    raw = path.read_bytes()
    assert codec.encode_json(codec.decode_json(raw, Any, path), path) == raw
    if path.parent.name == "sessions":
        session = codec.decode_session(raw, path)
        assert bytes(incremental.encode(session, path)) == raw
        assert session.id == unquote(path.stem)


@both_engines
def test_a_full_document_survives_to_the_byte() -> None:
    raw = to_bytes(full_document())
    session = codec.decode_session(raw, PATH)
    assert bytes(incremental.encode(session, PATH)) == raw
    assert type(session.id) is SessionId
    assert session.user_messages[0] == UserMessage(
        "hello", timestamp=Timestamp(2026, 3, 1, 8, tzinfo=UTC, nanosecond=1)
    )
    assert session.agent_responses[0].evaluation_passed is True
    assert session.trajectory_steps[0].duration_ms == 2**64 - 1
    assert session._source is None


# The table of keys: the path of the object, the key, its default, whether null is allowed, and wrong values.

CORRUPT = "corrupt"
SESSION, MESSAGE, RESPONSE, STEP = "$", "$.user_messages[0]", "$.agent_responses[0]", "$.trajectory_steps[0]"
NOT_STRINGS = [1, 1.5, True, ["a"], {}]
NOT_ARRAYS = [1, True, "", "ab", {}]
NOT_TIMESTAMPS = [1, True, [], "", "2026-03-01T08:00:00", "2026-03-01", "2026-02-30T08:00:00Z"]
KEYS: list[tuple[str, str, Any, bool, list[Any]]] = [
    (SESSION, "id", CORRUPT, False, NOT_STRINGS),
    (SESSION, "user_id", CORRUPT, False, NOT_STRINGS),
    (SESSION, "user_messages", [], False, NOT_ARRAYS),
    (SESSION, "agent_responses", [], False, NOT_ARRAYS),
    (SESSION, "trajectory_steps", [], False, NOT_ARRAYS),
    (SESSION, "active_seed_id", None, True, NOT_STRINGS),
    (SESSION, "active_persona_id", None, True, NOT_STRINGS),
    (SESSION, "created_at", CORRUPT, False, NOT_TIMESTAMPS),
    (SESSION, "updated_at", CORRUPT, False, NOT_TIMESTAMPS),
    (SESSION, "metadata", {}, False, [1, True, "", "ab", [], [["a", 1]]]),
    (MESSAGE, "content", CORRUPT, False, NOT_STRINGS),
    (MESSAGE, "timestamp", CORRUPT, False, NOT_TIMESTAMPS),
    (RESPONSE, "content", CORRUPT, False, NOT_STRINGS),
    (RESPONSE, "session_id", None, True, NOT_STRINGS),
    (RESPONSE, "seed_id", None, True, NOT_STRINGS),
    (RESPONSE, "phase_reached", None, True, NOT_STRINGS),
    (RESPONSE, "evaluation_passed", None, True, [0, 1, 1.0, "true", [], {}]),
    (RESPONSE, "timestamp", CORRUPT, False, NOT_TIMESTAMPS),
    (STEP, "tool_name", CORRUPT, False, NOT_STRINGS),
    (STEP, "tool_args", CORRUPT, True, []),
    (STEP, "output_summary", CORRUPT, False, NOT_STRINGS),
    (STEP, "duration_ms", CORRUPT, False, [12.0, "12", True, -1, 2**64, [], {}]),
    (STEP, "is_error", CORRUPT, False, ["false", 0, 1, 0.0, [], {}]),
    (STEP, "tool_call_id", CORRUPT, False, NOT_STRINGS),
    (STEP, "timestamp", CORRUPT, False, NOT_TIMESTAMPS),
]


def holder(document: dict[str, Any], where: str) -> dict[str, Any]:
    inner: dict[str, Any] = document if where == SESSION else document[where[2:-3]][0]
    return inner


def value_of(session: Session, where: str, key: str) -> Any:
    return getattr(session if where == SESSION else getattr(session, where[2:-3])[0], key)


def refusal(document: Any) -> CorruptStateError:
    with pytest.raises(CorruptStateError) as caught:
        decode(document)
    assert caught.value.path == PATH
    return caught.value


@pytest.mark.parametrize(("where", "key"), [row[:2] for row in KEYS if row[2] is CORRUPT])
def test_a_missing_key_is_corrupt(where: str, key: str) -> None:
    document = full_document()
    del holder(document, where)[key]
    error = refusal(document)
    assert (error.json_path, error.reason) == (f"{where}.{key}", "the key is missing")


@pytest.mark.parametrize(("where", "key", "default"), [row[:3] for row in KEYS if row[2] is not CORRUPT])
def test_a_key_that_may_be_missing_has_a_default(where: str, key: str, default: object) -> None:
    document = full_document()
    del holder(document, where)[key]
    assert value_of(decode(document), where, key) == default


@pytest.mark.parametrize(("where", "key"), [row[:2] for row in KEYS if row[3]])
def test_null_is_none_where_it_is_allowed(where: str, key: str) -> None:
    document = full_document()
    holder(document, where)[key] = None
    assert value_of(decode(document), where, key) is None


@pytest.mark.parametrize(("where", "key"), [row[:2] for row in KEYS if not row[3]])
def test_null_is_corrupt_where_it_is_not_allowed(where: str, key: str) -> None:
    document = full_document()
    holder(document, where)[key] = None
    error = refusal(document)
    assert error.json_path == f"{where}.{key}"
    assert re.fullmatch(r"expected an? [a-z]+, not null", error.reason)


@pytest.mark.parametrize(
    ("where", "key", "value"), [(where, key, value) for where, key, _, _, wrong in KEYS for value in wrong]
)
def test_a_value_of_another_type_is_corrupt_and_never_coerced(where: str, key: str, value: Any) -> None:
    document = full_document()
    holder(document, where)[key] = value
    error = refusal(document)
    assert error.json_path == f"{where}.{key}"
    assert error.reason
    assert (error.line, error.column) == (None, None)


@pytest.mark.parametrize("document", [None, True, 1, 1.0, "s", [], [["id", "s"]]])
def test_a_session_that_is_not_an_object_is_corrupt(document: Any) -> None:
    error = refusal(document)
    assert error.json_path == "$"
    assert error.reason.startswith("expected an object, not ")


@pytest.mark.parametrize("key", ["user_messages", "agent_responses", "trajectory_steps"])
@pytest.mark.parametrize("record", [None, 1, "content", []])
def test_a_record_that_is_not_an_object_is_corrupt(key: str, record: Any) -> None:
    document = full_document()
    document[key].append(record)
    error = refusal(document)
    assert error.json_path == f"$.{key}[1]"
    assert error.reason.startswith("expected an object, not ")


def test_an_error_names_all_faults_of_a_session() -> None:
    document = full_document()
    document["user_id"] = 1
    document["user_messages"] += [{"content": "x"}, {"content": None, "timestamp": "2026-03-01T08:00:00Z"}]
    error = refusal(document)
    assert error.json_path == "$.user_id"
    assert error.reason == (
        "expected a string, not an integer"
        "; $.user_messages[1].timestamp: the key is missing"
        "; $.user_messages[2].content: expected a string, not null"
    )
    assert str(error) == f"{PATH}: $.user_id: {error.reason}"


@both_engines
def test_empty_values_are_written_or_omitted_as_the_table_says() -> None:
    session = Session("u", "s", created_at=NOON)
    session.agent_responses.append(AgentResponse("hi", timestamp=NOON))
    assert bytes(incremental.encode(session, PATH)).decode() == (
        """{
  "id": "s",
  "user_id": "u",
  "user_messages": [],
  "agent_responses": [
    {
      "content": "hi",
      "session_id": null,
      "seed_id": null,
      "phase_reached": null,
      "evaluation_passed": null,
      "timestamp": "2026-03-01T12:00:00Z"
    }
  ],
  "created_at": "2026-03-01T12:00:00Z",
  "updated_at": "2026-03-01T12:00:00Z",
  "metadata": {}
}"""
    )


def test_keys_are_written_in_the_order_of_the_table() -> None:
    document = full_document()
    shuffled = dict(reversed(document.items()))
    for key in ("user_messages", "agent_responses", "trajectory_steps"):
        shuffled[key] = [dict(reversed(record.items())) for record in shuffled[key]]
    assert bytes(incremental.encode(decode(shuffled), PATH)) == to_bytes(document)


def test_a_tool_call_id_need_not_be_unique_and_tool_args_may_be_any_json() -> None:
    document = full_document()
    step = document["trajectory_steps"][0]
    values: list[Any] = ["", "text", [], [[]], {}, 0, 1.5, False, None]
    document["trajectory_steps"] = [step | {"tool_args": value} for value in values]
    assert bytes(incremental.encode(decode(document), PATH)) == to_bytes(document)


# Unknown keys.

UNKNOWN = {
    "project_id": "p",
    "reasoning_records": [{"z": 1.0, "a": [None, {"k": 2**64 - 1}]}],
    "extra": 5,  # this and the next two are names of fields, too
    "_source": "r1",
    "seed_id_absent": 2,
    "": [],
}


@both_engines
@pytest.mark.parametrize("where", [SESSION, MESSAGE, RESPONSE, STEP])
def test_unknown_keys_survive_untouched_after_the_known_ones(where: str) -> None:
    document = full_document()
    holder(document, where).update(UNKNOWN)
    raw = to_bytes(document)
    session = codec.decode_session(raw, PATH)
    assert value_of(session, where, "extra") == UNKNOWN
    assert bytes(incremental.encode(session, PATH)) == raw
    first = full_document()
    inner = holder(first, where)
    known = dict(inner)
    inner.clear()
    inner.update(UNKNOWN | known)
    assert bytes(incremental.encode(decode(first), PATH)) == raw


def test_unknown_keys_do_not_disturb_a_change() -> None:
    session = decode(full_document() | {"parent_session_id": "p"})
    session.add_user_message("more")
    session.active_seed_id = None
    document = json.loads(bytes(incremental.encode(session, PATH)))
    assert list(document)[-2:] == ["metadata", "parent_session_id"]
    assert "active_seed_id" not in document


def test_extra_cannot_replace_a_known_key() -> None:
    session = decode(full_document())
    session.extra["user_id"] = "somebody else"
    with pytest.raises(UnsupportedValueError, match=r"\$\.user_id: 'extra' must not contain fields of the class"):
        bytes(incremental.encode(session, PATH))


def test_a_users_hook_does_not_change_the_kernels_documents() -> None:
    document = full_document()
    hooks = oxios_state.converter.copy()
    oxios_state.converter.register_unstructure_hook(datetime, lambda moment: moment.strftime("%d.%m.%Y"))
    oxios_state.converter.register_structure_hook(datetime, lambda text, _: datetime.strptime(text, "%d.%m.%Y%z"))
    try:
        assert reencode(document) == document
    finally:
        oxios_state.converter.register_unstructure_hook(datetime, hooks.get_unstructure_hook(datetime))
        oxios_state.converter.register_structure_hook(datetime, hooks.get_structure_hook(datetime))


@both_engines
def test_a_seed_id_that_was_absent_stays_absent_until_it_is_set() -> None:
    document = full_document()
    del document["agent_responses"][0]["seed_id"]
    session = decode(document)
    response = session.agent_responses[0]
    assert bytes(incremental.encode(session, PATH)) == to_bytes(document)
    assert response == attrs.evolve(response, seed_id_absent=False)
    session.agent_responses[0] = attrs.evolve(response, phase_reached=None)
    assert "seed_id" not in json.loads(bytes(incremental.encode(session, PATH)))["agent_responses"][0]
    session.agent_responses[0] = attrs.evolve(response, seed_id="new")
    assert list(json.loads(bytes(incremental.encode(session, PATH)))["agent_responses"][0])[2] == "seed_id"
    null = full_document()
    null["agent_responses"][0]["seed_id"] = None
    assert reencode(null) == null


def test_a_session_is_written_by_orjson_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("orjson", reason="orjson, the optional extra `fast`, is not installed")
    session = decode(full_document())
    monkeypatch.setattr(json_text, "_write", lambda *_: pytest.fail("written by the standard library's engine"))
    assert json.loads(bytes(incremental.encode(session, PATH))) == full_document()


# The kernel's classes in documents of other categories, and by the public converter.


@pytest.mark.parametrize("changes", [{}, {"trajectory_steps": [], "active_seed_id": None}, {"new": 1}])
def test_a_session_in_any_document_is_written_and_read_as_in_its_own(changes: dict[str, Any]) -> None:
    session = decode(full_document() | changes)
    raw = bytes(incremental.encode(session, PATH))
    assert codec.encode_json(session, PATH) == raw
    assert json.loads(codec.encode_json({"all": [session]}, PATH)) == {"all": [json.loads(raw)]}
    assert codec.decode_json(raw, Session, PATH) == session


def test_the_converter_unstructures_a_session_id_as_a_plain_string() -> None:
    # Serialisers of exact types refuse any other.
    assert type(oxios_state.converter.unstructure(SessionId("s"))) is str


def test_a_record_in_any_document_is_written_as_in_its_session() -> None:
    document = full_document()
    for key in ("user_messages", "agent_responses", "trajectory_steps"):
        document[key][0]["new"] = [1]
        assert json.loads(codec.encode_json(getattr(decode(document), key)[0], PATH)) == document[key][0]


@pytest.mark.parametrize("value", [-1, 2**64])
def test_a_duration_out_of_range_says_what_is_expected(value: int) -> None:
    step = full_document()["trajectory_steps"][0] | {"duration_ms": value}
    with pytest.raises(ClassValidationError) as caught:
        oxios_state.converter.structure(step, TrajectoryStepRecord)
    (error,) = caught.value.exceptions
    assert str(error) == f"expected an integer from 0 to 2^64-1, not {value}"


def test_the_longest_duration_is_read() -> None:
    step = full_document()["trajectory_steps"][0] | {"duration_ms": 2**64 - 1, "new": "not of the quick kind"}
    assert oxios_state.converter.structure(step, TrajectoryStepRecord).duration_ms == 2**64 - 1


# Arrays of records that are built at once, without cattrs.

NANOSECONDS = "2026-03-01T12:00:00.123456789Z"
USUAL: dict[str, dict[str, Any]] = {
    "user_messages": {"content": "hello", "timestamp": NANOSECONDS},
    "agent_responses": {
        "content": "hi",
        "session_id": "s",
        "seed_id": None,
        "phase_reached": None,
        "evaluation_passed": True,
        "timestamp": "2026-03-01T12:00:00Z",
    },
    "trajectory_steps": {
        "tool_name": "bash",
        "tool_args": {"cmd": "ls", "deep": [{"n": 1}]},
        "output_summary": "",
        "duration_ms": 2**64 - 1,
        "is_error": False,
        "tool_call_id": "call",
        "timestamp": "2026-03-01T12:00:00.500Z",
    },
}
each_array = pytest.mark.parametrize("array", USUAL)
TIMESTAMPS = [
    *(
        NANOSECONDS,
        "1969-12-31T23:59:59.999999999Z",
        "2026-03-01t12:00:00z",
        "2026-02-30T12:00:00Z",
        "2026-03-01T12:00:60Z",
    ),
    *("2026-03-01T13:30:00+01:30", "2026-03-01T12:00:00", "2026-03-01T12:00:00Z\n2026-03-01T12:00:00Z", "", "x"),
]
VALUES = st.one_of(
    st.sampled_from([None, True, 0, 1.0, "x", [], {}, -1, 2**64 - 1, [1, {"a": []}], {"k": {"l": [None]}}]).map(
        deepcopy
    ),
    st.sampled_from(TIMESTAMPS),
)


def structured(array: str, item: Any) -> Any:
    """Return the record that cattrs builds, or the type of its error."""
    try:
        return oxios_state.converter.structure(deepcopy(item), RECORD_TYPES[array])
    except (ExceptionGroup, LookupError, TypeError, ValueError) as error:
        return type(error)


def fields(record: Any) -> Any:
    return attrs.asdict(record, recurse=False) | {"type": type(record)} if attrs.has(type(record)) else record


@each_array
def test_records_of_the_usual_shape_are_built_at_once(array: str) -> None:
    items = [dict(USUAL[array]) for _ in range(3)]
    records: Any = codec.build_records(array, items)
    assert records is not None
    assert all(record._unread is not None for record in records)  # no field is created before it is read
    assert list(map(fields, records)) == [fields(structured(array, item)) for item in items]
    assert len({id(record) for record in records}) == 3
    if array == "trajectory_steps":
        with pytest.raises(TypeError, match="immutable"):
            records[0].tool_args["deep"][0]["n"] = 2
        items[0]["tool_args"]["deep"][0]["n"] = 2
        assert records[0].tool_args["deep"][0]["n"] == 1


@each_array
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_records_built_at_once_equal_those_that_cattrs_builds(array: str, data: st.DataObject) -> None:
    # "Nothing is coerced": building at once accepts nothing that cattrs refuses, and returns equal records.
    items: list[Any] = [dict(USUAL[array]) for _ in range(data.draw(st.integers(1, 3)))]
    for _ in range(data.draw(st.integers(0, 2))):
        item = data.draw(st.sampled_from(items))
        if isinstance(item, dict):
            change = data.draw(st.sampled_from(["set", "add", "remove", "replace", "turn"]))
            key = data.draw(st.sampled_from(sorted(USUAL[array])))
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
    expected = [fields(structured(array, item)) for item in items]
    records: Any = codec.build_records(array, deepcopy(items))
    assert records is None or list(map(fields, records)) == expected


def test_a_timestamp_without_nanoseconds_is_a_plain_datetime() -> None:
    (message,) = codec.build_records("user_messages", [{"content": "x", "timestamp": "2026-03-01T12:00:00Z"}]) or []
    assert type(message.timestamp) is datetime
    assert message.timestamp == datetime(2026, 3, 1, 12, tzinfo=UTC)
