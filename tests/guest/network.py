"""Two clients of an NFS server edit the same sessions in a guest; lost messages and errors are counted.

    python tests/guest/network.py [--transactions N] [--way v4.2 ...] [--seed N]

The guest (see `clients`) is the server and both clients. ``v3`` and ``v4.2`` are two mounts on one machine
(``nosharecache``); ``v4.2-two-machines`` are two clients as the server sees it; ``local`` is the server's disk, for
comparison. Then the clients take turns to change one directory (see `alternation`), and each must see the other's
changes. The same runs on a library that trusts the client's caches (`plain-locks`), which must fail. Finally, one of
two machines loses the network while it edits a session (see `partition`): the other gets the lock when the lease has
expired, and the first machine's save after its return is a conflict.

The exit status is 1 if a message is lost, or if the faulty library does not fail.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import MEMORY, CannotRunError, Guest, GuestError, make_disk, prepare

TWO_MACHINES = "v4.2-two-machines"
WAYS = ("local", "v3", "v4.2", "v4.2-lookupcache-none", TWO_MACHINES)
FAULTY = "v4.2"  # plain locks are known to lose updates there
# The server assumes that each mount knows the other's changes, and grants both one right to keep a file (a delegation).
STALE = {"v4.2", "v4.2-lookupcache-none"}
# There a client may still see a session that the other has deleted, even under the lock.
UNSOUND = {"v4.2-lookupcache-none"}
STRAY = "plain-locks"
ROUNDS = 1  # of changes in turn, for each hundred transactions
SLOWEST = 5  # transactions a second, on a machine that is busy with other things


def run(root: Path, way: str, transactions: int, seed: int, flaw: str) -> dict[str, Any]:
    """Run writers and readers on one kind of mount, and return the guest's report on each."""
    arguments = ("clients", way, str(transactions), str(seed), flaw)
    lines = run_guest(root, arguments, 120 + transactions / SLOWEST)
    reports = [json.loads(line) for line in lines if line.startswith("[")]
    result: dict[str, Any] = {"writers": [counts for who, counts in reports if who == "writer"]}
    return {**result, **{who: counts for who, counts in reports if who != "writer"}}


def run_guest(root: Path, program: Sequence[str], seconds: float) -> list[str]:
    """Run a guest program on an empty disk, and return its lines."""
    with tempfile.TemporaryDirectory(prefix="network-", dir=MEMORY) as name:
        disk = make_disk(Path(name, "disk.img"), 1024)
        with Guest(root, *program, disks=[disk]) as guest:
            return guest.finish(seconds)


def take_turns(root: Path, way: str, rounds: int, flaw: str) -> dict[str, Any]:
    """Let the clients take turns to change one directory, and return the guest's report."""
    (line,) = run_guest(root, ("alternation", way, str(rounds), str(int(way in STALE)), flaw), 120 + 10 * rounds)
    result: dict[str, Any] = json.loads(line)
    print(f"    by turns: {result}", flush=True)
    return result


def report(way: str, result: dict[str, Any]) -> None:
    """Print the results of one kind of mount."""
    print(f"{way}: {result['all']}")
    for who in ("writers", "load", "list", "open"):
        print(f"    {who}: {result[who]}")
    sys.stdout.flush()


def errors(result: dict[str, Any]) -> int:
    """Count the exceptions that the library raised in writers and readers."""
    parts = [*result["writers"], result["load"], result["list"]]
    return sum(times for counts in parts for event, times in counts.items() if ": " in event)


def is_right(way: str, result: dict[str, Any], transactions: int) -> bool:
    """Return whether each transaction took effect once, and later reads saw it."""
    everything = result["all"]
    return (
        everything["acknowledged"] == transactions
        and not (everything["lost"] or everything["doubled"] or everything["problems"] or errors(result))
        and (way in STALE or not any(result[who].get("stale") for who in ("load", "list")))
    )


def main() -> int:
    """Test each kind of mount, then the faulty library."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transactions", type=int, default=400, help="of both clients together (default: 400)")
    parser.add_argument("--way", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    transactions = arguments.transactions // 2 * 2
    rounds = max(2, transactions * ROUNDS // 100)
    try:
        root = prepare()
    except CannotRunError as error:
        print(error)
        return 1
    failed = []
    print(f"seed {arguments.seed}")
    for way in arguments.way:
        result = run(root, way, transactions, arguments.seed, "none")
        report(way, result)
        if not is_right(way, result, transactions):
            failed.append(f"{way}: not right")
        if way in UNSOUND:
            print("    by turns: not tried, as it is known to fail")
        elif take_turns(root, way, rounds, "none")["wrong"]:
            failed.append(f"{way}: not right by turns")
    if FAULTY in arguments.way:
        result = run(root, FAULTY, min(transactions, 1000), arguments.seed, STRAY)
        report(f"{FAULTY}, {STRAY}", result)
        wrong = take_turns(root, FAULTY, rounds, STRAY)["wrong"]
        if not (wrong and (result["all"]["lost"] or errors(result))):
            failed.append("a library with plain locks is not found to fail")
    if TWO_MACHINES in arguments.way:
        print("one machine goes off the net:", *(lines := run_guest(root, ["partition"], 200)), sep="\n    ")
        if "the first machine: conflict" not in lines:
            failed.append("a machine that was off the net saves over what the other did")
    print(*failed or ["nothing is lost"], sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GuestError as error:
        sys.exit(str(error))
