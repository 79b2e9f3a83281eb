"""Hostile files, with both JSON engines: ``python tests/torture/hostile.py [--short] [--seed N]``.

Every truncation and every bit flip of the kernel's files, mutations that coverage guides, and what ``exhausting.py``
makes, which it runs too. Each is either refused with CorruptStateError or loads, saves and loads as what it says; both
engines give the same value or the same words; and no file keeps the store from the others. At last what
``hostile_cache.py`` makes of the cache of summaries.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from hostile_cache import damage_caches
from mutations import KNOWN, TOKENS, flip, mutate

import oxios_state
from oxios_state import CorruptStateError, PruneConfig, Session, StateStore, UnsupportedValueError
from oxios_state.codec import documents as codec
from oxios_state.codec import incremental, json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXHAUSTING = Path(__file__).with_name("exhausting.py")
KERNEL = Path(__file__).parents[1] / "data" / "kernel"
INSTALLED = json_text._orjson
ENGINES: dict[str, Any] = {"json": None, "orjson": INSTALLED}
faults: list[str] = []
counts: Counter[str] = Counter()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def fault(text: str) -> None:
    faults.append(text)
    say(f"FAULT: {text:.400}")


class HangError(BaseException):
    """Not an Exception, for nothing in the library to take it for one."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise HangError

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


# One file's bytes, judged.


def number(literal: str) -> int | float:
    exact = len(literal) < 30 and -(2**63) <= int(literal) < 2**64
    return int(literal) if exact else float(literal)


def moment(text: str) -> str:
    """Return a timestamp in UTC with nine digits."""
    fraction = re.search(r"\.(\d+)", text)
    whole = datetime.fromisoformat(re.sub(r"\.\d+", "", text).upper()).astimezone(UTC)
    return f"{whole.isoformat()}.{(fraction[1] if fraction else '')[:9]:0<9}"


def normalise(value: dict[str, Any], *moments: str, **defaults: Any) -> None:
    """Add absent optional keys, put the known keys first in one order, and bring timestamps into one form."""
    for key in moments:
        value[key] = moment(value[key])
    known = {key: value.pop(key, defaults.get(key)) for key in sorted((value.keys() & KNOWN) | defaults.keys())}
    unknown = dict(value)
    value.clear()
    value.update(known | unknown)


def meaning(raw: bytes, *, session: bool) -> str:
    """Return the meaning of a document, which loading and saving must not change, by the standard library alone."""
    document = json.loads(raw, parse_int=number)
    if session:
        normalise(document, "created_at", "updated_at", **json.loads(ABSENT))
        for record in [*document["user_messages"], *document["trajectory_steps"]]:
            normalise(record, "timestamp")
        for record in document["agent_responses"]:
            normalise(record, "timestamp", session_id=None, phase_reached=None, evaluation_passed=None)
    return json.dumps(document)


ABSENT = """{"user_messages": [], "agent_responses": [], "trajectory_steps": [], "metadata": {}, "active_seed_id": null,
    "active_persona_id": null}"""


def _encode_session(session: Session, path: Path) -> bytes:
    return bytes(incremental.encode(session, path))


def outcome(raw: bytes, path: Path, *, session: bool) -> tuple[str, object]:
    """Load, save and load again; and ask the check."""
    load: Callable[[bytes, Path], Any] = codec.decode_session if session else json_text.decode
    save: Callable[[Any, Path], bytes] = _encode_session if session else codec.encode_json
    if markdown := path.suffix == ".md":
        load, save = json_text.decode_text, json_text.encode_text
    try:
        value = load(raw, path)
    except CorruptStateError as error:
        return "refused", str(error)
    saved = save(value, path)
    again = load(saved, path)
    assert again == value, "loaded again, it is another"
    assert save(again, path) == saved, "saved again, it is another"
    if markdown:
        assert saved == raw, "saved, it is another"
        return "read", saved
    assert meaning(saved, session=session) == meaning(raw, session=session), "saved, it says something else"
    try:
        json_text.check_for_kernel(raw, path)
    except UnsupportedValueError as error:
        return "unsafe", (saved, str(error))
    return "read", saved


def judge(raw: bytes, path: Path, *, session: bool = True) -> None:
    """Count what both engines find: refused, unsafe or read."""
    outcomes = {}
    for name, engine in ENGINES.items():
        json_text._orjson = engine  # as if it were installed, or not
        try:
            with deadline(10):
                outcomes[name] = outcome(raw, path, session=session)
        except (Exception, HangError) as error:  # noqa: BLE001  # whatever it is, it is a fault
            fault(f"{name}: {path.name}: {type(error).__name__}: {error}: {raw[:300]!r}")
            outcomes[name] = "fault", None
    json_text._orjson = INSTALLED
    if len(set(outcomes.values())) > 1 and ("fault", None) not in outcomes.values():
        fault(f"the engines differ: {outcomes}: {raw[:300]!r}")
    counts[outcomes["json"][0]] += 1


SESSION = '{"id":"x","user_id":"u","created_at":"%s","updated_at":"2026-03-01T08:00:00Z","metadata":{"v":%s}%s}'
MOMENT = "2026-03-01T08:00:00Z"
STEP = (
    ',"trajectory_steps":[{"tool_name":"","tool_args":null,"output_summary":"","duration_ms":%s,"is_error":%s,'
    f'"tool_call_id":"","timestamp":"{MOMENT}"}}]'
)
EDGES = [
    *(SESSION % (MOMENT, "[" * depth + "]" * depth, "") for depth in (125, 126, 1022, 1023, 10_000)),
    *(SESSION % (f"2026-03-01T08:00:00.{'123456789012'[:digits]}+05:30", 0, "") for digits in range(1, 13)),
    *(SESSION % (text, 0, "") for text in ("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", MOMENT.lower())),
    *(SESSION % (MOMENT, 0, STEP % pair) for pair in [(0, "true"), (2**64, "true"), ("true", "true"), ("0.0", 0)]),
    *(SESSION % (MOMENT, f'"\\u{unit:04x}"', "") for unit in range(0, 0x10000, 16)),
]


def cut_and_flip(rng: random.Random, flips: float) -> None:
    for text in EDGES:
        judge(text.encode(), Path("x.json"))
    for path in sorted(path for path in KERNEL.rglob("*.*") if path.is_file()):
        raw = path.read_bytes()
        session = path.parent.name == "sessions"
        before = counts.copy()
        for length in range(len(raw)):
            judge(raw[:length], path, session=session)
        if session and counts["refused"] - before["refused"] != len(raw):
            fault(f"a truncation of {path.name} was read")
        for bit in range(8 * len(raw)):
            if rng.random() < flips:
                judge(flip(raw, bit), path, session=session)


# Mutations that coverage guides.


def fuzz(rng: random.Random, seconds: float) -> None:
    """Mutate, and keep what runs a line of the library, or of the code that cattrs makes, that nothing ran before."""
    corpus = [path.read_bytes() for path in sorted((KERNEL / "sessions").glob("*.json"))]
    package = os.path.dirname(oxios_state.__file__)
    seen: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
        return trace if frame.f_code.co_filename.startswith((package, "<cattrs")) else None

    started, runs = time.monotonic(), 0
    while time.monotonic() - started < seconds:
        raw = mutate(rng.choice(corpus), rng.choice(corpus), rng)
        before = len(seen)
        sys.settrace(trace)
        try:
            judge(raw, Path("fuzzed.json"), session=runs % 8 > 0)
        finally:
            sys.settrace(None)
        if len(seen) > before:
            corpus.append(raw)
        runs += 1
    say(f"  {runs} mutations, {len(corpus)} kept for the {len(seen)} lines that they reach")


# A store full of such files.


def make_exhausting(directory: Path, size: int) -> None:
    subprocess.run([sys.executable, str(EXHAUSTING), "--write", str(directory), str(size)], check=True)


def exhaust(*, short: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        make_exhausting(Path(directory), 20_000)
        for path in sorted(Path(directory).iterdir()):
            judge(path.read_bytes(), path)
    code = subprocess.run([sys.executable, str(EXHAUSTING), *["--short"] * short], check=False).returncode
    if code:
        fault(f"exhausting.py: {code}")


def crowd(rng: random.Random) -> None:
    """Check that good sessions are listed and pruned beside hostile files and special files of all kinds."""
    raw = (KERNEL / "sessions" / "typical.json").read_bytes()
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        store = StateStore(base, durable=False)
        good = {f"good-{number}" for number in range(20)}
        for name in good:
            store.save_session(Session("user", name))
        bad = [base / "sessions" / f"bad-{number}.json" for number in range(500)]
        for path in bad:
            path.write_bytes(raw[: rng.randrange(len(raw))] + rng.choice(TOKENS))
        make_exhausting(base / "sessions", 1000)  # with the id x, which is the name of none
        bad += (base / "sessions").glob("special-*")
        kinds: list[Callable[[Path], object]] = [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path)]
        for number, make in enumerate(kinds):
            bad.append(base / "sessions" / f"kind-{number}.json")
            make(bad[-1])
        logging.getLogger("oxios_state").addHandler(handler := logging.Handler())
        reported: list[str] = []
        handler.emit = lambda record: reported.append(record.getMessage())  # type: ignore[method-assign]
        with deadline(60):
            summaries = {summary.id for summary in store.list_sessions()}
            problems = {problem.path for problem in store.check()}
            removed = {summary.id for summary in store.prune(PruneConfig(max_sessions=1, ttl_hours=0))}
        logging.getLogger("oxios_state").removeHandler(handler)
        unreported = [path for path in bad if not any(str(path) in line for line in reported)]
        if summaries != good or len(removed) != len(good) - 1 or not removed < good or unreported:
            fault(f"of {len(good)} good sessions {len(summaries)} listed, {len(removed)} pruned; silent: {unreported}")
        if problems != set(bad) or not all(map(os.path.lexists, bad)):
            fault(f"not found: {set(bad) - problems}; found for nothing: {problems - set(bad)}; or removed")
        say(f"  {len(bad)} bad files beside {len(good)} good: {len(summaries)} listed, {len(removed)} pruned")


def spoil(rng: random.Random, seconds: float) -> None:
    """Try hostile caches of summaries."""
    for tester, raw, judge_cache in damage_caches(rng, seconds):
        try:
            with deadline(10):
                wrong = list(judge_cache())
        except (Exception, HangError) as error:  # noqa: BLE001  # whatever it is, it is a fault
            wrong = [f"{type(error).__name__}: {error}"]
        for problem in wrong:
            fault(f"cache: {problem:.200}: {raw[:300]!r}")
        counts.update(tester.counts)
        tester.counts.clear()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if INSTALLED is None:
        del ENGINES["orjson"]
    rng = random.Random(arguments.seed)
    short = arguments.short
    steps: dict[str, Callable[[], None]] = {
        "made to exhaust": lambda: exhaust(short=short),
        "cut and flipped": lambda: cut_and_flip(rng, 0.03 if short else 1),
        "mutated": lambda: fuzz(rng, 3 if short else 240),
        "caches of summaries": lambda: spoil(rng, 3 if short else 60),
        "in a crowd": lambda: crowd(rng),
    }
    for title, step in steps.items():
        say(f"{title}, seed {arguments.seed}")
        started = time.monotonic()
        counts.clear()
        step()
        say(f"  {dict(counts)}, {time.monotonic() - started:.1f} s")
    say(f"{len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
