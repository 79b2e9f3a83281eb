"""Filters: which sessions a caller asks for, by user, project and time, decided from their summaries.

Times are datetimes, dates, or texts such as ``1 March 2026, 10:00``. The meaning of a text depends neither on the day
on which it is read nor on whether the day or the month is expected first: a text that could mean two times is refused.

Where the local clock is changed, some local times occur twice and others never. A text with a time of day that occurs
twice is refused; a `datetime` says by its ``fold`` which it means; and a day begins when the clock first shows it. A
time that the clock skipped is the moment of the change. So a later bound never means an earlier moment.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from itertools import product
from typing import TYPE_CHECKING

from oxios_state.model import timestamps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oxios_state.model.summary import SessionSummary


Conditions = tuple[str | None, str | None, date | str | None, date | str | None]
"""The arguments of a `SessionFilter`."""


class SessionFilter:
    """The conditions of a list or a search; None sets none. `StateStore.list_sessions` documents each.

    Raises:
        TypeError: If an argument has another type.
        ValueError: If a time is not understood.
    """

    def __init__(
        self,
        user_id: str | None,
        project_id: str | None,
        updated_after: date | str | None,
        updated_before: date | str | None,
    ) -> None:
        for name, value in (("user_id", user_id), ("project_id", project_id)):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} must be str or None, not {type(value).__name__}")
        self._user_id = user_id
        self._project_id = project_id
        self._after = None if updated_after is None else parse_time(updated_after)
        self._before = None if updated_before is None else parse_time(updated_before)

    def accepts(self, summary: SessionSummary) -> bool:
        """Return whether a session meets all conditions."""
        return (
            (self._user_id is None or summary.user_id == self._user_id)
            and (self._project_id is None or summary.project_id == self._project_id)
            and (self._after is None or summary.updated_at >= self._after)
            and (self._before is None or summary.updated_at < self._before)
        )

    def choose(self, summaries: Iterable[SessionSummary]) -> list[SessionSummary]:
        """Return the summaries of the sessions that meet all conditions, in their order."""
        return list(filter(self.accepts, summaries))


_EXAMPLES = "write it as 2026-03-01, 2026-03-01 10:00 or 1 March 2026"
# Two times that differ in every part that a text may omit, and by more days than a week has. Parsing a text with each
# as the default shows which parts it omits. Both years have a 29th of February.
_ONE = datetime(2000, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # the time zone is added later
_OTHER = _ONE.replace(year=2004, month=2, day=28, hour=1)
_YEAR_FIRST = re.compile(r"(?<![\d./-])\d{4}[./-]\d")

_ZONE_AND_OFFSET = re.compile(r"(?i)(?:utc|gmt|z)\s*[+-]\d+")


def parse_time(value: date | str) -> datetime:
    """Return the time that a datetime, a date or a text means, with a time zone.

    Args:
        value: The time. Without a time zone, local time is assumed; without a time of day, the beginning of the day. A
            month or year alone means its beginning. Of a local time that occurs twice, a datetime means the first, or
            with ``fold=1`` the second. A local time that the clock skipped means the moment of the change.

    Raises:
        TypeError: If *value* has another type.
        ValueError: If a text is not understood, or could mean more than one time.
    """
    if isinstance(value, str):
        return _parse_text(value)
    if isinstance(value, datetime):
        if value.utcoffset() is not None:
            return value
        return _local_moments(value)[-1 if value.fold else 0]
    if isinstance(value, date):
        return _local_moments(datetime.combine(value, time()))[0]
    raise TypeError(f"expected a datetime, a date or a text, not {type(value).__name__}")


def _local_moments(local: datetime) -> list[datetime]:
    """Return when the local clock shows a time, in UTC: one moment, or two where the clock is set back.

    `datetime.astimezone` alone would map a time that the clock skipped to one behind the change, and so let later
    times be earlier moments.

    Args:
        local: The time, without a time zone.

    Raises:
        ValueError: If the system cannot convert it.
    """
    shown = datetime.combine(local.date(), local.time(), UTC)
    offsets = set()
    try:
        # The offset is unknown before the conversion, but it is one of those that apply within a day.
        for hours in range(-24, 25):
            with suppress(OverflowError):  # before the year 1, or after 9999
                moment = shown + timedelta(hours=hours)
                offsets.add(_shown_by_clock(moment) - moment)
        if moments := sorted({shown - offset for offset in offsets if _shown_by_clock(shown - offset) == shown}):
            return moments
        skipped = shown.replace(microsecond=0)  # clocks are changed at whole seconds
        early, late = skipped - max(offsets), skipped - min(offsets)
        while late - early > timedelta(seconds=1):
            middle = early + timedelta(seconds=(late - early) // timedelta(seconds=2))
            early, late = (middle, late) if _shown_by_clock(middle) < skipped else (early, middle)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{local!s} cannot be converted to the local time zone: {error}") from error
    return [late]


def _shown_by_clock(moment: datetime) -> datetime:
    """Return what the local clock shows at a moment, as if it showed UTC."""
    return moment.astimezone().replace(tzinfo=UTC)


def _parse_text(text: str) -> datetime:
    with suppress(ValueError):
        return timestamps.parse(text.strip())  # to the nanosecond
    moment, has_time = _parse_in_any_form(text)
    if moment.utcoffset() is not None:
        return moment
    moments = _local_moments(moment)
    if has_time and len(moments) > 1:
        meanings = " or ".join(each.astimezone().isoformat() for each in moments)
        raise ValueError(f"{text!r:.60} occurs twice, as the clock is set back then: write {meanings}")
    return moments[0]


def _parse_in_any_form(text: str) -> tuple[datetime, bool]:
    """Return the time that a text means, perhaps without a time zone, and whether the text has a time of day."""
    with suppress(ValueError):
        return datetime.combine(date.fromisoformat(text.strip()), time()), False
    with suppress(ValueError):
        return datetime.fromisoformat(text.strip()), True
    try:
        readings = {_parse_freely(text, day_first=day, year_first=year) for day, year in _orders(text)}
    except (ValueError, ArithmeticError) as error:  # dateutil computes with Decimal
        reason = str(error) if isinstance(error, ValueError) else "a number is too large"
        raise ValueError(f"{text!r:.60} is not understood as a date ({reason}): {_EXAMPLES}") from error
    if len(readings) > 1:
        days = " or ".join(sorted(f"{reading:%Y-%m-%d}" for reading, _ in readings))
        raise ValueError(f"{text!r:.60} could mean {days}: {_EXAMPLES}")
    return readings.pop()


def _orders(text: str) -> list[tuple[bool, bool]]:
    # Nobody writes year, day, month, but dateutil would read it so if the day were to come first.
    return [(False, False)] if _YEAR_FIRST.search(text) else list(product((False, True), (False, True)))


def _parse_freely(text: str, *, day_first: bool, year_first: bool) -> tuple[datetime, bool]:
    from dateutil.parser import ParserError, parse  # costs 12 ms, and most filters need no date

    if zone := _ZONE_AND_OFFSET.search(text):
        raise ValueError(f"{zone[0]!r} can be read in two ways, write an offset alone")  # by POSIX, GMT+3 is west of it
    try:
        moment, other = (
            parse(text, default=default, dayfirst=day_first, yearfirst=year_first, tzinfos=_time_zone)
            for default in (_ONE, _OTHER)
        )
    except ParserError as error:
        raise ValueError(str(error).partition(":")[0]) from error
    is_default_day = (moment.day, other.day) == (_ONE.day, _OTHER.day)
    if moment.day != other.day and not is_default_day:  # dateutil moved it to a day of the week
        raise ValueError("the day of the month is missing")
    if moment.year != other.year:
        raise ValueError("the year is missing")
    return moment, moment.hour == other.hour


def _time_zone(name: str | None, offset: int | None) -> tzinfo | None:
    if name is not None and offset != 0:  # CST is a time zone of three countries
        raise ValueError(f"the time zone {name!r} is unknown, write an offset such as +01:00")
    return None if offset is None else timezone(timedelta(seconds=offset))
