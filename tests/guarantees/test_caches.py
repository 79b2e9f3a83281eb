"""Caches change no result: a store with caches returns the same as one without, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxios_state import (
    AgentResponse,
    CorruptStateError,
    PruneConfig,
    Session,
    SessionConflictError,
    SessionSummary,
    StateStore,
    Timestamp,
    TrajectoryStepRecord,
    UserMessage,
)
from oxios_state.storage import reads

NAMES = ["a", "b", "c"]
ELSEWHERE = timezone(timedelta(hours=-7, minutes=-30))


class Level(IntEnum):
    HIGH = 3


class Word(str):
    __slots__ = ()


class Table(dict[str, Any]):
    pass


values: st.SearchStrategy[Any] = st.sampled_from(
    [
        *("x", "\u00e9\n\U0001f680", Word("w"), "", None, True, 1, 2**64 - 1, -(2**63), Level.HIGH, 1.5, -0.0, 1e300),
        *([], {}, (1, (2,)), [Word("w")], {"a": [{"b": ()}]}, {Word("k"): 1e-7}, Table(t=Table()), [[[{"d": {}}]]]),
    ]
)
texts = st.sampled_from(["hi", "second\nline", Word("w"), "\u00e9\U0001f680"])
moments = st.sampled_from(
    [
        datetime(2026, 3, 1, 12, tzinfo=UTC),
        datetime(2020, 1, 1, 12, 0, 0, 5000, tzinfo=ELSEWHERE),
        datetime(2026, 3, 1, 12, tzinfo=UTC, fold=1),
        Timestamp(2026, 3, 1, 12, tzinfo=UTC),
        Timestamp(2026, 3, 1, 12, nanosecond=7, tzinfo=UTC),
        Timestamp(2020, 3, 1, 12, nanosecond=7, tzinfo=ELSEWHERE),
    ]
)
extras = st.dictionaries(st.sampled_from(["new", "x y", Word("project_id")]), values, max_size=2)
maybe = st.sampled_from([None, "seed", Word("w")])
sessions = st.builds(
    Session,
    texts,
    st.sampled_from(NAMES),
    user_messages=st.lists(st.builds(UserMessage, texts, timestamp=moments, extra=extras), max_size=2),
    agent_responses=st.lists(
        st.builds(AgentResponse, texts, seed_id=maybe, timestamp=moments, seed_id_absent=st.booleans(), extra=extras),
        max_size=2,
    ),
    trajectory_steps=st.lists(
        st.builds(TrajectoryStepRecord, texts, values, timestamp=moments, extra=extras), max_size=2
    ),
    active_seed_id=maybe,
    created_at=moments,
    updated_at=moments,
    metadata=st.dictionaries(st.sampled_from(["title", "project_ids", Word("k")]), values, max_size=3),
    extra=extras,
)


def exactly(value: Any) -> Any:
    """Return what distinguishes values, down to their types and the order of keys."""
    if isinstance(value, dict):
        return type(value), [(type(key), key, exactly(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [exactly(item) for item in value]
    if isinstance(value, datetime):
        return type(value), repr(value), value.fold
    if attrs.has(type(value)):
        fields = [field.name for field in attrs.fields(type(value)) if field.name != "_source"]
        return type(value), [exactly(getattr(value, name)) for name in fields]
    return type(value), repr(value)


class Pair:
    """Two stores that do the same, one with caches and one without, each on a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._bases = directory / "keeps", directory / "forgets"
        self._keeps = StateStore(self._bases[0], durable=False)

    def stores(self) -> tuple[StateStore, StateStore]:
        shutil.rmtree(self._bases[1] / ".oxios_state" / "cache", ignore_errors=True)
        return self._keeps, StateStore(self._bases[1], durable=False, cache_bytes=0)

    def again(self, *, with_file: bool) -> None:
        """Start with a new store, as another process would."""
        self._keeps = StateStore(self._bases[0], durable=False)
        if not with_file:
            shutil.rmtree(self._bases[0] / ".oxios_state" / "cache", ignore_errors=True)

    def compare(self) -> None:
        keeps, forgets = self.stores()
        for name in NAMES:
            raw = [self._raw(base, name) for base in self._bases]
            assert raw[0] == raw[1]
            for _ in range(2):
                assert _outcome(keeps, name) == _outcome(forgets, name)
        for _ in range(2):
            assert _listed(keeps) == _listed(forgets)
        assert len(_listed(keeps)) == sum(_outcome(forgets, name)[0] is Session for name in NAMES)

    def paths(self, name: str) -> list[Path]:
        return [base / "sessions" / f"{name}.json" for base in self._bases]

    def _raw(self, base: Path, name: str) -> bytes | None:
        with suppress(FileNotFoundError):
            return (base / "sessions" / f"{name}.json").read_bytes()
        return None


def _outcome(store: StateStore, name: str) -> Any:
    try:
        return exactly(store.load_session(name))
    except CorruptStateError as error:
        return CorruptStateError, error.reason


def _listed(store: StateStore) -> list[Any]:
    listed: list[SessionSummary] = store.list_sessions()
    return [exactly(summary) for summary in listed]


def change(session: Session, value: Any, fields: Session) -> None:
    session.metadata["changed"] = value
    session.user_messages += fields.user_messages
    session.trajectory_steps[:1] = fields.trajectory_steps
    session.updated_at = fields.updated_at


Loaded = dict[str, tuple[Session | None, ...]]


def save(pair: Pair, draw: Any, name: str, loaded: Loaded) -> None:
    session = draw(sessions)
    for store in pair.stores():
        store.save_session(attrs.evolve(session))


def edit(pair: Pair, draw: Any, name: str, loaded: Loaded) -> None:
    value, fields = draw(values), draw(sessions)
    for store in pair.stores():
        with suppress(LookupError, CorruptStateError), store.edit_session(name) as session:
            change(session, value, fields)


def load(pair: Pair, draw: Any, name: str, loaded: Loaded) -> None:
    with suppress(CorruptStateError):
        loaded[name] = tuple(store.load_session(name) for store in pair.stores())


def update(pair: Pair, draw: Any, name: str, loaded: Loaded) -> None:
    value, fields, outcomes = draw(values), draw(sessions), set()
    for store, session in zip(pair.stores(), loaded.get(name, ()), strict=False):
        if session is not None:
            change(session, value, fields)
            try:
                store.update_session(session)
                outcomes.add("saved")
            except SessionConflictError:
                outcomes.add("conflict")
    assert len(outcomes) <= 1


def delete(pair: Pair, draw: Any, name: str, loaded: Loaded) -> None:
    assert len({store.delete_session(name) for store in pair.stores()}) == 1


def prune(pair: Pair, draw: Any, name: str, loaded: Loaded) -> None:
    config = PruneConfig(draw(st.sampled_from([0, 2])), draw(st.sampled_from([0, 24 * 365 * 3])))
    assert len({repr(store.prune(config)) for store in pair.stores()}) == 1


def go_on_elsewhere(pair: Pair, draw: Any, name: str, loaded: Loaded) -> None:
    pair.again(with_file=draw(st.booleans()))


def write_as_others(pair: Pair, draw: Any, name: str, loaded: Loaded) -> None:
    kernel_writes(pair.paths(name), name, in_place=draw(st.booleans()), user_id=draw(st.sampled_from("uvw{")))


STEPS = [save, save, edit, load, update, update, delete, prune, go_on_elsewhere, write_as_others, write_as_others]


def kernel_writes(paths: list[Path], name: str, *, in_place: bool, user_id: str) -> None:
    """Write a document that differs in one letter, or one that is not JSON."""
    times = dict.fromkeys(["created_at", "updated_at"], "2026-03-01T12:00:00.123456789Z")
    text = json.dumps({"id": name, "user_id": user_id, "unknown": [1, {}]} | times)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path if in_place else path.with_name("kernel.tmp")
        target.write_text(text if user_id != "{" else "{" * len(text))
        if target != path:
            os.replace(target, path)


@pytest.mark.parametrize("age", [0, 10], ids=["young files are not trusted", "all files are trusted at once"])
def test_a_store_with_caches_returns_the_same_as_one_without(age: int) -> None:
    # The second way needs a file system with a fine clock: on older Linux two changes may get one time. Such changes
    # have tests of their own in test_racy_changes.
    if age and not _is_fine():
        pytest.skip("the file system's clock is coarse")
    with pytest.MonkeyPatch.context() as patch:
        clock = SimpleNamespace(time_ns=lambda: time.time_ns() + age * 10**9)
        patch.setattr(reads, "time", clock)

        @settings(max_examples=60, deadline=None)
        @given(data=st.data())
        def walk(data: st.DataObject) -> None:
            with tempfile.TemporaryDirectory() as directory:
                pair = Pair(Path(directory))
                loaded: Loaded = {}
                for _ in range(data.draw(st.integers(1, 12))):
                    step = data.draw(st.sampled_from(STEPS))
                    step(pair, data.draw, data.draw(st.sampled_from(NAMES)), loaded)
                    pair.compare()

        walk()


def _is_fine() -> bool:
    """Return whether two changes with a look between them get two times, as since Linux 6.13."""
    with tempfile.NamedTemporaryFile() as file:
        seen = set()
        for _ in range(20):
            os.write(file.fileno(), b"x")
            seen.add(os.fstat(file.fileno()).st_ctime_ns)
    return len(seen) == 20
