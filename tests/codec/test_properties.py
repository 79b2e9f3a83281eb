"""Properties of any value and any bytes. Each quotes the sentence of the contract that it checks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oxios_state import (
    AgentResponse,
    CorruptStateError,
    Session,
    Timestamp,
    TrajectoryStepRecord,
    UnsupportedValueError,
    UserMessage,
)
from oxios_state.codec import documents as codec
from oxios_state.codec import incremental, json_text

PATH = Path("memory/facts.json")
needs_orjson = pytest.mark.skipif(find_spec("orjson") is None, reason="orjson, the optional extra, is not installed")


class Word(str):
    __slots__ = ()


text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4)
)
dubious = st.recursive(
    scalars
    | st.floats()
    | st.integers()
    | st.text()
    | st.binary(max_size=2)
    | st.datetimes()
    | st.builds(Word, st.text()),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4) | st.tuples(inner)
    ),
)
fragments = st.sampled_from(
    [
        *(
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b'"',
            b'"a"',
            b"\\",
            b"\\u",
            b"d800",
            b"dc00",
            b"true",
            b"null",
            b" ",
            b"\n",
        ),
        *(b"-", b"0", b"1", b".5", b"e9", b"e400", b"NaN", b"Infinity", b"18446744073709551616", b"[" * 128),
        *(b"\0", b"\x85", b"\xff", b"\xef\xbb\xbf", b"\xc3\xa9", b"\xe2\x80\xa8"),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    raw = bytearray(json.dumps(draw(json_values), ensure_ascii=draw(st.booleans())).encode())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        raw[start : start + draw(st.integers(0, 2))] = draw(fragments | st.binary(max_size=2))
    return bytes(raw)


def outcome(operation: Any, value: Any) -> Any:
    try:
        return repr(operation(value, PATH))
    except (CorruptStateError, UnsupportedValueError) as error:
        return type(error), error.args


def without_orjson(operation: Any, value: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_orjson", None)
        return outcome(operation, value)


@settings(max_examples=300, deadline=None)
@given(value=json_values)
def test_any_json_value_survives(value: Any) -> None:
    # "Loading a file that the kernel wrote and saving it unchanged gives the same bytes"; "Key order of free-form JSON
    # is kept as found."
    raw = json_text.encode(value, PATH)
    assert repr(json_text.decode(raw, PATH)) == repr(value)
    assert json_text.encode(json_text.decode(raw, PATH), PATH) == raw
    assert repr(json.loads(raw)) == repr(value)  # and anybody else reads the same


@needs_orjson
@settings(max_examples=400, deadline=None)
@given(value=dubious)
def test_both_engines_write_the_same_bytes_and_refuse_the_same_values(value: Any) -> None:
    # The contract: "Bytes as `serde_json::to_string_pretty` writes them"; "The error names the JSON path of the value"
    assert outcome(json_text.encode, value) == without_orjson(json_text.encode, value)


@needs_orjson
@settings(max_examples=500, deadline=None)
@given(raw=mutated() | st.lists(fragments, max_size=8).map(b"".join) | st.binary(max_size=12))
@example(raw=b"-0")
@example(raw=b"1.7976931348623159e308")
@example(raw=b"\xef\xbb\xbf")
def test_both_engines_read_the_same_values_and_refuse_the_same_bytes(raw: bytes) -> None:
    # The contract: "`CorruptStateError` (path, and what is wrong where: line and column for bad JSON, JSON
    # path for a bad value)"
    assert outcome(json_text.decode, raw) == without_orjson(json_text.decode, raw)


# Sessions.

offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    moment = draw(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=offsets | st.just(UTC)))  # noqa: DTZ001
    time = (moment.hour, moment.minute, moment.second, moment.microsecond, moment.tzinfo)
    return draw(
        st.sampled_from(
            [moment, Timestamp(moment.year, moment.month, moment.day, *time, nanosecond=draw(st.integers(0, 999)))]
        )
    )


FIELDS = {
    field.name
    for field in chain.from_iterable(map(attrs.fields, (Session, UserMessage, AgentResponse, TrajectoryStepRecord)))
} - {"extra", "_source", "seed_id_absent"}
extras = st.dictionaries(text.filter(lambda key: key not in FIELDS), json_values, max_size=2)
messages = st.builds(UserMessage, text, timestamp=moments(), extra=extras)
maybe = st.none() | text
responses = st.builds(
    AgentResponse,
    text,
    session_id=maybe,
    seed_id=maybe,
    phase_reached=maybe,
    evaluation_passed=st.none() | st.booleans(),
    timestamp=moments(),
    seed_id_absent=st.booleans(),
    extra=extras,
)
steps = st.builds(
    TrajectoryStepRecord,
    text,
    json_values,
    text,
    st.integers(0, 2**64 - 1),
    st.booleans(),
    text,
    timestamp=moments(),
    extra=extras,
)
sessions = st.builds(
    Session,
    text,
    text,
    user_messages=st.lists(messages, max_size=2),
    agent_responses=st.lists(responses, max_size=2),
    trajectory_steps=st.lists(steps, max_size=2),
    active_seed_id=maybe,
    active_persona_id=maybe,
    created_at=moments(),
    updated_at=moments(),
    metadata=st.dictionaries(text, json_values, max_size=3),
    extra=extras,
)


@settings(max_examples=60, deadline=None)
@given(session=sessions)
def test_any_session_survives(session: Session) -> None:
    # "**Unknown keys survive** load and save, at every level, with their values untouched"; "**the nanoseconds
    # survive** load and save of a record that was not changed"; "A `seed_id` that was absent stays absent"
    raw = bytes(incremental.encode(session, PATH))
    loaded = codec.decode_session(raw, PATH)
    assert loaded == session
    assert bytes(incremental.encode(loaded, PATH)) == raw
    absent = [response.seed_id_absent and response.seed_id is None for response in session.agent_responses]
    assert [response.seed_id_absent for response in loaded.agent_responses] == absent
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_orjson", None)
        assert bytes(incremental.encode(session, PATH)) == raw
        assert codec.decode_session(raw, PATH) == session
