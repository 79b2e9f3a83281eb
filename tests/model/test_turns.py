"""Which messages, tool calls and responses `Session.turns` puts together."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxios_state import AgentResponse, Session, StateStore, Timestamp, TrajectoryStepRecord, Turn, UserMessage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KERNEL = Path(__file__).parents[1] / "data" / "kernel"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def session(
    messages: str = "", steps: str = "", responses: str = "", *, ranges: dict[int, Any] | None = None
) -> Session:
    """A session whose records are named, and stamped by a number of seconds: ``"a@1 b@2"``."""

    def parts(text: str) -> list[tuple[str, datetime]]:
        return [(name, at(float(seconds))) for name, seconds in (part.split("@") for part in text.split())]

    extras = {index: {"trajectory_range": value} for index, value in (ranges or {}).items()}
    return Session(
        "ada",
        user_messages=[UserMessage(name, timestamp=moment) for name, moment in parts(messages)],
        trajectory_steps=[TrajectoryStepRecord(name, None, timestamp=moment) for name, moment in parts(steps)],
        agent_responses=[
            AgentResponse(name, timestamp=moment, extra=extras.get(index, {}))
            for index, (name, moment) in enumerate(parts(responses))
        ],
    )


def outline(session: Session) -> list[str]:
    """Return the turns as text: message, tool calls in brackets, response; a dash stands for a missing one."""
    return [
        f"{turn.message.content if turn.message else '-'} "
        f"[{' '.join(step.tool_name for step in turn.steps)}] "
        f"{turn.response.content if turn.response else '-'}"
        for turn in session.turns()
    ]


# By time.


def test_a_turn_is_a_message_its_response_and_the_tool_calls_between() -> None:
    whole = session("m1@0 m2@10", "a@1 b@2 c@11", "r1@3 r2@13")
    assert outline(whole) == ["m1 [a b] r1", "m2 [c] r2"]
    first = whole.turns()[0]
    assert first == Turn(whole.user_messages[0], whole.agent_responses[0], tuple(whole.trajectory_steps[:2]))
    assert isinstance(first.steps, tuple)


def test_an_empty_session_has_no_turns() -> None:
    assert Session("ada").turns() == []


def test_a_message_without_a_response_is_a_turn() -> None:
    assert outline(session("m1@0")) == ["m1 [] -"]
    assert outline(session("m1@0 m2@10", "a@11", "r1@3")) == ["m1 [] r1", "m2 [a] -"]


def test_a_response_without_a_message_is_a_turn() -> None:
    assert outline(session("", "", "r1@0")) == ["- [] r1"]
    assert outline(session("m1@10", "", "r1@3 r2@11")) == ["- [] r1", "m1 [] r2"]


def test_the_first_of_several_responses_answers_the_message() -> None:
    assert outline(session("m1@0", "a@2", "r1@1 r2@3 r3@4")) == ["m1 [] r1", "- [a] r2", "- [] r3"]


def test_the_last_of_several_messages_is_answered_by_the_response() -> None:
    assert outline(session("m1@0 m2@2 m3@4", "a@1 b@5", "r1@6")) == ["m1 [a] -", "m2 [] -", "m3 [b] r1"]


def test_tool_calls_before_a_message_belong_to_it() -> None:
    assert outline(session("m1@2 m2@12", "a@0 b@1 c@10 d@11", "r1@3 r2@13")) == ["m1 [a b] r1", "m2 [c d] r2"]


def test_tool_calls_after_the_last_response_are_a_turn() -> None:
    assert outline(session("m1@0", "a@1 b@3 c@4", "r1@2")) == ["m1 [a] r1", "- [b c] -"]
    assert outline(session("", "a@1")) == ["- [a] -"]


def test_at_equal_times_the_order_is_message_tool_calls_response() -> None:
    assert outline(session("m1@0", "a@0 b@0", "r1@0")) == ["m1 [a b] r1"]
    assert outline(session("m1@0 m2@1", "a@1", "r1@1 r2@1")) == ["m1 [a] r1", "m2 [] r2"]


def test_turns_are_told_apart_while_the_clock_stands() -> None:
    assert outline(session("m1@0 m2@0 m3@0", "", "r1@0 r2@0 r3@0")) == ["m1 [] r1", "m2 [] r2", "m3 [] r3"]


def test_nanoseconds_decide_the_order() -> None:
    earlier, later = (Timestamp(2026, 3, 1, tzinfo=UTC, nanosecond=nanosecond) for nanosecond in (1, 2))
    responses = [AgentResponse("r1", timestamp=earlier)]
    assert outline(Session("ada", user_messages=[UserMessage("m1", timestamp=later)], agent_responses=responses)) == [
        "- [] r1",
        "m1 [] -",
    ]


def test_time_zones_are_compared_and_a_time_without_one_counts_as_utc() -> None:
    east = timezone(timedelta(hours=9))
    with attrs.validators.disabled():  # a time without a time zone cannot be recorded otherwise
        response = AgentResponse("r1", timestamp=at(5).replace(tzinfo=None))
    whole = Session(
        "ada",
        user_messages=[UserMessage("m1", timestamp=at(0).astimezone(east)), UserMessage("m2", timestamp=at(10))],
        agent_responses=[response],
    )
    assert outline(whole) == ["m1 [] r1", "m2 [] -"]
    assert whole.turns()[0].started == at(0)
    assert whole.turns()[0].ended == at(5).replace(tzinfo=None)


# Clocks.


def test_a_clock_that_was_set_back_between_turns_leaves_them_whole() -> None:
    whole = session("m1@100 m2@50 m3@60", "a@100.5 b@50.5 c@60.5", "r1@101 r2@51 r3@61")
    assert outline(whole) == ["m1 [a] r1", "m2 [b] r2", "m3 [c] r3"]


def test_a_clock_that_was_set_back_within_a_turn_leaves_the_others_whole() -> None:
    whole = session("m0@80 m1@100 m2@60", "a@100.5 b@60.5", "r0@90 r1@51 r2@61")
    assert outline(whole) == ["m0 [] r0", "m1 [a] r1", "m2 [b] r2"]


def test_tool_calls_that_ran_side_by_side_and_ended_in_another_order_stay_in_their_turn() -> None:
    assert outline(session("m1@0 m2@20", "b@7 a@5 c@22", "r1@10 r2@30")) == ["m1 [b a] r1", "m2 [c] r2"]
    assert outline(session("m1@0", "b@7 a@5 c@8")) == ["m1 [b a c] -"]


# By trajectory_range, which newer kernels write.


@pytest.mark.parametrize("form", [lambda start, end: {"start": start, "end": end}, lambda start, end: [start, end]])
def test_a_trajectory_range_decides_which_tool_calls_belong_to_a_response(form: Any) -> None:
    late = session("m1@0 m2@10", "a@50 b@51 c@52", "r1@5 r2@15", ranges={0: form(0, 1), 1: form(1, 3)})
    assert outline(late) == ["m1 [a] r1", "m2 [b c] r2"]
    early = session("m1@10 m2@20", "a@1 b@2 c@3", "r1@15 r2@25", ranges={0: form(0, 2), 1: form(2, 3)})
    assert outline(early) == ["m1 [a b] r1", "m2 [c] r2"]


def test_tool_calls_in_no_range_are_paired_by_time() -> None:
    whole = session("m1@0 m2@10 m3@20", "a@1 b@30 c@30 d@21", "r1@5 r2@15 r3@25", ranges={1: {"start": 1, "end": 3}})
    assert outline(whole) == ["m1 [a] r1", "m2 [b c] r2", "m3 [d] r3"]
    assert outline(session("m1@0", "a@9 b@9 c@9", "r1@5", ranges={0: [1, 2]})) == ["m1 [a b] r1", "- [c] -"]


def test_the_tool_calls_of_a_range_wait_for_the_message_that_was_answered() -> None:
    assert outline(session("m1@0 m2@2", "a@1", "r1@3", ranges={0: [0, 1]})) == ["m1 [] -", "m2 [a] r1"]


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        "0-1",
        1,
        [],
        [0],
        [0, 1, 2],
        [0, 1.0],
        [False, True],
        ["0", "1"],
        [None, None],
        {},
        {"start": 0},
        {"start": 0, "end": "1"},
        [-1, 1],
        [1, 0],
        [1, 1],
        [0, 3],
        [0, 2**64 - 1],
    ],
)
def test_an_invalid_range_is_ignored(nonsense: Any) -> None:
    assert outline(session("m1@0", "a@1 b@6", "r1@5 r2@7", ranges={0: nonsense})) == ["m1 [a] r1", "- [b] r2"]


def test_a_range_that_overlaps_an_earlier_one_is_ignored() -> None:
    whole = session("m1@0 m2@10", "a@1 b@11", "r1@5 r2@15", ranges={0: [0, 2], 1: [1, 2]})
    assert outline(whole) == ["m1 [a b] r1", "m2 [] r2"]


# Always.


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    times = st.lists(st.integers(0, 12), max_size=8)
    if draw(st.booleans()):
        times = times.map(sorted)
    lists = [" ".join(f"{name}{index}@{time}" for index, time in enumerate(draw(times))) for name in "msr"]
    bound = st.integers(-1, 9)
    ranges = draw(st.dictionaries(st.integers(0, 7), st.one_of(st.none(), st.tuples(bound, bound)), max_size=4))
    return session(*lists, ranges=ranges)


@given(sessions())
def test_every_record_is_in_one_turn_and_each_kind_in_order(whole: Session) -> None:
    turns = whole.turns()
    assert [turn.message for turn in turns if turn.message is not None] == whole.user_messages
    assert [turn.response for turn in turns if turn.response is not None] == whole.agent_responses
    assert [step for turn in turns for step in turn.steps] == whole.trajectory_steps
    assert all(turn != Turn() for turn in turns)
    # A turn ends with its response, or before the next message.
    assert all(turn.response or following.message for turn, following in pairwise(turns))


@given(sessions(), st.integers(1, 8))
def test_a_valid_range_holds_whatever_the_times_are(whole: Session, count: int) -> None:
    for index, response in enumerate(whole.agent_responses):
        start, end = index * count, (index + 1) * count
        whole.agent_responses[index] = attrs.evolve(response, extra={"trajectory_range": {"start": start, "end": end}})
    steps = len(whole.agent_responses) * count
    whole.trajectory_steps = [TrajectoryStepRecord(str(index), None, timestamp=NOON) for index in range(steps)]
    assert all(len(turn.steps) == (count if turn.response else 0) for turn in whole.turns())


def test_ten_thousand_turns_are_grouped_in_time() -> None:
    count = 10_000
    whole = session(*(" ".join(f"{name}@{number}" for number in range(count)) for name in "msr"))
    assert len(whole.turns()) == count


def test_the_kernels_sessions_have_turns() -> None:
    store = StateStore(KERNEL)
    typical, uneven = store.load_session("typical"), store.load_session("uneven")
    assert typical is not None
    assert uneven is not None
    assert outline(typical) == ["List the files [bash bash] Done:\n\n```\na.txt\n```"]
    assert outline(uneven) == ["0 [] hello", "1 [] -", "2 [] -"]


# A turn.


def test_a_turn_started_with_its_earliest_record_and_ended_with_its_latest() -> None:
    (turn,) = session("m1@2", "a@1 b@3", "r1@4").turns()
    assert (turn.started, turn.ended) == (at(1), at(4))
    assert (Turn().started, Turn().ended) == (None, None)


def test_a_turn_knows_its_failed_tool_calls() -> None:
    good, bad = TrajectoryStepRecord("a", None), TrajectoryStepRecord("b", None, is_error=True)
    assert Turn(steps=(good, bad)).failed_steps == (bad,)


def test_a_turn_is_immutable_and_equal_by_value() -> None:
    (turn,) = session("m1@0", "", "r1@1").turns()
    assert pickle.loads(pickle.dumps(turn)) == turn
    with pytest.raises(AttributeError):
        turn.message = None  # type: ignore[misc]
