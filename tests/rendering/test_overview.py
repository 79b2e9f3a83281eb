"""The categories and sessions of a store."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from oxios_state import Session, StateStore
from oxios_state.rendering import overview
from oxios_state.storage.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator


def document_counts(contents: overview.Overview) -> list[tuple[str, int]]:
    return [(category.name, category.documents) for category in contents.categories]


def test_the_documents_of_each_category_are_counted(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_session(Session("u", "s"))
    store.save_markdown("memory/knowledge", "notes", "12345")
    store.save_json("memory/knowledge", "notes", [])
    contents = overview.survey(store)
    assert document_counts(contents) == [("memory/knowledge", 2), ("sessions", 1)]
    assert (contents.categories[0].size, contents.categories[0].json, contents.categories[0].markdown) == (7, 1, 1)
    assert [summary.id for summary in contents.sessions] == ["s"]
    assert contents.notes == []
    assert contents.facts[::2] == ["3 documents", "1 session"]


def test_only_documents_are_counted(tmp_path: Path) -> None:
    for name in ("a.json", ".git/x/a.json", ".oxios_state/x/a.json", "c/a.txt", "c/.json", "c/d.json/a.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (tmp_path / "c/link.json").symlink_to(tmp_path / "a.json")
    (tmp_path / "linked").symlink_to(tmp_path / "c")
    assert document_counts(overview.survey(StateStore(tmp_path))) == [("c/d.json", 1)]


def test_a_missing_directory_is_noted(tmp_path: Path) -> None:
    contents = overview.survey(StateStore(tmp_path / "missing"))
    assert contents.notes == ["the directory does not exist yet: the first save creates it"]
    assert (contents.categories, contents.sessions) == ([], [])
    assert not (tmp_path / "missing").exists()


def test_unreadable_sessions_are_noted(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_session(Session("u", "s"))
    (tmp_path / "sessions/bad.json").write_text("{")
    contents = overview.survey(store)
    assert len(contents.sessions) == 1
    assert contents.notes == ["1 session cannot be read: check() says why"]


def test_unreadable_directories_are_noted(nobody: Path) -> None:
    store = StateStore(nobody)
    store.save_json("config", "a", 1)
    for name in ("closed", "closed2", "sessions"):
        (nobody / name).mkdir(mode=0)
    contents = overview.survey(store)
    assert document_counts(contents) == [("config", 1)]
    assert len(contents.notes) == 2
    assert contents.notes[0].startswith("not counted: 3 directories, such as [Errno 13]")
    assert contents.notes[1].startswith("the sessions cannot be listed: [Errno 13]")


def test_a_base_that_is_a_file_is_noted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    contents = overview.survey(StateStore(tmp_path / "file"))
    assert len(contents.notes) == 2


def test_counting_stops_at_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "_MAX_ENTRIES", 5)
    store = StateStore(tmp_path, durable=False)
    for name in "abcdefgh":
        store.save_json("config", name, 1)
    contents = overview.survey(store)
    assert sum(category.documents for category in contents.categories) < 6
    assert contents.notes == ["not counted: everything beyond 5 files and directories"]


def test_a_document_that_is_deleted_meanwhile_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = StateStore(tmp_path)
    for name in ("a", "b"):
        store.save_json("config", name, 1)

    class DeletingTree(Tree):
        def walk(self, failed: Any = None) -> Iterator[tuple[Path, list[str], list[str]]]:
            for listing in super().walk(failed):
                (tmp_path / "config/a.json").unlink(missing_ok=True)
                yield listing

    monkeypatch.setattr(overview, "Tree", DeletingTree)
    assert document_counts(overview.survey(store)) == [("config", 1)]


def test_the_repr_of_a_store_reads_nothing(store: StateStore, calls: SimpleNamespace) -> None:
    store.save_session(Session("u", "s"))

    def refuse(*arguments: object) -> None:
        raise AssertionError(arguments)

    calls.open = calls.scandir = calls.stat = calls.lstat = calls.listdir = refuse
    assert repr(store).startswith("StateStore(")
    with pytest.raises(AssertionError):
        str(store)
