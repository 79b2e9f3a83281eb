"""Long work tells how far it is."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from oxios_state import LockTimeoutError, PruneConfig, Session, StateStore, UserMessage
from oxios_state import store as store_module
from oxios_state.sessions import pruning as removal

T = TypeVar("T")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEEP_ONE = PruneConfig(max_sessions=1, ttl_hours=0)


class Told:
    """A plain function's worth of progress: what it was told of, and how much there was to do."""

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
def test_long_work_tells_of_each_item_and_how_many_there_are(store: StateStore, name: str) -> None:
    work, totals = WORK[name]
    told = Told()
    work(store, progress=told)
    assert told.totals == totals
    assert len(told.items) == sum(totals)
    assert told.ended == len(totals)


@pytest.mark.parametrize("name", WORK)
def test_the_result_is_the_same_whoever_is_told(store: StateStore, tmp_path: Path, name: str) -> None:
    work, _ = WORK[name]
    shutil.copytree(tmp_path / "state", tmp_path / "other")
    assert work(store, progress=list) == work(StateStore(tmp_path / "other"))


@pytest.mark.parametrize("name", WORK)
def test_tqdm_shows_the_progress(store: StateStore, name: str) -> None:
    tqdm = pytest.importorskip("tqdm", reason="tqdm is not installed").tqdm
    work, totals = WORK[name]
    shown = io.StringIO()
    work(store, progress=partial(tqdm, file=shown, mininterval=0))
    assert all(f"{total}/{total}" in shown.getvalue() for total in totals if total)


def test_a_search_that_is_given_up_closes_the_bar(store: StateStore) -> None:
    tqdm = pytest.importorskip("tqdm", reason="tqdm is not installed").tqdm
    bars: list[Any] = []

    def progress(items: Iterable[T]) -> Iterable[T]:
        bars.append(tqdm(items, file=io.StringIO()))
        return bars[-1]  # type: ignore[no-any-return]

    assert len(list(store.search_sessions("one", limit=1, progress=progress))) == 1
    assert [bar.total for bar in bars] == [3, 3]
    assert all(bar.disable for bar in bars)  # which closing sets


@pytest.mark.parametrize("hold", [0.0, 10.0])
def test_who_is_told_of_a_prune_keeps_nobody_waiting(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, hold: float
) -> None:
    monkeypatch.setattr(store_module, "_LONGEST_HOLD", hold)
    lock = StateStore.lock
    locked: list[str] = []
    during: list[list[str]] = []

    @contextmanager
    def locking(self: StateStore, category: str, timeout: float | None = None) -> Iterator[None]:
        with lock(self, category, timeout):
            locked.append(category)
            yield
            locked.pop()

    monkeypatch.setattr(StateStore, "lock", locking)

    def progress(items: Iterable[T]) -> Iterator[T]:
        for item in items:
            during.append(locked.copy())
            yield item

    assert len(store.prune(KEEP_ONE, progress=progress)) == 2
    assert during == [[]] * 5


def test_what_was_removed_before_a_lock_was_not_free_was_told(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_LONGEST_HOLD", 0.0)
    remove, told = removal.Remover.remove_unchanged, Told()

    def remove_and_occupy(*arguments: Any) -> bool:
        monkeypatch.setattr(StateStore, "_locks", timed_out)
        return remove(*arguments)

    def timed_out(*_: object) -> Any:
        raise LockTimeoutError("not free")

    monkeypatch.setattr(removal.Remover, "remove_unchanged", remove_and_occupy)
    with pytest.raises(LockTimeoutError) as caught:
        store.prune(KEEP_ONE, progress=told)
    assert caught.value.__notes__ == ["1 sessions were removed before"]
    assert len(told.items) == 3 + 1
