"""Orphans: the temporary files of dead writers, which `sweep` removes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oxios_state.storage import system
from oxios_state.storage.atomic_write import is_orphan, sweep

if TYPE_CHECKING:
    from types import SimpleNamespace

    from oxios_state.storage.tree import Tree

OWN = ".oxios_state.0123456789abcdef.tmp"
KERNEL = f"a.json.4711.{uuid.UUID(int=1)}.tmp"


def temporary_files(tree: Tree) -> list[str]:
    return sorted(path.name for path in tree.base.rglob("*.tmp"))


def make(path: Path, age: float = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_the_temporary_file_of_a_killed_process_is_swept_and_that_of_a_living_one_stays(tree: Tree) -> None:
    script = str(Path(__file__).parents[1] / "workers.py")
    command = [sys.executable, "-P", script, "write", str(tree.base), "c/d", "x"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"staged\n"
            (name,) = temporary_files(tree)
            assert sweep(tree) == []
            assert temporary_files(tree) == [name]
        finally:
            process.kill()
    assert sweep(tree) == [tree.base / "c" / "d" / name]
    assert temporary_files(tree) == []


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize(("age", "stale"), [(3540, False), (3660, True)])
def test_a_temporary_file_of_the_kernel_is_swept_after_an_hour(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, age: int, *, windows: bool, stale: bool
) -> None:
    monkeypatch.setattr(system, "WINDOWS", windows)
    names = [OWN, KERNEL] if windows else [KERNEL]  # on Windows the library's own too
    for name in names:
        make(tree.base / "c" / name, age)
    swept = sweep(tree)
    assert {path.name for path in swept} == (set(names) if stale else set())
    assert temporary_files(tree) == ([] if stale else names)


@pytest.mark.parametrize(
    "name",
    [
        *["c/notes.tmp", "c/a.json.tmp", "c/a.json.4711.tmp", f"c/a.json.{uuid.UUID(int=1)}.tmp", "c/a.json.1.2.tmp"],
        *[f"c/{KERNEL}.json", f"c/.{KERNEL.removeprefix('a.json')}x", f"c/{OWN}.md", f"c/x{OWN}"],
        *[f".oxios_state/{KERNEL}", f".oxios_state/{OWN}"],
    ],
)
def test_a_file_that_only_resembles_a_temporary_file_stays(tree: Tree, name: str) -> None:
    path = make(tree.base / name, age=10**6)
    assert sweep(tree) == []
    assert path.exists()


@pytest.mark.parametrize("directory", ["cache", "quarantine/20260301T080000.000000-00000000"])
def test_the_own_directories_are_swept_too(tree: Tree, directory: str) -> None:
    orphan = make(tree.own / directory / OWN)
    assert sweep(tree) == [orphan]
    assert not orphan.exists()


def test_a_temporary_file_that_vanishes_during_a_sweep_is_no_error(tree: Tree, calls: SimpleNamespace) -> None:
    calls.walk = lambda base, **_: [(str(base), [], [OWN, KERNEL])]  # as listed a moment ago
    assert sweep(tree) == []


def test_is_orphan_calls_a_function_with_an_orphan_only(tree: Tree) -> None:
    orphan, document = make(tree.base / "c" / OWN), make(tree.base / "c" / "a.json")
    seen: list[Path] = []
    assert is_orphan(orphan, seen.append)
    assert is_orphan(orphan)
    assert not is_orphan(document, seen.append)
    assert seen == [orphan]
    assert orphan.exists()
