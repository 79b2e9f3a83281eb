"""Loading a session for the first time, against parsing the same bytes with the engine that is used.

Each document is loaded once, by a store that is made for it in a directory of its own, so nothing can be known of it.
The bytes are in the page cache, and some seconds old. Records get their fields when these are asked for, so loading is
also measured with looking at each; an engine's values are there at once. Run as a script, this is the process that has
no orjson.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from timing import Row, Stopwatch, child
from work import LARGE, SETTLED, SMALL, Writer, put, read_all, size

from oxios_state import StateStore

GOALS = {"orjson.loads": 2.2, "json.loads": 1.5}


def compare(bases: list[Path], engine: str) -> Stopwatch:
    """Load the session of each directory, and parse its bytes, in turn."""
    parse: Callable[[bytes], Any] = import_module(engine).loads
    watch = Stopwatch()
    StateStore(bases[0]).load_session("loaded")  # import everything that the first use imports
    for base, other in zip(bases[1::2], bases[2::2], strict=True):
        raw = (base / "sessions/loaded.json").read_bytes()
        watch.time(f"{engine}.loads", parse, raw)
        watch.time("ours", StateStore(base).load_session, "loaded")
        watch.time("ours, every record read", load_and_read, StateStore(other))
    return watch


def load_and_read(store: StateStore) -> int:
    """Load the session and look at every record."""
    session = store.load_session("loaded")
    assert session is not None
    return read_all(session)


def rows(base: Path, *, quick: bool, engine: str = "orjson") -> Iterator[Row]:
    """Compare both sizes with both engines."""
    writer = Writer(2)
    bases: dict[int, list[Path]] = {}
    sizes: dict[int, str] = {}
    for turns, repetitions in ((SMALL, 20 if quick else 60), (LARGE, 8 if quick else 20)):
        bases[turns] = [base / f"load-{turns}-{number}" for number in range(2 * repetitions + 1)]
        for directory in bases[turns]:
            document = writer.document("loaded", turns)
            put(directory, "loaded", document)
            sizes[turns] = size(len(document))
    time.sleep(SETTLED)
    extra = "" if engine == "orjson" else ", without orjson"
    for turns, directories in bases.items():
        against = f"{engine}.loads"
        watch = compare(directories, engine)
        yield watch.row(f"load for the first time, {sizes[turns]}{extra}", against, GOALS[against])
        work = f"load for the first time and read every record, {sizes[turns]}{extra}"
        yield watch.row(work, against, ours="ours, every record read")
    if engine == "orjson":
        yield from (Row(*row) for row in child("loading.py", *(["--quick"] if quick else [])))


def main() -> None:
    """Print the rows of a process without orjson."""
    modules: dict[str, Any] = cast("dict[str, Any]", sys.modules)
    modules["orjson"] = None  # importing it fails from here on
    with tempfile.TemporaryDirectory() as base:
        print(json.dumps(list(rows(Path(base), quick="--quick" in sys.argv, engine="json"))))


if __name__ == "__main__":
    main()
