"""The tool calls of a session: recording one while it runs, and a view of them all."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import eq
from typing import Any, overload
from uuid import uuid4

import attrs

from oxios_state.model import timestamps
from oxios_state.model.display import display
from oxios_state.model.records import TrajectoryStepRecord

_SUMMARY_LENGTH = 500  # characters, as the kernel keeps them


class Trajectory(Sequence[TrajectoryStepRecord]):
    """A read-only view of tool calls. A notebook shows it as a timeline, a terminal as a table.

    Calls that are appended to the underlying list appear here too. A slice is a view of its own. A trajectory equals a
    list of the same calls.

    Args:
        steps: The tool calls, in order.
    """

    __module__ = "oxios_state"
    __slots__ = ("_steps",)

    def __init__(self, steps: Sequence[TrajectoryStepRecord] = ()) -> None:
        self._steps = steps

    @overload
    def __getitem__(self, index: int) -> TrajectoryStepRecord: ...
    @overload
    def __getitem__(self, index: slice) -> "Trajectory": ...
    def __getitem__(self, index: int | slice) -> Any:
        return Trajectory(self._steps[index]) if isinstance(index, slice) else self._steps[index]

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[TrajectoryStepRecord]:
        return iter(self._steps)  # Sequence's own asks for one index after another

    def __eq__(self, other: object) -> bool:
        if isinstance(other, list | Trajectory):
            return len(self) == len(other) and all(map(eq, self, other))
        return NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._steps,)  # pickle's oldest protocols refuse slots

    def __repr__(self) -> str:
        return display(self, "text")

    def _repr_html_(self) -> str:
        return display(self, "html")


class RunningStep:
    """A running tool call: `Session.step` yields it, for the block to set its outcome.

    Attributes:
        output: The tool's output: the record keeps the first 500 characters of its text. None, the initial value, is
            recorded as an empty text.
        is_error: Whether the tool failed. An exception that leaves the block is recorded as a failure anyway.
    """

    __module__ = "oxios_state"
    __slots__ = ("_tool_call_id", "is_error", "output")  # a misspelt attribute is an error

    def __init__(self, tool_call_id: str) -> None:
        self.output: Any = None
        self.is_error = False
        self._tool_call_id = tool_call_id

    @property
    def tool_call_id(self) -> str:
        """The id of the call."""
        return self._tool_call_id


@contextmanager
def record_step(
    append: Callable[[TrajectoryStepRecord], object],
    tool_name: str,
    tool_args: Any,
    tool_call_id: str | None,
    clock: Callable[[], float],
) -> Iterator[RunningStep]:
    """Record the tool call that the block makes, as `Session.step` documents it, and *append* the record."""
    call_id = str(uuid4()) if tool_call_id is None else tool_call_id
    # The record copies the arguments, which the tool may change.
    started = TrajectoryStepRecord(tool_name, tool_args, tool_call_id=call_id, timestamp=timestamps.now())
    step = RunningStep(call_id)
    start = clock()
    failure: BaseException | None = None
    try:
        yield step
    except BaseException as error:
        failure = error
        raise
    finally:
        seconds = max(clock() - start, 0)
        record = attrs.evolve(
            started,
            output_summary=_summary(step.output) if failure is None else _failure_summary(failure),
            duration_ms=round(seconds * 1000),
            is_error=failure is not None or bool(step.is_error),
        )
        append(record)


def _failure_summary(error: BaseException) -> str:
    kind, text = type(error).__name__, _summary(error)
    return _cut(f"{kind}: {text}" if text else kind)


def _summary(value: object) -> str:
    try:
        return "" if value is None else _cut(str(value))
    except Exception:  # the tool ran: whatever its output's __str__ raises, the call is recorded
        return f"<{type(value).__name__} without a text>"


def _cut(text: str) -> str:
    """Return the beginning of a text, with escapes for lone surrogates, which saving refuses."""
    return text[:_SUMMARY_LENGTH].encode(errors="backslashreplace").decode()[:_SUMMARY_LENGTH]
