"""Moves between file systems: a real one, mounted by root, and errors as of one."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oxios_state import DurabilityError, PruneConfig, Session, StateStore
from oxios_state.storage import moves, system
from oxios_state.storage.atomic_write import sweep
from oxios_state.storage.moves import move
from oxios_state.storage.revisions import identity_of
from oxios_state.storage.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import SimpleNamespace

posix = pytest.mark.skipif(os.name == "nt", reason="links, pipes, modes and mounts of POSIX")


def refuse_links_between_directories(calls: SimpleNamespace) -> None:
    def between(name: str) -> Callable[[Any, Any], None]:
        def call(source: Any, target: Any) -> None:
            if os.path.dirname(source) != os.path.dirname(target):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source), None, str(target))
            getattr(os, name)(source, target)

        return call

    calls.link, calls.rename = between("link"), between("rename")


@pytest.fixture(params=["mounted", "pretended"])
def two(request: pytest.FixtureRequest, tmp_path: Path, calls: SimpleNamespace) -> Iterator[Tree]:
    """The directories of a base with the file a/x.json, where b is of another file system."""
    for name in ("a", "b"):
        (tmp_path / "base" / name).mkdir(parents=True)
    (tmp_path / "base" / "a" / "x.json").write_text("1")
    tree = Tree(tmp_path / "base", durable=True)
    if request.param == "pretended":
        refuse_links_between_directories(calls)
        yield tree
        return
    mount = ["mount", "-t", "tmpfs", "none", str(tree.base / "b")]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root mounts file systems")
    try:
        yield tree
    finally:
        subprocess.run(["umount", "-l", str(tree.base / "b")], check=True)


def below(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


@posix
@pytest.mark.parametrize("size", [0, 1, 3 * 2**20])
def test_a_file_keeps_its_content_mode_and_times(two: Tree, size: int) -> None:
    path, target = two.base / "a" / "x.json", two.base / "b" / "c" / "y.json"
    path.write_bytes(os.urandom(size))
    path.chmod(0o640)
    os.utime(path, ns=(1_000_000_001, 2_000_000_003))
    content, before = path.read_bytes(), path.stat()
    assert move(two, path, target)
    assert below(two.base) == ["a", "b", "b/c", "b/c/y.json"]
    after = target.stat()
    assert target.read_bytes() == content
    assert after.st_mode == before.st_mode
    assert (after.st_mtime_ns, after.st_uid, after.st_gid) == (before.st_mtime_ns, before.st_uid, before.st_gid)


@posix
def test_another_users_file_stays_its_own(two: Tree) -> None:
    path, target = two.base / "a" / "x.json", two.base / "b" / "x.json"
    try:
        os.chown(path, 12345, 23456)
    except PermissionError:
        pytest.skip("only root gives files away")
    assert move(two, path, target)
    assert (target.stat().st_uid, target.stat().st_gid) == (12345, 23456)


@posix
def test_a_copy_that_cannot_keep_the_owner_is_for_its_new_owner_only(two: Tree, calls: SimpleNamespace) -> None:
    def chown(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    path, target = two.base / "a" / "x.json", two.base / "b" / "x.json"
    path.chmod(0o664)
    before = path.stat()
    calls.chown = chown
    assert move(two, path, target)
    assert (stat.S_IMODE(target.stat().st_mode), target.stat().st_mtime_ns) == (0o600, before.st_mtime_ns)


@posix
def test_a_copy_is_complete_and_synced_before_the_file_goes(two: Tree, calls: SimpleNamespace) -> None:
    events: list[str] = []
    path, target = two.base / "a" / "x.json", two.base / "b" / "x.json"

    def name(thing: int | str | Path) -> str:
        path = f"/dev/fd/{thing}" if isinstance(thing, int) else thing
        return os.path.basename(os.path.realpath(path))

    def record(call: str) -> None:
        wrapped = getattr(calls, call)

        def recorded(*arguments: Any, **options: Any) -> Any:
            events.append(" ".join([call, *(name(argument) for argument in arguments)]))
            return wrapped(*arguments, **options)

        setattr(calls, call, recorded)

    two.make_directory(target.parent)  # it is synced once
    for call in ("fsync", "unlink"):
        record(call)
    assert move(two, path, target)
    (temporary,) = {event.split()[1] for event in events if ".tmp" in event}
    assert events == [f"fsync {temporary}", f"unlink {temporary}", "fsync b", "unlink x.json"]


@posix
def test_another_file_at_the_target_is_not_replaced(two: Tree) -> None:
    path, target = two.base / "a" / "x.json", two.base / "b" / "x.json"
    for content in ("2", "22"):
        target.write_text(content)
        with pytest.raises(FileExistsError) as caught:
            move(two, path, target)
        assert str(target) in {caught.value.filename, caught.value.filename2}
        assert (path.read_text(), target.read_text()) == ("1", content)
    target.unlink()
    target.mkdir()
    with pytest.raises(FileExistsError):
        move(two, path, target)
    assert below(two.base) == ["a", "a/x.json", "b", "b/x.json"]


@posix
@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_at_the_target_meanwhile_is_not_replaced(
    two: Tree, calls: SimpleNamespace, *, links: bool
) -> None:
    path, target = two.base / "a" / "x.json", two.base / "b" / "x.json"
    link = calls.link

    def appear(source: Path, to: Path) -> None:
        if source.name.endswith(".tmp"):
            target.write_text("2")
            if not links:
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        link(source, to)

    calls.link = appear
    with pytest.raises(FileExistsError):
        move(two, path, target)
    assert (path.read_text(), target.read_text()) == ("1", "2")
    assert below(two.base) == ["a", "a/x.json", "b", "b/x.json"]


@posix
def test_a_copy_is_renamed_where_there_are_no_hard_links(two: Tree, calls: SimpleNamespace) -> None:
    link = calls.link

    def without_links(source: Path, to: Path) -> None:
        if source.name.endswith(".tmp"):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        link(source, to)

    calls.link = without_links
    assert move(two, two.base / "a" / "x.json", two.base / "b" / "x.json")
    assert below(two.base) == ["a", "b", "b/x.json"]


@posix
def test_a_move_that_a_crash_interrupted_is_completed(two: Tree) -> None:
    path, target = two.base / "a" / "x.json", two.base / "b" / "x.json"
    target.write_text("1")  # the copy
    assert move(two, path, target)
    assert below(two.base) == ["a", "b", "b/x.json"]


class Interrupted(Tree):
    """A tree where something happens after the file is copied and before it is removed."""

    def __init__(self, tree: Tree, happen: Callable[[], object]) -> None:
        super().__init__(tree.base, durable=False)
        self._happen = happen

    def sync(self, directory: Path, done: str) -> None:
        super().sync(directory, done)
        self._happen()


@posix
@pytest.mark.parametrize("way", ["replaced", "changed", "gone"])
def test_a_save_by_the_kernel_during_a_move_stays(two: Tree, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, target = two.base / "a" / "x.json", two.base / "b" / "x.json"

    def save() -> None:
        if way == "replaced":
            (path.parent / "new").write_text("2")
            os.replace(path.parent / "new", path)
        elif way == "changed":  # within one tick of the clock, so that its identity stays
            path.write_text("2")
            identity = identity_of(path.stat())
            monkeypatch.setattr(moves, "identity_of", lambda _: identity)
        else:
            path.unlink()

    if way == "changed":
        identity = identity_of(path.stat())
        monkeypatch.setattr(moves, "identity_of", lambda _: identity)
    assert move(Interrupted(two, save), path, target) is (way == "gone")
    assert target.read_text() == "1"
    if way != "gone":
        assert path.read_text() == "2"


@posix
@pytest.mark.parametrize("leftover", [False, True])
def test_a_file_is_not_removed_if_it_changes_beside_a_leftover_or_while_it_is_copied(
    two: Tree, calls: SimpleNamespace, *, leftover: bool
) -> None:
    path, target = two.base / "a" / "x.json", two.base / "b" / "x.json"
    if leftover:
        target.write_text("1")
        assert not move(Interrupted(two, lambda: path.write_text("2")), path, target)
        assert (path.read_text(), target.read_text()) == ("2", "1")
        return

    def write(descriptor: int, data: bytes) -> int:
        path.write_text("longer")
        return os.write(descriptor, data)

    calls.write = write
    with pytest.raises(OSError, match="somebody saves it while it is moved") as caught:
        move(two, path, target)
    assert (caught.value.errno, caught.value.filename) == (errno.EAGAIN, str(path))
    assert path.read_text() == "longer"
    assert below(two.base) == ["a", "a/x.json", "b"]


@posix
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_copy_leaves_the_file_and_nothing_else(
    two: Tree, calls: SimpleNamespace, error: BaseException
) -> None:
    def write(*_: object) -> None:
        raise error

    calls.write = write
    with pytest.raises(type(error)) as caught:
        move(two, two.base / "a" / "x.json", two.base / "b" / "x.json")
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(two.base / "a" / "x.json")
    assert below(two.base) == ["a", "a/x.json", "b"]


@posix
def test_a_file_that_cannot_be_removed_is_in_both_places(two: Tree, calls: SimpleNamespace) -> None:
    path, target = two.base / "a" / "x.json", two.base / "b" / "x.json"

    def unlink(path: Any) -> None:
        if Path(path).name == "x.json":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))  # it is a mount point itself
        os.unlink(path)

    calls.unlink = unlink
    with pytest.raises(OSError, match="busy"):
        move(two, path, target)
    assert below(two.base) == ["a", "a/x.json", "b", "b/x.json"]


@posix
def test_a_move_whose_sync_fails_keeps_the_file(two: Tree, calls: SimpleNamespace) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    two.make_directory(two.base / "b")  # synced
    calls.fsync = fsync
    with pytest.raises(DurabilityError):
        move(two, two.base / "a" / "x.json", two.base / "b" / "x.json")
    assert below(two.base) == ["a", "a/x.json", "b", "b/x.json"]


@posix
def test_a_sweep_leaves_the_copy_of_a_living_process(two: Tree, calls: SimpleNamespace) -> None:
    swept: list[Path] = []

    def write(descriptor: int, data: bytes) -> int:
        swept.extend(sweep(two))
        assert len(below(two.base / "b")) == 1
        return os.write(descriptor, data)

    calls.write = write
    assert move(two, two.base / "a" / "x.json", two.base / "b" / "x.json")
    assert swept == []


def test_on_windows_the_copy_is_closed_before_it_gets_its_name(
    two: Tree, monkeypatch: pytest.MonkeyPatch, calls: SimpleNamespace
) -> None:
    closed: list[int] = []

    def close(descriptor: int) -> None:
        closed.append(descriptor)
        os.close(descriptor)

    def link(source: Any, target: Any) -> None:
        if str(source).endswith(".tmp"):
            assert closed
        before(source, target)

    before, calls.link, calls.close = calls.link, link, close
    monkeypatch.setattr(system, "WINDOWS", True)
    assert move(two, two.base / "a" / "x.json", two.base / "b" / "x.json")
    assert len(closed) == 1


def make_tree(path: Path) -> None:
    (path / "c" / "d").mkdir(parents=True)
    (path / "c" / "y.md").write_text("y")
    (path / "c" / "link").symlink_to("y.md")
    os.mkfifo(path / "pipe")
    (path / "c").chmod(0o750)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        os.chdir(path.parent)  # the path of a socket is short
        try:
            server.bind(path.name)
        finally:
            os.chdir(before)


@posix
@pytest.mark.parametrize("make", [make_tree, os.mkfifo, make_socket, lambda path: path.symlink_to("../gone")])
def test_anything_else_is_moved_too(two: Tree, make: Callable[[Path], object]) -> None:
    def state(path: Path) -> list[tuple[str, int, int]]:
        paths = [path, *sorted(path.rglob("*"))]
        return [(str(each.relative_to(path)), each.lstat().st_mode, each.lstat().st_mtime_ns) for each in paths]

    path, target = two.base / "a" / "y.json", two.base / "b" / "y.json"
    make(path)
    before = state(path)
    assert move(two, path, target)
    assert state(target) == before
    assert below(two.base / "a") == ["x.json"]
    assert [name for name in below(two.base / "b") if ".tmp" in name] == []
    if target.is_symlink():
        assert os.readlink(target) == "../gone"


@posix
def test_what_is_saved_into_a_directory_meanwhile_stays(two: Tree) -> None:
    path, target = two.base / "a" / "y", two.base / "b" / "y"
    make_tree(path)
    tree = Interrupted(two, lambda: (path / "c" / "new.md").write_text("new"))
    assert not move(tree, path, target)
    assert below(path) == ["c", "c/new.md"]
    assert below(target) == ["c", "c/d", "c/link", "c/y.md", "pipe"]


@posix
def test_a_failed_copy_of_a_directory_leaves_it_and_nothing_else(two: Tree, calls: SimpleNamespace) -> None:
    def mknod(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), "pipe")

    path = two.base / "a" / "y"
    make_tree(path)
    before = below(two.base)
    calls.mknod = mknod
    with pytest.raises(PermissionError):
        move(two, path, two.base / "b" / "y")
    assert below(two.base) == before


@posix
def test_a_directory_that_cannot_be_removed_is_an_error(two: Tree, calls: SimpleNamespace) -> None:
    def rmdir(path: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))  # it is a mount point itself

    (two.base / "a" / "y").mkdir()
    calls.rmdir = rmdir
    with pytest.raises(OSError, match="busy"):
        move(two, two.base / "a" / "y", two.base / "b" / "y")
    assert below(two.base) == ["a", "a/x.json", "a/y", "b", "b/y"]


@posix
def test_a_copy_in_quarantine_that_changes_while_it_is_restored_keeps_its_reason(
    two: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StateStore(two.base, durable=False)
    path = two.base / "b" / "x.json"
    path.write_text("{")
    entry = store.quarantine.add(store.check()[0])
    assert entry is not None

    def change(*_: object) -> None:
        entry.content.write_text("changed")

    monkeypatch.setattr(Tree, "sync", change)
    store.quarantine.restore(entry)
    assert list(store.quarantine) == [entry]
    assert (path.read_text(), entry.content.read_text()) == ("{", "changed")


@posix
@pytest.mark.parametrize("category", ["a", "b"])
def test_archiving_and_quarantine_work_between_file_systems(two: Tree, category: str) -> None:
    store = StateStore(two.base)
    (two.base / "sessions").symlink_to(category)
    for name in ("old", "new", "y"):
        store.save_session(Session("u", name))
    (two.base / "a" / "x.json").unlink()
    archive = {"a": "b", "b": "a"}[category]
    assert [summary.id for summary in store.prune(PruneConfig(2, 0), archive=f"{archive}/archive")] == ["old"]
    assert store.list_category(f"{archive}/archive") == ["old"]
    (two.base / category / "y.json").write_text("{")
    (problem,) = [problem for problem in store.check() if problem.path.parent.name == category]
    entry = store.quarantine.add(problem)
    assert entry is not None
    assert (entry.content.read_text(), store.list_category(category)) == ("{", ["new"])
    store.quarantine.restore(entry)
    assert (store.list_category(category), len(store.quarantine)) == (["new", "y"], 0)
