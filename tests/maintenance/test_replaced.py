"""What a save replaces and cannot be read: its bytes are kept in quarantine."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oxios_state import CorruptStateError, DurabilityError, LockTimeoutError, Session, SessionConflictError, StateStore
from oxios_state.storage import reads

posix = pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX, and directories that can be synced")


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    store = StateStore(tmp_path / "state", durable=False)
    store.save_json("c", "good", 1)
    return store


SAVES: dict[str, tuple[str, bytes, Callable[[StateStore], object]]] = {
    "session": ("sessions/x.json", b'\n{"id": "x" \r\n', lambda store: store.save_session(Session("u", "x"))),
    "value": ("sessions/x.json", b'{"id": "x"}', lambda store: store.save_session(Session("u", "x"))),
    "JSON": ("c/x.json", b"\xff\xfe{", lambda store: store.save_json("c", "x", 2)),
    "markdown": ("c/x.md", b"\xff", lambda store: store.save_markdown("c", "x", "new")),
}


@pytest.mark.parametrize("save", SAVES)
def test_a_save_over_a_corrupt_document_keeps_its_bytes(store: StateStore, save: str) -> None:
    place, content, operation = SAVES[save]
    path = store.base_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    operation(store)
    saved = path.read_bytes()
    assert store.check() == []
    (entry,) = store.quarantined()
    assert (entry.path, entry.content.read_bytes()) == (path, content)
    assert re.match(f"replaced, {re.escape(str(path))}: (line|\\$)", entry.reason)
    assert datetime.now(UTC) - entry.since < timedelta(minutes=1)
    operation(store)  # over a sound one
    assert store.quarantined() == [entry]
    with pytest.raises(FileExistsError):
        store.restore(entry)
    path.unlink()
    store.restore(entry)
    assert path.read_bytes() == content != saved


def test_a_sound_document_is_replaced_without_a_copy(store: StateStore) -> None:
    for number in range(2):
        store.save_session(Session("u", "x"))
        store.save_json("c", "x", number)
        store.save_markdown("c", "x", "\ufeff\0")
        (store.base_path / "c" / "x.json").write_text(str(2**64))  # unsafe, and read
    assert store.quarantined() == []


def test_what_is_known_to_be_sound_is_not_read_before_it_is_replaced(store: StateStore, decoded: list[str]) -> None:
    session = Session("u", "x")
    for number in range(3):
        session.set_metadata("number", number)
        store.save_session(session)
    assert decoded == []


def test_what_is_deleted_before_it_is_read_is_nothing_to_keep(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "is_file", lambda _: True)  # as it was a moment ago
    store.save_json("c", "x", 1)
    assert (store.load_json("c", "x"), store.quarantined()) == (1, [])


def test_an_update_over_a_corrupt_document_is_a_conflict_and_keeps_nothing(store: StateStore) -> None:
    session = Session("u", "x")
    store.save_session(session)
    path = store.base_path / "sessions" / "x.json"
    path.write_text("{")
    with pytest.raises(SessionConflictError):
        store.update_session(session)
    with pytest.raises(CorruptStateError), store.edit_session("x"):
        pass
    with pytest.raises(CorruptStateError):
        store.get_or_create_session("u", "x")
    assert path.read_text() == "{"
    assert store.quarantined() == []


def test_a_save_over_the_session_of_another_id_keeps_it(store: StateStore) -> None:
    store.save_session(Session("u", "theirs"))
    theirs = (store.base_path / "sessions" / "theirs.json").rename(store.base_path / "sessions" / "mine.json")
    content = theirs.read_bytes()
    with pytest.raises(CorruptStateError):
        store.load_session("mine")
    store.save_session(Session("u", "mine"))
    assert [entry.content.read_bytes() for entry in store.quarantined()] == [content]


def failing_sync(calls: SimpleNamespace, within: str) -> None:
    """Let no directory *within* another be synced."""
    opened = calls.open

    def open_(path: Any, flags: int, *mode: int) -> int:
        if os.path.basename(os.path.dirname(path)) == within and os.path.isdir(path):
            raise OSError(errno.EIO, "Input/output error", str(path))
        descriptor: int = opened(path, flags, *mode)
        return descriptor

    calls.open = open_


@posix
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OSError, id="it is not saved"),
        pytest.param(DurabilityError, id="and does not say that it is"),
    ],
)
def test_a_copy_that_may_not_last_keeps_the_save_from_replacing_the_original(
    tmp_path: Path, calls: SimpleNamespace, error: type[OSError]
) -> None:
    store = StateStore(tmp_path / "state")
    (tmp_path / "state" / "c").mkdir(parents=True)
    path = tmp_path / "state" / "c" / "x.json"
    path.write_text("{")
    failing_sync(calls, "quarantine")
    with pytest.raises(OSError, match="Input/output error") as caught:
        store.save_json("c", "x", 2)
    assert path.read_text() == "{"
    assert sorted(os.listdir(store.base_path / "c")) == ["x.json"]
    assert error is OSError or not isinstance(caught.value, DurabilityError)


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("place", ["reason.json", "content", "document"])
def test_a_save_over_a_corrupt_document_that_fails_leaves_no_copy(
    store: StateStore, calls: SimpleNamespace, save: str, place: str
) -> None:
    where, content, operation = SAVES[save]
    path = store.base_path / where
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)

    def replace(source: Any, target: Any) -> None:
        if os.path.basename(target) == (path.name if place == "document" else place):
            raise OSError(errno.ENOSPC, "No space left on device")
        os.replace(source, target)

    calls.replace = replace
    kept = "" if place == "document" else "what it holds cannot be copied to quarantine: "
    with pytest.raises(OSError, match=f"not saved, {kept}No space left on device") as caught:
        operation(store)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == content
    assert os.listdir(store.base_path / ".oxios_state/quarantine") == []


@pytest.mark.parametrize("replaced", [False, True])
def test_a_copy_stays_when_an_interrupt_comes_after_the_original_was_replaced(
    store: StateStore, calls: SimpleNamespace, *, replaced: bool
) -> None:
    path = store.base_path / "c" / "x.json"
    path.write_text("{")

    def replace(source: Any, target: Any) -> None:
        if target != path or replaced:
            os.replace(source, target)
        if target == path:
            raise KeyboardInterrupt

    calls.replace = replace
    with pytest.raises(KeyboardInterrupt):
        store.save_json("c", "x", 1)
    assert path.read_text() == ("1" if replaced else "{")
    assert [entry.content.read_text() for entry in store.quarantined()] == ["{"] * replaced


def test_a_copy_stays_when_it_cannot_be_told_whether_the_original_was_replaced(
    store: StateStore, calls: SimpleNamespace
) -> None:
    path = store.base_path / "c" / "x.json"
    path.write_text("{")

    def replace(source: Any, target: Any) -> None:
        if target == path:
            path.unlink()
            path.mkdir()
            raise OSError(errno.EIO, "Input/output error")
        os.replace(source, target)

    calls.replace = replace
    with pytest.raises(OSError, match="not saved, Input/output error"):
        store.save_json("c", "x", 1)
    assert [entry.content.read_text() for entry in store.quarantined()] == ["{"]


@pytest.mark.parametrize("save", SAVES)
def test_what_is_spoilt_before_the_lock_is_had_is_kept(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, save: str
) -> None:
    place, content, operation = SAVES[save]
    operation(store)
    path = store.base_path / place

    def lock(self: StateStore, category: str) -> Any:
        path.write_bytes(content)
        return locking(self, category)

    locking = StateStore.lock
    monkeypatch.setattr(StateStore, "lock", lock)
    operation(store)
    assert [entry.content.read_bytes() for entry in store.quarantined()] == [content]


@pytest.mark.skipif(os.name == "nt", reason="its names are UTF-16")
def test_a_corrupt_document_is_kept_under_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "nu\udcff", durable=False)
    (store.base_path / "c").mkdir(parents=True)
    (store.base_path / "c" / "x.json").write_text("{")
    store.save_json("c", "x", 1)
    (entry,) = store.quarantined()
    assert "nu\\udcff" in entry.reason
    assert entry.content.read_text() == "{"


def test_a_save_over_a_corrupt_document_that_gets_no_lock_copies_nothing(
    store: StateStore, held_by_another: Callable[[StateStore, str], AbstractContextManager[object]]
) -> None:
    (store.base_path / "c" / "x.json").write_text("{")
    with held_by_another(store, "c"), pytest.raises(LockTimeoutError):
        StateStore(store.base_path, lock_timeout=0).save_json("c", "x", 1)
    assert not (store.base_path / ".oxios_state/quarantine").exists()


def test_what_another_mends_before_the_lock_is_had_is_no_longer_kept(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.base_path / "c" / "x.json"
    path.write_text("{")

    def lock(self: StateStore, category: str) -> Any:
        path.write_text("1")
        return locking(self, category)

    locking = StateStore.lock
    monkeypatch.setattr(StateStore, "lock", lock)
    store.save_json("c", "x", 2)
    assert (path.read_text(), store.quarantined()) == ("2", [])


@posix
def test_what_is_in_quarantine_is_for_the_owner_only(store: StateStore) -> None:
    before = os.umask(0)
    try:
        for name in ("replaced", "moved"):
            (store.base_path / "c" / f"{name}.json").write_text("{")
        store.save_json("c", "replaced", 1)
        (problem,) = store.check()
        moved = store.quarantine(problem)
    finally:
        os.umask(before)
    assert moved is not None
    for path in (store.base_path / ".oxios_state").rglob("*"):
        if path != moved.content:  # it keeps its mode, in a directory that none can enter
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE(moved.content.stat().st_mode) == 0o666


@posix
@pytest.mark.parametrize("update", [False, True])
def test_what_may_not_be_read_is_not_replaced_and_that_is_said(nobody: Path, *, update: bool) -> None:
    store = StateStore(nobody / "state", durable=False)
    session = Session("u", "s")
    store.save_session(session)
    path = store.base_path / "sessions" / "s.json"
    path.chmod(0o200)
    with pytest.raises(PermissionError, match="not saved, ") as caught:
        store.update_session(session) if update else store.save_session(session)
    assert str(caught.value.filename) == str(path)
    assert os.listdir(path.parent) == ["s.json"]


@pytest.mark.parametrize("name", SAVES)
def test_what_may_be_corrupt_is_not_replaced_while_that_cannot_be_told(
    store: StateStore, calls: SimpleNamespace, name: str
) -> None:
    place, corrupt, save = SAVES[name]
    path = store.base_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(corrupt)

    def stat_of(looked_at: Path) -> os.stat_result:
        if looked_at == path:
            raise OSError(errno.EIO, "as a broken disk does", str(path))
        return os.stat(looked_at)

    calls.stat = stat_of
    with pytest.raises(OSError, match="not saved, ") as caught:
        save(store)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))
    assert path.read_bytes() == corrupt


def test_a_link_that_leads_nowhere_is_replaced(store: StateStore) -> None:
    path = store.base_path / "c" / "link.json"
    for target in ("nothing.json", "link.json", "good.json/below.json"):
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        store.save_json("c", "link", target)
        assert path.is_symlink() is False
        assert store.load_json("c", "link") == target
