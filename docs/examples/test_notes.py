"""Tests of a program that uses the store: ``pytest docs/examples/test_notes.py``."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from oxios_state import (
    CorruptStateError,
    LockTimeoutError,
    PruneConfig,
    PruneThrottle,
    Session,
    SessionConflictError,
    StateStore,
)

if TYPE_CHECKING:
    from pathlib import Path


def add_note(store: StateStore, session_id: str, note: str) -> None:
    """Add a note to a session: the code under test."""
    with store.edit_session(session_id) as session:
        session.set_metadata("notes", [*session.get_metadata("notes", []), note])


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    """Make a store in a directory of the test's own; skip syncs, which take time."""
    return StateStore(tmp_path / "state", durable=False, lock_timeout=1)


def test_add_note_saves_the_note(store: StateStore) -> None:
    """Check the saved session, not the calls."""
    store.save_session(Session("ada", "s"))
    add_note(store, "s", "remember the milk")
    loaded = store.load_session("s")
    assert loaded is not None
    assert loaded.get_metadata("notes") == ["remember the milk"]


def test_update_refuses_a_stale_session(store: StateStore) -> None:
    """Make a conflict: load the session twice, then save both."""
    store.save_session(Session("ada", "s"))
    mine, theirs = store.load_session("s"), store.load_session("s")
    assert mine is not None
    assert theirs is not None
    theirs.set_metadata("title", "theirs")
    store.update_session(theirs)
    with pytest.raises(SessionConflictError):
        store.update_session(mine)


def test_add_note_refuses_a_corrupt_session(store: StateStore) -> None:
    """Make a corrupt session: write half a file."""
    store.save_session(Session("ada", "s"))
    (store.base_path / "sessions" / "s.json").write_text('{"id": "s",')
    with pytest.raises(CorruptStateError, match="line 1, column 12"):
        add_note(store, "s", "remember the milk")


def test_add_note_gives_up_waiting_for_a_lock(store: StateStore) -> None:
    """Hold the lock in another thread: in the same thread it could be taken again."""
    store.save_session(Session("ada", "s"))
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store.lock("sessions"):
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(10)
        impatient = StateStore(store.base_path, lock_timeout=0)
        with pytest.raises(LockTimeoutError):
            add_note(impatient, "s", "remember the milk")
    finally:
        done.set()
        thread.join()


def test_prune_removes_old_sessions(store: StateStore) -> None:
    """Make an old session: pass an old time. Saving does not change `updated_at`."""
    last_week = datetime.now(UTC) - timedelta(days=8)
    store.save_session(Session("ada", "old", created_at=last_week))
    store.save_session(Session("ada", "new"))
    removed = store.prune(PruneConfig(ttl_hours=7 * 24))
    assert [summary.id for summary in removed] == ["old"]


def test_throttle_allows_one_prune_an_hour() -> None:
    """Pass the throttle a clock of your own, instead of sleeping."""
    throttle = PruneThrottle(cooldown=3600, clock=iter([0.0, 3599.0, 3600.0]).__next__)
    assert [throttle.should_prune() for _ in range(3)] == [True, False, True]
