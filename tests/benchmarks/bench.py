"""Benchmarks: the cost of the library's work, relative to other ways of doing the same work in the same run.

    python tests/benchmarks/bench.py [--quick] [--directory DIRECTORY] [--plot FILE] [NAME ...]

Names are saving, loading, turns, listing, searching, pruning, threads, memory, and the curves sessions, sizes, crowds
and rows. Without names, all run, which takes some minutes. `--quick` repeats less and leaves out the largest sizes. The
directory decides the file system; by default, it is a new temporary one. `--plot` draws the curves as SVG. The output
is markdown.

Each benchmark has a process of its own, so that no other benchmark's memory and caches affect it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import growth
import listing
import loading
import memory
import plot
import pruning
import saving
import searching
import threads
import turns
from growth import Panel
from peers import PACKAGES
from timing import Row, child, table

TABLE: dict[str, Callable[..., Iterator[Row]]] = {
    "saving": saving.rows,
    "loading": loading.rows,
    "turns": turns.rows,
    "listing": listing.rows,
    "searching": searching.rows,
    "pruning": pruning.rows,
    "threads": threads.rows,
    "memory": memory.rows,
}
CURVES: dict[str, Callable[..., Panel]] = {
    "sessions": growth.sessions,
    "sizes": growth.sizes,
    "crowds": growth.crowds,
    "rows": growth.rows_or_files,
}


def main() -> None:
    """Run the benchmarks and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.names or [*TABLE, *CURVES]
    if unknown := set(names) - {*TABLE, *CURVES}:
        parser.error(f"there is no {', '.join(unknown)}")
    if options.plot and not {*names}.issuperset(CURVES):
        parser.error(f"the plot needs {', '.join(CURVES)}")
    if options.alone:
        alone(options)
        return
    results = {}
    load = os.getloadavg()[0]  # above 1, other programs ran too: times double, waits grow more, and ratios are rough
    child_options = ["--alone"] + ["--quick"] * options.quick
    child_options += ["--directory", options.directory] if options.directory else []
    for name in names:
        begin = time.monotonic()
        results[name] = child("bench.py", name, *child_options)
        print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}, ", end="")
    print(f"{os.cpu_count()} processors, load {load:.1f} before and {os.getloadavg()[0]:.1f} after; ", end="")
    print(", ".join(f"{package} {version(package)}" for package in ("orjson", *PACKAGES)))
    if rows := [Row(*row) for name in TABLE for row in results.get(name, [])]:
        print(f"\n{table(rows)}")
    panels = {name: Panel(*results[name]) for name in CURVES if name in results}
    for panel in panels.values():
        print(f"\n{growth.text(panel)}")
    if "rows" in panels:
        print("\n" + "\n".join(f"- {line}" for line in growth.crossings(panels["rows"])))
    if options.plot:
        plot.draw(list(panels.values()), options.plot)


def alone(options: argparse.Namespace) -> None:
    """Run one benchmark in this process, and print its result as JSON."""
    (name,) = options.names
    with tempfile.TemporaryDirectory(dir=options.directory) as base:
        result = (TABLE | CURVES)[name](Path(base), quick=options.quick)
        print(json.dumps(result if name in CURVES else list(result)))


if __name__ == "__main__":
    main()
