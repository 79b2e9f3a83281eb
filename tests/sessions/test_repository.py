"""Sessions: saving, conditional saves, editing, loading, creating and deleting."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from oxios_state import (
    AgentResponse,
    CorruptStateError,
    DurabilityError,
    Session,
    SessionConflictError,
    SessionNotFoundError,
    SessionOwnerError,
    StateStore,
    UnsupportedValueError,
    UserMessage,
)
from oxios_state.storage import tree

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state", lock_timeout=5)


def saved(store: StateStore, session_id: str, *, minutes: int = 0, **fields: Any) -> Session:
    session = Session("user", session_id, created_at=NOON + timedelta(minutes=minutes), **fields)
    store.save_session(session)
    return session


# Saving and conflicts


def test_save_overwrites_unconditionally(store: StateStore) -> None:
    first, second = saved(store, "s"), Session("other", "s")
    store.save_session(second)
    store.save_session(first)
    assert store.load_session("s") == first


def test_save_refuses_other_types(store: StateStore) -> None:
    with pytest.raises(TypeError, match="expected Session, not dict"):
        store.save_session({})  # type: ignore[arg-type]


def test_update_saves_if_the_file_is_unchanged(store: StateStore) -> None:
    session = Session("user", "s")
    store.update_session(session)  # new: there is no file
    for text in ("a", "b"):
        session.add_user_message(text)
        store.update_session(session)
    loaded = store.load_session("s")
    assert loaded == session
    assert loaded is not None
    (store.base_path / "sessions/s.json").touch()  # the same content is no conflict
    store.update_session(loaded)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda store: store.save_session(Session("other", "s")), "changed by another"),
        (lambda store: (store.base_path / "sessions/s.json").write_bytes(b"torn"), "changed by another"),
        (lambda store: store.delete_session("s"), "deleted"),
        (lambda store: store.prune(now=datetime.max.replace(tzinfo=UTC)), "deleted"),
    ],
)
def test_update_refuses_a_stale_revision(store: StateStore, change: Any, reason: str) -> None:
    session = saved(store, "s")
    change(store)
    before = {path: path.read_bytes() for path in (store.base_path / "sessions").iterdir()}
    with pytest.raises(SessionConflictError, match=f"not saved, it was {reason} since it was loaded: .*s.json"):
        store.update_session(session)
    assert {path: path.read_bytes() for path in (store.base_path / "sessions").iterdir()} == before


def test_update_refuses_a_snapshot_that_is_older_than_the_last_save(store: StateStore) -> None:
    """Another thread saves the session after its first attributes were copied for an update."""

    class Interrupting(dict[str, Any]):
        def items(self) -> Any:  # called when the metadata are copied
            session.metadata = {}
            session.set_active_seed("new")
            store.update_session(session)
            return super().items()

    session = saved(store, "s")
    session.metadata = {"key": Interrupting(a=[])}
    with pytest.raises(SessionConflictError):
        store.update_session(session)
    loaded = store.load_session("s")
    assert loaded is not None
    assert loaded.active_seed_id == "new"
    store.update_session(session)  # the object is that of the last save


def test_the_work_on_a_session_that_was_pruned_meanwhile_can_be_saved(store: StateStore) -> None:
    saved(store, "s")
    cure = r"; the object still has its changes, and save_session\(session\) saves it again$"
    with pytest.raises(SessionConflictError, match=cure), store.edit_session("s") as session:
        session.add_user_message("work")
        assert len(store.prune(now=datetime.max.replace(tzinfo=UTC))) == 1  # the lock is re-entrant in this thread
    assert store.load_session("s") is None
    store.update_session(attrs.evolve(session))  # only if there is none
    with pytest.raises(SessionConflictError, match=r"already.*; load that one, or choose another id$"):
        store.update_session(attrs.evolve(session))
    session.add_user_message("more work")
    store.save_session(session)
    assert store.load_session("s") == session


def test_a_conflict_with_a_change_says_to_load_the_session_again(store: StateStore) -> None:
    session = saved(store, "s")
    store.save_session(Session("other", "s"))
    with pytest.raises(SessionConflictError, match=r"; load it again and repeat the change$"):
        store.update_session(session)


def test_update_refuses_a_new_session_of_an_existing_id(store: StateStore) -> None:
    saved(store, "s")
    with pytest.raises(SessionConflictError, match="there is a session of this id already"):
        store.update_session(Session("user", "s"))


def test_changed_copies_and_sessions_loaded_as_documents_count_as_new(store: StateStore) -> None:
    session = saved(store, "s")
    as_document = store.load_json("sessions", "s", Session)
    assert as_document == session
    for new in (attrs.evolve(session, user_id="other"), as_document):
        with pytest.raises(SessionConflictError):
            store.update_session(new)
    assert store.load_session("s") == session


def test_save_refuses_a_record_of_another_type_with_its_path(store: StateStore) -> None:
    session = saved(store, "s")
    session.user_messages.append("hello")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedValueError, match=r"\$\.user_messages\[0\]: expected UserMessage, not 'hello'"):
        store.save_session(session)


def test_save_refuses_a_naive_timestamp_with_its_path(store: StateStore) -> None:
    with attrs.validators.disabled():
        session = Session("user", "s", user_messages=[UserMessage("x", timestamp=datetime(2026, 3, 1))])  # noqa: DTZ001
    with pytest.raises(UnsupportedValueError, match=r"\$\.user_messages\[0\]\.timestamp: .* has no time zone"):
        store.save_session(session)
    assert not store.base_path.exists()


def test_a_session_knows_that_it_was_saved_if_only_the_sync_failed(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = saved(store, "s")

    def fail(directory: Path) -> None:
        raise OSError(5, "Input/output error", str(directory))

    with monkeypatch.context() as patch:
        patch.setattr(tree, "sync_directory", fail)
        session.add_user_message("x")
        with pytest.raises(DurabilityError, match=r"s\.json is saved, but a power cut could undo it"):
            store.save_session(session)
    assert store.load_session("s") == session
    store.update_session(session)  # the object knows that it was saved


# Transactions


def test_edit_saves_unless_the_block_raises(store: StateStore) -> None:
    saved(store, "s")
    with store.edit_session("s") as session:
        session.add_user_message("kept")
    with pytest.raises(ZeroDivisionError), store.edit_session("s") as session:
        session.add_user_message("dropped")
        raise ZeroDivisionError
    loaded = store.load_session("s")
    assert loaded is not None
    assert [message.content for message in loaded.user_messages] == ["kept"]


@pytest.mark.parametrize("prepare", [lambda _: None, lambda store: store.save_json("sessions", "other", {})])
def test_edit_refuses_a_missing_session(store: StateStore, prepare: Any) -> None:
    prepare(store)
    with pytest.raises(SessionNotFoundError, match="no session 's' in "), store.edit_session("s"):
        pytest.fail("the block must not run")


def test_edit_does_not_take_a_disk_error_for_a_missing_session(store: StateStore, calls: SimpleNamespace) -> None:
    saved(store, "s")
    calls.lstat = fail
    with pytest.raises(OSError, match="as a broken disk does"), store.edit_session("s"):
        pytest.fail("the block must not run")


def fail(path: Path) -> None:
    raise OSError(errno.EIO, "as a broken disk does", str(path))


def test_edit_refuses_a_session_deleted_before_the_lock_was_free(
    store: StateStore, before_lock: Callable[[Callable[[str], object]], None]
) -> None:
    saved(store, "s")
    before_lock(lambda _: (store.base_path / "sessions/s.json").unlink(missing_ok=True))
    with pytest.raises(SessionNotFoundError), store.edit_session("s"):
        pytest.fail("the block must not run")


def test_a_nested_edit_of_the_same_session_is_a_conflict(store: StateStore) -> None:
    saved(store, "s")
    with pytest.raises(SessionConflictError), store.edit_session("s") as outer:
        outer.add_user_message("outer")
        with store.edit_session("s") as inner:
            inner.add_user_message("inner")
    loaded = store.load_session("s")
    assert loaded is not None
    assert [message.content for message in loaded.user_messages] == ["inner"]


def test_nested_edits_of_different_sessions_are_saved(store: StateStore) -> None:
    saved(store, "a")
    saved(store, "b")
    with store.edit_session("a") as a, store.edit_session("b") as b:
        a.set_metadata("k", 1)
        b.set_metadata("k", 2)
    assert [store.load_session(name).get_metadata("k") for name in ("a", "b")] == [1, 2]  # type: ignore[union-attr]


def test_a_save_by_the_kernel_during_an_edit_is_a_conflict(store: StateStore) -> None:
    session = saved(store, "s")
    path = store.base_path / "sessions/s.json"
    with pytest.raises(SessionConflictError), store.edit_session("s") as edited:
        edited.add_user_message("x")
        (path.parent / "s.1.tmp").write_bytes(path.read_bytes().replace(b'"user"', b'"kernel"'))
        os.replace(path.parent / "s.1.tmp", path)
    assert b'"kernel"' in path.read_bytes()
    assert session.user_messages == []


# Loading, creating and deleting


def test_a_session_in_a_file_of_another_name_is_corrupt(store: StateStore) -> None:
    saved(store, "s")
    (store.base_path / "sessions/copy.json").write_bytes((store.base_path / "sessions/s.json").read_bytes())
    with pytest.raises(CorruptStateError, match=r"\$\.id: the id is 's', but the file is named 'copy'"):
        store.load_session("copy")


def test_get_or_create_refuses_another_users_session(store: StateStore) -> None:
    mine = store.get_or_create_session("me", "s")
    assert store.get_or_create_session("me", "s") == mine
    with pytest.raises(SessionOwnerError, match="session 's' belongs to another user than 'you'"):
        store.get_or_create_session("you", "s")


def test_get_or_create_returns_a_session_created_before_the_lock_was_free(
    store: StateStore, before_lock: Callable[[Callable[[str], object]], None]
) -> None:
    first = Session("me", "s")
    waiting = [first]

    def save_first(_: str) -> None:
        if waiting:
            store.save_session(waiting.pop())

    before_lock(save_first)
    assert store.get_or_create_session("me", "s") == first


def test_delete_returns_whether_the_session_existed(store: StateStore) -> None:
    saved(store, "s")
    (store.base_path / "sessions/s.json").write_bytes(b"corrupt")
    assert store.delete_session("s")
    assert not store.delete_session("s")


def test_an_edit_sees_the_records_of_the_last_one(store: StateStore) -> None:
    store.get_or_create_session("u", "s")
    for text in ("one", "two"):
        with store.edit_session("s") as session:
            session.add_agent_response(AgentResponse(text))
    with store.edit_session("s") as session:
        assert [response.content for response in session.agent_responses] == ["one", "two"]


def test_a_session_can_be_saved_as_another_document(store: StateStore) -> None:
    session = saved(store, "s", user_messages=[UserMessage("x", timestamp=NOON)])
    store.save_json("backup", "s", session)
    assert (store.base_path / "backup/s.json").read_bytes() == (store.base_path / "sessions/s.json").read_bytes()
    assert store.load_json("backup", "s", Session) == session
