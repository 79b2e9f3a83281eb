"""Forks: of a process whose threads hold or want locks, and inside the blocks of the store.

Each scenario runs in a process of its own, which runs this file as a script: a fork of pytest would copy its threads'
locks and its output.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import traceback
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from oxios_state import LockTimeoutError, PruneThrottle, Session, SessionConflictError, StateStore
from oxios_state.storage import locks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


def start(scenario: Callable[[StateStore], object], directory: Path) -> subprocess.Popen[str]:
    # Since Python 3.12 a fork warns when there are threads; these tests are about that.
    command = [sys.executable, "-P", "-W", "ignore::DeprecationWarning", __file__, scenario.__name__, str(directory)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(scenario: Callable[[StateStore], object], directory: Path) -> None:
    with start(scenario, directory) as process:
        try:
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")


def child(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        finish(work)
    return pid


def finish(work: Callable[[], object]) -> None:
    """Call *work* and end this process at once, without the cleanup of pytest or of the parent."""
    code = 1
    try:
        work()
        code = 0
    finally:
        if code:
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(code)


def ended_well(pid: int) -> bool:
    return os.waitpid(pid, 0)[1] == 0


class Event:
    """An event between processes."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()

    def set(self) -> None:
        os.write(self._in, b"!")

    def wait(self) -> None:
        assert os.read(self._out, 1)


def is_free(store: StateStore) -> bool:
    try:
        with store.lock("c", timeout=0):
            return True
    except LockTimeoutError:
        return False


def answer_is_free(store: StateStore) -> None:
    sys.exit(0 if is_free(store) else 3)


def is_free_elsewhere(store: StateStore) -> bool:
    """Return whether an unrelated process would get the lock at once."""
    with start(answer_is_free, store.base_path) as process:
        process.communicate()
    assert process.returncode in {0, 3}
    return process.returncode == 0


def take(store: StateStore, times: int = 1) -> None:
    for _ in range(times):
        with store.lock("c", timeout=10):
            pass


def fork_while_another_thread_holds_the_lock(store: StateStore) -> None:
    held, over, wanted = threading.Event(), threading.Event(), Event()

    def hold() -> None:
        with store.lock("c"):
            held.set()
            over.wait()

    def work() -> None:
        assert not is_free(store)
        wanted.set()
        take(store)
        thread = threading.Thread(target=take, args=[store])
        thread.start()
        thread.join()

    threads = [threading.Thread(target=hold), threading.Thread(target=take, args=[store])]
    threads[0].start()
    held.wait()
    threads[1].start()
    pid = child(work)
    wanted.wait()
    over.set()
    assert ended_well(pid)
    for thread in threads:
        thread.join()


def test_a_child_gets_the_lock_that_a_thread_of_its_parent_held(tmp_path: Path) -> None:
    run(fork_while_another_thread_holds_the_lock, tmp_path)


def fork_while_threads_come_and_go(store: StateStore) -> None:
    over = threading.Event()

    def hammer() -> None:
        while not over.is_set():
            take(store)

    def work() -> None:
        threads = [threading.Thread(target=take, args=[store, 3]) for _ in range(2)]
        for thread in threads:
            thread.start()
        take(store)
        for thread in threads:
            thread.join()

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(15):
        assert ended_well(child(work))
    over.set()
    for thread in threads:
        thread.join()


def test_children_of_a_busy_process_use_locks_and_threads_of_their_own(tmp_path: Path) -> None:
    run(fork_while_threads_come_and_go, tmp_path)


def fork_inside_a_lock(store: StateStore) -> None:
    left = Event()
    with store.lock("c"):
        with store.lock("c"):
            pid = os.fork()
            if not pid:
                assert not is_free(store)  # the parent holds it, and it is not re-entrant for the child
        if pid:
            left.wait()
            assert not is_free_elsewhere(store)
    if not pid:
        left.set()
        finish(partial(take, store))
    assert ended_well(pid)
    assert is_free(store)


def test_a_child_forked_in_a_lock_block_does_not_release_the_lock(tmp_path: Path) -> None:
    run(fork_inside_a_lock, tmp_path)


def fork_inside_an_edit(store: StateStore) -> None:
    store.save_session(Session("user", "s"))
    pid = -1
    try:
        with store.edit_session("s") as session:
            pid = os.fork()
            session.set_metadata("parent" if pid else "lost", value=True)
    except SessionConflictError:
        assert pid == 0
    else:
        if not pid:
            finish(lambda: pytest.fail("the child overwrote the save of its parent"))

    def again() -> None:
        with store.edit_session("s") as session:
            session.set_metadata("child", value=True)

    if not pid:
        finish(again)
    assert ended_well(pid)
    saved = store.load_session("s")
    assert saved is not None
    assert saved.metadata == {"parent": True, "child": True}


def test_a_child_forked_in_an_edit_gets_a_conflict(tmp_path: Path) -> None:
    run(fork_inside_an_edit, tmp_path)


def fork_and_wait_to_be_killed(store: StateStore) -> None:
    def work() -> None:
        os.write(1, b"child\n")
        sys.stdin.read()
        os.write(1, b"ends\n")

    with store.lock("c"):
        ended_well(child(work))  # this process is killed while it waits


def test_a_killed_process_frees_its_lock_though_a_child_lives(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    with start(fork_and_wait_to_be_killed, tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "child\n"
        assert not is_free(store)
        process.kill()
        process.wait()
        assert is_free(store)
        process.stdin.close()
        assert process.stdout.read() == "ends\n"  # it lived until now


def count() -> int:
    return len(os.listdir("/dev/fd"))


def count_descriptors(store: StateStore) -> None:
    def work() -> None:
        assert count() == before
        kept = os.open(os.devnull, os.O_RDONLY)  # has the number of the descriptor that is closed here
        assert ended_well(child(partial(os.fstat, kept)))
        assert not is_free(store)
        assert count() == before + 1

    take(store)
    before = count()
    for _ in range(1000):
        with store.lock("c"), store.lock("c"):
            pass
    assert count() == before
    with store.lock("c"):
        assert count() == before + 1
        assert ended_well(child(work))
    assert count() == before


def test_locks_leave_no_descriptor_open_nor_in_a_child(tmp_path: Path) -> None:
    run(count_descriptors, tmp_path)


def fork_while_a_thread_imports_the_parts_of_a_store(store: StateStore) -> None:
    importing = threading.Event()

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "oxios_state.documents":
                importing.set()
                time.sleep(0.2)  # for the fork

    sys.meta_path.insert(0, Finder)
    thread = threading.Thread(target=take, args=[store])
    thread.start()
    assert importing.wait(5)
    assert ended_well(child(partial(take, store)))
    thread.join()


def test_a_fork_waits_for_a_thread_that_imports_the_parts_of_a_store(tmp_path: Path) -> None:
    run(fork_while_a_thread_imports_the_parts_of_a_store, tmp_path)


def fork_while_a_thread_opens_a_lock_file(store: StateStore) -> None:
    """Fork after the file is opened and before its descriptor is noted."""
    opened, forking = threading.Event(), threading.Event()

    def opening(path: str, *arguments: int) -> int:
        descriptor = os.open(path, *arguments)
        if path.endswith("c.lock"):
            opened.set()
            forking.wait()
        return descriptor

    def work() -> None:
        assert count() == before

    before = count()
    setattr(locks, "os", SimpleNamespace(**{**vars(os), "open": opening}))  # noqa: B010  # mypy knows no such attribute
    thread = threading.Thread(target=take, args=[store])
    thread.start()
    opened.wait()
    os.register_at_fork(before=forking.set)
    assert ended_well(child(work))
    thread.join()


def test_a_fork_waits_for_a_thread_that_opens_a_lock_file(tmp_path: Path) -> None:
    run(fork_while_a_thread_opens_a_lock_file, tmp_path)


def fork_while_a_thread_uses_a_throttle(_: StateStore) -> None:
    asking, over = threading.Event(), threading.Event()
    times = iter([0.0, 1.0, 100.0])

    def clock() -> float:
        if not asking.is_set():
            asking.set()
            over.wait()
        return next(times)

    def work() -> None:
        assert throttle.should_prune()
        assert not throttle.should_prune()
        assert throttle.should_prune()

    throttle = PruneThrottle(10, clock=clock)
    thread = threading.Thread(target=throttle.should_prune)
    thread.start()
    asking.wait()
    pid = child(work)
    over.set()
    assert ended_well(pid)
    thread.join()


def test_a_child_can_use_a_throttle_that_a_thread_of_its_parent_was_using(tmp_path: Path) -> None:
    run(fork_while_a_thread_uses_a_throttle, tmp_path)


def keep_nothing_in_a_child(store: StateStore) -> None:
    store.save_session(Session("user", "s"))
    assert store._sessions._cache._kept

    def work() -> None:
        assert not store._sessions._cache._kept
        assert store._sessions._cache._cost == 0
        assert store.load_session("s") is not None

    assert ended_well(child(work))
    assert store._sessions._cache._kept


def test_a_child_starts_with_an_empty_session_cache(tmp_path: Path) -> None:
    run(keep_nothing_in_a_child, tmp_path)


def edit(store: StateStore) -> None:
    for _ in range(20):
        with store.edit_session("s") as session:
            session.set_metadata("count", session.get_metadata("count") + 1)


def update(store: StateStore) -> None:
    for _ in range(20):
        saved = False
        while not saved:
            session = store.load_session("s")
            assert session is not None
            session.set_metadata("count", session.get_metadata("count") + 1)
            try:
                store.update_session(session)
                saved = True
            except SessionConflictError:
                pass


def count_in_children_and_threads(store: StateStore) -> None:
    store.save_session(Session("user", "s", metadata={"count": 0}))
    threads = [threading.Thread(target=work, args=[store]) for work in (edit, update)]
    for thread in threads:
        thread.start()
    children = [child(partial(work, store)) for work in (edit, update, edit, update)]
    assert all(map(ended_well, children))
    for thread in threads:
        thread.join()
    session = store.load_session("s")
    assert session is not None
    assert session.metadata == {"count": 6 * 20}


def test_forked_children_lose_no_update(tmp_path: Path) -> None:
    run(count_in_children_and_threads, tmp_path)


if __name__ == "__main__":
    globals()[sys.argv[1]](StateStore(sys.argv[2], durable=False))
