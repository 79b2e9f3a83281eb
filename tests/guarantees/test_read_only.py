"""A read-only store: every change is an error, and nothing is written, not even a cache or a lock file."""

from __future__ import annotations

import errno
import pickle
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from oxios_state import ProblemKind, Session, StateStore
from oxios_state.storage import reads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A directory of a kernel: without anything of the library's own, and with a corrupt file."""
    source = StateStore(tmp_path / "source", durable=False)
    session = source.get_or_create_session("ada", "s")
    session.add_user_message("hello")
    source.save_session(session)
    source.save_markdown("notes", "n", "text")
    base = tmp_path / "base"
    (base / "sessions").mkdir(parents=True)
    (base / "notes").mkdir()
    for name in ("sessions/s.json", "notes/n.md"):
        (base / name).write_bytes((source.base_path / name).read_bytes())
    (base / "sessions/bad.json").write_bytes(b"{")
    (base / "notes" / f".oxios_state.{'0' * 16}.tmp").write_bytes(b"")
    return base


def state_of(base: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in [base, *base.rglob("*")]}


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.save_markdown("notes", "n", "text"),
        lambda store: store.save_json("notes", "new", 1),
        lambda store: store.save_session(Session("ada", "s")),
        lambda store: store.update_session(store.load_session("s")),
        lambda store: store.edit_session("s").__enter__(),
        lambda store: store.edit_session("missing").__enter__(),
        lambda store: store.get_or_create_session("ada", "missing"),
        lambda store: store.delete_session("s"),
        lambda store: store.delete_session("missing"),
        lambda store: store.delete_file("notes", "n"),
        lambda store: store.prune(),
        lambda store: store.save_session_with_prune(Session("ada", "s"), None),
        lambda store: store.lock("sessions").__enter__(),
        lambda store: store.probe(),
        lambda store: store.check(probe=True),
        lambda store: store.sweep(),
        lambda store: store.quarantine.add(
            next(problem for problem in store.check() if problem.kind is ProblemKind.CORRUPT)
        ),
    ],
)
def test_a_read_only_store_refuses_every_change(base: Path, change: Callable[[StateStore], object]) -> None:
    before = state_of(base)
    with pytest.raises(OSError, match="the store is read-only: it was created with read_only=True") as caught:
        change(StateStore(base, read_only=True))
    assert caught.value.errno == errno.EROFS
    assert caught.value.filename == str(base)
    assert state_of(base) == before


def test_a_read_only_store_reads_and_writes_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Files count as settled at once, so that a cache would be written.
    monkeypatch.setattr(reads, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 10**10))
    before = state_of(base)
    store = StateStore(base, read_only=True)
    assert store.load_markdown("notes", "n") == "text"
    assert store.load_json("notes", "missing") is None
    session = store.load_session("s")
    assert session is not None
    assert store.get_or_create_session("ada", "s") == session
    assert [summary.id for summary in store.list_sessions()] == ["s"]
    assert [hit.session_id for hit in store.search_sessions("hello")] == ["s"]
    assert store.list_category("notes") == ["n"]
    assert {problem.kind for problem in store.check()} == {ProblemKind.CORRUPT, ProblemKind.ORPHAN}
    assert store.prune(dry_run=True) == []
    assert list(store.quarantine) == []
    assert "1 session" in str(store)
    assert state_of(base) == before


def test_a_read_only_store_does_not_change_the_quarantine(tmp_path: Path) -> None:
    writer = StateStore(tmp_path, durable=False)
    writer.save_json("notes", "a", 1)
    (tmp_path / "notes/a.json").write_bytes(b"bad")
    writer.save_json("notes", "a", 2)
    writer.delete_file("notes", "a")
    before = state_of(tmp_path)
    quarantine = StateStore(tmp_path, read_only=True).quarantine
    (entry,) = quarantine
    for change in (quarantine.restore, quarantine.discard):
        with pytest.raises(OSError, match="the store is read-only"):
            change(entry)
    assert state_of(tmp_path) == before


def test_a_read_only_store_of_a_missing_directory_creates_nothing(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "missing", read_only=True)
    assert store.list_sessions() == []
    assert store.load_session("s") is None
    assert list(tmp_path.iterdir()) == []


def test_a_pickled_store_stays_read_only(base: Path) -> None:
    copy = pickle.loads(pickle.dumps(StateStore(base, read_only=True)))
    assert copy.read_only
    with pytest.raises(OSError, match="the store is read-only"):
        copy.save_markdown("notes", "n", "text")
