"""The file of summaries: damaged, left behind or made to mislead; and lists that are made at the same time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from oxios_state import Session, StateStore, reading, revisions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written just now is trusted: no test waits until it would be."""
    monkeypatch.setattr(revisions, "_TICK", -(10**18))


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    store = StateStore(tmp_path / "state", durable=False)
    for name in ("a", "b"):
        store.save_session(Session("ada", name))
    return store


def listed(store: StateStore) -> dict[str, int]:
    return {summary.id: summary.message_count for summary in store.list_sessions()}


def test_a_list_is_not_that_of_a_thread_that_looked_before(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed(store) == {"a": 0, "b": 0}
    looked, go_on = threading.Event(), threading.Event()
    identities = reading.identities

    def look_slowly(directory: Path, extension: str) -> Any:
        found = identities(directory, extension)
        if threading.current_thread() is slow:
            looked.set()
            assert go_on.wait(10)
        elif go_on.is_set():
            slow.join()
        return found

    monkeypatch.setattr(reading, "identities", look_slowly)
    with store.edit_session("b") as session:  # for the slow one to make another list
        session.add_user_message("new")
    slow = threading.Thread(target=store.list_sessions)
    slow.start()
    assert looked.wait(10)
    with store.edit_session("a") as session:
        session.add_user_message("new")
    assert listed(store) == {"a": 1, "b": 1}
    go_on.set()
    assert listed(store) == {"a": 1, "b": 1}
    assert listed(store) == {"a": 1, "b": 1}
