"""Files made to exhaust memory, stack or patience: ``python tests/torture/exhausting.py [--short]``.

Each is loaded, listed, checked and saved, with both JSON engines, in a process of its own that may take only so many
times the file's size of memory; what it took is printed. ``--write DIRECTORY SIZE`` only makes one of each kind.
"""

from __future__ import annotations

import argparse
import logging
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from oxios_state import CorruptStateError, StateStore
from oxios_state.codec import json_text

MEGABYTE = 10**6
ENGINES: dict[str, Any] = {"json": None, "orjson": json_text._orjson}


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Special(NamedTuple):
    """A file: *unit*, in which ``#`` counts, again and again between *head* and *tail*."""

    head: bytes
    unit: bytes
    tail: bytes
    found: str  # the result of loading it
    multiple: float  # of its size, how much memory loading, listing, checking and saving it may take

    def write(self, path: Path, size: int) -> None:
        with path.open("wb") as file:
            file.write(self.head)
            number = 0
            while file.tell() < size:
                if b"#" in self.unit:
                    chunk = b"".join(self.unit.replace(b"#", b"%d" % i) for i in range(number, number + 1000))
                else:
                    chunk = self.unit * 1000
                number += 1000
                file.write(chunk)
            file.write(self.tail)


S = b'{"id":"x","user_id":"u","created_at":"2026-03-01T08:00:00Z","updated_at":"2026-03-01T08:00:00Z"'
M = S + b',"user_messages":[{"timestamp":"2026-03-01T08:00:00Z","content":"'
STEP = b',"trajectory_steps":[{"tool_name":"","tool_args":0,"output_summary":"","is_error":false,"tool_call_id":"",'
STEP += b'"timestamp":"2026-03-01T08:00:00Z","duration_ms":'
SPECIALS = {
    "string": Special(M, b"x", b'"}]}', "read", 12),
    "string of a byte each but one": Special(M + "🚀".encode(), b"x", b'"}]}', "read", 30),
    "object cut off": Special(b"{", b'"#":#,', b"", "refused", 60),
    "a key that stands twice": Special(S, b',"k#":0', b',"z":0,"z":0}', "read", 120),
    "empty arrays": Special(S + b',"metadata":{"a":[0', b",[]", b"]}}", "read", 120),
    "records that are none": Special(S + b',"user_messages":[0', b",0", b"]}", "refused", 120),
    "string of escapes": Special(M, rb"\u00e9", b'"}]}', "read", 12),
    "string cut off": Special(M, b"x", b"", "refused", 12),
    "string of lone surrogates": Special(M, rb"\udc80", b'"}]}', "refused", 12),
    "id": Special(b'{"i', b"d", b'":1}', "refused", 12),
    "timestamp": Special(S + b',"updated_at":"', b"0", b'"}', "refused", 12),
    "timestamp's fraction": Special(S + b',"updated_at":"2026-03-01T08:00:00.', b"1", b'Z"}', "read", 12),
    "integer": Special(S + b',"metadata":{"n":', b"7", b"}}", "refused", 12),
    "integer in a place of its own": Special(S + STEP, b"7", b"}]}", "refused", 12),
    "integer cut off": Special(b"", b"7", b"", "refused", 12),
    "fraction": Special(S + b',"metadata":{"n":0.', b"3", b"}}", "read", 12),
    "exponent": Special(S + b',"metadata":{"n":1e', b"9", b"}}", "refused", 12),
    "negative exponent": Special(S + b',"metadata":{"n":1e-', b"9", b"}}", "read", 12),
    "arrays in arrays": Special(b"", b"[", b"", "refused", 12),
    "objects in objects": Special(S + b',"metadata":{"a":', b'{"a":', b"", "refused", 12),
    "keys": Special(S, b',"k#":#', b"}", "read", 120),
    "one key again and again": Special(S, b',"k":0', b"}", "read", 60),
    "spaces": Special(S, b" ", b"}", "read", 12),
    "NUL bytes": Special(b"", b"\0", b"", "refused", 12),
    "UTF-16": Special(b"\xff\xfe", b" \0", b"", "refused", 12),
    "byte order marks": Special(b"", b"\xef\xbb\xbf", b"", "refused", 12),
    "not UTF-8": Special(S, b"\xff", b"}", "refused", 12),
}


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")  # ru_maxrss begins with that of the parent
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def endure(name: str, engine: str, base: str, seconds: str) -> None:
    """Load, list, check and save the one file of a store, within the memory and the time that it may take."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds),) * 2)  # of its own, whatever else the machine does
    special, path = SPECIALS[name], Path(base) / "sessions" / "x.json"
    json_text._orjson = ENGINES[engine]
    StateStore(base).save_json("warm", "up", {})
    before, size = peak(), path.stat().st_size
    # orjson asks for some 12 bytes of address space per byte, most of which it never touches.
    resource.setrlimit(resource.RLIMIT_AS, (2**29 + int((special.multiple + 12) * size),) * 2)
    store, found, started = StateStore(base), "refused", time.monotonic()
    times: list[float] = []
    said: list[str] = []
    logging.getLogger("oxios_state").addHandler(logging.NullHandler())
    try:
        session = store.load_session("x")
        found = "read"
    except CorruptStateError as error:
        session = None
        said.append(str(error))
    times.append(time.monotonic())
    assert len(store.list_sessions()) == (found == "read")
    times.append(time.monotonic())
    problems = store.check()
    assert found == "read" or problems
    said += map(str, problems)
    times.append(time.monotonic())
    if session is not None:
        store.save_session(session)
        assert store.load_session("x") == session, "loaded again, it is another"
    times.append(time.monotonic())
    multiple = (peak() - before) / size
    spent = " ".join(f"{end - start:6.2f}" for start, end in zip([started, *times], times, strict=False))
    say(f"  {name:32}{engine:8}{size / MEGABYTE:6.1f} MB {found:8} {multiple:6.1f} x its size; {spent} s")
    assert found == special.found, f"{found}, not {special.found}"
    assert multiple <= special.multiple, f"more than {special.multiple} times its size"
    assert max(map(len, said), default=0) < 10_000, f"what is wrong, in {max(map(len, said))} characters"


def exhaust(*, short: bool) -> int:
    """Run each file through both engines in processes of their own; return the number of faults."""
    faults = 0
    say("  file                            engine    size    found    memory; seconds to load, list, check and save")
    with tempfile.TemporaryDirectory() as base:
        path = Path(base) / "sessions" / "x.json"
        path.parent.mkdir()
        for name, engine in product(list(SPECIALS)[: 6 if short else None], ENGINES):
            many = SPECIALS[name].multiple > 30  # small values, of which each takes its time
            SPECIALS[name].write(path, MEGABYTE // 2 if short else MEGABYTE * (20 if many else 100))
            seconds = 8 if short else 120
            command = [sys.executable, __file__, "--endure", name, engine, base, str(seconds)]
            try:
                done = subprocess.run(command, timeout=10 * seconds, capture_output=True, text=True, check=False)
                sys.stdout.write(done.stdout)
                wrong = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1] if done.returncode else ""
            except subprocess.TimeoutExpired as error:
                wrong = str(error)[-40:]
            if wrong:
                faults += 1
                say(f"FAULT: {name}, {engine}: {wrong}")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--write", nargs=2)
    parser.add_argument("--endure", nargs=4)
    arguments = parser.parse_args()
    if arguments.endure:
        endure(*arguments.endure)
        return 0
    if arguments.write:
        for number, special in enumerate(SPECIALS.values()):
            special.write(Path(arguments.write[0]) / f"special-{number}.json", int(arguments.write[1]))
        return 0
    if json_text._orjson is None:
        del ENGINES["orjson"]
    return exhaust(short=arguments.short)


if __name__ == "__main__":
    sys.exit(main())
