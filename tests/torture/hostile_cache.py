"""Hostile caches of summaries, for ``hostile.py``: a list is what it would be without, and the next cache is good.

Every truncation, bit flips, random bytes; rows that were changed, under a digest that is right; and what is no file in
the place of the cache or of its directory. Rows that are well made and belong to the files as they are count, whatever
they say: who can write there can write the sessions, too.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from mutations import flip, mutate

from oxios_state import Session, SessionSummary, StateStore, UserMessage
from oxios_state.model import timestamps
from oxios_state.sessions import index
from oxios_state.storage import revisions

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.(?:[0-9]{3}){1,3})?Z")
_TEXT = (str, type(None))
_TYPES = [(str,), (list,), (int,), (str,), _TEXT, _TEXT, _TEXT, (str,), (str,)]
_PLACES: dict[str, Callable[[Path, Path], object]] = {
    "nothing": lambda _path, _outside: None,
    "a directory": lambda path, _: path.mkdir(),
    "a directory with something in it": lambda path, _: (path / "x").mkdir(parents=True),
    "a FIFO": lambda path, _: os.mkfifo(path),
    "an empty file": lambda path, _: path.touch(),
    "a link in a circle": lambda path, _: path.symlink_to(path),
    "a link to nothing": lambda path, _: path.symlink_to("nothing"),
    "a link to what is outside": lambda path, outside: path.symlink_to(outside),
    "a link to what is not there, outside": lambda path, outside: path.symlink_to(outside / "new"),
}


class CacheTester:
    """A store, what its list is, and the cache that it wrote."""

    def __init__(self, base: Path) -> None:
        self.base = base
        store = StateStore(base, durable=False)
        for number in range(5):
            message = UserMessage(f"Question {number}, with a \u00fcber-long first line")
            store.save_session(Session("ada", f"s{number}", user_messages=[message] * number))
        self.cache = base / ".oxios_state/cache/summaries.json"
        self.truth = {f"{summary.id}.json": summary for summary in store.list_sessions()}
        self.valid = self.cache.read_bytes()
        self.rows = json.loads(self.valid.partition(b"\n")[2])
        self.identities = {row[0]: row[1] for row in self.rows}
        self.counts: Counter[str] = Counter()

    def judge(self, raw: bytes) -> Iterator[str]:
        """Yield the problems of the list when the cache file contains *raw*."""
        self.cache.write_bytes(raw)
        wanted = dict(self.truth)
        rows = rows_of(raw)
        for name, identity, count, user, seed, project, title, created, updated in rows or []:
            if self.identities.get(name) == identity:
                times = timestamps.parse(created), timestamps.parse(updated)
                wanted[name] = SessionSummary(name[:-5], user, count, seed, project, title, *times)
        self.counts["ignored" if rows is None else "believed"] += 1
        store = StateStore(self.base)
        for turn in ("first", "second"):
            found = store.list_sessions()
            if {f"{summary.id}.json": summary for summary in found} != wanted or len(found) != len(wanted):
                yield f"the {turn} list is another: {found}"
            if found != sorted(sorted(found, key=lambda x: x.id), key=lambda x: x.updated_at, reverse=True):
                yield f"the {turn} list is out of order"
        if rows is None and self.cache.read_bytes() != self.valid:
            yield "the cache was not written anew"
        if [path.name for path in self.cache.parent.iterdir()] != ["summaries.json"]:
            yield "something is left"

    def judge_place(self, path: Path, make: Callable[[Path, Path], object], outside: Path) -> Iterator[str]:
        """Yield the problems of the list when something else is in place of the cache file or its directory."""
        before = sorted(outside.rglob("*"))
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        make(path, outside)
        if StateStore(self.base).list_sessions() != StateStore(self.base).list_sessions() or not self.is_listed():
            yield "the list is another"
        if sorted(outside.rglob("*")) != before:
            yield "something was written outside"
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path)
        if not self.is_listed() or self.cache.read_bytes() != self.valid:
            yield "the cache does not come back"

    def is_listed(self) -> bool:
        return {f"{summary.id}.json": summary for summary in StateStore(self.base).list_sessions()} == self.truth


def signed(body: bytes) -> bytes:
    return index._FORMAT % index._digest(body) + body


def rows_of(raw: bytes) -> list[Any] | None:
    """Read the rows by other means than the library does; None if there is anything wrong with any of them."""
    header, _, body = raw.partition(b"\n")
    if header + b"\n" + body != signed(body):
        return None
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(rows, list):
        return [] if rows in ("", {}) else None
    return rows if all(map(is_row, rows)) else None


def is_row(row: Any) -> bool:
    if not isinstance(row, list) or len(row) != len(_TYPES):
        return False
    if not all(type(value) in types for value, types in zip(row, _TYPES, strict=True)):
        return False
    return len(row[1]) == 5 and all(type(part) is int for part in row[1]) and row[2] >= 0 and all(map(is_time, row[7:]))


def is_time(text: str) -> bool:
    try:
        return _TIME.fullmatch(text) is not None and datetime.fromisoformat(text) is not None
    except ValueError:
        return False


def hostile_caches(tester: CacheTester, rng: random.Random, seconds: float) -> Iterator[bytes]:
    valid, body = tester.valid, tester.valid.partition(b"\n")[2]
    short = seconds < 10
    yield from (valid[:length] for length in range(0, len(valid), 7 if short else 1))
    yield from (flip(valid, bit) for bit in range(0, 8 * len(valid), 31 if short else 1))
    yield from (signed(body[:length]) for length in range(0, len(body), 7 if short else 1))
    for text in (
        "null",
        "0",
        '""',
        "{}",
        "[]",
        "[[]]",
        "[{}]",
        '["123456789"]',
        "[" * 10**5,
        '{"a":' * 10**5,
        "9" * 10**4,
    ):
        yield signed(text.encode())
    values = [None, True, -1, 0, 1.5, 2**70, "", "x", "\ud800", [], [1, 2, 3, 4, [5]], [0] * 5, {}, {"a": 1}, "s9.json"]
    values += ["2026-03-01T08:00:00", "2026-03-01T24:00:00Z", "0000-01-01T00:00:00Z", "2026-03-01T08:00:00.123456789Z"]
    values += [
        [True, *tester.rows[0][1][1:]],
        tester.rows[0][1][:-1],
        [*tester.rows[0][1], 0],
        "\u0662026-03-01T08:00:00Z",
    ]
    for column in range(len(_TYPES)):
        for value in values:
            rows = json.loads(body)
            rows[rng.randrange(len(rows))][column] = value
            yield signed(json.dumps(rows).encode())
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield rng.randbytes(rng.randrange(300))
        yield signed(rng.randbytes(rng.randrange(100)))
        yield from (signed(mutate(body, body, rng)) for _ in range(20))


def damage_caches(
    rng: random.Random, seconds: float
) -> Iterator[tuple[CacheTester, bytes, Callable[[], Iterator[str]]]]:
    """Yield each hostile cache with a function that judges it."""
    ticks = revisions._TICK, revisions._COARSE_TICK
    revisions._TICK = revisions._COARSE_TICK = -(2**62)  # new files go into the cache at once
    try:
        with tempfile.TemporaryDirectory() as directory:
            outside = Path(directory, "outside")
            outside.mkdir()
            tester = CacheTester(Path(directory, "state"))
            for path in (tester.cache, tester.cache.parent):
                for what, make in _PLACES.items():
                    place = f"{path.name}: {what}".encode()
                    yield tester, place, partial(tester.judge_place, path, make, outside)
            for raw in hostile_caches(tester, rng, seconds):
                yield tester, raw, partial(tester.judge, raw)
    finally:
        revisions._TICK, revisions._COARSE_TICK = ticks
