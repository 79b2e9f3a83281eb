"""The quarantine: files that `check` found, moved and restored, and corrupt files that a save replaces."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import stat
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from oxios_state import (
    CorruptStateError,
    DurabilityError,
    LockTimeoutError,
    Problem,
    ProblemKind,
    Quarantined,
    Session,
    SessionConflictError,
    StateStore,
)
from oxios_state.storage import reads

if TYPE_CHECKING:
    from collections.abc import Callable

posix = pytest.mark.skipif(os.name == "nt", reason="links, pipes, permissions, names and directory syncs of POSIX")
OWN_TEMPORARY = ".oxios_state.0123456789abcdef.tmp"


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    store = StateStore(tmp_path / "state", durable=False, lock_timeout=0.1)
    store.save_json("c", "good", 1)
    return store


def broken(store: StateStore, name: str = "x", content: str = "{") -> Problem:
    """Create a corrupt document and return its problem."""
    path = store.base_path / "c" / f"{name}.json"
    path.write_text(content)
    return next(problem for problem in store.check() if problem.path == path)


def moved(store: StateStore, problem: Problem) -> Quarantined:
    entry = store.quarantine.add(problem)
    assert entry is not None
    return entry


def contents(base: Path) -> dict[str, bytes]:
    return {str(path.relative_to(base)): path.read_bytes() for path in base.rglob("*") if path.is_file()}


def test_a_quarantined_file_is_kept_with_its_reason(store: StateStore) -> None:
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
    assert list(store.quarantine) == [entry] == list(StateStore(store.base_path).quarantine)


def test_restore_returns_the_file_unchanged(store: StateStore) -> None:
    problem = broken(store)
    problem.path.chmod(0o640)
    entry = moved(store, problem)
    store.quarantine.restore(entry)
    assert problem.path.read_text() == "{"
    assert stat.S_IMODE(problem.path.stat().st_mode) == 0o640
    assert store.check() == [problem]
    assert list(store.quarantine) == []
    assert os.listdir(store.base_path / ".oxios_state" / "quarantine") == []
    with pytest.raises(FileNotFoundError):
        store.quarantine.restore(entry)
    assert problem.path.read_text() == "{"


def test_restore_creates_a_missing_category(store: StateStore) -> None:
    entry = moved(store, broken(store))
    store.delete_file("c", "good")
    (store.base_path / "c").rmdir()
    store.quarantine.restore(entry)
    assert entry.path.read_text() == "{"
    assert stat.S_IMODE(entry.path.parent.stat().st_mode) == 0o700


def test_restore_does_not_overwrite_a_file(store: StateStore) -> None:
    entry = moved(store, broken(store))
    store.save_json("c", "x", "new")
    before = contents(store.base_path)
    with pytest.raises(FileExistsError, match=re.escape(str(entry.path))):
        store.quarantine.restore(entry)
    assert contents(store.base_path) == before
    assert list(store.quarantine) == [entry]
    store.delete_file("c", "x")
    store.quarantine.restore(entry)
    assert entry.path.read_text() == "{"


def test_entries_are_listed_by_age(store: StateStore) -> None:
    moved_in = [moved(store, broken(store, name)) for name in ("c", "a", "b")]
    assert list(store.quarantine) == moved_in
    assert [entry.path.stem for entry in moved_in] == ["c", "a", "b"]


@posix
def test_entries_with_an_unreadable_reason_are_logged_and_left_out(
    store: StateStore, caplog: pytest.LogCaptureFixture
) -> None:
    reasons: dict[str, Callable[[Path], object]] = {
        "cut": lambda path: path.write_text('{"path": "c/cut.json"'),
        "array": lambda path: path.write_text("[]"),
        "wrong": lambda path: path.write_text('{"path": 1, "reason": "", "since": "2026-03-01T08:00:00Z"}'),
        "time": lambda path: path.write_text('{"path": "c/time.json", "reason": "", "since": "yesterday"}'),
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
        for _ in range(3):  # each is logged once
            assert list(store.quarantine) == [good]
    assert len(caplog.messages) == len(spoilt)
    for content in spoilt.values():
        assert content.read_text() == "{"
        assert any(str(content.with_name("reason.json")) in message for message in caplog.messages)


@posix
@pytest.mark.parametrize("kind", ["gone", "dangling"])
def test_an_entry_without_a_reason_is_logged(store: StateStore, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    reason = moved(store, broken(store)).content.with_name("reason.json")
    reason.unlink()
    if kind == "dangling":
        reason.symlink_to("gone")
    assert list(store.quarantine) == []
    assert any(str(reason.parent) in message for message in caplog.messages)


def test_a_file_that_no_longer_has_the_problem_is_not_moved(store: StateStore) -> None:
    mended, changed, gone, never = (broken(store, name) for name in ("mended", "changed", "gone", "never"))
    mended.path.write_text("1")
    changed.path.write_text(str(2**64))  # wrong in another way
    gone.path.unlink()
    healthy = Problem(ProblemKind.CORRUPT, store.base_path / "c" / "good.json", never.reason)
    before = contents(store.base_path)
    assert [store.quarantine.add(problem) for problem in (mended, changed, gone, healthy)] == [None] * 4
    assert contents(store.base_path).keys() == before.keys()
    assert list(store.quarantine) == []


@posix
def test_a_name_that_no_longer_collides_is_not_moved(store: StateStore) -> None:
    for name in ("A", "a", "B", "b"):
        store.save_json("c", name, 1)
    first, second = store.check()
    store.delete_file("c", "A")
    assert store.quarantine.add(first) is None
    assert moved(store, second).path.name == "b.json"
    assert store.list_category("c") == ["B", "a", "good"]


def test_files_outside_the_store_are_refused(store: StateStore, tmp_path: Path) -> None:
    other = StateStore(tmp_path / "state-2", durable=False)
    other.save_json("c", "good", 1)
    own = store.base_path / ".oxios_state"
    (own / "x.json").write_text("{")
    for path in (broken(other).path, own / "x.json", own, store.base_path, tmp_path, Path("c/x.json")):
        with pytest.raises(ValueError, match="not a document of"):
            store.quarantine.add(Problem(ProblemKind.CORRUPT, path, ""))
    entry = moved(other, broken(other))
    with pytest.raises(ValueError, match="state-2"):
        store.quarantine.restore(entry)
    assert list(other.quarantine) == [entry]


def test_quarantining_and_restoring_take_the_lock_of_the_category(
    store: StateStore, held_by_another: Callable[[StateStore, str], AbstractContextManager[object]]
) -> None:
    problem = broken(store)
    with held_by_another(store, "c"), pytest.raises(LockTimeoutError, match="category 'c'"):
        store.quarantine.add(problem)
    assert problem.path.exists()
    with held_by_another(store, "other"):
        entry = moved(store, problem)
    with held_by_another(store, "c"), pytest.raises(LockTimeoutError, match="category 'c'"):
        store.quarantine.restore(entry)
    assert list(store.quarantine) == [entry]


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
def test_every_kind_of_problem_can_be_quarantined_and_restored(store: StateStore, kind: str) -> None:
    place, make, expected = KINDS[kind]
    path = store.base_path / place
    path.parent.mkdir(exist_ok=True)
    make(path)
    problem = next(problem for problem in store.check() if problem.path == path and problem.kind is expected)
    before = path.lstat()
    entry = moved(store, problem)
    assert not os.path.lexists(path)
    assert problem not in store.check()
    assert list(store.quarantine) == [entry]
    store.quarantine.restore(entry)
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert problem in store.check()
    assert Path("/etc/passwd").exists()


@posix
def test_a_name_that_is_not_utf8_can_be_quarantined_and_restored(store: StateStore) -> None:
    path = store.base_path / "c" / "x\udcff.json"
    path.touch()
    entry = moved(store, store.check()[0])
    assert list(store.quarantine) == [entry]
    store.quarantine.restore(entry)
    assert path.exists()


def test_without_hard_links_files_are_moved_and_none_is_overwritten(store: StateStore, calls: SimpleNamespace) -> None:
    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    calls.link = link
    entry = moved(store, broken(store))
    assert not entry.path.exists()
    store.save_json("c", "x", "new")
    with pytest.raises(FileExistsError, match=re.escape(str(entry.path))):
        store.quarantine.restore(entry)
    assert (store.load_json("c", "x"), entry.content.read_text()) == ("new", "{")
    store.delete_file("c", "x")
    store.quarantine.restore(entry)
    assert entry.path.read_text() == "{"


def test_a_file_that_cannot_be_moved_stays(store: StateStore, calls: SimpleNamespace) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    problem = broken(store)
    calls.link = link
    with pytest.raises(OSError, match="Input/output error"):
        store.quarantine.add(problem)
    assert problem.path.read_text() == "{"
    assert list(store.quarantine) == []


def test_a_category_is_moved_under_its_own_lock(
    store: StateStore, held_by_another: Callable[[StateStore, str], AbstractContextManager[object]]
) -> None:
    for category in ("memory", "Memory"):
        store.save_json(category, "x", category)
    (problem,) = store.check()
    impatient = StateStore(store.base_path, lock_timeout=0)
    with held_by_another(store, "memory"), pytest.raises(LockTimeoutError, match="'memory'"):
        impatient.quarantine.add(problem)
    assert store.load_json("memory", "x") == "memory"
    entry = impatient.quarantine.add(problem)
    assert entry is not None
    assert store.list_category("memory") == []
    with held_by_another(store, "memory"), pytest.raises(LockTimeoutError, match="'memory'"):
        impatient.quarantine.restore(entry)
    impatient.quarantine.restore(entry)
    assert store.load_json("memory", "x") == "memory"


def test_restore_leaves_foreign_files_in_the_entry(store: StateStore) -> None:
    entry = moved(store, broken(store))
    entry.content.with_name(".DS_Store").touch()  # or .nfs0123..., while another has it open
    store.quarantine.restore(entry)
    assert entry.path.read_text() == "{"
    assert (list(store.quarantine), os.listdir(entry.content.parent)) == ([], [".DS_Store"])


def test_a_failure_to_remove_a_restored_entry_is_raised(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = moved(store, broken(store))

    def rmdir(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(Path, "rmdir", rmdir)
    with pytest.raises(OSError, match="Input/output error"):
        store.quarantine.restore(entry)
    assert entry.path.read_text() == "{"


# The collection.


def test_a_discarded_entry_is_gone_for_good(store: StateStore) -> None:
    entry, other = (moved(store, broken(store, name)) for name in ("x", "y"))
    assert store.quarantine.discard(entry)
    assert (list(store.quarantine), entry in store.quarantine, other in store.quarantine) == ([other], False, True)
    assert os.listdir(store.base_path / ".oxios_state/quarantine") == [other.content.parent.name]
    assert not store.quarantine.discard(entry)
    with pytest.raises(FileNotFoundError):
        store.quarantine.restore(entry)


@posix
def test_a_directory_is_discarded_with_its_contents_and_a_link_without_its_target(store: StateStore) -> None:
    (store.base_path / "c" / "x.json" / "deeper").mkdir(parents=True)
    (store.base_path / "c" / "x.json" / "y.md").write_text("y")
    (store.base_path / "c" / "l.json").symlink_to(store.base_path.parent)
    for problem in store.check():
        moved(store, problem)
    assert len(store.quarantine) == 2
    for entry in store.quarantine:
        assert store.quarantine.discard(entry)
    assert (len(store.quarantine), bool(store.quarantine)) == (0, False)
    assert store.list_category("c") == ["good"]


def test_only_entries_of_this_quarantine_are_discarded(store: StateStore, tmp_path: Path) -> None:
    entry = moved(store, broken(store))
    foreign = tmp_path / "foreign" / "content"
    foreign.parent.mkdir()
    foreign.write_text("1")
    reason = entry.content.with_name("reason.json")
    upward = entry.content.parent / ".." / entry.content.parent.name / "content"
    for content in (foreign, reason, upward, Path("content")):
        with pytest.raises(ValueError, match="not in the quarantine of"):
            store.quarantine.discard(attrs.evolve(entry, content=content))
    with pytest.raises(ValueError, match="not in the quarantine of"):
        StateStore(tmp_path / "other").quarantine.discard(entry)
    assert foreign.exists()
    assert list(store.quarantine) == [entry]


@pytest.mark.parametrize("place", ["../x.json", "/etc/passwd", "c/../../x.json"])
def test_an_entry_with_a_forged_place_can_be_discarded(store: StateStore, place: str) -> None:
    reason = moved(store, broken(store)).content.with_name("reason.json")
    reason.write_text(json.dumps({**json.loads(reason.read_text()), "path": place}))
    (entry,) = store.quarantine
    assert "1 entry" in repr(store.quarantine)
    assert store.quarantine.discard(entry)
    assert list(store.quarantine) == []


def test_discarding_takes_the_lock_of_the_category(
    store: StateStore, held_by_another: Callable[[StateStore, str], AbstractContextManager[object]]
) -> None:
    entry = moved(store, broken(store))
    with held_by_another(store, "c"), pytest.raises(LockTimeoutError, match="category 'c'"):
        store.quarantine.discard(entry)
    assert list(store.quarantine) == [entry]


def test_the_quarantine_displays_its_entries(store: StateStore) -> None:
    base = str(store.base_path)
    assert repr(store.quarantine) == f"<Quarantine of {base!r}: 0 entries>"
    entry = moved(store, broken(store, "\u202ex"))
    reason = entry.content.with_name("reason.json")
    reason.write_text(json.dumps({**json.loads(reason.read_text()), "reason": "\x1b[2J" + "x" * 500}))
    first, line = repr(store.quarantine).splitlines()
    assert first == f"<Quarantine of {base!r}: 1 entry>"
    assert line == f"  {entry.since:%Y-%m-%d %H:%M:%S}Z 'c/\\u202ex.json': '\\x1b[2J{'x' * 116}...'"
    for number in range(20):
        moved(store, broken(store, str(number)))
    lines = repr(store.quarantine).splitlines()
    assert (len(lines), lines[-1]) == (22, "  and 1 more")


@posix
def test_a_quarantine_that_cannot_be_read_is_displayed_with_the_error(nobody: Path) -> None:
    store = StateStore(nobody, durable=False)
    (nobody / "c").mkdir()
    moved(store, broken(store))
    (nobody / ".oxios_state/quarantine").chmod(0)
    assert "Permission denied" in repr(store.quarantine)


# One copy for equal bytes of the same path.


def test_many_saves_over_the_same_bytes_keep_one_copy(store: StateStore) -> None:
    path = store.base_path / "c" / "x.json"
    for _ in range(3):
        path.write_text("{")
        store.save_json("c", "x", 1)
    (entry,) = store.quarantine
    path.write_text("[")
    store.save_json("c", "x", 1)
    path.write_text("{")
    StateStore(store.base_path).save_json("c", "x", 1)  # syncs the copy of a store that syncs nothing
    (store.base_path / "c" / "y.json").write_text("{")
    store.save_json("c", "y", 1)
    assert [(each.path.name, each.content.read_text()) for each in store.quarantine] == [
        ("x.json", "{"),
        ("x.json", "["),
        ("y.json", "{"),
    ]
    assert next(iter(store.quarantine)) == entry


def test_a_failed_save_keeps_the_copy_that_was_there(store: StateStore, calls: SimpleNamespace) -> None:
    path = store.base_path / "c" / "x.json"
    path.write_text("{")
    store.save_json("c", "x", 1)
    path.write_text("{")
    entries = list(store.quarantine)

    def replace(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    calls.replace = replace
    with pytest.raises(OSError, match="not saved"):
        store.save_json("c", "x", 1)
    assert (path.read_text(), list(store.quarantine)) == ("{", entries)


@posix
@pytest.mark.parametrize("spoil", ["unreadable", "another kind"])
def test_a_copy_that_cannot_be_compared_does_not_count(nobody: Path, spoil: str) -> None:
    store = StateStore(nobody, durable=False)
    (nobody / "c").mkdir()
    path = nobody / "c" / "x.json"
    path.write_text("{")
    store.save_json("c", "x", 1)
    (entry,) = store.quarantine
    if spoil == "unreadable":
        entry.content.chmod(0)
    else:
        entry.content.unlink()
        entry.content.mkdir()
    path.write_text("{")
    store.save_json("c", "x", 1)
    assert len(store.quarantine) == 2
    moved(store, broken(store))
    assert len(store.quarantine) == 2  # the readable copy is discarded


def test_moving_the_same_bytes_in_again_discards_the_older_entry(store: StateStore) -> None:
    first = moved(store, broken(store, content="{"))
    other = moved(store, broken(store, content="["))
    same_elsewhere = moved(store, broken(store, "y", content="{"))
    last = moved(store, broken(store, content="{"))
    assert list(store.quarantine) == [other, same_elsewhere, last]
    assert first.content != last.content
    store.quarantine.restore(last)
    assert last.path.read_text() == "{"


def test_a_file_that_cannot_be_removed_is_copied_once(store: StateStore, calls: SimpleNamespace) -> None:
    problem = broken(store)

    def unlink(path: Path | str) -> None:
        if Path(path).name == "x.json":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        os.unlink(path)

    calls.unlink = unlink
    for _ in range(3):
        with pytest.raises(OSError, match="busy"):
            store.quarantine.add(problem)
    assert problem.path.exists()
    assert len(store.quarantine) == 1


def test_copies_outlive_the_session_until_they_are_discarded(store: StateStore) -> None:
    path = store.base_path / "sessions" / "x.json"
    path.parent.mkdir()
    path.write_text("{")
    store.save_session(Session("u", "x"))
    assert store.delete_session("x")
    for entry in store.quarantine:
        if entry.path == path:
            store.quarantine.discard(entry)
    assert len(store.quarantine) == 0


# Corrupt documents that a save replaces.

SAVES: dict[str, tuple[str, bytes, Callable[[StateStore], object]]] = {
    "session": ("sessions/x.json", b'\n{"id": "x" \r\n', lambda store: store.save_session(Session("u", "x"))),
    "value": ("sessions/x.json", b'{"id": "x"}', lambda store: store.save_session(Session("u", "x"))),
    "JSON": ("c/x.json", b"\xff\xfe{", lambda store: store.save_json("c", "x", 2)),
    "markdown": ("c/x.md", b"\xff", lambda store: store.save_markdown("c", "x", "new")),
}


@pytest.mark.parametrize("save", SAVES)
def test_a_save_copies_a_corrupt_document_to_quarantine(store: StateStore, save: str) -> None:
    place, content, operation = SAVES[save]
    path = store.base_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    operation(store)
    saved = path.read_bytes()
    assert store.check() == []
    (entry,) = store.quarantine
    assert (entry.path, entry.content.read_bytes()) == (path, content)
    assert re.match(f"replaced, {re.escape(str(path))}: (line|\\$)", entry.reason)
    assert datetime.now(UTC) - entry.since < timedelta(minutes=1)
    operation(store)  # over a sound one
    assert list(store.quarantine) == [entry]
    with pytest.raises(FileExistsError):
        store.quarantine.restore(entry)
    path.unlink()
    store.quarantine.restore(entry)
    assert path.read_bytes() == content != saved


def test_a_sound_document_is_replaced_without_a_copy(store: StateStore) -> None:
    for number in range(2):
        store.save_session(Session("u", "x"))
        store.save_json("c", "x", number)
        store.save_markdown("c", "x", "\ufeff\0")
        (store.base_path / "c" / "x.json").write_text(str(2**64))  # unsafe, and read
    assert list(store.quarantine) == []


def test_a_document_known_to_be_sound_is_not_read_before_it_is_replaced(store: StateStore, decoded: list[str]) -> None:
    session = Session("u", "x")
    for number in range(3):
        session.set_metadata("number", number)
        store.save_session(session)
    assert decoded == []


def test_a_document_deleted_before_it_is_read_is_not_copied(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "is_file", lambda _: True)  # as it was a moment ago
    store.save_json("c", "x", 1)
    assert (store.load_json("c", "x"), list(store.quarantine)) == (1, [])


def test_conditional_saves_refuse_a_corrupt_document_and_copy_nothing(store: StateStore) -> None:
    session = Session("u", "x")
    store.save_session(session)
    path = store.base_path / "sessions" / "x.json"
    path.write_text("{")
    with pytest.raises(SessionConflictError):
        store.update_session(session)
    with pytest.raises(CorruptStateError), store.edit_session("x"):
        pass
    with pytest.raises(CorruptStateError):
        store.get_or_create_session("u", "x")
    assert path.read_text() == "{"
    assert list(store.quarantine) == []


def test_a_save_copies_a_session_of_another_id_to_quarantine(store: StateStore) -> None:
    store.save_session(Session("u", "theirs"))
    theirs = (store.base_path / "sessions" / "theirs.json").rename(store.base_path / "sessions" / "mine.json")
    content = theirs.read_bytes()
    with pytest.raises(CorruptStateError):
        store.load_session("mine")
    store.save_session(Session("u", "mine"))
    assert [entry.content.read_bytes() for entry in store.quarantine] == [content]


@posix
def test_nothing_is_replaced_if_the_copy_cannot_be_synced(tmp_path: Path, calls: SimpleNamespace) -> None:
    store = StateStore(tmp_path / "state")
    path = tmp_path / "state" / "c" / "x.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")

    def open_(opened: Any, flags: int, *mode: int) -> int:
        if os.path.basename(os.path.dirname(opened)) == "quarantine" and os.path.isdir(opened):
            raise OSError(errno.EIO, "Input/output error", str(opened))  # when the entry's directory is synced
        return os.open(opened, flags, *mode)

    calls.open = open_
    with pytest.raises(OSError, match="Input/output error") as caught:
        store.save_json("c", "x", 2)
    assert path.read_text() == "{"
    assert sorted(os.listdir(store.base_path / "c")) == ["x.json"]
    assert not isinstance(caught.value, DurabilityError)  # which would say that it is saved


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("place", ["reason.json", "content", "document"])
def test_a_failed_save_over_a_corrupt_document_leaves_no_copy(
    store: StateStore, calls: SimpleNamespace, save: str, place: str
) -> None:
    where, content, operation = SAVES[save]
    path = store.base_path / where
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)

    def replace(source: Any, target: Any) -> None:
        if os.path.basename(target) == (path.name if place == "document" else place):
            raise OSError(errno.ENOSPC, "No space left on device")
        os.replace(source, target)

    calls.replace = replace
    reason = "" if place == "document" else "its old content cannot be copied to quarantine: "
    with pytest.raises(OSError, match=f"not saved, {reason}No space left on device") as caught:
        operation(store)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == content
    assert os.listdir(store.base_path / ".oxios_state/quarantine") == []


def test_a_failed_copy_keeps_type_and_text_of_an_error_without_errno(store: StateStore, calls: SimpleNamespace) -> None:
    class ProgramError(OSError):
        pass

    path = store.base_path / "c" / "x.json"
    path.write_text("{")

    def replace(source: Any, target: Any) -> None:
        raise ProgramError("out of order")

    calls.replace = replace
    with pytest.raises(OSError, match="ProgramError: out of order") as caught:
        store.save_json("c", "x", 1)
    reason = "its old content cannot be copied to quarantine: ProgramError: out of order"
    assert str(caught.value).startswith(f"{reason}. {store.base_path}")
    assert caught.value.__notes__ == [f"not saved: {path}"]
    assert path.read_text() == "{"


@pytest.mark.parametrize("replaced", [False, True])
def test_the_copy_stays_if_an_interrupt_comes_after_the_replacement(
    store: StateStore, calls: SimpleNamespace, *, replaced: bool
) -> None:
    path = store.base_path / "c" / "x.json"
    path.write_text("{")

    def replace(source: Any, target: Any) -> None:
        if target != path or replaced:
            os.replace(source, target)
        if target == path:
            raise KeyboardInterrupt

    calls.replace = replace
    with pytest.raises(KeyboardInterrupt):
        store.save_json("c", "x", 1)
    assert path.read_text() == ("1" if replaced else "{")
    assert [entry.content.read_text() for entry in store.quarantine] == ["{"] * replaced


def test_the_copy_stays_if_the_document_cannot_be_read_after_a_failure(
    store: StateStore, calls: SimpleNamespace
) -> None:
    path = store.base_path / "c" / "x.json"
    path.write_text("{")

    def replace(source: Any, target: Any) -> None:
        if target == path:
            path.unlink()
            path.mkdir()
            raise OSError(errno.EIO, "Input/output error")
        os.replace(source, target)

    calls.replace = replace
    with pytest.raises(OSError, match="not saved, Input/output error"):
        store.save_json("c", "x", 1)
    assert [entry.content.read_text() for entry in store.quarantine] == ["{"]


@pytest.mark.parametrize("save", SAVES)
def test_a_document_corrupted_while_the_save_waits_is_copied(
    store: StateStore, before_lock: Callable[[Callable[[str], object]], None], save: str
) -> None:
    place, content, operation = SAVES[save]
    operation(store)
    before_lock(lambda _: (store.base_path / place).write_bytes(content))
    operation(store)
    assert [entry.content.read_bytes() for entry in store.quarantine] == [content]


@pytest.mark.skipif(os.name == "nt", reason="its names are UTF-16")
def test_a_corrupt_document_is_copied_where_the_base_is_not_utf8(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "nu\udcff", durable=False)
    (store.base_path / "c").mkdir(parents=True)
    (store.base_path / "c" / "x.json").write_text("{")
    store.save_json("c", "x", 1)
    (entry,) = store.quarantine
    assert "nu\\udcff" in entry.reason
    assert entry.content.read_text() == "{"


def test_a_save_that_gets_no_lock_copies_nothing(
    store: StateStore, held_by_another: Callable[[StateStore, str], AbstractContextManager[object]]
) -> None:
    (store.base_path / "c" / "x.json").write_text("{")
    with held_by_another(store, "c"), pytest.raises(LockTimeoutError):
        StateStore(store.base_path, lock_timeout=0).save_json("c", "x", 1)
    assert not (store.base_path / ".oxios_state/quarantine").exists()


def test_a_document_mended_while_the_save_waits_is_not_copied(
    store: StateStore, before_lock: Callable[[Callable[[str], object]], None]
) -> None:
    path = store.base_path / "c" / "x.json"
    path.write_text("{")
    before_lock(lambda _: path.write_text("1"))
    store.save_json("c", "x", 2)
    assert (path.read_text(), list(store.quarantine)) == ("2", [])


@posix
def test_quarantine_is_private(store: StateStore) -> None:
    before = os.umask(0)
    try:
        for name in ("replaced", "moved"):
            (store.base_path / "c" / f"{name}.json").write_text("{")
        store.save_json("c", "replaced", 1)
        (problem,) = store.check()
        moved = store.quarantine.add(problem)
    finally:
        os.umask(before)
    assert moved is not None
    for path in (store.base_path / ".oxios_state").rglob("*"):
        if path != moved.content:  # it keeps its mode, in a directory that none can enter
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE(moved.content.stat().st_mode) == 0o666


@posix
@pytest.mark.parametrize("update", [False, True])
def test_an_unreadable_document_is_not_replaced(nobody: Path, *, update: bool) -> None:
    store = StateStore(nobody / "state", durable=False)
    session = Session("u", "s")
    store.save_session(session)
    path = store.base_path / "sessions" / "s.json"
    path.chmod(0o200)
    with pytest.raises(PermissionError, match="not saved, ") as caught:
        store.update_session(session) if update else store.save_session(session)
    assert str(caught.value.filename) == str(path)
    assert os.listdir(path.parent) == ["s.json"]


@pytest.mark.parametrize("name", SAVES)
def test_a_document_is_not_replaced_if_its_status_is_unknown(
    store: StateStore, calls: SimpleNamespace, name: str
) -> None:
    place, corrupt, save = SAVES[name]
    path = store.base_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(corrupt)

    def stat_of(looked_at: Path) -> os.stat_result:
        if looked_at == path:
            raise OSError(errno.EIO, "as a broken disk does", str(path))
        return os.stat(looked_at)

    calls.stat = stat_of
    with pytest.raises(OSError, match="not saved, ") as caught:
        save(store)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))
    assert path.read_bytes() == corrupt


def test_a_dangling_link_is_replaced(store: StateStore) -> None:
    path = store.base_path / "c" / "link.json"
    for target in ("nothing.json", "link.json", "good.json/below.json"):
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        store.save_json("c", "link", target)
        assert path.is_symlink() is False
        assert store.load_json("c", "link") == target
