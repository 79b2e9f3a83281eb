"""What a tree knows of what is below its base: links, paths that lead out, and what is in a category."""

from __future__ import annotations

import errno
import os
import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from oxios_state import DurabilityError, InvalidNameError
from oxios_state.storage.tree import Tree

posix = pytest.mark.skipif(os.name == "nt", reason="links of POSIX")


@pytest.mark.parametrize("durable", [True, False])
def test_a_tree_that_is_sent_to_another_process_is_of_the_same_directory(tmp_path: Path, *, durable: bool) -> None:
    tree = pickle.loads(pickle.dumps(Tree(tmp_path, durable=durable)))
    assert (type(tree), tree.base, tree.durable) == (Tree, tmp_path, durable)


@posix
def test_a_category_below_a_link_is_the_one_that_the_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "a" / "b c").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    tree = Tree(tmp_path, durable=False)
    assert [tree.real_category(name) for name in ("link", "link/b c", "a/b c", "none/b")] == [
        *("a", "a/b c", "a/b c", "none/b"),
    ]


@posix
def test_a_path_outside_the_base_or_behind_a_link_out_of_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real" / "base" / "c").mkdir(parents=True)
    (tmp_path / "linked").symlink_to("real")
    base = tmp_path / "linked" / "base"  # how one comes to the base is nobody's business
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


def test_what_has_not_the_extension_of_a_document_or_nothing_else_is_not_scanned(tmp_path: Path) -> None:
    for name in ("a.json", "b.md", "c.txt", "json", ".json", ".md", "d.json.bak", "e"):
        (tmp_path / name).touch()
    (tmp_path / "f.json").mkdir()
    tree = Tree(tmp_path.parent, durable=False)
    assert sorted(entry.name for entry in tree.scan(tmp_path.name)) == ["a.json", "b.md", "f.json"]
    assert tree.scan("nothing") == []


def broken(_: int) -> None:
    raise OSError(errno.EIO, "broken")


@posix
def test_a_directory_that_cannot_be_synced_is_named(tmp_path: Path, calls: SimpleNamespace) -> None:
    calls.fsync = broken
    with pytest.raises(OSError, match="broken") as caught:
        Tree(tmp_path, durable=True).make_directory(tmp_path / "new")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))


@posix
def test_a_move_whose_sync_fails_says_that_the_file_is_in_its_new_place(tmp_path: Path, calls: SimpleNamespace) -> None:
    (tmp_path / "a").write_text("a")
    calls.fsync = broken
    with pytest.raises(DurabilityError) as caught:
        Tree(tmp_path, durable=True).move(tmp_path / "a", tmp_path / "b")
    assert caught.value.strerror == "b is there, but a power cut could undo it: broken"
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))
    assert (tmp_path / "b").read_text() == "a"
