"""Cut the power at every moment of a save, an edit, a delete, a prune and a quarantine, and look at what is left.

    python tests/torture/powercut.py [--short] [--peers]

Each scenario runs once, under strace. From its system calls all the states are made that a file system may hold when
the power goes before, between or after them (see `powercut_model`), each as a real directory, and the store is opened
on it: every document is the old one or the new one, what was acknowledged is there, nothing else is hurt, and the store
works on. Then the same is done to the library with a fault put into it, which must be found.

What stands in parentheses in the tables is reported and not counted: no document is hurt by it.

The exit status is 1 if the library leaves a bad state where it promises none, or a fault is not found.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from powercut_model import DATA_FIRST, EXT4, JOURNAL, POSIX, RULES, Disk, State, build, scan
from powercut_mutants import MUTANTS, put_in
from powercut_peers import PEERS
from powercut_scenarios import SCENARIOS, Documents, Library
from powercut_trace import Call, record

import oxios_state

Json = dict[str, Any]
_MEMORY = Path("/dev/shm")
_SHORT = ("first save", "saves", "edits", "deletes", "lists", "archive", "quarantine")
_NOT_PROMISED: set[str] = set()


class Subject(Protocol):
    """Something that keeps documents in files."""

    def prepare(self, root: Path) -> None: ...
    def work(self, root: Path) -> Iterator[None]: ...
    def read(self, root: Path) -> Documents: ...
    def problems(self, root: Path, found: Documents, wanted: Documents) -> Iterator[str]: ...


class Job(NamedTuple):
    """One run of a scenario, looked at under some rules."""

    scenario: str
    rules: tuple[str, ...]
    durable: bool = True
    mutant: str = ""

    def subject(self) -> Subject:
        peer = PEERS.get(self.scenario)
        return peer() if peer else Library(self.scenario, durable=self.durable)


def examine(job: Job, scratch: Path) -> Json:
    """Run a scenario and count, for each rule, the cuts, the states and the bad ones by kind, with an example."""
    subject, root, marks = job.subject(), scratch / "root", scratch / "marks"
    root.mkdir()
    subject.prepare(root)
    before = scan(root)
    program = [sys.executable, __file__, "--work", job.scenario, str(root), str(marks)]
    calls = record(program if job.durable else [*program, "--not-durable"], root, marks)
    after = scan(root)
    shutil.rmtree(root)
    build(before, root)
    disks = {name: Disk(root, RULES[name]) for name in job.rules}
    past = [before, *_acknowledged(Disk(root, POSIX), calls, after)]
    shutil.rmtree(root)
    history = []
    for state in past:
        build(state, root)
        history.append(subject.read(root))
        shutil.rmtree(root)
    if any(old == new for old, new in pairwise(history)):
        raise AssertionError(f"a step of {job.scenario!r} changes nothing")
    return {name: _count(subject, disk, calls, history, root, durable=job.durable) for name, disk in disks.items()}


def _acknowledged(disk: Disk, calls: list[Call], after: State) -> Iterator[State]:
    """Yield the documents at each acknowledgement, and check that the model agrees with the program."""
    for call in calls:
        disk.apply(call)
        if call.name == "mark":
            yield disk.live()
    if disk.live() != after:
        raise AssertionError(f"the model is wrong: it has {disk.live()}, the disk {after}")


def _count(
    subject: Subject, disk: Disk, calls: list[Call], history: list[Documents], root: Path, *, durable: bool
) -> Json:
    looked: dict[State, tuple[Documents | None, list[str]]] = {}
    judged: dict[tuple[State, int], set[str]] = {}
    cuts = acknowledged = 0
    for call in [None, *calls]:
        if call is not None and not disk.apply(call):
            continue
        cuts += 1
        acknowledged += call is not None and call.name == "mark"
        for state in disk.states():
            if (state, acknowledged) not in judged:
                if state not in looked:
                    looked[state] = _look(subject, state, root, history[-1])
                found, problems = looked[state]
                allowed = history[acknowledged if durable else 0 : acknowledged + 2]
                wrong = [] if found is None else _judge(found, allowed, history)
                judged[state, acknowledged] = set(wrong) or set(problems)
    bad = {key: kinds for key, kinds in judged.items() if any(not kind.startswith("(") for kind in kinds)}
    kinds = Counter(kind for kinds in judged.values() for kind in kinds)
    example = min(bad, key=lambda key: len(str(key)), default=None)
    shown = example and f"after {example[1]} steps, {sorted(bad[example])}: {_brief(example[0])}"
    return {"cuts": cuts, "states": len(judged), "bad": len(bad), "kinds": kinds, "example": shown}


def _look(subject: Subject, state: State, root: Path, wanted: Documents) -> tuple[Documents | None, list[str]]:
    found: Documents | None = None
    problems: list[str] = []
    build(state, root)
    try:
        found = subject.read(root)
        problems += subject.problems(root, found, wanted)
    except Exception as error:  # noqa: BLE001  # any error of a store is a finding
        problems.append(f"{'unreadable' if found is None else 'raises'} ({type(error).__name__})")
    shutil.rmtree(root)
    return found, problems


def _judge(found: Documents, allowed: list[Documents], history: list[Documents]) -> Iterator[str]:
    kept = set.intersection(*(set(documents.values()) for documents in allowed))
    for key in {*found, *(key for documents in history for key in documents)}:
        value = found.get(key)
        if key.startswith("quarantined"):
            continue  # that a copy is still there is no harm, and that it is lost is seen below
        if value not in [documents.get(key) for documents in allowed]:
            undone = value in [documents.get(key) for documents in history]
            yield "gone" if value is None else "undone" if undone else "torn"
            kept -= {documents.get(key) for documents in history}
    if not kept <= set(found.values()):
        yield "lost on the way"


def _brief(state: State) -> str:
    files = (f"{path}/" if content is None else f"{path} ({len(content)})" for path, _, content in state)
    return ", ".join(files) or "nothing"


def _run(job: Job) -> Json:
    """Examine in a process of its own: of a mutant, that is what it is imported by."""
    with tempfile.TemporaryDirectory(prefix="powercut-", dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        scratch, env = Path(name).resolve(), dict(os.environ)
        if job.mutant:
            put_in(job.mutant, Path(oxios_state.__file__).parent, scratch)
            env["PYTHONPATH"] = str(scratch)
        program = [sys.executable, __file__, "--job", json.dumps(job), str(scratch)]
        done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{job}: {done.stderr[-3000:]}")
    report: Json = json.loads(done.stdout)
    return report


def _work(scenario: str, root: str, marks: str, *, durable: bool) -> None:
    descriptor = os.open(marks, os.O_WRONLY | os.O_CREAT, 0o600)
    for _ in Job(scenario, (), durable).subject().work(Path(root)):
        os.write(descriptor, b"!")


def _say(line: str = "") -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _report_library(pool: ThreadPoolExecutor, *, short: bool) -> int:
    names = _SHORT if short else tuple(SCENARIOS)
    rules = (JOURNAL,) if short else (JOURNAL, DATA_FIRST, EXT4, POSIX)
    jobs = [Job(name, (POSIX.name,)) for name in names]
    jobs += [Job(name, tuple(rule.name for rule in rules), durable=False) for name in names]
    _say("The library: bad states of all states; * where nothing is promised")
    _say(f"{'':16} {'durable':>14}    without syncs, on a file system that keeps")
    heads = "".join(f"{rule.keeps:>17}" for rule in rules)
    _say(f"{'scenario':16} {'cuts':>5} {'POSIX':>8}    {'cuts':>5}{heads}   what")
    reports = list(pool.map(_run, jobs))
    failed = total = 0
    for name, durable, other in zip(names, reports, reports[len(names) :], strict=False):
        judged = [(durable[POSIX.name], name not in _NOT_PROMISED)]
        for rule in rules:
            kept = rule is JOURNAL or (rule is DATA_FIRST and not SCENARIOS[name].moves)
            judged.append((other[rule.name], kept and name not in _NOT_PROMISED))
        strict, *shares = (_share(found, promised=promised) for found, promised in judged)
        row = f"{name:16} {durable[POSIX.name]['cuts']:5} {strict:>8}    {other[JOURNAL.name]['cuts']:5}"
        row += "".join(f"{share:>17}" for share in shares)
        kinds = sorted({kind for found, _ in judged for kind in found["kinds"]})
        _say(f"{row}   {', '.join(kinds)}")
        for found, promised in judged:
            total += found["states"]
            if promised and found["bad"]:
                failed += 1
                _say(f"    BAD: {found['example']}")
    _say(f"{total} states; {failed} promises are broken")
    return failed


def _share(found: Json, *, promised: bool = True) -> str:
    return f"{found['bad']}/{found['states']}{' ' if promised else '*'}"


def _report_mutants(pool: ThreadPoolExecutor, *, short: bool) -> int:
    names = list(MUTANTS)[:: 7 if short else 1]
    jobs = [Job(MUTANTS[name].scenario, (POSIX.name,), mutant=name) for name in names]
    survived = 0
    _say(f"\n{'Fault put into the library':46} {'found in':16} {'bad':>9}   what")
    for job, report in zip(jobs, pool.map(_run, jobs), strict=True):
        found = report[POSIX.name]
        survived += not found["bad"]
        what = ", ".join(sorted(found["kinds"])) if found["bad"] else "SURVIVED"
        _say(f"{job.mutant:46} {job.scenario:16} {_share(found):>9}   {what}")
    _say(f"{len(jobs) - survived} of {len(jobs)} faults are found")
    return survived


def _report_peers(pool: ThreadPoolExecutor) -> None:
    _say("\nOther stores, a first save and one over it: bad states of all states")
    _say(f"{'':28} {'POSIX':>12} {'ordered':>9} {'ordered, what was acknowledged aside':>37}   what")
    names = []
    for name, peer in PEERS.items():
        try:
            peer()
            names.append(name)
        except ImportError as error:
            _say(f"{name:28} skipped: {error}")
    jobs = [Job(name, (POSIX.name, JOURNAL.name)) for name in names]
    jobs += [Job(name, (JOURNAL.name,), durable=False) for name in names]
    reports = list(pool.map(_run, jobs))
    for name, strict, aside in zip(names, reports, reports[len(names) :], strict=False):
        figures = [strict[POSIX.name], strict[JOURNAL.name], aside[JOURNAL.name]]
        kinds = "; ".join(
            ", ".join(f"{count} {kind}" for kind, count in sorted(found["kinds"].items())) or "-" for found in figures
        )
        _say(f"{name:28} {_share(figures[0]):>12} {_share(figures[1]):>9} {_share(figures[2]):>37}   {kinds}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Cut the power at every moment, and look at what is left.")
    parser.add_argument("--short", action="store_true", help="fewer scenarios and faults")
    parser.add_argument("--peers", action="store_true", help="other stores too, where they are installed")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--not-durable", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        _work(*options.work, durable=not options.not_durable)
        return 0
    if options.job:
        _say(json.dumps(examine(Job(*json.loads(options.job[0])), Path(options.job[1]))))
        return 0
    if shutil.which("strace") is None:
        _say("skipped: there is no strace here (Debian has it in the package strace)")
        return 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failed = _report_library(pool, short=options.short)
        survived = _report_mutants(pool, short=options.short)
        if options.peers:
            _report_peers(pool)
    return 1 if failed or survived else 0


if __name__ == "__main__":
    sys.exit(main())
