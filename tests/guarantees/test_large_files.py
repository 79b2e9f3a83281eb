"""The largest file: a larger one is a problem of its own, is not read, and stops nothing else."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from oxios_state import (
    CorruptStateError,
    DurabilityError,
    ProblemKind,
    PruneConfig,
    Session,
    StateStore,
    UnsupportedValueError,
)
from oxios_state.maintenance import quarantine as quarantine_module
from oxios_state.sessions.index import SummaryFile
from oxios_state.storage.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = 1 << 40  # bytes, none of them on the disk
TOO_LARGE = r"1099511627776 bytes, more than max_file_bytes=1073741824"


def make_sparse(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        try:
            file.truncate(SIZE)
        except OSError as error:
            pytest.skip(f"the file system has no such large files: {error}")


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    store = StateStore(tmp_path / "state", durable=False)
    session = store.get_or_create_session("ada", "sound")
    session.add_user_message("hello")
    store.save_session(session)
    for name in ("sessions/huge.json", "notes/huge.json", "notes/huge.md"):
        make_sparse(store.base_path / name)
    return store


def entries(store: StateStore) -> list[Path]:
    directory = store.base_path / ".oxios_state/quarantine"
    return sorted(directory.glob("*/content")) if directory.exists() else []


@pytest.mark.parametrize(
    ("file", "load"),
    [
        ("sessions/huge.json", lambda store: store.load_session("huge")),
        ("sessions/huge.json", lambda store: store.get_or_create_session("ada", "huge")),
        ("sessions/huge.json", lambda store: store.edit_session("huge").__enter__()),
        ("sessions/huge.json", lambda store: store.update_session(Session("ada", "huge"))),
        ("notes/huge.json", lambda store: store.load_json("notes", "huge")),
        ("notes/huge.md", lambda store: store.load_markdown("notes", "huge")),
    ],
)
def test_loading_a_too_large_file_is_an_error_that_names_it(
    store: StateStore, file: str, load: Callable[[StateStore], object]
) -> None:
    with pytest.raises(CorruptStateError, match=TOO_LARGE) as caught:
        load(store)
    assert caught.value.path == store.base_path / file


def test_a_too_large_file_stops_no_list_search_prune_or_check(
    store: StateStore, caplog: pytest.LogCaptureFixture
) -> None:
    assert [summary.id for summary in store.list_sessions()] == ["sound"]
    assert "huge.json: 1099511627776 bytes" in caplog.text
    assert [hit.session_id for hit in store.search_sessions("hello")] == ["sound"]
    assert store.list_category("notes") == ["huge"]
    problems = {problem.path.relative_to(store.base_path).as_posix(): problem for problem in store.check()}
    assert set(problems) == {"sessions/huge.json", "notes/huge.json", "notes/huge.md"}
    assert {problem.kind for problem in problems.values()} == {ProblemKind.CORRUPT}
    assert all("more than max_file_bytes=1073741824" in problem.reason for problem in problems.values())
    store.prune(PruneConfig(max_sessions=1))
    assert (store.base_path / "sessions/huge.json").stat().st_size == SIZE


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize(
    ("file", "save"),
    [
        ("sessions/huge.json", lambda store: store.save_session(Session("ada", "huge"))),
        ("notes/huge.json", lambda store: store.save_json("notes", "huge", 1)),
        ("notes/huge.md", lambda store: store.save_markdown("notes", "huge", "text")),
    ],
)
def test_a_save_over_a_too_large_file_keeps_it_in_quarantine_unread(
    store: StateStore,
    monkeypatch: pytest.MonkeyPatch,
    calls: SimpleNamespace,
    file: str,
    save: Callable[[StateStore], object],
    *,
    links: bool,
) -> None:
    if not links:  # as on vfat
        calls.link = _fail(errno.EPERM)
        monkeypatch.setattr(quarantine_module, "os", calls)
    save(store)
    assert (store.base_path / file).stat().st_size < 1000
    (content,) = entries(store)
    assert content.stat().st_size == SIZE


def _fail(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("links", [True, False])
def test_a_failed_save_over_a_too_large_file_leaves_it_in_its_place(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, calls: SimpleNamespace, *, links: bool
) -> None:
    path = store.base_path / "notes/huge.md"
    if not links:
        calls.link = _fail(errno.EPERM)
        monkeypatch.setattr(quarantine_module, "os", calls)

    def replace(source: str, target: Path) -> None:
        if str(target) == str(path):
            raise OSError(errno.EIO, "Input/output error")
        os.replace(source, target)

    calls.replace = replace
    with pytest.raises(OSError, match="not saved, Input/output error"):
        store.save_markdown("notes", "huge", "text")
    assert path.stat().st_size == SIZE
    assert list(entries(store)) == []
    assert not list((store.base_path / ".oxios_state/quarantine").iterdir())


@pytest.mark.parametrize("moved", [True, False])
def test_a_too_large_file_that_cannot_be_kept_is_not_replaced(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, calls: SimpleNamespace, *, moved: bool
) -> None:
    path = store.base_path / "notes/huge.md"
    calls.link = _fail(errno.EPERM)
    monkeypatch.setattr(quarantine_module, "os", calls)
    if moved:  # but the move cannot be synced

        def sync(_: Tree, directory: Path, done: str) -> None:
            if (directory / "content").exists():
                raise DurabilityError(errno.EIO, f"{done}, but a power cut could undo it", str(directory))

        monkeypatch.setattr(Tree, "sync", sync)
    else:
        calls.rename = _fail(errno.EXDEV)
    with pytest.raises(OSError, match="not saved, its old content cannot be copied to quarantine") as caught:
        store.save_markdown("notes", "huge", "text")
    assert not isinstance(caught.value, DurabilityError)
    assert (path if path.exists() else entries(store)[0]).stat().st_size == SIZE


def test_an_interrupt_after_the_replacement_leaves_the_too_large_file_in_quarantine(store: StateStore) -> None:
    quarantine = store._documents._quarantine
    path = store.base_path / "notes/huge.md"
    with pytest.raises(KeyboardInterrupt), quarantine.keeping(path, lambda *_: None, None):
        path.unlink()
        path.write_bytes(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"new"
    assert [content.stat().st_size for content in entries(store)] == [SIZE]


def test_a_link_to_a_too_large_file_is_replaced_and_the_file_stays(store: StateStore) -> None:
    link = store.base_path / "notes/link.md"
    link.symlink_to("huge.md")
    store.save_markdown("notes", "link", "text")
    assert not link.is_symlink()
    assert (store.base_path / "notes/huge.md").stat().st_size == SIZE
    assert entries(store) == []


def test_a_too_large_file_can_be_deleted(store: StateStore) -> None:
    assert store.delete_session("huge")
    assert store.delete_file("notes", "huge")
    assert not (store.base_path / "sessions/huge.json").exists()


def test_a_too_large_file_among_the_librarys_own_stops_nothing(store: StateStore) -> None:
    store.save_json("notes", "bad", 1)
    (store.base_path / "notes/bad.json").write_bytes(b"bad")
    store.save_json("notes", "bad", 2)
    own = store.base_path / ".oxios_state"
    for path in (own / ".gitignore", own / "cache/summaries.json", *own.glob("quarantine/*/reason.json")):
        make_sparse(path)
    other = StateStore(store.base_path, durable=False)
    assert [summary.id for summary in other.list_sessions()] == ["sound"]
    other.save_markdown("notes", "a", "text")
    assert other.load_markdown("notes", "a") == "text"
    assert (own / ".gitignore").stat().st_size == SIZE  # it is not the library's: nobody knows what is in it
    assert not SummaryFile(Tree(store.base_path, durable=False)).read().keys() - {"sound.json"}


def test_a_too_large_reason_leaves_the_entry_out_of_the_quarantine(
    store: StateStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.save_json("notes", "huge", 1)
    (reason,) = (store.base_path / ".oxios_state/quarantine").glob("*/reason.json")
    make_sparse(reason)
    assert list(store.quarantine) == []
    assert "reason.json: 1099511627776 bytes" in caplog.text


# Saving.


@pytest.fixture
def small_store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "small", durable=False, max_file_bytes=1000)


@pytest.mark.parametrize(
    "save",
    [
        lambda store: store.save_markdown("notes", "a", "x" * 1001),
        lambda store: store.save_json("notes", "a", "x" * 999),
        lambda store: store.save_session(Session("ada", "a", metadata={"x": "x" * 1000})),
        lambda store: store.get_or_create_session("u" * 1000, "a"),
    ],
)
def test_a_too_large_save_is_refused_before_anything_is_written(
    small_store: StateStore, save: Callable[[StateStore], object]
) -> None:
    with pytest.raises(UnsupportedValueError, match=r"has \d+ bytes, more than max_file_bytes=1000.*go on in a new"):
        save(small_store)
    assert not [path for path in small_store.base_path.rglob("*.*") if path.suffix in {".json", ".md", ".tmp"}]


def test_a_file_of_the_largest_size_is_saved_and_loaded(small_store: StateStore) -> None:
    small_store.save_markdown("notes", "a", "é" * 500)
    assert small_store.load_markdown("notes", "a") == "é" * 500
    small_store.save_markdown("notes", "a", "")
    (small_store.base_path / "notes/a.md").write_bytes(b"x" * 1001)
    with pytest.raises(CorruptStateError, match="1001 bytes, more than max_file_bytes=1000"):
        small_store.load_markdown("notes", "a")


def test_a_session_that_outgrows_the_largest_size_keeps_its_file(small_store: StateStore) -> None:
    small_store.get_or_create_session("ada", "a")
    with (
        pytest.raises(UnsupportedValueError, match="max_file_bytes=1000"),
        small_store.edit_session("a") as session,
    ):
        session.add_user_message("x" * 1000)
    stored = small_store.load_session("a")
    assert stored is not None
    assert stored.user_messages == []


def test_a_file_that_grows_beyond_the_largest_size_while_it_is_read_is_not_kept(
    small_store: StateStore, calls: SimpleNamespace
) -> None:
    small_store.save_markdown("notes", "a", "text")
    path = small_store.base_path / "notes/a.md"

    def read(descriptor: int, size: int) -> bytes:
        with path.open("ab") as file:
            file.write(b"x" * 600)
        return os.read(descriptor, size)

    calls.read = read
    with pytest.raises(CorruptStateError, match="1001 bytes, more than max_file_bytes=1000"):
        small_store.load_markdown("notes", "a")


def test_a_cache_beyond_the_largest_size_is_left_empty(settled_store: StateStore) -> None:
    for index in range(3):
        settled_store.save_session(Session("ada", f"{index}", metadata={"title": "private"}))
    cache = settled_store.base_path / ".oxios_state/cache/summaries.json"
    assert len(settled_store.list_sessions()) == 3
    assert b"private" in cache.read_bytes()
    settled_store.delete_session("0")
    small = StateStore(settled_store.base_path, durable=False, max_file_bytes=300)
    assert len(small.list_sessions()) == 2
    assert cache.stat().st_size < 100  # nor does a title outlive its session
    assert len(StateStore(settled_store.base_path, durable=False, max_file_bytes=300).list_sessions()) == 2


def test_a_too_large_file_is_quarantined_and_restored_unread(store: StateStore) -> None:
    path = store.base_path / "notes/huge.md"
    problem = next(problem for problem in store.check() if problem.path == path)
    for _ in range(2):
        store.quarantine.add(problem)
        make_sparse(path)
    store.quarantine.add(problem)
    assert [content.stat().st_size for content in entries(store)] == [SIZE] * 3  # they are too large to be compared
    entry = next(iter(store.quarantine))
    store.quarantine.restore(entry)
    assert path.stat().st_size == SIZE
