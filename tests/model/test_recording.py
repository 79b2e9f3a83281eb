"""Values that could not be saved are refused where they are recorded, so that the rest of the session can be saved."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from math import inf, nan
from pathlib import Path, PurePosixPath
from typing import Any

import attrs
import pytest

from oxios_state import (
    AgentResponse,
    InvalidNameError,
    Session,
    StateStore,
    TrajectoryStepRecord,
    UnsupportedValueError,
    UserMessage,
)

pd: Any = pytest.importorskip("pandas")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAIVE = datetime(2026, 3, 1)  # noqa: DTZ001
DEEP: Any = []
for _ in range(126):
    DEEP = [DEEP]
ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
# Values, and what the error says of each.
VALUES: list[tuple[Any, str, str]] = [
    (nan, "", "nan is not JSON"),
    (-inf, "", "-inf is not JSON"),
    (2**64, "", "the integer is outside"),
    (-(2**63) - 1, "", "the integer is outside"),
    (PurePosixPath("x"), "", "a value of type PurePosixPath is not JSON"),
    (NOON, "", "a datetime is not JSON"),
    (NAIVE, "", "has no time zone"),
    ({1}, "", "a value of type set is not JSON"),
    (b"x", "", "a value of type bytes is not JSON"),
    (Decimal(1), "", "a value of type Decimal is not JSON"),
    (object(), "", "a value of type object is not JSON"),
    ({"a b": [1, {"c": nan}]}, "['a b'][1].c", "nan is not JSON"),
    ({1: 2}, "", "the key 1 is not a string"),
    ("ab\ud800", "", "the text has a lone surrogate at character 2"),
    ({"\ud800": 1}, "", "the text has a lone surrogate at character 0"),
    (DEEP, "[0]", "nested deeper than 127 levels"),
    (ENDLESS, "[0]", "nested deeper than 127 levels"),
]


def step_in_block(value: Any) -> None:
    session = Session("u", "s")
    with session.step("t", {"x": value}):
        pytest.fail("the tool ran")


# Ways to record a free-form value, and the path of the value.
PLACES: dict[str, tuple[Callable[[Any], object], str]] = {
    "tool_args": (lambda value: TrajectoryStepRecord("t", {"x": value}), "$.tool_args.x"),
    "step": (step_in_block, "$.tool_args.x"),
    "extra of a message": (lambda value: UserMessage("a", extra={"x": value}), "$.x"),
    "extra of a response": (lambda value: AgentResponse("a", extra={"x": value}), "$.x"),
    "extra of a tool call": (lambda value: TrajectoryStepRecord("t", 1, extra={"x": value}), "$.x"),
    "set_metadata": (lambda value: Session("u").set_metadata("x", value), "$.metadata.x"),
    "metadata": (lambda value: Session("u", metadata={"x": value}), "$.metadata.x"),
    "metadata, assigned": (lambda value: setattr(Session("u"), "metadata", {"x": value}), "$.metadata.x"),
    "extra of a session": (lambda value: Session("u", extra={"x": value}), "$.x"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("value", "where", "reason"), VALUES, ids=[f"{number}" for number in range(len(VALUES))])
def test_a_value_that_cannot_be_saved_is_not_recorded(place: str, value: Any, where: str, reason: str) -> None:
    record, path = PLACES[place]
    with pytest.raises(UnsupportedValueError) as caught:
        record(value)
    assert caught.value.path is None
    assert caught.value.json_path is not None
    assert caught.value.json_path.startswith(path + where)
    assert reason in caught.value.reason
    assert str(caught.value) == f"not recorded, {caught.value.json_path}: {caught.value.reason}"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


TEXTS: dict[str, Callable[[str], object]] = {
    "$.content": UserMessage,
    "$.session_id": lambda text: AgentResponse("a", session_id=text),
    "$.seed_id": lambda text: AgentResponse("a", seed_id=text),
    "$.phase_reached": lambda text: AgentResponse("a", phase_reached=text),
    "$.tool_name": lambda text: TrajectoryStepRecord(text, 1),
    "$.output_summary": lambda text: TrajectoryStepRecord("t", 1, text),
    "$.tool_call_id": lambda text: TrajectoryStepRecord("t", 1, tool_call_id=text),
    "$.user_id": Session,
    "$.id": lambda text: Session("u", text),
    "$.active_seed_id": lambda text: Session("u").set_active_seed(text),
    "$.active_persona_id": lambda text: Session("u").set_active_persona(text),
    "$.metadata": lambda text: Session("u").set_metadata(text, 1),
}


@pytest.mark.parametrize("path", TEXTS)
def test_text_with_a_lone_surrogate_is_not_recorded(path: str) -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        TEXTS[path]("ab\udfff")
    cure = 'the text has a lone surrogate at character 2; text.encode("utf-8", "replace").decode() replaces it'
    assert str(caught.value) == f"not recorded, {path}: {cure}"
    TEXTS[path]("ab\udfff".encode("utf-8", "replace").decode())
    TEXTS[path]("\u00e9\U0001f680")


@pytest.mark.parametrize(
    "make",
    [
        lambda moment: UserMessage("a", timestamp=moment),
        lambda moment: AgentResponse("a", timestamp=moment),
        lambda moment: TrajectoryStepRecord("a", 1, timestamp=moment),
    ],
)
def test_a_time_that_cannot_be_saved_is_not_recorded(make: Callable[[Any], Any]) -> None:
    east = timezone(timedelta(hours=1))
    for moment, reason in [
        (NAIVE, r"has no time zone; moment\.astimezone\(\) adds the system's"),
        (datetime.min.replace(tzinfo=east), "is outside the years 1 to 9999 in UTC"),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))), "is outside the years 1 to 9999 in UTC"),
        (pd.NaT, "NaTType"),
    ]:
        with pytest.raises(UnsupportedValueError, match=reason) as caught:
            make(moment)
        assert (caught.value.path, caught.value.json_path) == (None, "$.timestamp")
    for moment in (
        NOON,
        NOON.astimezone(east),
        NAIVE.astimezone(),
        pd.Timestamp(NOON),
        datetime.min.replace(tzinfo=UTC),
    ):
        assert make(moment).timestamp == moment
    anything: Any = NAIVE
    for name in ("created_at", "updated_at"):
        with pytest.raises(UnsupportedValueError, match=rf"not recorded, \$\.{name}: .* has no time zone"):
            Session("u", **{name: anything})


def test_a_refused_turn_does_not_keep_later_ones_from_being_saved(tmp_path: Path) -> None:
    store = StateStore(tmp_path, durable=False)
    session = store.get_or_create_session("ada", "a")
    refused: list[Callable[[], object]] = [
        lambda: session.add_user_message("\ud800"),
        lambda: session.add_agent_response(AgentResponse("\ud800")),
        lambda: session.extend_trajectory([TrajectoryStepRecord("t", 1), TrajectoryStepRecord("t", {1})]),
        lambda: session.set_metadata("k", tmp_path),
        lambda: session.set_active_seed("\ud800"),
        lambda: session.set_active_persona("\ud800"),
    ]
    for record in refused:
        before = session.updated_at
        with pytest.raises(UnsupportedValueError, match="not recorded"):
            record()
        assert session.updated_at == before
        store.update_session(session)
    assert store.load_session("a") == session
    assert session.is_empty
    assert not session.metadata


@pytest.mark.parametrize("base", [UserMessage, AgentResponse, TrajectoryStepRecord])
def test_a_record_of_a_subclass_is_not_recorded(base: Any) -> None:
    record = type("Own", (base,), {})("a", *([1] if base is TrajectoryStepRecord else []))
    session = Session("u", "s")
    with pytest.raises(TypeError, match=rf"(expected|must be) {base.__name__}, not Own"):
        if base is UserMessage:
            Session("u", user_messages=[record])
        elif base is AgentResponse:
            session.add_agent_response(record)
        else:
            session.extend_trajectory([record])
    assert not session.agent_responses
    assert not session.trajectory_steps


def test_an_id_that_is_no_name_is_refused_as_a_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidNameError):
        StateStore(tmp_path).get_or_create_session("u", "\ud800")


def test_saving_checks_what_was_changed_in_place(tmp_path: Path) -> None:
    session = Session("u", "s")
    session.metadata["x"] = {1}
    with pytest.raises(UnsupportedValueError, match=r"not saved, \$\.metadata\.x: ") as caught:
        StateStore(tmp_path).save_session(session)
    assert caught.value.path == tmp_path / "sessions" / "s.json"


def arguments(value: Any, default: Callable[[Any], Any]) -> Any:
    session = Session("u", "s")
    with session.step("t", value, default=default):
        pass
    return session.trajectory_steps[0].tool_args


def test_a_default_is_recorded_in_place_of_what_is_not_json() -> None:
    value = {"path": PurePosixPath("x"), "deep": [1, {"set": {2}, "text": "t", "ok": None}], "many": (nan, 2**64)}
    expected = {"path": "x", "deep": [1, {"set": "{2}", "text": "t", "ok": None}], "many": ["nan", str(2**64)]}
    assert arguments(value, str) == expected
    assert arguments(b"x", repr) == "b'x'"
    assert arguments({"a": 1.5, "b": True}, lambda _: pytest.fail("it is JSON")) == {"a": 1.5, "b": True}


def test_the_result_of_a_default_may_hold_more_that_is_not_json() -> None:
    def default(value: Any) -> Any:
        return sorted(value) if isinstance(value, set) else str(value)

    assert arguments({"a": {PurePosixPath("y"), PurePosixPath("x")}}, default) == {"a": ["x", "y"]}


@pytest.mark.parametrize(
    ("value", "default", "reason"),
    [
        ({1}, lambda value: value, "a value of type set is not JSON"),
        ("\ud800", str, "lone surrogate"),
        ({1: 2}, str, "the key 1 is not a string"),
        (ENDLESS, str, "nested deeper"),
        ([object()], lambda value: [value], "nested deeper"),
    ],
)
def test_a_default_that_does_not_help_is_refused(value: Any, default: Callable[[Any], Any], reason: str) -> None:
    with pytest.raises(UnsupportedValueError, match=reason):
        arguments(value, default)


def test_the_error_of_a_default_propagates() -> None:
    def default(_: object) -> None:
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        arguments({1}, default)


def test_a_record_that_is_evolved_is_checked_again() -> None:
    with pytest.raises(UnsupportedValueError):
        attrs.evolve(UserMessage("a"), content="\ud800")
