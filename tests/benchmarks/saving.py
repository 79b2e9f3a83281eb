"""Appending a message and saving, relative to writing the same bytes by system calls alone.

The kernel's own store, in Rust, would be the better yardstick, but it is not built here. It encodes the whole session,
and then does the same as the bare write.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from timing import Row, Stopwatch
from work import LARGE, SMALL, Writer, bare_write, put, size

from oxios_state import Session, StateStore

SAVES = 10  # of one session, which is then loaded anew, so that it keeps its size
BARE = {False: "bare write, rename", True: "bare write, fsync, rename, fsync"}
GOALS = {(SMALL, False): 1.5, (LARGE, False): 1.2, (SMALL, True): 1.6, (LARGE, True): 1.3}


def compare(base: Path, document: bytes, *, durable: bool, rounds: int, saves: int = SAVES) -> Stopwatch:
    """Append and save, and write the same bytes, in turn."""
    watch, writer = Stopwatch(), Writer(1)
    store = StateStore(base, durable=durable)
    path = put(base, "saved", document)
    bare = put(base / "bare", "saved", document)
    for _ in range(rounds):
        put(base, "saved", document)
        session = store.load_session("saved")
        assert session is not None
        store.save_session(session)  # the first save of a process costs more; `turns.py` measures it
        for _ in range(saves):
            watch.time("ours", append_and_save, store, session, writer.text(350))
            content = path.read_bytes()
            watch.time(BARE[durable], bare_write, bare, content, durable=durable)
    return watch


def append_and_save(store: StateStore, session: Session, text: str) -> None:
    """Append a message and save."""
    session.add_user_message(text)
    store.save_session(session)


def rows(base: Path, *, quick: bool) -> Iterator[Row]:
    """Compare both sizes, with and without syncing."""
    documents = {turns: Writer().document("saved", turns) for turns in (SMALL, LARGE)}
    for durable in (False, True):
        for turns, document in documents.items():
            watch = compare(base, document, durable=durable, rounds=(8 if turns == SMALL else 4) // (2 if quick else 1))
            work = f"append a message and save, {size(len(document))}, durable={durable}"
            yield watch.row(work, BARE[durable], GOALS[turns, durable])
