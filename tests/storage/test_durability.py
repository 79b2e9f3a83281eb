"""Durability: what is synced, and in which order."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from oxios_state import PruneConfig, Session, StateStore
from oxios_state.storage import reads, system

if TYPE_CHECKING:
    from collections.abc import Callable

posix = pytest.mark.skipif(os.name == "nt", reason="directories that can be synced")


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state")


@pytest.fixture
def events(calls: SimpleNamespace) -> list[tuple[str, str]]:
    """The files that were written, synced, linked, renamed and removed, in order."""
    events: list[tuple[str, str]] = []
    opened: dict[int, str] = {}

    def name(path: str | Path) -> str:
        return "temporary" if str(path).endswith(".tmp") else os.path.basename(path)

    def open_(path: str | Path, *arguments: int) -> int:
        descriptor = os.open(path, *arguments)
        opened[descriptor] = name(path)
        return descriptor

    def on_descriptor(call: str) -> Callable[..., Any]:
        def recorded(descriptor: int, *arguments: Any) -> Any:
            events.append((call, opened[descriptor]))
            return getattr(os, call)(descriptor, *arguments)

        return recorded

    def on_path(call: str) -> Callable[..., Any]:
        def recorded(*paths: str | Path) -> Any:
            events.append((call, " ".join(map(name, paths))))
            return getattr(os, call)(*paths)

        return recorded

    calls.open = open_
    calls.write, calls.fsync = on_descriptor("write"), on_descriptor("fsync")
    calls.replace, calls.link, calls.unlink = on_path("replace"), on_path("link"), on_path("unlink")
    return events


def fail(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@posix
def test_a_save_syncs_the_file_before_the_rename_and_the_directory_after(
    tmp_path: Path, events: list[tuple[str, str]]
) -> None:
    store = StateStore(tmp_path / "new" / "base")
    store.save_json("a/b", "x", 1)
    save = [("write", "temporary"), ("fsync", "temporary"), ("replace", "temporary x.json"), ("fsync", "b")]
    new_directories = [("fsync", tmp_path.name), ("fsync", "new"), ("fsync", "base"), ("fsync", "a")]
    own_directories = [("fsync", "base"), ("fsync", ".oxios_state")]
    assert events == [*new_directories, *save[:2], *own_directories, *save[2:]]
    events.clear()
    store.save_json("a/b", "x", 2)
    assert events == save


@posix
@pytest.mark.parametrize("durable", [True, False])
def test_a_removal_is_synced_and_a_move_is_synced_at_its_target_first(
    tmp_path: Path, events: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, *, durable: bool
) -> None:
    def new_events() -> list[tuple[str, str]]:
        copy = events.copy()
        events.clear()
        return copy

    def expected(*all_events: tuple[str, str]) -> list[tuple[str, str]]:
        return [event for event in all_events if durable or event[0] != "fsync"]

    # However slow the machine is, no file gets so old that its summary is kept, which would be enough to prune it.
    monkeypatch.setattr(reads, "time", SimpleNamespace(time_ns=lambda: 0))
    store = StateStore(tmp_path, durable=durable)
    for name in ("1", "2", "3", "4"):
        store.save_session(Session("user", name))
    store.save_session(Session("user", "0"))
    store.save_json("archive", "x", 1)
    assert (("fsync", "sessions") in new_events()) == durable
    store.delete_session("0")
    assert new_events() == expected(("unlink", "0.json"), ("fsync", "sessions"))
    store.prune(PruneConfig(max_sessions=2))
    assert new_events() == expected(("unlink", "1.json"), ("unlink", "2.json"), ("fsync", "sessions"))
    store.prune(PruneConfig(max_sessions=1), archive="archive")
    moved = ("link", "3.json 3.json"), ("fsync", "archive"), ("unlink", "3.json"), ("fsync", "sessions")
    assert new_events() == expected(*moved)
    (tmp_path / "archive/x.json").write_bytes(b"{")
    store.quarantine.add(store.check()[0])
    new_events()
    store.quarantine.restore(next(iter(store.quarantine)))
    restored = ("link", "content x.json"), ("fsync", "archive"), ("unlink", "content"), ("unlink", "reason.json")
    assert new_events() == expected(*restored, ("fsync", "quarantine"))


def test_without_durability_nothing_is_synced(tmp_path: Path, events: list[tuple[str, str]]) -> None:
    store = StateStore(tmp_path / "base", durable=False)
    store.save_json("a/b", "x", 1)
    assert events == [("write", "temporary"), ("replace", "temporary x.json")]
    assert store.delete_file("a/b", "x")
    assert events[2:] == [("unlink", "x.json")]


@posix
def test_a_directory_whose_sync_failed_is_synced_by_the_next_save(
    store: StateStore, calls: SimpleNamespace, events: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_json("other", "x", 1)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="not saved"):
        patch.setattr(calls, "fsync", fail)
        store.save_json("c", "x", 1)
    events.clear()
    store.save_json("c", "x", 1)
    assert ("fsync", "state") in events


@posix
def test_a_base_whose_sync_failed_is_synced_by_the_next_store(
    tmp_path: Path, calls: SimpleNamespace, events: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(OSError, match="not saved"):
        patch.setattr(calls, "fsync", fail)
        StateStore(tmp_path / "base").save_json("c", "x", 1)
    events.clear()
    StateStore(tmp_path / "base").save_json("c", "x", 1)
    assert ("fsync", tmp_path.name) in events


@posix
def test_a_directory_created_by_another_is_synced_once(store: StateStore, events: list[tuple[str, str]]) -> None:
    # Its creator may have died before the sync, or may not sync at all.
    StateStore(store.base_path, durable=False).save_json("c", "a", 1)
    events.clear()
    store.save_json("c", "a", 2)
    assert ("fsync", "state") in events
    events.clear()
    store.save_json("c", "a", 3)
    assert ("fsync", "state") not in events


def test_on_windows_files_are_synced_and_directories_are_not(
    store: StateStore, calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    are_directories: list[bool] = []
    calls.fsync = lambda descriptor: are_directories.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
    monkeypatch.setattr(system, "WINDOWS", True)
    store.save_json("c", "a", 1)
    assert are_directories == [False]  # the temporary file
