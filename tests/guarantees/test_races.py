"""Events between two steps of an operation: saves of the kernel, signal handlers, errors, and threads that die."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from oxios_state import (
    CorruptStateError,
    InvalidNameError,
    LockTimeoutError,
    PruneConfig,
    Session,
    SessionConflictError,
    StateStore,
    UnsupportedValueError,
    UserMessage,
)
from oxios_state.sessions import pruning
from oxios_state.sessions.repository import Sessions
from oxios_state.storage import locks, tree
from oxios_state.storage.locks import CategoryLocks
from oxios_state.storage.tree import Directory, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALL_OLD = PruneConfig(max_sessions=0, ttl_hours=1)


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    store = StateStore(tmp_path / "state", lock_timeout=5)
    for name in ("a", "b", "c"):
        store.save_session(Session("user", name, created_at=OLD))
    return store


def kernel_saves(path: Path, user_id: str) -> None:
    """Save as the kernel does: write another file and rename it, without a lock."""
    temporary = path.with_name(f"{path.stem}.tmp")
    other = StateStore(path.parents[1] / "kernel", durable=False)
    other.save_session(Session(user_id, path.stem, created_at=OLD))
    (other.base_path / "sessions" / path.name).rename(temporary)
    os.replace(temporary, path)


def test_a_session_that_vanishes_during_a_listing_is_not_listed(
    store: StateStore, calls: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    def deleting(entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        for entry in entries:
            if entry.name == "b.json":
                os.unlink(entry)
            yield entry

    @contextmanager
    def scandir(directory: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with os.scandir(directory) as entries:
            yield deleting(entries)

    calls.scandir = scandir
    assert {summary.id for summary in store.list_sessions()} == {"a", "c"}
    assert caplog.records == []


def test_an_archive_that_is_the_sessions_by_another_name_is_refused(store: StateStore) -> None:
    (store.base_path / "old").symlink_to("sessions")
    with pytest.raises(InvalidNameError, match="into their own category"):
        store.prune(ALL_OLD, archive="old")
    assert len(store.list_sessions()) == 3


def test_moving_a_file_onto_itself_is_refused(store: StateStore) -> None:
    path = store.base_path / "sessions" / "a.json"
    (store.base_path / "old").symlink_to("sessions")
    with pytest.raises(InvalidNameError, match="to where it is"):
        Tree(store.base_path, durable=False).move(path, store.base_path / "old" / "a.json")
    assert path.exists()


@pytest.mark.parametrize("links", [True, False])
def test_a_save_by_the_kernel_during_archiving_stays(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    path = store.base_path / "sessions" / "a.json"
    sync = tree.sync_directory

    def save_meanwhile(directory: Path) -> None:
        if directory.name == "archive" and (directory / "a.json").exists() and not saved:
            saved.append(directory)
            kernel_saves(path, "kernel")
        sync(directory)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    saved: list[Path] = []
    monkeypatch.setattr(tree, "sync_directory", save_meanwhile)
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    removed = store.prune(ALL_OLD, archive="archive")
    assert saved
    assert [summary.id for summary in removed] == ["c", "b"]
    session = store.load_session("a")
    assert session is not None
    assert session.user_id == "kernel"


def test_a_session_that_the_kernel_deletes_during_archiving_is_archived(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.base_path / "sessions" / "a.json"
    sync = tree.sync_directory

    def delete_meanwhile(directory: Path) -> None:
        if directory.name == "archive" and (directory / "a.json").exists():
            path.unlink(missing_ok=True)
        sync(directory)

    monkeypatch.setattr(tree, "sync_directory", delete_meanwhile)
    assert len(store.prune(ALL_OLD, archive="archive")) == 3
    assert store.list_category("archive") == ["a", "b", "c"]


def test_get_or_create_does_not_overwrite_a_session_that_the_kernel_created_meanwhile(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.base_path / "sessions" / "new.json"
    update = Sessions.update

    def update_late(self: Sessions, session: Session) -> None:
        kernel_saves(path, "user")
        update(self, session)

    monkeypatch.setattr(Sessions, "update", update_late)
    before = store.get_or_create_session("user", "new")
    assert before.created_at == OLD


def test_get_or_create_of_a_session_that_others_create_and_delete_is_a_conflict(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conflict(*_: object) -> None:
        raise SessionConflictError("created meanwhile, and deleted again")

    monkeypatch.setattr(Sessions, "update", conflict)
    with pytest.raises(SessionConflictError, match="session 'new' was repeatedly created and deleted"):
        store.get_or_create_session("user", "new")


def test_a_link_is_not_archived(store: StateStore) -> None:
    path = store.base_path / "sessions" / "a.json"
    (store.base_path / "kept").mkdir()
    path.rename(store.base_path / "kept" / "a.json")
    path.symlink_to("../kept/a.json")
    with pytest.raises(InvalidNameError, match="a symbolic link is not archived"):
        store.prune(ALL_OLD, archive="archive")
    assert [summary.id for summary in store.list_sessions()] == ["a"]


def test_a_session_that_became_a_directory_does_not_stop_a_prune(store: StateStore) -> None:
    def spoil(summary: Any) -> bool:
        if summary.id == "a":
            path = store.base_path / "sessions" / "a.json"
            path.unlink()
            path.mkdir()
        return False

    with pytest.raises(CorruptStateError, match="not a regular file") as caught:
        store.prune(ALL_OLD, keep=spoil)
    assert caught.value.__notes__ == ["2 sessions were removed, 1 could not be"]
    assert store.list_sessions() == []


def test_a_lock_timeout_during_a_prune_says_how_many_were_removed(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, held = CategoryLocks.hold, []

    def hold_twice(self: CategoryLocks, category: str) -> Any:
        held.append(category)
        if len(held) > 2:
            raise LockTimeoutError("the lock")
        return hold(self, category)

    monkeypatch.setattr(pruning, "_MAX_HOLD", 0)  # another gets the lock after each removal
    monkeypatch.setattr(CategoryLocks, "hold", hold_twice)
    with pytest.raises(LockTimeoutError) as caught:
        store.prune(ALL_OLD)
    assert caught.value.__notes__ == ["2 sessions were removed before"]


def test_saving_refuses_subclasses_of_sessions_and_records(store: StateStore) -> None:
    class Conversation(Session):
        pass

    class Message(UserMessage):
        pass

    with pytest.raises(TypeError, match="expected Session, not Conversation"):
        store.save_session(Conversation("user", "a"))
    session = Session("user", "a")
    session.user_messages.append(Message("x"))  # the constructor refuses it
    with pytest.raises(UnsupportedValueError, match=r"\$\.user_messages\[0\]: expected UserMessage, not .*Message\("):
        store.save_session(session)


def test_a_signal_handler_does_not_enter_a_lock_that_its_thread_is_taking(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = locks._wait_for_processes
    refused = []

    def interrupted(*arguments: Any) -> bool:
        with pytest.raises(LockTimeoutError, match="is being taken by this thread"), store.lock("sessions"):
            pytest.fail("entered")
        refused.append(True)
        return wait(*arguments)

    monkeypatch.setattr(locks, "_wait_for_processes", interrupted)
    with store.lock("sessions"):
        assert refused


def test_an_interrupt_after_an_inner_block_leaves_the_lock_to_the_outer_one(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = locks._release
    interrupts = [KeyboardInterrupt]

    def interrupted(lock: Any) -> None:
        release(lock)
        if interrupts:
            raise interrupts.pop()

    def delete() -> None:
        store.delete_session("a")
        deleted.set()

    deleted = threading.Event()
    monkeypatch.setattr(locks, "_release", interrupted)
    with store.lock("sessions"):
        with pytest.raises(KeyboardInterrupt), store.lock("sessions"):
            pass
        thread = threading.Thread(target=delete)
        thread.start()
        assert not deleted.wait(0.1)
    thread.join()
    assert deleted.is_set()


def test_an_interrupt_before_the_release_of_a_lock_still_releases_it(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = locks._release
    interrupts = [KeyboardInterrupt]

    def interrupted(lock: Any) -> None:
        if interrupts:
            raise interrupts.pop()
        release(lock)

    monkeypatch.setattr(locks, "_release", interrupted)
    with pytest.raises(KeyboardInterrupt), store.lock("sessions"):
        pass
    taken = []
    thread = threading.Thread(target=lambda: taken.append(store.delete_session("a")))
    thread.start()
    thread.join()
    assert taken == [True]


def test_an_interrupt_during_the_release_of_a_lock_releases_it_once(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), store.lock("sessions"):
        patch.setattr(locks, "_unlock", interrupted)
    assert store.delete_session("a")


def test_deleting_a_document_that_vanished_before_the_lock_returns_false(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "remove", lambda *_: False)
    assert store.delete_session("a") is False


def test_a_failed_sync_does_not_remove_a_category_that_another_created(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(directory: Path) -> None:
        raise OSError(5, "Input/output error", str(directory))

    monkeypatch.setattr(tree, "sync_directory", fail)
    with pytest.raises(OSError, match="not saved, Input/output error"):
        StateStore(store.base_path).save_session(Session("user", "d"))
    assert (store.base_path / "sessions").is_dir()


def test_a_system_that_refuses_to_lock_a_temporary_file_is_an_error(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "try_lock", lambda *_: False)  # as AppArmor and SELinux can
    with pytest.raises(OSError, match="not saved, the system refuses to lock a temporary file"):
        store.save_session(Session("user", "d"))
    assert not list(store.base_path.rglob("*.tmp"))


def test_a_quarantine_that_fails_half_way_loses_nothing(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store.base_path / "sessions" / "a.json"
    path.write_text("{")

    def half(_: object, source: Path, target: Path) -> bool:
        os.link(source, target)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Tree, "move", half)
    with pytest.raises(OSError, match="Input/output error"):
        store.quarantine.add(store.check()[0])
    assert path.read_text() == "{"
    assert [entry.path for entry in store.quarantine] == [path]


def test_a_new_thread_does_not_inherit_the_lock_of_a_dead_one(store: StateStore) -> None:
    kept: list[Any] = []
    outcomes: list[str] = []

    def take_and_die() -> None:
        kept.append(store.lock("c"))
        kept[-1].__enter__()

    def enter() -> None:
        try:
            with store.lock("c", timeout=0):
                outcomes.append("entered")
        except LockTimeoutError:
            outcomes.append("refused")

    for target in [take_and_die, *[enter] * 5]:  # the system reuses the identifiers of threads
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    assert outcomes == ["refused"] * 5
    kept[0].__exit__(None, None, None)
    enter()
    assert outcomes[-1] == "entered"
