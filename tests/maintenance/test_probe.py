"""`StateStore.probe`, on this machine's file system and on imitations of broken ones.

`nox -s file_systems` probes real ones.
"""

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
from oxios_state.maintenance import probe, probe_process
from oxios_state.maintenance.probe import Operations
from oxios_state.storage import nfs, system
from oxios_state.storage.nfs import Mount
from oxios_state.storage.tree import Tree

posix = pytest.mark.skipif(os.name == "nt", reason="modes, links and limits of POSIX")
on_linux = pytest.mark.skipif(not os.path.exists("/proc/self/mountinfo"), reason="Linux alone has this table")
DISK = Mount("/", "ext4", frozenset({"rw"}))  # the temporary directory of the tests may be in memory
LOCKS, RENAME = "locks between processes", "rename over an open file"
TRIALS = [LOCKS, RENAME, "mount", "sync", "names", "file modes", "hard links", "file times", "clock"]
SECOND = 10**9


def find(base: Path, **operations: Any) -> dict[str, Finding]:
    """Probe a directory with some operations replaced, and return the findings by their trials."""
    before = names_below(base)
    findings = probe.probe(Tree(base, durable=True), Operations(**{"mount_at": lambda _: DISK, **operations}))
    assert [finding.what for finding in findings] == TRIALS
    assert names_below(base) == before | {".oxios_state", ".oxios_state/.gitignore"}
    return {finding.what: finding for finding in findings}


def find_alone(base: Path, **operations: Any) -> dict[str, Finding]:
    """Probe as `find` does, but without another process, which takes most of the time."""
    findings = find(base, interpreter="", **operations)
    assert findings.pop(LOCKS).holds is None
    return findings


def names_below(base: Path) -> set[str]:
    return {path.relative_to(base).as_posix() for path in base.rglob("*")}


def faults(findings: dict[str, Finding]) -> dict[str, str]:
    return {trial: finding.detail for trial, finding in findings.items() if finding.holds is False}


def notes(findings: dict[str, Finding]) -> dict[str, str]:
    return {trial: finding.detail for trial, finding in findings.items() if finding.holds is None}


def failing(number: int) -> Any:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def program_with(definition: str) -> str:
    """Return the program of the other process with one of its functions replaced."""
    return probe_process.PROGRAM.replace("for line in", f"{definition}\nfor line in")


# The findings, and what a probe leaves behind.


@posix
def test_a_local_directory_passes_every_trial(tmp_path: Path) -> None:
    findings = find(tmp_path)
    assert (faults(findings), notes(findings)) == ({}, {})


def test_probe_runs_every_trial_and_leaves_no_trace(store: StateStore) -> None:
    before = names_below(store.base_path)
    assert [finding.what for finding in store.probe()] == TRIALS
    assert names_below(store.base_path) == before
    assert store.load_json("c", "a") == 1


@posix
def test_probe_creates_a_missing_base_like_a_first_save(tmp_path: Path) -> None:
    base = tmp_path / "new" / "state"
    find(base)
    assert [path.stat().st_mode & 0o777 for path in (base, base / ".oxios_state")] == [0o700, 0o700]


def test_a_finding_is_printed_on_one_line() -> None:
    assert str(Finding("names", holds=True, detail="x")) == "names: yes, x"
    assert str(Finding("names", holds=False, detail="x")) == "names: no, x"
    assert str(Finding("names", holds=None, detail="x")) == "names: note, x"


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("operation", ["lock", "sync", "now", "mount_at"])
def test_an_interrupted_probe_removes_its_directory_and_ends_its_process(store: StateStore, operation: str) -> None:
    before = names_below(store.base_path)
    pid = store.base_path.parent / "pid"
    program = f"import os\nwith open({str(pid)!r}, 'w') as file: file.write(str(os.getpid()))\n{probe_process.PROGRAM}"
    replaced: dict[str, Any] = {"program": program, operation: interrupt}
    with pytest.raises(KeyboardInterrupt):
        probe.probe(Tree(store.base_path, durable=True), Operations(**replaced))
    assert names_below(store.base_path) == before
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_removal_of_the_probe_directory_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Path] = []

    def remove(directory: Path) -> None:
        tries.append(directory)
        if len(tries) < 3:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), directory)
        shutil.rmtree(directory)

    monkeypatch.setattr(probe, "shutil", SimpleNamespace(rmtree=remove))
    find_alone(tmp_path)
    assert len(tries) == 3
    tries.clear()
    monkeypatch.setattr(probe, "_REMOVE_TIMEOUT", 0)
    with pytest.raises(OSError, match=r"\.oxios_state/probe\."):
        StateStore(tmp_path).probe()


@pytest.mark.parametrize(("age", "stays"), [(0, True), (3500, True), (3700, False)])
def test_directories_of_killed_probes_are_removed_after_an_hour(store: StateStore, age: int, *, stays: bool) -> None:
    own = store.base_path / ".oxios_state"
    own_probe, other, link = (own / f"probe.{end}" for end in ("0123456789abcdef", "mine", "fedcba9876543210"))
    for directory in (own_probe, other):
        directory.mkdir()
        (directory / "document").write_bytes(b"o")
    link.symlink_to("..")
    for path in (own_probe, other, link):
        os.utime(path, (time.time() - age,) * 2, follow_symlinks=False)
    store.probe()
    assert own_probe.exists() == stays
    assert (other / "document").exists()
    assert (link / "c").is_dir()


@posix
def test_a_full_directory_is_a_fault(tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        findings = find(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert faults(findings) == dict.fromkeys([RENAME, "sync"], "the trial failed: File too large")


@posix
def test_check_reports_an_unwritable_directory_beside_corrupt_files(nobody: Path) -> None:
    base = nobody / "state"
    (base / "c").mkdir(parents=True)
    (base / "c/bad.json").write_text("{")
    base.chmod(0o500)
    (finding,) = StateStore(base).probe()
    reason = f"[Errno 13] Permission denied: '{base}/.oxios_state'"
    assert finding == Finding("directory", holds=False, detail=f"nothing can be created in it: {reason}")
    assert [(problem.kind, problem.path) for problem in StateStore(base).check(probe=True)] == [
        (ProblemKind.FILE_SYSTEM, base),
        (ProblemKind.CORRUPT, base / "c/bad.json"),
    ]
    assert names_below(base) == {"c", "c/bad.json"}
    (nobody / "file").touch()
    (finding,) = StateStore(nobody / "file").probe()
    assert "File exists" in finding.detail or "Not a directory" in finding.detail


@posix
def test_probe_does_not_follow_a_link_out_of_the_base(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state/.oxios_state").symlink_to(tmp_path / "outside")
    (tmp_path / "state/c").mkdir()
    (tmp_path / "state/c/bad.json").write_text("{")
    (finding,) = StateStore(tmp_path / "state").probe()
    assert (finding.what, finding.holds) == ("directory", False)
    assert "a symbolic link that leads outside" in finding.detail
    assert len(StateStore(tmp_path / "state").check(probe=True)) == 2
    assert names_below(tmp_path / "outside") == set()


# Locks.


class SoftLock:
    """A lock that is a directory, and so outlives its holder."""

    other_process = """
def lock(path):
    try:
        os.mkdir(path + ".soft")
    except FileExistsError:
        return False
    return True
"""

    def __init__(self) -> None:
        self._path = ""

    def create(self, path: str) -> int:
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


def test_a_lock_that_outlives_its_holder_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_RELEASE_TIMEOUT", 0.05)
    soft, program = SoftLock(), program_with(SoftLock.other_process)
    findings = find(tmp_path, create=soft.create, lock=soft.lock, unlock=soft.unlock, program=program)
    assert faults(findings) == {LOCKS: "no process gets a lock whose holder was killed"}


LOSES_LOCKS = """
take = lock
def lock(path):
    locked = take(path)
    os.closerange(3, 100)
    return locked
"""


@posix
@pytest.mark.parametrize(
    ("operations", "detail"),
    [
        ({"lock": lambda _: True}, "two processes hold a lock at once"),  # locks that exclude threads only
        ({"program": program_with(LOSES_LOCKS)}, "two processes hold a lock at once"),
        ({"lock": lambda _: False}, "no process gets a free lock"),
        ({"unlock": lambda _: None}, "no process gets a lock that its holder released"),
        ({"lock": failing(errno.ENOLCK)}, f"the trial failed: {os.strerror(errno.ENOLCK)}"),
        (
            {"program": program_with("def lock(path): os.open('', 0)")},
            f"the trial failed: {os.strerror(errno.ENOENT)}",
        ),
        (
            {"program": program_with("def lock(path): raise BlockingIOError('out of order')")},
            "the trial failed: BlockingIOError: out of order",
        ),
    ],
)
def test_broken_locks_are_a_fault(tmp_path: Path, operations: dict[str, Any], detail: str) -> None:
    assert faults(find(tmp_path, **operations)) == {LOCKS: detail}


# The other process.

NO_PYTHON = "no Python interpreter is known that could run another process"


def test_the_other_interpreter_finds_the_packages_of_this_one(tmp_path: Path) -> None:
    assert find(tmp_path, interpreter=getattr(sys, "_base_executable", sys.executable))[LOCKS].holds


@posix
def test_the_interpreter_may_be_a_script_that_starts_python(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\necho a greeting\n"{sys.executable}" "$@"\nexit $?\n')
    script.chmod(0o755)
    assert find(tmp_path / "base", interpreter=str(script))[LOCKS].holds


@posix
@pytest.mark.parametrize(
    ("operations", "reason"),
    [
        ({"interpreter": ""}, NO_PYTHON),
        (
            {"interpreter": "/nowhere/python"},
            "another process cannot be started: [Errno 2] No such file or directory: '/nowhere/python'",
        ),
        ({"interpreter": "/bin/true"}, "another process does not start: /bin/true"),
        ({"program": "raise SystemExit"}, f"another process does not start: {sys.executable}"),
        ({"program": "import none"}, f"does not start: {sys.executable}: ModuleNotFoundError: No module named 'none'"),
        ({"program": "import time; time.sleep(50)", "timeout": 0.1}, f"does not start: {sys.executable}"),
        ({"program": "print('ready')"}, f"another process does not answer: {sys.executable}"),
        ({"program": "print('ready'); print('[1]')"}, f"another process does not answer: {sys.executable}"),
    ],
)
def test_trials_between_processes_are_skipped_without_another_process(
    tmp_path: Path, operations: dict[str, Any], reason: str
) -> None:
    findings = find(tmp_path, **operations)
    assert faults(findings) == {}
    assert notes(findings)[LOCKS].startswith("not tried: ")
    assert notes(findings)[LOCKS].endswith(reason)
    assert reason in findings[RENAME].detail
    assert findings[RENAME].holds is (None if "answer" in reason else True)


@posix
def test_another_process_that_hangs_is_killed_after_the_timeout(tmp_path: Path) -> None:
    program, detail = "import time; print('ready', flush=True); time.sleep(50)", ""
    for timeout in (0.3, 1, 4, 16):  # a busy machine may take longer to start it
        detail = find(tmp_path, program=program, timeout=timeout)[LOCKS].detail
        if detail != f"not tried: another process does not start: {sys.executable}":
            break
    assert detail == f"not tried: another process does not answer: {sys.executable}"


def test_a_frozen_program_does_not_run_itself_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Operations().interpreter == sys.executable
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert Operations().interpreter == ""


# A rename over an open file.

TORN = "a reader that has the file open does not read the old content to its end"
STALE = "a reader that opens the file afterwards does not read the new content"


@posix
@pytest.mark.parametrize(
    ("operations", "detail"),
    [
        ({"replace": shutil.copyfile}, TORN),
        ({"program": program_with("read_rest = read")}, TORN),
        ({"replace": lambda *_: None}, STALE),
        ({"program": program_with("read = read_rest")}, STALE),
        ({"replace": failing(errno.EBUSY)}, f"the trial failed: {os.strerror(errno.EBUSY)}"),
        (
            {"replace": shutil.copyfile, "interpreter": ""},
            f"{TORN}; tried in one process only: {NO_PYTHON}",
        ),
    ],
)
def test_a_rename_that_is_not_atomic_is_a_fault(tmp_path: Path, operations: dict[str, Any], detail: str) -> None:
    assert faults(find(tmp_path, **operations)) == {RENAME: detail}


# The mount.


def mounted(path: Path, kind: str, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the table of mounts by one that has the directory, and another mount of the same device."""
    with open(path / "any", "wb") as file:
        lines = Path(f"/proc/self/fdinfo/{file.fileno()}").read_text().splitlines()
    (identifier,) = (line.split()[1] for line in lines if line.startswith("mnt_id:"))
    table = path / "mountinfo"
    table.write_text(
        f"1 1 0:1 / / rw - btrfs /dev/b rw\n{identifier} 1 0:9 / /mnt rw,relatime - {kind} x {options}\n"
        "9999999 1 0:1 / /other rw - btrfs /dev/b rw\n"
    )
    monkeypatch.setattr(nfs, "_MOUNTS", str(table))


ONE_MACHINE = "locks hold only between processes of one machine"
UNSEEN = "saves by another machine may stay unseen"
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
def test_mount_options_that_break_a_promise_are_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: str, fault: dict[str, str]
) -> None:
    mounted(tmp_path, kind, options, monkeypatch)
    findings = find_alone(tmp_path, mount_at=nfs.mount_at)
    where = f"{kind}, mounted on /mnt"
    assert faults(findings) == {what: f"{where} {text}" if what == "mount" else text for what, text in fault.items()}
    assert findings["mount"].detail.startswith(where)


@on_linux
@pytest.mark.parametrize("kind", ["cifs", "smb3", "fuse.sshfs", "9p", "ceph"])
def test_an_untested_file_system_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mounted(tmp_path, kind, "rw", monkeypatch)
    detail = f"{kind}, mounted on /mnt: untested, and one machine cannot tell whether locks hold between machines"
    assert notes(find_alone(tmp_path, mount_at=nfs.mount_at)) == {"mount": detail}


@on_linux
def test_a_soft_mount_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(tmp_path, "nfs4", "rw,soft,local_lock=none", monkeypatch)
    detail = "nfs4, mounted on /mnt with soft: operations fail if the server is slow"
    assert notes(find_alone(tmp_path, mount_at=nfs.mount_at)) == {"mount": detail}


@on_linux
@pytest.mark.parametrize("missing", ["_MOUNTS", "_OPEN_FILES"])
def test_an_unknown_mount_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(nfs, missing, str(tmp_path / "absent"))
    findings = find_alone(tmp_path, mount_at=nfs.mount_at)
    assert notes(findings) == {"mount": "this system does not tell how the directory is mounted"}
    assert faults(findings) == {}


def test_a_failing_sync_is_a_fault(tmp_path: Path) -> None:
    assert faults(find_alone(tmp_path, sync=failing(errno.EIO))) == {
        "sync": f"the trial failed: {os.strerror(errno.EIO)}"
    }
    failed = find_alone(tmp_path, sync_directory=failing(errno.EINVAL))
    assert faults(failed) == {"sync": f"the trial failed: {os.strerror(errno.EINVAL)}"}


# Names.


def create_as(alter: Any) -> Any:
    def create(path: str) -> int:
        directory, name = os.path.split(path)
        return os.open(os.path.join(directory, alter(name)), os.O_RDWR | os.O_CREAT, 0o600)

    return create


def exists_by_any_name(path: str) -> bool:
    directory, name = os.path.split(path)

    def plain(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold().rstrip(".")

    return plain(name) in map(plain, os.listdir(directory))


@posix
def test_names_that_share_a_file_are_a_fault(tmp_path: Path) -> None:
    text = "{} are one file, not two documents"
    pairs = ["'Case' and 'case'", r"'\xe9' and 'e\u0301'", "'dot.' and 'dot'"]
    assert faults(find_alone(tmp_path, exists=exists_by_any_name)) == {"names": "; ".join(map(text.format, pairs))}


@posix
def test_refused_and_altered_names_are_a_fault(tmp_path: Path) -> None:
    def only_ascii(name: str) -> str:
        if not name.isascii():
            raise OSError(errno.EILSEQ, os.strerror(errno.EILSEQ))
        return name.upper() if name == "Case" else name

    refused = rf"no file can be named '\xe9' ({os.strerror(errno.EILSEQ)})"
    detail = f"a file named 'Case' gets another name; {refused}"
    assert faults(find_alone(tmp_path, create=create_as(only_ascii))) == {"names": detail}


# Modes, links and times.


@posix
def test_a_file_that_others_can_read_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(path: str) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.fchmod(descriptor, 0o755)
        return descriptor

    fault = "a file created for its owner only has mode 0755: others may read conversations"
    assert faults(find_alone(tmp_path, create=create)) == {"file modes": fault}
    monkeypatch.setattr(system, "WINDOWS", True)
    assert "Windows has access lists" in notes(find_alone(tmp_path, create=create))["file modes"]


def test_a_failed_trial_keeps_type_and_text_of_an_error_without_errno(tmp_path: Path) -> None:
    class ProgramError(OSError):
        pass

    def fail(*_: object) -> None:
        raise ProgramError("out of order")

    assert faults(find_alone(tmp_path, replace=fail))[RENAME] == "the trial failed: ProgramError: out of order"
    assert "there are none (ProgramError: out of order)" in notes(find_alone(tmp_path, link=fail))["hard links"]


@posix
def test_missing_hard_links_are_a_note(tmp_path: Path) -> None:
    findings = find_alone(tmp_path, link=failing(errno.EPERM))
    risk = "a power cut may lose a file while it is archived or quarantined"
    assert notes(findings) == {"hard links": f"there are none ({os.strerror(errno.EPERM)}): {risk}"}
    assert faults(findings) == {}


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
def test_coarse_times_are_a_note_and_no_clock_skew(
    tmp_path: Path, set_times: Any, ahead: float, *, kept: bool | None
) -> None:
    findings = find_alone(tmp_path, set_times=set_times, now=lambda: time.time_ns() + int(ahead * SECOND))
    assert faults(findings) == {}
    assert findings["file times"].holds is kept


@posix
@pytest.mark.parametrize(("seconds", "text"), [(-0.6, "ahead"), (0.6, "behind")])
def test_a_skewed_clock_is_a_fault(tmp_path: Path, seconds: float, text: str) -> None:
    (detail,) = faults(find_alone(tmp_path, now=lambda: time.time_ns() + int(seconds * SECOND))).values()
    assert detail == f"the file system's clock is 0.6 s {text}, which hides changes"
    assert faults(find_alone(tmp_path, now=lambda: time.time_ns() + int(seconds * SECOND / 100))) == {}


# In a check.


@pytest.fixture
def faulty(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> StateStore:
    """A store with a corrupt file, in a directory where two names share a file."""
    operations = Operations(
        mount_at=lambda _: DISK, exists=lambda path: path.endswith("case") or os.path.lexists(path), interpreter=""
    )
    monkeypatch.setattr(probe, "Operations", lambda: operations)
    (store.base_path / "c/bad.json").write_text("{")
    return store


@posix
def test_check_with_probe_reports_each_fault_as_a_problem(faulty: StateStore) -> None:
    problem, corrupt = faulty.check(probe=True)
    reason = "names: 'Case' and 'case' are one file, not two documents"
    assert problem == Problem(ProblemKind.FILE_SYSTEM, faulty.base_path, reason)
    assert "move the directory" in str(problem)
    assert [corrupt] == faulty.check()


@posix
def test_a_problem_of_the_file_system_cannot_be_quarantined(faulty: StateStore) -> None:
    problem, _ = faulty.check(probe=True)
    with pytest.raises(ValueError, match="not a document of"):
        faulty.quarantine.add(problem)
