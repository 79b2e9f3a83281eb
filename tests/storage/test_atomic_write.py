"""Saving: atomic, durable and private; and what a failure leaves behind."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from oxios_state import DurabilityError, PruneConfig, Session, StateStore
from oxios_state.storage import reads
from oxios_state.storage.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable

posix = pytest.mark.skipif(os.name == "nt", reason="modes, links and limits of POSIX")


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state")


@pytest.fixture
def events(calls: SimpleNamespace) -> list[tuple[str, str]]:
    """What was written, synced, linked, renamed and removed, in order."""
    happened: list[tuple[str, str]] = []
    opened: dict[int, str] = {}

    def name(path: str | Path) -> str:
        return "temporary" if str(path).endswith(".tmp") else os.path.basename(path)

    def opening(path: str | Path, *arguments: int) -> int:
        descriptor = os.open(path, *arguments)
        opened[descriptor] = name(path)
        return descriptor

    def on_descriptor(call: str) -> Callable[..., Any]:
        def recorded(descriptor: int, *arguments: Any) -> Any:
            happened.append((call, opened[descriptor]))
            return getattr(os, call)(descriptor, *arguments)

        return recorded

    def on_path(call: str) -> Callable[..., Any]:
        def recorded(*paths: str | Path) -> Any:
            happened.append((call, " ".join(map(name, paths))))
            return getattr(os, call)(*paths)

        return recorded

    calls.open = opening
    calls.write, calls.fsync = on_descriptor("write"), on_descriptor("fsync")
    calls.replace, calls.link, calls.unlink = on_path("replace"), on_path("link"), on_path("unlink")
    return happened


def names_below(directory: Path) -> list[str]:
    return sorted(name for _, _, found in os.walk(directory) for name in found if not name.endswith((".lock", ".turn")))


def descriptors() -> int:
    return len(os.listdir("/dev/fd")) if os.path.exists("/dev/fd") else 0


def failing(call: str, code: int) -> Callable[..., Any]:
    def fail(*arguments: Any) -> Any:
        if call == "open" and not str(arguments[0]).endswith(".tmp"):
            return os.open(*arguments)
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("open", errno.EMFILE),
        ("write", errno.ENOSPC),
        ("chmod", errno.EPERM),
        ("fsync", errno.EIO),
        ("replace", errno.EXDEV),
        ("fstat", errno.EIO),
        ("lstat", errno.EACCES),
    ],
)
def test_a_failed_save_leaves_the_old_document_and_nothing_else(
    store: StateStore, calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    store.save_json("c", "a", "old")
    path = store.base_path / "c" / "a.json"
    path.chmod(0o640)
    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(calls, call, failing(call, code))
        with pytest.raises(OSError, match="not saved, ") as caught:
            store.save_json("c", "a", "new")
    assert caught.value.errno == code
    assert caught.value.strerror == f"not saved, {os.strerror(code)}"
    assert caught.value.filename == str(path)
    assert not isinstance(caught.value, DurabilityError)
    assert store.load_json("c", "a") == "old"
    assert names_below(store.base_path) == [".gitignore", "a.json"]
    assert descriptors() == before
    store.save_json("c", "a", "new")  # the lock is free
    assert store.load_json("c", "a") == "new"


@posix
def test_a_file_size_limit_within_the_document_leaves_the_old_one(store: StateStore) -> None:
    import resource

    store.save_markdown("c", "a", "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"not saved, .*a\.md") as caught:
            store.save_markdown("c", "a", "x" * 300_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert store.load_markdown("c", "a") == "old"
    assert names_below(store.base_path) == [".gitignore", "a.md"]


@posix
@pytest.mark.parametrize(
    ("obstacle", "expected"),
    [("file", NotADirectoryError), ("directory", IsADirectoryError), ("dangling link", FileNotFoundError)],
)
def test_what_stands_in_the_way_of_a_save_is_a_clear_error(
    store: StateStore, obstacle: str, expected: type[OSError]
) -> None:
    store.save_json("kept", "a", 1)
    category, path = store.base_path / "c", store.base_path / "c" / "a.json"
    if obstacle == "file":
        category.touch()
    elif obstacle == "directory":
        path.mkdir(parents=True)
    else:
        category.symlink_to("nowhere")
    with pytest.raises(expected, match="not saved, ") as caught:
        store.save_json("c", "a", 1)
    assert caught.value.filename == str(path)
    assert not [name for name in names_below(store.base_path) if name.endswith(".tmp")]


@posix
def test_a_failed_sync_of_the_directory_says_that_the_document_is_saved(
    store: StateStore, calls: SimpleNamespace
) -> None:
    session = Session("user", "s")
    store.save_session(session)
    before = descriptors()

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "broken")
        os.fsync(descriptor)

    calls.fsync = fsync
    session.add_user_message("hello")
    with pytest.raises(DurabilityError, match=r"s\.json is saved, but a power cut could undo it: broken") as caught:
        store.save_session(session)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(store.base_path / "sessions"))
    assert store.load_session("s") == session
    assert names_below(store.base_path) == [".gitignore", "s.json"]
    assert descriptors() == before
    calls.fsync = os.fsync
    store.update_session(session)  # the object knows that it was saved


@posix
def test_a_save_syncs_the_file_before_the_rename_and_the_directory_after(
    tmp_path: Path, events: list[tuple[str, str]]
) -> None:
    store = StateStore(tmp_path / "new" / "base")
    store.save_json("a/b", "x", 1)
    save = [("write", "temporary"), ("fsync", "temporary"), ("replace", "temporary x.json"), ("fsync", "b")]
    directories = [("fsync", tmp_path.name), ("fsync", "new"), ("fsync", "base"), ("fsync", "a")]
    for_the_lock = [("fsync", "base"), ("fsync", ".oxios_state")]
    assert events == [*directories, *save[:2], *for_the_lock, *save[2:]]
    events.clear()
    store.save_json("a/b", "x", 2)
    assert events == save


@posix
def test_a_directory_whose_sync_failed_is_synced_by_the_next_save(
    store: StateStore, calls: SimpleNamespace, events: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_json("other", "x", 1)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="not saved"):
        patch.setattr(calls, "fsync", failing("fsync", errno.EIO))
        store.save_json("c", "x", 1)
    events.clear()
    store.save_json("c", "x", 1)
    assert ("fsync", "state") in events


@posix
def test_a_new_directory_whose_sync_failed_is_removed_again_and_an_old_one_stays(
    tmp_path: Path, calls: SimpleNamespace
) -> None:
    # Who finds a base takes it for one that a power cut leaves.
    (tmp_path / "old" / "c").mkdir(parents=True)
    calls.fsync = failing("fsync", errno.EIO)
    for base in ("new", "old"):
        with pytest.raises(OSError, match="not saved"):
            StateStore(tmp_path / base).save_json("c", "x", 1)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["old", "old/c"]

    def fsync(_: int) -> None:
        (tmp_path / "new" / "already used by another").touch()
        raise OSError(errno.EIO, "broken")

    calls.fsync = fsync
    with pytest.raises(OSError, match="not saved, broken"):
        StateStore(tmp_path / "new").save_json("c", "x", 1)


@posix
def test_a_base_whose_sync_failed_is_synced_by_the_next_store(
    tmp_path: Path, calls: SimpleNamespace, events: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(OSError, match="not saved"):
        patch.setattr(calls, "fsync", failing("fsync", errno.EIO))
        StateStore(tmp_path / "base").save_json("c", "x", 1)
    events.clear()
    StateStore(tmp_path / "base").save_json("c", "x", 1)
    assert ("fsync", tmp_path.name) in events


@posix
@pytest.mark.parametrize("durable", [True, False])
def test_a_removal_is_synced_and_a_move_is_synced_at_its_target_first(
    tmp_path: Path, events: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, *, durable: bool
) -> None:
    def since() -> list[tuple[str, str]]:
        happened = events.copy()
        events.clear()
        return happened

    def expected(*happened: tuple[str, str]) -> list[tuple[str, str]]:
        return [event for event in happened if durable or event[0] != "fsync"]

    # However slow the machine is, no file becomes so old that a summary of it is kept, and that is enough to prune it.
    monkeypatch.setattr(reads, "time", SimpleNamespace(time_ns=lambda: 0))
    store = StateStore(tmp_path, durable=durable)
    for name in ("1", "2", "3", "4"):
        store.save_session(Session("user", name))
    store.save_session(Session("user", "0"))
    store.save_json("archive", "x", 1)
    assert (("fsync", "sessions") in since()) == durable
    store.delete_session("0")
    assert since() == expected(("unlink", "0.json"), ("fsync", "sessions"))
    store.prune(PruneConfig(max_sessions=2))
    assert since() == expected(("unlink", "1.json"), ("unlink", "2.json"), ("fsync", "sessions"))
    store.prune(PruneConfig(max_sessions=1), archive="archive")
    moved = ("link", "3.json 3.json"), ("fsync", "archive"), ("unlink", "3.json"), ("fsync", "sessions")
    assert since() == expected(*moved)
    (tmp_path / "archive/x.json").write_bytes(b"{")
    store.quarantine(store.check()[0])
    since()
    store.restore(store.quarantined()[0])
    back = ("link", "content x.json"), ("fsync", "archive"), ("unlink", "content"), ("unlink", "reason.json")
    assert since() == expected(*back, ("fsync", "quarantine"))


def test_without_durability_nothing_is_synced(tmp_path: Path, events: list[tuple[str, str]]) -> None:
    store = StateStore(tmp_path / "base", durable=False)
    store.save_json("a/b", "x", 1)
    assert events == [("write", "temporary"), ("replace", "temporary x.json")]
    assert store.delete_file("a/b", "x")
    assert events[2:] == [("unlink", "x.json")]


def test_a_write_that_the_system_cuts_short_goes_on(store: StateStore, calls: SimpleNamespace) -> None:
    calls.write = lambda descriptor, data: os.write(descriptor, data[:7])
    store.save_json("c", "a", list(range(100)))
    assert json.loads((store.base_path / "c" / "a.json").read_bytes()) == list(range(100))


@posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_directories_and_files_are_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    former = os.umask(umask)
    try:
        StateStore(tmp_path / "new" / "base").save_json("a/b", "x", 1)
    finally:
        os.umask(former)
    made = list((tmp_path / "new").rglob("*"))
    assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o600}


@posix
@pytest.mark.parametrize("mode", [0o644, 0o600, 0o400, 0o666])
def test_an_existing_document_keeps_its_mode(store: StateStore, mode: int) -> None:
    path = store.base_path / "c" / "a.md"
    store.save_markdown("c", "a", "old")
    path.chmod(mode)
    store.save_markdown("c", "a", "new")
    assert path.stat().st_mode & 0o777 == mode
    assert path.read_text() == "new"


def test_a_directory_that_another_makes_meanwhile_is_used(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(path: Path, mode: int) -> None:
        os.mkdir(path, mode)
        raise FileExistsError(path)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    store.save_json("a/b", "x", 1)
    assert store.load_json("a/b", "x") == 1


@pytest.mark.parametrize(
    ("found", "left"),
    [(None, b"*\n"), (b"", b"*\n"), (b"\0\0", b"*\n"), (b"# mine\n", b"# mine\n"), (b"X\n*", b"X\n*")],
)
def test_git_ignores_the_own_directory_unless_the_user_says_otherwise(
    store: StateStore, found: bytes | None, left: bytes
) -> None:
    store.save_json("c", "a", 1)
    ignore = store.base_path / ".oxios_state" / ".gitignore"
    assert ignore.read_bytes() == b"*\n"
    ignore.unlink()
    if found is not None:
        ignore.write_bytes(found)  # empty, after a power cut
    StateStore(store.base_path).save_json("c", "a", 1)
    assert ignore.read_bytes() == left
    os.utime(ignore, ns=(0, 0))
    StateStore(store.base_path).save_json("c", "a", 1)
    assert ignore.stat().st_mtime_ns == 0  # what is right is not written again


@posix
def test_a_pipe_in_place_of_the_gitignore_does_not_hang(store: StateStore) -> None:
    store.save_json("c", "a", 1)
    ignore = store.base_path / ".oxios_state" / ".gitignore"
    ignore.unlink()
    os.mkfifo(ignore)
    with pytest.raises(OSError, match=r"not saved, .*/\.gitignore") as caught:  # and not a wait without end
        StateStore(store.base_path).save_json("c", "a", 2)
    assert caught.value.filename == str(store.base_path / "c/a.json")


def test_a_directory_created_by_another_is_synced_once(store: StateStore, events: list[tuple[str, str]]) -> None:
    # Who made it may have been cut off before the sync, or may not sync at all.
    StateStore(store.base_path, durable=False).save_json("c", "a", 1)
    events.clear()
    store.save_json("c", "a", 2)
    assert events.count(("fsync", "state")) >= 1
    events.clear()
    store.save_json("c", "a", 3)
    assert ("fsync", "state") not in events


@pytest.mark.parametrize("links", [0, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK])
def test_a_move_never_replaces_another_file(tmp_path: Path, calls: SimpleNamespace, links: int) -> None:
    tree, (a, b, c) = Tree(tmp_path, durable=False), [tmp_path / name for name in "abc"]
    for path in (a, b, c):
        path.write_text(path.name)
    if links:  # the file system has none, or no more of this file
        calls.link = failing("link", links)
    tree.move(a, tmp_path / "d" / "a")
    assert not tree.remove(a)
    with pytest.raises(FileExistsError) as caught:
        tree.move(b, c)
    assert (caught.value.errno, caught.value.strerror) == (errno.EEXIST, os.strerror(errno.EEXIST))
    assert str(c) in {caught.value.filename, caught.value.filename2}
    assert [path.read_text() for path in (tmp_path / "d" / "a", b, c)] == ["a", "b", "c"]


def test_a_move_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    os.link(tmp_path / "a", tmp_path / "copy")
    Tree(tmp_path, durable=False).move(tmp_path / "a", tmp_path / "copy")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("copy", "a")]


def test_a_save_that_gets_no_lock_says_that_nothing_was_saved_and_why(store: StateStore) -> None:
    store.save_json("c", "a", "old")
    (store.base_path / "c" / "own").mkdir()
    (store.base_path / ".oxios_state").rename(store.base_path / "c" / "own" / "moved")
    (store.base_path / ".oxios_state").write_text("a file in its place")
    with pytest.raises(OSError, match=r"not saved, .*: .*\.oxios_state") as caught:
        store.save_json("c", "a", "new")
    assert caught.value.filename == str(store.base_path / "c" / "a.json")
    assert store.load_json("c", "a") == "old"
    assert not list(store.base_path.rglob("*.tmp"))
