"""Retention: the rules by which sessions are removed, and a throttle that decides when to prune. No I/O."""

import math
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from attrs import field

from oxios_state.model import timestamps
from oxios_state.model.validators import check_number, count
from oxios_state.storage import forks

if TYPE_CHECKING:
    from oxios_state.model.summary import SessionSummary

_HOUR = timedelta(hours=1)


def choose(
    summaries: "Iterable[SessionSummary]",
    config: "PruneConfig",
    now: datetime,
    keep: "Callable[[SessionSummary], object] | None" = None,
    latest: str | None = None,
) -> "list[SessionSummary]":
    """Return the summaries of the sessions to remove, the oldest first.

    Args:
        summaries: The existing sessions, the latest first.
        config: The rules.
        now: The time, with a time zone.
        keep: A predicate: a session that it accepts stays and does not count.
        latest: The id of a session that counts as the latest, whatever its time. It stays.
    """
    candidates = [summary for summary in summaries if keep is None or not keep(summary)]
    if latest is not None:
        candidates.sort(key=lambda summary: summary.id != latest)  # stable: the others keep their order
    stay = config.max_sessions or len(candidates)
    if config.ttl_hours:
        fresh = sum(summary.id == latest or not is_too_old(summary, config, now) for summary in candidates)
        stay = min(stay, fresh)  # the fresh ones come first
    return candidates[stay:][::-1]


def is_too_old(summary: "SessionSummary", config: "PruneConfig", now: datetime) -> bool:
    """Return whether a session is older than the rule of age allows, where there is one."""
    return config.ttl_hours > 0 and (now - summary.updated_at) / _HOUR > config.ttl_hours


def time_of(now: datetime | None) -> datetime:
    """Return the time of a prune: *now*, or the current time.

    Raises:
        TypeError: If *now* is neither a datetime nor None.
        ValueError: If *now* has no time zone.
    """
    if now is None:
        return timestamps.now()
    if not isinstance(now, datetime):
        raise TypeError(f"now must be datetime or None, not {type(now).__name__}")
    if now.utcoffset() is None:
        raise ValueError(f"now must have a time zone: {now!r}")
    return now


def _hours(_: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if check_number(f"'{attribute.name}'", value) == math.inf:
        raise ValueError(f"'{attribute.name}' must be finite: {value!r}")


_UNNAMED: Any = attrs.NOTHING  # not None, which callers may pass for "no limit": that must not mean the default rules


@attrs.frozen(init=False)
class PruneConfig:
    """Which sessions `StateStore.prune` removes: the too old ones, the too many ones, or both.

    ``PruneConfig()`` has the kernel's two rules. If you name one rule, the other is off. 0 switches a rule off.
    ``attrs.evolve`` changes one rule and keeps the other.

    Args:
        max_sessions: How many sessions stay, the latest; 100 if you name no rule.
        ttl_hours: How long a session stays after its last change, in hours; 168 if you name no rule.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If an argument is negative or not finite.

    Example:
        >>> PruneConfig()
        PruneConfig(max_sessions=100, ttl_hours=168)
        >>> PruneConfig(max_sessions=298)
        PruneConfig(max_sessions=298, ttl_hours=0)
        >>> PruneConfig(ttl_hours=24)
        PruneConfig(max_sessions=0, ttl_hours=24)
    """

    __module__ = "oxios_state"

    max_sessions: int = field(default=100, validator=count)
    ttl_hours: float = field(default=168, validator=_hours)

    def __init__(self, max_sessions: int = _UNNAMED, ttl_hours: float = _UNNAMED) -> None:
        rules: dict[str, Any] = {"max_sessions": max_sessions, "ttl_hours": ttl_hours}
        named = {name: value for name, value in rules.items() if value is not _UNNAMED}
        self.__attrs_init__(**(dict.fromkeys(rules, 0) | named if named else {}))


class PruneThrottle:
    """Lets one caller prune per cooldown, however many threads ask. Share one between the threads of a process.

    A copy, or what another process unpickles, counts for itself: it allows a prune at once.

    Args:
        cooldown: The least time between two prunes, in seconds or as a `datetime.timedelta`.
        clock: Returns the time in seconds and never decreases. For tests.

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
        return partial(type(self), clock=self._clock), (self._cooldown,)  # a lock cannot be pickled

    def _reset(self) -> None:
        # Without it, two threads could both see the old _last. Re-entrant for a signal handler, which runs in the
        # thread that it interrupts.
        self._lock = threading.RLock()

    def should_prune(self) -> bool:
        """Return whether to prune now: true the first time, and then at most once per cooldown."""
        with self._lock:
            now = self._clock()
            if now - self._last < self._cooldown:
                return False
            self._last = now
            return True
