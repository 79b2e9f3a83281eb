"""Timestamps: reading and writing RFC 3339 as chrono does, and datetimes with nanoseconds."""

from __future__ import annotations

import copy
import operator
import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import permutations
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxios_state import Timestamp
from oxios_state.model import timestamps

if TYPE_CHECKING:
    from collections.abc import Callable

EIGHT = datetime(2026, 3, 1, 8, tzinfo=UTC)
nanosecond_one = Timestamp(2026, 3, 1, 8, tzinfo=UTC, nanosecond=1)
nanosecond_two = Timestamp(2026, 3, 1, 8, tzinfo=UTC, nanosecond=2)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("2026-03-01T08:00:00Z", "2026-03-01T08:00:00Z"),
        ("2026-03-01T08:00:00.000Z", "2026-03-01T08:00:00Z"),
        ("2026-03-01T08:00:00.1Z", "2026-03-01T08:00:00.100Z"),
        ("2026-03-01T08:00:00.12Z", "2026-03-01T08:00:00.120Z"),
        ("2026-03-01T08:00:00.123Z", "2026-03-01T08:00:00.123Z"),
        ("2026-03-01T08:00:00.1234Z", "2026-03-01T08:00:00.123400Z"),
        ("2026-03-01T08:00:00.123456Z", "2026-03-01T08:00:00.123456Z"),
        ("2026-03-01T08:00:00.000001Z", "2026-03-01T08:00:00.000001Z"),
        ("2026-03-01T08:00:00.1234567Z", "2026-03-01T08:00:00.123456700Z"),
        ("2026-03-01T08:00:00.12345678Z", "2026-03-01T08:00:00.123456780Z"),
        ("2026-03-01T08:00:00.123456789Z", "2026-03-01T08:00:00.123456789Z"),
        ("2026-03-01T08:00:00.123456000Z", "2026-03-01T08:00:00.123456Z"),
        ("2026-03-01T08:00:00.000000001Z", "2026-03-01T08:00:00.000000001Z"),
        ("2026-03-01T08:00:00.1234567899999Z", "2026-03-01T08:00:00.123456789Z"),
        ("2026-03-01T08:00:00.0000000009Z", "2026-03-01T08:00:00Z"),
        ("2026-03-01T08:00:00+00:00", "2026-03-01T08:00:00Z"),
        ("2026-03-01T08:00:00-00:00", "2026-03-01T08:00:00Z"),
        ("2026-03-01T09:30:00+01:30", "2026-03-01T08:00:00Z"),
        ("2026-02-28T23:59:59.000000999-08:00", "2026-03-01T07:59:59.000000999Z"),
        ("2026-03-01T08:00:00+23:59", "2026-02-28T08:01:00Z"),
        ("2026-03-01T08:00:00-23:59", "2026-03-02T07:59:00Z"),
        ("2026-03-01t08:00:00z", "2026-03-01T08:00:00Z"),
        ("2026-03-01T08:00:00.123456789z", "2026-03-01T08:00:00.123456789Z"),
        ("2026-03-01 08:00:00.5z", "2026-03-01T08:00:00.500Z"),
        ("2026-03-01t08:00:00+00:00", "2026-03-01T08:00:00Z"),
        ("2026-03-01 08:00:00Z", "2026-03-01T08:00:00Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
        ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999999Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("0001-01-01T01:00:00+01:00", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_a_timestamp_is_normalised_to_utc_and_the_fewest_digits(text: str, rendered: str) -> None:
    moment = timestamps.parse(text)
    assert moment.tzinfo is UTC
    assert timestamps.render(moment) == rendered


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-01",
        "2026-03-01T08:00Z",
        "2026-03-01T08Z",
        "2026-03-01T08:00:00",
        "2026-03-01T08:00:00.123456789",
        "2026-03-01T08:00:00.Z",
        "2026-03-01T08:00:00,5Z",
        "2026-03-01T08:00:00+01",
        "2026-03-01T08:00:00+0100",
        "2026-03-01T08:00:00+01:00:00",
        "2026-03-01T08:00:00+1:00",
        "2026-03-01T08:00:00+24:00",
        "2026-03-01T08:00:00+01:60",
        "2026-03-01T08:00:00 +01:00",
        "2026-03-01T08:00:00\u221201:00",
        "2026-03-01T08:00:00Z ",
        "2026-03-01T08:00:00Z\n",
        " 2026-03-01T08:00:00Z",
        "2026-03-01T08:00:00ZZ",
        "2026-03-01_08:00:00Z",
        "20260301T080000Z",
        "2026-W09-7T08:00:00Z",
        "+2026-03-01T08:00:00Z",
        "26-03-01T08:00:00Z",
        "12026-03-01T08:00:00Z",
        "٢٠٢٦-03-01T08:00:00Z",
        "2026-03-01T08:00:00.١Z",  # noqa: RUF001
        "2026-03-01T24:00:00Z",
        "2026-03-01T08:60:00Z",
        "now",
    ],
)
def test_text_that_is_not_rfc_3339_with_an_offset_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an RFC 3339 timestamp with an offset"):
        timestamps.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29T08:00:00Z",
        "2026-13-01T08:00:00Z",
        "2026-00-01T08:00:00z",
        "2026-03-01T08:00:60Z",
        "2026-03-01T08:00:61z",
        "0000-03-01T08:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_a_time_that_a_datetime_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^'{text[:4]}.*' is not a time that a datetime can hold: "):
        timestamps.parse(text)


@pytest.mark.parametrize(
    "text",
    ["0000-03-01T08:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "0000-12-31T23:30:00-01:00"],
)
def test_the_error_says_which_years_a_datetime_can_hold(text: str) -> None:
    with pytest.raises(ValueError, match=r": its year is outside 1 to 9999, as written or in UTC$"):
        timestamps.parse(text)


def test_only_a_time_with_nanoseconds_is_a_timestamp() -> None:
    assert type(timestamps.parse("2026-03-01T08:00:00.123456Z")) is datetime
    assert type(timestamps.parse("2026-03-01T08:00:00.123456000Z")) is datetime
    moment = timestamps.parse("2026-03-01T08:00:00.123456789Z")
    assert isinstance(moment, Timestamp)
    assert (moment.microsecond, moment.nanosecond) == (123456, 789)


@pytest.mark.parametrize(
    ("moment", "rendered"),
    [
        (datetime(2026, 3, 1, 9, 30, tzinfo=timezone(timedelta(hours=1, minutes=30))), "2026-03-01T08:00:00Z"),
        (datetime(2026, 7, 1, 10, 0, 0, 500000, tzinfo=ZoneInfo("Europe/Berlin")), "2026-07-01T08:00:00.500Z"),
        (datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")), "2026-10-25T00:30:00Z"),
        (datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1), "2026-10-25T01:30:00Z"),
        (
            Timestamp(2026, 3, 1, 9, 0, 0, 7, timezone(timedelta(hours=1)), nanosecond=8),
            "2026-03-01T08:00:00.000007008Z",
        ),
    ],
)
def test_any_time_zone_is_written_as_utc_with_its_nanoseconds(moment: datetime, rendered: str) -> None:
    assert timestamps.render(moment) == rendered


def test_a_naive_datetime_is_not_written() -> None:
    with pytest.raises(ValueError, match=r"datetime\.datetime\(2026, 3, 1, 8, 0\) has no time zone"):
        timestamps.render(datetime(2026, 3, 1, 8))  # noqa: DTZ001


@pytest.mark.parametrize(("edge", "hours"), [(datetime.min, 1), (datetime.max, -1)])  # noqa: DTZ901
def test_a_moment_outside_the_years_in_utc_is_not_written(edge: datetime, hours: int) -> None:
    with pytest.raises(OverflowError):
        timestamps.render(edge.replace(tzinfo=timezone(timedelta(hours=hours))))


def test_now_is_the_time_in_utc() -> None:
    before = datetime.now(UTC)
    moment = timestamps.now()
    assert moment.tzinfo is UTC
    assert before <= moment <= datetime.now(UTC)


@pytest.mark.parametrize("nanosecond", [-1, 1000])
def test_a_nanosecond_is_0_to_999(nanosecond: int) -> None:
    with pytest.raises(ValueError, match=f"nanosecond must be in 0..999, not {nanosecond}"):
        Timestamp(2026, 3, 1, nanosecond=nanosecond)
    assert [Timestamp(2026, 3, 1, nanosecond=edge).nanosecond for edge in (0, 999)] == [0, 999]


OPERATORS = [operator.lt, operator.le, operator.eq, operator.ne, operator.ge, operator.gt]


@pytest.mark.parametrize("compare", OPERATORS)
def test_nanoseconds_decide_where_the_microseconds_are_equal(compare: Callable[[Any, Any], bool]) -> None:
    later = Timestamp(2026, 3, 1, 8, 0, 0, 1, tzinfo=UTC)
    elsewhere = Timestamp(2026, 3, 1, 9, tzinfo=timezone(timedelta(hours=1)), nanosecond=1)
    ranks: list[tuple[datetime, int]] = [
        (EIGHT, 0),
        (Timestamp(2026, 3, 1, 8, tzinfo=UTC), 0),
        (nanosecond_one, 1),
        (elsewhere, 1),
        (nanosecond_two, 2),
        (later, 3),
        (EIGHT + timedelta(microseconds=1), 3),
    ]
    for (left, left_rank), (right, right_rank) in permutations(ranks, 2):
        assert compare(left, right) is compare(left_rank, right_rank), (left, right)


def test_equal_timestamps_hash_alike_and_sorting_includes_nanoseconds() -> None:
    elsewhere = Timestamp(2026, 3, 1, 9, tzinfo=timezone(timedelta(hours=1)), nanosecond=1)
    assert hash(elsewhere) == hash(nanosecond_one)
    assert hash(Timestamp(2026, 3, 1, 8, tzinfo=UTC)) == hash(EIGHT)
    assert {EIGHT, nanosecond_one, nanosecond_two, elsewhere, Timestamp(2026, 3, 1, 8, tzinfo=UTC)} == {
        EIGHT,
        nanosecond_one,
        nanosecond_two,
    }
    assert sorted([nanosecond_two, EIGHT, nanosecond_one]) == [EIGHT, nanosecond_one, nanosecond_two]


def test_a_timestamp_cannot_be_ordered_with_naive_datetimes_and_other_types() -> None:
    naive = datetime(2026, 3, 1, 8)  # noqa: DTZ001
    others: list[Any] = [naive, date(2026, 3, 1), "2026-03-01", None]
    for other in others:
        assert nanosecond_one != other
        assert not nanosecond_one == other  # noqa: SIM201
        for compare in (operator.lt, operator.le, operator.ge, operator.gt):
            with pytest.raises(TypeError):
                compare(nanosecond_one, other)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nanoseconds_survive_pickling(protocol: int) -> None:
    moment = Timestamp(2026, 3, 1, 8, 1, 2, 345678, UTC, nanosecond=901)
    copied = pickle.loads(pickle.dumps(moment, protocol))
    assert type(copied) is Timestamp
    assert (copied, copied.nanosecond, copied.tzinfo) == (moment, 901, UTC)


def test_nanoseconds_survive_copying_and_the_repr() -> None:
    for copied in (copy.copy(nanosecond_two), copy.deepcopy(nanosecond_two)):
        assert type(copied) is Timestamp
        assert copied.nanosecond == 2
    assert repr(nanosecond_two) == (
        "Timestamp(2026, 3, 1, 8, 0, tzinfo=datetime.timezone.utc, nanosecond=2)"  # as any subclass's
    )
    with pytest.raises(AttributeError):
        nanosecond_two.nanosecond = 3  # type: ignore[misc]


def test_arithmetic_and_replace_drop_nanoseconds() -> None:
    hour = timedelta(hours=1)
    changed = [nanosecond_two + hour, nanosecond_two.replace(hour=9), nanosecond_two - -hour]
    for moment in changed:
        assert moment == EIGHT + hour
        assert timestamps.render(moment) == "2026-03-01T09:00:00Z"
        assert getattr(moment, "nanosecond", 0) == 0
    assert nanosecond_two - nanosecond_one == timedelta(0)
    assert nanosecond_two.isoformat() == EIGHT.isoformat()


offsets = st.integers(-(24 * 60 - 1), 24 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@settings(max_examples=300, deadline=None)
@given(
    moment=st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=offsets),  # noqa: DTZ001
    nanosecond=st.integers(0, 999),
)
def test_every_moment_survives_render_and_parse(moment: datetime, nanosecond: int) -> None:
    # "RFC 3339 in UTC, as chrono writes them: `Z`, and 0, 3, 6 or 9 fraction digits, the fewest that lose nothing.
    # Any offset is accepted on reading and normalised to UTC."
    stamp = Timestamp(*moment.timetuple()[:6], moment.microsecond, moment.tzinfo, nanosecond=nanosecond)
    text = timestamps.render(stamp)
    assert timestamps.parse(text) == stamp
    assert timestamps.render(timestamps.parse(text)) == text
    digits = text[:-1].partition(".")[2]
    assert len(digits) in {0, 3, 6, 9}
    assert not digits.endswith("000")
    offset = f"{moment:%z}"
    written = f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + f".{moment.microsecond:06}{nanosecond:03}"
    assert timestamps.render(timestamps.parse(f"{written}{offset[:3]}:{offset[3:]}")) == text
