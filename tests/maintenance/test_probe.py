"""What `StateStore.probe` finds of a directory, good and bad. `nox -s file_systems` has real file systems."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oxios_state import Finding, Problem, ProblemKind, StateStore
from oxios_state.maintenance import probe, probe_process, scratch
from oxios_state.maintenance.probe import Operations
from oxios_state.storage import nfs, system
from oxios_state.storage.nfs import Mount
from oxios_state.storage.tree import Tree

posix = pytest.mark.skipif(os.name == "nt", reason="modes, links and limits of POSIX")
on_linux = pytest.mark.skipif(not os.path.exists("/proc/self/mountinfo"), reason="Linux alone has this table")
DISK = Mount("/", "ext4", frozenset({"rw"}))  # as temporary directories may be in memory
LOCKS, RENAME = "locks between processes", "rename over an open file"
WHATS = [LOCKS, RENAME, "mount", "sync", "names", "file modes", "hard links", "file times", "clock"]
SECOND = 10**9


def find(base: Path, **operations: Any) -> dict[str, Finding]:
    """Probe with some operations done otherwise, and give what was found by what was tried."""
    before = left(base)
    do = Operations(**{"mount_at": lambda _: DISK, **operations})
    found = probe.probe(Tree(base, durable=True), do)
    assert [finding.what for finding in found] == WHATS
    assert left(base) == before | {".oxios_state", ".oxios_state/.gitignore"}
    return {finding.what: finding for finding in found}


def left(base: Path) -> set[str]:
    return {path.relative_to(base).as_posix() for path in base.rglob("*")}


def faults(found: dict[str, Finding]) -> dict[str, str]:
    return {what: finding.detail for what, finding in found.items() if finding.holds is False}


def notes(found: dict[str, Finding]) -> dict[str, str]:
    return {what: finding.detail for what, finding in found.items() if finding.holds is None}


def failing(number: int) -> Any:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def otherwise(definition: str) -> str:
    """Give the program of the other process with something in it defined otherwise."""
    return probe_process.PROGRAM.replace("for line in", f"{definition}\nfor line in")


# The whole.


@posix
def test_here_all_holds(tmp_path: Path) -> None:
    found = find(tmp_path)
    assert (faults(found), notes(found)) == ({}, {})


def test_a_store_finds_what_there_is_and_leaves_all_as_it_was(store: StateStore) -> None:
    before = left(store.base_path)
    assert [finding.what for finding in store.probe()] == WHATS
    assert left(store.base_path) == before
    assert store.load_json("c", "a") == 1


@posix
def test_a_new_directory_is_made_as_by_a_first_save(tmp_path: Path) -> None:
    base = tmp_path / "new" / "state"
    find(base)
    assert [path.stat().st_mode & 0o777 for path in (base, base / ".oxios_state")] == [0o700, 0o700]


def test_a_finding_is_one_plain_line() -> None:
    assert str(Finding("names", holds=True, detail="x")) == "names: yes, x"
    assert str(Finding("names", holds=False, detail="x")) == "names: no, x"
    assert str(Finding("names", holds=None, detail="x")) == "names: note, x"


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("operation", ["lock", "sync", "now", "mount_at"])
def test_whatever_ends_the_probe_all_is_as_it_was_and_the_other_process_is_gone(
    store: StateStore, operation: str
) -> None:
    before = left(store.base_path)
    note = store.base_path.parent / "pid"
    program = f"import os\nwith open({str(note)!r}, 'w') as file: file.write(str(os.getpid()))\n{probe_process.PROGRAM}"
    done: dict[str, Any] = {"program": program, operation: interrupt}
    do = Operations(**done)
    with pytest.raises(KeyboardInterrupt):
        probe.probe(Tree(store.base_path, durable=True), do)
    assert left(store.base_path) == before
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_what_cannot_be_removed_at_once_is_removed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Path] = []

    def remove(directory: Path) -> None:
        tries.append(directory)
        if len(tries) < 3:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), directory)
        shutil.rmtree(directory)

    monkeypatch.setattr(scratch, "shutil", SimpleNamespace(rmtree=remove))
    find(tmp_path)
    assert len(tries) == 3
    tries.clear()
    monkeypatch.setattr(scratch, "_PATIENCE", 0)
    with pytest.raises(OSError, match=r"\.oxios_state/probe\."):
        StateStore(tmp_path).probe()


@pytest.mark.parametrize(("age", "stays"), [(0, True), (3500, True), (3700, False)])
def test_what_a_killed_probe_left_goes_with_the_next_when_it_is_an_hour_old(
    store: StateStore, age: int, *, stays: bool
) -> None:
    own = store.base_path / ".oxios_state"
    left, other, link = (own / f"probe.{end}" for end in ("0123456789abcdef", "mine", "fedcba9876543210"))
    for directory in (left, other):
        directory.mkdir()
        (directory / "document").write_bytes(b"o")
    link.symlink_to("..")
    for path in (left, other, link):
        os.utime(path, (time.time() - age,) * 2, follow_symlinks=False)
    store.probe()
    assert left.exists() == stays
    assert (other / "document").exists()
    assert (link / "c").is_dir()


@posix
def test_what_a_full_or_limited_directory_refuses_is_found(tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        found = find(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert faults(found) == dict.fromkeys([RENAME, "sync"], "this failed: File too large")


@posix
def test_that_nothing_can_be_made_in_a_directory_is_found_beside_what_is_wrong_with_its_files(nobody: Path) -> None:
    base = nobody / "state"
    (base / "c").mkdir(parents=True)
    (base / "c/bad.json").write_text("{")
    base.chmod(0o500)
    (found,) = StateStore(base).probe()
    refused = f"[Errno 13] Permission denied: '{base}/.oxios_state'"
    assert found == Finding("directory", holds=False, detail=f"nothing can be made in it: {refused}")
    assert [(problem.kind, problem.path) for problem in StateStore(base).check(probe=True)] == [
        (ProblemKind.FILE_SYSTEM, base),
        (ProblemKind.CORRUPT, base / "c/bad.json"),
    ]
    assert left(base) == {"c", "c/bad.json"}
    (nobody / "file").touch()
    (found,) = StateStore(nobody / "file").probe()
    assert "File exists" in found.detail or "Not a directory" in found.detail


@posix
def test_the_librarys_own_directory_is_not_made_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state/.oxios_state").symlink_to(tmp_path / "outside")
    (tmp_path / "state/c").mkdir()
    (tmp_path / "state/c/bad.json").write_text("{")
    (found,) = StateStore(tmp_path / "state").probe()
    assert (found.what, found.holds) == ("directory", False)
    assert "a symbolic link that leads outside" in found.detail
    assert len(StateStore(tmp_path / "state").check(probe=True)) == 2
    assert left(tmp_path / "outside") == set()


# Locks.


class SoftLock:
    """A lock that is a directory: it stays when its holder is killed."""

    in_the_other_process = """
def lock(path):
    try:
        os.mkdir(path + ".soft")
    except FileExistsError:
        return False
    return True
"""

    def __init__(self) -> None:
        self._path = ""

    def make(self, path: str) -> int:
        if path.endswith("lock"):
            self._path = f"{path}.soft"
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def lock(self, _: int) -> bool:
        try:
            os.mkdir(self._path)
        except FileExistsError:
            return False
        return True

    def unlock(self, _: int) -> None:
        os.rmdir(self._path)


def test_a_lock_that_outlives_its_holder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_AT_ONCE", 0.05)
    soft, program = SoftLock(), otherwise(SoftLock.in_the_other_process)
    found = find(tmp_path, make=soft.make, lock=soft.lock, unlock=soft.unlock, program=program)
    assert faults(found) == {LOCKS: "nobody gets it when its holder was killed"}


LETS_GO = """
take = lock
def lock(path):
    got = take(path)
    os.closerange(3, 100)
    return got
"""


@posix
@pytest.mark.parametrize(
    ("operations", "detail"),
    [
        ({"lock": lambda _: True}, "two processes get it at once"),  # a lock for the threads of one process
        ({"program": otherwise(LETS_GO)}, "two processes get it at once"),
        ({"lock": lambda _: False}, "nobody gets it"),
        ({"unlock": lambda _: None}, "nobody gets it when its holder has given it back"),
        ({"lock": failing(errno.ENOLCK)}, f"this failed: {os.strerror(errno.ENOLCK)}"),
        (
            {"program": otherwise("def lock(path): os.open('', 0)")},
            "this failed: [Errno 2] No such file or directory: ''",
        ),
    ],
)
def test_locks_that_do_not_work_are_found(tmp_path: Path, operations: dict[str, Any], detail: str) -> None:
    assert faults(find(tmp_path, **operations)) == {LOCKS: detail}


# The other process.


def test_an_interpreter_that_has_none_of_the_packages_gets_them_from_this_one(tmp_path: Path) -> None:
    assert find(tmp_path, interpreter=getattr(sys, "_base_executable", sys.executable))[LOCKS].holds


@posix
def test_an_interpreter_may_be_a_script_that_starts_it(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\necho a greeting\n"{sys.executable}" "$@"\nexit $?\n')
    script.chmod(0o755)
    assert find(tmp_path / "base", interpreter=str(script))[LOCKS].holds


@posix
@pytest.mark.parametrize(
    ("operations", "why"),
    [
        ({"interpreter": ""}, "no Python is known that could be another process"),
        (
            {"interpreter": "/nowhere/python"},
            "another process cannot be started: [Errno 2] No such file or directory: '/nowhere/python'",
        ),
        ({"interpreter": "/bin/true"}, "another process does not start: /bin/true"),
        ({"program": "raise SystemExit"}, f"another process does not start: {sys.executable}"),
        ({"program": "import none"}, f"does not start: {sys.executable}: ModuleNotFoundError: No module named 'none'"),
        ({"program": "import time; time.sleep(50)", "patience": 0.1}, f"does not start: {sys.executable}"),
        ({"program": "print('ready')"}, f"another process does not answer: {sys.executable}"),
        ({"program": "print('ready'); print('[1]')"}, f"another process does not answer: {sys.executable}"),
        (
            {"program": "import time; print('ready', flush=True); time.sleep(50)", "patience": 4},
            f"another process does not answer: {sys.executable}",
        ),
    ],
)
def test_without_another_process_its_part_is_not_tried(tmp_path: Path, operations: dict[str, Any], why: str) -> None:
    found = find(tmp_path, **operations)
    assert faults(found) == {}
    assert notes(found)[LOCKS].startswith("not tried: ")
    assert notes(found)[LOCKS].endswith(why)
    renamed = found[RENAME]
    assert why in renamed.detail
    assert renamed.holds is (None if "answer" in why else True)


def test_a_frozen_program_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Operations().interpreter == sys.executable
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert Operations().interpreter == ""


# A rename over an open file.

TORN = "who has the file open does not read the old content to its end"


@posix
@pytest.mark.parametrize(
    ("operations", "detail"),
    [
        ({"replace": shutil.copyfile}, TORN),
        ({"program": otherwise("go_on = read")}, TORN),
        ({"replace": lambda *_: None}, "who opens the file afterwards does not read the new content"),
        ({"program": otherwise("read = go_on")}, "who opens the file afterwards does not read the new content"),
        ({"replace": failing(errno.EBUSY)}, f"this failed: {os.strerror(errno.EBUSY)}"),
        (
            {"replace": shutil.copyfile, "interpreter": ""},
            f"{TORN}; in one process only, as no Python is known that could be another process",
        ),
    ],
)
def test_a_rename_that_is_no_replacement_is_found(tmp_path: Path, operations: dict[str, Any], detail: str) -> None:
    assert faults(find(tmp_path, **operations)) == {RENAME: detail}


# What the mount says.


def mounted(path: Path, kind: str, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a table in which the directory is mounted so, beneath another mount of the same device."""
    with open(path / "any", "wb") as file:
        lines = Path(f"/proc/self/fdinfo/{file.fileno()}").read_text().splitlines()
    (identifier,) = (line.split()[1] for line in lines if line.startswith("mnt_id:"))
    table = path / "mountinfo"
    table.write_text(
        f"1 1 0:1 / / rw - btrfs /dev/b rw\n{identifier} 1 0:9 / /mnt rw,relatime - {kind} x {options}\n"
        "9999999 1 0:1 / /other rw - btrfs /dev/b rw\n"
    )
    monkeypatch.setattr(nfs, "_TABLE", str(table))


ONE_MACHINE = "locks hold among the processes of one machine only"
UNSEEN = "what another machine saved may not be seen"
NO_DISK = "a sync does not reach the disk"


@on_linux
@pytest.mark.parametrize(
    ("kind", "options", "fault"),
    [
        ("ext4", "rw", {}),
        ("nfs4", "rw,vers=4.2,local_lock=none", {}),
        ("nfs", "rw,vers=3,local_lock=posix", {}),  # flock, which the library uses, goes to the server
        ("nfs", "rw,nolock,local_lock=all", {"mount": f"with local_lock=all, nolock: {ONE_MACHINE}"}),
        ("nfs4", "rw,local_lock=flock", {"mount": f"with local_lock=flock: {ONE_MACHINE}"}),
        ("nfs4", "rw,nocto,local_lock=none", {"mount": f"with nocto: {UNSEEN}"}),
        ("cifs", "rw,nobrl", {"mount": f"with nobrl: {ONE_MACHINE}"}),
        ("cifs", "rw,cache=loose", {"mount": f"with cache=loose: {UNSEEN}"}),
        ("ext4", "rw,nobarrier", {"sync": f"mounted with nobarrier: {NO_DISK}"}),
        ("ext3", "rw,barrier=0", {"sync": f"mounted with barrier=0: {NO_DISK}"}),
        ("overlay", "rw,volatile", {"sync": f"mounted with volatile: {NO_DISK}"}),
        ("tmpfs", "rw", {"sync": "tmpfs is in memory: a sync does not reach a disk"}),
    ],
)
def test_a_mount_that_takes_away_what_a_store_needs_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: str, fault: dict[str, str]
) -> None:
    mounted(tmp_path, kind, options, monkeypatch)
    found = find(tmp_path, mount_at=nfs.mount_at)
    where = f"{kind}, mounted on /mnt"
    assert faults(found) == {what: f"{where} {text}" if what == "mount" else text for what, text in fault.items()}
    assert found["mount"].detail.startswith(where)


@on_linux
@pytest.mark.parametrize("kind", ["cifs", "smb3", "fuse.sshfs", "9p", "ceph"])
def test_what_has_not_been_tried_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mounted(tmp_path, kind, "rw", monkeypatch)
    told = "not tried, and one machine cannot tell whether locks hold between machines"
    assert notes(find(tmp_path, mount_at=nfs.mount_at)) == {"mount": f"{kind}, mounted on /mnt: {told}"}


@on_linux
def test_a_mount_that_does_not_wait_for_its_server_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(tmp_path, "nfs4", "rw,soft,local_lock=none", monkeypatch)
    told = "nfs4, mounted on /mnt with soft: what takes the server long fails"
    assert notes(find(tmp_path, mount_at=nfs.mount_at)) == {"mount": told}


@on_linux
@pytest.mark.parametrize("missing", ["_TABLE", "_OPEN_FILES"])
def test_a_system_that_tells_no_mounts_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(nfs, missing, str(tmp_path / "absent"))
    found = find(tmp_path, mount_at=nfs.mount_at)
    assert notes(found) == {"mount": "this system does not tell how the directory is mounted"}
    assert faults(found) == {}


def test_a_sync_that_fails_is_found(tmp_path: Path) -> None:
    assert faults(find(tmp_path, sync=failing(errno.EIO))) == {"sync": f"this failed: {os.strerror(errno.EIO)}"}
    failed = find(tmp_path, sync_directory=failing(errno.EINVAL))
    assert faults(failed) == {"sync": f"this failed: {os.strerror(errno.EINVAL)}"}


# Names.


def make_as(alter: Any) -> Any:
    def make(path: str) -> int:
        directory, name = os.path.split(path)
        return os.open(os.path.join(directory, alter(name)), os.O_RDWR | os.O_CREAT, 0o600)

    return make


def exists_by_any_name(path: str) -> bool:
    directory, name = os.path.split(path)

    def plain(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold().rstrip(".")

    return plain(name) in map(plain, os.listdir(directory))


@posix
def test_names_that_are_taken_for_one_are_found(tmp_path: Path) -> None:
    text = "{} are one file, and no two documents"
    pairs = ["'Case' and 'case'", r"'\xe9' and 'e\u0301'", "'dot.' and 'dot'"]
    assert faults(find(tmp_path, exists=exists_by_any_name)) == {"names": "; ".join(map(text.format, pairs))}


@posix
def test_names_that_are_refused_or_altered_are_found(tmp_path: Path) -> None:
    def only_ascii(name: str) -> str:
        if not name.isascii():
            raise OSError(errno.EILSEQ, os.strerror(errno.EILSEQ))
        return name.upper() if name == "Case" else name

    refused = rf"'\xe9' cannot be one ({os.strerror(errno.EILSEQ)})"
    assert faults(find(tmp_path, make=make_as(only_ascii))) == {"names": f"'Case' becomes another; {refused}"}


# Modes, links and times.


@posix
def test_a_file_that_others_may_read_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(path: str) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.fchmod(descriptor, 0o755)
        return descriptor

    fault = "a file that is made for its owner only has 0755: others may read conversations"
    assert faults(find(tmp_path, make=make)) == {"file modes": fault}
    monkeypatch.setattr(system, "WINDOWS", True)
    assert "Windows keeps lists" in notes(find(tmp_path, make=make))["file modes"]


@posix
def test_that_there_are_no_hard_links_is_noted(tmp_path: Path) -> None:
    found = find(tmp_path, link=failing(errno.EPERM))
    lost = "a power cut may take a file while it is archived or quarantined"
    assert notes(found) == {"hard links": f"there are none ({os.strerror(errno.EPERM)}): {lost}"}
    assert faults(found) == {}


def keep_every(unit: int) -> Any:
    def set_times(path: str, times: tuple[int, int]) -> None:
        os.utime(path, ns=(times[0] // unit * unit, times[1] // unit * unit))

    return set_times


@posix
@pytest.mark.parametrize(
    ("set_times", "ahead", "kept"),
    [
        (keep_every(100), 0.0, True),
        (keep_every(1000), 0.0, None),
        (keep_every(SECOND), 0.9, None),
        (keep_every(2 * SECOND), 1.9, None),
        (failing(errno.EPERM), 1.9, None),
    ],
)
def test_coarse_times_are_noted_and_are_not_taken_for_a_clock_that_is_behind(
    tmp_path: Path, set_times: Any, ahead: float, *, kept: bool | None
) -> None:
    found = find(tmp_path, set_times=set_times, now=lambda: time.time_ns() + int(ahead * SECOND))
    assert faults(found) == {}
    assert found["file times"].holds is kept


@posix
@pytest.mark.parametrize(("seconds", "text"), [(-0.6, "ahead"), (0.6, "behind")])
def test_a_clock_that_is_not_this_machines_is_found(tmp_path: Path, seconds: float, text: str) -> None:
    (detail,) = faults(find(tmp_path, now=lambda: time.time_ns() + int(seconds * SECOND))).values()
    assert detail == f"that of the file system is 0.6 s {text}, which hides changes"
    assert faults(find(tmp_path, now=lambda: time.time_ns() + int(seconds * SECOND / 100))) == {}


# In a check.


@pytest.fixture
def lax(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> StateStore:
    """A store in a directory where two names are one."""
    do = Operations(mount_at=lambda _: DISK, exists=lambda path: path.endswith("case") or os.path.lexists(path))
    monkeypatch.setattr(probe, "Operations", lambda: do)
    (store.base_path / "c/bad.json").write_text("{")
    return store


@posix
def test_a_check_that_probes_has_a_problem_for_what_does_not_hold(lax: StateStore) -> None:
    problem, other = lax.check(probe=True)
    reason = "names: 'Case' and 'case' are one file, and no two documents"
    assert problem == Problem(ProblemKind.FILE_SYSTEM, lax.base_path, reason)
    assert "move the directory" in str(problem)
    assert [other] == lax.check()


@posix
def test_a_directory_is_not_put_into_quarantine(lax: StateStore) -> None:
    problem, _ = lax.check(probe=True)
    with pytest.raises(ValueError, match="not a document of"):
        lax.quarantine(problem)
