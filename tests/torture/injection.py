"""One operation under one fault: what `faults.py` runs, and sees of it, but does not judge.

A forked child prepares the operation and waits; strace attaches to that thread alone, and makes the Nth call of a name
fail; the child goes on. What was left behind is looked at from outside while the child lives, then by another thread of
it, so that a lock that stayed held, in the process or between processes, shows.
"""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import attrs
from operations import Operation

from oxios_state import PruneConfig, Session, StateError, StateStore
from oxios_state.sessions import index, pruning
from oxios_state.storage import revisions

CALLS = """
    open openat read write writev pwrite64 pwritev fsync fdatasync rename renameat renameat2 link linkat unlink unlinkat
    mkdir mkdirat rmdir getdents64 flock chmod fchmodat utimensat stat lstat newfstatat fstat readlink readlinkat statx
"""
PAGE = 4096
PATIENCE = 10  # seconds
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_TEMPORARY = re.compile(r"\.oxios_state\.[0-9a-f]{16}\.tmp")
_RANDOM = re.compile(r"(?<=\.oxios_state\.)[0-9a-f]{16}|(?<=quarantine/)\d{8}T[\d.]+-[0-9a-f]{8}")
_MEMORY = Path("/dev/shm")  # syncing costs nothing there


class CannotTraceError(Exception):
    """strace is not allowed to attach."""


@attrs.frozen
class Call:
    """A system call on the store."""

    name: str
    number: int  # among the calls of this name
    target: str  # the path in the store
    injected: bool = False


@attrs.frozen
class Fault:
    """A fault: system calls that strace makes fail, or something real."""

    label: str
    call: Call | None = None
    injections: tuple[str, ...] = ()
    real: str = ""
    amount: int = 0


@attrs.define
class Outcome:
    """The child's report of its operation."""

    error: BaseException | None
    where: str
    result: str
    log: list[str]
    leaked: int


@attrs.frozen
class Run:
    """The observation of an operation under a fault; times and random names are masked in the documents."""

    base: str
    outcome: Outcome | None  # None if it hangs
    before: dict[str, str]
    after: dict[str, str] = attrs.field(factory=dict)
    left: list[str] = attrs.field(factory=list)
    held: list[str] = attrs.field(factory=list)
    later: list[str] = attrs.field(factory=list)
    calls: list[Call] = attrs.field(factory=list)


def run(world: Path, operation: Operation, fault: Fault) -> Run:
    """Do an operation under *fault* in a copy of *world*."""
    home = Path(tempfile.mkdtemp(prefix="oxios-faults-", dir=_MEMORY if _MEMORY.is_dir() else None))
    base = home / "state"
    mounted = fault.real in {"full", "read-only"}
    if mounted:
        base.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", base], check=True)
    try:
        if not operation.fresh:
            shutil.copytree(world, base, dirs_exist_ok=True)
        return _run(home, base, operation, fault)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", base], check=True)
        shutil.rmtree(home)


def _run(home: Path, base: Path, operation: Operation, fault: Fault) -> Run:
    ours, theirs = multiprocessing.Pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _child(base, operation, fault, theirs)
        finally:
            os._exit(1)
    theirs.close()
    tracer = None
    try:
        ours.recv()
        before, temporaries = snapshot(base), set(base.rglob("*.tmp"))
        if not fault.real:
            tracer = _attach(pid, home / "trace", fault)
        mend = _break_outside(base, fault)
        os.kill(pid, signal.SIGUSR1)
        if not ours.poll(PATIENCE):
            return Run(str(base), None, before)
        outcome = ours.recv()
        after = snapshot(base)
        left = sorted(map(str, set(base.rglob("*.tmp")) - temporaries))
        held = [path.name for path in (base / ".oxios_state").glob("locks/*") if _is_held(path)]
        mend()
        ours.send("go on")
        later = ours.recv() if ours.poll(PATIENCE) else "it hangs"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        ours.close()
        if tracer is not None:
            tracer.communicate()
    calls = list(_read_trace(home / "trace", base)) if tracer is not None else []
    problems = [f"the next save: {later}"] if later else list(_save_next(base))
    return Run(str(base), outcome, before, after, left, held, problems, calls)


def snapshot(base: Path) -> dict[str, str]:
    """Read all documents, this library's own files but for locks and temporaries, and each row of a cache."""
    found: dict[str, str] = {}
    for path in base.rglob("*"):
        unlike = path.suffix in {".lock", ".turn"} or path.name == ".filler" or _TEMPORARY.fullmatch(path.name)
        if path.name == "summaries.json":
            found |= {_plain(f"{path}/{name}", base): text for name, text in _rows(path)}
        elif path.is_file() and not unlike:
            found[_plain(str(path), base)] = _plain(path.read_text(), base)
    return found


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    try:
        for name, entry in index.decode_entries(path.read_bytes()).items():
            assert entry.summary is not None
            yield name, f"{entry.summary.id}, {entry.summary.message_count} messages"
    except ValueError as error:
        yield "", f"damaged: {error}"


def _plain(text: str, base: Path) -> str:
    return _TIMESTAMP.sub("TIME", _RANDOM.sub("RANDOM", text.replace(str(base), "BASE")))


# In the child.


def _child(base: Path, operation: Operation, fault: Fault, link: Connection) -> None:
    log: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: log.append(_plain(record.getMessage(), base))  # type: ignore[method-assign]
    logging.getLogger("oxios_state").addHandler(handler)
    logging.getLogger("oxios_state").propagate = False
    # The calls must not depend on the speed of the machine: whether a file is trusted, how long a prune holds a lock.
    revisions._TICK = revisions._COARSE_TICK = -(2**62)
    pruning._MAX_HOLD = PATIENCE
    store = StateStore(base, lock_timeout=PATIENCE / 2)
    act = operation.prepare(store)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    link.send("ready")
    signal.sigwait({signal.SIGUSR1})
    descriptors = len(os.listdir("/proc/self/fd"))
    undo = _break_inside(fault)
    outcome = Outcome(None, "", "", log, 0)
    try:
        outcome.result = _plain(str(act()), base)
    except BaseException as error:  # noqa: BLE001  the report shows which it is
        outcome.error, outcome.where = error, " < ".join(_frames(error))
    undo()
    # From here on in a thread that strace does not see.
    thread = threading.Thread(target=_tell, args=[store, link, outcome, descriptors])
    thread.start()
    thread.join()


def _tell(store: StateStore, link: Connection, outcome: Outcome, descriptors: int) -> None:
    outcome.leaked = len(os.listdir("/proc/self/fd")) - descriptors
    link.send(outcome)
    link.recv()
    try:
        store.save_json("config", "next", "saved")
        store.save_session(Session("next", "next"))
        store.prune(PruneConfig(max_sessions=0, ttl_hours=0))
        link.send("")
    except BaseException:  # noqa: BLE001  as above
        link.send(traceback.format_exc())


def _frames(error: BaseException) -> list[str]:
    """Return where in the library the error, or the one that it hides, was raised: the innermost first."""
    found = [f for f in traceback.extract_tb(error.__traceback__) if "oxios_state/" in f.filename]
    hidden = error.__cause__ or error.__context__
    return (_frames(hidden) if hidden else []) or [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in found[::-1]]


def _break_inside(fault: Fault) -> Callable[[], object]:
    if fault.real == "short writes":
        write, writev = os.write, os.writev
        os.write = lambda descriptor, data: write(descriptor, memoryview(data)[: fault.amount])
        os.writev = lambda descriptor, pieces: writev(descriptor, [memoryview(pieces[0])[: fault.amount]])
        return lambda: vars(os).update(write=write, writev=writev)
    if fault.real in {"FSIZE", "NOFILE"}:
        which = resource.RLIMIT_FSIZE if fault.real == "FSIZE" else resource.RLIMIT_NOFILE
        free = os.dup(0)
        os.close(free)
        old = resource.getrlimit(which)
        resource.setrlimit(which, (fault.amount + (free if fault.real == "NOFILE" else 0), old[1]))
        return lambda: resource.setrlimit(which, old)
    return lambda: None


# From outside.


def _attach(pid: int, trace: Path, fault: Fault) -> subprocess.Popen[str]:
    command = ["strace", "-y", "-s0", "-esignal=none", "-etrace=" + ",".join(f"?{call}" for call in CALLS.split())]
    command += [*(f"-einject={injection}" for injection in fault.injections), "-o", str(trace), "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    if "attached" not in line:
        raise CannotTraceError(line)
    return tracer


def _read_trace(trace: Path, base: Path) -> Iterator[Call]:
    seen: Counter[str] = Counter()
    for line in trace.read_text().splitlines():
        name = line.partition("(")[0]
        seen[name] += 1
        if paths := re.findall(re.escape(str(base)) + r'[^"<>]*', line):
            target = " -> ".join(paths) if name == "rename" else paths[0]
            target += " (directory)" if "O_DIRECTORY" in line else ""
            yield Call(name, seen[name], _plain(target, base), injected=line.endswith("(INJECTED)"))


def _break_outside(base: Path, fault: Fault) -> Callable[[], object]:
    if fault.real == "full":
        filler = base / ".filler"
        with suppress(OSError), open(filler, "wb", buffering=0) as file:
            while file.write(bytes(PAGE)):
                pass
        os.truncate(filler, max(filler.stat().st_size - fault.amount * PAGE, 0))
        return filler.unlink
    if fault.real == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", base], check=True)
        return lambda: subprocess.run(["mount", "-o", "remount,rw", base], check=True)
    return lambda: None


def _is_held(path: Path) -> bool:
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _save_next(base: Path) -> Iterator[str]:
    """Save from another process, after the child saved and pruned."""
    if left := [path for path in base.rglob("*.tmp") if _TEMPORARY.fullmatch(path.name)]:
        yield f"the next prune did not sweep {left}"
    ignore = base / ".oxios_state" / ".gitignore"
    if not ignore.is_file() or ignore.read_bytes() != b"*\n":
        yield "the next save did not mend .gitignore: git would take in locks and quarantine"
    store = StateStore(base, lock_timeout=1)
    try:
        if store.load_json("config", "next") != "saved":
            yield "the next save was lost"
        store.save_json("config", "next", "by another process")
        store.save_session(Session("other", "next"))
    except (OSError, StateError) as error:
        yield f"the next save of another process: {error}"
