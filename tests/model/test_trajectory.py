"""Tool calls: recording one while it runs, with `Session.step`, and the view of all."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from oxios_state import RunningStep, Session, StateStore, Trajectory, TrajectoryStepRecord
from oxios_state.model import timestamps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEPS = [TrajectoryStepRecord("bash", {"n": n}, timestamp=NOON) for n in range(4)]


class Clock:
    """A clock that returns the given times, one after the other."""

    def __init__(self, *times: float) -> None:
        self._times = iter(times)

    def __call__(self) -> float:
        return next(self._times)


def only_step(session: Session) -> TrajectoryStepRecord:
    (step,) = session.trajectory_steps
    return step


# Recording.


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


def test_the_duration_is_the_elapsed_time() -> None:
    session = Session("ada")
    before = datetime.now(UTC)
    with session.step("sleep", 0.02):
        time.sleep(0.02)
    assert 20 <= only_step(session).duration_ms < 20_000
    assert before <= only_step(session).timestamp <= datetime.now(UTC)


def test_a_duration_is_never_negative() -> None:
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
def test_an_exception_that_leaves_the_block_is_recorded_and_propagates(raised: BaseException, summary: str) -> None:
    session = Session("ada")
    with pytest.raises(type(raised)) as caught, session.step("bash", {}, clock=Clock(0, 1)) as step:
        step.output = "so far"
        raise raised
    assert caught.value is raised
    record = only_step(session)
    assert (record.output_summary, record.is_error, record.duration_ms) == (summary, True, 1000)


def test_a_handled_exception_is_not_a_failure() -> None:
    session = Session("ada")
    with session.step("bash", {}) as step:
        try:
            raise ValueError("handled")
        except ValueError:
            step.output = "instead"
    assert (only_step(session).output_summary, only_step(session).is_error) == ("instead", False)


def test_is_error_records_a_failure_without_an_exception() -> None:
    session = Session("ada")
    with session.step("bash", {}) as step:
        step.output, step.is_error = "permission denied", True
    assert (only_step(session).output_summary, only_step(session).is_error) == ("permission denied", True)


class Silent(Exception):  # noqa: N818  # the expected text contains its name
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


def test_arguments_are_copied_when_the_block_begins() -> None:
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


def test_nested_calls_are_listed_as_they_end_and_share_a_turn() -> None:
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


def test_any_output_of_a_tool_can_be_saved(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    session = Session("ada", "recorded")
    for output in ("caf\udce9", "\0\x1b[31mred", "x" * 1000, object()):
        with session.step("bash", {"cmd": "cat"}) as step:
            step.output = output
    store.save_session(session)
    assert store.load_session("recorded") == session


# The view.


def test_a_trajectory_equals_a_list_of_the_same_calls() -> None:
    trajectory = Trajectory(STEPS)
    assert trajectory == STEPS
    plain = list(STEPS)
    assert plain == trajectory
    assert trajectory == Trajectory(STEPS)
    assert trajectory != STEPS[:3]
    assert trajectory != [*STEPS[:3], STEPS[0]]
    assert trajectory != "steps"
    assert Trajectory() == []
    with pytest.raises(TypeError, match="unhashable"):
        hash(trajectory)


def test_a_trajectory_is_a_sequence_and_its_slices_are_trajectories() -> None:
    trajectory = Trajectory(STEPS)
    assert (len(trajectory), trajectory[1], trajectory[-1]) == (4, STEPS[1], STEPS[3])
    assert list(reversed(trajectory)) == STEPS[::-1]
    assert STEPS[2] in trajectory
    assert trajectory.index(STEPS[2]) == 2
    assert type(trajectory[::2]) is Trajectory
    assert trajectory[::2] == STEPS[::2]
    with pytest.raises(IndexError):
        trajectory[4]


def test_a_trajectory_is_a_live_read_only_view() -> None:
    session = Session("u")
    trajectory = session.trajectory
    session.extend_trajectory(STEPS)
    assert trajectory == STEPS
    assert not hasattr(trajectory, "append")
    with pytest.raises(TypeError):
        trajectory[0] = STEPS[0]  # type: ignore[index]
