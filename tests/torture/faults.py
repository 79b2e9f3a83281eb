"""Faults: each system call that each public operation makes on a store fails, one at a time, with each errno.

    python tests/torture/faults.py [--short] [--only TEXT]     a sample; the operations with TEXT in their name

strace injects the errors; a full tmpfs, a read-only one (both as root), RLIMIT_FSIZE and RLIMIT_NOFILE give real ones.
Then: the caller got an OSError or StateError that names a file of the store, the document is the old one (the new if
the error is a `DurabilityError`), nothing is left behind, no lock is held, no descriptor leaked, the next save works.

Not done: a failing `close`, since strace would leave the descriptor open, which Linux never does; short reads. Short
writes are real but made in the process: `os.write` and `os.writev` are given less than it was asked for.
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

sys.path.append(str(Path(__file__).parent))  # which -P leaves out

from injection import PAGE, Call, CannotTraceError, Fault, Run, run
from operations import OPERATIONS, Operation, build_world

import oxios_state
from oxios_state import DurabilityError, StateError

ERRORS = ["EIO", "ENOSPC", "EACCES", "EMFILE", "EINTR"]
MORE_ERRORS = {"flock": ["ENOLCK", "EAGAIN"], "link": ["EPERM", "EMLINK"], "fsync": ["EDQUOT"]}
MORE_ERRORS |= {"write": ["EDQUOT"], "writev": ["EDQUOT"], "utimensat": ["EPERM"]}
RESTARTED = {"open", "openat", "read", "write", "writev", "fsync", "flock"}  # Python repeats them after EINTR (PEP 475)
Failures = defaultdict[tuple[str, str], list[tuple[Fault, list[str]]]]  # alike ones together
CACHE = "/.oxios_state/cache"
LIBRARY = os.path.dirname(oxios_state.__file__)
SAMPLE = 20  # faults for each operation in the short form


def plan(calls: list[Call]) -> Iterator[Fault]:
    """Each call alone; with all that follow of its name; with the removal of the temporary; and what is real."""
    for call in calls:
        where = f"{call.name} no. {call.number} ({call.target})"
        for error in [*ERRORS, *MORE_ERRORS.get(call.name, [])]:
            yield Fault(f"{error} in {where}", call, (f"{call.name}:error={error}:when={call.number}",))
        # For locks, the error of AppArmor and SELinux where locking is not allowed.
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


def judge(operation: Operation, fault: Fault, seen: Run, normal: Run) -> Iterator[str]:
    """Yield the problems of a run under a fault; *normal* is the run without one."""
    outcome = seen.outcome
    if outcome is None:
        yield "it hangs"
        return
    if fault.injections and not any(
        call.injected and fault.call and (call.name, call.target) == (fault.call.name, fault.call.target)
        for call in seen.calls
    ):
        yield f"the fault hit another call: {[call for call in seen.calls if call.injected]}"
    if seen.left and not may_leave(fault):
        yield f"left behind: {seen.left}"
    yield from (f"the lock is held: {name}" for name in seen.held)
    yield from seen.later
    if outcome.leaked > 0:
        yield f"{outcome.leaked} descriptors leaked"
    yield from judge_files(operation, seen, normal)
    yield from judge_error(operation, fault, seen, normal) if outcome.error else judge_result(fault, seen, normal)


def may_leave(fault: Fault) -> bool:
    """Return whether a temporary file may stay for the next prune: it could not be removed or locked."""
    return (
        fault.call is not None
        and "RANDOM.tmp" in fault.call.target
        and any(injection.startswith(("unlink:", "flock:")) for injection in fault.injections)
    )


def judge_files(operation: Operation, seen: Run, normal: Run) -> Iterator[str]:
    failed = seen.outcome is not None and seen.outcome.error is not None
    for path in sorted({*seen.before, *seen.after, *normal.after}):
        if path.endswith(".gitignore") and failed:
            continue  # the next save repairs it
        if CACHE in path and path not in seen.after:
            continue  # never the truth
        if seen.after.get(path) not in (seen.before.get(path), normal.after.get(path)):
            yield f"neither old nor new: {path}: {seen.after.get(path)!r:.80}"
    if operation.keeps_all:
        replaced = seen.before.get(f"BASE/{operation.replaces}")
        if lost := contents(seen.before) - contents(seen.after) - {replaced}:
            yield f"lost: {lost!r:.200}"


def judge_error(operation: Operation, fault: Fault, seen: Run, normal: Run) -> Iterator[str]:
    assert seen.outcome is not None
    error = seen.outcome.error
    repeated = fault.call is not None and fault.call.name in RESTARTED and "(directory)" not in fault.call.target
    if (fault.label.startswith("EINTR") and repeated) or is_needless(fault) or fault.real == "short writes":
        yield "it should have succeeded"
    if not isinstance(error, OSError | StateError):
        yield f"{type(error).__name__} is neither an OSError nor a StateError"
    if not any(place in str(error) for place in (seen.base, LIBRARY)):  # which is read when first needed
        yield f"the error names no file: {error}"
    saved = isinstance(error, DurabilityError)
    if operation.atomic and documents(seen.after) != documents(normal.after if saved else seen.before):
        yield f"{'not done' if saved else 'done'}, though the error says otherwise"


def judge_result(fault: Fault, seen: Run, normal: Run) -> Iterator[str]:
    assert seen.outcome is not None
    assert normal.outcome is not None
    if is_reported(seen, normal) and not is_needless(fault):
        return
    if documents(seen.after) != documents(normal.after):
        yield "it did not do what it should, silently"
    # A temporary file that cannot be looked at is left for the next check.
    if seen.outcome.result != normal.outcome.result and not (fault.call and fault.call.target.endswith(".tmp")):
        yield f"another result, silently: {seen.outcome.result!r:.200}"


def is_reported(seen: Run, normal: Run) -> bool:
    """Return whether the failure for one file was reported: in the log, or by `check` as a problem."""
    assert seen.outcome is not None
    assert normal.outcome is not None
    return seen.outcome.log != normal.outcome.log or "unreadable" in seen.outcome.result


def is_needless(fault: Fault) -> bool:
    """Return whether no operation depends on the call that fails: it concerns times or caches."""
    alone = not any(injection.endswith("+") for injection in fault.injections)
    return alone and fault.call is not None and (fault.call.name == "utimensat" or CACHE in fault.call.target)


def contents(found: dict[str, str]) -> set[str | None]:
    unlike = ("reason.json", ".gitignore")
    return {content for path, content in found.items() if not (path.endswith(unlike) or CACHE in path)}


def documents(found: dict[str, str]) -> dict[str, str]:
    return {path: content for path, content in found.items() if "/.oxios_state/" not in path}


def ending(seen: Run, normal: Run) -> str:
    if seen.outcome is None:
        return "hangs"
    if seen.outcome.error is not None:
        return type(seen.outcome.error).__name__
    return "reported" if is_reported(seen, normal) else "succeeded"


def attempt(world: Path, number: int, fault: Fault, normal: Run | None) -> tuple[Run, str, list[str]]:
    """Run in a worker: give what was seen, how it ended, and what is wrong with it."""
    seen = run(world, OPERATIONS[number], fault)
    problems = list(judge(OPERATIONS[number], fault, seen, normal or seen))
    if problems and seen.outcome is not None and seen.outcome.error is not None:
        problems.append(f"{type(seen.outcome.error).__name__}: {seen.outcome.error}\n      at {seen.outcome.where}")
    return seen, ending(seen, normal or seen), problems


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
            here: Counter[str] = Counter()
            for fault, (seen, end, problems) in zip(faults, (task.result() for task in tasks), strict=True):
                here[end] += 1
                totals.update({"real" if fault.real else "injected": 1, "left": len(seen.left)})
                if problems:
                    alike = re.sub(r"/\S+/state|\d+", "", problems[0])
                    failures[operation.name, alike + (fault.call.target if fault.call else "")].append(
                        (fault, problems)
                    )
            totals["calls"] += len(normal.calls)
            ends += here
            print(f"{operation.name:36} {len(normal.calls):5} {len(faults):6}  {describe(here)}", flush=True)
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
