"""Mutation testing: ``python tests/mutation/mutate.py [MODULE...] [--only TEXT]``, oxios_state not being installed.

In a copy of the checkout, a module's tests run on each of its mutants, in a forked process that imports the package
anew; the processes that the tests start do so too. A mutant survives if all tests pass; ``explained.toml`` lists those
that may. The exit status is 1 if another one survives, or if a mutant that is explained there does not exist.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType

from mutants import Mutant, mutate, prepare

CHECKOUT = Path(__file__).parents[2]
EXPLAINED = Path(__file__).with_name("explained.toml")
# The tests that must find a fault in a module, the quickest finders first; not all that happen to call it.
TESTS = {
    "storage/names": (
        "storage/names guarantees/hostile_names guarantees/file_kinds guarantees/hostile_directories maintenance/check"
    ),
    "sessions/retention": "sessions/retention sessions/pruning model/session guarantees/forks",
    "storage/tree": (
        "storage/tree storage/durability storage/atomic_write storage/orphans guarantees/file_kinds"
        " guarantees/hostile_names guarantees/hostile_directories sessions/pruning maintenance/quarantine"
        " guarantees/races maintenance/check"
    ),
    "storage/locks": (
        "storage/locks storage/process_locks guarantees/forks guarantees/races guarantees/hostile_names"
        " guarantees/file_kinds"
    ),
    "codec/documents": (
        "codec/documents codec/refusals codec/nesting codec/coercion model/records codec/converter"
        " guarantees/kernel_parity"
    ),
}
WARM = "pytest hypothesis attrs cattrs.gen filelock dateutil.parser orjson sqlite3 multiprocessing.util mutmut.state"
MEMORY = 4 << 30  # bytes: for mutants that loop and collect


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run_tests(tests: list[str], mutant: str, timeout: float, log: str = os.devnull) -> str:
    """Run tests on a mutant in a process of its own; return "killed", "survived" or "timed out"."""
    scratch = tempfile.mkdtemp()
    pid = os.fork()
    if not pid:
        os.setsid()  # so that what the tests started can be killed with them
        sys.modules["__main__"] = ModuleType("__main__")  # or spawned processes would run this file
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        with open(log, "w", encoding="utf-8") as out:
            for descriptor in (1, 2):
                os.dup2(out.fileno(), descriptor)
        os.environ |= {"MUTANT_UNDER_TEST": mutant, "HYPOTHESIS_STORAGE_DIRECTORY": f"{scratch}/hypothesis"}
        options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", f"--basetemp={scratch}/tests"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what was imported before the fork
        code = 3
        try:
            code = int(import_module("pytest").main([*options, *tests]))
        finally:
            if error := sys.exception():
                traceback.print_exception(error)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    deadline = time.monotonic() + timeout
    ended, status = 0, 0
    try:
        while not ended and time.monotonic() < deadline:
            time.sleep(0.02)
            ended, status = os.waitpid(pid, os.WNOHANG)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        if not ended:
            os.waitpid(pid, 0)
    shutil.rmtree(scratch, ignore_errors=True)
    return "timed out" if not ended else "killed" if status else "survived"


def test_module(module: str, wanted: str) -> list[tuple[Mutant, str]]:
    path = f"oxios_state/{module}.py"
    code = Path(path).read_text(encoding="utf-8")
    tests = [f"tests/{name.replace('/', '/test_')}.py" for name in TESTS[module].split()]
    mutated, mutants = mutate(path, prepare(code))
    Path(path).write_text(mutated, encoding="utf-8")
    outcomes: list[tuple[Mutant, str]] = []
    timeout = 0.0
    for mutant in mutants:
        if wanted not in f"{mutant.function}: {mutant.was}":
            continue
        if not len(outcomes) % 50:  # now and then without a mutant: tests that fail then, too, prove nothing
            begun = time.monotonic()
            if run_tests(tests, "", 600, "unmutated.log") != "survived":
                raise SystemExit(Path("unmutated.log").read_text(encoding="utf-8"))
            timeout = max(timeout, 5 + 3 * (time.monotonic() - begun))
        outcomes.append((mutant, run_tests(tests, mutant.name, timeout)))
        if outcomes[-1][1] != "killed":
            say(f"{outcomes[-1][1]}: {module}, {mutant.function}\n  - {mutant.was}\n  + {mutant.becomes}")
    Path(path).write_text(code, encoding="utf-8")
    return outcomes


def explained(module: str) -> set[tuple[str, str, str]]:
    """Return the function and the changed text of each mutant of a module that may survive."""
    rows = tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get(module, [])
    return {(row["function"], row["was"], becomes) for row in rows for becomes in row["becomes"]}


def report(module: str, outcomes: list[tuple[Mutant, str]], *, whole: bool) -> tuple[str, int]:
    """Return a module's row of the table, and the number of unexplained survivors and of obsolete explanations."""
    permitted = explained(module)
    count = Counter(outcome for _, outcome in outcomes)
    existing = {(mutant.function, mutant.was, mutant.becomes) for mutant, _ in outcomes}
    survived = [(mutant.function, mutant.was, mutant.becomes) for mutant, outcome in outcomes if outcome == "survived"]
    surprising = [f"not explained: {module}, {' | '.join(key)}" for key in survived if key not in permitted]
    if whole:
        surprising += [f"explained, and no mutant: {module}, {' | '.join(key)}" for key in permitted - existing]
    for line in surprising:
        say(line)
    score = 100 * (len(outcomes) - len(survived)) / max(len(outcomes), 1)
    figures = [
        len(outcomes),
        count["killed"],
        count["timed out"],
        len(survived),
        sum(key in permitted for key in survived),
    ]
    return f"| {module} | {' | '.join(map(str, figures))} | {score:.1f} % |", len(surprising)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(TESTS)}; by default all")
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutants with this in 'function: changed line'")
    arguments = parser.parse_args()
    modules = arguments.modules or list(TESTS)
    if unknown := set(modules) - set(TESTS):
        parser.error(f"not one of {', '.join(TESTS)}: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # some tests become another user
        copy = Path(directory, "copy")
        shutil.copytree(CHECKOUT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        os.chdir(copy)
        Path("setup.cfg").write_text("[mutmut]\nsource_paths = oxios_state\n", encoding="utf-8")
        sys.path[0] = os.environ["PYTHONPATH"] = str(copy)
        for name in WARM.split():
            import_module(name)
        rows = [report(name, test_module(name, arguments.only), whole=not arguments.only) for name in modules]
    say(f"| module | mutants | killed | timed out | survived | of these explained | score |\n{'|---' * 7}|")
    for row, _ in rows:
        say(row)
    raise SystemExit(any(surprising for _, surprising in rows))


if __name__ == "__main__":
    main()
