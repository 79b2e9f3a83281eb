"""Errors of the codec: values that the kernel could not load, and documents with faults."""

from __future__ import annotations

import copy
import json
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from math import nan
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs
import pytest

import oxios_state
from oxios_state import (
    AgentResponse,
    CorruptStateError,
    Session,
    TrajectoryStepRecord,
    UnsupportedValueError,
    UserMessage,
)
from oxios_state.codec import documents as codec
from oxios_state.codec import incremental, json_text

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = Path("sessions/s.json")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
both_engines = pytest.mark.usefixtures("engine")


def make_session(**changes: Any) -> Session:
    """Return a session with one record of each kind."""
    session = Session("u", "s")
    session.add_user_message("hello")
    session.add_agent_response(AgentResponse("hi"))
    session.extend_trajectory([TrajectoryStepRecord("grep", {})])
    for name, value in changes.items():
        setattr(session, name, value)
    return session


NAIVE = datetime(2026, 3, 1)  # noqa: DTZ001
TOO_EARLY = datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))


@attrs.define
class Note:
    text: str = ""


class Picky:
    """A class that a user's hook builds, or refuses to."""


@attrs.define
class Holder:
    text: Picky


def unchecked(make: Callable[..., Any], *args: Any, **changes: Any) -> Any:
    """Make an object as a program does that bypasses the checks of recording."""
    with attrs.validators.disabled():
        return make(*args, **changes)


@both_engines
@pytest.mark.parametrize(
    ("changes", "where", "reason"),
    [
        ({"metadata": {"scores": [1, 2, 3, nan]}}, "$.metadata.scores[3]", "nan is not JSON"),
        ({"metadata": {"a b": 2**64}}, "$.metadata['a b']", "outside"),
        ({"metadata": {"when": NOON}}, "$.metadata.when", "a datetime is not JSON"),
        ({"metadata": {"when": NAIVE}}, "$.metadata.when", "has no time zone"),
        ({"metadata": {"a": Path("x")}}, "$.metadata.a", "Path is not JSON"),
        ({"metadata": {"a": [{1}]}}, "$.metadata.a[0]", "type set is not JSON"),
        ({"metadata": {"a": b""}}, "$.metadata.a", "type bytes is not JSON"),
        ({"metadata": {"a": Decimal(1)}}, "$.metadata.a", "type Decimal is not JSON"),
        ({"metadata": {"a": Note()}}, "$.metadata.a", "type Note is not JSON"),
        ({"metadata": {1: 1}}, "$.metadata", "the key 1 is not a string"),
        ({"metadata": {"\ud800": 1}}, "$.metadata", "lone surrogate"),
        ({"extra": {"new": [nan]}}, "$.new[0]", "nan is not JSON"),
        ({"user_id": "\ud800"}, "$.user_id", "lone surrogate at character 0"),
        ({"created_at": NAIVE}, "$.created_at", "has no time zone"),
        ({"updated_at": TOO_EARLY}, "$.updated_at", ""),
        (
            {"user_messages": [UserMessage("a"), unchecked(UserMessage, "a", timestamp=NAIVE)]},
            "$.user_messages[1].timestamp",
            "zone",
        ),
        (
            {"user_messages": [unchecked(UserMessage, "a\ud800")]},
            "$.user_messages[0].content",
            "lone surrogate at character 1",
        ),
        (
            {"user_messages": [unchecked(UserMessage, "a", extra={"x": {2}})]},
            "$.user_messages[0].x",
            "type set is not JSON",
        ),
        (
            {"agent_responses": [unchecked(AgentResponse, "", timestamp=NAIVE)]},
            "$.agent_responses[0].timestamp",
            "no time zone",
        ),
        (
            {"trajectory_steps": [unchecked(TrajectoryStepRecord, "t", {"a": nan})]},
            "$.trajectory_steps[0].tool_args.a",
            "nan",
        ),
        (
            {"trajectory_steps": [unchecked(TrajectoryStepRecord, "t", NOON)]},
            "$.trajectory_steps[0].tool_args",
            "a datetime",
        ),
    ],
)
def test_a_session_that_the_kernel_could_not_load_is_refused(changes: Any, where: str, reason: str) -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        bytes(incremental.encode(unchecked(make_session, **changes), PATH))
    assert (caught.value.path, caught.value.json_path) == (PATH, where)
    assert reason in caught.value.reason


@pytest.mark.parametrize("key", ["user_messages", "agent_responses", "trajectory_steps"])
@pytest.mark.parametrize("record", ["text", {"content": "x"}, None, Session("u")])
def test_an_array_with_other_objects_than_its_records_is_refused(key: str, record: Any) -> None:
    session = make_session()
    getattr(session, key).append(record)
    with pytest.raises(UnsupportedValueError, match=r"expected [A-Z]\w+, not ") as caught:
        bytes(incremental.encode(session, PATH))
    assert caught.value.json_path == f"$.{key}[1]"


@both_engines
@pytest.mark.parametrize("depth", [128, 400, 5000])
def test_json_that_is_too_deep_for_the_kernel_is_refused_however_deep(depth: int) -> None:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    with pytest.raises(UnsupportedValueError, match="nested deeper than 127 levels") as caught:
        codec.encode_json(value, PATH)
    assert (caught.value.path, caught.value.json_path) == (PATH, "$" + "[0]" * 127)


def test_self_referencing_json_is_refused() -> None:
    value: dict[str, Any] = {}
    value["me"] = value
    with pytest.raises(UnsupportedValueError, match="nested deeper than 127 levels") as caught:
        codec.encode_json(value, PATH)
    assert caught.value.json_path == "$" + ".me" * 127


def test_the_converter_refuses_a_self_referencing_document_at_once() -> None:
    endless: dict[str, Any] = {}
    endless |= dict.fromkeys("ab", endless)
    document = oxios_state.converter.unstructure(make_session()) | {"new": endless}
    with pytest.raises(ValueError, match="nested deeper than 127 levels"):
        oxios_state.converter.structure(document, Session)


def test_encoding_changes_nothing() -> None:
    session = make_session(extra={"x": [1]})
    before = copy.deepcopy(session)
    bytes(incremental.encode(session, PATH))
    assert session == before


@pytest.mark.skipif(sys.version_info[:3] == (3, 13, 0), reason="CPython 3.13.0 dies of the recursion in cattrs' code")
def test_a_self_referencing_class_is_refused() -> None:
    @attrs.define
    class Node:
        next: Any = None

    node = Node()
    node.next = node
    with pytest.raises(UnsupportedValueError, match="nested deeper than 127 levels, or self-referencing") as caught:
        codec.encode_json(node, PATH)
    assert caught.value.path == PATH


def test_a_class_whose_hook_recurses_too_deep_is_refused() -> None:
    class Endless:
        pass

    def unstructure(_: Endless) -> None:
        raise RecursionError

    oxios_state.converter.register_unstructure_hook(Endless, unstructure)
    with pytest.raises(UnsupportedValueError, match="nested deeper than 127 levels, or self-referencing"):
        codec.encode_json(Endless(), PATH)


def test_a_deep_stack_is_not_mistaken_for_a_deep_document(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(_: str) -> None:
        raise RecursionError

    monkeypatch.setattr(json_text, "_orjson", None)
    monkeypatch.setattr(json_text, "_decoder", SimpleNamespace(decode=decode))
    with pytest.raises(RecursionError):
        json_text.decode(b'{"[[[": [{"a": "]"}]}', PATH)
    with pytest.raises(CorruptStateError, match="nested deeper than 127"):
        json_text.decode(b"[" * 200 + b"]" * 200, PATH)


@both_engines
@pytest.mark.parametrize("depth", [499, 501, 1022, 10_000])  # inside two more levels
def test_a_session_that_is_nested_far_too_deep_is_refused_in_the_same_words(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    raw = f'{{"id": "s", "user_id": 5, "created_at": "", "updated_at": "", "metadata": {{"a": {nested}}}}}'
    with pytest.raises(CorruptStateError) as caught:
        codec.decode_session(raw.encode(), PATH)
    assert (caught.value.reason, caught.value.json_path) == ("nested deeper than 127 levels", None)


def test_an_error_names_twenty_faults_at_most() -> None:
    with pytest.raises(CorruptStateError) as caught:
        codec.decode_json(b"[" + b"null, " * 1000 + b"1]", list[int], PATH)
    assert caught.value.reason.count("expected an integer, not null") == 20


def test_an_error_of_a_session_names_twenty_faults_at_most() -> None:
    document = {"id": "s", "user_id": "u", "created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z"}
    arrays = {"user_messages": [None] * 15, "agent_responses": [None] * 15}
    with pytest.raises(CorruptStateError) as caught:
        codec.decode_session(json.dumps(document | arrays).encode(), PATH)
    assert caught.value.reason.count("expected an object, not null") == 20


@both_engines
@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[1]", b'{"a": "1"}', b"[" * 600 + b"]" * 600])
@pytest.mark.parametrize(
    "decode",
    [codec.decode_session, codec.decode_named, lambda raw, path: codec.decode_json(raw, dict[str, int], path)],
    ids=["session", "named", "json"],
)
def test_every_error_names_the_file(decode: Callable[[bytes, Path], object], raw: bytes) -> None:
    with pytest.raises(CorruptStateError) as caught:
        decode(raw, PATH)
    assert caught.value.path == PATH


def test_a_session_in_a_file_of_another_name_is_refused() -> None:
    raw = bytes(incremental.encode(make_session(), PATH))
    assert codec.decode_named(raw, PATH).id == "s"
    with pytest.raises(CorruptStateError) as caught:
        codec.decode_named(raw, Path("sessions/other.json"))
    assert str(caught.value) == "sessions/other.json: $.id: the id is 's', but the file is named 'other'"


@pytest.mark.parametrize("error", [KeyError("another"), ValueError("text")])
def test_an_error_of_a_hook_keeps_its_text_and_is_not_a_missing_key(error: Exception) -> None:
    def structure(value: object, _: object) -> Picky:
        raise error

    oxios_state.converter.register_structure_hook(Picky, structure)
    with pytest.raises(CorruptStateError) as caught:
        codec.decode_json(b'{"text": 1}', Holder, PATH)
    assert (caught.value.json_path, caught.value.reason) == ("$.text", str(error))
    with pytest.raises(CorruptStateError) as caught:
        codec.decode_json(b"{}", Holder, PATH)
    assert (caught.value.json_path, caught.value.reason) == ("$.text", "the key is missing")


def test_a_fault_is_described_in_300_characters_at_most() -> None:
    class Stage(Enum):
        PLAN = "plan"

    with pytest.raises(CorruptStateError) as caught:
        codec.decode_json(b'["' + b"y" * 10_000 + b'"]', list[Stage], PATH)
    assert caught.value.reason.startswith("'yyyy")
    assert len(caught.value.reason) == 300


def test_a_recursion_error_of_a_hook_propagates() -> None:
    class Endless:
        pass

    def structure(value: object, _: object) -> Endless:
        raise RecursionError

    oxios_state.converter.register_structure_hook(Endless, structure)
    with pytest.raises(RecursionError):
        codec.decode_json(b"[1]", list[Endless], PATH)
