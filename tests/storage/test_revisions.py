"""File identities and marks: whether a file still has the content that it had."""

from __future__ import annotations

import os
import shutil
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from oxios_state import PruneConfig, Session, SessionConflictError, StateStore
from oxios_state.storage import reads, revisions, system
from oxios_state.storage.revisions import is_settled

OLD = datetime(2020, 1, 1, tzinfo=UTC)
ALL_OLD = PruneConfig(max_sessions=0, ttl_hours=1)
SECOND = 10**9


def user_of(store: StateStore) -> str:
    session = store.load_session("s")
    assert session is not None
    return session.user_id


def change_in_place(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"u1", b"u2"))


def rewrite(path: Path) -> None:
    """Replace a file with a copy of itself."""
    shutil.copy(path, path.with_name("copy"))
    os.replace(path.with_name("copy"), path)


@pytest.mark.parametrize(
    ("changed", "age", "settled"),
    [
        (5 * SECOND + 1, SECOND // 10, False),
        (5 * SECOND + 1, SECOND // 10 + 1, True),
        (5 * SECOND, SECOND, False),  # as on a file system of whole seconds
        (5 * SECOND, 2 * SECOND, False),
        (5 * SECOND, 21 * SECOND // 10 + 1, True),
        (5 * SECOND + 1, -SECOND, False),  # from the future
    ],
)
def test_an_identity_is_settled_long_enough_after_the_last_change(changed: int, age: int, *, settled: bool) -> None:
    assert is_settled((1, 2, 3, changed, changed), changed + age) is settled
    assert is_settled((1, 2, 3, 0, changed), changed + age) is settled  # a program can set the modification time only


def test_marks_are_recent_and_unique(tmp_path: Path) -> None:
    path = tmp_path / "file"
    moments = set()
    with path.open("wb") as file:
        for _ in range(500):
            before = time.time_ns()
            moment = revisions.mark(file.fileno(), int.from_bytes(os.urandom(8)))
            assert moment is not None
            assert before - SECOND // 50 < moment < time.time_ns()
            assert path.stat().st_mtime_ns == moment
            moments.add(moment)
    assert len(moments) >= 499


@pytest.mark.parametrize("resolution", [1000, 10**6, 10**7, SECOND, 2 * SECOND])
def test_a_mark_does_not_survive_coarse_timestamps(tmp_path: Path, resolution: int) -> None:
    with (tmp_path / "file").open("wb") as file:
        assert all(
            (revisions.mark(file.fileno(), int.from_bytes(os.urandom(8))) or 0) % resolution >= 100 for _ in range(300)
        )


@pytest.mark.parametrize(("difference", "expected"), [(0, True), (-99, True), (-100, False), (1, False)])
def test_a_mark_survives_the_resolution_of_windows(difference: int, *, expected: bool) -> None:
    status = os.stat_result([0] * 10, {"st_mtime_ns": 5 * SECOND + 199 + difference})
    assert revisions.is_marked(status, 5 * SECOND + 199) is expected


@pytest.mark.parametrize("way", ["unsupported", "refused"])
def test_a_file_that_cannot_be_marked_is_compared_by_content(
    store_of_one: StateStore, session_file: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def utime(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    supported = set() if way == "unsupported" else {utime}
    monkeypatch.setattr(revisions, "os", SimpleNamespace(utime=utime, supports_fd=supported))
    session = Session("u1", "s", created_at=OLD)
    store_of_one.save_session(session)
    assert session._source is not None
    assert session._source.identity is None
    store_of_one.update_session(session)
    change_in_place(session_file)
    assert user_of(store_of_one) == "u2"
    with pytest.raises(SessionConflictError):
        store_of_one.update_session(session)


@pytest.mark.parametrize("fresh", [True, False], ids=["listed by another process", "listed"])
def test_a_file_that_an_editor_has_just_emptied_is_not_pruned(
    store_of_one: StateStore, session_file: Path, monkeypatch: pytest.MonkeyPatch, *, fresh: bool
) -> None:
    monkeypatch.setattr(reads, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 5 * SECOND))
    assert len(store_of_one.list_sessions()) == 1
    pruning = StateStore(store_of_one.base_path, durable=False) if fresh else store_of_one
    assert pruning.prune(ALL_OLD, keep=lambda _: session_file.write_bytes(b"") != 0) == []
    assert session_file.read_bytes() == b""


@pytest.mark.skipif(system.WINDOWS, reason="modes of POSIX")
@pytest.mark.parametrize("load", [True, False], ids=["loaded", "saved"])
def test_a_change_of_the_identity_alone_is_no_conflict(
    store_of_one: StateStore, session_file: Path, *, load: bool
) -> None:
    session = store_of_one.load_session("s") if load else Session("u1", "s")
    assert session is not None
    store_of_one.save_session(session)
    for change in (
        session_file.touch,
        partial(session_file.chmod, 0o640),
        partial(os.link, session_file, session_file.with_name("linked")),
        partial(rewrite, session_file),
    ):
        change()
        session.add_user_message("more")
        store_of_one.update_session(session)
    assert session_file.stat().st_mode & 0o777 == 0o640
    assert session_file.with_name("linked").stat().st_nlink == 1
