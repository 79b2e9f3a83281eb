"""Benchmarks: what the library takes, as ratios to what else does the same work, in the same run.

Each benchmark has a process of its own, so that none runs in what another left behind.

    python tests/benchmarks/bench.py [--quick] [--directory DIRECTORY] [saving loading turns listing pruning threads]

Without names, all are run. `--quick` repeats less. The directory decides the file system; by default, it is a new one
where temporary files go.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import listing
import loading
import pruning
import saving
import threads
import turns
from timing import Row, child, table

BENCHMARKS: dict[str, Callable[..., Iterator[Row]]] = {
    "saving": saving.rows,
    "loading": loading.rows,
    "turns": turns.rows,
    "listing": listing.rows,
    "pruning": pruning.rows,
    "threads": threads.rows,
}


def main() -> None:
    """Run the benchmarks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help="which to run")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--rows", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rows:
        with tempfile.TemporaryDirectory(dir=options.directory) as base:
            print(json.dumps(list(BENCHMARKS[options.names[0]](Path(base), quick=options.quick))))
        return
    given = ["--quick"] * options.quick + (["--directory", options.directory] if options.directory else [])
    rows: list[Row] = []
    for name in options.names or BENCHMARKS:
        begin = time.monotonic()
        rows += [Row(*row) for row in child("bench.py", name, "--rows", *given)]
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    print(f"\n{platform.python_implementation()} {platform.python_version()}, {platform.system()}\n")
    print(table(rows))


if __name__ == "__main__":
    main()
