"""The lists that show themselves: what they are beside their looks."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from oxios_state import PruneConfig, Session, SessionList, SessionSummary, StateStore, Trajectory, TrajectoryStepRecord

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEPS = [TrajectoryStepRecord("bash", {"n": n}, timestamp=NOON) for n in range(4)]
SUMMARIES = [SessionSummary(f"s{n}", "u", n, None, None, None, NOON, NOON) for n in range(4)]


def test_a_list_of_sessions_is_a_list_and_equal_to_one() -> None:
    sessions = SessionList(SUMMARIES)
    assert isinstance(sessions, list)
    assert sessions == SUMMARIES
    assert sessions[0] is SUMMARIES[0]
    assert sessions != SUMMARIES[:2]


def test_a_slice_of_a_list_of_sessions_is_one_too() -> None:
    part = SessionList(SUMMARIES)[1:3]
    assert type(part) is SessionList
    assert part == SUMMARIES[1:3]


@pytest.mark.parametrize("value", [SessionList(SUMMARIES), Trajectory(STEPS)], ids=["SessionList", "Trajectory"])
def test_both_can_be_pickled_and_copied(value: SessionList | Trajectory) -> None:
    for twin in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
        assert type(twin) is type(value)
        assert twin == value


def test_a_store_gives_such_lists(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    for name in "ab":
        store.save_session(Session("u", name, created_at=NOON, updated_at=NOON + timedelta(hours=name == "b")))
    assert type(store.list_sessions()) is SessionList
    chosen = store.prune(PruneConfig(1, 0), dry_run=True)
    assert type(chosen) is SessionList
    removed = store.prune(PruneConfig(1, 0))
    assert type(removed) is SessionList
    assert [summary.id for summary in removed] == [summary.id for summary in chosen] == ["a"]


def test_a_trajectory_is_equal_to_a_list_of_the_same_calls() -> None:
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


def test_a_trajectory_sees_what_is_appended_and_cannot_be_changed() -> None:
    session = Session("u")
    trajectory = session.trajectory
    session.extend_trajectory(STEPS)
    assert trajectory == STEPS
    assert not hasattr(trajectory, "append")
    with pytest.raises(TypeError):
        trajectory[0] = STEPS[0]  # type: ignore[index]
