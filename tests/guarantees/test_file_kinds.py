"""Directory entries that are not plain files: links, pipes, sockets, directories; and read-only directories."""

from __future__ import annotations

import os
import re
import signal
import socket
import tempfile
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oxios_state import CorruptStateError, InvalidNameError, Session, StateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

posix = pytest.mark.skipif(os.name == "nt", reason="links, pipes and permissions of POSIX")
OWN = ".oxios_state.0123456789abcdef.tmp"


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    store = StateStore(tmp_path / "state", durable=False)
    store.save_json("c", "a", 1)
    return store


OPERATIONS: dict[str, Callable[[StateStore, str], object]] = {
    "load": lambda store, category: store.load_json(category, "x"),
    "load markdown": lambda store, category: store.load_markdown(category, "x"),
    "save": lambda store, category: store.save_json(category, "x", "new"),
    "save markdown": lambda store, category: store.save_markdown(category, "x", "new"),
    "delete": lambda store, category: store.delete_file(category, "x"),
    "list": lambda store, category: store.list_category(category),
}


@posix
@pytest.mark.parametrize(
    ("link", "operation"),
    [
        *product(["category", "category above", "chain", "prefix"], OPERATIONS),
        *product(["document"], [operation for operation in OPERATIONS if operation != "list"]),
    ],
)
def test_a_link_that_leads_outside_is_refused(store: StateStore, tmp_path: Path, link: str, operation: str) -> None:
    outside, category = tmp_path / "stateful", "l"  # its path begins with the store's
    (outside / "below").mkdir(parents=True)
    for extension in (".json", ".md"):
        (outside / f"x{extension}").write_text("1")
        (outside / "below" / f"x{extension}").write_text("1")
    if link == "document":
        category = "c"
        for extension in (".json", ".md"):
            (store.base_path / "c" / f"x{extension}").symlink_to(outside / f"x{extension}")
    elif link == "chain":
        (store.base_path / "l").symlink_to("m")
        (store.base_path / "m").symlink_to(outside)
    else:
        (store.base_path / "l").symlink_to("../stateful" if link == "prefix" else outside)
        category = "l/below" if link == "category above" else "l"
    before = {path: path.read_bytes() for path in outside.rglob("*.*")}
    with pytest.raises(InvalidNameError, match="a symbolic link that leads outside"):
        OPERATIONS[operation](store, category)
    assert {path: path.read_bytes() for path in outside.rglob("*.*")} == before


@posix
def test_a_document_that_is_a_link_outside_is_not_listed(store: StateStore, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("1")
    (store.base_path / "c" / "x.json").symlink_to(tmp_path / "x.json")
    assert store.list_category("c") == ["a"]


@posix
def test_links_inside_the_store_and_a_linked_store_are_followed(store: StateStore, tmp_path: Path) -> None:
    (store.base_path / "l").symlink_to("c")
    (store.base_path / "c" / "x.json").symlink_to("a.json")
    (tmp_path / "linked").symlink_to("state")
    linked = StateStore(tmp_path / "linked")
    assert linked.list_category("l") == ["a", "x"]
    assert linked.load_json("l", "x") == 1
    linked.save_json("l", "x", 2)
    assert (store.load_json("c", "x"), store.load_json("c", "a")) == (2, 1)
    assert linked.delete_file("l", "a")
    assert store.list_category("c") == ["x"]


def bind(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)


@posix
@pytest.mark.parametrize(
    "kind",
    [
        "fifo",
        "socket",
        "loop",
        "directory",
    ],
)
def test_reading_a_special_file_neither_hangs_nor_leaks_and_names_it(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(store.base_path / "c")  # the path of a socket is short
    make: dict[str, Callable[[str], object]] = {
        "fifo": os.mkfifo,
        "socket": bind,
        "loop": lambda name: os.symlink(name, name),
        "directory": os.mkdir,
    }
    make[kind]("x.json")
    descriptors = len(os.listdir("/dev/fd"))
    with pytest.raises((CorruptStateError, OSError), match=re.escape(str(store.base_path / "c" / "x.json"))) as caught:
        store.load_json("c", "x")
    assert kind != "fifo" or "not a regular file" in str(caught.value)
    assert len(os.listdir("/dev/fd")) == descriptors


@posix
@pytest.mark.parametrize("kind", ["fifo", "loop"])
def test_special_files_disturb_neither_listing_nor_saving(store: StateStore, kind: str) -> None:
    path = store.base_path / "c" / "x.json"
    os.mkfifo(path) if kind == "fifo" else path.symlink_to("x.json")
    assert store.list_category("c") == ["a"]
    store.save_json("c", "x", 2)
    assert store.load_json("c", "x") == 2


@contextmanager
def unprivileged(directory: Path) -> Iterator[None]:
    """Run the block as a user without privileges who owns everything below *directory* and may only read it."""
    paths = [directory, *directory.rglob("*")]
    root = os.geteuid() == 0
    for path in paths:
        if root:
            os.chown(path, 65534, -1)
        path.chmod(0o500 if path.is_dir() else 0o400)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path in filter(Path.exists, paths):
            path.chmod(0o700)


@posix
def test_a_read_only_directory_can_be_read_and_nothing_is_written() -> None:
    with tempfile.TemporaryDirectory() as directory:  # not tmp_path, which other users cannot reach
        store = StateStore(directory)
        session = Session("user", "s")
        store.save_session(session)
        store.save_markdown("sessions", "s", "text")
        for path in (Path(directory) / ".oxios_state").rglob("*.*"):
            path.unlink()
        (Path(directory) / ".oxios_state" / "locks").rmdir()
        (Path(directory) / ".oxios_state").rmdir()
        with unprivileged(Path(directory)):
            before = [(path, path.stat().st_mtime_ns) for path in sorted(Path(directory).rglob("*"))]
            assert store.load_session("s") == session
            assert store.get_or_create_session("user", "s") == session
            assert store.load_markdown("sessions", "s") == "text"
            assert store.list_category("sessions") == ["s"]
            assert [summary.id for summary in store.list_sessions()] == ["s"]
            assert [summary.id for summary in store.prune(dry_run=True)] == []
            assert store.prune() == []
            assert store.delete_session("t") is False
            with pytest.raises(PermissionError, match="not saved"):
                store.save_session(session)
            with pytest.raises(PermissionError):
                store.delete_session("s")
            assert [(path, path.stat().st_mtime_ns) for path in sorted(Path(directory).rglob("*"))] == before


@posix
@pytest.mark.parametrize("kind", ["fifo", "link", "read-only"])
def test_special_files_named_like_temporary_files_do_not_disturb_a_prune(kind: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = StateStore(directory)
        store.save_json("c", "a", 1)
        path = Path(directory) / "c" / OWN
        make: dict[str, Callable[[], object]] = {
            "fifo": lambda: os.mkfifo(path),
            "link": lambda: path.symlink_to("a.json"),
            "read-only": path.touch,  # its writer died after it set the mode of its read-only document
        }
        make[kind]()
        with unprivileged(Path(directory)):
            (Path(directory) / "c").chmod(0o700)
            if kind == "fifo":
                path.chmod(0o600)  # a FIFO that may not be opened cannot hang
            signal.alarm(1)
            assert store.prune() == []
