"""The syncs of each compared store in a turn, counted by strace: is each in the right group?

    python tests/benchmarks/syncing.py

The exit status is 1 if one is not. Without strace, which only Linux has, nothing is checked.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from peers import GROUPS
from work import LARGE, Writer

TURNS = 10
CALLS = "fsync,fdatasync,sync_file_range,msync,sync,syncfs"


def trace(kind: str, base: Path) -> Counter[str]:
    """Count the calls of some turns: those between two marks, which the traced process sets."""
    output = base / "trace"
    command = ["strace", "-f", "-y", "-e", f"trace={CALLS},access", "-o", str(output)]
    command += [sys.executable, __file__, kind, str(base / "store")]
    subprocess.run(command, check=True)
    _, between, _ = output.read_text().split('"/turns"')
    calls = re.findall(rf"^\d+ +({CALLS.replace(',', '|')})\(\d+<(.*?)>", between, re.MULTILINE)
    return Counter(f"{call} of {_plain(Path(path).name)}" for call, path in calls)


def _plain(name: str) -> str:
    return "a temporary file" if name.startswith(".") else name


def work(kind: str, base: Path) -> None:
    """Do some turns between two calls that a trace shows."""
    writer = Writer()
    store = next(each for kinds in GROUPS.values() for each in kinds if each.__name__ == kind)(base)
    store.fill([writer.turn() for _ in range(LARGE)])
    store.turn(writer.turn())
    os.access("/turns", os.F_OK)
    for _ in range(TURNS):
        store.turn(writer.turn())
    os.access("/turns", os.F_OK)
    store.close()


def main() -> None:
    """Print what each store syncs in a turn, or be a store that is traced."""
    if len(sys.argv) > 1:
        work(sys.argv[1], Path(sys.argv[2]))
        return
    if shutil.which("strace") is None:
        print("strace is not installed: what each store syncs is not checked")
        return
    wrong = 0
    for syncs, kinds in GROUPS.items():
        for kind in kinds:
            with tempfile.TemporaryDirectory() as base:
                calls = trace(kind.__name__, Path(base))
            said = ", ".join(f"{count / TURNS:g} x {call}" for call, count in calls.items()) or "nothing"
            right = syncs == (sum(calls.values()) >= TURNS)
            wrong += not right
            print(f"{'ok' if right else 'WRONG':6} {kind.name}{'' if syncs else ' (not durable)'}: a turn syncs {said}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
