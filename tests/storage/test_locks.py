"""The lock of a category between the threads of a process: order, interrupts and lock files."""

from __future__ import annotations

import gc
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from oxios_state import LockTimeoutError, StateStore
from oxios_state.storage import locks
from oxios_state.storage.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Takes = Callable[[float, Callable[[], float]], None]

posix = pytest.mark.skipif(os.name == "nt", reason="signals, links and modes of POSIX")


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state")


@contextmanager
def other_thread(store: StateStore, category: str = "c") -> Iterator[Callable[[], None]]:
    """Let another thread hold the lock until the yielded function is called, or the block ends."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with store.lock(category):
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def end() -> None:
        over.set()
        thread.join()

    try:
        yield end
    finally:
        end()


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def is_free(store: StateStore, category: str = "c") -> bool:
    """Return whether another thread would get the lock at once."""
    answers: list[bool] = []

    def attempt() -> None:
        try:
            with store.lock(category, timeout=0):
                answers.append(True)
        except LockTimeoutError:
            answers.append(False)

    in_thread(attempt).join()
    return answers[0]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def queued() -> int:
    return sum(len(lock._waiting) for lock in list(locks._process.locks.values()))


def category_locks(store: StateStore) -> locks.CategoryLocks:
    return locks.CategoryLocks(Tree(store.base_path, durable=False), timeout=1)


def lock_file(store: StateStore, name: str) -> Path:
    return store.base_path / ".oxios_state" / "locks" / name


def test_one_thread_at_a_time_is_in_the_block(store: StateStore) -> None:
    total = [0]

    def count() -> None:
        for _ in range(25):
            with store.lock("c"):
                before = total[0]
                time.sleep(0.0001)  # lets another thread in, if the lock does
                total[0] = before + 1

    threads = [in_thread(count) for _ in range(8)]
    for thread in threads:
        thread.join()
    assert total == [200]


@pytest.mark.parametrize("kind", ["same", "relative", "slash", pytest.param("link", marks=posix)])
def test_two_stores_on_one_directory_share_the_lock(store: StateStore, tmp_path: Path, kind: str) -> None:
    if kind == "link":
        (tmp_path / "link").symlink_to("state")
    path = {
        "same": str(store.base_path),
        "relative": os.path.relpath(store.base_path),
        "slash": f"{store.base_path}/",
        "link": str(tmp_path / "link"),
    }[kind]
    other = StateStore(path)
    with store.lock("c"):
        assert not is_free(other)
        with other.lock("c", timeout=0):  # re-entrant across stores
            pass
        assert not is_free(store)
    assert is_free(other)


@posix
def test_a_category_and_a_link_to_it_share_the_lock(store: StateStore) -> None:
    store.save_json("c", "x", 1)
    (store.base_path / "also").symlink_to("c")
    with store.lock("also"):
        assert not is_free(store)
    assert is_free(store)


def test_the_lock_is_held_until_the_outermost_block_ends(store: StateStore) -> None:
    with store.lock("c"):
        with store.lock("c", timeout=0), store.lock("c", timeout=0):
            pass
        assert not is_free(store)
    assert is_free(store)


def test_hold_yields_whether_the_thread_has_just_acquired_the_lock(tmp_path: Path) -> None:
    with locks.hold(tmp_path, "c", 1) as outer, locks.hold(tmp_path, "c", 1) as inner:
        assert (outer, inner) == (True, False)


def test_an_exception_in_the_block_releases_the_lock(store: StateStore) -> None:
    with pytest.raises(ZeroDivisionError), store.lock("c"):
        _ = 1 / 0
    assert is_free(store)


def test_threads_get_the_lock_first_come_first_served(store: StateStore) -> None:
    order: list[int] = []

    def take(number: int) -> None:
        with store.lock("c"):
            order.append(number)

    threads = []
    with store.lock("c"):
        for number in range(5):
            threads.append(threading.Thread(target=take, args=[number]))
            threads[-1].start()
            until(lambda number=number: queued() == number + 1)  # type: ignore[misc]
    take(5)  # wants the lock again at once, and comes last
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4, 5]


def test_threads_of_one_process_never_poll(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps: list[float] = []
    monkeypatch.setattr(locks, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleeps.append))

    def take() -> None:
        for _ in range(20):
            with store.lock("c"):
                time.sleep(0.0001)

    threads = [in_thread(take) for _ in range(4)]
    for thread in threads:
        thread.join()
    assert sleeps == []


def test_a_timeout_error_names_the_lock(store: StateStore) -> None:
    with other_thread(store, "a/b"), pytest.raises(LockTimeoutError) as caught, store.lock("a/b", timeout=0.25):
        pass
    path = lock_file(store, "a%2Fb.lock")
    assert str(caught.value) == f"the lock of category 'a/b' was not free within 0.25 s: {path}"


@pytest.mark.parametrize("timeout", [0, 0.3])
def test_a_waiting_thread_times_out_and_leaves_the_queue(store: StateStore, timeout: float, takes: Takes) -> None:
    def give_up() -> float:
        start = time.monotonic()
        with pytest.raises(LockTimeoutError), store.lock("c", timeout=timeout):
            pass
        return time.monotonic() - start

    with other_thread(store):
        takes(timeout, give_up)
        assert queued() == 0
    assert is_free(store)


def test_a_thread_that_waits_for_another_does_not_join_the_queue_of_processes(store: StateStore) -> None:
    with other_thread(store):
        lock_file(store, "c.turn").unlink()
        with pytest.raises(LockTimeoutError), store.lock("c", timeout=0.01):
            pass
        assert not lock_file(store, "c.turn").exists()


def test_the_timeout_of_the_store_is_the_default(tmp_path: Path) -> None:
    store = StateStore(tmp_path, lock_timeout=0.1)
    with other_thread(store), pytest.raises(LockTimeoutError, match=r"0\.1 s"), store.lock("c"):
        pass


def test_a_lock_handed_over_at_the_timeout_is_taken(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    withdraw = locks._Lock._withdraw
    with other_thread(store) as end:

        def withdraw_too_late(lock: locks._Lock, woken: threading.Lock) -> bool:
            end()
            return withdraw(lock, woken)

        monkeypatch.setattr(locks._Lock, "_withdraw", withdraw_too_late)
        with store.lock("c", timeout=0.01):
            assert not is_free(store)
    assert is_free(store)


@posix
@pytest.mark.parametrize("handed_over", [False, True])
def test_an_interrupted_thread_lets_the_next_one_in(store: StateStore, *, handed_over: bool) -> None:
    def interrupt(*_: object) -> None:
        if interrupted.is_set():
            return
        interrupted.set()
        if handed_over:  # this thread owns the lock by now, and has not noticed
            end()
        raise KeyboardInterrupt

    def take() -> None:
        until(lambda: queued() == 1)  # behind the main thread
        with store.lock("c"):
            entered.set()

    def send() -> None:
        until(lambda: queued() == 2)
        while not interrupted.wait(0.01):  # a signal just before the wait does not end it
            signal.pthread_kill(main, signal.SIGUSR1)

    entered, interrupted, main = threading.Event(), threading.Event(), threading.get_ident()
    former = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with other_thread(store) as end:
            threads = [in_thread(take), in_thread(send)]
            with pytest.raises(KeyboardInterrupt), store.lock("c"):
                pass
        for thread in threads:
            thread.join()
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert entered.is_set()
    assert queued() == 0
    assert is_free(store)


@pytest.mark.parametrize("joined", [False, True])
def test_an_interrupt_while_joining_the_queue_leaves_no_place_behind(store: StateStore, *, joined: bool) -> None:
    class Queue(deque[threading.Lock]):
        def append(self, woken: threading.Lock) -> None:
            if joined:
                super().append(woken)
            raise KeyboardInterrupt

    def wait() -> None:
        try:
            with store.lock("c"):
                pass
        except KeyboardInterrupt:
            interrupted.append(queued())

    interrupted: list[int] = []
    with store.lock("c"):
        (lock,) = (lock for lock in locks._process.locks.values() if lock.owner)
        lock._waiting = Queue()
        in_thread(wait).join()
        assert interrupted == [0]
        lock._waiting = deque(lock._waiting)
        with store.lock("c", timeout=0):  # this thread still holds it
            pass
        assert not is_free(store)
    assert is_free(store)


@posix
def test_lock_files_are_private_and_stay(store: StateStore) -> None:
    with store.lock("c"):
        before = [(path.name, path.stat().st_ino) for path in sorted(lock_file(store, "").iterdir())]
        assert [name for name, _ in before] == ["c.lock", "c.turn"]
    with store.lock("c"):
        pass
    assert [(path.name, path.stat().st_ino) for path in sorted(lock_file(store, "").iterdir())] == before
    assert {path.stat().st_mode & 0o777 for path in lock_file(store, "").iterdir()} == {0o600}
    assert os.listdir(store.base_path) == [".oxios_state"]


@posix
@pytest.mark.parametrize("name", ["c.lock", "c.turn"])
def test_a_link_in_place_of_a_lock_file_is_not_followed(store: StateStore, tmp_path: Path, name: str) -> None:
    with store.lock("another"):
        lock_file(store, name).symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=re.escape(str(lock_file(store, name)))), store.lock("c"):
        pass
    assert not (tmp_path / "outside").exists()
    assert is_free(store, "another")


@posix
def test_a_child_program_does_not_inherit_the_lock(store: StateStore) -> None:
    # A child that outlives a killed holder would keep the lock.
    def inherited() -> list[str]:
        code = "import os; print(*[fd for fd in range(3, 256) if os.path.exists(f'/dev/fd/{fd}')])"
        command = [sys.executable, "-c", code]
        process = subprocess.run(command, capture_output=True, text=True, check=True, close_fds=False)
        return process.stdout.split()

    before = inherited()
    with store.lock("c"):
        assert inherited() == before


ODD_CATEGORIES = [
    *["a/b", "a%2Fb", "a%2fb", "%", "%25", "a", "a.lock", "a.turn", "a/b.lock", "ü" * 125, "名" * 85, " ", "CON"],
    *["x" * 247, "x" * 250, "x" * 251, "x" * 255, "%" * 255, "%" * 84, "/".join(["y" * 249] * 12), "y/" * 1500 + "y"],
]


def test_each_category_has_its_own_lock_whatever_its_name(store: StateStore) -> None:
    with ExitStack() as stack:
        for category in ODD_CATEGORIES:
            assert is_free(store, category)
            stack.enter_context(store.lock(category, timeout=0))
            assert not is_free(store, category)
        assert len(list(lock_file(store, "").glob("*.lock"))) == len(ODD_CATEGORIES)


@pytest.mark.parametrize(
    ("category", "stem"),
    [
        ("a/b", "a%2Fb"),
        ("100%/%2F", "100%25%2F%252F"),
        ("x" * 250, "x" * 250),
        ("x" * 251, hashlib.blake2b(b"x" * 251, digest_size=32).hexdigest()),
        ("ü" * 126, hashlib.blake2b("ü".encode() * 126, digest_size=32).hexdigest()),
    ],
)
def test_lock_files_have_the_names_of_other_releases(store: StateStore, category: str, stem: str) -> None:
    with store.lock(category):
        file_names = sorted(path.name for path in lock_file(store, "").iterdir())
    assert file_names == [f"{stem}.lock", f"{stem}.turn"]


@posix
def test_hold_all_takes_the_locks_in_the_order_of_their_directories(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.base_path / "a").mkdir(parents=True)
    (store.base_path / "z").symlink_to("a")
    hold, order = locks.hold, []

    def recorded(directory: Path, category: str, timeout: float) -> AbstractContextManager[bool]:
        order.append(category)
        return hold(directory, category, timeout)

    monkeypatch.setattr(locks, "hold", recorded)
    with category_locks(store).hold_all("m", "z", "m"):
        assert not is_free(store, "a")
        assert not is_free(store, "m")
    assert order[:2] == ["a", "m"]
    assert is_free(store, "a")
    assert is_free(store, "m")


def test_hold_for_holds_the_lock_of_a_files_category(store: StateStore) -> None:
    path = store.base_path / "c" / "x.json"
    with category_locks(store).hold_for(path, path):
        assert not is_free(store, "c")
        assert is_free(store, "c/x.json")


@pytest.mark.parametrize(("kind", "is_held"), [("directory", True), pytest.param("link", False, marks=posix)])
def test_hold_for_holds_the_lock_of_a_moved_category_too(store: StateStore, kind: str, *, is_held: bool) -> None:
    store.save_json("c/d", "x", 1)
    moved = store.base_path / "c" / "d"
    if kind == "link":
        moved = store.base_path / "link"
        moved.symlink_to("c/d")
    with category_locks(store).hold_for(store.base_path / "c" / "e", moved):
        assert not is_free(store, "c")
        assert is_free(store, "c/e") is not is_held


def test_hold_for_takes_no_lock_for_a_name_that_is_not_allowed(store: StateStore) -> None:
    path = store.base_path / "a..b" / "x.json"
    with category_locks(store).hold_for(path, path):
        assert not lock_file(store, "").exists()


def test_an_unused_lock_is_freed_from_memory(store: StateStore) -> None:
    gc.collect()
    before = len(locks._process.locks)
    for number in range(20):
        with store.lock(f"c{number}"):
            pass
    assert len(locks._process.locks) == before
    assert not locks._process.descriptors
