"""Temporary files: of a save that goes on, of one that was cut off, and what Windows makes of them."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import filelock
import pytest

from oxios_state import InvalidNameError, StateStore
from oxios_state.storage import atomic_write, reads, system, tree
from oxios_state.storage.tree import Tree

if TYPE_CHECKING:
    pass

OWN = ".oxios_state.0123456789abcdef.tmp"
KERNEL = f"a.json.4711.{uuid.UUID(int=1)}.tmp"


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    store = StateStore(tmp_path / "state", durable=False)
    store.save_json("c", "a", 1)
    return store


@pytest.fixture
def tree(store: StateStore) -> Tree:
    return Tree(store.base_path, durable=False)


def temporary_files(store: StateStore) -> list[str]:
    return sorted(path.name for path in store.base_path.rglob("*.tmp"))


def descriptors() -> int:
    return len(os.listdir("/dev/fd")) if os.path.exists("/dev/fd") else 0


def test_a_temporary_name_is_taken_exclusively_and_follows_no_link(
    store: StateStore, calls: SimpleNamespace, tmp_path: Path
) -> None:
    calls.urandom = bytes  # not random: the name is there
    store.save_json("c", "a", "old")
    there = store.base_path / "c" / f".oxios_state.{bytes(8).hex()}.tmp"
    there.symlink_to(tmp_path / "outside")
    with pytest.raises(FileExistsError, match="not saved"):
        store.save_json("c", "a", "new")
    assert there.is_symlink()
    assert store.load_json("c", "a") == "old"
    assert not (tmp_path / "outside").exists()


def test_saves_of_one_document_do_not_share_a_temporary_file_that_could_be_a_document(
    store: StateStore, tree: Tree
) -> None:
    path = tree.document("c", "a", ".json")
    with atomic_write.Staged(tree, path, [b"1"]) as first, atomic_write.Staged(tree, path, [b"2"]) as second:
        made = temporary_files(store)
        assert len(made) == 2
        assert store.list_category("c") == ["a"]
        for name in made:
            with pytest.raises(InvalidNameError):
                store.load_json("c", name)
        second.replace()
        second.replace()  # done already
        assert reads.read(path) == b"2"
        first.replace()
        assert reads.read(path) == b"1"
    assert temporary_files(store) == []


def test_the_temporary_file_of_a_killed_process_is_swept_and_that_of_a_living_one_stays(
    store: StateStore, tree: Tree
) -> None:
    script = str(Path(__file__).parents[1] / "workers.py")
    command = [sys.executable, "-P", script, "write", str(store.base_path), "c/d", "x"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"staged\n"
            (name,) = temporary_files(store)
            assert atomic_write.sweep(tree) == []
            assert temporary_files(store) == [name]
        finally:
            process.kill()
    assert atomic_write.sweep(tree) == [store.base_path / "c" / "d" / name]
    assert temporary_files(store) == []


def test_the_temporary_file_of_a_living_thread_stays(store: StateStore, tree: Tree) -> None:
    staged = atomic_write.Staged(tree, tree.document("c", "a", ".json"), [b"2"])
    sweeper = threading.Thread(target=atomic_write.sweep, args=[tree])
    sweeper.start()
    sweeper.join()
    with staged:
        staged.replace()
    assert store.load_json("c", "a") == 2


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize(("age", "stale"), [(3540, False), (3660, True)])
def test_a_temporary_file_of_the_kernel_is_swept_after_an_hour(
    store: StateStore, tree: Tree, monkeypatch: pytest.MonkeyPatch, age: int, *, windows: bool, stale: bool
) -> None:
    monkeypatch.setattr(system, "WINDOWS", windows)
    names = [KERNEL, OWN] if windows else [KERNEL]
    for name in names:
        path = store.base_path / "c" / name
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    swept = atomic_write.sweep(tree)
    assert {path.name for path in swept} == (set(names) if stale else set())
    assert temporary_files(store) == (sorted(names) if not stale else [])


@pytest.mark.parametrize(
    "name",
    [
        *["c/notes.tmp", "c/a.json.tmp", "c/a.json.4711.tmp", f"c/a.json.{uuid.UUID(int=1)}.tmp", "c/a.json.1.2.tmp"],
        *[f"c/{KERNEL}.json", f"c/.{KERNEL.removeprefix('a.json')}x", f"c/{OWN}.md", f"c/x{OWN}"],
        *[f".oxios_state/{KERNEL}", f".oxios_state/{OWN}"],
    ],
)
def test_a_file_that_only_looks_like_a_temporary_one_stays(store: StateStore, tree: Tree, name: str) -> None:
    path = store.base_path / name
    path.touch()
    os.utime(path, (0, 0))
    assert atomic_write.sweep(tree) == []
    assert path.exists()


def test_a_temporary_file_that_goes_while_it_is_swept_is_no_error(tree: Tree, calls: SimpleNamespace) -> None:
    calls.walk = lambda base, **_: [(str(base), [], [OWN, KERNEL])]  # they were there a moment ago
    assert atomic_write.sweep(tree) == []


def test_a_sweep_in_the_instant_before_the_writer_has_its_lock_makes_it_write_another(
    store: StateStore, tree: Tree, calls: SimpleNamespace
) -> None:
    swept: list[Path] = []
    before = descriptors()

    def opening(path: str | Path, *arguments: int) -> int:
        descriptor = os.open(path, *arguments)
        if str(path).endswith(".tmp") and arguments[0] & os.O_CREAT and not swept:
            calls.open = os.open
            swept.extend(atomic_write.sweep(tree))
        return descriptor

    calls.open = opening
    store.save_json("c", "a", 2)
    assert len(swept) == 1
    assert descriptors() == before
    assert store.load_json("c", "a") == 2
    assert temporary_files(store) == []


def test_a_sweep_that_has_the_lock_at_that_instant_does_too(store: StateStore, calls: SimpleNamespace) -> None:
    sweeper: list[int] = []

    def opening(path: str | Path, *arguments: int) -> int:
        descriptor = os.open(path, *arguments)
        if str(path).endswith(".tmp") and not sweeper:
            sweeper.append(os.open(path, os.O_WRONLY))
            assert filelock.lock_descriptor(sweeper[0], blocking=False)
        return descriptor

    calls.open = opening
    store.save_json("c", "a", 2)
    assert store.load_json("c", "a") == 2
    assert temporary_files(store) == []
    os.close(sweeper[0])


@pytest.mark.parametrize(("refusals", "saved"), [(0, True), (2, True), (3, False)])
def test_windows_is_asked_again_while_somebody_reads_the_file(
    store: StateStore, calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, refusals: int, *, saved: bool
) -> None:
    store.save_json("c", "a", "old")
    before, tries = descriptors(), []

    def replace(source: Path, target: Path) -> None:
        tries.append((source, descriptors() - before))
        if len(tries) <= refusals:
            raise PermissionError(errno.EACCES, "somebody reads it")
        os.replace(source, target)

    calls.replace = replace
    monkeypatch.setattr(system, "WINDOWS", True)
    monkeypatch.setattr(atomic_write, "_REPLACE_TRIES", 3)
    monkeypatch.setattr(atomic_write, "_REPLACE_PAUSE", 0)
    if saved:
        store.save_json("c", "a", "new")
    else:
        with pytest.raises(PermissionError, match="not saved, somebody reads it"):
            store.save_json("c", "a", "new")
    assert store.load_json("c", "a") == ("new" if saved else "old")
    assert len(tries) == min(refusals + 1, 3)
    assert temporary_files(store) == []
    opened_by_the_lock = 1 if os.path.exists("/dev/fd") else 0
    assert {opened for _, opened in tries} == {opened_by_the_lock}  # the temporary file is closed


def test_windows_is_not_asked_to_sync_a_directory(
    tmp_path: Path, calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    calls.fsync = lambda descriptor: synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
    monkeypatch.setattr(system, "WINDOWS", True)
    StateStore(tmp_path).save_json("c", "a", 1)
    assert synced == [False]  # the temporary file


@pytest.mark.skipif(os.name == "nt", reason="POSIX replaces an open file")
def test_elsewhere_a_refused_replacement_is_not_tried_again(store: StateStore, calls: SimpleNamespace) -> None:
    tries = []

    def replace(source: Path, target: Path) -> None:
        tries.append(source)
        raise PermissionError(errno.EACCES, "no")

    calls.replace = replace
    with pytest.raises(PermissionError):
        store.save_json("c", "a", 1)
    assert len(tries) == 1


@pytest.mark.parametrize("kind", ["cache", "quarantine/20260301T080000.000000-00000000"])
def test_the_own_directories_are_swept_too(tree: Tree, kind: str) -> None:
    left = tree.own / kind / OWN
    left.parent.mkdir(parents=True)
    left.write_bytes(b"oxios_state summ")
    assert atomic_write.sweep(tree) == [left]
    assert not left.exists()
