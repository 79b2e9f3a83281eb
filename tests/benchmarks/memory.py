"""Memory of listing 1,000 sessions for the first time, relative to loading the largest of them alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from listing import SESSIONS, alike, forget
from timing import Row, child
from work import Writer, fill, put, size

LARGEST = 2800  # turns: about 10 MB


def peak(base: Path, measure: str, repetitions: int, *session_ids: str) -> float:
    """Return the median peak of several processes, each without a cache of the sessions."""
    peaks: list[int] = []
    for _ in range(repetitions):
        forget(base)
        peaks.append(child("peak.py", base, measure, *session_ids))
    return statistics.median(peaks)


def rows(base: Path, *, quick: bool) -> Iterator[Row]:
    """Compare with sessions of one size, and with one much larger session."""
    put(base, "warm", Writer(9).document("warm", 1))
    fill(base, SESSIONS, alike())
    listed, loaded = (peak(base, "traced", 1, *session_ids) for session_ids in ([], ["s-0"]))
    work = f"list {SESSIONS} sessions of 73 KB, the first time: peak of memory, traced"  # includes 1,000 summaries
    yield Row(work, size(listed), f"loading one: {size(loaded)}", listed / loaded)
    put(base, "huge", Writer(10).document("huge", LARGEST))
    for measure, repetitions in (("traced", 1), ("resident", 2 if quick else 5)):
        listed, loaded = (peak(base, measure, repetitions, *session_ids) for session_ids in ([], ["huge"]))
        work = f"list {SESSIONS} sessions of 73 KB and one of 10 MB, the first time: peak of memory, {measure}"
        yield Row(work, size(listed), f"loading the largest: {size(loaded)}", listed / loaded, 1.25)
