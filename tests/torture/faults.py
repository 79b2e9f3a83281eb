"""System call faults: each call that a public operation makes on a store fails, one at a time, with each errno.

    python tests/torture/faults.py [--short] [--only TEXT]     a sample; the operations with TEXT in their name

strace injects the errors; a full tmpfs, a read-only one (both as root), RLIMIT_FSIZE and RLIMIT_NOFILE cause real ones.
Then the caller must get an OSError or StateError that names a file of the store; the document must be the old one (the
new one after a `DurabilityError`); no file may be left behind, no lock held, no descriptor leaked; and the next save
must work.

Not covered: a failing `close`, since strace would leave the descriptor open, which Linux never does; short reads. Short
writes are real but made in the process: `os.write` and `os.writev` write less than the caller passes.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # -P leaves out the script's directory

from injection import PAGE, Call, CannotTraceError, Fault, Run, run
from operations import OPERATIONS, Operation, build_world

import oxios_state
from oxios_state import DurabilityError, StateError

ERRORS = ["EIO", "ENOSPC", "EACCES", "EMFILE", "EINTR"]
MORE_ERRORS = {"flock": ["ENOLCK", "EAGAIN"], "link": ["EPERM", "EMLINK"], "fsync": ["EDQUOT"]}
MORE_ERRORS |= {"write": ["EDQUOT"], "writev": ["EDQUOT"], "utimensat": ["EPERM"]}
RESTARTED = {"open", "openat", "read", "write", "writev", "fsync", "flock"}  # Python repeats them after EINTR (PEP 475)
Failures = defaultdict[tuple[str, str], list[tuple[Fault, list[str]]]]  # similar ones together
CACHE = "/.oxios_state/cache"
LIBRARY = os.path.dirname(oxios_state.__file__)
SAMPLE = 20  # faults for each operation in the short form


def plan(calls: list[Call]) -> Iterator[Fault]:
    """Yield the faults: each call alone, with all later ones, with the temporary's removal; and real ones."""
    for call in calls:
        where = f"{call.name} no. {call.number} ({call.target})"
        for error in [*ERRORS, *MORE_ERRORS.get(call.name, [])]:
            yield Fault(f"{error} in {where}", call, (f"{call.name}:error={error}:when={call.number}",))
        # For locks, the error of AppArmor and SELinux where they forbid locking.
        error = "EACCES" if call.name == "flock" else "EIO"
        yield Fault(f"{error} from {where} on", call, (f"{call.name}:error={error}:when={call.number}+",))
        if "RANDOM.tmp" in call.target and call.name in {"write", "writev", "fsync", "rename", "flock"}:
            both = (f"{call.name}:error=EIO:when={call.number}", "unlink:error=EIO:when=1")
            yield Fault(f"EIO in {where} and in the unlink after it", call, both)
    yield from (Fault(f"writes of {size} bytes at most", real="short writes", amount=size) for size in (1, 7, PAGE))
    yield from (Fault(f"RLIMIT_FSIZE of {size}", real="FSIZE", amount=size) for size in (0, 1, 100, PAGE))
    yield from (Fault(f"RLIMIT_NOFILE, {free} free", real="NOFILE", amount=free) for free in range(4))
    if os.geteuid() == 0:
        yield from (Fault(f"a full tmpfs, {free} pages free", real="full", amount=free) for free in range(4))
        yield Fault("a read-only tmpfs", real="read-only")


def judge(operation: Operation, fault: Fault, faulty: Run, normal: Run) -> Iterator[str]:
    """Yield the problems of a run under a fault, compared with the *normal* run without one."""
    outcome = faulty.outcome
    if outcome is None:
        yield "it hangs"
        return
    if fault.injections and not any(
        call.injected and fault.call and (call.name, call.target) == (fault.call.name, fault.call.target)
        for call in faulty.calls
    ):
        yield f"the fault hit another call: {[call for call in faulty.calls if call.injected]}"
    if faulty.left and not may_leave(fault):
        yield f"left behind: {faulty.left}"
    yield from (f"the lock is held: {name}" for name in faulty.held)
    yield from faulty.later
    if outcome.leaked > 0:
        yield f"{outcome.leaked} descriptors leaked"
    yield from judge_files(operation, faulty, normal)
    yield from judge_error(operation, fault, faulty, normal) if outcome.error else judge_result(fault, faulty, normal)


def may_leave(fault: Fault) -> bool:
    """Return whether a temporary may stay for the next prune, as it could not be removed or locked."""
    return (
        fault.call is not None
        and "RANDOM.tmp" in fault.call.target
        and any(injection.startswith(("unlink:", "flock:")) for injection in fault.injections)
    )


def judge_files(operation: Operation, faulty: Run, normal: Run) -> Iterator[str]:
    failed = faulty.outcome is not None and faulty.outcome.error is not None
    for path in sorted({*faulty.before, *faulty.after, *normal.after}):
        if path.endswith(".gitignore") and failed:
            continue  # the next save mends it, which is checked elsewhere
        if CACHE in path and path not in faulty.after:
            continue  # a cache is disposable
        if faulty.after.get(path) not in (faulty.before.get(path), normal.after.get(path)):
            yield f"neither old nor new: {path}: {faulty.after.get(path)!r:.80}"
    if operation.keeps_all:
        replaced = faulty.before.get(f"BASE/{operation.replaces}")
        if lost := contents(faulty.before) - contents(faulty.after) - {replaced}:
            yield f"lost: {lost!r:.200}"


def judge_error(operation: Operation, fault: Fault, faulty: Run, normal: Run) -> Iterator[str]:
    assert faulty.outcome is not None
    error = faulty.outcome.error
    repeated = fault.call is not None and fault.call.name in RESTARTED and "(directory)" not in fault.call.target
    if (fault.label.startswith("EINTR") and repeated) or is_needless(fault) or fault.real == "short writes":
        yield "it should have succeeded"
    if not isinstance(error, OSError | StateError):
        yield f"{type(error).__name__} is neither an OSError nor a StateError"
    # A module of the library that is imported late may be unreadable, too.
    if not any(place in str(error) for place in (faulty.base, LIBRARY)):
        yield f"the error names no file: {error}"
    saved = isinstance(error, DurabilityError)
    if operation.atomic and documents(faulty.after) != documents(normal.after if saved else faulty.before):
        yield f"{'not done' if saved else 'done'}, though the error says otherwise"


def judge_result(fault: Fault, faulty: Run, normal: Run) -> Iterator[str]:
    assert faulty.outcome is not None
    assert normal.outcome is not None
    if is_reported(faulty, normal) and not is_needless(fault):
        return
    if documents(faulty.after) != documents(normal.after):
        yield "it did not do what it should, silently"
    # A temporary file that cannot be examined is left for the next check.
    if faulty.outcome.result != normal.outcome.result and not (fault.call and fault.call.target.endswith(".tmp")):
        yield f"another result, silently: {faulty.outcome.result!r:.200}"


def is_reported(faulty: Run, normal: Run) -> bool:
    """Return whether a failure for a single file was reported: in the log, or as a problem from `check`."""
    assert faulty.outcome is not None
    assert normal.outcome is not None
    return faulty.outcome.log != normal.outcome.log or "unreadable" in faulty.outcome.result


def is_needless(fault: Fault) -> bool:
    """Return whether operations can do without the failing call: those on times and caches."""
    alone = not any(injection.endswith("+") for injection in fault.injections)
    return alone and fault.call is not None and (fault.call.name == "utimensat" or CACHE in fault.call.target)


def contents(files: dict[str, str]) -> set[str | None]:
    unlike = ("reason.json", ".gitignore")
    return {content for path, content in files.items() if not (path.endswith(unlike) or CACHE in path)}


def documents(files: dict[str, str]) -> dict[str, str]:
    return {path: content for path, content in files.items() if "/.oxios_state/" not in path}


def ending(faulty: Run, normal: Run) -> str:
    if faulty.outcome is None:
        return "hangs"
    if faulty.outcome.error is not None:
        return type(faulty.outcome.error).__name__
    return "reported" if is_reported(faulty, normal) else "succeeded"


def attempt(world: Path, number: int, fault: Fault, normal: Run | None) -> tuple[Run, str, list[str]]:
    """Run in a worker; return the run, how it ended, and its problems."""
    faulty = run(world, OPERATIONS[number], fault)
    problems = list(judge(OPERATIONS[number], fault, faulty, normal or faulty))
    if problems and faulty.outcome is not None and faulty.outcome.error is not None:
        problems.append(
            f"{type(faulty.outcome.error).__name__}: {faulty.outcome.error}\n      at {faulty.outcome.where}"
        )
    return faulty, ending(faulty, normal or faulty), problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help=f"{SAMPLE} faults of each operation, the same every time")
    parser.add_argument("--only", default="", help="the operations that have this in their name")
    arguments = parser.parse_args()
    if shutil.which("strace") is None:
        print("skipped: strace is not installed")
        return 0
    if os.geteuid() != 0:
        print("skipped, since only root can mount: the full and the read-only tmpfs")
    started = time.monotonic()
    totals: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    failures: Failures = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory, ProcessPoolExecutor(4) as pool:
        world = Path(directory, "world")
        build_world(world)
        print(f"{'operation':36} calls faults  how they ended")
        for number, operation in enumerate(OPERATIONS):
            if arguments.only not in operation.name:
                continue
            try:
                normal, _, problems = pool.submit(attempt, world, number, Fault("none"), None).result()
            except CannotTraceError as error:
                print(f"skipped: strace cannot attach: {error}")
                return 0
            if problems:
                failures[operation.name, "without a fault"].append((Fault("no fault"), problems))
            faults = list(plan(normal.calls))
            if arguments.short:
                faults = random.Random(1).sample(faults, min(len(faults), SAMPLE))
            tasks = [pool.submit(attempt, world, number, fault, normal) for fault in faults]
            counts: Counter[str] = Counter()
            for fault, (faulty, end, problems) in zip(faults, (task.result() for task in tasks), strict=True):
                counts[end] += 1
                totals.update({"real" if fault.real else "injected": 1, "left": len(faulty.left)})
                if problems:
                    alike = re.sub(r"/\S+/state|\d+", "", problems[0])
                    failures[operation.name, alike + (fault.call.target if fault.call else "")].append(
                        (fault, problems)
                    )
            totals["calls"] += len(normal.calls)
            ends += counts
            print(f"{operation.name:36} {len(normal.calls):5} {len(faults):6}  {describe(counts)}", flush=True)
    report(failures)
    print(f"\n{totals['calls']} system calls; {totals['injected']} faults injected, {totals['real']} real ones:")
    print(f"  {describe(ends)}")
    print(f"  {totals['left']} temporaries that could not be removed or locked, which the next prune swept")
    print(f"  {sum(map(len, failures.values()))} failures, {time.monotonic() - started:.0f} s")
    return bool(failures)


def report(failures: Failures) -> None:
    for (name, _), alike in failures.items():
        print(f"\nFAILED {len(alike)} times: {name}: {'; '.join(fault.label for fault, _ in alike)}")
        print(*(f"    {problem}" for problem in alike[0][1]), sep="\n")


def describe(ends: Counter[str]) -> str:
    return ", ".join(f"{count} {end}" for end, count in ends.most_common())


if __name__ == "__main__":
    sys.exit(main())
