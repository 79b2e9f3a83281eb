"""Lists of session summaries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from oxios_state import PruneConfig, Session, SessionList, SessionSummary, StateStore

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUMMARIES = [SessionSummary(f"s{n}", "u", n, None, None, None, NOON, NOON) for n in range(4)]


def test_a_session_list_is_a_list() -> None:
    sessions = SessionList(SUMMARIES)
    assert isinstance(sessions, list)
    assert sessions == SUMMARIES
    assert sessions[0] is SUMMARIES[0]
    assert sessions != SUMMARIES[:2]


def test_a_slice_of_a_session_list_is_one_too() -> None:
    part = SessionList(SUMMARIES)[1:3]
    assert type(part) is SessionList
    assert part == SUMMARIES[1:3]


def test_a_store_returns_session_lists(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    for name in "ab":
        store.save_session(Session("u", name, created_at=NOON, updated_at=NOON + timedelta(hours=name == "b")))
    assert type(store.list_sessions()) is SessionList
    chosen = store.prune(PruneConfig(1, 0), dry_run=True)
    assert type(chosen) is SessionList
    removed = store.prune(PruneConfig(1, 0))
    assert type(removed) is SessionList
    assert [summary.id for summary in removed] == [summary.id for summary in chosen] == ["a"]
