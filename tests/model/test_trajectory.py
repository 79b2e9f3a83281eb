"""Recording a tool call while it runs: `Session.step`."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from oxios_state import RunningStep, Session, StateStore, TrajectoryStepRecord
from oxios_state.model import timestamps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that tells the times that it is given, one after the other."""

    def __init__(self, *times: float) -> None:
        self._times = iter(times)

    def __call__(self) -> float:
        return next(self._times)


def only_step(session: Session) -> TrajectoryStepRecord:
    (step,) = session.trajectory_steps
    return step


def test_a_tool_call_is_recorded_with_its_start_its_duration_and_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session("ada", created_at=NOON)
    monkeypatch.setattr(timestamps, "now", lambda: NOON)
    with session.step("bash", {"cmd": "ls"}, tool_call_id="call_0", clock=Clock(5, 5.0126)) as step:
        assert isinstance(step, RunningStep)
        assert step.tool_call_id == "call_0"
        assert session.trajectory_steps == []
        monkeypatch.setattr(timestamps, "now", lambda: NOON + timedelta(seconds=1))
        step.output = "total 0"
    assert only_step(session) == TrajectoryStepRecord(
        "bash", {"cmd": "ls"}, "total 0", 13, tool_call_id="call_0", timestamp=NOON
    )
    assert session.updated_at == NOON + timedelta(seconds=1)


def test_what_is_measured_is_the_time_that_passes() -> None:
    session = Session("ada")
    before = datetime.now(UTC)
    with session.step("sleep", 0.02):
        time.sleep(0.02)
    assert 20 <= only_step(session).duration_ms < 20_000
    assert before <= only_step(session).timestamp <= datetime.now(UTC)


def test_a_clock_that_goes_back_gives_no_negative_duration() -> None:
    session = Session("ada")
    with session.step("t", None, clock=Clock(5, 4)):
        pass
    assert only_step(session).duration_ms == 0


@pytest.mark.parametrize(
    ("raised", "summary"),
    [
        (ValueError("no such file"), "ValueError: no such file"),
        (KeyError("a"), "KeyError: 'a'"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SystemExit(2), "SystemExit: 2"),
        (StopIteration(), "StopIteration"),
        (ValueError("x" * 600), "ValueError: " + "x" * 488),
    ],
    ids=repr,
)
def test_an_exception_that_leaves_the_block_is_recorded_and_goes_on(raised: BaseException, summary: str) -> None:
    session = Session("ada")
    with pytest.raises(type(raised)) as caught, session.step("bash", {}, clock=Clock(0, 1)) as step:
        step.output = "so far"
        raise raised
    assert caught.value is raised
    record = only_step(session)
    assert (record.output_summary, record.is_error, record.duration_ms) == (summary, True, 1000)


def test_an_exception_that_stays_in_the_block_is_not_an_error() -> None:
    session = Session("ada")
    with session.step("bash", {}) as step:
        try:
            raise ValueError("handled")
        except ValueError:
            step.output = "instead"
    assert (only_step(session).output_summary, only_step(session).is_error) == ("instead", False)


def test_a_tool_that_fails_without_an_exception_can_say_so() -> None:
    session = Session("ada")
    with session.step("bash", {}) as step:
        step.output, step.is_error = "permission denied", True
    assert (only_step(session).output_summary, only_step(session).is_error) == ("permission denied", True)


class Silent(Exception):  # noqa: N818  # what it is called is in the expected text
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("output", "summary"),
    [
        (None, ""),
        ("", ""),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 500),
        ("\N{GRINNING FACE}" * 501, "\N{GRINNING FACE}" * 500),
        (["a", 1], "['a', 1]"),
        (b"total 0", "b'total 0'"),
        ("caf\udce9", "caf\\udce9"),
        ("\udce9" * 500, "\\udce9" * 83 + "\\u"),
        (Silent(), "<Silent without a text>"),
    ],
    ids=lambda value: f"{value!r:.20}" if not isinstance(value, Silent) else "silent",
)
def test_the_summary_is_the_first_500_characters_of_the_outputs_text(output: Any, summary: str) -> None:
    session = Session("ada")
    with session.step("bash", {}) as step:
        step.output = output
    assert only_step(session).output_summary == summary
    assert not only_step(session).is_error


def test_an_exception_without_a_text_is_recorded_too() -> None:
    session = Session("ada")
    with pytest.raises(Silent), session.step("bash", {}):
        raise Silent
    assert only_step(session).output_summary == "Silent: <Silent without a text>"


def test_the_arguments_are_those_at_the_start() -> None:
    session = Session("ada")
    args = {"files": ["a"]}
    with session.step("rm", args):
        args["files"].append("b")
    assert only_step(session).tool_args == {"files": ["a"]}


def test_each_call_has_an_id_of_its_own() -> None:
    session = Session("ada")
    for _ in range(2):
        with session.step("bash", {}) as step:
            assert UUID(step.tool_call_id).version == 4
        assert session.trajectory_steps[-1].tool_call_id == step.tool_call_id
    assert len({record.tool_call_id for record in session.trajectory_steps}) == 2


def test_calls_within_calls_are_listed_as_they_end_and_stay_in_their_turn() -> None:
    session = Session("ada")
    session.add_user_message("go")
    with session.step("outer", {}), session.step("inner", {}):
        pass
    (turn,) = session.turns()
    assert [step.tool_name for step in turn.steps] == ["inner", "outer"]


@pytest.mark.parametrize(
    "begin",
    [
        lambda session: session.step(1, {}),
        lambda session: session.step("bash", {}, tool_call_id=1),
    ],
)
def test_an_argument_of_another_type_is_refused_before_the_block_runs(begin: Callable[[Session], Any]) -> None:
    session = Session("ada")
    with pytest.raises(TypeError), begin(session):
        pytest.fail("the block ran")
    assert session.trajectory_steps == []


def test_a_misspelt_attribute_is_an_error() -> None:
    session = Session("ada")
    with pytest.raises(AttributeError), session.step("bash", {}) as step:
        step.outptu = "lost"  # type: ignore[attr-defined]


def test_what_was_recorded_can_be_saved_whatever_the_tool_gave(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    session = Session("ada", "recorded")
    for output in ("caf\udce9", "\0\x1b[31mred", "x" * 1000, object()):
        with session.step("bash", {"cmd": "cat"}) as step:
            step.output = output
    store.save_session(session)
    assert store.load_session("recorded") == session
