"""Which of the sessions are asked for: told from their summaries, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxios_state.sessions.filters import understand

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from oxios_state.model.session import SessionSummary


class SessionFilter:
    """What is asked of sessions; None asks nothing. `StateStore.list_sessions` says what each means.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a bound is not understood.
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
        self._after = None if updated_after is None else understand(updated_after)
        self._before = None if updated_before is None else understand(updated_before)

    def passes(self, summary: SessionSummary) -> bool:
        """Say whether a session is one that is asked for."""
        return (
            (self._user_id is None or summary.user_id == self._user_id)
            and (self._project_id is None or summary.project_id == self._project_id)
            and (self._after is None or summary.updated_at >= self._after)
            and (self._before is None or summary.updated_at < self._before)
        )

    def choose(self, summaries: Iterable[SessionSummary]) -> list[SessionSummary]:
        """Give those that are asked for, in their order."""
        return list(filter(self.passes, summaries))


def checked_limit(limit: int | None) -> int | None:
    """Give *limit* if it is one: how many are asked for, at most.

    Raises:
        TypeError: If it is neither an int nor None.
        ValueError: If it is negative.
    """
    if limit is not None and type(limit) is not int:
        raise TypeError(f"limit must be int or None, not {type(limit).__name__}")
    if limit is not None and limit < 0:
        raise ValueError(f"limit must not be negative: {limit}")
    return limit
