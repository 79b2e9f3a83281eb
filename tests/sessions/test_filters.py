"""Finding sessions by what their summaries say."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from oxios_state import Session, SessionSummary, StateStore

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    store = StateStore(tmp_path, durable=False)
    for day, (session_id, user, project) in enumerate(
        [("a", "ada", "p"), ("b", "bob", "p"), ("c", "ada", "q"), ("d", "ada", None)]
    ):
        metadata = {"project_id": project} if project else {}
        moment = NOON + timedelta(days=day)
        store.save_session(Session(user, session_id, created_at=moment, metadata=metadata))
    return store


def ids(found: list[SessionSummary]) -> str:
    return "".join(summary.id for summary in found)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, "dcba"),
        ({"user_id": "ada"}, "dca"),
        ({"user_id": ""}, ""),
        ({"project_id": "p"}, "ba"),
        ({"user_id": "ada", "project_id": "p"}, "a"),
        ({"limit": 2}, "dc"),
        ({"limit": 0}, ""),
        ({"limit": 9}, "dcba"),
        ({"user_id": "ada", "limit": 2}, "dc"),
        ({"updated_after": NOON + timedelta(days=1)}, "dcb"),
        ({"updated_before": NOON + timedelta(days=1)}, "a"),
        ({"updated_after": "2026-03-02T12:00:00Z", "updated_before": "2026-03-03T12:00:00Z"}, "b"),
        ({"updated_after": datetime(2026, 3, 2, 13, tzinfo=timezone(timedelta(hours=1)))}, "dcb"),
        ({"updated_after": date(2026, 3, 3)}, "dc"),
        ({"updated_after": "March 2026", "updated_before": "April 2026"}, "dcba"),
        ({"updated_before": "1 March 2026"}, ""),
    ],
)
def test_a_list_has_the_sessions_that_are_asked_for_latest_first(
    store: StateStore, asked: dict[str, Any], found: str
) -> None:
    assert ids(store.list_sessions(**asked)) == found


def test_nanoseconds_decide_whether_a_session_is_within_a_bound(store: StateStore) -> None:
    path = store.base_path / "sessions/a.json"
    path.write_text(path.read_text().replace("12:00:00Z", "12:00:00.000000001Z"))
    assert ids(store.list_sessions(updated_before="2026-03-01T12:00:00.000000001Z")) == ""
    assert ids(store.list_sessions(updated_before="2026-03-01T12:00:00.000000002Z")) == "a"


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"user_id": 1}, TypeError, "user_id must be str or None, not int"),
        ({"project_id": b"p"}, TypeError, "project_id must be str or None, not bytes"),
        ({"updated_after": 1.5}, TypeError, "a datetime, a date or a text is expected, not float"),
        ({"updated_after": "soon"}, ValueError, "'soon' is not understood as a date"),
        ({"updated_before": "03/04/2026"}, ValueError, "'03/04/2026' could mean 2026-03-04 or 2026-04-03"),
        ({"limit": True}, TypeError, "limit must be int or None, not bool"),
        ({"limit": -1}, ValueError, "limit must not be negative: -1"),
    ],
)
@pytest.mark.parametrize("method", ["list_sessions", "search_sessions"])
def test_what_is_not_understood_is_refused_at_once(
    tmp_path: Path, method: str, asked: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = ["text"] if method == "search_sessions" else []
    with pytest.raises(error, match=message):
        getattr(StateStore(tmp_path), method)(*arguments, **asked)
