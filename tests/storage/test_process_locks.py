"""The lock of a category between processes: order, timeouts, killed processes and failing system calls."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pytest

from oxios_state import LockTimeoutError, StateStore
from oxios_state.storage import locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Takes = Callable[[float, Callable[[], float]], None]


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state")


@contextmanager
def other_process(store: StateStore, category: str = "c") -> Iterator[subprocess.Popen[str]]:
    """Start a process that prints the time when it gets the lock, and holds it until its input ends."""
    script = str(Path(__file__).parents[1] / "workers.py")
    command = [sys.executable, "-P", script, "hold", str(store.base_path), category]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def release(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def is_free(store: StateStore, category: str = "c") -> bool:
    try:
        with store.lock(category, timeout=0):
            return True
    except LockTimeoutError:
        return False


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def until_waiting(store: StateStore) -> None:
    """Wait until another process waits for the lock of category c, and so holds the turn."""

    def is_taken() -> bool:
        descriptor = os.open(store.base_path / ".oxios_state/locks/c.turn", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            return not filelock.lock_descriptor(descriptor, blocking=False)
        finally:
            os.close(descriptor)

    until(is_taken)


def test_a_process_waits_for_another(store: StateStore) -> None:
    with other_process(store) as process:
        assert line_of(process)
        assert not is_free(store)
        assert is_free(store, "another")
        release(process)
        assert line_of(process) == "released"
        assert is_free(store)


def test_a_waiting_process_gets_in_at_once_and_is_not_starved(store: StateStore, takes: Takes) -> None:
    def give_way() -> float:
        with ExitStack() as stack:
            with store.lock("c"):
                process = stack.enter_context(other_process(store))
                until_waiting(store)
                release(process)
                released = time.monotonic()
            with store.lock("c"):  # at once: the other process has had it by now
                again = time.monotonic()
                assert released <= float(line_of(process)) <= again
        return again - released

    takes(0, give_way)


def test_processes_get_the_lock_one_after_another(store: StateStore) -> None:
    with ExitStack() as stack:
        with store.lock("c"):
            processes = [stack.enter_context(other_process(store)) for _ in range(3)]
            until_waiting(store)
            for process in processes:
                release(process)
        assert all(float(line_of(process)) for process in processes)
        assert [line_of(process) for process in processes] == ["released"] * 3


def test_a_process_that_times_out_releases_its_turn(store: StateStore, takes: Takes) -> None:
    def give_up() -> float:
        start, work = time.monotonic(), time.thread_time()
        with pytest.raises(LockTimeoutError, match=r"category 'c' was not free within 0\.3 s"), store.lock("c", 0.3):
            pass
        assert time.thread_time() - work < 0.1  # it slept
        return time.monotonic() - start

    with other_process(store) as process:
        line_of(process)
        takes(0.3, give_up)
        assert not is_free(store)
        with other_process(store) as next_process:
            until_waiting(store)  # the turn was released
            release(process)
            assert line_of(next_process)
    assert is_free(store)


def test_a_timeout_covers_the_wait_for_threads_and_processes(store: StateStore, takes: Takes) -> None:
    def give_up() -> None:
        with suppress(LockTimeoutError), store.lock("c", timeout=0.4):
            pass

    def wait_for_both() -> float:
        first = threading.Thread(target=give_up)  # waits for the process
        first.start()
        until(lambda: any(lock.owner is not None for lock in locks._process.locks.values()))
        start = time.monotonic()
        with pytest.raises(LockTimeoutError), store.lock("c", timeout=0.7):  # waits for the thread, then the process
            pass
        taken = time.monotonic() - start
        first.join()
        return taken

    with other_process(store) as process:
        line_of(process)
        takes(0.7, wait_for_both)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupted_process_lets_the_next_one_in(store: StateStore) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def take() -> None:
        with store.lock("c"):
            entered.set()

    def send() -> None:
        until_waiting(store)
        signal.pthread_kill(main, signal.SIGUSR1)

    entered, main = threading.Event(), threading.get_ident()
    sender, second = threading.Thread(target=send), threading.Thread(target=take)
    former = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with other_process(store) as process:
            line_of(process)
            sender.start()
            with pytest.raises(KeyboardInterrupt), store.lock("c"):
                pass
            second.start()
    finally:
        signal.signal(signal.SIGUSR1, former)
    second.join()
    sender.join()
    assert entered.is_set()
    assert is_free(store)


@pytest.mark.parametrize("waits", [False, True])
def test_a_killed_process_frees_its_lock_and_its_turn(store: StateStore, *, waits: bool) -> None:
    with ExitStack() as stack:
        if waits:
            stack.enter_context(store.lock("c"))
        process = stack.enter_context(other_process(store))
        if waits:
            until_waiting(store)
        else:
            assert line_of(process)
        process.kill()
        process.wait()
    assert is_free(store)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_a_clear_error(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(descriptor: int, *, blocking: bool = True) -> bool:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(locks, "lock_descriptor", refuse)
        with pytest.raises(OSError, match="the file system has no file locks") as caught, store.lock("c"):
            pass
        assert caught.value.errno == code
        reason = "the file system has no file locks, and a store is not safe without them"
        assert caught.value.strerror == reason
        assert Path(caught.value.filename).parent == store.base_path / ".oxios_state" / "locks"
        with pytest.raises(OSError, match=f"not saved, {reason}") as caught:
            store.save_json("c", "a", 1)
        assert (caught.value.errno, caught.value.filename) == (code, str(store.base_path / "c" / "a.json"))
    assert is_free(store)
    assert store.list_category("c") == []


def broken(*_: object, **__: object) -> bool:
    raise OSError(errno.EIO, "broken")


@pytest.mark.parametrize("where", ["lock_descriptor", "os.fstat"])
def test_a_failing_lock_call_leaves_the_lock_free(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(f"oxios_state.storage.locks.{where}", broken)
        with pytest.raises(OSError, match="broken") as caught, store.lock("c"):
            pytest.fail("the block must not run")
    assert (caught.value.errno, caught.value.strerror) == (errno.EIO, "broken")
    assert Path(caught.value.filename).parent == store.base_path / ".oxios_state" / "locks"
    assert is_free(store)


@pytest.mark.parametrize(("well", "name"), [(0, "c.turn"), (1, "c.lock")])
def test_a_failing_lock_call_names_the_lock_file(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, well: int, name: str
) -> None:
    lock, left = filelock.lock_descriptor, [True] * well

    def break_later(descriptor: int, *, blocking: bool = True) -> bool:
        return lock(descriptor, blocking=blocking) if left and left.pop() else broken()

    with monkeypatch.context() as patch:
        patch.setattr(locks, "lock_descriptor", break_later)
        with pytest.raises(OSError, match="broken") as caught, store.lock("c"):
            pytest.fail("the block must not run")
    assert caught.value.filename == str(store.base_path / ".oxios_state" / "locks" / name)
    assert is_free(store)


def test_a_failing_unlock_raises_nothing_and_leaves_the_lock_free(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(locks, "unlock_descriptor", broken)
        with store.lock("c"):
            pass
    assert is_free(store)


def test_a_pickled_store_shares_the_lock(store: StateStore) -> None:
    copy = pickle.loads(pickle.dumps(store))
    with other_process(store) as process:
        line_of(process)
        assert not is_free(copy)
    assert is_free(copy)
