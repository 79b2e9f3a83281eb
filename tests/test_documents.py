"""Markdown and JSON documents, through the public store."""

from __future__ import annotations

import os
import pickle
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from oxios_state import CorruptStateError, InvalidNameError, StateError, StateStore, UnsupportedValueError

BAD_NAMES = [
    "",
    ".",
    "..",
    "a..b",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "a\x85b",
    ".oxios_state",
    ".oxios_state.x",
    "\ud800",
]


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state")


@pytest.mark.parametrize(
    ("path", "reason"),
    [("", "the base path is empty"), ("~nobody-has-this-name/x", "no such user"), ("a\0b", "cannot hold a NUL")],
)
def test_a_base_that_is_no_path_is_refused(path: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        StateStore(path)


def test_a_base_of_bytes_is_refused() -> None:
    with pytest.raises(TypeError, match=r"base_path must be str or os\.PathLike\[str\], not bytes"):
        StateStore(b"state")  # type: ignore[arg-type]


@attrs.define
class Limits:
    tokens: int
    since: datetime


def test_a_new_store_creates_nothing_until_the_first_save(store: StateStore) -> None:
    assert store.load_markdown("notes", "a") is None
    assert store.load_json("notes", "a") is None
    assert store.list_category("notes") == []
    assert not store.delete_file("notes", "a")
    assert not store.delete_session("a")
    assert store.list_sessions() == []
    assert store.prune() == []
    assert not store.base_path.exists()


@pytest.mark.parametrize("text", ["", "x", "a\r\nb\rc\n", "\ufeffBOM", "naïve 🚀\0", "no newline at the end"])
def test_markdown_comes_back_exactly(store: StateStore, text: str) -> None:
    store.save_markdown("memory/knowledge", "note", text)
    assert store.load_markdown("memory/knowledge", "note") == text
    assert (store.base_path / "memory/knowledge/note.md").read_bytes() == text.encode()


def test_markdown_that_is_not_utf8_is_corrupt_and_says_where(store: StateStore) -> None:
    store.save_markdown("notes", "a", "one\ntwo")
    (store.base_path / "notes/a.md").write_bytes(b"one\nt\xffo")
    with pytest.raises(CorruptStateError, match="line 2, column 2: byte 0xff is not UTF-8") as caught:
        store.load_markdown("notes", "a")
    assert caught.value.path == store.base_path / "notes/a.md"


def test_markdown_with_a_lone_surrogate_is_refused_and_the_old_text_stays(store: StateStore) -> None:
    store.save_markdown("notes", "a", "old")
    with pytest.raises(
        UnsupportedValueError, match="not saved, the text has a lone surrogate at character 1"
    ) as caught:
        store.save_markdown("notes", "a", "x\ud800")
    assert caught.value.json_path is None
    assert store.load_markdown("notes", "a") == "old"


def test_markdown_must_be_text(store: StateStore) -> None:
    with pytest.raises(TypeError, match="content must be str, not bytes"):
        store.save_markdown("notes", "a", b"x")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "x", [], {}, {"b": 1, "a": [None]}])
def test_any_json_value_comes_back(store: StateStore, value: Any) -> None:
    store.save_json("config", "v", value)
    assert store.load_json("config", "v", default="missing") == value


def test_a_missing_document_gives_the_default(store: StateStore) -> None:
    assert store.load_json("config", "v", Limits) is None
    assert store.load_json("config", "v", int, 3) == 3
    assert store.load_json("config", "v", default=[]) == []


def test_a_class_of_the_users_comes_back_typed(store: StateStore) -> None:
    limits = Limits(4096, datetime(2026, 3, 1, tzinfo=UTC))
    store.save_json("config", "limits", limits)
    assert store.load_json("config", "limits", Limits) == limits
    assert store.load_json("config", "limits") == {"tokens": 4096, "since": "2026-03-01T00:00:00Z"}


def test_an_unsupported_value_is_refused_with_its_path(store: StateStore) -> None:
    store.save_json("config", "v", 1)
    with pytest.raises(UnsupportedValueError, match=r"not saved, \$\.a\[1\]: nan is not JSON: .*v\.json") as caught:
        store.save_json("config", "v", {"a": [1, float("nan")]})
    assert caught.value.json_path == "$.a[1]"
    assert caught.value.path == store.base_path / "config/v.json"
    assert store.load_json("config", "v") == 1


def test_a_list_has_each_name_once_sorted_and_only_documents(store: StateStore) -> None:
    store.save_json("c", "both", 1)
    store.save_markdown("c", "both", "x")
    store.save_markdown("c", "b.c", "x")
    store.save_json("c/deeper", "inner", 1)
    for foreign in ("x.txt", ".json", ".md", "x.json.tmp", ".oxios_state.1.json", "a..b.json"):
        (store.base_path / "c" / foreign).write_bytes(b"")
    (store.base_path / "c" / "directory.json").mkdir()
    assert store.list_category("c") == ["b.c", "both"]


def test_deleting_takes_the_json_first_then_the_markdown(store: StateStore) -> None:
    store.save_json("c", "a", 1)
    store.save_markdown("c", "a", "x")
    assert store.delete_file("c", "a")
    assert store.load_json("c", "a") is None
    assert store.load_markdown("c", "a") == "x"
    assert store.delete_file("c", "a")
    assert not store.delete_file("c", "a")


def test_a_name_that_fits_with_the_markdown_extension_only_can_be_deleted(store: StateStore) -> None:
    name = "n" * 252
    store.save_markdown("c", name, "x")
    assert store.list_category("c") == [name]
    assert store.delete_file("c", name)
    with pytest.raises(InvalidNameError, match="257 bytes"):
        store.save_json("c", name, 1)


@pytest.mark.parametrize("name", [*BAD_NAMES, "a/b", "n" * 253])
def test_a_bad_name_is_refused_by_every_method_before_the_disk_is_touched(store: StateStore, name: str) -> None:
    for refused in (
        lambda: store.save_markdown("c", name, "x"),
        lambda: store.load_markdown("c", name),
        lambda: store.save_json("c", name, 1),
        lambda: store.load_json("c", name),
        lambda: store.delete_file("c", name),
        lambda: store.load_session(name),
        lambda: store.delete_session(name),
        lambda: store.get_or_create_session("u", name),
        lambda: store.edit_session(name).__enter__(),
    ):
        with pytest.raises(InvalidNameError):
            refused()
    assert not store.base_path.exists()


@pytest.mark.parametrize("category", [*BAD_NAMES, "/a", "a/", "a//b", "a/./b", "a/.oxios_state/b", "a/" + "n" * 256])
def test_a_bad_category_is_refused_by_every_method_before_the_disk_is_touched(store: StateStore, category: str) -> None:
    for refused in (
        lambda: store.save_markdown(category, "n", "x"),
        lambda: store.load_markdown(category, "n"),
        lambda: store.save_json(category, "n", 1),
        lambda: store.load_json(category, "n"),
        lambda: store.delete_file(category, "n"),
        lambda: store.list_category(category),
        lambda: store.lock(category).__enter__(),
        lambda: store.prune(archive=category),
    ):
        with pytest.raises(InvalidNameError):
            refused()
    assert not store.base_path.exists()


def test_the_home_directory_is_expanded_and_a_relative_path_is_fixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert StateStore("~/state").base_path == tmp_path / "state"
    monkeypatch.chdir(tmp_path)
    store = StateStore(Path("relative"))
    monkeypatch.chdir("/")
    store.save_json("c", "a", 1)
    assert (tmp_path / "relative/c/a.json").exists()


def test_a_store_says_what_it_is_and_survives_pickling(tmp_path: Path) -> None:
    store = StateStore(tmp_path, durable=False, lock_timeout=2)
    assert repr(store) == f"StateStore('{tmp_path}', durable=False, lock_timeout=2)"
    copy = pickle.loads(pickle.dumps(store))
    assert repr(copy) == repr(store)
    copy.save_json("c", "a", 1)
    assert store.load_json("c", "a") == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"base_path": 3}, TypeError),
        ({"base_path": b"bytes"}, TypeError),
        ({"durable": 1}, TypeError),
        ({"lock_timeout": "1"}, TypeError),
        ({"lock_timeout": True}, TypeError),
        ({"lock_timeout": -1}, ValueError),
        ({"lock_timeout": float("nan")}, ValueError),
        ({"lock_timeout": float("inf")}, ValueError),
    ],
)
def test_wrong_arguments_are_refused_there_and_then(
    tmp_path: Path, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        StateStore(**{"base_path": tmp_path, **arguments})


def test_a_wrong_timeout_is_refused(store: StateStore) -> None:
    with pytest.raises(ValueError, match="finite and not negative"), store.lock("c", timeout=-1):
        pass


def test_every_error_of_the_library_is_a_state_error() -> None:
    import oxios_state

    for name in oxios_state.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(oxios_state, name), StateError)


def test_what_is_created_is_for_the_owner_only(store: StateStore) -> None:
    store.save_json("a/b", "c", 1)
    for path in store.base_path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert store.base_path.stat().st_mode & 0o777 == 0o700
    assert (store.base_path / ".oxios_state/.gitignore").read_text() == "*\n"
    os.chmod(store.base_path / "a/b/c.json", 0o640)
    store.save_json("a/b", "c", 2)
    assert (store.base_path / "a/b/c.json").stat().st_mode & 0o777 == 0o640


def test_a_store_works_without_its_own_directory(store: StateStore) -> None:
    session = store.get_or_create_session("ada", "s")
    store.save_markdown("c", "x", "text")
    shutil.rmtree(store.base_path / ".oxios_state")
    for same in (store, StateStore(store.base_path)):
        assert same.load_session("s") == session
        assert [summary.id for summary in same.list_sessions()] == ["s"]
        assert same.load_markdown("c", "x") == "text"
        assert same.check() == []
    store.update_session(session)
