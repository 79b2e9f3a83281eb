"""Directories that are files or links, or vanish while they are used: the library's own, a category, the base."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from oxios_state import Session, StateError, StateStore

posix = pytest.mark.skipif(os.name == "nt", reason="links, devices and permissions of POSIX")


# The library's own directory.


@posix
@pytest.mark.parametrize(
    "place",
    ["", "locks", "quarantine", ".gitignore"],
)
def test_links_in_the_librarys_directory_lead_no_write_outside(store: StateStore, tmp_path: Path, place: str) -> None:
    own, outside = store.base_path / ".oxios_state" / place, tmp_path / "outside"
    shutil.rmtree(own) if own.is_dir() else own.unlink(missing_ok=True)
    outside.mkdir()
    own.symlink_to(outside / "file" if place == ".gitignore" else outside)
    for name in ("x", "y"):
        (store.base_path / "c" / f"{name}.json").write_text("{")
    for call in (
        lambda: store.save_json("c", "x", 1),
        lambda: store.quarantine.add(store.check()[-1]),
        lambda: store.delete_file("c", "a"),
    ):
        try:
            call()
        except (OSError, StateError) as error:
            assert str(store.base_path) in str(error)  # noqa: PT017
    assert list(outside.iterdir()) == []


@posix
@pytest.mark.parametrize("kind", ["file", "dangling", "pipe"])
def test_a_file_in_place_of_the_librarys_directory_is_an_error_and_loses_nothing(store: StateStore, kind: str) -> None:
    own = store.base_path / ".oxios_state"
    shutil.rmtree(own)
    make: dict[str, Callable[[Path], object]] = {
        "file": Path.touch,
        "dangling": lambda path: path.symlink_to("gone"),
        "pipe": os.mkfifo,
    }
    make[kind](own)
    with pytest.raises(OSError, match="not saved, "):
        store.save_json("c", "a", 2)
    with pytest.raises(OSError, match="oxios_state"):
        store.delete_file("c", "a")
    assert (store.load_json("c", "a"), store.list_category("c"), store.check()) == (1, ["a"], [])
    assert list(store.quarantine) == []
    assert os.listdir(store.base_path / "c") == ["a.json"]
    own.unlink()
    store.save_json("c", "a", 2)


@posix
@pytest.mark.parametrize("file", ["c.lock", "c.turn"])
@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_a_special_file_in_place_of_a_lock_file_neither_hangs_nor_leads_outside(
    store: StateStore, tmp_path: Path, kind: str, file: str
) -> None:
    path, outside = store.base_path / ".oxios_state" / "locks" / file, tmp_path / "outside"
    path.unlink()
    make: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to(outside),
        "pipe": lambda: os.mkfifo(path),
        "directory": path.mkdir,
    }
    make[kind]()
    descriptors = len(os.listdir("/dev/fd"))
    if kind == "pipe":
        store.save_json("c", "a", 2)  # a pipe can be locked like a file
    else:
        with pytest.raises(OSError, match=rf"not saved, .*{file}"):
            store.save_json("c", "a", 2)
        assert store.load_json("c", "a") == 1
        path.rmdir() if kind == "directory" else path.unlink()
        store.save_json("c", "a", 2)
    assert store.load_json("c", "a") == 2
    assert not outside.exists()
    assert len(os.listdir("/dev/fd")) == descriptors


# A base that is a file, or vanishes.


@posix
def test_a_file_in_place_of_the_base_or_a_category_is_an_error_and_stays(tmp_path: Path) -> None:
    for base, category in [(tmp_path / "file", "c"), (tmp_path / "state", "file"), (tmp_path / "state", "file/c")]:
        tmp_path.joinpath("state").mkdir(exist_ok=True)
        file = base if base.name == "file" else base / "file"
        file.write_text("x")
        store = StateStore(base)
        calls: list[Callable[[], Any]] = [
            partial(store.save_json, category, "x", 1),
            partial(store.load_json, category, "x"),
            partial(store.list_category, category),
        ]
        for call in calls:
            with pytest.raises(OSError, match="Not a directory") as caught:
                call()
            assert str(file) in str(caught.value)
        assert file.read_text() == "x"


@posix
def test_a_base_removed_between_calls_is_created_again(store: StateStore) -> None:
    session = Session("u", "s")
    store.save_session(session)
    shutil.rmtree(store.base_path)
    assert store.load_session("s") is None
    assert (store.list_sessions(), store.list_category("c"), store.check(), list(store.quarantine)) == ([], [], [], [])
    assert not store.delete_session("s")
    assert store.prune() == []
    assert not store.base_path.exists()
    store.save_session(session)
    assert store.load_session("s") == session


@posix
@pytest.mark.parametrize("again", [False, True])
def test_a_base_removed_under_a_lock_is_an_error_or_created_again(store: StateStore, *, again: bool) -> None:
    session = Session("u", "s")
    store.save_session(session)
    if again:
        with store.lock("sessions"):
            shutil.rmtree(store.base_path)
            store.save_session(session)
        assert store.load_session("s") == session
    else:
        with pytest.raises(StateError, match="deleted since"), store.edit_session("s"):
            shutil.rmtree(store.base_path)
        assert store.load_session("s") is None
    with store.lock("sessions", timeout=0):  # the lock is free
        pass


@posix
def test_a_base_that_is_repeatedly_removed_breaks_no_reader_and_no_writer(store: StateStore) -> None:
    done = threading.Event()
    seen: list[BaseException] = []

    def work(operation: Callable[[], object]) -> None:
        while not done.is_set():
            try:
                operation()
            except FileNotFoundError as error:
                assert "not saved" in str(error) or "oxios_state" in str(error)  # noqa: PT017
            except BaseException as error:  # noqa: BLE001
                seen.append(error)
                return

    operations: list[Callable[[], object]] = [
        lambda: store.save_session(Session("u", "s")),
        lambda: store.load_session("s"),
        store.list_sessions,
        store.check,
    ]
    threads = [threading.Thread(target=work, args=(operation,)) for operation in operations]
    for thread in threads:
        thread.start()
    for number in range(200):
        with_name = store.base_path.with_name(f"gone-{number}")
        if store.base_path.exists():
            os.rename(store.base_path, with_name)
            shutil.rmtree(with_name, ignore_errors=True)
    done.set()
    for thread in threads:
        thread.join()
    assert seen == []


@posix
@pytest.mark.parametrize("closed", ["state", "state/c", "state/.oxios_state/locks"])
def test_a_write_without_permission_is_a_clear_error_and_changes_nothing(
    all_below: Callable[[Path], dict[str, bytes | None]], nobody: Path, closed: str
) -> None:
    store = StateStore(nobody / "state", durable=False)
    store.save_json("c", "a", 1)
    (nobody / closed).chmod(0o500)
    before = all_below(nobody)
    category = "d" if closed != "state/c" else "c"
    with pytest.raises(PermissionError, match="not saved, "):
        store.save_json(category, "x", 2)
    assert {path: content for path, content in all_below(nobody).items() if not path.endswith("state/d")} == before
    assert store.load_json("c", "a") == 1
