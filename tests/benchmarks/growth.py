"""Growth of times with the number of sessions, their size and the threads, and where rows become cheaper."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from listing import again, first, new_process
from peers import Library, OpenAI
from saving import append_and_save
from threads import run
from timing import Stopwatch, duration
from work import SETTLED, SMALL, Writer, bare_write, edit, fill, put, size, small

from oxios_state import StateStore

Curve = list[tuple[float, float]]

TURNS = [0, 3, 27, 270, 2700, 27000]  # about 1 KB with the appended message, 10 KB, 100 KB, 1 MB, 10 MB, 100 MB
SESSIONS = [10, 100, 1000, 10_000, 100_000]
THREADS = [1, 2, 4, 8, 16, 32, 64]
BYTES_IN_A_POINT = 5e7  # decides how often larger points are repeated


class Panel(NamedTuple):
    """One part of the plot: some curves over one axis."""

    title: str
    across: str
    up: str
    curves: dict[str, Curve]
    ours: list[str]


def sessions(base: Path, *, quick: bool) -> Panel:
    """List ever more small sessions."""
    curves: dict[str, Curve] = {}
    numbers = SESSIONS[:-1] if quick else SESSIONS
    for number in numbers:
        fill(base / str(number), number, [small(Writer(6))])
    time.sleep(SETTLED)
    for number in numbers:
        directory = base / str(number)
        watch = Stopwatch()
        first(directory, watch, 1)
        new_process(directory, watch, 1 if number >= 10_000 else 5)
        again(directory, watch, 3 if number >= 10_000 else 20)
        for name in ("first time", "new process", "again", "orjson.loads of each", "scandir and stat"):
            curves.setdefault(name, []).append((number, watch.median(name) / number))
    return Panel(
        "Listing sessions of 1 KB", "sessions", "seconds per session", curves, ["first time", "new process", "again"]
    )


def sizes(base: Path, *, quick: bool) -> Panel:
    """Save, edit and load ever larger sessions."""
    documents = [Writer(turns).document("session", turns) for turns in (TURNS[:-1] if quick else TURNS)]
    fresh: dict[int, list[Path]] = {}
    for document in documents:
        repetitions = _repetitions(len(document), quick=quick)
        fresh[len(document)] = [base / f"fresh-{len(document)}-{number}" for number in range(repetitions)]
        for directory in fresh[len(document)]:
            put(directory, "session", document)
    time.sleep(SETTLED)
    curves: dict[str, Curve] = {}
    for document in documents:
        watch = _at_size(base, document, fresh[len(document)])
        for name in watch.times:
            curves.setdefault(name, []).append((len(document), watch.median(name)))
    ours = ["append a message, save", "a turn", "first load"]
    return Panel("One session, durable=False", "bytes", "seconds", curves, ours)


def _at_size(base: Path, document: bytes, fresh: list[Path]) -> Stopwatch:
    watch, writer, parse = Stopwatch(), Writer(11), import_module("orjson").loads
    store, other = StateStore(base, durable=False), StateStore(base, durable=False)  # each keeps one session in mind
    path = put(base, "saved", document)
    bare = put(base / "bare", "saved", document)
    session = None
    left = 0  # repetitions before a session is longer by a tenth, and made anew
    for directory in fresh:
        if left == 0:
            left = max(1, len(document) // 40_000)
            for session_id in ("saved", "edited"):
                put(base, session_id, document.replace(b'"id": "session"', f'"id": "{session_id}"'.encode(), 1))
            session = store.load_session("saved")
            assert session is not None
            store.save_session(session)
            with other.edit_session("edited") as edited:
                edited.set_metadata("warm", value=True)
        left -= 1
        assert session is not None
        watch.time("append a message, save", append_and_save, store, session, writer.text(350))
        content = path.read_bytes()
        watch.time("bare write, rename", bare_write, bare, content)
        watch.time("a turn", edit, other, "edited", writer.turn())
        watch.time("first load", StateStore(directory).load_session, "session")
        watch.time("orjson.loads", parse, document)
    return watch


def crowds(base: Path, *, quick: bool) -> Panel:
    """Edit from ever more threads."""
    writer = Writer(7)
    for number in range(THREADS[-1]):
        put(base, f"edited-{number}", writer.document(f"edited-{number}", SMALL))
    rates: dict[tuple[bool, int], list[float]] = defaultdict(list)
    for _ in range(1 if quick else 5):
        for threads in THREADS:
            for shared in (False, True):
                rates[shared, threads].append(run(base, threads, 0.5 if quick else 0.8, shared=shared).rate)
    curves = {
        name: [(float(threads), statistics.median(rates[shared, threads])) for threads in THREADS]
        for name, shared in (("one session each", False), ("all the same", True))
    }
    return Panel("Threads, sessions of 73 KB, durable=False", "threads", "edits per second", curves, list(curves))


def rows_or_files(base: Path, *, quick: bool) -> Panel:
    """Do turns in ever larger sessions, and the same in rows, to see where replacing the whole file costs more."""
    curves: dict[str, Curve] = {}
    for number in TURNS[1:-1] if quick else TURNS[1:]:
        writer, watch = Writer(12), Stopwatch()
        held = [writer.turn() for _ in range(number)]
        ours, rows = Library(base / f"ours-{number}"), OpenAI(base / f"rows-{number}")
        for store in (ours, rows):
            store.fill(held)
            store.turn(writer.turn())
        length = os.path.getsize(ours.base / "sessions/the-session.json")
        for _ in range(min(10, _repetitions(length, quick=quick))):
            turn = writer.turn()
            watch.time("ours: a turn", ours.turn, turn)
            watch.time("rows: read all, add a turn", rows.turn, turn)
            watch.time("rows: add a turn", rows.add, turn.records)
        for store in (ours, rows):
            store.close()
        for name in watch.times:
            curves.setdefault(name, []).append((length, watch.median(name)))
    return Panel("A file or rows (OpenAI Agents SQLiteSession), synced", "bytes", "seconds", curves, ["ours: a turn"])


def _repetitions(length: int, *, quick: bool) -> int:
    return max(3, min(10 if quick else 40, int(BYTES_IN_A_POINT / (length + 1))))


def cheaper(rows: Curve, ours: Curve) -> list[tuple[float, float]]:
    """Find between which sizes *rows* are cheaper, taking both as straight lines on logarithmic axes between points."""
    gaps = [(math.log(x), math.log(y / other)) for (x, y), (_, other) in zip(ours, rows, strict=True)]
    bounds = [gaps[0][0]] if gaps[0][1] > 0 else []
    for (x, gap), (next_x, next_gap) in pairwise(gaps):
        if (gap > 0) != (next_gap > 0):
            bounds.append(x + (next_x - x) * gap / (gap - next_gap))
    if len(bounds) % 2:
        bounds.append(gaps[-1][0])
    return [(math.exp(start), math.exp(end)) for start, end in zip(bounds[::2], bounds[1::2], strict=True)]


def crossings(panel: Panel) -> Iterator[str]:
    """Yield, for each way of keeping rows, the measured sizes at which it is cheaper."""
    ours = panel.curves["ours: a turn"]
    for name, curve in panel.curves.items():
        if curve is not ours:
            ranges = [f"from {size(start)} to {size(end)}" for start, end in cheaper(curve, ours)]
            yield f"{name}: cheaper than our turn {' and '.join(ranges) or 'nowhere'}"


def text(panel: Panel) -> str:
    """Set a panel's points as a markdown table."""
    lines = [f"{panel.title}, {panel.up}", ""]
    points = [x for x, _ in next(iter(panel.curves.values()))]
    across = [size(x) if panel.across == "bytes" else f"{x:,.0f}" for x in points]
    lines.append(" | ".join(["", panel.across, *across, ""]).strip())
    lines.append("|---" * (len(across) + 1) + "|")
    for name, curve in panel.curves.items():
        cells = [duration(y) if panel.up.startswith("seconds") else f"{y:.0f}" for _, y in curve]
        lines.append(" | ".join(["", name, *cells, ""]).strip())
    return "\n".join(lines)
