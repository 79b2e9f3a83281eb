"""Threads that edit a session of 73 KB each, or all the same one, against one thread."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from timing import Row, duration
from work import SMALL, Writer, put

from oxios_state import StateStore


class Run(NamedTuple):
    """The edits of threads in some seconds."""

    rate: float  # edits in a second, of all threads together
    longest: float  # seconds that one edit took, waiting included
    fair: float  # seconds that an edit takes if all threads get the same share

    def shares(self) -> float:
        """Return the longest edit in fair shares."""
        return self.longest / self.fair


def run(base: Path, threads: int, seconds: float, *, shared: bool) -> Run:
    """Edit from threads as fast as possible. An edit changes a counter, so that sessions keep their size."""
    store = StateStore(base, durable=False, lock_timeout=120)
    times: list[list[float]] = [[] for _ in range(threads)]
    ready = threading.Barrier(threads + 1)

    def edit(number: int) -> None:
        session_id = "edited-0" if shared else f"edited-{number}"
        count(store, session_id)
        ready.wait()
        while (start := time.perf_counter()) < end:
            count(store, session_id)
            times[number].append(time.perf_counter() - start)

    crowd = [threading.Thread(target=edit, args=[number]) for number in range(threads)]
    for thread in crowd:
        thread.start()
    end = time.perf_counter() + 3600  # until all are ready
    ready.wait()
    begin = time.perf_counter()
    end = begin + seconds
    for thread in crowd:
        thread.join()
    elapsed = time.perf_counter() - begin
    edits = sum(map(len, times))
    return Run(edits / elapsed, max(map(max, filter(None, times))), elapsed * threads / edits)


def count(store: StateStore, session_id: str) -> None:
    """Edit a session without making it longer."""
    with store.edit_session(session_id) as session:
        session.set_metadata("count", session.get_metadata("count", 0) + 1)


def rows(base: Path, *, quick: bool) -> Iterator[Row]:
    """Compare eight threads with one."""
    writer = Writer(7)
    for number in range(8):
        put(base, f"edited-{number}", writer.document(f"edited-{number}", SMALL))
    rounds, seconds = (4, 0.5) if quick else (20, 0.5)  # short ones, as a machine's mood lasts some seconds
    kinds = {"one": (1, True), "its own": (8, False), "the same": (8, True)}
    runs: dict[str, list[Run]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, (threads, shared) in kinds.items():
            runs[kind].append(run(base, threads, seconds, shared=shared))
    rates = {kind: statistics.median(each.rate for each in runs[kind]) for kind in kinds}
    alone = max(each.longest for each in runs["one"])  # the longest stop by the machine alone
    for kind in ("its own", "the same"):
        work = f"8 threads, each editing {kind} session of 73 KB"
        against = f"one thread: {rates['one']:.0f}/s"
        # Of each round by itself: its parts follow each other closely.
        ratio = statistics.median(many.rate / one.rate for many, one in zip(runs[kind], runs["one"], strict=True))
        yield Row(f"{work}: throughput", f"{rates[kind]:.0f}/s", against, ratio, 0.9, at_least=True)
        for what, choose in (("of all rounds", max), ("of a round, median", _middle)):
            chosen = choose(runs[kind], key=Run.shares)
            against = f"a fair share: {duration(chosen.fair)} (one thread alone waits up to {duration(alone)})"
            yield Row(f"{work}: longest {what}", duration(chosen.longest), against, chosen.shares(), 3)


def _middle(runs: list[Run], key: Callable[[Run], float]) -> Run:
    return sorted(runs, key=key)[len(runs) // 2]
