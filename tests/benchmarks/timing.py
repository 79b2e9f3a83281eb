"""Times and their medians, and the rows of the table that compares them.

The compared kinds of work take turns, A B C A B C, in one process and one directory, so that a machine that is busy for
a while slows all of them. The garbage collector keeps its settings.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

_T = TypeVar("_T")


class Stopwatch:
    """The times of several kinds of work that take turns."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)

    def time(self, name: str, work: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
        """Do the work, record its time, and return its result."""
        start = time.perf_counter()
        result = work(*arguments, **options)
        self.times[name].append(time.perf_counter() - start)
        return result

    def median(self, name: str) -> float:
        """Return the median of a kind's times, in seconds."""
        return statistics.median(self.times[name])

    def row(self, work: str, against: str, goal: float | None = None, *, ours: str = "ours") -> Row:
        """Compare our time with another's."""
        mine, other = self.median(ours), self.median(against)
        return Row(work, duration(mine), f"{against}: {duration(other)}", mine / other, goal)


class Row(NamedTuple):
    """A row of the table: a ratio, or a figure with a *unit*, and the goal as its upper or lower limit."""

    work: str
    measured: str
    against: str
    value: float
    goal: float | None = None
    unit: str = ""
    at_least: bool = False

    def cells(self) -> list[str]:
        """Return the row's cells as text."""
        if self.goal is None:
            return [self.work, self.measured, self.against, self._text(self.value), "", ""]
        met = self.value >= self.goal if self.at_least else self.value <= self.goal
        goal = ("≥ " if self.at_least else "≤ ") + f"{self.goal:g}{self.unit}"
        return [self.work, self.measured, self.against, self._text(self.value), goal, "yes" if met else "NO"]

    def _text(self, value: float) -> str:
        return f"{value:.0f}{self.unit}" if abs(value) >= 100 else f"{value:.2f}{self.unit}"


UNITS = [("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)]
HEADINGS = ["work", "measured", "against", "ratio", "goal", "met"]


def table(rows: list[Row]) -> str:
    """Return the rows as a markdown table that is also readable as text."""
    cells = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Return a time as text with three digits."""
    unit, scale = next(((unit, scale) for unit, scale in UNITS if seconds >= scale * 0.9995), UNITS[-1])
    return f"{seconds / scale:.3g} {unit}"


def child(script: str, *arguments: object) -> Any:
    """Run a script of this directory in a new process, and return the value that it prints as JSON."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
