"""Pruning, through the public store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oxios_state import (
    InvalidNameError,
    LockTimeoutError,
    PruneConfig,
    PruneThrottle,
    Session,
    SessionSummary,
    StateStore,
    UserMessage,
)
from oxios_state import store as store_module
from oxios_state.sessions import pruning as removal

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALL_RULES_OFF = PruneConfig(max_sessions=0, ttl_hours=0)


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state", lock_timeout=5)


def saved(store: StateStore, session_id: str, *, minutes: int = 0, **fields: Any) -> Session:
    session = Session("user", session_id, created_at=NOON + timedelta(minutes=minutes), **fields)
    store.save_session(session)
    return session


def ids(found: list[SessionSummary]) -> list[str]:
    return [summary.id for summary in found]


def test_a_dry_run_removes_nothing_and_says_what_would_go(store: StateStore) -> None:
    for i in range(3):
        saved(store, f"s{i}", minutes=i)
    assert ids(store.prune(PruneConfig(1, 0), dry_run=True)) == ["s0", "s1"]
    assert ids(store.list_sessions()) == ["s2", "s1", "s0"]
    assert ids(store.prune(PruneConfig(1, 0))) == ["s0", "s1"]


def test_what_is_kept_stays_and_does_not_count(store: StateStore) -> None:
    for i in range(4):
        saved(store, f"s{i}", minutes=i)
    assert ids(store.prune(PruneConfig(1, 1), keep=lambda summary: summary.id in {"s0", "s3"})) == ["s1", "s2"]
    assert ids(store.list_sessions()) == ["s3", "s0"]


def test_a_corrupt_session_is_never_removed(store: StateStore) -> None:
    saved(store, "s")
    (store.base_path / "sessions/s.json").write_bytes(b"{")
    assert store.prune(PruneConfig(1, 1)) == []
    assert (store.base_path / "sessions/s.json").exists()


@pytest.mark.parametrize("archive", [None, "archive/sessions"])
def test_a_session_that_was_saved_or_deleted_since_it_was_listed_is_not_removed(
    store: StateStore, archive: str | None
) -> None:
    saved(store, "changed")
    saved(store, "deleted")
    saved(store, "old")

    def change(summary: SessionSummary) -> bool:  # called between the listing and the removal
        if summary.id == "changed":
            store.save_session(Session("user", "changed", created_at=NOON, metadata={"new": True}))
            store.delete_session("deleted")
        return False

    assert ids(store.prune(PruneConfig(0, 1), keep=change, archive=archive)) == ["old"]
    assert ids(store.list_sessions()) == ["changed"]


@pytest.mark.parametrize("archive", ["archive/sessions", "the archive"])
def test_whoever_needs_two_locks_takes_them_in_the_order_of_their_names(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, archive: str
) -> None:
    saved(store, "s")
    asked, lock = [], StateStore.lock

    def locking(self: StateStore, category: str) -> AbstractContextManager[None]:
        asked.append(category)
        return lock(self, category)

    monkeypatch.setattr(StateStore, "lock", locking)
    assert ids(store.prune(archive=archive)) == ["s"]
    assert asked == sorted(["sessions", archive])


def test_two_locks_are_in_the_order_of_the_names_that_the_directories_have(
    tmp_path: Path, held_by_another: Callable[[StateStore, str], AbstractContextManager[object]]
) -> None:
    store = StateStore(tmp_path, lock_timeout=0)
    saved(store, "s")
    (tmp_path / "aarch").mkdir()
    (tmp_path / "zarch").symlink_to("aarch")
    for archive in ("aarch", "zarch"):  # it is taken first, by either name, or two that prune wait for each other
        with (
            held_by_another(store, "aarch"),
            held_by_another(store, "sessions"),
            pytest.raises(LockTimeoutError, match="'aarch'"),
        ):
            store.prune(archive=archive)
    assert ids(store.prune(archive="zarch")) == ["s"]
    assert store.list_category("aarch") == ["s"]


@pytest.mark.parametrize("error", [LockTimeoutError("not free"), KeyboardInterrupt()])
def test_what_was_removed_before_a_prune_was_cut_short_is_synced(
    store: StateStore, calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    for i in range(3):
        saved(store, f"s{i}")
    synced: list[str] = []

    def lock(self: StateStore, category: str) -> AbstractContextManager[None]:
        if len(os.listdir(store.base_path / "sessions")) < 3:
            raise error
        return locking(self, category)

    def open_(path: Any, flags: int, *mode: int) -> int:
        if os.path.isdir(path) and flags == os.O_RDONLY:
            synced.append(os.path.basename(path))
        return os.open(path, flags, *mode)

    locking = StateStore.lock
    monkeypatch.setattr(StateStore, "lock", lock)
    monkeypatch.setattr(store_module, "_LONGEST_HOLD", 0)
    calls.open = open_
    with pytest.raises(type(error)):
        store.prune()
    assert len(store.list_sessions()) == 2
    assert synced[-1] == "sessions"


def test_a_prune_gives_the_lock_back_after_ten_milliseconds(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(7):
        saved(store, f"s{i}")
    held, lock = [], StateStore.lock

    def locking(self: StateStore, category: str) -> AbstractContextManager[None]:
        held.append(0)
        return lock(self, category)

    monkeypatch.setattr(StateStore, "lock", locking)
    clock = count(step=0.004)  # which is how long each removal takes
    monkeypatch.setattr(store_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert len(store.prune()) == 7
    assert len(held) == 3


def test_archiving_moves_the_files_and_never_overwrites_one(store: StateStore) -> None:
    contents = []
    for text in ("first", "second", "third"):
        session = saved(store, "s", user_messages=[UserMessage(text, timestamp=NOON)])
        contents.append((store.base_path / "sessions/s.json").read_bytes())
        assert ids(store.prune(PruneConfig(0, 1), archive="archive/sessions")) == [session.id]
    assert store.list_category("archive/sessions") == ["s", "s.2", "s.3"]
    archived = store.base_path / "archive/sessions"
    assert [(archived / f"{name}.json").read_bytes() for name in ("s", "s.2", "s.3")] == contents


def test_an_archiving_that_was_cut_off_is_finished(store: StateStore) -> None:
    saved(store, "s")
    (store.base_path / "archive").mkdir()
    os.link(store.base_path / "sessions/s.json", store.base_path / "archive/s.json")
    assert ids(store.prune(PruneConfig(0, 1), archive="archive")) == ["s"]
    assert store.list_category("archive") == ["s"]
    assert store.list_sessions() == []


def test_a_file_system_without_hard_links_archives_all_the_same(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for _ in range(2):
        saved(store, "s")
        assert ids(store.prune(PruneConfig(0, 1), archive="archive")) == ["s"]
    assert store.list_category("archive") == ["s", "s.2"]


def test_sessions_are_not_archived_into_themselves(store: StateStore) -> None:
    with pytest.raises(InvalidNameError, match="into their own category"):
        store.prune(archive="sessions")


def test_one_session_that_cannot_be_removed_does_not_keep_the_others(
    store: StateStore, calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        saved(store, name)
    unlink = calls.unlink

    def unlink_but_b(path: str | Path, **options: int) -> None:
        if Path(path).stem == "b":
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, **options)

    calls.unlink = unlink_but_b
    monkeypatch.setattr(removal, "os", calls)  # which goes past `Tree` where the file's identity tells enough
    with pytest.raises(PermissionError, match=r"b\.json") as caught:
        store.prune(PruneConfig(0, 1))
    assert caught.value.__notes__ == ["2 sessions were removed, 1 could not be"]
    assert ids(store.list_sessions()) == ["b"]


def test_a_lock_that_is_not_had_ends_the_prune(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(store, "s")

    def refuse(*_: object) -> None:
        raise LockTimeoutError("the lock")

    monkeypatch.setattr(StateStore, "lock", refuse)
    with pytest.raises(LockTimeoutError):
        store.prune(PruneConfig(0, 1))


def test_pruning_sweeps_the_temporary_files_of_dead_writers(store: StateStore) -> None:
    saved(store, "s")
    left = store.base_path / "sessions/.oxios_state.0123456789abcdef.tmp"
    left.write_bytes(b"half")
    store.prune(ALL_RULES_OFF, dry_run=True)
    assert left.exists()
    store.prune(ALL_RULES_OFF)
    assert not left.exists()


def test_a_save_with_prune_prunes_when_the_throttle_allows(store: StateStore) -> None:
    now = [0.0]
    throttle = PruneThrottle(60, clock=lambda: now[0])
    config = PruneConfig(1, 0)
    for i, expected in ((1, ["s1"]), (2, ["s2", "s1"]), (3, ["s3", "s2", "s1"])):
        session = Session("u", f"s{i}", created_at=NOON + timedelta(minutes=i))
        store.save_session_with_prune(session, config, throttle)
        assert ids(store.list_sessions()) == expected
    now[0] = 60.0
    store.save_session_with_prune(Session("u", "s4", created_at=NOON + timedelta(minutes=4)), config, throttle)
    assert ids(store.list_sessions()) == ["s4"]
    store.save_session_with_prune(Session("u", "s5", created_at=NOON + timedelta(minutes=5)), config)
    assert ids(store.list_sessions()) == ["s5"]


def test_a_prune_that_fails_after_a_save_is_logged_and_not_raised(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(StateStore, "prune", fail)
    store.save_session_with_prune(Session("u", "s"), PruneConfig())
    assert store.load_session("s") is not None
    assert "the session is saved, but pruning failed" in caplog.text
    assert "Input/output error" in caplog.text


def test_sessions_that_vanish_with_their_directory_while_they_are_chosen_are_not_removed(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_session(Session("user", "a"))

    def clear(_: object) -> bool:
        shutil.rmtree(tmp_path / "sessions", ignore_errors=True)
        return False

    assert store.prune(PruneConfig(max_sessions=0, ttl_hours=1e-9), keep=clear) == []
