"""Moments as people give them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxios_state import Timestamp
from oxios_state.sessions.filters import parse_time

BERLIN_WINTER, BERLIN_SUMMER = timezone(timedelta(hours=1)), timezone(timedelta(hours=2))


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not hasattr(time, "tzset"):
        pytest.skip("the local time zone cannot be set here")
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "year_to_minute"),
    [
        ("2026-03-01", (2026, 3, 1)),
        (" 2026-03-01 10:30 ", (2026, 3, 1, 10, 30)),
        ("20260301", (2026, 3, 1)),
        ("2026/03/04", (2026, 3, 4)),
        ("2026-3-4", (2026, 3, 4)),
        ("10:30 2026-03-04", (2026, 3, 4, 10, 30)),
        ("1 March 2026", (2026, 3, 1)),
        ("1 March 2026, 10:30", (2026, 3, 1, 10, 30)),
        ("Mar 1, 2026 10:30 pm", (2026, 3, 1, 22, 30)),
        ("Monday, 2 March 2026", (2026, 3, 2)),
        ("13/02/2026", (2026, 2, 13)),
        ("02/13/2026", (2026, 2, 13)),
        ("March 2026", (2026, 3, 1)),
        ("2026-03", (2026, 3, 1)),
        ("2026", (2026, 1, 1)),
        ("29 Feb 2028", (2028, 2, 29)),
    ],
)
def test_a_text_is_a_moment_in_the_local_time_zone_and_what_it_leaves_out_is_the_beginning(
    text: str, year_to_minute: tuple[int, int, int]
) -> None:
    assert parse_time(text) == datetime(*year_to_minute, tzinfo=BERLIN_WINTER)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1 July 2026", datetime(2026, 7, 1, tzinfo=BERLIN_SUMMER)),
        ("1 July 2026 10:00 UTC", datetime(2026, 7, 1, 10, tzinfo=UTC)),
        ("1 July 2026 10:00 +03:00", datetime(2026, 7, 1, 7, tzinfo=UTC)),
        ("2026-07-01T10:00:00Z", datetime(2026, 7, 1, 10, tzinfo=UTC)),
        ("2026-07-01T10:00:00.123456789Z", Timestamp(2026, 7, 1, 10, 0, 0, 123456, UTC, nanosecond=789)),
    ],
)
def test_a_text_may_say_its_time_zone(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment


def test_a_naive_datetime_and_a_date_are_in_the_local_time_zone() -> None:
    assert parse_time(datetime(2026, 7, 1, 10)) == datetime(2026, 7, 1, 8, tzinfo=UTC)  # noqa: DTZ001
    assert parse_time(date(2026, 7, 1)) == datetime(2026, 7, 1, tzinfo=BERLIN_SUMMER)
    aware = datetime(2026, 7, 1, tzinfo=UTC)
    assert parse_time(aware) is aware


@pytest.mark.parametrize(
    ("text", "meanings"),
    [
        ("03/04/2026", "2026-03-04 or 2026-04-03"),
        ("3.4.2026", "2026-03-04 or 2026-04-03"),
        ("03/04/2026 10:00", "2026-03-04 or 2026-04-03"),
        ("1 Mar 26", "2001-03-26 or 2026-03-01"),
        ("01/02/03", "2001-02-03 or 2001-03-02 or 2003-01-02 or 2003-02-01"),
    ],
)
def test_a_text_that_could_mean_two_moments_is_refused_with_both(text: str, meanings: str) -> None:
    with pytest.raises(ValueError, match="could mean") as caught:
        parse_time(text)
    assert f"{text!r} could mean {meanings}: write it as 2026-03-01" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "String does not contain a date"),
        ("yesterday", "Unknown string format"),
        ("2026-13-01", "month must be in 1..12"),
        ("29 Feb 2027", "for month"),  # CPython 3.14 words the rest otherwise
        ("Mar 3", "the year is missing"),
        ("10", "the year is missing"),
        ("12:30", "the year is missing"),
        ("Monday", "the day of the month is missing"),
        ("Friday May 2026", "the day of the month is missing"),  # which begins with a Friday
        ("2026-03-01 10:00 CET", "the time zone 'CET' is unknown"),
        ("2026-03-01 10:00 GMT+3", "'GMT+3' is read in two ways"),
        ("2026-03-01 10:00 EST-5", "the time zone 'EST' is unknown"),
        ("9" * 30, "too large"),
    ],
)
def test_a_text_that_is_not_understood_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="is not understood as a date") as caught:
        parse_time(text)
    assert repr(text) in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("value", [datetime(1, 1, 1), date.min, "0001-01-01"])  # noqa: DTZ001  # it has none
def test_what_is_no_moment_everywhere_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="has no place in the local time zone"):
        parse_time(value)


def test_what_is_no_date_is_refused() -> None:
    with pytest.raises(TypeError, match="a datetime, a date or a text is expected, not int"):
        parse_time(5)  # type: ignore[arg-type]


@given(st.text() | st.text("0123456789/-.: TZamprMUC+,", max_size=20))
def test_whatever_the_text_it_is_a_moment_or_a_value_error(text: str) -> None:
    try:
        moment = parse_time(text)
    except ValueError:
        return
    assert moment.utcoffset() is not None
