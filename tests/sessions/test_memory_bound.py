"""The bound on the memory of a store: for the sessions and summaries that it keeps."""

from __future__ import annotations

import gc
import json
import pickle
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oxios_state import AgentResponse, Session, StateStore, TrajectoryStepRecord, UserMessage
from oxios_state.codec import incremental
from oxios_state.model.records import RECORD_TYPES


def loaded(store: StateStore, session_id: str = "s") -> Session:
    session = store.load_session(session_id)
    assert session is not None
    return session


def measured(store: StateStore) -> int:
    """Return the memory of the kept sessions as it is estimated when it matters: when the bound is reached."""
    cache = store._sessions._cache
    cache._measure()
    assert not any(kept.rough for kept in cache._kept.values())
    assert cache._cost == sum(kept.memory for kept in cache._kept.values())
    return cache._cost


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
    costs = [kept.memory for kept in cache._kept.values()]
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


counts_memory = pytest.mark.skipif(not hasattr(tracemalloc, "start"), reason="PyPy counts no memory")
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


@counts_memory
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
    before_cost = measured(keeping)
    with memory_used() as used:
        for number in range(count):
            use(number)
    assert len(keeping._sessions._cache._kept) == count + 1
    assert used.bytes <= measured(keeping) - before_cost


# Documents of any layout, as others may write them: the memory of what was loaded is counted, not its bytes.

LAYOUTS: dict[str, Callable[[int], Any]] = {
    "empty objects": lambda _: [{}] * 400,
    "empty arrays": lambda _: [[]] * 400,
    "small objects": lambda _: [{"a": 1}] * 400,
    "small objects with floats": lambda n: [{"a": n + i / 7} for i in range(400)],
    "small objects with keys of their own": lambda n: [{f"k{n}{i}": f"v{n}{i}"} for i in range(400)],
    "small arrays": lambda _: [[7]] * 400,
    "small arrays of text": lambda n: [[f"{n}{i}"] for i in range(400)],
    "objects in objects": lambda _: [{"a": {"b": {}}}] * 400,
    "arrays in arrays": lambda _: [[[[]]]] * 400,
    "one large object": lambda n: {f"{n}{i}": f"{i}" for i in range(700)},
    "an object that has just grown": lambda n: {f"{n}{i}": i for i in range(683)},
    "objects that have just grown": lambda n: [{f"{n}{i}{j}": i for j in range(6)} for i in range(100)],
    "floats": lambda n: [n + i / 7 for i in range(600)],
    "integers": lambda n: [n * 10**9 + i for i in range(600)],
    "numbers of one digit": lambda _: [1] * 1000,
    "text of two letters": lambda _: [f"{i:02}" for i in range(99)] * 8,
    "texts with an emoji": lambda n: [f"{n}{i} a text\U0001f680" for i in range(200)],
    "a text with an emoji": lambda n: f"{n}" + "a" * 30_000 + "\U0001f680",
    "Greek": lambda n: f"{n}" + "\u03b1\u03b2" * 10_000,
    "Latin": lambda n: f"{n}" + "\u00e4\u00f6" * 10_000,
    "null": lambda _: [None, True] * 400,
}
PLACES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "metadata": lambda value: {"metadata": {"x": value}},
    "extra": lambda value: {"metadata": {}, "x": value},
    "tool_args": lambda value: {"metadata": {}, "trajectory_steps": [call(value)]},
    "tool_args of many calls": lambda value: {
        "metadata": {},
        "trajectory_steps": [call(item) for item in (value if isinstance(value, list) else [value])],
    },
}
TIME = "2026-03-01T08:00:00.123456789Z"


def call(value: Any) -> dict[str, Any]:
    return {
        "tool_name": "t",
        "tool_args": value,
        "output_summary": "",
        "duration_ms": 0,
        "is_error": False,
        "tool_call_id": "",
        "timestamp": TIME,
    }


@contextmanager
def memory_used() -> Iterator[SimpleNamespace]:
    """Measure how much more memory is in use at the end of the block than at its beginning."""
    used = SimpleNamespace()
    gc.freeze()  # the collections then skip what the other tests left, which takes most of their time
    tracemalloc.start()
    try:
        yield used
        gc.collect()
        used.bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.unfreeze()


@counts_memory
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_document_of_any_layout_uses_no_more_memory_than_is_counted(
    settled_store: StateStore, layout: str, place: str
) -> None:
    times = {"created_at": TIME, "updated_at": TIME}
    (settled_store.base_path / "sessions").mkdir(parents=True)
    for number in range(4):
        document = {"id": f"s{number}", "user_id": "u", **times, **PLACES[place](LAYOUTS[layout](number))}
        text = json.dumps(document, ensure_ascii=number % 2 == 1, separators=(",", ":"))
        (settled_store.base_path / "sessions" / f"s{number}.json").write_text(text, "utf-8")
    cache = settled_store._sessions._cache
    loaded(settled_store, "s3")  # creates what is created once
    before = measured(settled_store)
    with memory_used() as unread:
        for number in range(3):
            loaded(settled_store, f"s{number}")
    assert len(cache._kept) == 4
    assert unread.bytes <= measured(settled_store) - before
    with memory_used() as read:
        again = StateStore(settled_store.base_path, durable=False)
        for number in range(3):
            session = loaded(again, f"s{number}")
            assert all(record.timestamp for key in RECORD_TYPES for record in getattr(session, key))
            assert bytes(incremental.encode(session, settled_store.base_path))  # the UTF-8 of each text
            del session
    assert read.bytes <= measured(again) + 50_000  # that of the store itself


@counts_memory
@pytest.mark.parametrize("way", ["listed", "from the file", "listed again"])
@pytest.mark.parametrize("title", ["", "t", "title " * 50_000, "title " * 50_000 + "\U0001f680"], ids=range(4))
def test_summaries_use_no_more_memory_than_is_counted(settled_store: StateStore, title: str, way: str) -> None:
    count = 150 if len(title) < 2 else 5
    for number in range(count):
        metadata = {"title": f"{title}{number}", "project_id": f"p{number}"} if title else {}
        settled_store.save_session(
            Session(f"user{number}", f"s{number}", metadata=metadata, active_seed_id=f"s{number}")
        )
    if way == "from the file":
        StateStore(settled_store.base_path, durable=False).list_sessions()
    store = StateStore(settled_store.base_path, durable=False)
    cache = store._sessions._cache
    StateStore(settled_store.base_path.parent / "other", durable=False).list_sessions()  # creates what is created once
    with memory_used() as used:
        store.list_sessions()
        if way == "listed again":
            for number in range(count):
                settled_store.save_session(Session(f"user{number}", f"s{number}", metadata={"title": "other"}))
            store.list_sessions()
    assert cache._reserved >= 1000 * count
    assert used.bytes <= cache._reserved + 100_000 + (cache._reserved * 2 if way == "listed again" else 0)


def test_summaries_and_sessions_share_the_bound(
    settled_store: StateStore, looked: list[str], decoded: list[str]
) -> None:
    for number in range(10):
        settled_store.save_session(Session("u", f"s{number}", user_messages=[UserMessage("x" * 1000)]))
    store = StateStore(settled_store.base_path, durable=False, cache_bytes=60_000)
    cache = store._sessions._cache
    for number in range(10):
        loaded(store, f"s{number}")
    kept = len(cache._kept)
    assert kept > 3
    store.list_sessions()
    assert 0 < len(cache._kept) < kept
    assert cache._reserved + cache._cost <= 60_000
    looked.clear()
    decoded.clear()
    assert len(store.list_sessions()) == 10
    assert looked == decoded == []


def test_summaries_beyond_the_bound_are_read_from_the_file(
    settled_store: StateStore, looked: list[str], listed: Callable[[StateStore], str]
) -> None:
    for number in range(3):
        settled_store.save_session(Session("u", f"s{number}", metadata={"title": "t" * 30_000}))
    for bound in (0, 50_000):
        looked.clear()
        store = StateStore(settled_store.base_path, durable=False, cache_bytes=bound)
        expected = listed(settled_store)
        assert [listed(store) for _ in range(3)] == [expected] * 3
        assert store._sessions._index._last is None
        assert store._sessions._cache._reserved == 0
        assert sorted(looked) in ([], ["s0", "s1", "s2"])  # the cache file has them
    store = StateStore(settled_store.base_path, durable=False, cache_bytes=0)
    settled_store.save_session(Session("u", "s1"))
    settled_store.delete_session("s2")
    assert listed(store) == listed(StateStore(settled_store.base_path, durable=False)) == listed(settled_store)


def test_values_of_other_classes_are_not_kept(settled_store: StateStore) -> None:
    class Text(str):
        __slots__ = ("__dict__", "__weakref__")

    value = Text("x")
    gone = weakref.ref(value)
    session = Session("u", "s")
    session.extend_trajectory([TrajectoryStepRecord("t", {"a": value})])
    settled_store.save_session(session)
    del session, value
    gc.collect()
    assert gone() is None
    again = loaded(settled_store)
    assert again.trajectory_steps[0].tool_args == {"a": "x"}
    again.add_user_message("more")
    settled_store.update_session(again)
    assert loaded(StateStore(settled_store.base_path)) == again
