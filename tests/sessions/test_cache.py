"""The cache of sessions: each caller gets a copy of its own, and interrupts do no harm."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from oxios_state import Session, SessionConflictError, SessionId, StateStore


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
def test_a_changed_session_does_not_change_the_cached_one(
    settled_store: StateStore, first: str, change: str, decoded: list[str], full_session: Callable[..., Session]
) -> None:
    session = full_session()
    if first == "saved inexactly":
        session.metadata["tags"] = tuple(session.metadata["tags"])
        session.extra["new"]["big"] = 1e300
    settled_store.save_session(session)
    expected = loaded(StateStore(settled_store.base_path, cache_bytes=0))
    decoded.clear()
    if first == "loaded":
        settled_store = StateStore(settled_store.base_path, durable=False)
        session = loaded(settled_store)
    elif first == "edited":
        with settled_store.edit_session("s") as session:
            pass
    if first == "saved inexactly":
        session.metadata["tags"] = list(session.metadata["tags"])
    CHANGES[change](session)
    for _ in range(2):
        session = loaded(settled_store)
        assert session == expected
        CHANGES[change](session)
        assert session != expected
    assert decoded == ["s"] * (first == "loaded")


def test_loaded_sessions_share_only_immutable_records(
    settled_store: StateStore, full_session: Callable[..., Session]
) -> None:
    settled_store.save_session(full_session())
    one, two = loaded(settled_store), loaded(settled_store)
    for field in attrs.fields(Session):
        kept, other = getattr(one, field.name), getattr(two, field.name)
        assert type(kept) is type(other)
        assert not (isinstance(kept, list | dict) and kept is other)
    assert one.user_messages[0] is two.user_messages[0]
    for record in (one.trajectory_steps[0].tool_args, one.user_messages[0].extra):
        with pytest.raises(TypeError, match="immutable"):
            record["x"] = 1


def test_threads_do_not_see_each_others_changes(
    settled_store: StateStore, full_session: Callable[..., Session]
) -> None:
    settled_store.save_session(full_session())
    expected = loaded(StateStore(settled_store.base_path, cache_bytes=0))

    def work(number: int) -> bool:
        mine = loaded(settled_store)
        same = mine == expected
        for change in CHANGES.values():
            change(mine)
        mine.metadata["number"] = number
        return same

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))
    assert loaded(settled_store) == expected


def test_a_change_during_a_save_is_not_taken_for_saved(
    settled_store: StateStore, calls: SimpleNamespace, full_session: Callable[..., Session]
) -> None:
    session = full_session()
    replace = calls.replace

    def change_meanwhile(*paths: Any) -> None:
        for change in CHANGES.values():
            change(session)
        replace(*paths)

    calls.replace = change_meanwhile
    settled_store.save_session(session)
    calls.replace = replace
    assert loaded(settled_store) == loaded(StateStore(settled_store.base_path, cache_bytes=0)) == full_session()
    settled_store.update_session(session)
    assert loaded(settled_store) == loaded(StateStore(settled_store.base_path, cache_bytes=0)) == session


def test_an_id_of_a_subclass_becomes_a_plain_one(settled_store: StateStore) -> None:
    class Id(SessionId):
        def __str__(self) -> str:
            return "other"

    session = Session("u", Id("s"))
    assert type(session.id) is SessionId
    settled_store.save_session(session)
    assert type(loaded(settled_store).id) is SessionId


# Forks, signals and interrupts. These tests know the internals: they stop the cache at its worst moment.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that there are threads
@pytest.mark.parametrize("first", ["load", "save", "update"])
def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent(
    settled_store: StateStore, first: str, full_session: Callable[..., Session]
) -> None:
    session = full_session()
    settled_store.save_session(session)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with settled_store._sessions._cache._lock:
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
                (settled_store.save_session if first == "save" else settled_store.update_session)(session)
            code = 0 if loaded(settled_store) == session else 2
        finally:
            os._exit(code)  # whatever happens: not into what pytest would do
    done.set()
    thread.join()
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no such signals")
def test_a_signal_handler_can_use_the_cache_that_it_interrupts(
    settled_store: StateStore, monkeypatch: pytest.MonkeyPatch, full_session: Callable[..., Session]
) -> None:
    cache = settled_store._sessions._cache
    handled: list[bool] = []
    settled_store.save_session(full_session())

    def interrupted(kept: Any) -> None:
        if not handled:
            handled.append(True)
            signal.raise_signal(signal.SIGUSR1)
        drop(kept)

    drop = cache._drop
    monkeypatch.setattr(cache, "_drop", interrupted)
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.append(loaded(settled_store) == full_session()))
    try:
        assert loaded(settled_store) == full_session()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert handled == [True, True]
    assert cache._cost == sum(kept.memory for kept in cache._kept.values())


def test_an_interrupt_empties_the_cache(
    settled_store: StateStore, monkeypatch: pytest.MonkeyPatch, full_session: Callable[..., Session]
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    settled_store.save_session(full_session())
    cache = settled_store._sessions._cache
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cache, "_drop", interrupt)
        loaded(settled_store)
    assert (len(cache._kept), cache._cost) == (0, 0)
    assert loaded(settled_store) == full_session()
    assert (len(cache._kept), cache._cost > 0) == (1, True)


# Pickled sessions.


def test_a_pickled_session_can_be_updated_unless_it_is_stale(
    settled_store: StateStore, full_session: Callable[..., Session]
) -> None:
    settled_store.save_session(full_session())
    for _ in range(2):
        one = loaded(settled_store)
        sent, late = pickle.loads(pickle.dumps((one, one)))[0], pickle.loads(pickle.dumps(one))
        elsewhere = pickle.loads(pickle.dumps(settled_store))
        sent.add_user_message("from elsewhere")
        elsewhere.update_session(sent)
        assert loaded(settled_store) == sent
        for stale in (one, late):
            with pytest.raises(SessionConflictError):
                settled_store.update_session(stale)
