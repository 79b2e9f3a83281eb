"""A turn of a conversation that this process handled before, against stores that sync, and stores that do not.

A session has 20 or 500 turns when it is filled, and a few more after each repetition, alike in all stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from peers import GROUPS, Peer
from timing import Row, Stopwatch
from work import LARGE, SMALL, Writer

REPETITIONS = 5  # of one session; then all stores are filled anew


def compare(base: Path, kinds: list[type[Peer]], turns: int, rounds: int) -> Stopwatch:
    """Do a turn in each store, in turn."""
    watch, writer = Stopwatch(), Writer(3)
    shuffled = Random(0)  # else one store would always run after the largest, which empties the processor's caches
    for number in range(rounds):
        held = [writer.turn() for _ in range(turns)]
        stores = [kind(base / f"{kind.__name__}-{turns}-{number}") for kind in kinds]
        for store in stores:
            store.fill(held)
            store.turn(writer.turn())
        for _ in range(REPETITIONS):
            turn = writer.turn()
            for store in shuffled.sample(stores, len(stores)):
                watch.time(store.name, store.turn, turn)
        for store in stores:
            assert store.count() == 5 * (turns + 1 + REPETITIONS)
            store.close()
    return watch


def rows(base: Path, *, quick: bool) -> Iterator[Row]:
    """Compare with each peer of both groups, at both sizes."""
    for syncs, kinds in GROUPS.items():
        for turns in (SMALL, LARGE):
            watch = compare(base, kinds, turns, (8 if turns == SMALL else 4) // (2 if quick else 1))
            ours, reading, *peers = (kind.name for kind in kinds)
            for peer in peers:
                yield watch.row(f"a turn, session of {turns}, durable={syncs}", peer, 1.0, ours=ours)
            quickest = min(peers, key=watch.median)
            work = f"a turn that reads every record, session of {turns}, durable={syncs}"
            yield watch.row(work, quickest, 1.0, ours=reading)
