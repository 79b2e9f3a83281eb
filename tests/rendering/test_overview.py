"""What a store holds, in figures."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from oxios_state import Session, StateStore
from oxios_state.rendering import overview

if TYPE_CHECKING:
    from collections.abc import Iterator


def names(found: overview.Overview) -> list[tuple[str, int]]:
    return [(category.name, category.documents) for category in found.categories]


def test_it_counts_the_documents_of_each_category(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_session(Session("u", "s"))
    store.save_markdown("memory/knowledge", "notes", "12345")
    store.save_json("memory/knowledge", "notes", [])
    found = overview.survey(store)
    assert names(found) == [("memory/knowledge", 2), ("sessions", 1)]
    assert (found.categories[0].size, found.categories[0].json, found.categories[0].markdown) == (7, 1, 1)
    assert [summary.id for summary in found.sessions] == ["s"]
    assert found.notes == []
    assert found.facts[::2] == ["3 documents", "1 session"]


def test_what_is_no_document_is_not_counted(tmp_path: Path) -> None:
    for name in ("a.json", ".git/x/a.json", ".oxios_state/x/a.json", "c/a.txt", "c/.json", "c/d.json/a.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (tmp_path / "c/link.json").symlink_to(tmp_path / "a.json")
    (tmp_path / "linked").symlink_to(tmp_path / "c")
    assert names(overview.survey(StateStore(tmp_path))) == [("c/d.json", 1)]


def test_a_store_without_a_directory_says_so(tmp_path: Path) -> None:
    found = overview.survey(StateStore(tmp_path / "none"))
    assert found.notes == ["there is no such directory yet: the first save makes it"]
    assert (found.categories, found.sessions) == ([], [])
    assert not (tmp_path / "none").exists()


def test_sessions_that_cannot_be_read_are_noted(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_session(Session("u", "s"))
    (tmp_path / "sessions/bad.json").write_text("{")
    found = overview.survey(store)
    assert len(found.sessions) == 1
    assert found.notes == ["1 session cannot be read: check() says why"]


def test_what_cannot_be_looked_at_is_a_note(nobody: Path) -> None:
    store = StateStore(nobody)
    store.save_json("config", "a", 1)
    for name in ("closed", "closed2", "sessions"):
        (nobody / name).mkdir(mode=0)
    found = overview.survey(store)
    assert names(found) == [("config", 1)]
    assert len(found.notes) == 2
    assert found.notes[0].startswith("not counted: 3 directories, such as [Errno 13]")
    assert found.notes[1].startswith("the sessions cannot be listed: [Errno 13]")


def test_a_base_that_is_a_file_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = overview.survey(StateStore(tmp_path / "file"))
    assert len(found.notes) == 2


def test_it_stops_counting_before_that_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "_MOST_ENTRIES", 5)
    store = StateStore(tmp_path, durable=False)
    for name in "abcdefgh":
        store.save_json("config", name, 1)
    found = overview.survey(store)
    assert sum(category.documents for category in found.categories) < 6
    assert found.notes == ["not counted: what there is beyond 5 files and directories"]


def test_a_document_that_goes_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = StateStore(tmp_path)
    store.save_json("config", "a", 1)
    scan = os.scandir

    class Scan:
        def __init__(self, path: str) -> None:
            self.entries = list(scan(path))

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            if self.entries and self.entries[0].name == "a.json":
                self.entries[0].is_file(follow_symlinks=False)
                os.unlink(tmp_path / "config/a.json")
            return iter(self.entries)

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Scan)
    assert names(overview.survey(store)) == [("config", 1)]


def test_the_repr_of_a_store_reads_nothing(store: StateStore, calls: SimpleNamespace) -> None:
    store.save_session(Session("u", "s"))

    def refuse(*arguments: object) -> None:
        raise AssertionError(arguments)

    calls.open = calls.scandir = calls.stat = calls.lstat = calls.listdir = refuse
    assert repr(store).startswith("StateStore(")
    with pytest.raises(AssertionError):
        str(store)
