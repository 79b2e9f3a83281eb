"""Pruning: which sessions a store removes or archives, and under which locks."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oxios_state import (
    DurabilityError,
    InvalidNameError,
    LockTimeoutError,
    PruneConfig,
    PruneThrottle,
    Session,
    SessionList,
    SessionSummary,
    StateStore,
    UserMessage,
)
from oxios_state.sessions import pruning

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOG = "oxios_state"
ALL_RULES_OFF = PruneConfig(max_sessions=0, ttl_hours=0)


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state", lock_timeout=5)


def saved(store: StateStore, session_id: str, *, minutes: int = 0, **fields: Any) -> Session:
    session = Session("user", session_id, created_at=NOON + timedelta(minutes=minutes), **fields)
    store.save_session(session)
    return session


def ids(summaries: list[SessionSummary]) -> list[str]:
    return [summary.id for summary in summaries]


def test_a_dry_run_returns_what_would_be_removed(store: StateStore) -> None:
    for i in range(3):
        saved(store, f"s{i}", minutes=i)
    assert ids(store.prune(PruneConfig(1, 0), dry_run=True)) == ["s0", "s1"]
    assert ids(store.list_sessions()) == ["s2", "s1", "s0"]
    assert ids(store.prune(PruneConfig(1, 0))) == ["s0", "s1"]


def test_confirm_is_called_once_with_all_sessions_and_without_a_lock(
    store: StateStore, before_lock: Callable[[Callable[[str], object]], None]
) -> None:
    for i in range(3):
        saved(store, f"s{i}", minutes=i)
    events: list[object] = []
    before_lock(events.append)

    def confirm(sessions: SessionList) -> bool:
        assert type(sessions) is SessionList
        events.append((ids(sessions), ids(store.list_sessions())))
        thread = threading.Thread(target=store.update_session, args=[Session("user", "new")])
        thread.start()  # it gets the lock meanwhile
        thread.join()
        return True

    assert ids(store.prune(PruneConfig(1, 0), confirm=confirm)) == ["s0", "s1"]
    assert events[0] == (["s0", "s1"], ["s2", "s1", "s0"])
    assert set(events[1:]) == {"sessions"}  # the other thread's lock, and those of the prune
    assert ids(store.list_sessions()) == ["new", "s2"]


@pytest.mark.parametrize("answer", [False, None, 0, ""])
def test_nothing_is_removed_if_confirm_returns_a_false_value(store: StateStore, answer: object) -> None:
    saved(store, "s")
    orphan = store.base_path / "sessions/.oxios_state.0123456789abcdef.tmp"
    orphan.write_bytes(b"half")
    removed = store.prune(PruneConfig(0, 1), confirm=lambda _: answer)
    assert removed == []
    assert type(removed) is SessionList
    assert ids(store.list_sessions()) == ["s"]
    assert orphan.exists()


def test_an_error_in_confirm_removes_nothing(store: StateStore) -> None:
    saved(store, "s")

    def interrupt(_: SessionList) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.prune(PruneConfig(0, 1), confirm=interrupt)
    assert ids(store.list_sessions()) == ["s"]


@pytest.mark.parametrize(("config", "dry_run"), [(ALL_RULES_OFF, False), (PruneConfig(0, 1), True)])
def test_confirm_is_not_called_if_nothing_would_be_removed(
    store: StateStore, config: PruneConfig, *, dry_run: bool
) -> None:
    saved(store, "s")
    calls: list[SessionList] = []
    store.prune(config, dry_run=dry_run, confirm=calls.append)
    assert calls == []
    assert ids(store.list_sessions()) == ["s"]


def test_a_session_saved_while_confirm_waits_is_not_removed(store: StateStore) -> None:
    saved(store, "changed")
    saved(store, "old")

    def save_and_confirm(_: SessionList) -> bool:
        saved(store, "changed", metadata={"new": True})
        return True

    assert ids(store.prune(PruneConfig(0, 1), confirm=save_and_confirm)) == ["old"]
    assert ids(store.list_sessions()) == ["changed"]


def test_sessions_that_keep_accepts_stay_and_do_not_count(store: StateStore) -> None:
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
def test_a_session_saved_or_deleted_since_the_listing_is_not_removed(store: StateStore, archive: str | None) -> None:
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
def test_two_locks_are_taken_in_the_order_of_their_names(
    store: StateStore, before_lock: Callable[[Callable[[str], object]], None], archive: str
) -> None:
    saved(store, "s")
    locks: list[str] = []
    before_lock(locks.append)
    assert ids(store.prune(archive=archive)) == ["s"]
    assert locks == sorted(["sessions", archive])


def test_two_locks_are_taken_in_the_order_of_the_real_directories(
    tmp_path: Path, held_by_another: Callable[[StateStore, str], AbstractContextManager[object]]
) -> None:
    store = StateStore(tmp_path, lock_timeout=0)
    saved(store, "s")
    (tmp_path / "aarch").mkdir()
    (tmp_path / "zarch").symlink_to("aarch")
    for archive in ("aarch", "zarch"):  # by either name its lock comes first, or two prunes wait for each other
        with (
            held_by_another(store, "aarch"),
            held_by_another(store, "sessions"),
            pytest.raises(LockTimeoutError, match="'aarch'"),
        ):
            store.prune(archive=archive)
    assert ids(store.prune(archive="zarch")) == ["s"]
    assert store.list_category("aarch") == ["s"]


@pytest.mark.parametrize("error", [LockTimeoutError("not free"), KeyboardInterrupt()])
def test_an_interrupted_prune_syncs_what_it_removed(
    store: StateStore,
    calls: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    before_lock: Callable[[Callable[[str], object]], None],
    error: BaseException,
) -> None:
    for i in range(3):
        saved(store, f"s{i}")
    synced: list[str] = []

    def fail_after_the_first(_: str) -> None:
        if len(os.listdir(store.base_path / "sessions")) < 3:
            raise error

    def open_(path: Any, flags: int, *mode: int) -> int:
        if os.path.isdir(path) and flags == os.O_RDONLY:
            synced.append(os.path.basename(path))
        return os.open(path, flags, *mode)

    before_lock(fail_after_the_first)
    monkeypatch.setattr(pruning, "_MAX_HOLD", 0)
    calls.open = open_
    with pytest.raises(type(error)):
        store.prune()
    assert len(store.list_sessions()) == 2
    assert synced[-1:] == ["sessions"]


def test_a_prune_holds_the_lock_for_ten_milliseconds_at_a_time(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, before_lock: Callable[[Callable[[str], object]], None]
) -> None:
    for i in range(7):
        saved(store, f"s{i}")
    locks: list[str] = []
    before_lock(locks.append)
    clock = count(step=0.004)  # as if each removal took four milliseconds
    monkeypatch.setattr(pruning, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert len(store.prune()) == 7
    assert locks == ["sessions"] * 3


def test_archiving_moves_files_and_never_overwrites(store: StateStore) -> None:
    contents = []
    for text in ("first", "second", "third"):
        session = saved(store, "s", user_messages=[UserMessage(text, timestamp=NOON)])
        contents.append((store.base_path / "sessions/s.json").read_bytes())
        assert ids(store.prune(PruneConfig(0, 1), archive="archive/sessions")) == [session.id]
    assert store.list_category("archive/sessions") == ["s", "s.2", "s.3"]
    archived = store.base_path / "archive/sessions"
    assert [(archived / f"{name}.json").read_bytes() for name in ("s", "s.2", "s.3")] == contents


def test_an_interrupted_archiving_is_finished(store: StateStore) -> None:
    saved(store, "s")
    (store.base_path / "archive").mkdir()
    os.link(store.base_path / "sessions/s.json", store.base_path / "archive/s.json")
    assert ids(store.prune(PruneConfig(0, 1), archive="archive")) == ["s"]
    assert store.list_category("archive") == ["s"]
    assert store.list_sessions() == []


def test_sessions_are_archived_without_hard_links(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for _ in range(2):
        saved(store, "s")
        assert ids(store.prune(PruneConfig(0, 1), archive="archive")) == ["s"]
    assert store.list_category("archive") == ["s", "s.2"]


def test_sessions_are_not_archived_into_their_own_category(store: StateStore) -> None:
    with pytest.raises(InvalidNameError, match="into their own category"):
        store.prune(archive="sessions")


def test_a_failed_removal_does_not_stop_the_others(store: StateStore, calls: SimpleNamespace) -> None:
    for name in ("a", "b", "c"):
        saved(store, name)
    unlink = calls.unlink

    def unlink_but_b(path: str | Path, **options: int) -> None:
        if Path(path).stem == "b":
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, **options)

    calls.unlink = unlink_but_b
    with pytest.raises(PermissionError, match=r"b\.json") as caught:
        store.prune(PruneConfig(0, 1))
    assert caught.value.__notes__ == ["2 sessions were removed, 1 could not be"]
    assert ids(store.list_sessions()) == ["b"]


def test_a_prune_that_gets_no_lock_removes_nothing(
    store: StateStore, held_by_another: Callable[[StateStore, str], AbstractContextManager[object]]
) -> None:
    saved(store, "s")
    with held_by_another(store, "sessions"), pytest.raises(LockTimeoutError) as caught:
        StateStore(store.base_path, lock_timeout=0).prune(PruneConfig(0, 1))
    assert caught.value.__notes__ == ["0 sessions were removed before"]
    assert ids(store.list_sessions()) == ["s"]


def test_prune_sweeps_temporary_files_of_dead_writers(store: StateStore) -> None:
    saved(store, "s")
    orphan = store.base_path / "sessions/.oxios_state.0123456789abcdef.tmp"
    orphan.write_bytes(b"half")
    store.prune(ALL_RULES_OFF, dry_run=True)
    assert orphan.exists()
    store.prune(ALL_RULES_OFF)
    assert not orphan.exists()


def test_save_with_prune_prunes_if_the_throttle_allows(store: StateStore) -> None:
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


@pytest.mark.parametrize("config", [PruneConfig(), PruneConfig(max_sessions=1), PruneConfig(ttl_hours=1)])
@pytest.mark.parametrize("throttle", [None, PruneThrottle(0)])
def test_a_session_is_not_removed_by_the_call_that_saved_it(
    store: StateStore, config: PruneConfig, throttle: PruneThrottle | None
) -> None:
    ahead = datetime.now(UTC) + timedelta(days=300)
    for i in range(2):
        store.save_session(Session("u", f"ahead{i}", created_at=ahead + timedelta(days=i)))
    saved(store, "old", minutes=1)
    removed = store.save_session_with_prune(Session("u", "imported", created_at=NOON), config, throttle)
    if config.max_sessions == 1:
        assert ids(removed) == ["old", "ahead0", "ahead1"]
        assert ids(store.list_sessions()) == ["imported"]
    else:
        assert ids(removed) == ["old"]
        assert ids(store.list_sessions()) == ["ahead1", "ahead0", "imported"]
        assert ids(store.prune(config)) == ["imported"]  # another prune goes by its time


def test_save_with_prune_returns_the_removed_sessions(store: StateStore) -> None:
    saved(store, "old")
    throttle = PruneThrottle(3600)
    removed = store.save_session_with_prune(Session("u", "new"), PruneConfig(), throttle)
    assert ids(removed) == ["old"]
    assert type(removed) is SessionList
    saved(store, "old")
    throttled = store.save_session_with_prune(Session("u", "newer"), PruneConfig(), throttle)
    assert throttled == []
    assert type(throttled) is SessionList


def test_save_with_prune_returns_the_sessions_that_were_removed_before_it_failed(
    store: StateStore, calls: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        saved(store, name)
    unlink = calls.unlink

    def unlink_but_b(path: str | Path, **options: int) -> None:
        if Path(path).stem == "b":
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, **options)

    calls.unlink = unlink_but_b
    assert ids(store.save_session_with_prune(Session("u", "new"), PruneConfig())) == ["c", "a"]
    assert "the session is saved, but pruning failed" in caplog.text


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [message for name, message_level, message in caplog.record_tuples if (name, message_level) == (LOG, level)]


def test_a_prune_logs_the_sessions_that_it_removed(store: StateStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, LOG)
    for i in range(45):
        saved(store, f"s{i:02}", minutes=i)
    store.prune(PruneConfig(ttl_hours=1), dry_run=True)
    assert messages(caplog, logging.INFO) == []
    store.prune(PruneConfig(ttl_hours=1))
    names = [f"'s{i:02}'" for i in range(45)]
    start = f"sessions of {store.base_path} removed"
    assert messages(caplog, logging.INFO) == [f"{start}: 45: {', '.join(names[:20])} and 25 more"]
    rest = [message for message in messages(caplog, logging.DEBUG) if message.startswith("sessions of")]
    assert rest == [f"{start} as well: {', '.join(some)}" for some in (names[20:40], names[40:])]
    caplog.clear()
    store.prune(PruneConfig(ttl_hours=1))  # removes nothing
    assert messages(caplog, logging.INFO) == []


def test_archiving_logs_the_archive_and_the_new_names(store: StateStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    for expected in ("1: 's'", "1: 's' as 's.2'"):
        saved(store, "s")
        caplog.clear()
        store.prune(PruneConfig(ttl_hours=1), archive="archive/old")
        assert messages(caplog, logging.INFO) == [
            f"sessions of {store.base_path} archived in 'archive/old': {expected}"
        ]


def test_a_prune_that_fails_logs_the_sessions_that_it_removed(
    store: StateStore, calls: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOG)
    saved(store, "s")

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    calls.fsync = fail
    with pytest.raises(DurabilityError):
        store.prune(PruneConfig(ttl_hours=1))
    assert messages(caplog, logging.INFO) == [f"sessions of {store.base_path} removed: 1: 's'"]


def test_a_prune_counts_ages_from_the_time_that_it_is_called_with(store: StateStore) -> None:
    for i in range(3):
        saved(store, f"s{i}", minutes=i)
    hour = PruneConfig(ttl_hours=1)
    assert store.prune(hour, now=NOON + timedelta(hours=1)) == []
    assert ids(store.prune(hour, now=NOON + timedelta(minutes=61), dry_run=True)) == ["s0"]
    assert ids(store.prune(hour, now=NOON + timedelta(minutes=61.5))) == ["s0", "s1"]
    local = (NOON + timedelta(minutes=63)).astimezone(timezone(timedelta(hours=9)))
    assert ids(store.prune(hour, now=local)) == ["s2"]


def test_a_prune_refuses_a_time_without_a_time_zone(store: StateStore) -> None:
    saved(store, "s")
    with pytest.raises(ValueError, match="now must have a time zone: datetime"):
        store.prune(now=datetime(2026, 3, 1))  # noqa: DTZ001
    with pytest.raises(TypeError, match="now must be datetime or None, not str"):
        store.prune(now="2026-03-01")  # type: ignore[arg-type]
    assert ids(store.list_sessions()) == ["s"]


def test_a_failing_prune_after_a_save_is_logged(
    store: StateStore, calls: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    calls.scandir = fail
    assert store.save_session_with_prune(Session("u", "s"), PruneConfig()) == []
    assert store.load_session("s") is not None
    assert "the session is saved, but pruning failed" in caplog.text
    assert "Input/output error" in caplog.text


def test_sessions_whose_directory_was_deleted_are_not_removed(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_session(Session("user", "a"))

    def clear(_: object) -> bool:
        shutil.rmtree(tmp_path / "sessions", ignore_errors=True)
        return False

    assert store.prune(PruneConfig(max_sessions=0, ttl_hours=1e-9), keep=clear) == []
