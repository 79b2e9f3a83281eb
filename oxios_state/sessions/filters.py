"""Moments as people give them: a datetime, a date, or a text such as ``1 March 2026, 10:00``.

What a text means depends neither on the day on which it is read nor on whether day or month is expected first: one that
could mean two moments is refused.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from itertools import product

from oxios_state.model import timestamps

_EXAMPLES = "write it as 2026-03-01, 2026-03-01 10:00 or 1 March 2026"
# Two moments that differ in every part that a text may leave out, and by more days than a week has: what `dateutil`
# makes of a text with each of them shows which parts those are. Both years have a 29th of February.
_ONE = datetime(2000, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # the time zone is added later
_OTHER = _ONE.replace(year=2004, month=2, day=28)
_YEAR_FIRST = re.compile(r"(?<![\d./-])\d{4}[./-]\d")

_ZONE_AND_OFFSET = re.compile(r"(?i)(?:utc|gmt|z)\s*[+-]\d+")


def understand(value: date | str) -> datetime:
    """Make a moment of a datetime, a date or a text.

    Args:
        value: What has no time zone is in that of the system; what has no time of day is the beginning of the day, and
            a month or year alone its beginning.

    Returns:
        The moment, with a time zone.

    Raises:
        TypeError: If *value* is of another type.
        ValueError: If a text is not understood, or could mean more than one moment.
    """
    if isinstance(value, str):
        moment = _read(value)
    elif isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime.combine(value, time())
    else:
        raise TypeError(f"a datetime, a date or a text is expected, not {type(value).__name__}")
    if moment.utcoffset() is not None:
        return moment
    try:
        return moment.astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{value!s} has no place in the local time zone: {error}") from error


def _read(text: str) -> datetime:
    with suppress(ValueError):
        return timestamps.parse(text.strip())  # to the nanosecond
    with suppress(ValueError):
        return datetime.fromisoformat(text.strip())
    try:
        readings = {_read_freely(text, day_first=day, year_first=year) for day, year in _orders(text)}
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r:.60} is not understood as a date ({error}): {_EXAMPLES}") from error
    if len(readings) > 1:
        days = " or ".join(sorted(f"{reading:%Y-%m-%d}" for reading in readings))
        raise ValueError(f"{text!r:.60} could mean {days}: {_EXAMPLES}")
    return readings.pop()


def _orders(text: str) -> list[tuple[bool, bool]]:
    # Nobody writes year, day, month; `dateutil` would read it so if it were told that the day comes first.
    return [(False, False)] if _YEAR_FIRST.search(text) else list(product((False, True), (False, True)))


def _read_freely(text: str, *, day_first: bool, year_first: bool) -> datetime:
    from dateutil.parser import ParserError, parse  # imported here, as it costs half of importing this package

    if zone := _ZONE_AND_OFFSET.search(text):
        raise ValueError(f"{zone[0]!r} is read in two ways, give an offset alone")  # by POSIX, GMT+3 is west of it
    try:
        moment, other = (
            parse(text, default=default, dayfirst=day_first, yearfirst=year_first, tzinfos=_time_zone)
            for default in (_ONE, _OTHER)
        )
    except ParserError as error:
        raise ValueError(str(error).partition(":")[0]) from error
    if moment.day != other.day and (moment.day, other.day) != (_ONE.day, _OTHER.day):  # moved to a day of the week
        raise ValueError("the day of the month is missing")
    if moment.year != other.year:
        raise ValueError("the year is missing")
    return moment


def _time_zone(name: str | None, offset: int | None) -> tzinfo | None:
    if name is not None and offset != 0:  # CST is a time zone of three countries
        raise ValueError(f"the time zone {name!r} is unknown, give an offset such as +01:00")
    return None if offset is None else timezone(timedelta(seconds=offset))
