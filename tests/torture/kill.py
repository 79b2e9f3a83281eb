"""Kills: writers in several processes die by SIGKILL at random moments, while others carry on.

    python tests/torture/kill.py [--seconds N]     how long; 60 by default

Each message is unique, and one appending write to a log acknowledges it once the call that saved it has returned. Every
acknowledged message must be there exactly once, and one in flight at the kill at most once; no reader sees a torn or
missing session, or one that lost a message; no lock stays held; no temporary file outlives the next prune.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path

import gil

from oxios_state import PruneConfig, Session, SessionConflictError, StateStore

SESSIONS = [f"s{number}" for number in range(24)]
DOCUMENTS = "counters"
WRITERS = 4  # processes, every other one durable
THREADS = 4  # in each
READERS = 2  # threads
LOCK_TIMEOUT = 10.0  # seconds: a lock that stays held shows as a timeout
PRUNE_EVERY = 2.0  # seconds
NOTHING = PruneConfig(max_sessions=0, ttl_hours=0)  # removes temporary files only
FORK = multiprocessing.get_context("fork")


class Logs:
    """Lines that survive their writer's death: each is one write to a file that is open for appending."""

    def __init__(self, directory: Path) -> None:
        self.stop = directory / "stop"
        self._acknowledged = directory / "acknowledged"
        self._wrong = directory / "wrong"
        self._reads = directory / "reads"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._descriptors = {path: os.open(path, flags) for path in (self._acknowledged, self._wrong, self._reads)}

    def _append(self, path: Path, line: str) -> None:
        os.write(self._descriptors[path], f"{line}\n".encode())

    def acknowledge(self, place: str, message: str, wait: float) -> None:
        self._append(self._acknowledged, f"{place} {message} {wait:.6f}")

    def complain(self, what: str) -> None:
        self._append(self._wrong, what.replace("\n", " "))

    def count_read(self, what: str, times: int) -> None:
        self._append(self._reads, f"{what} {times}")

    def acknowledged(self) -> list[tuple[str, str, float]]:
        lines = (line.split() for line in self._acknowledged.read_text().splitlines())
        return [(place, message, float(wait)) for place, message, wait in lines]

    def complaints(self) -> list[str]:
        return self._wrong.read_text().splitlines()

    def reads(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for line in self._reads.read_text().splitlines():
            what, times = line.split()
            total[what] += int(times)
        return total


# Writers


def write(base: Path, logs: Logs, writer: int) -> None:
    """Save messages from some threads until this process is killed."""
    store = StateStore(base, durable=bool(writer % 2), lock_timeout=LOCK_TIMEOUT)

    def work(thread: int) -> None:
        chance = random.Random(f"{writer} {thread}")
        try:
            for number in count(1):
                save = chance.choice([edit, edit, update, overwrite, cache])
                save(store, logs, f"w{writer}t{thread}", number, chance.choice(SESSIONS))
        except Exception as error:  # noqa: BLE001  any error breaks a promise
            logs.complain(f"writer: {type(error).__name__}: {error}")

    in_threads([partial(work, thread) for thread in range(THREADS)])


def edit(store: StateStore, logs: Logs, author: str, number: int, session_id: str) -> None:
    start = time.monotonic()
    with store.edit_session(session_id) as session:
        wait = time.monotonic() - start
        session.add_user_message(f"{author}:{number}")
    logs.acknowledge(session_id, f"{author}:{number}", wait)


def update(store: StateStore, logs: Logs, author: str, number: int, session_id: str) -> None:
    start = time.monotonic()
    while True:
        session = store.load_session(session_id)
        if session is None:
            logs.complain(f"writer: {session_id} is missing")
            return
        session.add_user_message(f"{author}:{number}")
        try:
            store.update_session(session)
        except SessionConflictError:
            if time.monotonic() - start > LOCK_TIMEOUT:
                return  # the message is given up, and was never acknowledged
            continue
        logs.acknowledge(session_id, f"{author}:{number}", 0)
        return


def overwrite(store: StateStore, logs: Logs, author: str, number: int, _: str) -> None:
    """Save the last number in a document that no other thread writes."""
    store.save_json(DOCUMENTS, author, {"last": number, "padding": author * 500})
    logs.acknowledge(f"{DOCUMENTS}/{author}", str(number), 0)


def cache(store: StateStore, logs: Logs, _author: str, _number: int, _session_id: str) -> None:
    """List as a new process does, which reads and writes the cache of summaries."""
    if {summary.id for summary in StateStore(store.base_path).list_sessions()} != set(SESSIONS):
        logs.complain("writer: not all are listed")


def in_threads(tasks: list[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(tasks)) as pool:
        for task in tasks:
            pool.submit(task)


# Readers


class _Complaining(logging.Handler):
    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        self._logs.complain(f"reader: {record.getMessage()}")


def read(base: Path, logs: Logs) -> None:
    """Load and list until the end of the test."""
    store = StateStore(base)
    logging.getLogger("oxios_state").addHandler(_Complaining(logs))

    def work(task: Callable[[StateStore, Logs], None]) -> None:
        try:
            task(store, logs)
        except Exception as error:  # noqa: BLE001  as above
            logs.complain(f"reader: {type(error).__name__}: {error}")

    in_threads([partial(work, task) for task in [load, list_all] * READERS])
    gil.state()


def load(store: StateStore, logs: Logs) -> None:
    previous: dict[str, list[str]] = {session_id: [] for session_id in SESSIONS}
    loads = 0
    while not logs.stop.exists():
        for session_id in SESSIONS:
            loads += 1
            session = store.load_session(session_id)
            loaded = messages(session) if session else []
            if session is None or loaded[: len(previous[session_id])] != previous[session_id]:
                logs.complain(f"reader: {session_id} is {'not as it was, and longer' if session else 'missing'}")
            previous[session_id] = loaded
    logs.count_read("sessions", loads)


def list_all(store: StateStore, logs: Logs) -> None:
    lists = 0
    previous = dict.fromkeys(SESSIONS, 0)
    while not logs.stop.exists():
        lists += 1
        listed = {summary.id: summary.message_count for summary in store.list_sessions()}
        if listed.keys() != previous.keys() or any(listed[key] < previous[key] for key in previous):
            logs.complain(f"reader: the list has {listed} after {previous}")
        previous = listed
    logs.count_read("lists", lists)


def messages(session: Session) -> list[str]:
    return [message.content for message in session.user_messages]


# Killing


def kill(base: Path, logs: Logs, seconds: float) -> tuple[int, int, float]:
    """Kill and replace writers, and prune; return the numbers of kills and temporaries swept, and the longest prune."""
    store = StateStore(base, durable=False, lock_timeout=LOCK_TIMEOUT)
    number = 0
    writers: list[BaseProcess] = []
    kills = swept = 0
    longest = 0.0
    end = time.monotonic() + seconds
    pruned = time.monotonic()
    while time.monotonic() < end:
        while len(writers) < WRITERS:
            writers.append(FORK.Process(target=write, args=(base, logs, number)))
            writers[-1].start()
            number += 1
        time.sleep(random.expovariate(15))
        kills += end_one(writers.pop(random.randrange(WRITERS)))
        if time.monotonic() - pruned > PRUNE_EVERY:
            start, dead = time.monotonic(), killed(base)  # no writer dies during this prune
            store.prune(NOTHING)
            pruned = time.monotonic()
            longest = max(longest, pruned - start)
            swept += len(dead)
            if outlived := dead & temporaries(base):
                logs.complain(f"outlived a prune: {sorted(map(str, outlived))}")
    return kills + sum(map(end_one, writers)), swept, longest


def end_one(writer: BaseProcess) -> int:
    """Kill a writer, and return whether it was alive."""
    assert writer.pid is not None
    lived = writer.is_alive()
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    return lived


def temporaries(base: Path) -> set[Path]:
    return set(base.rglob("*.tmp"))


def killed(base: Path) -> set[Path]:
    """Return the temporary files of dead writers: unlocked, and too old to be about to be locked."""
    time.sleep(0.05)
    young = time.time() - 0.05
    dead = set()
    for path in temporaries(base):
        with suppress(FileNotFoundError), open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if os.fstat(file.fileno()).st_ctime < young:
                dead.add(path)
    return dead


# Checks at the end


def verify(base: Path, logs: Logs, kills: int) -> tuple[int, int]:
    """Check all documents; return the number of messages, and of those in flight at a kill."""
    store = StateStore(base, durable=False, lock_timeout=1)
    acknowledged: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for place, message, _ in logs.acknowledged():
        acknowledged[place][message] += 1
    total = in_flight = 0
    for session_id in SESSIONS:
        session = store.load_session(session_id)
        stored = Counter(messages(session) if session else [])
        total += stored.total()
        in_flight += len(stored.keys() - acknowledged[session_id].keys())
        if lost := acknowledged[session_id].keys() - stored.keys():
            logs.complain(f"{len(lost)} acknowledged messages are lost in {session_id}: {sorted(lost)[:5]}")
        if twice := [message for message, times in stored.items() if times > 1]:
            logs.complain(f"{len(twice)} messages are there more than once in {session_id}: {twice[:5]}")
    for place in [place for place in acknowledged if place.startswith(DOCUMENTS)]:
        document = store.load_json(DOCUMENTS, place.partition("/")[2])
        if not document or document["last"] < max(map(int, acknowledged[place])):
            logs.complain(f"an acknowledged save is lost: {place}")
    if in_flight > kills * THREADS:
        logs.complain(f"{in_flight} messages are there without an acknowledgement, after {kills} kills")
    for category in ("sessions", DOCUMENTS):
        with store.lock(category):  # a lock still held would time out
            pass
    for problem in store.check():
        logs.complain(f"check: {problem}")
    return total, in_flight


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long; 60 by default")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as directory:
        base, logs = Path(directory, "state"), Logs(Path(directory))
        store = StateStore(base, durable=False)
        for session_id in SESSIONS:
            store.save_session(Session("ada", session_id))
        reader = FORK.Process(target=read, args=(base, logs))
        reader.start()
        kills, swept, longest = kill(base, logs, seconds)
        logs.stop.touch()
        reader.join(LOCK_TIMEOUT)
        if reader.exitcode != 0:
            logs.complain(f"the reader ended with {reader.exitcode}")
        left = len(temporaries(base))
        store.prune(NOTHING)
        if outlived := temporaries(base):
            logs.complain(f"outlived the last prune: {sorted(map(str, outlived))}")
        total, in_flight = verify(base, logs, kills)
        saved, reads = logs.acknowledged(), logs.reads()
        sessions = sum(not place.startswith(DOCUMENTS) for place, _, _ in saved)
        print(gil.state())
        print(f"{kills} kills in {seconds:g} s of {WRITERS} processes with {THREADS} threads each, every other durable")
        print(f"{sessions} messages and {len(saved) - sessions} documents acknowledged; {total} messages are there,")
        print(f"  {in_flight} of them in flight when their writer was killed")
        print(f"{reads['sessions']} sessions and {reads['lists']} lists read, {READERS} threads each")
        print(f"longest wait for a lock {max((wait for _, _, wait in saved), default=0) * 1e3:.0f} ms")
        print(f"temporary files: {swept} swept by prunes meanwhile (the longest took {longest * 1e3:.0f} ms),")
        print(f"  {left} left at the end, {len(outlived)} after the last prune")
        complaints = logs.complaints()
        print(*(f"FAILED: {complaint}" for complaint in complaints[:20]), f"{len(complaints)} failures", sep="\n")
        return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
