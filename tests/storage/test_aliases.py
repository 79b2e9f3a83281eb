"""Aliases: no document is lost through the name of another file. `nox -s file_systems` has vfat.

Here an unlisted link simulates an alias: a hard link to a file, a symbolic link to a directory.
"""

from __future__ import annotations

import os
import pickle
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest

from oxios_state import InvalidNameError, Session, StateStore
from oxios_state.storage import aliases

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links of POSIX simulate aliases")
CAFE = "caf\u00e9"


class AliasingSystem:
    """A file system with aliases, which counts the calls."""

    def __init__(self) -> None:
        self.hidden: set[str] = set()
        self.listed: list[str] = []
        self.calls = 0
        path = SimpleNamespace(**{**vars(os.path), "lexists": self._exists})
        self.os = SimpleNamespace(**{**vars(os), "lstat": self._stat, "listdir": self._list, "path": path})

    def _stat(self, path: Path) -> os.stat_result:
        self.calls += 1
        return os.stat(path)  # of the directory, not of the link that simulates its alias

    def _exists(self, path: Path) -> bool:
        self.calls += 1
        return os.path.lexists(path)

    def _list(self, directory: Path) -> list[str]:
        self.listed.append(directory.name)
        return [name for name in os.listdir(directory) if name not in self.hidden]

    def add(self, path: Path, *names: str) -> None:
        """Add aliases of a file or directory."""
        for name in names:
            self.hidden.add(name)
            (os.symlink if path.is_dir() else os.link)(path, path.with_name(name))


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> AliasingSystem:
    system = AliasingSystem()
    monkeypatch.setattr(aliases, "os", system.os)
    return system


@pytest.fixture
def store(tmp_path: Path, system: AliasingSystem) -> StateStore:
    """A store where ``foo`` is an alias of ``Foo``, and ``C`` of ``c``, as on vfat."""
    store = StateStore(tmp_path / "state", durable=False, lock_timeout=1)
    store.save_session(Session("ada", "Foo"))
    store.save_json("c", "Foo", "kept")
    store.save_markdown("c", "Long name", "kept")
    system.add(store.base_path / "sessions/Foo.json", "foo.json", "Foo.JSON", "foo.JSON")
    system.add(store.base_path / "c/Foo.json", "foo.json", "Foo.JSON", "foo.JSON")
    system.add(store.base_path / "c/Long name.md", "LONGNA~1.md", "Long name.MD", "LONGNA~1.MD")
    system.add(store.base_path / "c", "C")
    system.add(store.base_path / "sessions", "Sessions")
    system.add(store.base_path / ".oxios_state", ".OXIOS_STATE")
    return StateStore(store.base_path, durable=False, lock_timeout=1)  # which has not examined the directories yet


CHANGES: dict[str, tuple[str, Callable[[StateStore], object]]] = {
    "save_session": ("takes 'foo.json' for 'Foo.json'", lambda store: store.save_session(Session("bob", "foo"))),
    "update_session": ("takes 'foo.json' for 'Foo.json'", lambda store: store.update_session(Session("bob", "foo"))),
    "delete_session": ("takes 'foo.json' for 'Foo.json'", lambda store: store.delete_session("foo")),
    "save_json": ("takes 'foo.json' for 'Foo.json'", lambda store: store.save_json("c", "foo", "lost")),
    "save_markdown": ("'LONGNA~1.md' for another name", lambda store: store.save_markdown("c", "LONGNA~1", "lost")),
    "delete_file": ("takes 'foo.json' for 'Foo.json'", lambda store: store.delete_file("c", "foo")),
    "category": ("takes 'C' for 'c'", lambda store: store.save_json("C", "Foo", "lost")),
    "lock": ("takes 'C' for 'c'", lambda store: store.lock("C").__enter__()),
    "deleting in a category": ("takes 'C' for 'c'", lambda store: store.delete_file("C", "Foo")),
    "subcategory": ("takes 'C' for 'c'", lambda store: store.save_json("C/d", "a", "lost")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_through_an_alias_is_refused(
    store: StateStore, all_below: Callable[[Path], dict[str, bytes | None]], change: str
) -> None:
    reason, act = CHANGES[change]
    before = all_below(store.base_path)
    with pytest.raises(InvalidNameError, match=reason):
        act(store)
    after = all_below(store.base_path)
    assert {path for path in after if ".oxios_state" not in path} >= {
        path for path in before if ".oxios_state" not in path
    }
    assert {path: after[path] for path in before} == before
    assert list(store.quarantine) == []
    assert not [path for path in after if path.endswith(".tmp")]


def test_a_refused_save_quarantines_nothing(store: StateStore) -> None:
    (store.base_path / "c/Foo.json").write_bytes(b"{")
    with pytest.raises(InvalidNameError, match=r"for 'Foo\.json'"):
        store.save_json("c", "foo", "new")
    assert list(store.quarantine) == []


def test_a_document_is_changed_and_deleted_by_its_own_name(store: StateStore) -> None:
    store.save_json("c", "Foo", "new")
    assert store.load_json("c", "Foo") == "new"
    assert store.delete_file("c", "Foo")
    with store.edit_session("Foo") as session:
        session.add_user_message("x")
    assert store.delete_session("Foo")
    store.save_json("c", "new", 1)
    store.save_json("c", "new", 2)


@pytest.mark.parametrize(("kept", "other"), [(CAFE, "NFD"), (unicodedata.normalize("NFD", CAFE), "NFC")])
def test_composed_and_decomposed_names_can_be_aliases(
    tmp_path: Path, system: AliasingSystem, kept: str, other: Literal["NFC", "NFD"]
) -> None:
    store = StateStore(tmp_path, durable=False)
    store.save_json(kept, kept, "kept")
    twin = unicodedata.normalize(other, kept)
    system.add(tmp_path / kept / f"{kept}.json", f"{twin}.json")
    system.add(tmp_path / kept, twin)
    store = StateStore(tmp_path, durable=False)
    with pytest.raises(InvalidNameError, match="for 'caf"):
        store.save_json(kept, twin, "lost")
    with pytest.raises(InvalidNameError, match="for 'caf"):
        store.save_json(twin, kept, "lost")
    store.save_json(kept, kept, "new")
    assert store.load_json(kept, kept) == "new"


def test_elsewhere_names_that_differ_in_case_are_two_documents(tmp_path: Path, system: AliasingSystem) -> None:
    store = StateStore(tmp_path, durable=False)
    for category in ("c", "C", "12"):
        for name in ("foo", "Foo", CAFE):
            store.save_json(category, name, 1)
            store.save_json(category, name, f"{category}/{name}")
    assert store.load_json("c", "Foo") == "c/Foo"
    os.link(tmp_path / "c/foo.json", tmp_path / "c/foo.JSON")
    store.save_json("c", "foo", "both are listed")
    assert store.delete_file("c", "foo")
    assert system.listed == []


def test_a_case_sensitive_directory_is_examined_once(tmp_path: Path, system: AliasingSystem) -> None:
    store = StateStore(tmp_path, durable=False)
    with store.lock("c"):
        assert system.calls == 3  # the library's own directory by two names, and the category
    for _ in range(2):
        store.save_json("c", "a", 1)
    calls = system.calls
    store.save_json("c", "a", 2)
    store.save_json("c", "b", 2)
    store.delete_file("c", "a")
    assert system.calls == calls


def test_a_session_of_a_known_identity_is_saved_without_listing(store: StateStore, system: AliasingSystem) -> None:
    with store.edit_session("Foo") as session:
        session.add_user_message("x")
    assert "sessions" in system.listed
    system.listed.clear()
    with store.edit_session("Foo") as session:
        session.add_user_message("y")
    assert system.listed == []


def test_a_pickled_store_examines_directories_again(store: StateStore, system: AliasingSystem) -> None:
    store.save_json("c", "Foo", 1)
    copy = pickle.loads(pickle.dumps(store))
    system.listed.clear()
    (store.base_path / "c/Foo.JSON").unlink()
    system.add(store.base_path / "c/Foo.json", "Foo.JSON")
    copy.save_json("c", "Foo", 2)
    assert system.listed == ["state", "c"]
