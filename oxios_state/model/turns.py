"""Turns: which messages, tool calls and responses of a session belong together."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import attrs

from oxios_state.model.records import AgentResponse, TrajectoryStepRecord, UserMessage

_Record = UserMessage | TrajectoryStepRecord | AgentResponse


@attrs.frozen
class Turn:
    """A user message, the response to it, and the tool calls that led there.

    Attributes:
        message: The user message; None if the response or the tool calls came without one.
        response: The response; None if there was none.
        steps: The tool calls, in order.
    """

    __module__ = "oxios_state"

    message: UserMessage | None = None
    response: AgentResponse | None = None
    steps: tuple[TrajectoryStepRecord, ...] = ()

    @property
    def started(self) -> datetime | None:
        """The earliest timestamp of its records; None if it has no records."""
        return min(self._timestamps(), key=_comparable, default=None)

    @property
    def ended(self) -> datetime | None:
        """The latest timestamp of its records; None if it has no records. A tool call's is that of its start."""
        return max(self._timestamps(), key=_comparable, default=None)

    @property
    def failed_steps(self) -> tuple[TrajectoryStepRecord, ...]:
        """The tool calls that failed, in order."""
        return tuple(step for step in self.steps if step.is_error)

    def _timestamps(self) -> Iterator[datetime]:
        for record in (self.message, *self.steps, self.response):
            if record is not None:
                yield record.timestamp


def turns_of(
    messages: Sequence[UserMessage], steps: Sequence[TrajectoryStepRecord], responses: Sequence[AgentResponse]
) -> list[Turn]:
    """Group a session's records into turns, as `Session.turns` documents it."""
    turns: list[Turn] = []
    message: UserMessage | None = None
    own_steps: list[TrajectoryStepRecord] = []
    for record in _merged(messages, steps, responses):
        if isinstance(record, TrajectoryStepRecord):
            own_steps.append(record)
        elif isinstance(record, AgentResponse):
            turns.append(Turn(message, record, tuple(own_steps)))
            message, own_steps = None, []
        else:
            if message is not None:
                turns.append(Turn(message, None, tuple(own_steps)))
                own_steps = []
            message = record
    if message is not None or own_steps:
        turns.append(Turn(message, None, tuple(own_steps)))
    return turns


def _merged(
    messages: Sequence[UserMessage], steps: Sequence[TrajectoryStepRecord], responses: Sequence[AgentResponse]
) -> Iterator[_Record]:
    """Merge the three lists by time, in linear time: repeatedly take the earliest of their first remaining records.

    After the clock was set back, times before and after that cannot be compared. So a record that is not earlier than
    the one before it comes first; earlier ones follow when there is nothing else. A tool call is an exception: it may
    begin before the call before it in the list and end after it, so an earlier one is taken at once, unless the next
    message is earlier too.
    """
    message_times, step_times, response_times = _times(messages), _times(steps), _times(responses)
    ranges = _ranges(responses, len(steps))
    own_range = next(ranges, None)
    m = s = r = 0
    last = datetime.min.replace(tzinfo=UTC)  # the time of the record before
    has_message = False  # of the current turn
    while True:
        # At the same time come a message, its steps, its response, and then the next message.
        heads = []
        if m < len(messages):
            heads.append((message_times[m] < last, message_times[m], 3 if has_message else 0))
        if r < len(responses):
            heads.append((response_times[r] < last, response_times[r], 2))
        if s < len(steps) and (own_range is None or s < own_range[1]):
            time = step_times[s]
            if not (m < len(messages) and message_times[m] < last):
                time = max(time, last)
            heads.append((time < last, time, 1))
        if not heads:
            return
        _, last, kind = min(heads)
        if kind == 1:
            yield steps[s]
            s += 1
        elif kind == 2:
            if own_range is not None and own_range[0] == r:
                yield from steps[s : own_range[2]]
                s, own_range = own_range[2], next(ranges, None)
            yield responses[r]
            r, has_message = r + 1, False
        else:
            yield messages[m]
            m, has_message = m + 1, True


def _ranges(responses: Sequence[AgentResponse], count: int) -> Iterator[tuple[int, int, int]]:
    """Yield the indexes of the responses with a valid range of tool calls, and the start and end of that range.

    Newer kernels write ``trajectory_range`` as an object with ``start`` and an exclusive ``end``, if there were any.
    """
    previous_end = 0
    for index, response in enumerate(responses):
        value = response.extra.get("trajectory_range")
        bounds = [value.get("start"), value.get("end")] if isinstance(value, dict) else value
        if not isinstance(bounds, list) or [type(bound) for bound in bounds] != [int, int]:
            continue
        start, end = bounds
        if previous_end <= start < end <= count:
            yield index, start, end
            previous_end = end


def _times(records: Sequence[_Record]) -> list[datetime]:
    return [_comparable(record.timestamp) for record in records]


def _comparable(moment: datetime) -> datetime:
    """Return a datetime that can be compared with any other: one without a time zone counts as UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None or moment.utcoffset() is None else moment
