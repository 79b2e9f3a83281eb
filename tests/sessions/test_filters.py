"""Filters: which sessions a list contains, and what a text means as a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oxios_state import Session, SessionSummary, StateStore, Timestamp
from oxios_state.sessions.filters import parse_time

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    store = StateStore(tmp_path, durable=False)
    for day, (session_id, user, project) in enumerate(
        [("a", "ada", "p"), ("b", "bob", "p"), ("c", "ada", "q"), ("d", "ada", None)]
    ):
        metadata = {"project_id": project} if project else {}
        moment = NOON + timedelta(days=day)
        store.save_session(Session(user, session_id, created_at=moment, metadata=metadata))
    return store


def ids(summaries: list[SessionSummary]) -> str:
    return "".join(summary.id for summary in summaries)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, "dcba"),
        ({"user_id": "ada"}, "dca"),
        ({"user_id": ""}, ""),
        ({"project_id": "p"}, "ba"),
        ({"user_id": "ada", "project_id": "p"}, "a"),
        ({"limit": 2}, "dc"),
        ({"limit": 0}, ""),
        ({"limit": 9}, "dcba"),
        ({"user_id": "ada", "limit": 2}, "dc"),
        ({"updated_after": NOON + timedelta(days=1)}, "dcb"),
        ({"updated_before": NOON + timedelta(days=1)}, "a"),
        ({"updated_after": "2026-03-02T12:00:00Z", "updated_before": "2026-03-03T12:00:00Z"}, "b"),
        ({"updated_after": datetime(2026, 3, 2, 13, tzinfo=timezone(timedelta(hours=1)))}, "dcb"),
        ({"updated_after": date(2026, 3, 3)}, "dc"),
        ({"updated_after": "March 2026", "updated_before": "April 2026"}, "dcba"),
        ({"updated_before": "1 March 2026"}, ""),
    ],
)
def test_a_list_contains_the_sessions_that_meet_all_conditions(
    store: StateStore, conditions: dict[str, Any], expected: str
) -> None:
    assert ids(store.list_sessions(**conditions)) == expected


def test_bounds_are_exact_to_the_nanosecond(store: StateStore) -> None:
    path = store.base_path / "sessions/a.json"
    path.write_text(path.read_text().replace("12:00:00Z", "12:00:00.000000001Z"))
    assert ids(store.list_sessions(updated_before="2026-03-01T12:00:00.000000001Z")) == ""
    assert ids(store.list_sessions(updated_before="2026-03-01T12:00:00.000000002Z")) == "a"


@pytest.mark.parametrize(
    ("conditions", "error", "message"),
    [
        ({"user_id": 1}, TypeError, "user_id must be str or None, not int"),
        ({"project_id": b"p"}, TypeError, "project_id must be str or None, not bytes"),
        ({"updated_after": 1.5}, TypeError, "expected a datetime, a date or a text, not float"),
        ({"updated_after": "soon"}, ValueError, "'soon' is not understood as a date"),
        ({"updated_before": "03/04/2026"}, ValueError, "'03/04/2026' could mean 2026-03-04 or 2026-04-03"),
        ({"limit": True}, TypeError, "limit must be int, not bool"),
        ({"limit": -1}, ValueError, "limit must not be negative: -1"),
    ],
)
@pytest.mark.parametrize("method", ["list_sessions", "search_sessions"])
def test_bad_conditions_are_refused_at_the_call(
    tmp_path: Path, method: str, conditions: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = ["text"] if method == "search_sessions" else []
    with pytest.raises(error, match=message):
        getattr(StateStore(tmp_path), method)(*arguments, **conditions)


# Times as texts.

BERLIN_WINTER, BERLIN_SUMMER = timezone(timedelta(hours=1)), timezone(timedelta(hours=2))


BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.fixture
def berlin(set_time_zone: Callable[[str], None]) -> None:
    set_time_zone(BERLIN)


@pytest.mark.usefixtures("berlin")
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
def test_a_text_means_the_beginning_of_its_period_in_local_time(
    text: str, year_to_minute: tuple[int, int, int]
) -> None:
    assert parse_time(text) == datetime(*year_to_minute, tzinfo=BERLIN_WINTER)


@pytest.mark.usefixtures("berlin")
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
def test_a_text_can_contain_a_time_zone(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment


@pytest.mark.usefixtures("berlin")
def test_naive_datetimes_and_dates_are_local_time() -> None:
    assert parse_time(datetime(2026, 7, 1, 10)) == datetime(2026, 7, 1, 8, tzinfo=UTC)  # noqa: DTZ001
    assert parse_time(date(2026, 7, 1)) == datetime(2026, 7, 1, tzinfo=BERLIN_SUMMER)
    aware = datetime(2026, 7, 1, tzinfo=UTC)
    assert parse_time(aware) is aware


@pytest.mark.usefixtures("berlin")
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
def test_an_ambiguous_text_is_refused_with_its_meanings(text: str, meanings: str) -> None:
    with pytest.raises(ValueError, match="could mean") as caught:
        parse_time(text)
    assert f"{text!r} could mean {meanings}: write it as 2026-03-01" in str(caught.value)


@pytest.mark.usefixtures("berlin")
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
        ("2026-03-01 10:00 GMT+3", "'GMT+3' can be read in two ways"),
        ("2026-03-01 10:00 EST-5", "the time zone 'EST' is unknown"),
        ("9" * 30, "too large"),
        ("9" * 30 + "h", "a number is too large"),
    ],
)
def test_an_unreadable_text_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="is not understood as a date") as caught:
        parse_time(text)
    assert repr(text) in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("value", [datetime(1, 1, 1), date.min, "0001-01-01"])  # noqa: DTZ001
def test_a_time_outside_the_local_calendar_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="cannot be converted to the local time zone"):
        parse_time(value)


# Where the local clock is changed.


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("text", ["2026-10-25 02:30", "25 October 2026, 2:30", "2026-10-25T02:30:00"])
def test_a_text_that_occurs_twice_is_refused_with_both_moments(text: str) -> None:
    with pytest.raises(ValueError, match="occurs twice, as the clock is set back then") as caught:
        parse_time(text)
    assert f"{text!r} occurs twice" in str(caught.value)
    assert str(caught.value).endswith("write 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00")
    assert parse_time("2026-10-25T02:30:00+01:00") == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@pytest.mark.usefixtures("berlin")
def test_a_datetime_that_occurs_twice_is_the_one_that_its_fold_says() -> None:
    twice = datetime(2026, 10, 25, 2, 30, 0, 7)  # noqa: DTZ001
    assert parse_time(twice) == datetime(2026, 10, 25, 0, 30, 0, 7, UTC)
    assert parse_time(twice.replace(fold=1)) == datetime(2026, 10, 25, 1, 30, 0, 7, UTC)
    once = twice.replace(hour=3, fold=1)
    assert parse_time(once) == datetime(2026, 10, 25, 2, 30, 0, 7, UTC)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("clock", ["02:00", "02:00:00.000001", "02:30", "02:59:59.999999", "03:00"])
def test_a_skipped_time_is_the_moment_of_the_change(clock: str, fold: int) -> None:
    skipped = datetime.fromisoformat(f"2026-03-29T{clock}").replace(fold=fold)
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert parse_time(skipped) == change
    assert parse_time(str(skipped)) == change


HAVANA, SANTIAGO = "CST5CDT,M3.2.0/0,M11.1.0/1", "<-04>4<-03>,M9.1.6/24,M4.1.6/24"


@pytest.mark.parametrize(
    ("zone", "day", "begin"),
    [
        (HAVANA, date(2026, 11, 1), datetime(2026, 11, 1, 4, tzinfo=UTC)),  # its midnight occurs twice
        (HAVANA, date(2026, 3, 8), datetime(2026, 3, 8, 5, tzinfo=UTC)),  # and here never
        (SANTIAGO, date(2026, 4, 5), datetime(2026, 4, 5, 4, tzinfo=UTC)),  # the hour before it occurs twice
    ],
)
def test_a_day_begins_when_the_clock_first_shows_it(
    zone: str, day: date, begin: datetime, set_time_zone: Callable[[str], None]
) -> None:
    set_time_zone(zone)
    for value in (day, f"{day}", f"{day:%d %B %Y}"):
        assert parse_time(value) == begin


@pytest.mark.parametrize(
    ("zone", "noon"),
    [
        *((BERLIN, datetime(2026, month, day, 12)) for month, day in [(3, 28), (10, 24)]),  # noqa: DTZ001
        *((HAVANA, datetime(2026, month, day, 12)) for month, day in [(3, 7), (10, 31)]),  # noqa: DTZ001
        *((SANTIAGO, datetime(2026, month, day, 12)) for month, day in [(4, 4), (9, 5)]),  # noqa: DTZ001
        *(("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", datetime(2026, month, 4, 2)) for month in (4, 10)),  # noqa: DTZ001
    ],
)
def test_later_bounds_are_never_earlier_moments(
    zone: str, noon: datetime, set_time_zone: Callable[[str], None]
) -> None:
    set_time_zone(zone)
    texts = [str(noon + timedelta(minutes=5 * number)) for number in range(24 * 12)]
    moments = []
    for text in texts:
        try:
            moments.append(parse_time(text))
        except ValueError as error:
            assert "occurs twice" in str(error)  # noqa: PT017
            moments.append(parse_time(datetime.fromisoformat(text)))
    assert moments == sorted(moments)
    assert len(set(moments)) > 12


@given(st.text() | st.text("0123456789/-.: TZamprhMUC+,", max_size=40))
@example("9" * 40 + "h")
@example("999999999999999999999999999999m1")
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    try:
        moment = parse_time(text)
    except ValueError:
        return
    assert moment.utcoffset() is not None
