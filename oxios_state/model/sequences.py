"""Lists that show themselves: the summaries of sessions, and the tool calls of one."""

from __future__ import annotations

from collections.abc import Sequence
from operator import eq
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from oxios_state.model.display import display

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxios_state.model.records import TrajectoryStepRecord
    from oxios_state.model.session import SessionSummary


class SessionList(list["SessionSummary"]):
    """A list of summaries that shows itself as a table, in a notebook and in a terminal. A slice of it is one too."""

    __slots__ = ()

    @overload
    def __getitem__(self, index: SupportsIndex) -> SessionSummary: ...
    @overload
    def __getitem__(self, index: slice) -> SessionList: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        return SessionList(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)

    def __repr__(self) -> str:
        return display(self, "text")

    def _repr_html_(self) -> str:
        return display(self, "html")


class Trajectory(Sequence["TrajectoryStepRecord"]):
    """Tool calls, to be read only. It shows itself as a timeline in a notebook, and as a table in a terminal.

    It is a view: what is appended to the list it was made of is seen here too. A slice of it is one of its own. It is
    equal to a list of the same calls.

    Args:
        steps: The tool calls, in order.
    """

    __slots__ = ("_steps",)

    def __init__(self, steps: Sequence[TrajectoryStepRecord] = ()) -> None:
        self._steps = steps

    @overload
    def __getitem__(self, index: int) -> TrajectoryStepRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Trajectory: ...
    def __getitem__(self, index: int | slice) -> Any:
        return Trajectory(self._steps[index]) if isinstance(index, slice) else self._steps[index]

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[TrajectoryStepRecord]:
        return iter(self._steps)  # that of Sequence asks for one item after the other

    def __eq__(self, other: object) -> bool:
        if isinstance(other, list | Trajectory):
            return len(self) == len(other) and all(map(eq, self, other))
        return NotImplemented

    def __repr__(self) -> str:
        return display(self, "text")

    def _repr_html_(self) -> str:
        return display(self, "html")
