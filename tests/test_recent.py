"""The sessions that a store keeps in memory: each caller gets its own, and nothing that interrupts does harm."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from oxios_state import (
    AgentResponse,
    Session,
    SessionConflictError,
    SessionId,
    StateStore,
    TrajectoryStepRecord,
    UserMessage,
    codec,
    reading,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateStore:
    # As if every file had been there for a while: what is loaded is kept as well.
    monkeypatch.setattr(reading, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 10**10))
    return StateStore(tmp_path / "state", durable=False)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the sessions that were decoded from their files."""
    ids: list[str] = []
    decode = codec.decode_named

    def decode_and_note(raw: bytes, path: Path) -> Session:
        ids.append(path.stem)
        return decode(raw, path)

    monkeypatch.setattr(codec, "decode_named", decode_and_note)
    return ids


def full(session_id: str = "s") -> Session:
    return Session(
        "u",
        session_id,
        user_messages=[UserMessage("hello", timestamp=NOON, extra={"x": [1]})],
        agent_responses=[AgentResponse("hi", timestamp=NOON)],
        trajectory_steps=[TrajectoryStepRecord("grep", {"deep": [{"n": 1}]}, timestamp=NOON)],
        created_at=NOON,
        metadata={"tags": ["a", {"b": 1}]},
        extra={"new": {"k": [1]}},
    )


def loaded(store: StateStore, session_id: str = "s") -> Session:
    session = store.load_session(session_id)
    assert session is not None
    return session


CHANGES: dict[str, Callable[[Session], object]] = {
    "metadata": lambda session: session.metadata.update(title="x"),
    "inside metadata": lambda session: session.metadata["tags"].append(1),
    "deep inside metadata": lambda session: session.metadata["tags"][1].clear(),
    "extra": lambda session: session.extra["new"]["k"].append(2),
    "messages": lambda session: session.add_user_message("more"),
    "responses": lambda session: session.agent_responses.clear(),
    "steps": lambda session: session.trajectory_steps.pop(),
    "attributes": lambda session: session.set_active_seed("x"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("first", ["saved", "saved inexactly", "loaded", "edited"])
def test_what_is_handed_out_or_was_handed_in_is_the_callers_alone(
    store: StateStore, first: str, change: str, decoded: list[str]
) -> None:
    mine = full()
    if first == "saved inexactly":
        mine.metadata["tags"] = tuple(mine.metadata["tags"])
        mine.extra["new"]["big"] = 1e300
    store.save_session(mine)
    expected = loaded(StateStore(store.base_path, cache_bytes=0))
    decoded.clear()
    if first == "loaded":
        store = StateStore(store.base_path, durable=False)
        mine = loaded(store)
    elif first == "edited":
        with store.edit_session("s") as mine:
            pass
    if first == "saved inexactly":
        mine.metadata["tags"] = list(mine.metadata["tags"])
    CHANGES[change](mine)
    for _ in range(2):
        mine = loaded(store)
        assert mine == expected
        CHANGES[change](mine)
        assert mine != expected
    assert decoded == ["s"] * (first == "loaded")


def test_the_lists_of_two_loads_are_two_and_the_records_the_same(store: StateStore) -> None:
    store.save_session(full())
    one, two = loaded(store), loaded(store)
    for field in attrs.fields(Session):
        kept, other = getattr(one, field.name), getattr(two, field.name)
        assert type(kept) is type(other)
        assert not (isinstance(kept, list | dict) and kept is other)
    assert one.user_messages[0] is two.user_messages[0]
    for record in (one.trajectory_steps[0].tool_args, one.user_messages[0].extra):
        with pytest.raises(TypeError, match="immutable"):
            record["x"] = 1


def test_threads_that_load_and_change_do_not_see_each_other(store: StateStore) -> None:
    store.save_session(full())
    expected = loaded(StateStore(store.base_path, cache_bytes=0))

    def work(number: int) -> bool:
        mine = loaded(store)
        same = mine == expected
        for change in CHANGES.values():
            change(mine)
        mine.metadata["number"] = number
        return same

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))
    assert loaded(store) == expected


def test_what_another_thread_changes_while_a_session_is_saved_is_not_taken_for_saved(
    store: StateStore, calls: SimpleNamespace
) -> None:
    session = full()
    replace = calls.replace

    def change_meanwhile(*paths: Any) -> None:
        for change in CHANGES.values():
            change(session)
        replace(*paths)

    calls.replace = change_meanwhile
    store.save_session(session)
    calls.replace = replace
    assert loaded(store) == loaded(StateStore(store.base_path, cache_bytes=0)) == full()
    store.update_session(session)
    assert loaded(store) == loaded(StateStore(store.base_path, cache_bytes=0)) == session


def test_an_id_of_a_class_of_its_own_comes_back_as_a_plain_one(store: StateStore) -> None:
    class Id(SessionId):
        def __str__(self) -> str:
            return "other"

    session = Session("u", Id("s"))
    assert type(session.id) is SessionId
    store.save_session(session)
    assert type(loaded(store).id) is SessionId


# Forks, signals and interrupts.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that there are threads
@pytest.mark.parametrize("first", ["load", "save", "update"])
def test_a_child_that_was_forked_while_a_thread_kept_a_session_does_not_wait_for_it(
    store: StateStore, first: str
) -> None:
    session = full()
    store.save_session(session)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store._recent._lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)
            if first != "load":
                (store.save_session if first == "save" else store.update_session)(session)
            code = 0 if loaded(store) == session else 2
        finally:
            os._exit(code)  # whatever happens: not into what pytest would do
    done.set()
    thread.join()
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no such signals")
def test_a_signal_handler_that_loads_and_saves_does_not_wait_for_what_it_interrupts(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    recent = store._recent
    handled: list[bool] = []
    store.save_session(full())

    def interrupted(kept: Any) -> None:
        if not handled:
            handled.append(True)
            signal.raise_signal(signal.SIGUSR1)
        drop(kept)

    drop = recent._drop
    monkeypatch.setattr(recent, "_drop", interrupted)
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.append(loaded(store) == full()))
    try:
        assert loaded(store) == full()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert handled == [True, True]
    assert recent._cost == sum(3000 + 8 * identity[2] for identity, _ in recent._kept.values())


def test_an_interrupt_in_the_middle_leaves_nothing_kept_and_nothing_counted(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    store.save_session(full())
    recent = store._recent
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(recent, "_drop", interrupt)
        loaded(store)
    assert (len(recent._kept), recent._cost) == (0, 0)
    assert loaded(store) == full()
    assert (len(recent._kept), recent._cost > 0) == (1, True)


# Sessions that travel.


def test_a_session_that_was_pickled_is_updated_elsewhere_if_nobody_else_changed_it(store: StateStore) -> None:
    store.save_session(full())
    for _ in range(2):
        one = loaded(store)
        sent, late = pickle.loads(pickle.dumps((one, one)))[0], pickle.loads(pickle.dumps(one))
        elsewhere = pickle.loads(pickle.dumps(store))
        sent.add_user_message("from elsewhere")
        elsewhere.update_session(sent)
        assert loaded(store) == sent
        for stale in (one, late):
            with pytest.raises(SessionConflictError):
                store.update_session(stale)
