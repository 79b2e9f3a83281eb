"""The list of sessions: its order, what it leaves out, and what threads and processes share of it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oxios_state import PruneConfig, Session, StateStore, UserMessage
from oxios_state.model.summary import summarise

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def fresh(base: Path) -> StateStore:
    """Return a store without memory, as another process has it."""
    return StateStore(base, durable=False)


def ids(store: StateStore) -> list[str]:
    return [summary.id for summary in store.list_sessions()]


# The list.


def test_a_list_is_ordered_by_time_and_then_by_id(store: StateStore) -> None:
    for session_id, minutes in (("b", 0), ("a", 0), ("c", 1)):
        store.save_session(Session("u", session_id, created_at=NOON + timedelta(minutes=minutes)))
    store.save_markdown("sessions", "note", "not a session")
    assert ids(store) == ["c", "a", "b"]


def test_the_order_is_exact_to_the_nanosecond(store: StateStore) -> None:
    for session_id, fraction in (("early", "123456788"), ("late", "123456789")):
        store.save_session(Session("u", session_id, created_at=NOON))
        path = store.base_path / f"sessions/{session_id}.json"
        path.write_text(path.read_text().replace("12:00:00Z", f"12:00:00.{fraction}Z"))
    assert ids(store) == ["late", "early"]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b"{"), "line 1, column 2"),
        (lambda path: path.write_bytes(b"[]"), "expected an object, not an array"),
        (lambda path: path.replace(path.with_name("a..b.json")), "contains '..'"),
        (lambda path: path.replace(path.with_name("other.json")), "the id is 'bad'"),
    ],
)
def test_an_unreadable_file_is_left_out_and_logged(
    store: StateStore, caplog: pytest.LogCaptureFixture, spoil: Any, reason: str
) -> None:
    for session_id in ("bad", "good"):
        store.save_session(Session("u", session_id))
    spoil(store.base_path / "sessions/bad.json")
    with caplog.at_level(logging.WARNING, "oxios_state"):
        assert ids(store) == ["good"]
    assert [reason in record.getMessage() for record in caplog.records] == [True]


def test_a_warning_keeps_type_and_text_of_an_error_without_errno(
    store: StateStore, calls: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    class ProgramError(OSError):
        pass

    def fail(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith("bad.json"):
            raise ProgramError("out of order")
        return os.open(path, *rest, **more)

    for session_id in ("bad", "good"):
        store.save_session(Session("u", session_id))
    calls.open = fail
    with caplog.at_level(logging.WARNING, "oxios_state"):
        assert ids(fresh(store.base_path)) == ["good"]
    assert ["ProgramError: out of order" in record.getMessage() for record in caplog.records] == [True]


def test_a_corrupt_file_is_read_once_and_logged_once_by_a_store(
    base_of_two: Path, caplog: pytest.LogCaptureFixture, summary_file: Path, decoded: list[str]
) -> None:
    (base_of_two / "sessions" / "bad.json").write_bytes(b"{")
    for store in (fresh(base_of_two), fresh(base_of_two)):
        decoded.clear()
        caplog.clear()
        for _ in range(2):
            assert len(store.list_sessions()) == 2
        assert [record.message.count("bad.json: line 1") for record in caplog.records] == [1]
        assert decoded.count("bad") == 1
    assert b"bad.json" not in summary_file.read_bytes()


BAD_FILES: dict[str, tuple[str, Any]] = {
    "corrupt": ("bad", lambda path: path.write_bytes(b"{")),
    "a name that is refused": ("b..d", lambda path: path.write_bytes(b"{}")),
    "a pipe": ("bad", os.mkfifo),
    "a link outside": ("bad", lambda path: path.symlink_to("/etc/passwd")),
    "a link in a circle": ("bad", lambda path: path.symlink_to("bad.json")),
}


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
@pytest.mark.parametrize("kind", BAD_FILES)
def test_lists_searches_and_prunes_log_a_bad_file_once_for_each_of_its_states(
    store: StateStore, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    name, make = BAD_FILES[kind]
    path = store.base_path / "sessions" / f"{name}.json"
    store.save_session(Session("u", "good"))
    make(path)
    for number in range(1, 3):
        for _ in range(2):
            assert ids(store) == ["good"]
            assert (list(store.search_sessions("x")), store.prune(dry_run=True)) == ([], [])
        assert len(caplog.messages) == number
        assert name in caplog.messages[-1]
        path.unlink()
        assert ids(store) == ["good"]
        make(path)
    assert ids(StateStore(store.base_path)) == ["good"]  # another store
    assert len(caplog.messages) == 3


def test_a_bad_file_is_logged_again_when_its_content_changes(
    store: StateStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.save_session(Session("u", "good"))
    path = store.base_path / "sessions" / "bad.json"
    for content in (b"{", b"{", b'{"id": "bad"}', b'{"id": "bad", "x": 1}', b"{"):
        path.write_bytes(content)
        assert ids(store) == ["good"]
    assert len(caplog.messages) == 4


def test_a_file_that_may_not_be_read_is_logged_once(nobody: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = StateStore(nobody, durable=False)
    for session_id in ("bad", "good"):
        store.save_session(Session("u", session_id))
    (nobody / "sessions" / "bad.json").chmod(0)
    for _ in range(2):
        assert ids(store) == ["good"]
        assert [hit.session_id for hit in store.search_sessions("x")] == []
    assert ["Permission denied" in message for message in caplog.messages] == [True]


def test_a_session_deleted_during_the_list_is_left_out(store: StateStore, caplog: pytest.LogCaptureFixture) -> None:
    for session_id in ("deleted", "s"):
        store.save_session(Session("u", session_id))

    def delete_one(files: Iterable[Any]) -> Iterable[Any]:
        store.delete_session("deleted")
        return files

    assert [summary.id for summary in store.list_sessions(progress=delete_one)] == ["s"]
    assert not caplog.records


@pytest.mark.parametrize(
    ("metadata", "extra", "project"),
    [
        ({}, {}, None),
        ({"project_ids": "a"}, {}, "a"),
        ({"project_ids": " a , b"}, {}, "a"),
        ({"project_ids": ",b"}, {}, "b"),
        ({"project_ids": ["a", "b"]}, {}, "a"),
        ({"project_ids": [1, "b"]}, {}, "b"),
        ({"project_ids": {"a": 1}}, {}, None),
        ({"project_ids": "a", "project_id": "m"}, {}, "m"),
        ({"project_ids": "a", "project_id": "m"}, {"project_id": "top"}, "top"),
        ({"project_ids": "a", "project_id": None}, {"project_id": 7}, "a"),
    ],
)
def test_a_summary_names_the_project(metadata: dict[str, Any], extra: dict[str, Any], project: str | None) -> None:
    assert summarise(Session("u", "s", metadata=metadata, extra=extra)).project_id == project


@pytest.mark.parametrize(
    ("metadata", "messages", "title"),
    [
        ({}, [], None),
        ({}, [" \n "], None),
        ({}, ["one\ntwo"], "one"),
        ({}, ["\n\n one \ntwo"], "one"),
        ({}, ["x" * 70], "x" * 60),
        ({"title": "given"}, ["one"], "given"),
        ({"title": ""}, ["one"], "one"),
        ({"title": 3}, ["one"], "one"),
    ],
)
def test_a_summary_has_a_title(metadata: dict[str, Any], messages: list[str], title: str | None) -> None:
    session = Session("u", "s", metadata=metadata, user_messages=[UserMessage(text) for text in messages])
    assert summarise(session).title == title


# The file shared between processes.


def test_the_next_process_reads_only_changed_files(
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


def test_the_cache_file_drops_the_title_of_a_deleted_session(base_of_two: Path, summary_file: Path) -> None:
    store = fresh(base_of_two)
    for number in range(100):
        store.save_session(Session("u", f"other-{number}"))
    store.list_sessions()
    assert b"T \\u00e9" in summary_file.read_bytes()
    store.delete_session("a")
    store.list_sessions()
    assert b"T \\u00e9" not in summary_file.read_bytes()


def test_processes_can_write_the_cache_file_at_once(
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


def test_prune_sweeps_what_a_killed_writer_of_the_cache_file_left(base_of_two: Path, summary_file: Path) -> None:
    orphan = summary_file.with_name(".oxios_state.0123456789abcdef.tmp")
    fresh(base_of_two).list_sessions()
    orphan.write_bytes(b"half")
    fresh(base_of_two).prune(PruneConfig(0, 0))
    assert not orphan.exists()
    assert summary_file.exists()


# Threads that list at the same time.


def test_threads_that_list_first_all_get_the_whole_list(
    base_of_two: Path, truth: Callable[[], str], listed: Callable[[StateStore], str]
) -> None:
    expected = truth()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(50):
                store, barrier = fresh(base_of_two), threading.Barrier(8)

                def list_at_once(store: StateStore = store, barrier: threading.Barrier = barrier) -> str:
                    barrier.wait()
                    return listed(store)

                futures = [pool.submit(list_at_once) for _ in range(8)]
                assert {future.result() for future in futures} == {expected}
    finally:
        sys.setswitchinterval(before)


def test_a_list_is_not_mixed_with_one_that_began_later(base_of_two: Path, listed: Callable[[StateStore], str]) -> None:
    store = fresh(base_of_two)
    before = listed(store)

    def save_and_list(files: Iterable[Any]) -> Iterable[Any]:
        store.save_session(Session("u", "new"))
        assert len(store.list_sessions()) == 3
        return files

    assert repr(store.list_sessions(progress=save_and_list)) == before
    store.delete_session("new")
    assert listed(store) == before


def test_a_list_is_not_mixed_with_one_that_began_earlier(settled_store: StateStore) -> None:
    store = settled_store
    for session_id in ("a", "b"):
        store.save_session(Session("ada", session_id))
    listed, go_on = threading.Event(), threading.Event()

    def counts(progress: Callable[[Iterable[Any]], Iterable[Any]] | None = None) -> dict[str, int]:
        return {summary.id: summary.message_count for summary in store.list_sessions(progress=progress)}

    def wait(files: Iterable[Any]) -> Iterable[Any]:
        listed.set()
        assert go_on.wait(10)
        return files

    def let_the_early_thread_finish(files: Iterable[Any]) -> Iterable[Any]:
        go_on.set()
        early.join()
        return files

    assert counts() == {"a": 0, "b": 0}
    with store.edit_session("b") as session:  # so that the early thread makes a list of its own
        session.add_user_message("new")
    early = threading.Thread(target=store.list_sessions, kwargs={"progress": wait})
    early.start()
    assert listed.wait(10)
    with store.edit_session("a") as session:
        session.add_user_message("new")
    assert counts() == {"a": 1, "b": 1}
    assert counts(let_the_early_thread_finish) == {"a": 1, "b": 1}
    assert counts() == {"a": 1, "b": 1}


def test_the_cache_file_drops_the_title_of_a_deleted_session_when_threads_list(
    base_of_two: Path, summary_file: Path, calls: SimpleNamespace
) -> None:
    """One thread lists before the deletion, another after it; the first is the last to write."""
    store = fresh(base_of_two)
    listed, deleted, written, go_on = (threading.Event() for _ in range(4))
    replace = calls.replace

    def wait_for_the_deletion(files: Iterable[Any]) -> Iterator[Any]:
        yield from files
        listed.set()
        deleted.wait(10)

    def replace_and_wait(*paths: Any) -> None:
        replace(*paths)
        if threading.current_thread() is late:
            written.set()
            go_on.wait(10)

    calls.replace = replace_and_wait
    early = threading.Thread(target=store.list_sessions, kwargs={"progress": wait_for_the_deletion})
    late = threading.Thread(target=store.list_sessions)
    early.start()
    listed.wait(10)
    store.delete_session("a")
    late.start()
    written.wait(10)
    deleted.set()
    early.join()
    go_on.set()
    late.join()
    assert ids(store) == ["b"]
    assert b"T \\u00e9" not in summary_file.read_bytes()
