"""Threads with and without the GIL: the throughput of several against that of one.

    python tests/interpreters/ratios.py [--rounds N] PYTHON ...     with the library and its dependencies installed

Each work is done by one thread and by several, with each interpreter, in turn: a round is half a second of each. A
free-threaded build is also run with its GIL on, which tells what the GIL costs apart from what the build costs. JSON is
the standard library's, as orjson needs the GIL. Prints the medians of each round's ratios. They need an idle machine:
where others run, several threads get more of it than one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

THREADS = 8
SECONDS = 0.5
Work = Callable[[Any, int], object]


def load(store: Any, number: int) -> None:
    """Load a session, and read a value of each of its records."""
    session = store.load_session(f"s{number}")
    for records in (session.user_messages, session.agent_responses, session.trajectory_steps):
        for record in records:
            _ = record.timestamp


def edit(store: Any, number: int) -> None:
    """Edit a session, under the one lock that all sessions have."""
    with store.edit_session(f"s{number}") as session:
        session.set_metadata("count", session.get_metadata("count", 0) + 1)


def save(store: Any, number: int) -> None:
    """Save a document of a category that nobody else uses."""
    store.save_json(f"c{number}", "document", VALUE)


VALUE = {"items": [{"number": number, "text": f"text {number}" * 10} for number in range(200)]}
WORKS: dict[str, Work] = {"load": load, "edit": edit, "save": save}


def measure() -> None:
    """Do each work with one thread and with several; print how often a second."""
    from oxios_state import AgentResponse, Session, StateStore, TrajectoryStepRecord
    from oxios_state.codec import json_text

    json_text._orjson = None  # as if it were not installed
    rates = {}
    with tempfile.TemporaryDirectory() as base:
        store = StateStore(base, durable=False, lock_timeout=120, cache_bytes=0)
        for number in range(THREADS):
            session = Session("user", f"s{number}")
            for _ in range(20):
                session.add_user_message("hello " * 60)
                session.extend_trajectory([TrajectoryStepRecord("t", {"a": ["b" * 100, 1]}, "o" * 400)] * 3)
                session.add_agent_response(AgentResponse("answer " * 100))
            store.save_session(session)
        for name, work in WORKS.items():
            for threads in (1, THREADS):
                rates[f"{name} {threads}"] = rate(store, work, threads)
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(json.dumps([sys.version.split(" (")[0], gil, rates]))


def rate(store: Any, work: Work, threads: int) -> float:
    """Run threads, each on data of its own, and count their work."""
    done = [0] * threads
    together = threading.Barrier(threads)

    def go_on(number: int) -> None:
        work(store, number)
        together.wait()
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            work(store, number)
            done[number] += 1

    crowd = [threading.Thread(target=go_on, args=[number]) for number in range(threads)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    return sum(done) / SECONDS


def report(pythons: list[str], rounds: int) -> None:
    """Let each interpreter measure in turn, and print a table."""
    runs = [(python, gil) for python in pythons for gil in (["0", "1"] if is_free_threaded(python) else [""])]
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(rounds):
        for python, gil in runs:
            env = {**os.environ, **({"PYTHON_GIL": gil} if gil else {})}
            done = subprocess.run([python, __file__, "--measure"], env=env, text=True, capture_output=True, check=True)
            version, is_on, rates = json.loads(done.stdout)
            assert is_on is (gil != "0")
            found[f"{version}, GIL {'on' if is_on else 'off'}"].append(rates)
    first = next(iter(found.values()))
    crowd = f"{THREADS} threads"
    print(f"| interpreter | work | one thread / one of the first | {crowd} / {crowd} of the first | {crowd} / one |")
    print("|---|---|---|---|---|")
    for interpreter, measured in found.items():
        for name in WORKS:
            one, many = f"{name} 1", f"{name} {THREADS}"
            pairs = list(zip(measured, first, strict=True))
            ratios = [
                statistics.median(mine[one] / other[one] for mine, other in pairs),
                statistics.median(mine[many] / other[many] for mine, other in pairs),
                statistics.median(mine[many] / mine[one] for mine in measured),
            ]
            print(f"| {interpreter} | {name} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")


def is_free_threaded(python: str) -> bool:
    """Return whether an interpreter can do without the GIL."""
    code = "import sysconfig; print(sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
    return subprocess.run([python, "-c", code], text=True, capture_output=True, check=True).stdout.strip() == "1"


def main() -> None:
    """Compare interpreters, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("pythons", nargs="*", default=[sys.executable], metavar="PYTHON")
    options = parser.parse_args()
    if options.measure:
        measure()
    else:
        report(options.pythons, options.rounds)


if __name__ == "__main__":
    main()
