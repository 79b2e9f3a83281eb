"""Crowds: many threads and processes on one session and on many. Nothing lost, nobody starved, nobody stuck.

    python tests/torture/crowds.py [--seconds N]     how long each crowd goes on; 8 by default

Prints a line for each crowd; the exit status is 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gil

from oxios_state import LockTimeoutError, StateStore

CROWDS = [(1, 1), (1, 8), (1, 64), (8, 1), (8, 8)]  # processes, and threads in each
SLACK = 0.5  # seconds that a time-out may be late, on a machine that is busy with the crowd


def work(base: str, process: int, threads: int, seconds: float, *, shared: bool) -> None:
    """Edit a session from each thread until the time is up; print what was done, and how long each edit took."""
    store = StateStore(base, durable=False, lock_timeout=120)
    done: list[list[float]] = [[] for _ in range(threads)]
    store.load_session("none")  # imports everything before the time runs
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + seconds

    def edit(thread: int) -> None:
        session_id = "shared" if shared else f"own-{process}-{thread}"
        store.get_or_create_session("crowd", session_id)
        while (start := time.monotonic()) < end:
            with store.edit_session(session_id) as session:
                session.set_metadata("count", session.get_metadata("count", 0) + 1)
            done[thread].append(time.monotonic() - start)

    crowd = [threading.Thread(target=edit, args=[thread]) for thread in range(threads)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    gil.state()  # at the end: whatever was imported in the meantime
    print(json.dumps(done), flush=True)


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start this script as another process, and wait until it is ready."""
    command = [sys.executable, __file__, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def crowd(processes: int, threads: int, seconds: float, *, shared: bool) -> str:
    """Run a crowd of editors, and print how it went."""
    with tempfile.TemporaryDirectory() as base:
        workers = [start("--work", base, n, threads, seconds, int(shared)) for n in range(processes)]
        for worker in workers:
            assert worker.stdin is not None
            print("go", file=worker.stdin, flush=True)
        times: list[list[float]] = [edits for worker in workers for edits in json.loads(worker.communicate()[0])]
        store = StateStore(base)
        counted = sum(
            session.get_metadata("count", 0)
            for summary in store.list_sessions()
            if (session := store.load_session(summary.id)) is not None
        )
        problems = store.check()
    edits = [seconds for each in times for seconds in each]
    fair = seconds * len(times) / len(edits)  # the time of one edit if all get the same share
    least = min(len(each) for each in times)
    verdict = "ok" if counted == len(edits) and not problems else "BROKEN"
    return (
        f"{verdict:6} {processes} x {threads:2} on {'one ' if shared else 'many'}: {len(edits):6} edits, "
        f"{len(edits) - counted} lost, {len(edits) / seconds:6.0f}/s; an edit: {statistics.median(edits) * 1e3:7.1f} "
        f"ms (median), {max(edits) * 1e3:7.1f} ms (longest, {max(edits) / fair:4.1f} fair shares); "
        f"the least busy of {len(times)} made {least}"
    )


def take_turns(base: str, process: int, processes: int, seconds: float) -> None:
    """Edit the one session whenever it is this process's turn; print how often, and what was seen that was not so."""
    store = StateStore(base, durable=False)
    made, wrong = 0, []
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        session = store.load_session("ball")
        assert session is not None
        count = len(session.user_messages)
        if count % processes != process:
            time.sleep(0.0002)
            continue
        # Nobody else changes it now.
        listed = [summary.message_count for summary in store.list_sessions()]
        if listed != [count]:
            wrong.append(f"{listed} listed, {count} loaded")
        if made % 2:
            session.add_user_message(f"{process}")
            store.update_session(session)
        else:
            with store.edit_session("ball") as session:
                session.add_user_message(f"{process}")
        made += 1
    print(json.dumps([made, wrong]), flush=True)


def turns(processes: int, seconds: float) -> str:
    """Change one session from several processes by turns, each with its own cache of it."""
    with tempfile.TemporaryDirectory() as base:
        StateStore(base).get_or_create_session("crowd", "ball")
        workers = [start("--turns", base, n, processes, seconds) for n in range(processes)]
        for worker in workers:
            assert worker.stdin is not None
            print("go", file=worker.stdin, flush=True)
        seen = [json.loads(worker.communicate()[0]) for worker in workers]
        session = StateStore(base).load_session("ball")
        assert session is not None
        authors = [int(message.content) for message in session.user_messages]
    made, wrong = sum(each for each, _ in seen), [line for _, lines in seen for line in lines]
    in_turn = authors == [number % processes for number in range(made)]
    verdict = "ok" if made and in_turn and not wrong else f"BROKEN {wrong[:3]}"
    return f"{verdict:6} {processes} processes change one session by turns: {made} turns, {made - len(authors)} lost"


def timeouts() -> str:
    """Wait in vain, in a thread and in another process, and see how late the error comes."""
    late = []
    with tempfile.TemporaryDirectory() as base:
        store = StateStore(base)
        with store.lock("sessions"):
            for timeout in (0.0, 0.1, 0.5):
                late += [wait(base, timeout) - timeout for wait in (wait_in_thread, wait_in_process)]
    verdict = "ok" if min(late) >= 0 and max(late) < SLACK else "BROKEN"
    return f"{verdict:6} time-outs of 0, 0.1 and 0.5 s: at most {max(late) * 1e3:.1f} ms late"


def wait_in_thread(base: str, timeout: float) -> float:
    """Wait for a lock that this process has, and give the seconds until the error."""
    result: list[float] = []
    thread = threading.Thread(target=lambda: result.append(wait_for_lock(base, timeout)))
    thread.start()
    thread.join()
    return result[0]


def wait_in_process(base: str, timeout: float) -> float:
    """Wait in another process for a lock that this one has, and give the seconds until the error."""
    waiter = start("--wait", base, timeout)
    return float(waiter.communicate("go\n")[0])


def wait_for_lock(base: str, timeout: float) -> float:
    """Wait for a lock that is held, and give the seconds until the error."""
    begin = time.monotonic()
    try:
        with StateStore(base, lock_timeout=timeout).lock("sessions"):
            return -1.0
    except LockTimeoutError:
        return time.monotonic() - begin


def killed_holders(times: int) -> str:
    """Kill a process that holds the lock, and see how soon another has it."""
    waits = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as base, start("--hold", base) as holder:
            holder.send_signal(signal.SIGKILL)
            begin = time.monotonic()
            with StateStore(base, lock_timeout=10).lock("sessions"):
                waits.append(time.monotonic() - begin)
    verdict = "ok" if max(waits) < SLACK else "BROKEN"
    return f"{verdict:6} {times} killed holders: the lock was had after at most {max(waits) * 1e3:.1f} ms"


def forks(times: int) -> str:
    """Fork while other threads edit, and edit in the child too."""
    with tempfile.TemporaryDirectory() as base:
        done = subprocess.run([sys.executable, __file__, "--fork", base, str(times)], timeout=300, check=False)
        session = StateStore(base).load_session("shared")
    counted = session.get_metadata("count") if session else 0
    verdict = "ok" if done.returncode == 0 and counted == times else "BROKEN"
    return f"{verdict:6} {times} forks while other threads hold the lock: {counted} edits by the children"


def fork_while_held(base: str, times: int) -> None:
    """Fork again and again while threads take and give back the lock; each child edits once."""
    store = StateStore(base, durable=False, lock_timeout=60)
    store.get_or_create_session("crowd", "shared")
    stop = threading.Event()

    def hold() -> None:
        while not stop.is_set():
            with store.lock("sessions"):
                time.sleep(0.001)

    holders = [threading.Thread(target=hold) for _ in range(4)]
    for holder in holders:
        holder.start()
    failed = 0
    for _ in range(times):
        child = os.fork()
        if child == 0:
            with store.edit_session("shared") as session:
                session.set_metadata("count", session.get_metadata("count", 0) + 1)
            os._exit(0)
        failed += os.waitpid(child, 0)[1] != 0
    stop.set()
    for holder in holders:
        holder.join()
    sys.exit(failed)


def main() -> None:
    """Run all crowds, or be one of the processes of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    for role in ("--work", "--turns", "--wait", "--hold", "--fork"):
        parser.add_argument(role, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        base, process, threads, seconds, shared = options.work
        work(base, int(process), int(threads), float(seconds), shared=bool(int(shared)))
    elif options.turns:
        base, process, processes, seconds = options.turns
        take_turns(base, int(process), int(processes), float(seconds))
    elif options.wait:
        print("ready", flush=True)
        sys.stdin.readline()
        print(wait_for_lock(options.wait[0], float(options.wait[1])))
    elif options.hold:
        with StateStore(Path(options.hold[0])).lock("sessions"):
            print("ready", flush=True)
            sys.stdin.readline()
    elif options.fork:
        fork_while_held(options.fork[0], int(options.fork[1]))
    else:
        report(options)


def report(options: Any) -> None:
    """Print a line for each crowd."""
    lines = []
    for shared in (True, False):
        for processes, threads in CROWDS:
            lines.append(crowd(processes, threads, options.seconds, shared=shared))
            print(lines[-1], flush=True)
    others: list[Callable[[], str]] = [lambda: turns(2, options.seconds), lambda: turns(4, options.seconds), timeouts]
    others += [lambda: killed_holders(20), lambda: forks(50)]
    for other in others:
        lines.append(other())
        print(lines[-1], flush=True)
    broken = sum(line.startswith("BROKEN") for line in lines)
    print(f"crowds: {len(lines) - broken} kept, {broken} broken; {gil.state()}")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
