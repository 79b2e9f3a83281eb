"""Threads and processes that use one store at the same time, through its public methods alone."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from oxios_state import PruneConfig, Session, SessionConflictError, SessionSummary, StateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
OLD_GO = PruneConfig(max_sessions=0, ttl_hours=1)


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state", durable=False)


class Workers:
    """Processes that run a function of `workers` from the same moment on: a context manager."""

    def __init__(self, count: int, function: str, store: StateStore, *arguments: object) -> None:
        script = str(Path(__file__).parents[1] / "workers.py")
        words = [script, function, str(store.base_path), *map(str, arguments)]
        self._command = [sys.executable, "-P", *words]
        self._count = count
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.processes = [
            subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(self._count)
        ]
        for process in self.processes:
            self._stack.enter_context(process)
            self._stack.callback(process.kill)
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def go_on(self) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()

    def said(self) -> list[str]:
        """Wait until all processes have ended without an error, and return the lines that they wrote."""
        lines = []
        for process in self.processes:
            assert process.stdout is not None
            lines += process.stdout.read().splitlines()
            assert process.wait() == 0
        return lines


def in_threads(*calls: Callable[[], object]) -> None:
    """Make all calls at the same time, each in a thread."""
    barrier = threading.Barrier(len(calls))

    def wait_and(call: Callable[[], object]) -> None:
        barrier.wait()
        call()

    with ThreadPoolExecutor(len(calls)) as pool:
        for future in [pool.submit(wait_and, call) for call in calls]:
            future.result()


def touch(store: StateStore, session_ids: Iterable[str]) -> None:
    for session_id in session_ids:
        store.save_session(Session("user", session_id))


def add_old(store: StateStore, *session_ids: str) -> None:
    for session_id in session_ids:
        store.save_session(Session("user", session_id, created_at=LONG_AGO))


def edit(store: StateStore) -> None:
    for _ in range(25):
        with store.edit_session("s") as session:
            session.set_metadata("count", session.get_metadata("count") + 1)


def update(store: StateStore) -> None:
    done = 0
    while done < 25:
        session = store.load_session("s")
        assert session is not None
        session.set_metadata("count", session.get_metadata("count") + 1)
        try:
            store.update_session(session)
        except SessionConflictError:
            continue
        done += 1


@pytest.mark.parametrize("work", [edit, update])
def test_no_update_is_lost_between_threads(store: StateStore, work: Callable[[StateStore], None]) -> None:
    store.save_session(Session("user", "s", metadata={"count": 0}))
    stores = [store, StateStore(store.base_path), store, store]
    in_threads(*(partial(work, used) for used in stores))
    session = store.load_session("s")
    assert session is not None
    assert session.metadata == {"count": 100}


@pytest.mark.parametrize("function", ["edit", "update"])
def test_no_update_is_lost_between_processes(store: StateStore, function: str) -> None:
    store.save_session(Session("user", "s", metadata={"count": 0}))
    with Workers(3, function, store, "s", 25) as workers:
        workers.go_on()
        edit(store)
        workers.said()
    session = store.load_session("s")
    assert session is not None
    assert session.metadata == {"count": 100}


def test_of_many_callers_of_get_or_create_one_creates_the_session(store: StateStore) -> None:
    for round_ in range(3):
        with Workers(3, "create", store, f"s{round_}", 4) as workers:
            workers.go_on()
            times = workers.said()
        assert len(times) == 12
        assert len(set(times)) == 1
        session = store.load_session(f"s{round_}")
        assert session is not None
        assert str(session.created_at) == times[0]
    assert len(store.list_category("sessions")) == 3


def test_a_session_saved_after_it_was_listed_is_not_pruned(store: StateStore) -> None:
    add_old(store, "a", "b", "c")

    def keep(summary: SessionSummary) -> bool:  # called between the listing and the removal
        if summary.id == "a":
            touch(store, ["a"])
        if summary.id == "b":
            store.delete_session("b")
        return False

    assert [summary.id for summary in store.prune(OLD_GO, keep=keep)] == ["c"]
    assert [summary.id for summary in store.list_sessions()] == ["a"]


def test_prunes_in_many_processes_remove_no_fresh_session(store: StateStore) -> None:
    session_ids = [f"s{number:03}" for number in range(150)]
    add_old(store, *session_ids)
    with Workers(2, "prune", store) as workers:
        halves = [session_ids[::2], session_ids[1::2]]
        in_threads(*(partial(touch, store, half) for half in halves))
        workers.go_on()
        workers.said()
    store.prune(OLD_GO)
    assert store.list_category("sessions") == session_ids


def test_readers_see_the_old_session_or_the_new_one_and_never_wait(store: StateStore) -> None:
    store.save_session(Session("user", "s", metadata={"messages": 0}))
    seen = set()
    with Workers(2, "rewrite", store, "s", 150) as workers:
        workers.go_on()
        while any(process.poll() is None for process in workers.processes):
            session = store.load_session("s")
            assert session is not None
            assert session.metadata == {"messages": len(session.user_messages)}
            assert [summary.id for summary in store.list_sessions()] == ["s"]
            assert store.list_category("sessions") == ["s"]
            seen.add(len(session.user_messages))
        assert workers.said() == ["done", "done"]
    assert len(seen) > 1


def test_a_reader_does_not_wait_for_the_lock(store: StateStore) -> None:
    add_old(store, "s")

    def read() -> None:
        assert store.load_session("s") is not None
        assert store.list_sessions()
        assert store.list_category("sessions") == ["s"]
        assert store.load_json("sessions", "s")
        assert store.get_or_create_session("user", "s").created_at == LONG_AGO

    with store.lock("sessions"):
        in_threads(read)


def test_an_unconditional_save_is_staged_before_it_waits_for_the_lock(store: StateStore) -> None:
    def staged() -> list[Path]:
        return list(store.base_path.rglob("*.tmp"))

    store.save_json("c", "a", "old")
    saving = threading.Thread(target=store.save_json, args=["c", "a", "new"])
    with store.lock("c"):
        saving.start()
        while not staged():
            pass
        assert store.load_json("c", "a") == "old"
    saving.join()
    assert store.load_json("c", "a") == "new"
    assert staged() == []


def test_simultaneous_unconditional_saves_leave_one_whole_document(store: StateStore) -> None:
    values = [[number] * number * 1000 for number in range(1, 9)]
    in_threads(*(partial(store.save_json, "c", "a", value) for value in values for _ in range(3)))
    assert store.load_json("c", "a") in values
    assert [path.name for path in (store.base_path / "c").iterdir()] == ["a.json"]


def test_a_store_works_in_a_pool_of_spawned_processes(store: StateStore) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        saved = [pool.submit(store.save_json, "c", str(number), number) for number in range(20)]
        assert [future.result() for future in saved] == [None] * 20
        loaded = [pool.submit(store.load_json, "c", str(number)) for number in range(20)]
        assert [future.result() for future in loaded] == list(range(20))
        created = [pool.submit(store.get_or_create_session, "user", "s") for _ in range(10)]
        assert len({future.result().created_at for future in created}) == 1
    assert len(store.list_category("c")) == 20
