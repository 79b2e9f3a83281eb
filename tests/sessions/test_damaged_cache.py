"""The file of summaries: damaged, left behind or made to mislead; and lists that are made at the same time."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from oxios_state import Session, StateStore
from oxios_state.sessions import index
from oxios_state.storage import reads, revisions

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


def cache(store: StateStore) -> Path:
    return store.base_path / ".oxios_state/cache/summaries.json"


def test_a_cache_is_read_and_written(store: StateStore) -> None:
    assert cache(store).exists() is False
    before = store.list_sessions()
    written = cache(store).read_bytes()
    rows = json.loads(written.partition(b"\n")[2])
    rows[0][6] = "made up"
    replace(store, rows)
    assert {summary.title for summary in StateStore(store.base_path).list_sessions()} == {None, "made up"}
    cache(store).unlink()
    assert StateStore(store.base_path).list_sessions() == before
    assert cache(store).read_bytes() == written


def replace(store: StateStore, rows: Any) -> None:
    body = json.dumps(rows).encode()
    cache(store).write_bytes(index._FORMAT % index._digest(body) + body)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *[(0, 5), (0, None), (0, ["a.json"])],
        *[(1, None), (1, 5), (1, []), (1, [1, 2, 3, 4, [5]]), (1, [1, 2, 3, 4, 5.0]), (1, {"0": 1}), (1, "12345")],
        *[(2, None), (2, -1), (2, 1.0), (2, True), (2, "1")],
        *[(3, None), (3, 5), (4, 5), (5, []), (6, {})],
        *[(7, 5), (7, "yesterday"), (8, "2026-03-01T08:00:00"), (8, "2026-03-01T08:00:00.1234567890123Z")],
        *[(7, "2026-03-01T24:00:00Z"), (8, "0000-00-00T00:00:00Z"), (8, "2026-03-01T08:00:00+00:00"), (8, "")],
    ],
)
def test_a_row_that_is_none_makes_it_no_cache(store: StateStore, column: int, value: object) -> None:
    before = store.list_sessions()
    written = cache(store).read_bytes()
    rows = json.loads(written.partition(b"\n")[2])
    rows[1][column] = value
    replace(store, rows)
    assert StateStore(store.base_path).list_sessions() == before
    assert cache(store).read_bytes() == written


@pytest.mark.parametrize("rows", [None, 5, "rows", {}, {"a": 1}, [5], ["123456789"], [[]], [{}], [[1] * 9], [[1], []]])
def test_what_is_not_rows_is_no_cache(store: StateStore, rows: object) -> None:
    before = store.list_sessions()
    written = cache(store).read_bytes()
    replace(store, rows)
    assert StateStore(store.base_path).list_sessions() == before
    assert cache(store).read_bytes() == written


@pytest.mark.parametrize("body", [b"[" * 100_000, b"9" * 10_000, b"", b"\xff", b"[[1, 2"])
def test_what_is_no_json_is_no_cache(store: StateStore, body: bytes) -> None:
    before = store.list_sessions()
    cache(store).write_bytes(index._FORMAT % index._digest(body) + body)
    assert StateStore(store.base_path).list_sessions() == before


def test_a_list_is_not_that_of_a_thread_that_looked_before(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed(store) == {"a": 0, "b": 0}
    looked, go_on = threading.Event(), threading.Event()
    identities = reads.identities

    def look_slowly(directory: Path, extension: str) -> Any:
        found = identities(directory, extension)
        if threading.current_thread() is slow:
            looked.set()
            assert go_on.wait(10)
        elif go_on.is_set():
            slow.join()
        return found

    monkeypatch.setattr(reads, "identities", look_slowly)
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
