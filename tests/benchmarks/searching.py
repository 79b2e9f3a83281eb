"""Searching 1,000 sessions of 73 KB for text that none, few or all have, with filters, and for the first hit only.

    python tests/benchmarks/searching.py [--quick]

Costs are relative to loading each session and searching each text, and to parsing each file without searching it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from listing import SESSIONS, alike, parse
from timing import Row, Stopwatch, table
from work import SETTLED, fill

from oxios_state import StateStore

NEEDLE, DATES = "Xylophone", 100  # each date is that of a hundredth of the sessions


def prepare(base: Path) -> None:
    """Fill a store: one session in 100 has the needle, as many have each date, and all have text beyond ASCII."""
    fill(base, SESSIONS, alike())
    for number, path in enumerate(sorted((base / "sessions").iterdir())):
        content = path.read_bytes()
        if number % 100 == 0:
            content = content.replace(b'"content": "', f'"content": "{NEEDLE} '.encode(), 1)
        head, middle, tail = content.rpartition(b'"updated_at": "2026-03-01')
        path.write_bytes(head + middle[:-10] + f"20{number % DATES:02}-03-01".encode() + tail)


def search(base: Path, text: str, **options: Any) -> int:
    """Count the hits of the library's search."""
    return sum(1 for _ in StateStore(base).search_sessions(text, **options))


def first(base: Path, text: str) -> int:
    """Search until the first hit."""
    return len(list(islice(StateStore(base).search_sessions(text), 1)))


def load_all(base: Path, text: str) -> int:
    """Load each session, and search each text."""
    store, folded, hits = StateStore(base, cache_bytes=0), text.casefold(), 0
    for summary in store.list_sessions():
        session = store.load_session(summary.id)
        assert session is not None
        texts = [message.content for message in session.user_messages]
        texts += [response.content for response in session.agent_responses]
        for step in session.trajectory:
            texts += [step.output_summary, *(value for value in step.tool_args.values() if isinstance(value, str))]
        hits += sum(folded in text.casefold() for text in texts)
    return hits


def rows(base: Path, *, quick: bool) -> Iterator[Row]:
    """Measure each search in a new store, on a directory that was listed before."""
    prepare(base)
    time.sleep(SETTLED)
    StateStore(base).list_sessions()
    watch = Stopwatch()
    for _ in range(2 if quick else 7):
        assert watch.time("none", search, base, "Zyxwvu") == 0
        assert watch.time("few", search, base, NEEDLE) == SESSIONS // 100
        assert watch.time("few, beyond ASCII", search, base, "xÿlo") == 0
        assert watch.time("all", search, base, '"') > SESSIONS
        assert watch.time("first", first, base, '"') == 1
        between = {"updated_after": "2040-01-01", "updated_before": "2050-01-01"}
        assert watch.time("a tenth", search, base, "Zyxwvu", **between) == 0
        assert watch.time("load", load_all, base, NEEDLE) == SESSIONS // 100
        watch.time("orjson.loads of each", parse, base / "sessions", "orjson")
    work = f"search {SESSIONS} sessions of 73 KB for what "
    watch.times["load each and look"] = watch.times.pop("load")
    for name, text in {
        "none": "none has",
        "few": "1 % have",
        "few, beyond ASCII": "none has, not ASCII",
        "all": "all have, all hits",
        "first": "all have, the first hit",
        "a tenth": "none has, of a tenth of them",
    }.items():
        yield watch.row(work + text, "load each and look", ours=name)
    yield watch.row(f"{work}none has", "orjson.loads of each", ours="none")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        print(table(list(rows(Path(directory), quick="--quick" in sys.argv))))
