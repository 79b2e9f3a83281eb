"""Listing 1,000 sessions of 73 KB: for the first time, in a new process, again, and with one of them changed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from timing import Row, Stopwatch, child, duration
from work import SETTLED, SMALL, Writer, fill, put

from oxios_state import StateStore

SESSIONS = 1000


def alike() -> list[bytes]:
    """Make documents of 73 KB: enough of them that no cache of the processor helps."""
    writer = Writer(4)
    return [writer.document("alike", SMALL) for _ in range(50)]


def forget(base: Path) -> None:
    """Delete what the library keeps beside the sessions: nothing needs it, as it says."""
    shutil.rmtree(base / ".oxios_state", ignore_errors=True)


def scan(directory: Path) -> int:
    """Look at each entry of a directory: what it takes to know that nothing was changed."""
    with os.scandir(directory) as entries:
        return sum(entry.stat().st_size for entry in entries)


def parse(directory: Path, engine: str) -> int:
    """Read and parse each file, as the kernel does to list its sessions."""
    loads = import_module(engine).loads
    return sum(len(loads(path.read_bytes())["user_messages"]) for path in directory.iterdir())


def first(base: Path, watch: Stopwatch, repetitions: int) -> None:
    """List in new processes that find no trace of an earlier one, and parse all files."""
    for _ in range(repetitions):
        forget(base)
        watch.times["first time"].append(child("list_once.py", base)["call"])
        for engine in ("orjson", "json"):
            watch.time(f"{engine}.loads of each", parse, base / "sessions", engine)


def new_process(base: Path, watch: Stopwatch, repetitions: int) -> None:
    """List in new processes, after an earlier one did."""
    for _ in range(repetitions):
        seconds = child("list_once.py", base)
        watch.times["new process"].append(seconds["call"])
        watch.times["import"].append(seconds["import"])


def again(base: Path, watch: Stopwatch, repetitions: int) -> None:
    """List again in this process."""
    store = StateStore(base)
    assert len(store.list_sessions()) == len(os.listdir(base / "sessions"))
    for _ in range(repetitions):
        watch.time("again", store.list_sessions)
        watch.time("scandir and stat", scan, base / "sessions")


def one_changed(base: Path, watch: Stopwatch, repetitions: int) -> None:
    """List after one session was changed, and list without a change and load that one session."""
    store, writer = StateStore(base), Writer(5)
    for number in range(repetitions):
        session_id = f"s-{number}"
        time.sleep(SETTLED)  # until the last change is settled
        store.list_sessions()

        def list_and_load(session_id: str) -> None:
            store.list_sessions()
            StateStore(base).load_session(session_id)

        watch.time("unchanged, and load_session", list_and_load, session_id)
        put(base, session_id, writer.document(session_id, SMALL))
        watch.time("one changed", store.list_sessions)


def rows(base: Path, *, quick: bool) -> Iterator[Row]:
    """Measure each kind of listing."""
    fill(base, SESSIONS, alike())
    time.sleep(SETTLED)
    watch, few = Stopwatch(), 2 if quick else 5
    first(base, watch, few)
    new_process(base, watch, few * 3)
    again(base, watch, few * 10)
    one_changed(base, watch, few)
    what = f"list {SESSIONS} sessions of 73 KB"
    for engine in ("orjson", "json"):
        yield watch.row(f"{what}, the first time ever", f"{engine}.loads of each", ours="first time")
    seconds = watch.median("new process")
    imported = f"importing the library: {duration(watch.median('import'))}"
    yield Row(f"{what}, unchanged, in a new process", duration(seconds), imported, seconds * 1e3, 25, " ms")
    yield watch.row(f"{what}, unchanged, again", "scandir and stat", 2, ours="again")
    yield watch.row(f"{what}, one changed", "unchanged, and load_session", 1.25, ours="one changed")
