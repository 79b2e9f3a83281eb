"""`StateStore.check`: each problem with its kind, path and reason, whatever else is wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oxios_state import InvalidNameError, Problem, ProblemKind, PruneConfig, Session, StateStore
from oxios_state.maintenance import check

if TYPE_CHECKING:
    from collections.abc import Callable

posix = pytest.mark.skipif(os.name == "nt", reason="links, pipes, permissions and names of POSIX")
OWN_TEMPORARY = ".oxios_state.0123456789abcdef.tmp"
KERNEL_TEMPORARY = "s.json.4711.01234567-89ab-cdef-0123-456789abcdef.tmp"
MOMENT = "2026-03-01T08:00:00Z"
SESSION = {"id": "x", "user_id": "u", "created_at": MOMENT, "updated_at": MOMENT}


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    """A store with a document of each kind and nothing wrong."""
    store = StateStore(tmp_path / "state", durable=False)
    store.save_session(Session("u", "good"))
    store.save_json("c", "good", {"numbers": [2**64 - 1, -(2**63), 1.5]})
    store.save_markdown("memory/knowledge", "good", "# Notes\n")
    return store


def write(content: bytes | str | Mapping[str, object]) -> Callable[[Path], object]:
    text = json.dumps(content) if isinstance(content, Mapping) else content
    return lambda path: path.write_bytes(text.encode() if isinstance(text, str) else text)


def outside(path: Path) -> None:
    """Create a link to a file, or to a directory, beside the store."""
    target = path.parents[2] / "outside"
    target.mkdir()
    if path.suffix:
        target /= path.name
        target.write_text("1")
    path.symlink_to(target)


def old(path: Path) -> None:
    path.write_text("1")
    os.utime(path, (time.time() - 3601,) * 2)


def colliding(path: Path) -> None:
    path.write_text("1")
    path.with_name("Goods.json").write_text("1")


# The path, how the fault is created, and the expected problem.
FAULTS: dict[str, tuple[str, Callable[[Path], object], ProblemKind, str]] = {
    "cut off": ("sessions/x.json", write('{\n"id": "x", '), ProblemKind.CORRUPT, "line 2, column 12: Expecting"),
    "empty": ("c/x.json", write(""), ProblemKind.CORRUPT, "line 1, column 1: the file is empty"),
    "not UTF-8": ("c/x.md", write(b"one\nt\xffo"), ProblemKind.CORRUPT, "line 2, column 2: byte 0xff is not UTF-8"),
    "no session": ("sessions/x.json", write({"id": "x"}), ProblemKind.CORRUPT, r"\$\.created_at: the key is missing"),
    "a value": ("sessions/x.json", write({**SESSION, "id": 3}), ProblemKind.CORRUPT, r"\$\.id: expected a string"),
    "too deep": ("c/x.json", write("[" * 128 + "]" * 128), ProblemKind.CORRUPT, "nested deeper than 127 levels"),
    "another's": ("sessions/y.json", write(SESSION), ProblemKind.MISNAMED, r"\$\.id: the id is 'x'"),
    "integer": ("c/x.json", write('{"a": [1, 18446744073709551616]}'), ProblemKind.UNSAFE, r"\$\.a\[1\]: the integer"),
    "negative": ("c/x.json", write("-9223372036854775809"), ProblemKind.UNSAFE, r"\$: the integer is outside"),
    "digits": ("c/x.json", write(f"[{'9' * 300}]"), ProblemKind.UNSAFE, r"\$\[0\]: the integer is outside"),
    "in a session": (
        *("sessions/x.json", write({**SESSION, "metadata": {"n": 2**64}})),
        *(ProblemKind.UNSAFE, r"\$\.metadata\.n: the integer is outside"),
    ),
    "twice": ("c/x.json", write('{"b": 0, "a": {"a": 1, "b": 1, "b": 2}}'), ProblemKind.UNSAFE, "the key 'b' stands"),
    "pipe": ("c/x.json", os.mkfifo, ProblemKind.NOT_A_FILE, "not a regular file"),
    "directory": ("c/x.md", Path.mkdir, ProblemKind.NOT_A_FILE, "not a regular file"),
    "document outside": ("c/x.json", outside, ProblemKind.LINK, "a symbolic link that leads outside"),
    "category outside": ("c/x", outside, ProblemKind.LINK, "a symbolic link that leads outside"),
    "dangling": (
        *("c/x.json", lambda path: path.symlink_to("y.json")),
        *(ProblemKind.LINK, "a symbolic link to a missing file: y.json"),
    ),
    "dangling category": (
        *("m", lambda path: path.symlink_to("nowhere")),
        *(ProblemKind.LINK, "a symbolic link to a missing file: nowhere"),
    ),
    "nested category in a circle": ("c/m", lambda path: path.symlink_to("m"), ProblemKind.LINK, "symbolic links"),
    "writer died": (f"c/{OWN_TEMPORARY}", Path.touch, ProblemKind.ORPHAN, "a temporary file without a writer"),
    "kernel died": (f"sessions/{KERNEL_TEMPORARY}", old, ProblemKind.ORPHAN, "a temporary file without a writer"),
    "dots": ("c/x..y.json", write("1"), ProblemKind.NAME, r"contains '\.\.'"),
    "control": ("c/x\n.md", write("1"), ProblemKind.NAME, "contains a control character"),
    "own name": ("c/.oxios_state.json", write("1"), ProblemKind.NAME, "which is reserved for this library"),
    "own category": ("c/.oxios_state", Path.mkdir, ProblemKind.NAME, "which is reserved for this library"),
    "bytes": ("c/x\udcff.json", write("1"), ProblemKind.NAME, "contains a lone surrogate"),
    "category name": ("memory/x\\y", Path.mkdir, ProblemKind.NAME, "contains a backslash"),
    "device": ("c/CON.json", write("1"), ProblemKind.PORTABILITY, "the name is the name of a device on Windows"),
    "character": ("c/what?.md", write("1"), ProblemKind.PORTABILITY, "the name contains one of"),
    "dot": ("c/x.", Path.mkdir, ProblemKind.PORTABILITY, "the name ends with a dot or a space"),
    "case": ("c/goods.json", colliding, ProblemKind.PORTABILITY, "differs from 'Goods.json' in case or in Unicode"),
}


def put(store: StateStore, fault: str) -> tuple[Path, ProblemKind, str]:
    """Create a fault and return the path, the kind and the reason of the expected problem."""
    place, make, kind, reason = FAULTS[fault]
    make(store.base_path / place)
    return store.base_path / place, kind, reason


def test_a_sound_store_has_no_problems(store: StateStore) -> None:
    (store.base_path / "c" / "other.txt").write_bytes(b"\xff")  # not a document
    (store.base_path / "README.json").write_text("{")  # in no category
    (store.base_path / "c" / KERNEL_TEMPORARY).touch()  # its writer may live
    (store.base_path / "c" / "x.json").symlink_to("good.json")
    (store.base_path / "l").symlink_to("c")
    (store.base_path / ".oxios_state" / "locks" / "x.json").write_text("{")
    assert store.check() == []


def test_git_directories_are_skipped(store: StateStore) -> None:
    (store.base_path / ".git" / "refs" / "heads").mkdir(parents=True)
    (store.base_path / ".git" / "refs" / "heads" / "mend.json").write_text("0" * 40 + "\n")
    shutil.copytree(store.base_path / ".git", store.base_path / "memory" / ".git")  # of a repository in a repository
    assert store.check() == []


@posix
def test_files_of_systems_and_editors_are_passed_over_in_silence(
    store: StateStore, caplog: pytest.LogCaptureFixture
) -> None:
    lock = "ada@host.4711:1795654144"
    for place in ("c/.#good.json~", ".#README", "sessions/.#good.json", "memory/knowledge/.#good.md", ".#sessions"):
        (store.base_path / place).symlink_to(lock)
    for place in ("sessions/._good.json", "c/._good.json", "memory/._knowledge", f"sessions/._{KERNEL_TEMPORARY}"):
        (store.base_path / place).write_bytes(b"\0\x05\x16\x07")
    (store.base_path / "sessions" / "._GOOD.json").touch()
    os.mkfifo(store.base_path / "sessions" / "._pipe.json")
    os.utime(store.base_path / "sessions" / f"._{KERNEL_TEMPORARY}", (0, 0))
    before = sorted(store.base_path.rglob("*"))
    assert (store.check(), store.sweep()) == ([], [])
    assert [summary.id for summary in store.list_sessions()] == ["good"]
    assert store.list_category("sessions") == store.list_category("c") == store.list_category("memory/knowledge")
    assert (store.prune(PruneConfig(1, 1)), list(store.search_sessions("x"))) == ([], [])
    assert not caplog.records
    for name in ("._good", ".#good"):
        with pytest.raises(InvalidNameError):
            store.load_session(name)
    assert set(before) <= set(store.base_path.rglob("*"))


@posix
def test_a_directory_of_a_refused_name_is_a_problem(store: StateStore) -> None:
    (store.base_path / "._c").mkdir()
    assert [problem.kind for problem in store.check()] == [ProblemKind.NAME]


@posix
@pytest.mark.parametrize("make", [Path.touch, os.mkfifo])
def test_a_non_directory_in_the_place_of_the_sessions_is_a_problem(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "sessions"
    make(path)
    store = StateStore(tmp_path)
    (problem,) = store.check()
    reason = "not a directory, and the directory of the sessions belongs here"
    assert (problem.kind, problem.path, problem.reason) == (ProblemKind.NOT_A_FILE, path, reason)
    assert store.quarantine.add(problem) is not None
    store.get_or_create_session("u", "s")
    assert store.check() == []


def test_checking_a_missing_base_finds_and_creates_nothing(tmp_path: Path) -> None:
    assert StateStore(tmp_path / "state").check() == []
    assert not (tmp_path / "state").exists()


@posix
@pytest.mark.parametrize("fault", FAULTS)
def test_each_problem_has_its_kind_path_and_reason(store: StateStore, fault: str) -> None:
    path, kind, reason = put(store, fault)
    (problem,) = store.check()
    assert (problem.kind, problem.path) == (kind, path)
    assert re.match(f".*{reason}", problem.reason)
    assert not problem.reason.startswith(str(path))


@posix
def test_problems_do_not_hide_each_other(store: StateStore) -> None:
    expected = set()
    for number, (fault, (place, make, kind, _)) in enumerate(FAULTS.items()):
        if fault not in {"document outside", "category outside", "in a session"}:
            path = store.base_path / place
            if path.parent.name == "sessions":
                path = path.with_name(path.name.replace("x.json", f"x{number}.json"))
            else:
                path = path.parent / str(number) / path.name
            path.parent.mkdir(exist_ok=True)
            make(path)
            expected.add((kind, path))
    problems = store.check()
    assert {(problem.kind, problem.path) for problem in problems} == expected
    assert len(problems) == len(expected) == 28


@posix
def test_all_problems_of_one_file_are_found(store: StateStore) -> None:
    path = store.base_path / "sessions" / "CON.x..y.json"
    path.write_text(json.dumps({**SESSION, "metadata": {"n": 2**64}}))
    kinds = [problem.kind for problem in store.check() if problem.path == path]
    assert kinds == [ProblemKind.NAME, ProblemKind.PORTABILITY, ProblemKind.MISNAMED, ProblemKind.UNSAFE]


@posix
def test_colliding_names_are_problems_of_all_files_but_the_first(store: StateStore) -> None:
    (store.base_path / "C").mkdir()
    directory = store.base_path / "d"
    directory.mkdir()
    for name in ("café", "Café", unicodedata.normalize("NFD", "café"), "cafe"):
        (directory / f"{name}.md").write_text(name)
    problems = store.check()
    assert {problem.kind for problem in problems} == {ProblemKind.PORTABILITY}
    spellings = sorted(["café.md", "Café.md", unicodedata.normalize("NFD", "café.md")])
    assert [problem.path for problem in problems] == [
        store.base_path / "c",
        *(directory / name for name in spellings[1:]),
    ]
    assert {problem.reason.partition(" in case")[0] for problem in problems[1:]} == {f"differs from {spellings[0]!r}"}


def test_a_problem_is_printed_on_one_line_with_its_remedy(store: StateStore) -> None:
    path, _, _ = put(store, "empty")
    (problem,) = store.check()
    assert str(problem) == f"{path}: line 1, column 1: the file is empty (mend it by hand, or quarantine it)"
    assert len({kind.remedy for kind in ProblemKind}) == len(ProblemKind) == 10


# Remedies, as a script would follow them.


def test_a_conflict_copy_is_not_to_be_renamed_over_its_original(store: StateStore) -> None:
    path = store.base_path / "sessions" / "good (conflicted copy).json"
    shutil.copy(path.with_name("good.json"), path)
    with store.edit_session("good") as session:
        session.add_user_message("new")
    (problem,) = store.check()
    assert (problem.kind, problem.remedy) == (
        ProblemKind.MISNAMED,
        "quarantine it: there is a 'good.json', which may be newer",
    )
    assert store.quarantine.add(problem) is not None
    assert (store.check(), store.load_session("good"), path.exists()) == ([], session, False)


def test_a_session_without_a_file_of_its_id_may_be_renamed(store: StateStore) -> None:
    (store.base_path / "sessions" / "good.json").rename(store.base_path / "sessions" / "renamed.json")
    (problem,) = store.check()
    assert problem.remedy == "quarantine it, or rename it to 'good.json' while no file has that name"
    assert problem.remedy in str(problem)


def test_a_session_whose_id_is_no_name_is_not_to_be_renamed(store: StateStore) -> None:
    (store.base_path / "sessions" / "x.json").write_text(json.dumps({**SESSION, "id": "../x"}))
    (problem,) = store.check()
    assert (problem.kind, problem.remedy) == (
        ProblemKind.MISNAMED,
        "quarantine it: no file can have the name of its id",
    )


def test_an_orphan_is_removed_by_a_sweep_and_nothing_else_is(store: StateStore) -> None:
    orphan = store.base_path / "sessions" / OWN_TEMPORARY
    orphan.touch()
    store.save_session(Session("u", "old", created_at=datetime(2020, 1, 1, tzinfo=UTC)))
    (problem,) = store.check()
    assert "sweep()" in problem.remedy
    assert store.sweep() == [orphan]
    assert (store.check(), len(store.list_sessions()), store.sweep()) == ([], 2, [])


def test_a_doubled_key_is_not_to_be_loaded_and_saved(store: StateStore) -> None:
    put(store, "twice")
    (problem,) = store.check()
    assert problem.remedy == "mend its text by hand: a load and save may drop digits or values that are in it"


def test_no_remedy_tells_a_script_to_overwrite_remove_or_publish() -> None:
    for kind in ProblemKind:
        assert not re.search("overwrite|delete|prune|chmod|save it|replace", kind.remedy)
        assert "rename" not in kind.remedy or "no file has" in kind.remedy


def test_the_remedy_of_a_problem_is_that_of_its_kind_by_default(tmp_path: Path) -> None:
    for kind in ProblemKind:
        assert Problem(kind, tmp_path, "").remedy == kind.remedy


@posix
def test_unreadable_files_and_categories_are_problems(nobody: Path) -> None:
    store = StateStore(nobody / "state", durable=False)
    store.save_json("c", "closed", 1)
    store.save_json("secret", "a", 1)
    (store.base_path / "c" / "broken.json").write_text("{")
    (store.base_path / "c" / "closed.json").chmod(0)
    (store.base_path / "secret").chmod(0)
    problems = store.check()
    assert [(problem.kind, problem.path.name) for problem in problems] == [
        (ProblemKind.UNREADABLE, "secret"),
        (ProblemKind.CORRUPT, "broken.json"),
        (ProblemKind.UNREADABLE, "closed.json"),
    ]
    assert "Permission denied" in problems[0].reason
    assert problems[0].remedy == problems[2].remedy == "let its owner give you, and nobody else, permission to read it"


@posix
@pytest.mark.parametrize("kind", ["closed", "file"])
def test_an_unreadable_base_is_not_reported_as_sound(nobody: Path, kind: str) -> None:
    store = StateStore(nobody / "state", durable=False)
    if kind == "file":
        store.base_path.touch()
    else:
        store.save_json("c", "a", 1)
        store.base_path.chmod(0)
    try:
        problems = store.check()
    except OSError as error:
        assert str(error.filename) == str(store.base_path)  # noqa: PT017
    else:
        assert problems


@posix
@pytest.mark.parametrize("name", ["x.json", "x.txt"])
def test_a_category_that_cannot_be_entered_does_not_stop_the_check(nobody: Path, name: str) -> None:
    store = StateStore(nobody / "state", durable=False)
    for category in ("a", "b", "c"):
        (store.base_path / category).mkdir(parents=True)
        (store.base_path / category / name).touch()
    (store.base_path / "c" / "broken.json").write_text("{")
    (store.base_path / "b").chmod(0o400)
    assert store.base_path / "c" / "broken.json" in [problem.path for problem in store.check()]


@posix
def test_too_long_paths_do_not_stop_the_check(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _, _ = put(store, "empty")
    monkeypatch.chdir(store.base_path / "c")
    for _ in range(18):
        os.mkdir("d" * 250)
        monkeypatch.chdir("d" * 250)
    monkeypatch.undo()
    assert path in [problem.path for problem in store.check()]


@posix
def test_a_file_named_like_an_extension_is_not_a_document(store: StateStore) -> None:
    (store.base_path / "c" / ".md").write_text("text")
    (store.base_path / "sessions" / ".json").write_text("text")
    assert store.check() == []


@posix
def test_a_duplicate_key_has_a_json_path(store: StateStore) -> None:
    put(store, "twice")
    assert store.check()[0].reason.startswith("$.a.b: ")


def test_a_duplicate_key_among_many_is_found_quickly(store: StateStore) -> None:
    keys = ", ".join(f'"{number}": 0' for number in range(10_000))
    (store.base_path / "c" / "x.json").write_text(f'{{{keys}, "a": 1, "a": 2}}')
    started = time.thread_time()
    assert [problem.kind for problem in store.check()] == [ProblemKind.UNSAFE]
    assert time.thread_time() - started < 0.5


@posix
def test_check_changes_nothing_in_a_read_only_directory(nobody: Path) -> None:
    base = nobody / "state"
    (base / "c").mkdir(parents=True)
    (base / "c" / "x.json").write_text("{")
    (base / "c" / OWN_TEMPORARY).touch()
    for path in (base / "c" / OWN_TEMPORARY, base / "c" / "x.json"):
        path.chmod(0o400)
    (base / "c").chmod(0o500)
    base.chmod(0o500)
    before = [(path, path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in sorted(base.rglob("*"))]
    assert [problem.kind for problem in StateStore(base).check()] == [ProblemKind.ORPHAN, ProblemKind.CORRUPT]
    assert [(path, path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in sorted(base.rglob("*"))] == before


def test_check_takes_no_lock(store: StateStore) -> None:
    path, _, _ = put(store, "empty")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store.lock("c"):
            held.set()
            done.wait(50)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(50)
    try:
        assert [problem.path for problem in StateStore(store.base_path, lock_timeout=0).check()] == [path]
        assert holder.is_alive()
    finally:
        done.set()
        holder.join()


def test_a_file_deleted_during_the_check_is_no_problem(store: StateStore) -> None:
    for name in ("a", "b", "d"):
        (store.base_path / "c" / f"{name}.json").write_text("{")
    problems = check.check(store._documents.tree)
    assert next(problems).path.name == "a.json"
    (store.base_path / "c" / "b.json").unlink()
    assert [problem.path.name for problem in problems] == ["d.json"]


def test_problems_are_compared_by_value(tmp_path: Path) -> None:
    problem = Problem(ProblemKind.CORRUPT, tmp_path, "x")
    assert problem == Problem(ProblemKind.CORRUPT, tmp_path, "x") != Problem(ProblemKind.UNSAFE, tmp_path, "x")
    assert len({problem, Problem(ProblemKind.CORRUPT, tmp_path, "x")}) == 1
