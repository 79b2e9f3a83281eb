"""Workers that tests run in processes of their own: ``python -P workers.py FUNCTION BASE ARGUMENT...``.

Lines on the standard streams keep step with the test. The end of the input lets a worker go on, so that none outlives
its test.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from oxios_state import PruneConfig, Session, SessionConflictError, StateStore
from oxios_state.storage.atomic_write import Staged
from oxios_state.storage.tree import Tree


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def hear() -> str:
    return sys.stdin.readline().strip()


def hold(base: str, category: str) -> None:
    with StateStore(base).lock(category):
        say(time.monotonic())
        hear()
    say("released")


def write(base: str, category: str, name: str) -> None:
    """Stop between the writing of the temporary file and the rename."""
    tree = Tree(Path(base), durable=False)
    with Staged(tree, tree.base / category / f"{name}.json", [b"1"]):
        say("staged")
        hear()


def edit(base: str, session_id: str, times: str) -> None:
    store = StateStore(base, durable=False)
    say("ready")
    hear()
    for _ in range(int(times)):
        with store.edit_session(session_id) as session:
            session.set_metadata("count", session.get_metadata("count") + 1)


def update(base: str, session_id: str, times: str) -> None:
    store = StateStore(base, durable=False)
    say("ready")
    hear()
    for _ in range(int(times)):
        while True:
            session = store.load_session(session_id)
            assert session is not None
            session.set_metadata("count", session.get_metadata("count") + 1)
            try:
                store.update_session(session)
            except SessionConflictError:
                continue
            break


def create(base: str, session_id: str, threads: str) -> None:
    """Get or create one session from many threads at once, and say which time of creation each thread sees."""
    store = StateStore(base, durable=False)
    barrier = threading.Barrier(int(threads) + 1)

    def ask() -> str:
        barrier.wait()
        return str(store.get_or_create_session("user", session_id).created_at)

    with ThreadPoolExecutor(int(threads)) as pool:
        futures = [pool.submit(ask) for _ in range(int(threads))]
        say("ready")
        hear()
        barrier.wait()
        for future in futures:
            say(future.result())


def prune(base: str) -> None:
    """Prune again and again until the input ends."""
    store = StateStore(base, durable=False)
    listener = threading.Thread(target=hear)
    listener.start()
    say("ready")
    while listener.is_alive():
        store.prune(PruneConfig(max_sessions=0, ttl_hours=1))


def rewrite(base: str, session_id: str, times: str) -> None:
    """Save a session again and again, with another number of messages each time, which its metadata states."""
    store = StateStore(base, durable=False)
    say("ready")
    hear()
    for number in range(int(times)):
        session = Session("user", session_id)
        for _ in range(number % 7 * 20):
            session.add_user_message("x" * 100)
        session.set_metadata("messages", len(session.user_messages))
        store.save_session(session)
    say("done")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
