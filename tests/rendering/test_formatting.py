"""Text that HTML and plain text share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from oxios_state import TrajectoryStepRecord
from oxios_state.rendering import formatting


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1 s"),
        (3449, "3.4 s"),
        (59_999, "59.9 s"),
        (60_000, "1 min"),
        (125_000, "2 min 5 s"),
        (12_000_000, "3 h 20 min"),
        (86_400_000 * 2, "2 d"),
        (2**64 - 1, "213,503,982,334 d 14 h"),
    ],
)
def test_a_duration_has_a_suitable_unit(milliseconds: int, text: str) -> None:
    assert formatting.duration(milliseconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (10**18, "1,000,000.0 TB")]
)
def test_a_file_size_has_a_suitable_unit(number: int, text: str) -> None:
    assert formatting.file_size(number) == text


def test_count_uses_the_singular_for_one() -> None:
    counts = [formatting.count(number, "turn") for number in (0, 1, 1200)]
    assert counts == ["0 turns", "1 turn", "1,200 turns"]
    assert formatting.count(2, "directory", "directories") == "2 directories"


def test_any_text_becomes_one_line_of_bounded_length() -> None:
    assert formatting.one_line("  a\n\tb \x1b ", 20) == "a b \u241b"
    assert formatting.one_line("abcdef", 5) == "abcd…"
    assert formatting.one_line("a" + " " * 100 + "b", 5) == "a…"
    assert formatting.one_line("\u202e" * 10, 10) == "\\u202e\\u2…"


def test_an_excerpt_has_the_beginning_and_end() -> None:
    assert formatting.excerpt("abc", 3) == ("abc", 0, "")
    assert formatting.excerpt("abcdefghi", 3) == ("ab", 6, "i")


def test_head_and_tail_keeps_more_of_the_tail() -> None:
    assert formatting.head_and_tail("abc", 3) == ([(1, "a"), (2, "b"), (3, "c")], 0, [])
    assert formatting.head_and_tail("abcdefg", 3) == ([(1, "a")], 4, [(6, "f"), (7, "g")])


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ("é", '"é"'),
        ({"a": [1, True]}, '{"a": [1, true]}'),
        ({1, 2}, '"{1, 2}"'),
        ({"a": "b" * 100}, '{"a": "bbbbbbbbbbbbbbbbbb…'),
        (list(range(10**6)), "[0, 1, 2, 3, 4, 5, 6, 7, …"),
        ("x" * 10**6, '"xxxxxxxxxxxxxxxxxxxxxxxx…'),
        (CIRCLE, "(a list that is no JSON va"),
        (Hostile(), "(a Hostile that is no JSON"),
        ({(1, 2): 3}, "(a dict that is no JSON va"),
    ],
)
def test_any_object_becomes_text_of_bounded_length(value: Any, text: str) -> None:
    assert formatting.json_text(value, 26) == text


def test_arguments_are_written_as_in_a_python_call() -> None:
    assert formatting.call_arguments({"cmd": "ls -la", "n": 0}, 40) == 'cmd="ls -la", n=0'
    assert formatting.call_arguments({}, 40) == ""
    assert formatting.call_arguments([1, {}], 40) == "[1, {}]"
    assert formatting.call_arguments({f"key{n}": n for n in range(99)}, 20) == "key0=0, key1=1, key…"


def test_times_are_in_utc_and_naive_ones_are_taken_as_utc() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    elsewhere = noon.astimezone(timezone(timedelta(hours=5, minutes=30)))
    for moment in (noon, elsewhere, noon.replace(tzinfo=None)):
        assert formatting.in_utc(moment) == noon
        assert formatting.date_and_time(moment) == "2026-03-01 12:00"
        assert formatting.time_of_day(moment) == "12:00:00"
        assert formatting.epoch_milliseconds(moment) == 1_772_366_400_000


def test_the_last_hours_of_the_calendar_are_formatted() -> None:
    end = datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))
    assert formatting.date_and_time(end) == "9999-12-31 23:59"


def test_a_period_within_a_day_has_one_date() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert formatting.period(noon, noon) == "2026-03-01 12:00:00 UTC"
    assert formatting.period(noon, noon + timedelta(seconds=3)) == "2026-03-01 12:00:00 to 12:00:03 UTC"
    assert formatting.period(noon, noon + timedelta(days=1)) == "2026-03-01 12:00:00 to 2026-03-02 12:00:00 UTC"


def test_the_most_called_tools_come_first() -> None:
    steps = [TrajectoryStepRecord(name, None, is_error=name == "c") for name in "abbcccd"]
    assert formatting.tool_counts(steps, 2) == "c (3), b (2) and 2 others"
    assert formatting.tool_counts(steps[:1], 2) == "a"
    assert formatting.tool_call_count(steps) == "7 tool calls, 3 failed"
    assert formatting.tool_call_count(steps[:1]) == "1 tool call"
