"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from oxios_state import AgentResponse, Session, SessionSummary, StateStore, Timestamp, TrajectoryStepRecord, UserMessage
from oxios_state.codec import json_text
from oxios_state.codec.documents import decode_named
from oxios_state.model.summary import summarise
from oxios_state.sessions import index, repository
from oxios_state.storage import atomic_write, moves, nfs, reads, system, tree
from oxios_state.storage.locks import CategoryLocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


settings.register_profile("untimed", deadline=None)  # machines are noisy; `_deadline` ends a test that hangs
settings.load_profile("untimed")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session", autouse=True)
def _no_gil() -> Iterator[None]:
    """Fail if an import switches the GIL on: the tests of threads would not test the free-threaded build."""
    is_on: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    before = is_on()
    yield
    assert is_on() == before


class HangsError(BaseException):
    """A test takes too long. A BaseException, or Hypothesis would look for a smaller example."""


def _interrupt(*_: object) -> None:
    raise HangsError("not done after 60 s")


@pytest.fixture(autouse=True)
def _deadline() -> Iterator[None]:
    """Let a test that hangs fail, instead of the whole run."""
    if not hasattr(signal, "alarm"):
        yield
        return
    before = signal.signal(signal.SIGALRM, _interrupt)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def takes() -> Callable[[float, Callable[[], float]], None]:
    """A function that asserts that a measured time is at least so many seconds, and little more."""

    def measure(seconds: float, taken: Callable[[], float]) -> None:
        times: list[float] = []
        while not times or (times[-1] >= seconds + 0.25 and len(times) < 5):  # a busy machine is late now and then
            times.append(taken())
            assert times[-1] >= seconds
        assert times[-1] < seconds + 0.25, times

    return measure


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The module `os` as the modules that touch files see it: only these call what a test assigns here."""
    namespace = SimpleNamespace(**vars(os))
    for module in (tree, reads, atomic_write, moves, nfs, system):
        monkeypatch.setattr(module, "os", namespace)
    return namespace


@pytest.fixture(params=["orjson", "json"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The JSON engine that the test runs with."""
    name: str = request.param
    if name == "orjson":
        pytest.importorskip("orjson", reason="orjson, the optional extra `fast`, is not installed")
    else:
        monkeypatch.setattr(json_text, "_orjson", None)  # as if orjson were not installed
    return name


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A directory of a user without privileges, as whom the test runs; other users cannot reach tmp_path."""
    with tempfile.TemporaryDirectory() as directory:
        root = os.geteuid() == 0
        if root:
            os.chown(directory, 65534, -1)
            os.seteuid(65534)
        try:
            yield Path(directory)
        finally:
            if root:
                os.seteuid(0)
            for parent, _, _ in os.walk(directory):
                os.chmod(parent, 0o700)
                for name in os.listdir(parent):
                    path = os.path.join(parent, name)
                    if os.path.isdir(path) and not os.path.islink(path):
                        os.chmod(path, 0o700)


# Sessions, and stores with some.


@pytest.fixture
def full_session() -> Callable[..., Session]:
    """A function that makes a session with something in each of its lists and dicts."""

    def make(session_id: str = "s") -> Session:
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

    return make


@pytest.fixture
def settled_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateStore:
    """An empty store whose files count as settled at once, so that loaded sessions are cached."""
    monkeypatch.setattr(reads, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 10**10))
    return StateStore(tmp_path / "state", durable=False)


@pytest.fixture
def store_of_one(tmp_path: Path) -> StateStore:
    """A store with one old session: s, of u1."""
    store = StateStore(tmp_path / "state", durable=False)
    store.save_session(Session("u1", "s", created_at=datetime(2020, 1, 1, tzinfo=UTC)))
    return store


@pytest.fixture
def session_file(store_of_one: StateStore) -> Path:
    """The file of the session in `store_of_one`."""
    return store_of_one.base_path / "sessions" / "s.json"


@pytest.fixture
def base_of_two(settled_store: StateStore) -> Path:
    """The directory of a settled store with two sessions: a, of ada, and b, of bo."""
    nanoseconds = Timestamp(2026, 3, 1, 13, nanosecond=7, tzinfo=UTC)
    settled_store.save_session(Session("ada", "a", created_at=NOON, metadata={"title": "T \u00e9 \U0001f680"}))
    settled_store.save_session(Session("bo", "b", created_at=nanoseconds, user_messages=[UserMessage("hello\nyou")]))
    return settled_store.base_path


@pytest.fixture
def summary_file(base_of_two: Path) -> Path:
    """The cache file of the summaries of `base_of_two`."""
    return base_of_two / ".oxios_state" / "cache" / "summaries.json"


@pytest.fixture
def listed() -> Callable[[StateStore], str]:
    """A function that returns what a store lists as text, down to the types."""

    def tell(store: StateStore) -> str:
        summaries = store.list_sessions()
        assert all(type(summary.id) is str for summary in summaries)
        return repr(summaries)

    return tell


@pytest.fixture
def truth(base_of_two: Path, summary_file: Path, listed: Callable[[StateStore], str]) -> Callable[[], str]:
    """A function that removes the cache file of `base_of_two`, and returns what is listed without it."""

    def tell() -> str:
        shutil.rmtree(summary_file.parent, ignore_errors=True)
        return listed(StateStore(base_of_two, durable=False))

    return tell


@pytest.fixture
def before_lock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], object]], None]:
    """Set a function that is called with the category each time before its lock is taken."""

    def call_before_lock(callback: Callable[[str], object]) -> None:
        hold = CategoryLocks.hold

        def call_and_hold(
            locks: CategoryLocks, category: str, timeout: float | None = None
        ) -> AbstractContextManager[None]:
            callback(category)
            return hold(locks, category, timeout)

        monkeypatch.setattr(CategoryLocks, "hold", call_and_hold)

    return call_before_lock


@pytest.fixture
def held_by_another() -> Callable[[StateStore, str], AbstractContextManager[object]]:
    """A context manager: another thread holds a category's lock in its block."""

    @contextmanager
    def hold(store: StateStore, category: str) -> Iterator[None]:
        held, over = threading.Event(), threading.Event()

        def work() -> None:
            with store.lock(category):
                held.set()
                over.wait()

        thread = threading.Thread(target=work)
        thread.start()
        held.wait()
        try:
            yield
        finally:
            over.set()
            thread.join()

    return hold


# Records of what the library did.


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the sessions that the library decoded from their files."""
    ids: list[str] = []

    def decode_and_note(raw: bytes, path: Path) -> Session:
        ids.append(path.stem)
        return decode_named(raw, path)

    for module in (repository, index):
        monkeypatch.setattr(module, "decode_named", decode_and_note)
    return ids


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the sessions that the library read to summarise them."""
    ids: list[str] = []

    def summarise_and_note(session: Session) -> SessionSummary:
        ids.append(session.id)
        return summarise(session)

    monkeypatch.setattr(index, "summarise", summarise_and_note)
    return ids


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    """A store with one document, for modules without a store of their own."""
    store = StateStore(tmp_path / "state", durable=False, lock_timeout=1)
    store.save_json("c", "a", 1)
    return store


@pytest.fixture
def all_below() -> Callable[[Path], dict[str, bytes | None]]:
    """A function that returns each path below a directory, and the content of each file."""
    return lambda directory: {str(path): path.read_bytes() if path.is_file() else None for path in directory.rglob("*")}


@pytest.fixture
def set_time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A function that sets the local time zone, in the form of POSIX, until the end of the test."""
    if not hasattr(time, "tzset"):
        pytest.skip("the local time zone cannot be set here")

    def set_time_zone(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield set_time_zone
    monkeypatch.undo()
    time.tzset()
