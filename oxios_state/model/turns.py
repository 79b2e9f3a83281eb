"""Turns: which messages, tool calls and responses of a session belong together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs

from oxios_state.model.records import AgentResponse, TrajectoryStepRecord, UserMessage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oxios_state.model.session import Session


@attrs.frozen
class Turn:
    """A message, the response to it, and the tool calls that led there.

    Attributes:
        message: What the user said; None if the response, or the tool calls, came unasked.
        response: What the agent answered; None if it did not.
        steps: The tool calls, in order.
    """

    message: UserMessage | None = None
    response: AgentResponse | None = None
    steps: tuple[TrajectoryStepRecord, ...] = ()

    @property
    def started(self) -> datetime | None:
        """The earliest timestamp of its records; None if it has none."""
        return min(self._timestamps(), key=_comparable, default=None)

    @property
    def ended(self) -> datetime | None:
        """The latest timestamp of its records, a tool call's being that of its start; None if it has none."""
        return max(self._timestamps(), key=_comparable, default=None)

    @property
    def failed_steps(self) -> tuple[TrajectoryStepRecord, ...]:
        """The tool calls that failed, in order."""
        return tuple(step for step in self.steps if step.is_error)

    def _timestamps(self) -> Iterator[datetime]:
        for record in (self.message, *self.steps, self.response):
            if record is not None:
                yield record.timestamp


def turns_of(session: Session) -> list[Turn]:
    """Gather a session's records in turns, as `Session.turns` says."""
    turns: list[Turn] = []
    message: UserMessage | None = None
    steps: list[TrajectoryStepRecord] = []
    for record in _in_order(session):
        if isinstance(record, TrajectoryStepRecord):
            steps.append(record)
        elif isinstance(record, AgentResponse):
            turns.append(Turn(message, record, tuple(steps)))
            message, steps = None, []
        else:
            if message is not None:
                turns.append(Turn(message, None, tuple(steps)))
                steps = []
            message = record
    if message is not None or steps:
        turns.append(Turn(message, None, tuple(steps)))
    return turns


def _in_order(session: Session) -> Iterator[UserMessage | TrajectoryStepRecord | AgentResponse]:
    """Merge the three lists by time, linearly: of the first records that are left in each, take the first, and so on.

    When the clock was set back, times before that and after it say nothing about each other. So what is not earlier
    than the record before comes first, and what is earlier when there is nothing else. A tool call may be earlier
    without that, as it may begin before the call before it in the list, and end after it: unless the next message is
    earlier too, it is taken at once.
    """
    messages, steps, responses = session.user_messages, session.trajectory_steps, session.agent_responses
    asked_at, stepped_at, answered_at = _times(messages), _times(steps), _times(responses)
    claims = _claims(responses, len(steps))
    claim = next(claims, None)
    m = s = r = 0
    last = datetime.min.replace(tzinfo=UTC)  # the time of the record before
    asked = False  # whether the turn at hand has its message
    while True:
        # At the same time come a message, its steps, its response, and then the next message.
        heads = []
        if m < len(messages):
            heads.append((asked_at[m] < last, asked_at[m], 3 if asked else 0))
        if r < len(responses):
            heads.append((answered_at[r] < last, answered_at[r], 2))
        if s < len(steps) and (claim is None or s < claim[1]):
            time = stepped_at[s]
            if not (m < len(messages) and asked_at[m] < last):
                time = max(time, last)
            heads.append((time < last, time, 1))
        if not heads:
            return
        _, last, kind = min(heads)
        if kind == 1:
            yield steps[s]
            s += 1
        elif kind == 2:
            if claim is not None and claim[0] == r:
                yield from steps[s : claim[2]]
                s, claim = claim[2], next(claims, None)
            yield responses[r]
            r, asked = r + 1, False
        else:
            yield messages[m]
            m, asked = m + 1, True


def _claims(responses: Sequence[AgentResponse], count: int) -> Iterator[tuple[int, int, int]]:
    """Give the indices of the responses that say which steps were theirs, and of the first and behind the last of them.

    Newer kernels write ``trajectory_range`` as an object with ``start`` and an exclusive ``end``, if there were any.
    """
    reached = 0
    for index, response in enumerate(responses):
        said = response.extra.get("trajectory_range")
        bounds = [said.get("start"), said.get("end")] if isinstance(said, dict) else said
        if not isinstance(bounds, list) or [type(bound) for bound in bounds] != [int, int]:
            continue
        start, end = bounds
        if reached <= start < end <= count:
            yield index, start, end
            reached = end


def _times(records: Sequence[UserMessage | TrajectoryStepRecord | AgentResponse]) -> list[datetime]:
    return [_comparable(record.timestamp) for record in records]


def _comparable(moment: datetime) -> datetime:
    """Give a moment that can be compared with all others: one without a time zone counts as UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None or moment.utcoffset() is None else moment
