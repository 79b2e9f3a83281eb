"""Retention: the rules by which sessions are removed, and the throttle."""

from __future__ import annotations

import copy
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from math import inf, nan
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxios_state import PruneConfig, PruneThrottle, SessionSummary, Timestamp, converter
from oxios_state.sessions.retention import choose

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def summary(name: str, age: timedelta) -> SessionSummary:
    """Return the summary of a session that has this age at noon."""
    return SessionSummary(name, "u", 0, None, None, None, NOON - timedelta(days=1000), NOON - age)


def hourly(*ages: float) -> list[SessionSummary]:
    return [summary(str(age), timedelta(hours=age)) for age in ages]


def ids(
    summaries: list[SessionSummary], config: PruneConfig, keep: Callable[[SessionSummary], object] | None = None
) -> list[str]:
    return [chosen.id for chosen in choose(summaries, config, NOON, keep)]


@pytest.mark.parametrize(
    ("ages", "config", "removed"),
    [
        ([], PruneConfig(1, 1), []),
        ([1, 2, 3], PruneConfig(), []),
        ([1, 2, 3], PruneConfig(0, 0), []),
        ([1, 2, 300], PruneConfig(), ["300"]),
        ([1, 2, 300], PruneConfig(ttl_hours=0), []),
        ([1, 2, 300], PruneConfig(max_sessions=0), []),
        ([1, 2, 300, 400], PruneConfig(max_sessions=3), ["400"]),
        ([1, 2, 300, 400], PruneConfig(3), ["400"]),
        ([1, 2, 300], PruneConfig(ttl_hours=1), ["300", "2"]),
        ([1, 2, 3], PruneConfig(2, 0), ["3"]),
        ([1, 2, 3, 4], PruneConfig(1, 0), ["4", "3", "2"]),
        ([1, 2, 3], PruneConfig(3, 0), []),
        ([1, 2, 3], PruneConfig(0, 2), ["3"]),
        ([1, 2, 3], PruneConfig(0, 1.5), ["3", "2"]),
        ([1, 2, 3, 4], PruneConfig(1, 3), ["4", "3", "2"]),
        ([1, 2, 3, 4], PruneConfig(3, 1), ["4", "3", "2"]),
        ([5, 6], PruneConfig(1, 1), ["6", "5"]),
        ([-5, 1], PruneConfig(1, 1), ["1"]),
        ([-5, 1], PruneConfig(0, 1), []),
    ],
)
def test_too_old_sessions_are_chosen_and_then_the_oldest_beyond_the_count(
    ages: list[float], config: PruneConfig, removed: list[str]
) -> None:
    assert ids(hourly(*ages), config) == removed


def test_a_session_is_chosen_when_it_is_older_than_the_time_to_live() -> None:
    at, beyond = summary("at", timedelta(hours=168)), summary("beyond", timedelta(hours=168, microseconds=1))
    assert ids([at, beyond], PruneConfig()) == ["beyond"]
    stamp = Timestamp(2026, 3, 1, 12, tzinfo=UTC, nanosecond=1)
    assert choose([SessionSummary("s", "u", 0, None, None, None, stamp, stamp)], PruneConfig(), NOON) == []


def test_a_hundred_sessions_stay_by_default() -> None:
    summaries = [summary(str(age), timedelta(seconds=age)) for age in range(103)]
    assert ids(summaries, PruneConfig()) == ["102", "101", "100"]


def test_sessions_that_keep_accepts_stay_and_do_not_count() -> None:
    summaries = hourly(1, 2, 3, 400, 500)
    assert ids(summaries, PruneConfig(2, 0), lambda summary: summary.id == "1") == ["500", "400"]
    assert ids(summaries, PruneConfig(), lambda summary: summary.id == "500") == ["400"]
    assert ids(summaries, PruneConfig(1, 1), lambda _: "anything true") == []
    assert ids(summaries, PruneConfig(1, 0), lambda _: 0) == ["500", "400", "3", "2"]


@pytest.mark.parametrize("config", [PruneConfig(1, 1), PruneConfig(1, 0), PruneConfig(0, 1), PruneConfig(1, 1000)])
def test_the_latest_session_stays_whatever_its_time(config: PruneConfig) -> None:
    chosen = choose(hourly(-9, 2, 500), config, NOON, latest="500")
    assert [summary.id for summary in chosen] == (["2", "-9"] if config.max_sessions else ["2"])
    assert choose(hourly(-9, 500), PruneConfig(), NOON, latest="another") == hourly(500)


def test_more_than_a_hundred_sessions_stay_if_only_their_age_counts() -> None:
    assert ids(hourly(*range(1, 150), 169), PruneConfig(ttl_hours=168)) == ["169"]


def test_naming_one_rule_switches_the_other_off() -> None:
    assert attrs.astuple(PruneConfig()) == (100, 168)
    assert attrs.astuple(PruneConfig(298)) == attrs.astuple(PruneConfig(max_sessions=298)) == (298, 0)
    assert attrs.astuple(PruneConfig(ttl_hours=24)) == (0, 24)
    assert attrs.astuple(PruneConfig(298, 24)) == (298, 24)
    assert attrs.astuple(PruneConfig(0)) == (0, 0)
    assert PruneConfig(298) == PruneConfig(298, 0) != PruneConfig(298, 168)
    assert repr(PruneConfig(ttl_hours=24)) == "PruneConfig(max_sessions=0, ttl_hours=24)"


def test_rules_survive_copying_and_saving() -> None:
    for config in (PruneConfig(), PruneConfig(5), PruneConfig(ttl_hours=1.5), PruneConfig(0, 0)):
        assert copy.copy(config) == pickle.loads(pickle.dumps(config)) == attrs.evolve(config) == config
        assert hash(copy.deepcopy(config)) == hash(config)
        assert converter.structure(converter.unstructure(config), PruneConfig) == config
    assert attrs.evolve(PruneConfig(), max_sessions=5) == PruneConfig(5, 168)
    assert attrs.evolve(PruneConfig(5), ttl_hours=1) == PruneConfig(5, 1)
    assert converter.structure({"max_sessions": 5}, PruneConfig) == PruneConfig(5)
    assert converter.structure({}, PruneConfig) == PruneConfig()


def test_choose_accepts_any_iterable_and_leaves_it_unchanged() -> None:
    summaries = hourly(1, 2, 3)
    before = list(summaries)
    assert choose(iter(summaries), PruneConfig(1, 0), NOON) == [summaries[2], summaries[1]]
    assert summaries == before


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"max_sessions": True}, "'max_sessions' must be int, not bool"),
        ({"max_sessions": None}, "'max_sessions' must be int, not NoneType"),
        ({"max_sessions": None, "ttl_hours": None}, "'max_sessions' must be int, not NoneType"),
        ({"ttl_hours": None}, "'ttl_hours' must be int or float, not NoneType"),
        ({"max_sessions": 1.0}, "'max_sessions' must be int, not float"),
        ({"ttl_hours": True}, "'ttl_hours' must be int or float, not bool"),
        ({"ttl_hours": "1"}, "'ttl_hours' must be int or float, not str"),
    ],
)
def test_a_rule_of_another_type_is_refused_by_name(rules: Any, text: str) -> None:
    with pytest.raises(TypeError) as caught:
        PruneConfig(**rules)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"max_sessions": -1}, "'max_sessions' must not be negative: -1"),
        ({"ttl_hours": -0.5}, "'ttl_hours' must not be negative: -0.5"),
        ({"ttl_hours": inf}, "'ttl_hours' must be finite: inf"),
        ({"ttl_hours": nan}, "'ttl_hours' must not be negative: nan"),
    ],
)
def test_a_rule_out_of_range_is_refused_by_name(rules: Any, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        PruneConfig(**rules)
    assert str(caught.value) == text


@settings(max_examples=200, deadline=None)
@given(
    ages=st.lists(st.integers(0, 40), max_size=12).map(sorted),
    most=st.integers(0, 12),
    ttl=st.integers(0, 40),
    kept=st.sets(st.integers(0, 11)),
)
def test_the_rules_of_pruning_hold(ages: list[int], most: int, ttl: int, kept: set[int]) -> None:
    # "First every session whose `updated_at` is older than the TTL goes, then the oldest beyond `max_sessions`. [...]
    # `keep` is a predicate on a summary: what it returns true for is never removed, and does not count."
    summaries = [summary(str(index), timedelta(hours=age)) for index, age in enumerate(ages)]
    removed = ids(summaries, PruneConfig(most, ttl), lambda summary: int(summary.id) in kept)
    assert removed == sorted(removed, key=int, reverse=True)
    expected = []
    staying = 0
    for index, age in enumerate(ages):
        if index not in kept:
            if (ttl and age > ttl) or (most and staying == most):
                expected.append(str(index))
            else:
                staying += 1
    assert removed == expected[::-1]


# The throttle.


class Clock:
    def __init__(self, time: float = 0.0) -> None:
        self.time = time

    def __call__(self) -> float:
        return self.time


@pytest.mark.parametrize("cooldown", [60, 60.0, timedelta(minutes=1)])
@pytest.mark.parametrize("start", [0.0, 5.0, 1e6])
def test_the_throttle_allows_one_prune_per_cooldown(cooldown: float | timedelta, start: float) -> None:
    clock = Clock(start)
    throttle = PruneThrottle(cooldown, clock=clock)
    answers = []
    for elapsed in (0, 0, 1, 59.5, 60, 60.5, 119, 121, 300, 301, 359.5, 360):
        clock.time = start + elapsed
        answers.append(throttle.should_prune())
    assert answers == [True, False, False, False, True, False, False, True, True, False, False, True]


def test_zero_allows_every_prune_and_an_infinite_cooldown_one() -> None:
    assert [PruneThrottle(0, clock=Clock()).should_prune() for _ in range(3)] == [True] * 3
    throttle = PruneThrottle(timedelta(0), clock=Clock())
    assert [throttle.should_prune() for _ in range(3)] == [True] * 3
    clock = Clock()
    once = PruneThrottle(inf, clock=clock)
    assert once.should_prune()
    clock.time = 1e300
    assert not once.should_prune()


def test_the_clock_is_monotonic_by_default() -> None:
    throttle = PruneThrottle(0.05)
    started = time.monotonic()
    assert throttle.should_prune()
    while not throttle.should_prune():
        time.sleep(0.005)
    assert time.monotonic() - started >= 0.05
    assert repr(throttle) == "PruneThrottle(0.05)"
    assert repr(PruneThrottle(timedelta(minutes=1))) == "PruneThrottle(60.0)"


@pytest.mark.parametrize("cooldown", [None, "60", True, [], 1j])
def test_a_cooldown_of_another_type_is_refused(cooldown: Any) -> None:
    with pytest.raises(TypeError, match=f"cooldown must be int or float, not {type(cooldown).__name__}"):
        PruneThrottle(cooldown)


@pytest.mark.parametrize("cooldown", [-1, -0.001, nan, -inf, timedelta(microseconds=-1)])
def test_a_negative_cooldown_is_refused(cooldown: float | timedelta) -> None:
    with pytest.raises(ValueError, match="cooldown must not be negative"):
        PruneThrottle(cooldown)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there are no such signals")
def test_a_signal_handler_can_ask_the_throttle_that_it_interrupts() -> None:
    handled: list[bool] = []

    def interrupted_clock() -> float:
        if not handled:
            handled.append(False)
            signal.raise_signal(signal.SIGUSR1)
        return 0.0

    throttle = PruneThrottle(10, clock=interrupted_clock)
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.append(throttle.should_prune()))
    try:
        assert not throttle.should_prune()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert handled == [False, True]


def test_one_of_many_threads_prunes_per_cooldown() -> None:
    threads, rounds, clock = 64, 12, Clock()

    class SlowMoment(float):
        def __sub__(self, earlier: float) -> float:
            elapsed = super().__sub__(earlier)
            time.sleep(0.0005)  # lets the others look at the last time before it is set
            return elapsed

    throttle = PruneThrottle(10, clock=lambda: SlowMoment(clock.time))
    barrier = threading.Barrier(threads, timeout=30)

    def ask(_: int) -> bool:
        barrier.wait()
        return throttle.should_prune()

    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds):
            assert sum(pool.map(ask, range(threads))) == 1
            clock.time += 10


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda throttle: pickle.loads(pickle.dumps(throttle))])
def test_a_copy_of_a_throttle_starts_afresh(way: Callable[[PruneThrottle], PruneThrottle]) -> None:
    throttle = PruneThrottle(timedelta(hours=1))
    assert throttle.should_prune()
    twin = way(throttle)
    assert repr(twin) == repr(throttle) == "PruneThrottle(3600.0)"
    assert twin.should_prune()
    assert not twin.should_prune()
    assert not throttle.should_prune()


def test_a_copy_of_a_throttle_has_its_clock() -> None:
    times = iter([0.0, 60.0])
    twin = copy.copy(PruneThrottle(60, clock=times.__next__))
    assert twin.should_prune()
    assert twin.should_prune()
