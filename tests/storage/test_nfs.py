"""Network file systems, simulated: `nox -s network` has real ones."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oxios_state import StateStore
from oxios_state.storage import nfs, reads

MOUNTINFO = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 8:1 / /data rw - ext4 /dev/sda1 rw,nobarrier
24 27 {device} / /mnt/a\\040b rw,relatime shared:1 master:2 - {type} server:/x rw,vers=4.2,local_lock=none
"""


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state")


def mounted_as(kind: str, path: Path, monkeypatch: pytest.MonkeyPatch, *, forget: bool = True) -> None:
    device = path.stat().st_dev
    table = path / "mountinfo"
    table.write_text(MOUNTINFO.format(device=f"{os.major(device)}:{os.minor(device)}", type=kind))
    monkeypatch.setattr(nfs, "_MOUNTS", str(table))
    if forget:
        monkeypatch.setattr(nfs, "_on_nfs", {})


@pytest.mark.skipif(not os.path.exists("/proc/self/mountinfo"), reason="only Linux has this table")
def test_mount_of_finds_the_mount_of_a_device() -> None:
    mount = nfs.mount_of(os.stat("/proc").st_dev)
    assert mount is not None
    assert (mount.point, mount.type, mount.is_nfs) == ("/proc", "proc", False)


@pytest.mark.parametrize("kind", ["nfs", "nfs4"])
def test_mount_of_parses_type_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mounted_as(kind, tmp_path, monkeypatch)
    options = {"rw", "relatime", "vers=4.2", "local_lock=none"}
    assert nfs.mount_of(tmp_path.stat().st_dev) == nfs.Mount("/mnt/a b", kind, frozenset(options))
    assert nfs.mount_of(os.makedev(8, 1)) == nfs.Mount("/data", "ext4", frozenset({"rw", "nobarrier"}))
    assert nfs.mount_of(os.makedev(8, 2)) is None


@pytest.mark.parametrize("table", ["absent", ""])  # a directory cannot be read, as the table in some sandboxes
def test_without_a_table_of_mounts_there_is_no_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, store: StateStore
) -> None:
    monkeypatch.setattr(nfs, "_MOUNTS", str(tmp_path / table))
    monkeypatch.setattr(nfs, "_on_nfs", {})
    assert nfs.mount_of(tmp_path.stat().st_dev) is None
    store.save_json("c", "a", 1)
    assert store.load_json("c", "b") is None


def test_a_reused_device_number_is_looked_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in [("before", "tmpfs"), ("mounted", "nfs4")]:
        (tmp_path / name).mkdir()
        mounted_as(kind, tmp_path, monkeypatch, forget=False)
        assert nfs.is_on_nfs(tmp_path / name) == (kind == "nfs4")


@pytest.mark.skipif(not os.path.exists("/proc/self/mountinfo"), reason="only Linux has this table")
def test_mount_at_finds_the_mount_of_an_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "any", "wb") as file:
        mount = nfs.mount_at(file.fileno())
        assert mount is not None
        assert tmp_path.is_relative_to(mount.point)
        monkeypatch.setattr(nfs, "_OPEN_FILES", str(tmp_path))
        (tmp_path / str(file.fileno())).write_text("pos:\t0\nflags:\t0100001\n")  # as some systems like Linux write it
        assert nfs.mount_at(file.fileno()) is None
        monkeypatch.setattr(nfs, "_OPEN_FILES", str(tmp_path / "missing"))
        assert nfs.mount_at(file.fileno()) is None


@pytest.mark.parametrize(("kind", "times"), [("nfs4", 1), ("ext4", 0)])
def test_taking_a_lock_on_nfs_lists_the_directory_once(
    store: StateStore, calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, kind: str, times: int
) -> None:
    store.save_json("c", "a", 1)
    mounted_as(kind, store.base_path, monkeypatch)
    listed: list[Path] = []

    def listdir(path: Path) -> list[str]:
        listed.append(path)
        return os.listdir(path)

    calls.listdir = listdir
    with store.lock("c"), store.lock("c"):
        store.save_json("c", "a", 2)
    assert listed == [store.base_path / "c"] * times


@pytest.mark.parametrize("kind", ["nfs", "nfs4"])
def test_releasing_a_lock_on_nfs_moves_the_time_of_the_directory(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # A client may never see the second of two changes within one tick of the server's clock.
    store.save_json("c", "a", 1)
    mounted_as(kind, store.base_path, monkeypatch)
    for number in range(20):
        with store.lock("c"):
            store.save_json("c", "a", number)
            changed = (store.base_path / "c").stat().st_ctime_ns
        assert (store.base_path / "c").stat().st_ctime_ns > changed


def test_changes_before_an_exception_are_announced_too(
    store: StateStore, calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_json("c", "a", 1)
    mounted_as("nfs4", store.base_path, monkeypatch)
    touched: list[int] = []
    calls.utime = touched.append
    with pytest.raises(ZeroDivisionError), store.lock("c"):
        raise ZeroDivisionError
    assert touched


def test_announcing_survives_a_stopped_clock_and_a_missing_directory(
    store: StateStore, calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_json("c", "a", 1)
    mounted_as("nfs", store.base_path, monkeypatch)
    touched: list[int] = []
    calls.utime = touched.append
    monkeypatch.setattr(nfs, "_MAX_TICK", 0.02)
    with store.lock("c"):
        pass
    assert 1 <= len(touched) <= 20
    calls.utime = os.utime
    with store.lock("c"):
        (store.base_path / "c").rename(store.base_path / "d")  # as another machine may
    assert store.list_category("d") == ["a"]


def test_a_missing_category_is_revalidated_from_its_nearest_parent(store: StateStore, calls: SimpleNamespace) -> None:
    # A client of NFS remembers that a name was missing, until it opens the parent directory.
    store.save_json("c", "a", 1)
    opened: list[str] = []

    def open_(path: str | Path, *arguments: int) -> int:
        opened.append(Path(path).name)
        return os.open(path, *arguments)

    calls.open = open_
    for look in (lambda: store.list_category("x/y"), store.list_sessions, lambda: store.load_json("x", "a")):
        opened.clear()
        assert not look()
        assert opened[-1] in {"state", "a.json"}
        assert "state" in opened


def test_a_lock_can_be_held_before_its_category_exists(store: StateStore) -> None:
    with store.lock("c"):
        store.save_json("c", "a", 1)
    assert store.load_json("c", "a") == 1


def test_a_stale_file_is_opened_again(store: StateStore, calls: SimpleNamespace) -> None:
    store.save_json("c", "a", 1)
    happened = []

    def open_late(path: str | Path, *arguments: int) -> int:
        happened.append(Path(path).name)
        if happened.count("a.json") in range(1, 20) and happened[-1] == "a.json":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
        return os.open(path, *arguments)

    def listdir(path: Path) -> list[str]:
        happened.append("listed")
        return os.listdir(path)

    calls.open, calls.listdir = open_late, listdir
    assert store.load_json("c", "a") == 1
    assert happened == ["c", "a.json", "listed"] * 19 + ["c", "a.json"]


@pytest.mark.parametrize("kind", ["nfs4", "ext4"])
def test_a_file_that_nfs_lists_but_does_not_find_exists(
    store: StateStore, calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store.get_or_create_session("ada", "a")
    mounted_as(kind, store.base_path, monkeypatch)
    unlisted = True

    def absent(call: Callable[..., Any]) -> Callable[..., Any]:
        def find(path: str | Path, *arguments: int) -> Any:
            if unlisted and str(path).endswith("a.json"):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            return call(path, *arguments)

        return find

    def listdir(path: Path) -> list[str]:
        nonlocal unlisted
        unlisted = False
        return os.listdir(path)

    calls.open, calls.lstat, calls.listdir = absent(os.open), absent(os.lstat), listdir
    assert reads.is_there(store.base_path / "sessions" / "a.json") is (kind == "nfs4")
    unlisted = True
    assert (store.load_session("a") is not None) is (kind == "nfs4")


def test_a_file_that_nfs_lists_but_does_not_find_is_waited_for(
    store: StateStore, calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The writer touches the directory when the server's clock ticks: a hundred times a second at least.
    store.get_or_create_session("ada", "a")
    mounted_as("nfs4", store.base_path, monkeypatch)
    next_tick = time.monotonic() + 0.05

    def absent(path: str | Path, *arguments: int) -> int:
        if str(path).endswith("a.json") and time.monotonic() < next_tick:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return os.open(path, *arguments)

    calls.open = absent
    assert store.load_session("a") is not None


def test_a_missing_file_on_nfs_is_missing(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save_json("c", "a", 1)
    mounted_as("nfs4", store.base_path, monkeypatch)
    assert store.load_json("c", "b") is None
    assert store.load_session("absent") is None  # its category is missing too
    assert not store.delete_file("c", "b")


def test_a_file_that_stays_stale_is_an_error(store: StateStore, calls: SimpleNamespace) -> None:
    store.save_json("c", "a", 1)

    def fail(_: int) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    calls.fstat = fail
    with pytest.raises(OSError, match=r"a\.json") as caught:
        store.load_json("c", "a")
    assert caught.value.errno == errno.ESTALE


@pytest.mark.parametrize("kind", ["nfs4", "ext4"])
def test_a_directory_that_may_not_be_listed_is_used(nobody: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    store = StateStore(nobody / "state")
    store.save_json("c", "a", 1)
    mounted_as(kind, store.base_path, monkeypatch)
    category = store.base_path / "c"
    category.chmod(0o300)
    try:
        assert store.load_json("c", "a") == 1
        assert store.load_json("c", "absent") is None
    finally:
        category.chmod(0o700)


def test_without_a_root_directory_there_is_no_document(store: StateStore, calls: SimpleNamespace) -> None:
    store.save_json("c", "a", 1)

    def absent(path: str | Path, *_: int) -> int:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    calls.open = absent  # as on a removed drive of Windows
    assert store.load_json("c", "a") is None
