"""The file of summaries is never the truth: whatever it holds, or is, the list of sessions is right."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from oxios_state import (
    PruneConfig,
    Session,
    SessionSummary,
    StateStore,
    Timestamp,
    UserMessage,
    files,
    reading,
    summaries,
)
from oxios_state.revisions import Identity

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
posix = pytest.mark.skipif(files.WINDOWS, reason="modes and special files of POSIX")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # As if every file had been there for a while.
    monkeypatch.setattr(reading, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 10**10))
    store = StateStore(tmp_path / "state", durable=False)
    nanoseconds = Timestamp(2026, 3, 1, 13, nanosecond=7, tzinfo=UTC)
    store.save_session(Session("ada", "a", created_at=NOON, metadata={"title": "T \u00e9 \U0001f680"}))
    store.save_session(Session("bo", "b", created_at=nanoseconds, user_messages=[UserMessage("hello\nyou")]))
    return store.base_path


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the sessions whose files were looked at."""
    ids: list[str] = []
    summarise = summaries.summarise

    def summarise_and_note(session: Session) -> SessionSummary:
        ids.append(session.id)
        return summarise(session)

    monkeypatch.setattr(summaries, "summarise", summarise_and_note)
    return ids


def fresh(base: Path) -> StateStore:
    return StateStore(base, durable=False)


def cache_of(base: Path) -> Path:
    return base / ".oxios_state" / "cache" / "summaries.json"


def truth(base: Path) -> str:
    """What is listed without the file, down to the types."""
    shutil.rmtree(base / ".oxios_state" / "cache", ignore_errors=True)
    return exactly(fresh(base).list_sessions())


def exactly(listed: list[SessionSummary]) -> str:
    assert all(type(summary.id) is str for summary in listed)
    return repr(listed)


def test_the_next_process_looks_at_no_file_that_is_what_it_was(base: Path, looked: list[str]) -> None:
    expected = truth(base)
    assert sorted(looked) == ["a", "b"]
    for store in (fresh(base), fresh(base)):
        assert exactly(store.list_sessions()) == exactly(store.list_sessions()) == expected
    assert sorted(looked) == ["a", "b"]
    fresh(base).save_session(Session("new", "b"))
    assert exactly(fresh(base).list_sessions()) == truth(base) != expected
    assert sorted(looked) == ["a", "a", "b", "b", "b"]


@posix
def test_the_file_is_for_its_owner_and_holds_no_session_that_is_too_young(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh(base).list_sessions()
    assert stat.S_IMODE(cache_of(base).stat().st_mode) == 0o600
    assert stat.S_IMODE(cache_of(base).parent.stat().st_mode) == 0o700
    fresh(base).save_session(Session("u", "young"))
    young = (base / "sessions" / "young.json").stat().st_ctime_ns
    monkeypatch.setattr(reading, "time", SimpleNamespace(time_ns=lambda: young + 10**7))
    cache_of(base).unlink()
    assert len(fresh(base).list_sessions()) == 3
    for text in (b"young", b'"a.json"', b'"b.json"'):
        assert text not in (cache_of(base).read_bytes() if cache_of(base).exists() else b"")


def test_a_title_does_not_outlive_its_session_in_the_file(base: Path) -> None:
    store = fresh(base)
    for number in range(100):
        store.save_session(Session("u", f"other-{number}"))
    store.list_sessions()
    assert b"T \\u00e9" in cache_of(base).read_bytes()
    store.delete_session("a")
    store.list_sessions()
    assert b"T \\u00e9" not in cache_of(base).read_bytes()


def test_what_cannot_be_read_is_looked_at_once_by_a_store_and_said_each_time(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (base / "sessions" / "bad.json").write_bytes(b"{")
    for store in (fresh(base), fresh(base)):
        for _ in range(2):
            caplog.clear()
            assert len(store.list_sessions()) == 2
            assert [record.message.count("bad.json: line 1") for record in caplog.records] == [1]
    assert b"bad" not in cache_of(base).read_bytes()


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
    base: Path, calls: SimpleNamespace, call: str
) -> None:
    expected = truth(base)
    cache_of(base).unlink()

    def fail(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for name in (call, "write") if call == "writev" else (call,):
        setattr(calls, name, fail)
    store = fresh(base)
    for _ in range(2):
        assert exactly(store.list_sessions()) == expected
    assert os.listdir(cache_of(base).parent) == []


def test_listing_makes_no_directory_that_is_not_there(tmp_path: Path, base: Path) -> None:
    assert fresh(tmp_path / "none").list_sessions() == []
    assert not (tmp_path / "none").exists()
    (tmp_path / "bare").mkdir()
    assert fresh(tmp_path / "bare").list_sessions() == []
    assert list((tmp_path / "bare").iterdir()) == []
    store = fresh(base)
    assert len(store.list_sessions()) == 2
    shutil.rmtree(base)  # by somebody else
    assert store.list_sessions() == []
    assert not base.exists()


# Several at once.


def test_threads_that_list_a_store_for_the_first_time_all_get_all(base: Path) -> None:
    expected = truth(base)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(50):
                store, barrier = fresh(base), threading.Barrier(8)

                def ask(store: StateStore = store, barrier: threading.Barrier = barrier) -> str:
                    barrier.wait()
                    return exactly(store.list_sessions())

                asked = [pool.submit(ask) for _ in range(8)]
                assert {future.result() for future in asked} == {expected}
    finally:
        sys.setswitchinterval(before)


def test_a_list_that_another_thread_made_meanwhile_is_not_mixed_with_ones_own(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fresh(base)
    before = exactly(store.list_sessions())
    identities = reading.identities

    def look_slowly(directory: Path, extension: str) -> list[tuple[str, Identity]]:
        found = identities(directory, extension)
        monkeypatch.undo()
        store.save_session(Session("u", "new"))
        assert len(store.list_sessions()) == 3
        return found

    monkeypatch.setattr(reading, "identities", look_slowly)
    assert exactly(store.list_sessions()) == before
    store.delete_session("new")
    assert exactly(store.list_sessions()) == before


def test_processes_that_write_the_file_at_once_do_no_harm(base: Path) -> None:
    code = """if True:
        import sys
        from oxios_state import StateStore
        sys.stdin.read()
        for _ in range(100):
            assert len(StateStore(sys.argv[1], durable=False).list_sessions()) >= 2
    """
    command = [sys.executable, "-c", code, str(base)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(3)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
    number = 0
    while any(worker.poll() is None for worker in workers):
        fresh(base).save_session(Session("u", f"n{number % 5}"))
        cache_of(base).unlink(missing_ok=True)
        number += 1
    assert [worker.wait() for worker in workers] == [0] * 3
    listed = exactly(fresh(base).list_sessions())
    assert listed == truth(base)
    assert not list(base.rglob("*.tmp"))


def test_what_a_killed_writer_of_it_left_is_swept(base: Path) -> None:
    left = cache_of(base).with_name(".oxios_state.0123456789abcdef.tmp")
    fresh(base).list_sessions()
    left.write_bytes(b"half")
    fresh(base).prune(PruneConfig(0, 0))
    assert not left.exists()
    assert cache_of(base).exists()
