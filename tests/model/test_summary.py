"""Lists of session summaries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from oxios_state import PruneConfig, Session, SessionList, SessionSummary, StateStore, UserMessage
from oxios_state.model.summary import title_of

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


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\n\n", "a", " a ", "a\nb", "\n a\r\nb", "\x1ca\x1cb", "\u2028a \u2029", "a\x85"),
        *(f"{'a' * count}{end}" for count in (58, 59, 60, 61) for end in (" ", "\n", "\r\nb", "  b", "\u2028 b")),
    ],
)
def test_the_title_is_the_beginning_of_the_first_line(text: str) -> None:
    lines = text.strip().splitlines()
    expected = lines[0][:60].rstrip() if lines else None
    assert title_of(Session("u", user_messages=[UserMessage(text)])) == expected
