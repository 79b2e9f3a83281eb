"""The file of summaries is never the truth: whatever it holds, or is, the list of sessions is right."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oxios_state import PruneConfig, Session, StateStore
from oxios_state.model.revision import Identity
from oxios_state.storage import reads, system

posix = pytest.mark.skipif(system.WINDOWS, reason="modes and special files of POSIX")


def fresh(base: Path) -> StateStore:
    return StateStore(base, durable=False)


def test_the_next_process_looks_at_no_file_that_is_what_it_was(
    base_of_two: Path, looked: list[str], truth: Callable[[], str], listed: Callable[[StateStore], str]
) -> None:
    expected = truth()
    assert sorted(looked) == ["a", "b"]
    for store in (fresh(base_of_two), fresh(base_of_two)):
        assert listed(store) == listed(store) == expected
    assert sorted(looked) == ["a", "b"]
    fresh(base_of_two).save_session(Session("new", "b"))
    assert listed(fresh(base_of_two)) == truth() != expected
    assert sorted(looked) == ["a", "a", "b", "b", "b"]


@posix
def test_the_file_is_for_its_owner_and_holds_no_session_that_is_too_young(
    base_of_two: Path, monkeypatch: pytest.MonkeyPatch, summary_file: Path
) -> None:
    fresh(base_of_two).list_sessions()
    assert stat.S_IMODE(summary_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(summary_file.parent.stat().st_mode) == 0o700
    fresh(base_of_two).save_session(Session("u", "young"))
    young = (base_of_two / "sessions" / "young.json").stat().st_ctime_ns
    monkeypatch.setattr(reads, "time", SimpleNamespace(time_ns=lambda: young + 10**7))
    summary_file.unlink()
    assert len(fresh(base_of_two).list_sessions()) == 3
    for text in (b"young", b'"a.json"', b'"b.json"'):
        assert text not in (summary_file.read_bytes() if summary_file.exists() else b"")


def test_a_title_does_not_outlive_its_session_in_the_file(base_of_two: Path, summary_file: Path) -> None:
    store = fresh(base_of_two)
    for number in range(100):
        store.save_session(Session("u", f"other-{number}"))
    store.list_sessions()
    assert b"T \\u00e9" in summary_file.read_bytes()
    store.delete_session("a")
    store.list_sessions()
    assert b"T \\u00e9" not in summary_file.read_bytes()


def test_a_title_does_not_outlive_its_session_in_the_file_when_threads_list(
    base_of_two: Path, summary_file: Path, calls: SimpleNamespace
) -> None:
    """One thread looks before a session is deleted, another after that; then the first is quicker to write."""
    store = fresh(base_of_two)
    looked, deleted, written, go_on = (threading.Event() for _ in range(4))
    replace = calls.replace

    def look_and_wait(files: Iterable[Any]) -> Iterator[Any]:
        yield from files
        looked.set()
        deleted.wait(10)

    def replace_and_wait(*paths: Any) -> None:
        replace(*paths)
        if threading.current_thread() is late:
            written.set()
            go_on.wait(10)

    calls.replace = replace_and_wait
    early = threading.Thread(target=store.list_sessions, kwargs={"progress": look_and_wait})
    late = threading.Thread(target=store.list_sessions)
    early.start()
    looked.wait(10)
    store.delete_session("a")
    late.start()
    written.wait(10)
    deleted.set()
    early.join()
    go_on.set()
    late.join()
    assert [summary.id for summary in store.list_sessions()] == ["b"]
    assert b"T \\u00e9" not in summary_file.read_bytes()


def test_what_cannot_be_read_is_looked_at_once_by_a_store_and_said_each_time(
    base_of_two: Path, caplog: pytest.LogCaptureFixture, summary_file: Path
) -> None:
    (base_of_two / "sessions" / "bad.json").write_bytes(b"{")
    for store in (fresh(base_of_two), fresh(base_of_two)):
        for _ in range(2):
            caplog.clear()
            assert len(store.list_sessions()) == 2
            assert [record.message.count("bad.json: line 1") for record in caplog.records] == [1]
    assert b"bad" not in summary_file.read_bytes()


@posix
def test_where_nothing_may_be_written_the_list_is_right_and_nothing_is(nobody: Path) -> None:
    store = StateStore(nobody / "state", durable=False)
    store.save_session(Session("u", "s"))
    shutil.rmtree(store.base_path / ".oxios_state")
    store.base_path.chmod(0o500)
    for _ in range(2):
        assert [summary.id for summary in fresh(store.base_path).list_sessions()] == ["s"]
    assert os.listdir(store.base_path) == ["sessions"]


@pytest.mark.parametrize("call", ["open", "writev", "replace"])
def test_a_file_that_cannot_be_written_is_not_there_for_the_next_and_no_trouble(
    base_of_two: Path,
    calls: SimpleNamespace,
    *,
    call: str,
    summary_file: Path,
    truth: Callable[[], str],
    listed: Callable[[StateStore], str],
) -> None:
    expected = truth()
    summary_file.unlink()

    def fail(*arguments: Any) -> int:
        if call == "open" and not arguments[1] & os.O_CREAT:
            return os.open(*arguments)  # to read
        raise OSError(errno.EROFS, "Read-only file system")

    for name in (call, "write") if call == "writev" else (call,):
        setattr(calls, name, fail)
    store = fresh(base_of_two)
    for _ in range(2):
        assert listed(store) == expected
    assert os.listdir(summary_file.parent) == []


def test_listing_makes_no_directory_that_is_not_there(tmp_path: Path, base_of_two: Path) -> None:
    assert fresh(tmp_path / "none").list_sessions() == []
    assert not (tmp_path / "none").exists()
    (tmp_path / "bare").mkdir()
    assert fresh(tmp_path / "bare").list_sessions() == []
    assert list((tmp_path / "bare").iterdir()) == []
    store = fresh(base_of_two)
    assert len(store.list_sessions()) == 2
    shutil.rmtree(base_of_two)  # by somebody else
    assert store.list_sessions() == []
    assert not base_of_two.exists()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no users")
def test_root_leaves_no_directory_in_anothers_store(
    base_of_two: Path, summary_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(base_of_two / ".oxios_state")
    monkeypatch.setattr(os, "geteuid", lambda: base_of_two.stat().st_uid + 1)
    assert len(fresh(base_of_two).list_sessions()) == 2
    assert not (base_of_two / ".oxios_state").exists()  # it would lock the owner out
    monkeypatch.undo()


# Several at once.


def test_threads_that_list_a_store_for_the_first_time_all_get_all(
    base_of_two: Path, truth: Callable[[], str], listed: Callable[[StateStore], str]
) -> None:
    expected = truth()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(50):
                store, barrier = fresh(base_of_two), threading.Barrier(8)

                def ask(store: StateStore = store, barrier: threading.Barrier = barrier) -> str:
                    barrier.wait()
                    return listed(store)

                asked = [pool.submit(ask) for _ in range(8)]
                assert {future.result() for future in asked} == {expected}
    finally:
        sys.setswitchinterval(before)


def test_a_list_that_another_thread_made_meanwhile_is_not_mixed_with_ones_own(
    base_of_two: Path, monkeypatch: pytest.MonkeyPatch, listed: Callable[[StateStore], str]
) -> None:
    store = fresh(base_of_two)
    before = listed(store)
    identities = reads.identities

    def look_slowly(directory: Path, extension: str) -> list[tuple[str, Identity]]:
        found = identities(directory, extension)
        monkeypatch.undo()
        store.save_session(Session("u", "new"))
        assert len(store.list_sessions()) == 3
        return found

    monkeypatch.setattr(reads, "identities", look_slowly)
    assert listed(store) == before
    store.delete_session("new")
    assert listed(store) == before


def test_processes_that_write_the_file_at_once_do_no_harm(
    base_of_two: Path, summary_file: Path, truth: Callable[[], str], listed: Callable[[StateStore], str]
) -> None:
    code = """if True:
        import sys
        from oxios_state import StateStore
        sys.stdin.read()
        for _ in range(100):
            assert len(StateStore(sys.argv[1], durable=False).list_sessions()) >= 2
    """
    command = [sys.executable, "-c", code, str(base_of_two)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(3)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
    number = 0
    while any(worker.poll() is None for worker in workers):
        fresh(base_of_two).save_session(Session("u", f"n{number % 5}"))
        summary_file.unlink(missing_ok=True)
        number += 1
    assert [worker.wait() for worker in workers] == [0] * 3
    assert listed(fresh(base_of_two)) == truth()
    assert not list(base_of_two.rglob("*.tmp"))


def test_what_a_killed_writer_of_it_left_is_swept(base_of_two: Path, summary_file: Path) -> None:
    left = summary_file.with_name(".oxios_state.0123456789abcdef.tmp")
    fresh(base_of_two).list_sessions()
    left.write_bytes(b"half")
    fresh(base_of_two).prune(PruneConfig(0, 0))
    assert not left.exists()
    assert summary_file.exists()
