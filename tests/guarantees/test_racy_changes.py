"""Changes by others that a file's times and inode show hardly or not at all: every operation notices them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oxios_state import PruneConfig, Session, SessionConflictError, StateStore
from oxios_state.model.revision import Identity
from oxios_state.storage import atomic_write, reads, revisions, tree
from oxios_state.storage.revisions import identity_of

SECOND = 10**9
Write = Callable[[Path, bytes], None]
Change = Callable[[str], None]
Use = Callable[[StateStore, Change], None]
OLD = datetime(2020, 1, 1, tzinfo=UTC)
ALL_OLD = PruneConfig(max_sessions=0, ttl_hours=1)


def rename_over(path: Path, content: bytes) -> None:
    """Save as the kernel does."""
    temporary = path.with_name("kernel.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def write_in_place(path: Path, content: bytes) -> None:
    """Save as an editor does."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


def delete_and_make(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def write_and_restore_the_time(path: Path, content: bytes) -> None:
    status = path.stat()
    write_in_place(path, content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


WRITES: list[Write] = [rename_over, write_in_place, delete_and_make, write_and_restore_the_time]


every_write = pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)


def user_of(store: StateStore) -> str:
    session = store.load_session("s")
    assert session is not None
    return session.user_id


# Operations that must notice a change. Each gets a store that has not read the session yet, whose user is u1.


def loading(store: StateStore, change: Change) -> None:
    for user_id in ("u1", "u2", "u3"):
        change(user_id)
        assert user_of(store) == user_id


def editing(store: StateStore, change: Change) -> None:
    assert user_of(store) == "u1"
    change("u2")
    with pytest.raises(SessionConflictError), store.edit_session("s") as session:
        assert session.user_id == "u2"
        change("u3")
    assert user_of(store) == "u3"


def updating(store: StateStore, change: Change) -> None:
    session = store.load_session("s")
    assert session is not None
    change("u2")
    with pytest.raises(SessionConflictError, match="changed by another"):
        store.update_session(session)
    assert user_of(store) == "u2"


def listing(store: StateStore, change: Change) -> None:
    for user_id in ("u1", "u2", "u3"):
        change(user_id)
        assert [summary.user_id for summary in store.list_sessions()] == [user_id]


def pruning(store: StateStore, change: Change) -> None:
    assert store.prune(ALL_OLD, keep=lambda _: change("u2")) == []  # between the listing and the removal
    assert user_of(store) == "u2"


USES = [loading, editing, updating, listing, pruning]
every_use = pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)


def changing(path: Path, write: Write, user_id: str) -> None:
    before = path.read_bytes()
    write(path, before.replace(before.partition(b'"user_id": "')[2][:2], user_id.encode()))
    assert len(path.read_bytes()) == len(before)


@every_write
@every_use
def test_a_change_of_the_same_size_a_moment_later_is_noticed(
    store_of_one: StateStore, session_file: Path, use: Use, write: Write
) -> None:
    use(StateStore(store_of_one.base_path, durable=False), partial(changing, session_file, write))


@pytest.mark.parametrize("write", WRITES[:3], ids=lambda write: write.__name__)
@every_use
def test_a_change_a_moment_after_a_save_is_noticed(
    store_of_one: StateStore, session_file: Path, use: Use, write: Write
) -> None:
    # Not a write that restores the time: within a tick of older Linux it leaves the identity that the save gave.
    use(store_of_one, partial(changing, session_file, write))


# The same on a clock that stands still, where only the rules of `revisions` notice a change.

_SLOWER = 1000  # a tick is to outlast a test


class Clock:
    """A slow clock with long ticks, whose times the modules that touch files see, with one inode for all files.

    Args:
        monkeypatch: Replaces the clock of these modules.
        directory: A directory for a probe file.
        tick: How long the clock stands still, in nanoseconds.
        keeps_marks: Whether a modification time that is set stays as it is; else it is cut down to a tick.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path, tick: int, *, keeps_marks: bool) -> None:
        self._probe = directory / "probe"
        self._probe.touch()
        self._tick = tick
        self._spans = [(time.time_ns(), 1_700_000_000 * SECOND + tick)]
        self._marks: set[int] = set()
        mark = revisions.mark

        def recorded(descriptor: int, token: int) -> int | None:
            moment = mark(descriptor, token)
            if keeps_marks and moment is not None:
                self._marks.add(moment)
            return moment

        def fstat(descriptor: int) -> Any:
            return self._seen(os.fstat(descriptor))

        monkeypatch.setattr(revisions, "mark", recorded)
        monkeypatch.setattr(atomic_write, "os", SimpleNamespace(**vars(os) | {"fstat": fstat}))
        for module in (reads, tree):
            monkeypatch.setattr(module, "identity_of", lambda status: identity_of(self._seen(status)))
        monkeypatch.setattr(reads, "time", SimpleNamespace(time_ns=lambda: self._of(time.time_ns())))

    def identity(self, path: Path) -> Identity:
        return identity_of(self._seen(path.stat()))

    def advance(self, nanoseconds: int) -> None:
        """Let time pass between the changes before and those after."""
        now = time.time_ns()
        self._spans.append((now, self._of(now) + nanoseconds))
        while self._probe.stat().st_ctime_ns <= now:  # the real clock stands still as well, for some milliseconds
            self._probe.touch()

    def _of(self, real: int) -> int:
        start, here = next((span for span in reversed(self._spans) if span[0] < real), self._spans[0])
        return here + max(real - start, 0) // _SLOWER

    def _cut(self, real: int) -> int:
        return self._of(real) // self._tick * self._tick

    def _seen(self, status: os.stat_result) -> Any:
        modified = status.st_mtime_ns
        return SimpleNamespace(
            st_mode=status.st_mode,
            st_nlink=status.st_nlink,
            st_size=status.st_size,
            st_dev=1,
            st_ino=1,
            st_mtime_ns=modified if modified in self._marks else self._cut(modified),
            st_ctime_ns=self._cut(status.st_ctime_ns),
        )


TICKS = {"tick": (SECOND // 100, True), "seconds": (SECOND, False), "FAT": (2 * SECOND, False)}
every_tick = pytest.mark.parametrize("tick", TICKS)


def coarse(monkeypatch: pytest.MonkeyPatch, path: Path, tick: str) -> Clock:
    nanoseconds, keeps_marks = TICKS[tick]
    return Clock(monkeypatch, path.parents[2], nanoseconds, keeps_marks=keeps_marks)


def indistinguishably(clock: Clock, path: Path, write: Write, user_id: str) -> None:
    """Write new content that leaves the identity of the file as it is."""
    before = clock.identity(path)
    changing(path, write, user_id)
    if clock.identity(path) != before:
        raise RuntimeError("the identity changed, so the test would prove nothing")


@every_tick
@every_write
@every_use
def test_a_change_within_one_tick_is_noticed(
    store_of_one: StateStore,
    session_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    use: Use,
    write: Write,
    tick: str,
) -> None:
    clock = coarse(monkeypatch, session_file, tick)
    clock.advance(5 * SECOND)
    write(session_file, session_file.read_bytes())
    use(StateStore(store_of_one.base_path, durable=False), partial(indistinguishably, clock, session_file, write))


@every_tick
@every_write
@every_use
def test_without_the_racy_clean_rule_a_change_within_one_tick_is_missed(
    store_of_one: StateStore,
    session_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    use: Use,
    write: Write,
    tick: str,
) -> None:
    # Shows that the test above tests the rule.
    clock = coarse(monkeypatch, session_file, tick)
    monkeypatch.setattr(reads, "is_settled", lambda *_: True)
    clock.advance(5 * SECOND)
    write(session_file, session_file.read_bytes())
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        use(StateStore(store_of_one.base_path, durable=False), partial(indistinguishably, clock, session_file, write))


@every_tick
@every_write
@every_use
def test_a_change_of_a_file_that_was_settled_when_read_is_noticed(
    store_of_one: StateStore,
    session_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    use: Use,
    write: Write,
    tick: str,
) -> None:
    clock = coarse(monkeypatch, session_file, tick)

    def change(user_id: str) -> None:
        assert reads.read_unless_known(session_file, [clock.identity(session_file)]) == (
            None,
            clock.identity(session_file),
        )
        clock.advance(5 * SECOND)
        changing(session_file, write, user_id)
        clock.advance(5 * SECOND)

    use(StateStore(store_of_one.base_path, durable=False), change)


@every_tick
@pytest.mark.parametrize("write", WRITES[:3], ids=lambda write: write.__name__)
@every_use
def test_a_change_within_the_tick_of_a_save_is_noticed(
    store_of_one: StateStore,
    session_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    use: Use,
    write: Write,
    tick: str,
) -> None:
    clock = coarse(monkeypatch, session_file, tick)
    store_of_one.save_session(Session("u1", "s", created_at=OLD))
    saved = clock.identity(session_file)

    def change(user_id: str) -> None:
        changing(session_file, write, user_id)
        mtime = 3
        same = [a == b for a, b in zip(saved, clock.identity(session_file), strict=True)]
        assert same[:mtime] + same[mtime + 1 :] == [True] * 4
        assert not (same[mtime] and TICKS[tick][1])  # the mark alone tells, where it is kept

    use(store_of_one, change)


@every_tick
def test_a_saved_file_is_trusted_at_once_only_if_it_could_be_marked(
    store_of_one: StateStore, session_file: Path, monkeypatch: pytest.MonkeyPatch, tick: str
) -> None:
    clock = coarse(monkeypatch, session_file, tick)
    session = Session("u1", "s", created_at=OLD)
    store_of_one.save_session(session)
    assert session._source is not None
    assert session._source.identity == (clock.identity(session_file) if TICKS[tick][1] else None)
