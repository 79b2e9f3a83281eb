"""Timestamps as the kernel writes them: RFC 3339 in UTC, with nanoseconds that survive.

The kernel's chrono prints a ``DateTime<Utc>`` with ``Z`` and the fewest of 0, 3, 6 or 9 fraction digits that lose
nothing.
"""

import re
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self

_HOUR_MINUTE = r"(?:[01]\d|2[0-3]):[0-5]\d"  # fromisoformat accepts +01:60, and 24:00 since CPython 3.13
_RFC3339 = rf"(?a:\d{{4}}-\d\d-\d\d[Tt ]{_HOUR_MINUTE}:\d\d(?:\.(\d+))?(?:[Zz]|[+-]{_HOUR_MINUTE}))"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DIGITS = dict.fromkeys(map(ord, "123456789"), "0")
_KERNEL_FORMS = {f"0000-00-00T00:00:00{fraction}Z" for fraction in ("", ".000", ".000000", ".000000000")}
_TO_THE_MICROSECOND = len("2026-03-01T08:00:00.123456")


class Timestamp(datetime):
    """A `datetime` that also keeps the nanoseconds below its microsecond, as pandas' ``Timestamp`` does.

    The store returns one, in UTC, where a file has a timestamp with nanoseconds. Comparison, sorting, copies and
    pickles include the nanoseconds; arithmetic and ``replace`` return a datetime without them.

    Args:
        *args: The arguments of `datetime`.
        nanosecond: The nanoseconds beyond the microsecond, 0 to 999.
        **kwargs: The keyword arguments of `datetime`.

    Raises:
        ValueError: If *nanosecond* or another part is out of range.

    Example:
        >>> moment = Timestamp(2026, 3, 1, 8, tzinfo=UTC, nanosecond=7)
        >>> moment.nanosecond, moment > datetime(2026, 3, 1, 8, tzinfo=UTC)
        (7, True)
    """

    __module__ = "oxios_state"
    __slots__ = ("_nanosecond",)
    _nanosecond: int

    def __new__(cls, *args: Any, nanosecond: int = 0, **kwargs: Any) -> Self:
        """Create a timestamp as `datetime` does."""
        if not 0 <= nanosecond <= 999:
            raise ValueError(f"nanosecond must be in 0..999, not {nanosecond}")
        self = super().__new__(cls, *args, **kwargs)
        self._nanosecond = nanosecond
        return self

    @property
    def nanosecond(self) -> int:
        """The nanoseconds beyond the microsecond, 0 to 999."""
        return getattr(self, "_nanosecond", 0)  # unset where C code created the object: replace, in CPython 3.11

    def __eq__(self, other: object) -> bool:
        equal = super().__eq__(other)
        return self.nanosecond == _nanosecond(other) if equal is True else equal

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __hash__ = datetime.__hash__

    def __lt__(self, other: Any) -> bool:
        return self.nanosecond < _nanosecond(other) if super().__eq__(other) is True else super().__lt__(other)

    def __le__(self, other: Any) -> bool:
        return self.nanosecond <= _nanosecond(other) if super().__eq__(other) is True else super().__le__(other)

    def __gt__(self, other: Any) -> bool:
        return self.nanosecond > _nanosecond(other) if super().__eq__(other) is True else super().__gt__(other)

    def __ge__(self, other: Any) -> bool:
        return self.nanosecond >= _nanosecond(other) if super().__eq__(other) is True else super().__ge__(other)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, nanosecond={self.nanosecond})"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return partial(type(self), nanosecond=self.nanosecond), super().__reduce_ex__(protocol)[1]


_set_nanosecond = vars(Timestamp)["_nanosecond"].__set__


def now() -> datetime:
    """Return the current time in UTC, to the microsecond."""
    return datetime.now(UTC)


def next_after(moment: datetime) -> datetime:
    """Return the microsecond after a moment that has a time zone, in UTC; the same moment at the end of time."""
    try:
        return moment.astimezone(UTC) + _MICROSECOND  # in UTC, because a sum in local time may be an hour off
    except OverflowError:
        return moment


def parse(text: str) -> datetime:
    """Read an RFC 3339 timestamp with any offset.

    Returns:
        The time in UTC: a `Timestamp` if it has nanoseconds, else a plain datetime. Digits below the nanosecond are
        dropped, as chrono drops them.

    Raises:
        ValueError: If *text* has another form or no offset, or is a time that a datetime cannot hold (a year outside
            1 to 9999, a leap second).
    """
    match = re.fullmatch(_RFC3339, text)
    if match is None:
        raise ValueError(f"{text!r:.60} is not an RFC 3339 timestamp with an offset, such as 2026-03-01T08:00:00Z")
    try:
        # fromisoformat accepts a lower-case t, but no z (CPython 3.11 to 3.13).
        moment = datetime.fromisoformat(f"{text[:-1]}Z" if text[-1] == "z" else text)
        if moment.tzinfo is not UTC:
            moment = moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        is_outside = isinstance(error, OverflowError) or text.startswith("0000")
        reason = "its year is outside 1 to 9999, as written or in UTC" if is_outside else error
        raise ValueError(f"{text!r:.60} is not a time that a datetime can hold: {reason}") from error
    fraction = match[1]
    if fraction is not None and len(fraction) > 6 and (nanosecond := int(fraction[6:9].ljust(3, "0"))):
        return _with_nanosecond(moment, nanosecond)
    return moment


def are_canonical(texts: Sequence[str]) -> bool:
    """Return whether the kernel would write each timestamp exactly so: `parse_canonical` reads these."""
    joined = "\n".join(texts)
    # fromisoformat accepts other forms too, and an hour of 24 since CPython 3.13.
    if not _KERNEL_FORMS.issuperset(joined.translate(_DIGITS).split("\n")) or "T24" in joined:
        return False
    try:
        deque(map(datetime.fromisoformat, texts), maxlen=0)
    except ValueError:
        return False
    return True


def parse_canonical(text: str) -> datetime:
    """Read a timestamp that `are_canonical` accepts, as `parse` does."""
    moment = datetime.fromisoformat(text)
    nanosecond = int(text[_TO_THE_MICROSECOND:-1] or 0)
    return _with_nanosecond(moment, nanosecond) if nanosecond else moment


def render(moment: datetime) -> str:
    """Return *moment* as the kernel writes it.

    Raises:
        ValueError: If it has no time zone.
        OverflowError: If it is outside the years 1 to 9999 in UTC.
    """
    if moment.tzinfo is not UTC:
        if moment.utcoffset() is None:
            raise ValueError(f"{moment!r} has no time zone")
        nanosecond = _nanosecond(moment)
        moment = moment.astimezone(UTC)
    else:
        nanosecond = _nanosecond(moment)
    microsecond = moment.microsecond
    if nanosecond:
        return f"{moment.isoformat(timespec='microseconds')[:-6]}{nanosecond:03}Z"
    if not microsecond:
        return f"{moment.isoformat(timespec='seconds')[:-6]}Z"
    return f"{moment.isoformat(timespec='microseconds' if microsecond % 1000 else 'milliseconds')[:-6]}Z"


def nanoseconds(moment: datetime) -> int:
    """Return the nanoseconds since 1970, a key to sort by."""
    since = moment - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 10**6 + since.microseconds) * 1000 + _nanosecond(moment)


def is_exact(moment: datetime) -> bool:
    """Return whether parsing what `render` writes returns an equal object of the same type."""
    kind = Timestamp if _nanosecond(moment) else datetime
    return type(moment) is kind and moment.tzinfo is UTC and not moment.fold


def _nanosecond(moment: object) -> int:
    return moment.nanosecond if isinstance(moment, Timestamp) else 0


def _with_nanosecond(moment: datetime, nanosecond: int) -> Timestamp:
    # From the pickled form: a third of the time of passing every argument.
    timestamp: Timestamp = datetime.__new__(Timestamp, *moment.__reduce__()[1])
    _set_nanosecond(timestamp, nanosecond)
    return timestamp
