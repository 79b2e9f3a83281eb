"""The seven tests of the Oxios kernel's own store (state_store.rs), in Python, and the files that it wrote."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest

from oxios_state import PruneConfig, Session, StateStore

KERNEL_FILES = Path(__file__).parents[1] / "data" / "kernel"


@pytest.fixture
def kernel_store(tmp_path: Path) -> StateStore:
    """A store on a copy of the kernel's files, under their real names: the test data's are quoted for all systems."""
    for path in KERNEL_FILES.rglob("*.*"):
        target = tmp_path / "kernel" / unquote(str(path.relative_to(KERNEL_FILES)))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return StateStore(tmp_path / "kernel")


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state")


def _saved(store: StateStore, user_id: str, updated_at: datetime) -> Session:
    session = Session(user_id, created_at=updated_at)
    store.save_session(session)
    return session


def test_session_creation_and_persistence(store: StateStore) -> None:
    session = Session("user-123")
    session.add_user_message("Hello")
    store.save_session(session)
    loaded = store.load_session(session.id)
    assert loaded is not None
    assert loaded.user_id == "user-123"
    assert [message.content for message in loaded.user_messages] == ["Hello"]


def test_session_list_sorts_by_updated(store: StateStore) -> None:
    for i in range(3):
        _saved(store, f"user-{i}", datetime(2026, 3, 1, 8, i, tzinfo=UTC))
    assert [summary.user_id for summary in store.list_sessions()] == ["user-2", "user-1", "user-0"]


def test_delete_session(store: StateStore) -> None:
    session = Session("user-123")
    store.save_session(session)
    assert store.delete_session(session.id)
    assert store.load_session(session.id) is None


def test_get_or_create_session_existing(store: StateStore) -> None:
    existing = Session("user-123")
    existing.add_user_message("Original message")
    store.save_session(existing)
    retrieved = store.get_or_create_session("user-123", existing.id)
    assert retrieved == existing


def test_get_or_create_session_new(store: StateStore) -> None:
    session = store.get_or_create_session("user-456")
    assert session.user_id == "user-456"
    assert session.is_empty
    assert store.load_session(session.id) == session


def test_prune_sessions_by_count(store: StateStore) -> None:
    for i in range(5):
        _saved(store, f"user-{i}", datetime(2026, 3, 1, 8, i, tzinfo=UTC))
    pruned = store.prune(PruneConfig(max_sessions=3, ttl_hours=0))
    assert [summary.user_id for summary in pruned] == ["user-0", "user-1"]
    assert {summary.user_id for summary in store.list_sessions()} == {"user-2", "user-3", "user-4"}


def test_prune_sessions_by_ttl(store: StateStore) -> None:
    _saved(store, "old-user", datetime.now(UTC) - timedelta(hours=48))
    _saved(store, "recent-user", datetime.now(UTC))
    assert len(store.prune(PruneConfig(max_sessions=0, ttl_hours=24))) == 1
    assert [summary.user_id for summary in store.list_sessions()] == ["recent-user"]


@pytest.mark.parametrize("path", sorted(KERNEL_FILES.rglob("*.*")), ids=lambda path: path.name)
def test_a_file_of_the_kernel_comes_back_byte_for_byte(kernel_store: StateStore, path: Path) -> None:
    store = kernel_store
    copy = store.base_path / unquote(str(path.relative_to(KERNEL_FILES)))
    category, name = str(copy.parent.relative_to(store.base_path)), copy.stem
    inode = copy.stat().st_ino
    if copy.suffix == ".md":
        text = store.load_markdown(category, name)
        assert text is not None
        store.save_markdown(category, name, text)
    elif category == "sessions":
        session = store.load_session(name)
        assert session is not None
        store.update_session(session)
    else:
        store.save_json(category, name, store.load_json(category, name))
    assert copy.stat().st_ino != inode  # it was written
    assert copy.read_bytes() == path.read_bytes()


def test_the_sessions_of_the_kernel_are_all_listed(kernel_store: StateStore) -> None:
    summaries = {summary.id: summary for summary in kernel_store.list_sessions()}
    assert summaries.keys() == {unquote(path.stem) for path in (KERNEL_FILES / "sessions").iterdir()}
    assert "\u540d\u524d with spaces" in summaries
    assert summaries["typical"].project_id == "p-1"
    assert summaries["uneven"].project_id == "p-1"
    assert summaries["typical"].title == "List the files"
    assert summaries["typical"].active_seed_id == "seed-9"
    assert summaries["timestamps"].message_count == 11
