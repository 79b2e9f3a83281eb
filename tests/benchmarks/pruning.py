"""Pruning 10,000 small, listed sessions to 100, relative to unlinking 9,900 such files."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from timing import Row, Stopwatch
from work import SETTLED, Writer, fill, small, sync_directory

from oxios_state import PruneConfig, StateStore

SESSIONS, KEPT = 10_000, 100


def unlink(paths: list[Path], *, durable: bool) -> None:
    """Unlink files of one directory."""
    for path in paths:
        os.unlink(path)
    if durable:
        sync_directory(paths[0].parent)


def rows(base: Path, *, quick: bool) -> Iterator[Row]:
    """Prune and unlink, in turn."""
    watch, config = Stopwatch(), PruneConfig(max_sessions=KEPT, ttl_hours=0)
    for durable in (False, True):
        against = f"unlinking them{', and fsync' if durable else ''}"
        for number in range(1 if quick or durable else 3):
            own, bare = base / f"own-{number}", base / f"bare-{number}"
            for directory in (own, bare):
                fill(directory, SESSIONS, [small(Writer(6))])
            time.sleep(SETTLED)
            store = StateStore(own, durable=durable)
            store.list_sessions()
            removed = watch.time(f"ours {durable}", store.prune, config)
            assert len(removed) == SESSIONS - KEPT
            watch.time(against, unlink, sorted((bare / "sessions").iterdir())[KEPT:], durable=durable)
            shutil.rmtree(own)
            shutil.rmtree(bare)
        work = f"prune {SESSIONS} small sessions to {KEPT}, durable={durable}"
        yield watch.row(work, against, None if durable else 1.5, ours=f"ours {durable}")
