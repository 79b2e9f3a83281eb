"""Two clients of the guest's own NFS server, who edit the same sessions, and readers who look on. See `network`."""

from __future__ import annotations

import errno
import json
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import booted

from oxios_state import SessionConflictError, StateError, StateStore
from oxios_state.storage import nfs, reads

SERVER = Path("/tmp/server")
MOUNTS = [Path("/tmp/one"), Path("/tmp/two")]
LEASE = 10  # seconds, instead of 90: a server waits as long before it gives the first lock
PAUSE = 0.02  # seconds between two looks: the guest has one processor, which the writers want
PER_SESSION = 100  # transactions, before all go on to the next
USER = "ada"

CONTEXT = multiprocessing.get_context("fork")


class Ledger:
    """The acknowledgements of the clients, shared by all processes."""

    def __init__(self, transactions: int) -> None:
        self.total: Synchronized[int] = CONTEXT.Value("i", 0)
        # When each transaction of each client was acknowledged, and in which session; 0 if it was not.
        # Each is written by one client, the time last.
        self.times = [CONTEXT.RawArray("d", transactions) for _ in MOUNTS]
        self.sessions = [CONTEXT.RawArray("i", transactions) for _ in MOUNTS]
        self.done = CONTEXT.Event()

    def acknowledge(self, client: int, number: int, session: int) -> None:
        self.sessions[client][number] = session
        self.times[client][number] = time.monotonic()
        with self.total.get_lock():
            self.total.value += 1

    def current(self) -> int:
        return int(self.total.value) // PER_SESSION

    def acknowledged(self, session: int) -> dict[str, float]:
        """Return the acknowledged messages of a session, each with its time."""
        return {
            f"{client} {number}": when
            for client, times in enumerate(self.times)
            for number, when in enumerate(times)
            if when and self.sessions[client][number] == session
        }


def serve() -> None:
    """Start the NFS server on the disk, whose file system is ext4."""
    for path in (SERVER, *MOUNTS):
        path.mkdir()
    booted.do("mkfs.ext4", "-q", "/dev/ubda")
    booted.do("mount", "/dev/ubda", str(SERVER))
    booted.do("mount", "-t", "tmpfs", "tmpfs", "/var/lib/nfs")
    for name in ("v4recovery", "sm", "sm.bak", "rpc_pipefs"):
        Path("/var/lib/nfs", name).mkdir()
    for name in ("etab", "rmtab"):
        Path("/var/lib/nfs", name).touch()
    for module in ("nfsd", "nfs", "veth"):
        booted.do("modprobe", module)
    booted.do("mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd")
    booted.do("ip", "link", "set", "lo", "up")
    booted.do("rpcbind")
    booted.do("rpc.statd", "--no-notify")
    booted.do("exportfs", "-o", "rw,sync,no_root_squash,insecure,no_subtree_check,fsid=0", f"*:{SERVER}")
    booted.do("rpc.nfsd", f"--grace-time={LEASE}", f"--lease-time={LEASE}", "8")
    booted.do("rpc.mountd")


def mount_twice(options: str, source: str) -> None:
    """Mount the server twice on this machine."""
    for path in MOUNTS:
        booted.do("mount", "-t", "nfs", "-o", f"{options},nosharecache", source, str(path))


def mount_on_two_machines(options: str) -> None:
    """Mount the server from two network namespaces with names of their own: two machines, as it sees them."""
    Path("/run/netns").mkdir()
    for number, path in enumerate(MOUNTS):
        name, server, client = f"m{number}", f"10.0.{number}.1", f"10.0.{number}.2"
        booted.do("ip", "netns", "add", name)
        booted.do("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        booted.do("ip", "address", "add", f"{server}/24", "dev", name)
        booted.do("ip", "link", "set", name, "up")
        booted.do("ip", "-n", name, "address", "add", f"{client}/24", "dev", "eth0")
        booted.do("ip", "-n", name, "link", "set", "eth0", "up")
        # Not by `ip netns exec`, which would mount it where nobody else sees it.
        mount = f"hostname {name} && mount -t nfs -o {options},clientaddr={client} {server}:/ {path}"
        booted.do("nsenter", f"--net=/run/netns/{name}", "unshare", "--uts", "sh", "-c", mount)


def mount_locally() -> None:
    """Put the disk itself in place of the mounts, to compare with."""
    for path in MOUNTS:
        booted.do("mount", "--bind", str(SERVER), str(path))


WAYS: dict[str, Callable[[], None]] = {
    "local": mount_locally,
    "v3": lambda: mount_twice("vers=3", f"127.0.0.1:{SERVER}"),
    "v4.2": lambda: mount_twice("vers=4.2", "127.0.0.1:/"),
    "v4.2-lookupcache-none": lambda: mount_twice("vers=4.2,lookupcache=none", "127.0.0.1:/"),
    "v4.2-two-machines": lambda: mount_on_two_machines("vers=4.2"),
}


def forget_the_network() -> None:
    """Take from the library what it does for network file systems: a plain file lock and a rename remain."""

    def nothing(*_: object) -> None:
        pass

    for module, name, value in [
        (nfs, "revalidate", nothing),
        (nfs, "catch_up", nothing),
        (nfs, "announce", nothing),
        (reads, "_TRIES", 1),
    ]:
        assert hasattr(module, name)
        setattr(module, name, value)


def write(client: int, ledger: Ledger, transactions: int, seed: str, results: Any) -> None:
    """Make transactions: edits, and updates that are tried again after a conflict."""
    store = StateStore(MOUNTS[client] / "state", lock_timeout=300)
    chance = random.Random(f"{seed} {client}")
    counts: Counter[str] = Counter()
    for number in range(transactions):
        current = ledger.current()
        try:
            store.get_or_create_session(USER, f"s{current}")
            if chance.random() < 0.5:
                with store.edit_session(f"s{current}") as session:
                    session.add_user_message(f"{client} {number}")
            else:
                counts["conflicts"] += update(store, f"s{current}", f"{client} {number}")
            ledger.acknowledge(client, number, current)
        except (StateError, OSError) as error:
            counts[told(error)] += 1
    results.put(("writer", dict(counts)))


def update(store: StateStore, session_id: str, message: str) -> int:
    """Add a message by load and update; give how many conflicts there were."""
    for conflicts in range(10_000):
        session = store.load_session(session_id)
        if session is None:
            raise FileNotFoundError(errno.ENOENT, "a session that was there is not found")
        session.add_user_message(message)
        try:
            store.update_session(session)
        except SessionConflictError:
            continue
        return conflicts
    raise AssertionError(f"{session_id} is always in conflict")


def read(client: int, ledger: Ledger, count: Callable[[Path, str], int], name: str, results: Any) -> None:
    """Count a session's messages without a lock, until the writers have done; say how old what was seen is."""
    counts: Counter[str] = Counter()
    oldest = 0.0
    last, before = -1, 0
    while not ledger.done.is_set():
        current = ledger.current()
        expected = sorted(ledger.acknowledged(current).values())
        began = time.monotonic()
        counts["looks"] += 1
        try:
            seen = count(MOUNTS[client] / "state", f"s{current}")
        except (StateError, OSError, ValueError) as error:
            counts[told(error)] += 1
            continue
        if seen < len(expected):
            counts["stale"] += 1
            oldest = max(oldest, began - expected[seen])
        if current == last and seen < before:
            counts["went back"] += 1
        last, before = current, seen
        time.sleep(PAUSE)
    results.put((name, {**counts, "oldest": round(oldest, 3)}))


def loading() -> Callable[[Path, str], int]:
    """Make a reader that loads, with one store for all looks, as a program does."""
    stores: dict[Path, StateStore] = {}

    def count(base: Path, session_id: str) -> int:
        session = stores.setdefault(base, StateStore(base)).load_session(session_id)
        return len(session.user_messages) if session else 0

    return count


def listing() -> Callable[[Path, str], int]:
    """Make a reader that lists."""
    stores: dict[Path, StateStore] = {}

    def count(base: Path, session_id: str) -> int:
        summaries = stores.setdefault(base, StateStore(base)).list_sessions()
        return next((summary.message_count for summary in summaries if summary.id == session_id), 0)

    return count


def opening(base: Path, session_id: str) -> int:
    """Read as any other program would."""
    try:
        content = json.loads((base / "sessions" / f"{session_id}.json").read_bytes())
    except FileNotFoundError:
        return 0
    return len(content["user_messages"])


def told(error: Exception) -> str:
    """Return an error's type and text, without the file's name."""
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or str(error)[:60]}"


def verify(ledger: Ledger) -> dict[str, Any]:
    """Compare what is on the server's disk with what was acknowledged."""
    store = StateStore(SERVER / "state")
    counts: Counter[str] = Counter()
    for current in range(ledger.current() + 1):
        session = store.load_session(f"s{current}")
        found = Counter(message.content for message in session.user_messages) if session else Counter()
        expected = ledger.acknowledged(current)
        counts["lost"] += sum(message not in found for message in expected)
        counts["doubled"] += sum(times > 1 for times in found.values())
    counts["problems"] = len(store.check())
    return dict(counts)


def main(arguments: list[str]) -> None:
    """Serve, mount, have the clients at it, and say what came of it."""
    way, transactions, seed, flaw = arguments
    Path("/dev/shm").mkdir()
    booted.do("mount", "-t", "tmpfs", "tmpfs", "/dev/shm")  # where multiprocessing shares memory
    serve()
    WAYS[way]()
    if flaw == "plain-locks":
        forget_the_network()
    each = int(transactions) // len(MOUNTS)
    ledger, results = Ledger(each), CONTEXT.SimpleQueue()
    StateStore(MOUNTS[0] / "state").get_or_create_session(USER, "s0")  # waits until the server gives locks
    booted.say("began")
    began = time.monotonic()
    writers = [CONTEXT.Process(target=write, args=(client, ledger, each, seed, results)) for client in (0, 1)]
    readers = [
        CONTEXT.Process(target=read, args=(1, ledger, count, name, results))
        for name, count in (("load", loading()), ("list", listing()), ("open", opening))
    ]
    for process in [*writers, *readers]:
        process.start()
    for process in writers:
        process.join()
    took = time.monotonic() - began
    ledger.done.set()
    for process in readers:
        process.join()
    if any(process.exitcode for process in (*writers, *readers)):
        raise SystemExit("a process died; it said why before")
    said = [results.get() for _ in (*writers, *readers)]
    total = int(ledger.total.value)
    booted.say(json.dumps(["all", {"acknowledged": total, "seconds": round(took, 1), **verify(ledger)}]))
    for name, counts in said:
        booted.say(json.dumps([name, counts]))


if __name__ == "__main__":
    booted.run(main)
