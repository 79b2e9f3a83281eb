"""Retention: the rules by which sessions are removed, and a throttle that decides when to prune. No I/O."""

import math
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import attrs
from attrs import field

from oxios_state.model.summary import SessionSummary
from oxios_state.model.validators import check_number, count
from oxios_state.storage import forks

_HOUR = timedelta(hours=1)


def choose(
    summaries: Iterable[SessionSummary],
    config: "PruneConfig",
    now: datetime,
    keep: Callable[[SessionSummary], object] | None = None,
) -> list[SessionSummary]:
    """Return the summaries of the sessions to remove, the oldest first.

    Args:
        summaries: The existing sessions, the latest first.
        config: The rules.
        now: The time, with a time zone.
        keep: A predicate: a session that it accepts stays and does not count.
    """
    candidates = [summary for summary in summaries if keep is None or not keep(summary)]
    stay = config.max_sessions or len(candidates)
    if config.ttl_hours:
        fresh = sum((now - summary.updated_at) / _HOUR <= config.ttl_hours for summary in candidates)
        stay = min(stay, fresh)  # the fresh ones come first
    return candidates[stay:][::-1]


def _hours(_: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if check_number(f"'{attribute.name}'", value) == math.inf:
        raise ValueError(f"'{attribute.name}' must be finite: {value!r}")


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

    __module__ = "oxios_state"

    max_sessions: int = field(default=100, validator=count)
    ttl_hours: float = field(default=168, validator=_hours)


class PruneThrottle:
    """Lets one caller prune per cooldown, however many threads ask. Share one between the threads of a process.

    A copy, and one that is unpickled in another process, starts afresh: it lets its first caller prune.

    Args:
        cooldown: The least time between two prunes, in seconds or as a `datetime.timedelta`.
        clock: Returns the time in seconds and never goes back. For tests.

    Raises:
        TypeError: If *cooldown* is neither a number nor a timedelta.
        ValueError: If *cooldown* is negative or not a number.

    Example:
        >>> throttle = PruneThrottle(timedelta(hours=1))
        >>> throttle.should_prune(), throttle.should_prune()
        (True, False)
    """

    __module__ = "oxios_state"

    def __init__(self, cooldown: float | timedelta, *, clock: Callable[[], float] = time.monotonic) -> None:
        seconds = cooldown.total_seconds() if isinstance(cooldown, timedelta) else cooldown
        self._cooldown = check_number("cooldown", seconds)
        self._clock = clock
        self._last = -math.inf
        self._reset()
        forks.reset_in_children(self, PruneThrottle._reset)

    def __repr__(self) -> str:
        return f"PruneThrottle({self._cooldown!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(PruneThrottle, clock=self._clock), (self._cooldown,)

    def _reset(self) -> None:
        self._lock = threading.Lock()  # or two threads that ask at once could both see the old _last

    def should_prune(self) -> bool:
        """Return whether to prune now: true the first time, and then at most once per cooldown."""
        with self._lock:
            now = self._clock()
            if now - self._last < self._cooldown:
                return False
            self._last = now
            return True
