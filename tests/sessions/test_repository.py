"""Sessions, through the public store."""

from __future__ import annotations

import errno
import logging
import os
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
    PruneConfig,
    Session,
    SessionConflictError,
    SessionNotFoundError,
    SessionOwnerError,
    SessionSummary,
    StateStore,
    UnsupportedValueError,
    UserMessage,
)
from oxios_state.sessions import index
from oxios_state.storage import tree
from oxios_state.storage.tree import Tree

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALL_RULES_OFF = PruneConfig(max_sessions=0, ttl_hours=0)


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state", lock_timeout=5)


def saved(store: StateStore, session_id: str, *, minutes: int = 0, **fields: Any) -> Session:
    session = Session("user", session_id, created_at=NOON + timedelta(minutes=minutes), **fields)
    store.save_session(session)
    return session


def ids(found: list[SessionSummary]) -> list[str]:
    return [summary.id for summary in found]


# Saving and conflicts


def test_a_blind_save_overwrites_whatever_is_there(store: StateStore) -> None:
    first, second = saved(store, "s"), Session("other", "s")
    store.save_session(second)
    store.save_session(first)
    assert store.load_session("s") == first


def test_only_a_session_is_saved(store: StateStore) -> None:
    with pytest.raises(TypeError, match="a Session is expected, not dict"):
        store.save_session({})  # type: ignore[arg-type]


def test_an_update_succeeds_as_long_as_the_file_is_what_the_object_was(store: StateStore) -> None:
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
    ],
)
def test_an_update_over_anothers_change_is_a_conflict_and_writes_nothing(
    store: StateStore, change: Any, reason: str
) -> None:
    session = saved(store, "s")
    change(store)
    before = {path: path.read_bytes() for path in (store.base_path / "sessions").iterdir()}
    with pytest.raises(SessionConflictError, match=f"not saved, it was {reason} since it was loaded: .*s.json"):
        store.update_session(session)
    assert {path: path.read_bytes() for path in (store.base_path / "sessions").iterdir()} == before


def test_a_new_session_does_not_update_one_of_the_same_id(store: StateStore) -> None:
    saved(store, "s")
    with pytest.raises(SessionConflictError, match="there is a session of this id already"):
        store.update_session(Session("user", "s"))


def test_a_copy_that_was_changed_and_a_session_that_is_loaded_as_any_document_count_as_new(store: StateStore) -> None:
    session = saved(store, "s")
    as_document = store.load_json("sessions", "s", Session)
    assert as_document == session
    for new in (attrs.evolve(session, user_id="other"), as_document):
        with pytest.raises(SessionConflictError):
            store.update_session(new)
    assert store.load_session("s") == session


def test_a_wrong_record_in_a_list_is_refused_by_its_path(store: StateStore) -> None:
    session = saved(store, "s")
    session.user_messages.append("hello")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedValueError, match=r"\$\.user_messages\[0\]: a UserMessage belongs here, not 'hello'"):
        store.save_session(session)


def test_a_naive_timestamp_is_refused_by_its_path(store: StateStore) -> None:
    session = Session("user", "s", user_messages=[UserMessage("x", timestamp=datetime(2026, 3, 1))])  # noqa: DTZ001
    with pytest.raises(UnsupportedValueError, match=r"\$\.user_messages\[0\]\.timestamp: .* has no time zone"):
        store.save_session(session)
    assert not store.base_path.exists()


def test_a_save_whose_directory_cannot_be_synced_is_a_save(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_edit_is_saved_when_the_block_ends_and_not_when_it_raises(store: StateStore) -> None:
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
def test_an_edit_of_a_missing_session_says_so(store: StateStore, prepare: Any) -> None:
    prepare(store)
    with pytest.raises(SessionNotFoundError, match="no session 's' in "), store.edit_session("s"):
        pytest.fail("the block must not run")


def test_an_edit_does_not_take_a_failure_for_a_missing_session(store: StateStore, calls: SimpleNamespace) -> None:
    saved(store, "s")
    calls.lstat = fail
    with pytest.raises(OSError, match="as a broken disk does"), store.edit_session("s"):
        pytest.fail("the block must not run")


def fail(path: Path) -> None:
    raise OSError(errno.EIO, "as a broken disk does", str(path))


def test_a_session_that_goes_before_the_lock_is_had_is_missing(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(store, "s")
    lock = StateStore.lock

    def lock_after_a_deletion(self: StateStore, category: str) -> Any:
        (self.base_path / "sessions/s.json").unlink(missing_ok=True)
        return lock(self, category)

    monkeypatch.setattr(StateStore, "lock", lock_after_a_deletion)
    with pytest.raises(SessionNotFoundError), store.edit_session("s"):
        pytest.fail("the block must not run")


def test_a_nested_edit_of_the_same_session_is_a_conflict_for_the_outer_one(store: StateStore) -> None:
    saved(store, "s")
    with pytest.raises(SessionConflictError), store.edit_session("s") as outer:
        outer.add_user_message("outer")
        with store.edit_session("s") as inner:
            inner.add_user_message("inner")
    loaded = store.load_session("s")
    assert loaded is not None
    assert [message.content for message in loaded.user_messages] == ["inner"]


def test_nested_edits_of_different_sessions_are_both_saved(store: StateStore) -> None:
    saved(store, "a")
    saved(store, "b")
    with store.edit_session("a") as a, store.edit_session("b") as b:
        a.set_metadata("k", 1)
        b.set_metadata("k", 2)
    assert [store.load_session(name).get_metadata("k") for name in ("a", "b")] == [1, 2]  # type: ignore[union-attr]


def test_a_save_by_the_kernel_while_an_edit_runs_is_a_conflict(store: StateStore) -> None:
    session = saved(store, "s")
    path = store.base_path / "sessions/s.json"
    with pytest.raises(SessionConflictError), store.edit_session("s") as edited:
        edited.add_user_message("x")
        (path.parent / "s.1.tmp").write_bytes(path.read_bytes().replace(b'"user"', b'"kernel"'))
        os.replace(path.parent / "s.1.tmp", path)
    assert b'"kernel"' in path.read_bytes()
    assert session.user_messages == []


# Loading and making


def test_a_session_whose_id_is_not_its_file_name_is_corrupt(store: StateStore) -> None:
    saved(store, "s")
    (store.base_path / "sessions/copy.json").write_bytes((store.base_path / "sessions/s.json").read_bytes())
    with pytest.raises(CorruptStateError, match=r"\$\.id: the id is 's', but the file is 'copy''s"):
        store.load_session("copy")


def test_get_or_create_refuses_the_session_of_another_user(store: StateStore) -> None:
    mine = store.get_or_create_session("me", "s")
    assert store.get_or_create_session("me", "s") == mine
    with pytest.raises(SessionOwnerError, match="session 's' belongs to another user than 'you'"):
        store.get_or_create_session("you", "s")


def test_of_two_who_create_a_session_the_second_gets_the_firsts(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Session("me", "s")
    load = StateStore.load_session
    answers = [lambda *_: None, load]  # it comes into being between the first look and the lock

    def load_session(self: StateStore, session_id: str) -> Session | None:
        found: Session | None = answers.pop(0)(self, session_id)
        if found is None:
            self.save_session(first)
        return found

    monkeypatch.setattr(StateStore, "load_session", load_session)
    assert store.get_or_create_session("me", "s") == first


def test_get_or_create_does_not_replace_a_corrupt_session(store: StateStore) -> None:
    saved(store, "s")
    (store.base_path / "sessions/s.json").write_bytes(b"{")
    with pytest.raises(CorruptStateError):
        store.get_or_create_session("user", "s")
    assert (store.base_path / "sessions/s.json").read_bytes() == b"{"


def test_deleting_a_session_says_whether_it_was_there(store: StateStore) -> None:
    saved(store, "s")
    (store.base_path / "sessions/s.json").write_bytes(b"corrupt")
    assert store.delete_session("s")
    assert not store.delete_session("s")


def test_a_response_added_in_an_edit_is_there_for_the_next(store: StateStore) -> None:
    store.get_or_create_session("u", "s")
    for text in ("one", "two"):
        with store.edit_session("s") as session:
            session.add_agent_response(AgentResponse(text))
    with store.edit_session("s") as session:
        assert [response.content for response in session.agent_responses] == ["one", "two"]


def test_a_session_can_be_kept_as_any_other_document(store: StateStore) -> None:
    session = saved(store, "s", user_messages=[UserMessage("x", timestamp=NOON)])
    store.save_json("backup", "s", session)
    assert (store.base_path / "backup/s.json").read_bytes() == (store.base_path / "sessions/s.json").read_bytes()
    assert store.load_json("backup", "s", Session) == session
