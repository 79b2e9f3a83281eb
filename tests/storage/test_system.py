"""Opening files that others hold a lease on, and syncing on systems whose fsync does not reach the disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from oxios_state import Session, StateStore
from oxios_state.storage import atomic_write, reads, system, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FULL_SYNC = 51  # the number of F_FULLFSYNC on macOS

# Holds a lease on a file, as a file server does, and gives it up a moment after the system asks for it.
HOLDER = """
import fcntl, os, signal, sys, time
descriptor = os.open(sys.argv[1], os.O_RDWR)
def give_up(*_):
    time.sleep(0.3)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
signal.signal(signal.SIGIO, give_up)
fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
time.sleep(30)
"""


@contextmanager
def lease(path: Path) -> Iterator[None]:
    """Let another process hold a lease on a file."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != b"held\n":
                pytest.skip("the file system has no leases")
            yield
        finally:
            process.kill()


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path, durable=False)


@pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")
@pytest.mark.parametrize(
    ("leased", "operate"),
    [
        ("sessions/s.json", lambda store: store.load_session("s")),
        ("sessions/s.json", lambda store: store.list_sessions()),
        ("sessions/s.json", lambda store: list(store.search_sessions("hello"))),
        ("sessions/s.json", lambda store: store.save_session(Session("ada", "s"))),
        ("sessions/s.json", lambda store: store.update_session(store.load_session("s"))),
        ("sessions/s.json", lambda store: store.check()),
        ("notes/n.md", lambda store: store.load_markdown("notes", "n")),
        (".oxios_state/.gitignore", lambda store: store.save_markdown("notes", "m", "")),
    ],
)
def test_a_file_under_a_lease_is_waited_for(
    store: StateStore, leased: str, operate: Callable[[StateStore], object], caplog: pytest.LogCaptureFixture
) -> None:
    session = store.get_or_create_session("ada", "s")
    session.add_user_message("hello")
    store.save_session(session)
    store.save_markdown("notes", "n", "text")
    (store.base_path / ".oxios_state/.gitignore").write_bytes(b"")
    with lease(store.base_path / leased):
        operate(StateStore(store.base_path, durable=False))
    assert not caplog.records  # no file was left out
    assert [summary.id for summary in store.list_sessions()] == ["s"]


@pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")
def test_a_sweep_waits_for_a_temporary_file_under_a_lease(store: StateStore) -> None:
    store.save_json("c", "a", 1)
    temporary = store.base_path / "c" / f".oxios_state.{'0' * 16}.tmp"
    temporary.write_bytes(b"")
    with lease(temporary):
        store.prune()
    assert not temporary.exists()


def test_a_lease_that_is_not_given_up_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: SimpleNamespace
) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def blocked(path: Path, *_: object) -> int:
        raise BlockingIOError(errno.EWOULDBLOCK, "Resource temporarily unavailable", str(path))

    monkeypatch.setattr(system, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    calls.open = blocked
    with pytest.raises(BlockingIOError) as caught:
        reads.read(tmp_path / "a.json")
    assert caught.value.filename == str(tmp_path / "a.json")
    assert 60 <= now < 61  # longer than the system waits before it takes a lease away


@pytest.mark.skipif(os.name == "nt", reason="Windows has no FIFOs")
def test_a_pipe_that_takes_the_place_of_a_file_under_a_lease_does_not_hang(
    tmp_path: Path, calls: SimpleNamespace
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"")

    def open_late(name: str, flags: int, mode: int) -> int:
        if path.is_file():
            path.unlink()
            os.mkfifo(path)
            raise BlockingIOError(errno.EWOULDBLOCK, "Resource temporarily unavailable", str(name))
        return os.open(name, flags, mode)

    calls.open = open_late
    os.close(system.open_file(str(path), system.READ))


# Syncing.


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch, calls: SimpleNamespace) -> Callable[[int], list[str]]:
    """A function that lets the system have F_FULLFSYNC, which fails with an errno or works; the names of all syncs."""

    def simulate(failure: int) -> list[str]:
        done: list[str] = []

        def full_sync(_: int, command: int) -> int:
            assert command == FULL_SYNC
            done.append("F_FULLFSYNC")
            if failure:
                raise OSError(failure, os.strerror(failure))
            return 0

        monkeypatch.setattr(system, "_fcntl", SimpleNamespace(F_FULLFSYNC=FULL_SYNC, fcntl=full_sync))
        calls.fsync = lambda _: done.append("fsync")
        return done

    return simulate


def test_a_full_sync_is_used_for_files_and_directories_where_the_system_has_it(
    tmp_path: Path, synced: Callable[[int], list[str]]
) -> None:
    done = synced(0)
    place = tree.Tree(tmp_path, durable=True)
    with atomic_write.Staged(place, tmp_path / "a", [b"content"]) as staged:
        assert done == ["F_FULLFSYNC"]
        staged.replace()
        staged.sync()
    assert done == ["F_FULLFSYNC"] * 2


@pytest.mark.parametrize("refusal", [errno.ENOTSUP, errno.EINVAL, errno.ENOTTY])
def test_a_file_system_that_refuses_a_full_sync_gets_a_plain_one(
    tmp_path: Path, synced: Callable[[int], list[str]], refusal: int
) -> None:
    done = synced(refusal)
    tree.sync_directory(tmp_path)
    assert done == ["F_FULLFSYNC", "fsync"]


def test_a_full_sync_that_fails_is_not_repeated(tmp_path: Path, synced: Callable[[int], list[str]]) -> None:
    done = synced(errno.EIO)
    with pytest.raises(OSError, match="Input/output error") as caught:
        tree.sync_directory(tmp_path)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))
    assert done == ["F_FULLFSYNC"]
