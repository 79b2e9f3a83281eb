"""What tells whether a file is what it was: identities, marks, and revisions of what was seen."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from oxios_state import PruneConfig, Session, SessionConflictError, StateStore
from oxios_state.model.revision import Revision
from oxios_state.sessions import pruning as removal
from oxios_state.storage import atomic_write, reads, revisions, system
from oxios_state.storage.revisions import identity_of, is_settled

OLD = datetime(2020, 1, 1, tzinfo=UTC)
ALL_OLD = PruneConfig(max_sessions=0, ttl_hours=1)
SECOND = 10**9


def user_of(store: StateStore) -> str:
    session = store.load_session("s")
    assert session is not None
    return session.user_id


def change_in_place(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"u1", b"u2"))


def write_anew(path: Path) -> None:
    """Rename a copy over it."""
    shutil.copy(path, path.with_name("copy"))
    os.replace(path.with_name("copy"), path)


@pytest.mark.parametrize(
    ("changed", "age", "settled"),
    [
        (5 * SECOND + 1, SECOND // 10, False),
        (5 * SECOND + 1, SECOND // 10 + 1, True),
        (5 * SECOND, SECOND, False),  # a file system that keeps whole seconds
        (5 * SECOND, 2 * SECOND, False),
        (5 * SECOND, 21 * SECOND // 10 + 1, True),
        (5 * SECOND + 1, -SECOND, False),  # from the future
    ],
)
def test_an_identity_is_settled_long_enough_after_the_last_change(changed: int, age: int, *, settled: bool) -> None:
    assert is_settled((1, 2, 3, changed, changed), changed + age) is settled
    assert is_settled((1, 2, 3, 0, changed), changed + age) is settled  # the time of change cannot be set


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


@pytest.mark.parametrize("kept", [1000, 10**6, 10**7, SECOND, 2 * SECOND])
def test_a_mark_does_not_survive_coarse_timestamps(tmp_path: Path, kept: int) -> None:
    with (tmp_path / "file").open("wb") as file:
        assert all(
            (revisions.mark(file.fileno(), int.from_bytes(os.urandom(8))) or 0) % kept >= 100 for _ in range(300)
        )


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


def test_a_file_that_changes_before_its_mark_is_seen_is_not_trusted(
    store_of_one: StateStore, session_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(source: str, target: Path) -> None:
        os.replace(source, target)
        change_in_place(session_file)

    monkeypatch.setattr(atomic_write, "os", SimpleNamespace(**vars(os) | {"replace": replace}))
    session = Session("u1", "s", created_at=OLD)
    store_of_one.save_session(session)
    assert user_of(store_of_one) == "u2"
    with pytest.raises(SessionConflictError):
        store_of_one.update_session(session)


def test_a_file_whose_status_is_not_to_be_had_after_the_save_is_saved(
    store_of_one: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced = []

    def replace(source: str, target: Path) -> None:
        replaced.append(target)
        os.replace(source, target)

    def fstat(descriptor: int) -> os.stat_result:
        if replaced:
            raise OSError(5, "Input/output error")
        return os.fstat(descriptor)

    session = Session("u2", "s")
    with monkeypatch.context() as patch:
        patch.setattr(atomic_write, "os", SimpleNamespace(**vars(os) | {"replace": replace, "fstat": fstat}))
        store_of_one.save_session(session)
    assert user_of(store_of_one) == "u2"
    store_of_one.update_session(session)


def test_a_file_that_grows_while_it_is_read_is_not_trusted(session_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + SECOND))
    trusted = reads.read_unless_known(session_file)
    assert trusted is not None
    assert trusted[1] == identity_of(session_file.stat())

    def fstat(descriptor: int) -> os.stat_result:
        status = os.fstat(descriptor)
        with session_file.open("ab") as file:
            file.write(b" ")
        return status

    monkeypatch.setattr(reads, "os", SimpleNamespace(**vars(os) | {"fstat": fstat}))
    found = reads.read_unless_known(session_file)
    assert found is not None
    assert found[1] is None


def test_a_failing_read_names_the_file(
    store_of_one: StateStore, session_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fstat(_: int) -> os.stat_result:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(reads, "os", SimpleNamespace(**vars(os) | {"fstat": fstat}))
    with pytest.raises(OSError, match="Input/output error") as caught:
        store_of_one.load_session("s")
    assert caught.value.filename == str(session_file)


@pytest.mark.parametrize("change", [True, False])
def test_a_system_that_knows_no_names_relative_to_a_directory_removes_what_is_unchanged(
    store_of_one: StateStore, session_file: Path, monkeypatch: pytest.MonkeyPatch, *, change: bool
) -> None:
    monkeypatch.setattr(removal, "_RELATIVE", False)
    removed = store_of_one.prune(ALL_OLD, keep=lambda _: change_in_place(session_file) if change else None)
    assert [summary.id for summary in removed] == ([] if change else ["s"])
    assert session_file.exists() == change


def test_a_copy_of_a_revision_is_the_same_object() -> None:
    revision = Revision((1, 2, 3, 4, 5), (b"ab", b"c"))
    assert copy.copy(revision) is copy.deepcopy(revision) is revision
    sent = pickle.loads(pickle.dumps(revision))
    assert (sent.identity, sent.digest, list(sent.content)) == (revision.identity, revision.digest, [])
    assert sent.holds(b"abc")
    assert not sent.holds(b"ab")
    assert repr(sent) == "Revision((1, 2, 3, 4, 5))"


def test_a_revision_without_its_text_still_tells_contents_apart() -> None:
    for content in (b"", b"abc"):
        assert Revision(None, (content,)).without_text().holds(content)
        assert not Revision(None, (content,)).without_text().holds(b"abcd")
        assert not Revision((1, 2, 3, 4, 5), (content,)).without_text().holds(content)


def later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 5 * SECOND))


@pytest.mark.parametrize("fresh", [True, False], ids=["listed by another process", "listed"])
def test_a_file_that_an_editor_has_just_emptied_is_not_pruned(
    store_of_one: StateStore, session_file: Path, monkeypatch: pytest.MonkeyPatch, *, fresh: bool
) -> None:
    later(monkeypatch)
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
        partial(write_anew, session_file),
    ):
        change()
        session.add_user_message("more")
        store_of_one.update_session(session)
    assert session_file.stat().st_mode & 0o777 == 0o640
    assert session_file.with_name("linked").stat().st_nlink == 1
