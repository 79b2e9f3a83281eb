"""The store: its arguments, its base directory and what it creates there."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import oxios_state
from oxios_state import InvalidNameError, StateError, StateStore

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
    [("", "the base path is empty"), ("~nobody-has-this-name/x", "no such user"), ("a\0b", "cannot contain NUL")],
)
def test_a_bad_base_path_is_refused(path: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        StateStore(path)


def test_a_base_path_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match=r"base_path must be str or os\.PathLike\[str\], not bytes"):
        StateStore(b"state")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not int"):
        StateStore(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"durable": 1}, TypeError),
        ({"lock_timeout": "1"}, TypeError),
        ({"lock_timeout": True}, TypeError),
        ({"lock_timeout": -1}, ValueError),
        ({"lock_timeout": float("nan")}, ValueError),
        ({"lock_timeout": float("inf")}, ValueError),
        ({"cache_bytes": 1.0}, TypeError),
        ({"cache_bytes": -1}, ValueError),
        ({"max_file_bytes": 1.0}, TypeError),
        ({"max_file_bytes": True}, TypeError),
        ({"max_file_bytes": 0}, ValueError),
        ({"max_file_bytes": -1}, ValueError),
        ({"read_only": 1}, TypeError),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"^{next(iter(arguments))} must "):
        StateStore(tmp_path, **arguments)


def test_a_bad_timeout_of_a_lock_is_refused(store: StateStore) -> None:
    with pytest.raises(ValueError, match="timeout must not be negative"), store.lock("c", timeout=-1):
        pass
    with pytest.raises(TypeError, match="timeout must be int or float, not str"), store.lock("c", timeout="1"):  # type: ignore[arg-type]
        pass
    assert not store.base_path.exists()


def test_the_home_directory_is_expanded_and_a_relative_path_is_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert StateStore("~/state").base_path == tmp_path / "state"
    monkeypatch.chdir(tmp_path)
    store = StateStore(Path("relative"))
    monkeypatch.chdir("/")
    store.save_json("c", "a", 1)
    assert (tmp_path / "relative/c/a.json").exists()


def test_the_repr_of_a_store_has_its_options(tmp_path: Path) -> None:
    store = StateStore(tmp_path, durable=False, lock_timeout=2, cache_bytes=0, max_file_bytes=9, read_only=True)
    options = "durable=False, lock_timeout=2, cache_bytes=0, max_file_bytes=9, read_only=True"
    assert repr(store) == f"StateStore('{tmp_path}', {options})"


def test_a_pickled_store_has_the_same_options_and_parts_of_its_own(tmp_path: Path) -> None:
    options: dict[str, Any] = {"durable": False, "lock_timeout": 5, "cache_bytes": 10**6, "max_file_bytes": 10**5}
    store = StateStore(tmp_path, **options)
    session = store.get_or_create_session("ada", "s")  # creates the parts, which have locks and caches
    copy = pickle.loads(pickle.dumps(store))
    assert copy.base_path == tmp_path
    assert {name: getattr(copy, name) for name in options} == options
    assert pickle.dumps(store) == pickle.dumps(StateStore(tmp_path, **options))
    copy.save_json("c", "a", 1)
    assert store.load_json("c", "a") == 1
    assert copy.load_session("s") == session


def test_a_new_store_creates_nothing_until_the_first_save(store: StateStore) -> None:
    assert store.load_markdown("notes", "a") is None
    assert store.load_json("notes", "a") is None
    assert store.list_category("notes") == []
    assert not store.delete_file("notes", "a")
    assert not store.delete_session("a")
    assert store.list_sessions() == []
    assert store.prune() == []
    assert not store.base_path.exists()


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_directories_and_files_are_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    former = os.umask(umask)
    try:
        StateStore(tmp_path / "new" / "base").save_json("a/b", "x", 1)
    finally:
        os.umask(former)
    created = list(tmp_path.rglob("*"))
    assert {path.stat().st_mode & 0o777 for path in created if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in created if path.is_file()} == {0o600}


def test_a_store_works_without_its_own_directory(store: StateStore) -> None:
    session = store.get_or_create_session("ada", "s")
    store.save_markdown("c", "x", "text")
    shutil.rmtree(store.base_path / ".oxios_state")
    for any_store in (store, StateStore(store.base_path)):
        assert any_store.load_session("s") == session
        assert [summary.id for summary in any_store.list_sessions()] == ["s"]
        assert any_store.load_markdown("c", "x") == "text"
        assert any_store.check() == []
    store.update_session(session)


@pytest.mark.parametrize("name", [*BAD_NAMES, "a/b", "n" * 253])
def test_every_method_refuses_a_bad_name_before_the_disk_is_touched(store: StateStore, name: str) -> None:
    for call in (
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
            call()
    assert not store.base_path.exists()


@pytest.mark.parametrize("category", [*BAD_NAMES, "/a", "a/", "a//b", "a/./b", "a/.oxios_state/b", "a/" + "n" * 256])
def test_every_method_refuses_a_bad_category_before_the_disk_is_touched(store: StateStore, category: str) -> None:
    for call in (
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
            call()
    assert not store.base_path.exists()


@pytest.mark.parametrize("link", ["base", "base/notes"])
def test_a_link_to_a_missing_directory_is_named_by_the_error_of_a_save(tmp_path: Path, link: str) -> None:
    (tmp_path / link).parent.mkdir(exist_ok=True)
    target = (tmp_path / link).with_name("missing")
    (tmp_path / link).symlink_to(target)
    store = StateStore(tmp_path / "base", durable=False)
    with pytest.raises(FileNotFoundError, match=f"not saved, a symbolic link to a missing directory, {target}"):
        store.save_markdown("notes", "a", "text")
    assert store.load_markdown("notes", "a") is None


# Saves while the interpreter shuts down: before the library is used, and after.
SHUTDOWN = """
import sys
from oxios_state import Session, StateStore
store = StateStore(sys.argv[1])
if sys.argv[2] == "used":
    store.load_session("s")
class Saver:
    def __del__(self, store=store, session=Session("ada", "s"), print=print):
        for save in (lambda: store.save_session(session), lambda: store.check(), lambda: store.probe()):
            try:
                save()
            except RuntimeError as error:
                print(error, flush=True)
saver = Saver()
"""


@pytest.mark.parametrize("use", ["used", "unused"])
def test_a_save_while_the_interpreter_shuts_down_is_a_clear_error(tmp_path: Path, use: str) -> None:
    store = StateStore(tmp_path, durable=False)
    session = store.get_or_create_session("ada", "s")
    session.add_user_message("kept")
    store.save_session(session)
    command = [sys.executable, "-c", SHUTDOWN, str(tmp_path), use]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert process.stdout.count("not saved, and not loaded: the interpreter is shutting down") == 3
    assert process.stderr == ""
    assert StateStore(tmp_path).load_session("s") == session
    assert not list(tmp_path.rglob("*.tmp"))


def test_every_method_refuses_to_work_while_the_interpreter_shuts_down(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StateStore, "_is_finalizing", staticmethod(lambda: True))
    for call in (
        lambda: store.save_markdown("c", "n", "x"),
        lambda: store.save_session(oxios_state.Session("ada")),
        store.list_sessions,
        store.check,
        store.probe,
        lambda: store.lock("c"),
    ):
        with pytest.raises(RuntimeError, match="not saved, and not loaded: the interpreter is shutting down"):
            call()
    assert not store.base_path.exists()


def test_every_error_of_the_library_is_a_state_error() -> None:
    for name in oxios_state.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(oxios_state, name), StateError)
