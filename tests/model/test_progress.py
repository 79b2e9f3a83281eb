"""Progress of long work: listing, searching, checking and pruning."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from oxios_state import LockTimeoutError, PruneConfig, Session, StateStore, UserMessage
from oxios_state.sessions import pruning
from oxios_state.storage.locks import CategoryLocks

T = TypeVar("T")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEEP_ONE = PruneConfig(max_sessions=1, ttl_hours=0)


class RecordedProgress:
    """Wraps lists as tqdm does, and records their lengths, their items, and how many of them ended."""

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.items: list[Any] = []
        self.ended = 0

    def __call__(self, items: Iterable[T]) -> Iterator[T]:
        assert isinstance(items, list)
        self.totals.append(len(items))
        for item in items:
            self.items.append(item)
            yield item
        self.ended += 1


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    store = StateStore(tmp_path / "state", durable=False, lock_timeout=5)
    for session_id in "abc":
        store.save_session(Session("ada", session_id, created_at=NOON, user_messages=[UserMessage("one")]))
    return store


WORK: dict[str, tuple[Callable[..., Any], list[int]]] = {
    "listing": (lambda store, **options: store.list_sessions(**options), [3]),
    "searching": (lambda store, **options: list(store.search_sessions("one", **options)), [3, 3]),
    "searching some": (lambda store, **options: list(store.search_sessions("one", user_id="b", **options)), [3, 0]),
    "checking": (lambda store, **options: store.check(**options), [4]),  # three files in a category
    "pruning": (lambda store, **options: store.prune(KEEP_ONE, **options), [3, 2]),
    "a dry run": (lambda store, **options: store.prune(KEEP_ONE, dry_run=True, **options), [3]),
}


@pytest.mark.parametrize("name", WORK)
def test_progress_wraps_a_list_of_all_items(store: StateStore, name: str) -> None:
    work, totals = WORK[name]
    recorded = RecordedProgress()
    work(store, progress=recorded)
    assert recorded.totals == totals
    assert len(recorded.items) == sum(totals)
    assert recorded.ended == len(totals)


@pytest.mark.parametrize("name", WORK)
def test_progress_does_not_change_the_result(store: StateStore, tmp_path: Path, name: str) -> None:
    work, _ = WORK[name]
    shutil.copytree(tmp_path / "state", tmp_path / "other")
    assert work(store, progress=list) == work(StateStore(tmp_path / "other"))


@pytest.mark.parametrize("name", WORK)
def test_tqdm_shows_the_progress(store: StateStore, name: str) -> None:
    tqdm = pytest.importorskip("tqdm", reason="tqdm is not installed").tqdm
    work, totals = WORK[name]
    bar = io.StringIO()
    work(store, progress=partial(tqdm, file=bar, mininterval=0))
    assert all(f"{total}/{total}" in bar.getvalue() for total in totals if total)


def test_an_abandoned_search_closes_the_progress_bar(store: StateStore) -> None:
    tqdm = pytest.importorskip("tqdm", reason="tqdm is not installed").tqdm
    bars: list[Any] = []

    def progress(items: Iterable[T]) -> Iterable[T]:
        bars.append(tqdm(items, file=io.StringIO()))
        return bars[-1]  # type: ignore[no-any-return]

    assert len(list(store.search_sessions("one", limit=1, progress=progress))) == 1
    assert [bar.total for bar in bars] == [3, 3]
    assert all(bar.disable for bar in bars)  # which closing sets


@pytest.mark.parametrize("hold", [0.0, 10.0])
def test_the_progress_of_a_prune_runs_without_the_lock(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, hold: float
) -> None:
    monkeypatch.setattr(pruning, "_MAX_HOLD", hold)
    hold_lock = CategoryLocks.hold
    held: list[str] = []
    held_during: list[list[str]] = []

    @contextmanager
    def record_hold(self: CategoryLocks, category: str, timeout: float | None = None) -> Iterator[None]:
        with hold_lock(self, category, timeout):
            held.append(category)
            yield
            held.pop()

    monkeypatch.setattr(CategoryLocks, "hold", record_hold)

    def progress(items: Iterable[T]) -> Iterator[T]:
        for item in items:
            held_during.append(held.copy())
            yield item

    assert len(store.prune(KEEP_ONE, progress=progress)) == 2
    assert held_during == [[]] * 5


def test_a_prune_that_times_out_says_how_many_sessions_it_removed(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, held_by_another: Callable[..., AbstractContextManager[object]]
) -> None:
    monkeypatch.setattr(pruning, "_MAX_HOLD", 0.0)
    recorded = RecordedProgress()
    store = StateStore(store.base_path, durable=False, lock_timeout=0.05)

    with ExitStack() as stack:

        def occupy_the_lock(items: Iterable[T]) -> Iterator[T]:
            for item in recorded(items):
                if len(recorded.totals) == 2:  # the first session is removed
                    stack.enter_context(held_by_another(store, "sessions"))
                yield item

        with pytest.raises(LockTimeoutError) as caught:
            store.prune(KEEP_ONE, progress=occupy_the_lock)
    assert caught.value.__notes__ == ["1 sessions were removed before"]
    assert len(recorded.items) == 3 + 1
