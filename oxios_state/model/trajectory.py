"""Recording a tool call while it runs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import attrs

from oxios_state.model import timestamps
from oxios_state.model.records import TrajectoryStepRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oxios_state.model.session import Session

_LONGEST_SUMMARY = 500  # what the kernel keeps, in characters


class RunningStep:
    """A tool call that runs: what `Session.step` hands out, for the block to say what came of it.

    Attributes:
        output: What the tool gave: the record keeps the first 500 characters of its text. None, as it is at first, is
            no text.
        is_error: Whether the tool failed. An exception that leaves the block says so by itself.
    """

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
def recorded(
    session: Session, tool_name: str, tool_args: Any, tool_call_id: str | None, clock: Callable[[], float]
) -> Iterator[RunningStep]:
    """Record the tool call that runs in the block, as `Session.step` says."""
    call_id = str(uuid4()) if tool_call_id is None else tool_call_id
    # The record copies the arguments, which the tool may change.
    started = TrajectoryStepRecord(tool_name, tool_args, tool_call_id=call_id, timestamp=timestamps.now())
    step = RunningStep(call_id)
    begun = clock()
    failure: BaseException | None = None
    try:
        yield step
    except BaseException as error:
        failure = error
        raise
    finally:
        seconds = max(clock() - begun, 0)
        record = attrs.evolve(
            started,
            output_summary=_summary(step.output) if failure is None else _failure_summary(failure),
            duration_ms=round(seconds * 1000),
            is_error=failure is not None or bool(step.is_error),
        )
        session.extend_trajectory([record])


def _failure_summary(error: BaseException) -> str:
    kind, text = type(error).__name__, _summary(error)
    return _cut(f"{kind}: {text}" if text else kind)


def _summary(value: object) -> str:
    try:
        return "" if value is None else _cut(str(value))
    except Exception:  # the tool ran, and that is what is recorded
        return f"<{type(value).__name__} without a text>"


def _cut(text: str) -> str:
    """Cut a text, in which lone surrogates (of undecodable output) become escapes, as no session is saved with them."""
    return text[:_LONGEST_SUMMARY].encode(errors="backslashreplace").decode()[:_LONGEST_SUMMARY]
