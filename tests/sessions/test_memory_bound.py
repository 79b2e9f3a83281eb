"""The bound on the memory of the session cache."""

from __future__ import annotations

import gc
import pickle
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from oxios_state import AgentResponse, Session, StateStore, TrajectoryStepRecord, UserMessage
from oxios_state.model.records import RECORD_TYPES


def loaded(store: StateStore, session_id: str = "s") -> Session:
    session = store.load_session(session_id)
    assert session is not None
    return session


def test_the_most_recently_used_sessions_are_kept(tmp_path: Path, decoded: list[str]) -> None:
    store = StateStore(tmp_path / "state", durable=False, cache_bytes=20_000)  # four
    names = ["a", "b", "c", "d", "e"]
    for name in names[:4]:
        store.save_session(Session("u", name))
    loaded(store, "a")
    store.save_session(Session("u", "e"))  # evicts b
    for name in ("a", "c", "d", "e"):
        loaded(store, name)
    assert decoded == []
    loaded(store, "b")
    assert decoded == ["b"]


def test_a_session_beyond_the_bound_is_not_kept_and_evicts_no_other(tmp_path: Path, decoded: list[str]) -> None:
    store = StateStore(tmp_path / "state", durable=False, cache_bytes=20_000)
    store.save_session(Session("u", "small"))
    big = Session("u", "big")
    store.save_session(big)
    loaded(store, "big")
    assert decoded == []
    big.add_user_message("x" * 20_000)
    store.save_session(big)
    loaded(store, "small")
    assert decoded == []
    loaded(store, "big")
    assert decoded == ["big"]


def test_a_bound_of_zero_keeps_nothing(tmp_path: Path, decoded: list[str]) -> None:
    store = StateStore(tmp_path / "state", durable=False, cache_bytes=0)
    assert store.cache_bytes == 0
    store.save_session(Session("u", "s"))
    for _ in range(2):
        loaded(store)
    assert decoded == ["s", "s"]


@pytest.mark.parametrize("value", [-1, 1.0, True, "1", None])
def test_a_bad_bound_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ValueError if value == -1 else TypeError, match="cache_bytes must"):
        StateStore(tmp_path, cache_bytes=value)


def test_the_bound_holds_with_many_threads(settled_store: StateStore) -> None:
    store = StateStore(settled_store.base_path, durable=False, cache_bytes=200_000)

    def work(number: int) -> None:
        name = f"s{number * 7 % 11}"
        session = store.load_session(name) or Session("u", name)
        session.add_user_message("x" * (number % 5 * 100))
        store.save_session(session)
        store.load_session(f"s{number % 11}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(400)))
    cache = store._sessions._cache
    costs = [3000 + 8 * identity[2] for identity, _ in cache._kept.values()]
    assert cache._cost == sum(costs) <= 200_000
    assert costs


def test_a_pickled_store_keeps_its_bound_but_no_sessions(
    tmp_path: Path, decoded: list[str], full_session: Callable[..., Session]
) -> None:
    store = StateStore(tmp_path / "state", durable=False, cache_bytes=12_345)
    store.save_session(full_session())
    store.list_sessions()
    decoded.clear()
    sent = pickle.loads(pickle.dumps(store))
    assert sent.cache_bytes == 12_345
    assert len(pickle.dumps(store)) < 1000
    assert loaded(sent) == full_session()
    assert decoded == ["s"]
    assert sent.list_sessions() == store.list_sessions()


KINDS: dict[str, Callable[[int], Session]] = {
    "empty": lambda number: Session("u", f"s{number}"),
    "text": lambda number: Session("u", f"s{number}", user_messages=[UserMessage("word " * 20_000)]),
    "emoji": lambda number: Session("u", f"s{number}", user_messages=[UserMessage("word " * 20_000 + "\U0001f680")]),
    "objects": lambda number: Session("u", f"s{number}", metadata={f"k{i}": {"v": [{}, i]} for i in range(200)}),
}


@pytest.fixture(params=["typical", *KINDS])
def make(request: pytest.FixtureRequest, full_session: Callable[..., Session]) -> Callable[[int], Session]:
    """A function that makes a numbered session of one kind."""

    def typical(number: int) -> Session:
        session = full_session(f"s{number}")
        for index in range(10):
            session.add_user_message(f"What does {index} do? " * 10)
            session.add_agent_response(AgentResponse("It does this, and that. " * 40, session_id=session.id))
            args = {"command": "grep -rn something .", "timeout": index, "cwd": "/home/ada"}
            session.extend_trajectory([TrajectoryStepRecord("bash", args, "Found it. " * 40)] * 3)
        return session

    return KINDS.get(request.param, typical)


@pytest.mark.skipif(not hasattr(tracemalloc, "start"), reason="PyPy counts no memory")
@pytest.mark.parametrize("way", ["saved", "loaded", "loaded and read", "loaded and saved"])
def test_the_cache_uses_no_more_memory_than_the_bound(
    settled_store: StateStore, make: Callable[[int], Session], way: str
) -> None:
    count = 12
    for number in range(count + 1):
        settled_store.save_session(make(number))
    keeping = StateStore(settled_store.base_path, durable=False)

    def use(number: int) -> None:
        if way == "saved":
            session = make(number)
            keeping.save_session(session)
            return
        session = loaded(keeping, f"s{number}")
        if way == "loaded and read":
            assert all(record.timestamp for key in RECORD_TYPES for record in getattr(session, key))
        elif way == "loaded and saved":
            session.add_user_message("more")
            keeping.update_session(session)

    use(count)  # creates what is created once
    gc.collect()
    before_cost = keeping._sessions._cache._cost
    tracemalloc.start()
    try:
        for number in range(count):
            use(number)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(keeping._sessions._cache._kept) == count + 1
    assert used <= keeping._sessions._cache._cost - before_cost
