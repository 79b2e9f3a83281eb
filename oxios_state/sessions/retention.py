"""Which sessions go, and when it is time to look: no I/O."""

from __future__ import annotations

import math
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs
from attrs import field
from attrs.validators import ge

from oxios_state.model.validators import is_int
from oxios_state.storage import forks as forking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from oxios_state.model.session import SessionSummary

_HOUR = timedelta(hours=1)


def choose(
    summaries: Iterable[SessionSummary],
    config: PruneConfig,
    now: datetime,
    keep: Callable[[SessionSummary], object] | None = None,
) -> list[SessionSummary]:
    """Choose the sessions to remove, the oldest first.

    Args:
        summaries: The sessions that there are, the latest first.
        config: The rules.
        now: The time, with a time zone.
        keep: What it returns true for stays and does not count.
    """
    candidates = [summary for summary in summaries if keep is None or not keep(summary)]
    stay = config.max_sessions or len(candidates)
    if config.ttl_hours:
        fresh = sum((now - summary.updated_at) / _HOUR <= config.ttl_hours for summary in candidates)
        stay = min(stay, fresh)  # the fresh ones come first
    return candidates[stay:][::-1]


def _is_hours(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if type(value) not in {int, float}:
        raise TypeError(f"'{attribute.name}' must be int or float, not {type(value).__name__}")
    if not 0 <= value < math.inf:
        raise ValueError(f"'{attribute.name}' must be finite and not negative: {value}")


@attrs.frozen
class PruneConfig:
    """Which sessions `StateStore.prune` removes; 0 switches a rule off.

    Attributes:
        max_sessions: How many sessions stay, the latest.
        ttl_hours: How long a session stays after its last change, in hours.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If an argument is negative or not finite.
    """

    max_sessions: int = field(default=100, validator=[is_int, ge(0)])
    ttl_hours: float = field(default=168, validator=_is_hours)


class PruneThrottle:
    """Lets one caller in a while prune, however many threads ask. Share one between the threads of a process.

    Args:
        cooldown: The least time between two prunes, in seconds or as a `datetime.timedelta`.
        clock: Gives the time in seconds; it never goes back. For tests.

    Raises:
        TypeError: If *cooldown* is neither a number nor a timedelta.
        ValueError: If *cooldown* is negative or not a number.

    Example:
        >>> throttle = PruneThrottle(timedelta(hours=1))
        >>> throttle.should_prune(), throttle.should_prune()
        (True, False)
    """

    def __init__(self, cooldown: float | timedelta, *, clock: Callable[[], float] = time.monotonic) -> None:
        seconds = cooldown.total_seconds() if isinstance(cooldown, timedelta) else cooldown
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TypeError(f"a cooldown is a number of seconds or a timedelta, not {type(cooldown).__name__}")
        if not seconds >= 0:
            raise ValueError(f"a cooldown must not be negative: {cooldown!r}")
        self._cooldown = seconds
        self._clock = clock
        self._last = -math.inf
        self._start_afresh()
        forking.in_children(self, PruneThrottle._start_afresh)

    def __repr__(self) -> str:
        return f"PruneThrottle({self._cooldown!r})"

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()  # of those who ask in the same instant, one may see the old _last

    def should_prune(self) -> bool:
        """Say whether it is time: true the first time and then at most once per cooldown."""
        with self._lock:
            now = self._clock()
            if now - self._last < self._cooldown:
                return False
            self._last = now
            return True
