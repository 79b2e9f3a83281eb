"""The quarantine: files out of the way, nothing of them lost, and put back."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import stat
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from oxios_state import LockTimeoutError, Problem, ProblemKind, Quarantined, StateStore

if TYPE_CHECKING:
    from collections.abc import Callable

posix = pytest.mark.skipif(os.name == "nt", reason="links, pipes, permissions and names of POSIX")
OWN_TEMPORARY = ".oxios_state.0123456789abcdef.tmp"


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    store = StateStore(tmp_path / "state", durable=False, lock_timeout=0.1)
    store.save_json("c", "good", 1)
    return store


def broken(store: StateStore, name: str = "x", content: str = "{") -> Problem:
    """Have a broken file, and find it."""
    path = store.base_path / "c" / f"{name}.json"
    path.write_text(content)
    return next(problem for problem in store.check() if problem.path == path)


def moved(store: StateStore, problem: Problem) -> Quarantined:
    entry = store.quarantine(problem)
    assert entry is not None
    return entry


def contents(base: Path) -> dict[str, bytes]:
    return {str(path.relative_to(base)): path.read_bytes() for path in base.rglob("*") if path.is_file()}


def test_a_file_in_quarantine_is_out_of_the_way_with_its_reason_beside_it(store: StateStore) -> None:
    problem = broken(store)
    before = datetime.now(UTC)
    entry = moved(store, problem)
    assert store.check() == []
    assert store.load_json("c", "x") is None
    assert store.list_category("c") == ["good"]
    assert (entry.path, entry.reason) == (problem.path, problem.reason)
    assert before <= entry.since <= datetime.now(UTC)
    assert entry.content.read_text() == "{"
    assert entry.content.parents[1] == store.base_path / ".oxios_state" / "quarantine"
    reason = json.loads((entry.content.parent / "reason.json").read_text())
    assert (reason["path"], reason["reason"]) == ("c/x.json", problem.reason)
    assert store.quarantined() == [entry] == StateStore(store.base_path).quarantined()


def test_what_is_restored_is_as_it_was(store: StateStore) -> None:
    problem = broken(store)
    problem.path.chmod(0o640)
    entry = moved(store, problem)
    store.restore(entry)
    assert problem.path.read_text() == "{"
    assert stat.S_IMODE(problem.path.stat().st_mode) == 0o640
    assert store.check() == [problem]
    assert store.quarantined() == []
    assert os.listdir(store.base_path / ".oxios_state" / "quarantine") == []
    with pytest.raises(FileNotFoundError):
        store.restore(entry)
    assert problem.path.read_text() == "{"


def test_a_file_comes_back_to_a_category_that_went(store: StateStore) -> None:
    entry = moved(store, broken(store))
    store.delete_file("c", "good")
    (store.base_path / "c").rmdir()
    store.restore(entry)
    assert entry.path.read_text() == "{"
    assert stat.S_IMODE(entry.path.parent.stat().st_mode) == 0o700


def test_a_place_that_is_taken_again_is_left_and_nothing_is_lost(store: StateStore) -> None:
    entry = moved(store, broken(store))
    store.save_json("c", "x", "new")
    before = contents(store.base_path)
    with pytest.raises(FileExistsError, match=re.escape(str(entry.path))):
        store.restore(entry)
    assert contents(store.base_path) == before
    assert store.quarantined() == [entry]
    store.delete_file("c", "x")
    store.restore(entry)
    assert entry.path.read_text() == "{"


def test_what_is_in_quarantine_is_listed_by_age(store: StateStore) -> None:
    moved_in = [moved(store, broken(store, name)) for name in ("c", "a", "b")]
    assert store.quarantined() == moved_in
    assert [entry.path.stem for entry in moved_in] == ["c", "a", "b"]


@posix
def test_an_entry_without_a_reason_that_can_be_read_is_reported_and_hides_no_other(
    store: StateStore, caplog: pytest.LogCaptureFixture
) -> None:
    reasons: dict[str, Callable[[Path], object]] = {
        "cut": lambda path: path.write_text('{"path": "c/cut.json"'),
        "wrong": lambda path: path.write_text('{"path": 1, "reason": "", "since": "2026-03-01T08:00:00Z"}'),
        "pipe": os.mkfifo,
        "directory": Path.mkdir,
    }
    spoilt = {}
    for name, make in reasons.items():
        spoilt[name] = moved(store, broken(store, name)).content
        spoilt[name].with_name("reason.json").unlink()
        make(spoilt[name].with_name("reason.json"))
    good = moved(store, broken(store, "good-one"))
    lost = moved(store, broken(store, "lost"))
    lost.content.unlink()
    with caplog.at_level(logging.WARNING, "oxios_state"):
        assert store.quarantined() == [good]
    assert len(caplog.messages) == len(spoilt)
    for content in spoilt.values():
        assert content.read_text() == "{"
        assert any(str(content.with_name("reason.json")) in message for message in caplog.messages)


@posix
@pytest.mark.parametrize("kind", ["gone", "dangling"])
def test_an_entry_whose_reason_is_gone_is_reported(
    store: StateStore, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    reason = moved(store, broken(store)).content.with_name("reason.json")
    reason.unlink()
    if kind == "dangling":
        reason.symlink_to("gone")
    assert store.quarantined() == []
    assert any(str(reason.parent) in message for message in caplog.messages)


def test_what_was_mended_changed_or_went_meanwhile_is_left(store: StateStore) -> None:
    mended, changed, gone, never = (broken(store, name) for name in ("mended", "changed", "gone", "never"))
    mended.path.write_text("1")
    changed.path.write_text(str(2**64))  # wrong in another way
    gone.path.unlink()
    healthy = Problem(ProblemKind.CORRUPT, store.base_path / "c" / "good.json", never.reason)
    before = contents(store.base_path)
    assert [store.quarantine(problem) for problem in (mended, changed, gone, healthy)] == [None] * 4
    assert contents(store.base_path).keys() == before.keys()
    assert store.quarantined() == []


@posix
def test_a_name_that_collides_no_longer_is_left_though_others_collide(store: StateStore) -> None:
    for name in ("A", "a", "B", "b"):
        store.save_json("c", name, 1)
    first, second = store.check()
    store.delete_file("c", "A")
    assert store.quarantine(first) is None
    assert moved(store, second).path.name == "b.json"
    assert store.list_category("c") == ["B", "a", "good"]


def test_what_is_not_a_document_of_this_store_is_refused(store: StateStore, tmp_path: Path) -> None:
    other = StateStore(tmp_path / "state-2", durable=False)
    other.save_json("c", "good", 1)
    own = store.base_path / ".oxios_state"
    (own / "x.json").write_text("{")
    for path in (broken(other).path, own / "x.json", own, store.base_path, tmp_path, Path("c/x.json")):
        with pytest.raises(ValueError, match="not a document of"):
            store.quarantine(Problem(ProblemKind.CORRUPT, path, ""))
    entry = moved(other, broken(other))
    with pytest.raises(ValueError, match="state-2"):
        store.restore(entry)
    assert other.quarantined() == [entry]


def test_both_ways_take_the_lock_of_the_category(
    store: StateStore, held_by_another: Callable[[StateStore, str], AbstractContextManager[object]]
) -> None:
    problem = broken(store)
    with held_by_another(store, "c"), pytest.raises(LockTimeoutError, match="category 'c'"):
        store.quarantine(problem)
    assert problem.path.exists()
    with held_by_another(store, "other"):
        entry = moved(store, problem)
    with held_by_another(store, "c"), pytest.raises(LockTimeoutError, match="category 'c'"):
        store.restore(entry)
    assert store.quarantined() == [entry]


KINDS: dict[str, tuple[str, Callable[[Path], object], ProblemKind]] = {
    "unsafe": ("c/x.json", lambda path: path.write_text(str(2**64)), ProblemKind.UNSAFE),
    "markdown": ("c/x.md", lambda path: path.write_bytes(b"\xff"), ProblemKind.CORRUPT),
    "pipe": ("c/x.json", os.mkfifo, ProblemKind.NOT_A_FILE),
    "directory": ("c/x.json", lambda path: (path / "deeper").mkdir(parents=True), ProblemKind.NOT_A_FILE),
    "link outside": ("c/x.json", lambda path: path.symlink_to("/etc/passwd"), ProblemKind.LINK),
    "category outside": ("l", lambda path: path.symlink_to("/etc"), ProblemKind.LINK),
    "dangling": ("c/x.json", lambda path: path.symlink_to("gone"), ProblemKind.LINK),
    "orphan": (f"c/{OWN_TEMPORARY}", Path.touch, ProblemKind.ORPHAN),
    "name": ("c/x..y.json", Path.touch, ProblemKind.NAME),
    "category's name": ("x\\y/x.json", lambda path: path.write_text("{"), ProblemKind.CORRUPT),
    "device": ("c/CON.md", Path.touch, ProblemKind.PORTABILITY),
    "case": ("c/good.json", lambda path: path.with_name("Good.json").touch(), ProblemKind.PORTABILITY),
}


@posix
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_check_finds_can_be_moved_away_and_back(store: StateStore, kind: str) -> None:
    place, make, expected = KINDS[kind]
    path = store.base_path / place
    path.parent.mkdir(exist_ok=True)
    make(path)
    problem = next(problem for problem in store.check() if problem.path == path and problem.kind is expected)
    before = path.lstat()
    entry = moved(store, problem)
    assert not os.path.lexists(path)
    assert problem not in store.check()
    assert store.quarantined() == [entry]
    store.restore(entry)
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert problem in store.check()
    assert Path("/etc/passwd").exists()


@posix
def test_a_name_that_is_not_utf8_can_be_moved_away_and_back(store: StateStore) -> None:
    path = store.base_path / "c" / "x\udcff.json"
    path.touch()
    entry = moved(store, store.check()[0])
    assert store.quarantined() == [entry]
    store.restore(entry)
    assert path.exists()


def test_without_hard_links_it_moves_all_the_same_and_replaces_nothing(
    store: StateStore, calls: SimpleNamespace
) -> None:
    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    calls.link = link
    entry = moved(store, broken(store))
    assert not entry.path.exists()
    store.save_json("c", "x", "new")
    with pytest.raises(FileExistsError, match=re.escape(str(entry.path))):
        store.restore(entry)
    assert (store.load_json("c", "x"), entry.content.read_text()) == ("new", "{")
    store.delete_file("c", "x")
    store.restore(entry)
    assert entry.path.read_text() == "{"


def test_a_file_that_cannot_be_moved_stays(store: StateStore, calls: SimpleNamespace) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    problem = broken(store)
    calls.link = link
    with pytest.raises(OSError, match="Input/output error"):
        store.quarantine(problem)
    assert problem.path.read_text() == "{"
    assert store.quarantined() == []


def test_a_category_is_moved_under_its_own_lock(
    store: StateStore, held_by_another: Callable[[StateStore, str], AbstractContextManager[object]]
) -> None:
    for category in ("memory", "Memory"):
        store.save_json(category, "x", category)
    (problem,) = store.check()
    impatient = StateStore(store.base_path, lock_timeout=0)
    with held_by_another(store, "memory"), pytest.raises(LockTimeoutError, match="'memory'"):
        impatient.quarantine(problem)
    assert store.load_json("memory", "x") == "memory"
    entry = impatient.quarantine(problem)
    assert entry is not None
    assert store.list_category("memory") == []
    with held_by_another(store, "memory"), pytest.raises(LockTimeoutError, match="'memory'"):
        impatient.restore(entry)
    impatient.restore(entry)
    assert store.load_json("memory", "x") == "memory"


def test_a_strangers_file_beside_what_is_restored_stays(store: StateStore) -> None:
    entry = moved(store, broken(store))
    entry.content.with_name(".DS_Store").touch()  # or .nfs0123..., while another has it open
    store.restore(entry)
    assert entry.path.read_text() == "{"
    assert (store.quarantined(), os.listdir(entry.content.parent)) == ([], [".DS_Store"])


def test_an_entry_that_cannot_be_removed_is_told(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = moved(store, broken(store))

    def rmdir(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(Path, "rmdir", rmdir)
    with pytest.raises(OSError, match="Input/output error"):
        store.restore(entry)
    assert entry.path.read_text() == "{"
