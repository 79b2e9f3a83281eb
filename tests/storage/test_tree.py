"""Directories below a base: links, listing, creating, moving, removing, and errors that name a path."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oxios_state import DurabilityError, InvalidNameError, PruneConfig, StateStore
from oxios_state.storage import system
from oxios_state.storage import tree as tree_module
from oxios_state.storage.revisions import NO_FILE
from oxios_state.storage.tree import Tree, naming

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import SimpleNamespace

posix = pytest.mark.skipif(os.name == "nt", reason="links, pipes and modes of POSIX")


def failing(code: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def paths_below(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


# Links.


@posix
def test_the_real_category_is_where_links_lead(tree: Tree) -> None:
    (tree.base / "a" / "b c").mkdir(parents=True)
    (tree.base / "link").symlink_to("a")
    real = {name: tree.real_category(name) for name in ("link", "link/b c", "a/b c", "missing/b")}
    assert real == {"link": "a", "link/b c": "a/b c", "a/b c": "a/b c", "missing/b": "missing/b"}


@posix
def test_a_path_outside_the_base_or_behind_a_link_out_of_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real" / "base" / "c").mkdir(parents=True)
    (tmp_path / "linked").symlink_to("real")
    base = tmp_path / "linked" / "base"  # links above the base do not matter
    (base / "out").symlink_to(tmp_path)
    (base / "c" / "in").symlink_to("..")
    tree = Tree(base, durable=False)
    for name in ("c", "c/x.json", "c/in/x.json", "out"):
        tree.refuse_outside(base / name)
    for path in (tmp_path, base, base.parent / "x", base / ".oxios_state" / "locks", base / "c" / ".." / "x"):
        with pytest.raises(ValueError, match=f"^{re.escape(f'not a document of {base}: {path}')}$"):
            tree.refuse_outside(path)
    for name in ("out/x.json", "out/a/b/x.json"):
        with pytest.raises(InvalidNameError, match="a symbolic link that leads outside"):
            tree.refuse_outside(base / name)


@posix
@pytest.mark.parametrize("link", [".oxios_state", ".oxios_state/locks"])
def test_an_own_directory_behind_a_link_out_of_the_base_is_refused(tmp_path: Path, link: str) -> None:
    tree = Tree(tmp_path / "base", durable=False)
    (tree.base / link).parent.mkdir(parents=True)
    (tree.base / link).symlink_to(tmp_path)
    for method in (tree.own_directory, tree.make_own_directory):
        with pytest.raises(InvalidNameError, match="a symbolic link that leads outside"):
            method("locks")


# Listing.


def test_documents_are_the_files_with_the_extension_of_one(tree: Tree) -> None:
    (tree.base / "c" / "f.json").mkdir(parents=True)
    for name in ("a.json", "b.md", "c.txt", ".json", "d.json.bak"):
        (tree.base / "c" / name).touch()
    with tree.open("c") as directory:
        assert sorted(directory.documents()) == ["a.json", "b.md"]


@posix
def test_documents_include_links_inside_the_base_only(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "base", durable=False)
    (tree.base / "c").mkdir(parents=True)
    (tmp_path / "outside.json").touch()
    (tree.base / "c" / "a.json").touch()
    for name, target in {"in": "a.json", "out": "../../outside.json", "loop": "loop.json", "gone": "x"}.items():
        (tree.base / "c" / f"{name}.json").symlink_to(target)
    with tree.open("c") as directory:
        assert sorted(directory.documents()) == ["a.json", "in.json"]


@pytest.mark.parametrize("windows", [False, True])
def test_identities_are_those_of_the_files_with_the_extension(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, *, windows: bool
) -> None:
    monkeypatch.setattr(system, "WINDOWS", windows)
    (tree.base / "c").mkdir()
    for name in ("a.json", "b.json", "c.md", ".json"):
        (tree.base / "c" / name).touch()
    with tree.open("c") as directory:
        identities = dict(directory.identities(".json"))
    assert {name: identity[1] for name, identity in identities.items()} == {
        name: (tree.base / "c" / name).stat().st_ino for name in ("a.json", "b.json")
    }


def test_a_file_that_vanishes_while_it_is_listed_has_the_identity_of_no_file(
    tree: Tree, calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree.base / "c").mkdir()
    (tree.base / "c" / "a.json").touch()
    monkeypatch.setattr(system, "WINDOWS", True)  # where lstat is called
    calls.lstat = failing(errno.ENOENT)
    with tree.open("c") as directory:
        assert directory.identities(".json") == [("a.json", NO_FILE)]


def test_a_missing_directory_has_no_documents(tree: Tree) -> None:
    with tree.open("missing/below") as directory:
        assert directory.documents() == []
        assert directory.identities(".json") == []
    assert paths_below(tree.base) == []


# Creating directories.


def test_a_directory_that_another_process_creates_meanwhile_is_used(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mkdir(path: Path, mode: int) -> None:
        os.mkdir(path, mode)
        raise FileExistsError(path)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    tree.make_directory(tree.base / "a" / "b")
    assert paths_below(tree.base) == ["a", "a/b"]


@posix
def test_a_directory_that_cannot_be_synced_is_named(tmp_path: Path, calls: SimpleNamespace) -> None:
    calls.fsync = failing(errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as caught:
        Tree(tmp_path, durable=True).make_directory(tmp_path / "new")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))


@posix
def test_a_new_directory_that_cannot_be_synced_is_removed_and_an_old_one_stays(
    tmp_path: Path, calls: SimpleNamespace
) -> None:
    # Another process that finds a base believes that it survives a power cut.
    (tmp_path / "old" / "c").mkdir(parents=True)
    calls.fsync = failing(errno.EIO)
    for base in (tmp_path / "new", tmp_path / "old"):
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            Tree(base, durable=True).make_directory(base / "c")
    assert paths_below(tmp_path) == ["old", "old/c"]


@posix
def test_a_new_directory_that_another_process_uses_stays(tmp_path: Path, calls: SimpleNamespace) -> None:
    def fsync(_: int) -> None:
        (tmp_path / "new" / "file of another").touch()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    calls.fsync = fsync
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        Tree(tmp_path / "new", durable=True).make_directory(tmp_path / "new" / "c")
    assert paths_below(tmp_path) == ["new", "new/file of another"]


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, b"*\n"), (b"", b"*\n"), (b"\0\0", b"*\n"), (b"*\n", None), (b"# mine\n", None), (b"X\n*", None)],
)
def test_git_ignores_the_own_directory_unless_the_user_says_otherwise(
    tree: Tree, before: bytes | None, after: bytes | None
) -> None:
    tree.own.mkdir()
    ignore = tree.own / ".gitignore"
    if before is not None:
        ignore.write_bytes(before)  # empty or zeros after a power cut
        os.utime(ignore, ns=(0, 0))
    assert tree.make_own_directory("locks") == tree.own / "locks"
    assert ignore.read_bytes() == (before if after is None else after)
    assert (ignore.stat().st_mtime_ns == 0) is (after is None)  # a right one is not written again


@posix
def test_a_pipe_in_place_of_the_gitignore_does_not_hang(tree: Tree) -> None:
    tree.own.mkdir()
    os.mkfifo(tree.own / ".gitignore")
    with pytest.raises(OSError, match=r"/\.gitignore"):
        tree.make_own_directory("locks")


# Moving and removing.


@pytest.mark.parametrize("links", [0, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK])
def test_a_move_never_replaces_another_file(tree: Tree, calls: SimpleNamespace, links: int) -> None:
    a, b, c = (tree.base / name for name in "abc")
    for path in (a, b, c):
        path.write_text(path.name)
    if links:  # the file system has no hard links, or the file has too many
        calls.link = failing(links)
    assert tree.move(a, tree.base / "d" / "a")
    assert not a.exists()
    with pytest.raises(FileExistsError) as caught:
        tree.move(b, c)
    assert (caught.value.errno, caught.value.strerror) == (errno.EEXIST, os.strerror(errno.EEXIST))
    assert str(c) in {caught.value.filename, caught.value.filename2}
    assert [path.read_text() for path in (tree.base / "d" / "a", b, c)] == ["a", "b", "c"]


def test_a_failing_link_is_an_error(tree: Tree, calls: SimpleNamespace) -> None:
    (tree.base / "a").touch()
    calls.link = failing(errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        tree.move(tree.base / "a", tree.base / "b")
    assert paths_below(tree.base) == ["a"]


def test_an_interrupted_move_is_completed(tree: Tree) -> None:
    (tree.base / "a").write_text("a")
    os.link(tree.base / "a", tree.base / "copy")
    assert tree.move(tree.base / "a", tree.base / "copy")
    assert paths_below(tree.base) == ["copy"]
    assert (tree.base / "copy").read_text() == "a"


@posix
def test_a_move_whose_sync_fails_says_that_the_file_is_at_its_target(tmp_path: Path, calls: SimpleNamespace) -> None:
    (tmp_path / "a").write_text("a")
    calls.fsync = failing(errno.EIO)
    with pytest.raises(DurabilityError) as caught:
        Tree(tmp_path, durable=True).move(tmp_path / "a", tmp_path / "b")
    assert caught.value.strerror == f"b is there, but a power cut could undo it: {os.strerror(errno.EIO)}"
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))
    assert (tmp_path / "b").read_text() == "a"


def test_remove_returns_whether_the_file_existed(tree: Tree) -> None:
    (tree.base / "c").mkdir()
    (tree.base / "c" / "a.json").touch()
    with tree.open("c") as directory:
        assert directory.remove("a.json")
        assert not directory.remove("a.json")


@pytest.mark.skipif(not tree_module._RELATIVE, reason="the system has no names relative to a directory")
def test_remove_if_removes_a_file_of_the_same_identity_only(tree: Tree) -> None:
    (tree.base / "c").mkdir()
    for name in ("a.json", "b.json"):
        (tree.base / "c" / name).touch()
    with tree.open("c") as directory:
        identities = dict(directory.identities(".json"))
        assert not directory.remove_if("a.json", identities["b.json"])
        assert not directory.remove_if("a.json", None)
        assert directory.remove_if("a.json", identities["a.json"])
        assert not directory.remove_if("a.json", identities["a.json"])  # it is gone
        assert directory.remove_if("b.json", identities["b.json"])
    assert paths_below(tree.base) == ["c"]


def test_remove_if_removes_nothing_without_names_relative_to_a_directory(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module, "_RELATIVE", False)
    (tree.base / "c").mkdir()
    (tree.base / "c" / "a.json").touch()
    with tree.open("c") as directory:
        assert not directory.remove_if("a.json", dict(directory.identities(".json"))["a.json"])
    assert paths_below(tree.base) == ["c", "c/a.json"]


@pytest.mark.parametrize("change", [True, False])
def test_without_names_relative_to_a_directory_a_prune_removes_unchanged_sessions(
    store_of_one: StateStore, session_file: Path, monkeypatch: pytest.MonkeyPatch, *, change: bool
) -> None:
    def keep(_: object) -> None:
        if change:
            session_file.write_bytes(session_file.read_bytes().replace(b"u1", b"u2"))

    monkeypatch.setattr(tree_module, "_RELATIVE", False)
    removed = store_of_one.prune(PruneConfig(max_sessions=0, ttl_hours=1), keep=keep)
    assert [summary.id for summary in removed] == ([] if change else ["s"])
    assert session_file.exists() is change


# Errors.


def test_naming_adds_the_path_to_an_error() -> None:
    with pytest.raises(FileNotFoundError) as caught, naming(Path("a")):
        raise OSError(errno.ENOENT, "gone")
    assert (caught.value.errno, caught.value.strerror, caught.value.filename) == (errno.ENOENT, "gone", "a")


class ProgramError(OSError):
    """An error of a program, as a FUSE binding may raise it: without an errno."""


def test_naming_keeps_type_and_text_of_an_error_without_errno() -> None:
    with pytest.raises(ProgramError) as caught, naming(Path("a")):
        raise ProgramError("out of order")
    assert (str(caught.value), caught.value.__notes__) == ("out of order", ["a"])


@posix
def test_a_failed_sync_keeps_type_and_text_of_an_error_without_errno(tmp_path: Path, calls: SimpleNamespace) -> None:
    def fail(_: int) -> None:
        raise ProgramError("out of order")

    calls.fsync = fail
    expected = re.escape(f"a.json is saved, but a power cut could undo it: ProgramError: out of order: {tmp_path}")
    with pytest.raises(DurabilityError, match=f"^{expected}$"):
        Tree(tmp_path, durable=True).sync(tmp_path, "a.json is saved")
