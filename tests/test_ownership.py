"""What root makes in somebody's store is that one's: `sudo` locks nobody out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oxios_state import PruneConfig, Session, StateStore, ownership

as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
OWNER, OTHER = 65534, 65533


@pytest.fixture
def base(tmp_path: Path, settled_store: StateStore) -> Path:
    """A directory of another user, with a session whose file is a third one's."""
    base = settled_store.base_path
    settled_store.save_session(Session("u", "s"))
    for directory, _, names in os.walk(base):
        for path in (directory, *(os.path.join(directory, name) for name in names)):
            os.chown(path, OWNER, OWNER)
    os.chown(base / "sessions/s.json", OTHER, OTHER)
    os.rename(base / ".oxios_state", tmp_path / "gone")
    return base


OPERATIONS: dict[str, Callable[[StateStore], object]] = {
    "list": lambda store: store.list_sessions(),
    "lock": lambda store: store.lock("sessions").__enter__(),
    "save": lambda store: store.save_session(Session("u", "new")),
    "save over": lambda store: store.save_session(Session("u", "s")),
    "category": lambda store: store.save_json("a/b", "new", 1),
    "prune": lambda store: store.prune(PruneConfig(0, sys.float_info.min), archive="archive"),
    "probe": lambda store: store.probe(),
}


@as_root
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_root_makes_is_the_owners(base: Path, operation: str) -> None:
    OPERATIONS[operation](StateStore(base))
    assert (base / ".oxios_state").exists()
    owners = {path.relative_to(base).as_posix(): (path.stat().st_uid, path.stat().st_gid) for path in base.rglob("*")}
    place = "archive" if operation == "prune" else "sessions"
    assert owners.pop(f"{place}/s.json") == (OTHER, OTHER)  # a file that is there keeps its owner
    assert set(owners.values()) == {(OWNER, OWNER)}


@as_root
def test_a_root_that_may_give_nothing_away_keeps_it(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chown(*_: object) -> None:
        raise PermissionError  # as in containers, and on NFS

    monkeypatch.setattr(os, "chown", chown)
    StateStore(base).save_json("c", "new", 1)
    assert (base / "c/new.json").stat().st_uid == 0


def test_others_give_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(os, "chown", lambda *arguments: given.append(arguments), raising=False)
    ownership.adopt(tmp_path, tmp_path)
    assert given == []
