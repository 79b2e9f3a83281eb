"""Staged: a temporary file beside a document, which replaces it or goes."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import pytest

from oxios_state.storage import atomic_write, reads, system
from oxios_state.storage.atomic_write import Staged, sweep
from oxios_state.storage.tree import remove

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import SimpleNamespace

    from oxios_state.storage.tree import Tree

posix = pytest.mark.skipif(os.name == "nt", reason="modes and system calls of POSIX")


@pytest.fixture
def path(tree: Tree) -> Path:
    """An existing document."""
    path = tree.base / "c" / "a.json"
    path.parent.mkdir()
    path.write_bytes(b"old")
    return path


def save(tree: Tree, path: Path, *pieces: bytes) -> None:
    with Staged(tree, path, pieces) as staged:
        staged.replace()


def temporary_files(tree: Tree) -> list[str]:
    return sorted(path.name for path in tree.base.rglob("*.tmp"))


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd")) if os.path.exists("/dev/fd") else 0


def test_the_content_appears_with_the_replacement(tree: Tree, path: Path) -> None:
    with Staged(tree, path, [b"n", b"ew"]) as staged:
        before = path.read_bytes(), staged.is_replaced
        identity = staged.replace()
        assert identity == reads.identity(path)
        assert staged.replace() == identity  # again does nothing
        after = path.read_bytes(), staged.is_replaced
    assert (before, after) == ((b"old", False), (b"new", True))
    assert temporary_files(tree) == []


def test_leaving_without_a_replacement_leaves_the_document_unchanged(tree: Tree, path: Path) -> None:
    before = open_descriptors()
    with Staged(tree, path, [b"new"]) as staged:
        pass
    assert not staged.is_replaced
    assert path.read_bytes() == b"old"
    assert temporary_files(tree) == []
    assert open_descriptors() == before


def test_writers_of_one_document_have_temporary_files_of_their_own(tree: Tree, path: Path) -> None:
    with Staged(tree, path, [b"1"]) as first, Staged(tree, path, [b"2"]) as second:
        assert len(temporary_files(tree)) == 2
        with tree.open("c") as directory:
            assert directory.documents() == ["a.json"]
        second.replace()
        assert path.read_bytes() == b"2"
        first.replace()
        assert path.read_bytes() == b"1"
    assert temporary_files(tree) == []


def test_a_temporary_file_is_created_exclusively(tree: Tree, path: Path, calls: SimpleNamespace) -> None:
    calls.urandom = bytes  # not random: the name is taken
    temporary = path.with_name(f".oxios_state.{bytes(8).hex()}.tmp")
    temporary.symlink_to(tree.base / "outside")
    with pytest.raises(FileExistsError):
        save(tree, path, b"new")
    assert temporary.is_symlink()
    assert path.read_bytes() == b"old"
    assert not (tree.base / "outside").exists()


@pytest.mark.parametrize(
    ("call", "code"), [("open", errno.EMFILE), ("write", errno.ENOSPC), ("fstat", errno.EIO), ("replace", errno.EXDEV)]
)
def test_an_error_names_the_document_and_leaves_nothing_behind(
    tree: Tree, path: Path, calls: SimpleNamespace, call: str, code: int
) -> None:
    def fail(*arguments: Any) -> int:
        if call == "open" and not str(arguments[0]).endswith(".tmp"):
            return os.open(*arguments)
        raise OSError(code, os.strerror(code))

    before = open_descriptors()
    setattr(calls, call, fail)
    with pytest.raises(OSError, match=f"^{re.escape(str(OSError(code, os.strerror(code), str(path))))}$"):
        save(tree, path, b"new")
    assert path.read_bytes() == b"old"
    assert temporary_files(tree) == []
    assert open_descriptors() == before


def write_some(descriptor: int, content: bytes) -> int:
    return os.write(descriptor, content[:7])


def writev_some(descriptor: int, pieces: list[bytes]) -> int:
    return os.write(descriptor, b"".join(pieces)[:7])


@pytest.mark.parametrize("pieces", [1, 20, 1024, 1025, 3000])
def test_a_short_write_is_continued(tree: Tree, path: Path, calls: SimpleNamespace, pieces: int) -> None:
    calls.write, calls.writev = write_some, writev_some
    content = [f"<{number}>".encode() for number in range(pieces)]
    save(tree, path, *content)
    assert path.read_bytes() == b"".join(content)


def test_pieces_are_joined_where_the_system_lacks_writev(tree: Tree, path: Path, calls: SimpleNamespace) -> None:
    vars(calls).pop("writev", None)
    save(tree, path, b"n", b"", b"ew")
    assert path.read_bytes() == b"new"


@posix
@pytest.mark.parametrize("mode", [0o644, 0o600, 0o400, 0o666])
def test_an_existing_document_keeps_its_mode(tree: Tree, path: Path, mode: int) -> None:
    path.chmod(mode)
    save(tree, path, b"new")
    assert path.stat().st_mode & 0o777 == mode
    assert path.read_bytes() == b"new"


def test_the_identity_of_a_file_that_changes_with_the_replacement_is_not_trusted(
    tree: Tree, path: Path, calls: SimpleNamespace
) -> None:
    def replace(source: str, target: Path) -> None:
        os.replace(source, target)
        target.write_bytes(b"another")

    calls.replace = replace
    with Staged(tree, path, [b"new"]) as staged:
        assert staged.replace() is None


def test_a_replacement_succeeds_if_the_status_cannot_be_read_after_it(
    tree: Tree, path: Path, calls: SimpleNamespace
) -> None:
    def fail(_: int) -> os.stat_result:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Staged(tree, path, [b"new"]) as staged:
        calls.fstat = fail
        assert staged.replace() is None
    assert path.read_bytes() == b"new"


# A sweep at the same time.


def test_the_temporary_file_of_a_living_thread_is_not_swept(tree: Tree, path: Path) -> None:
    with Staged(tree, path, [b"new"]) as staged:
        sweeper = threading.Thread(target=sweep, args=[tree])
        sweeper.start()
        sweeper.join()
        staged.replace()
    assert path.read_bytes() == b"new"


def test_a_temporary_file_that_is_swept_before_it_is_locked_is_created_again(
    tree: Tree, path: Path, calls: SimpleNamespace
) -> None:
    swept: list[Path] = []
    before = open_descriptors()

    def open_and_sweep(path: str | Path, *arguments: int) -> int:
        descriptor = os.open(path, *arguments)
        if str(path).endswith(".tmp") and arguments[0] & os.O_CREAT and not swept:
            calls.open = os.open
            swept.extend(sweep(tree))
        return descriptor

    calls.open = open_and_sweep
    save(tree, path, b"new")
    assert len(swept) == 1
    assert open_descriptors() == before
    assert path.read_bytes() == b"new"
    assert temporary_files(tree) == []


def test_a_temporary_file_that_a_sweep_has_locked_is_created_again(
    tree: Tree, path: Path, calls: SimpleNamespace
) -> None:
    sweeper: list[int] = []

    def open_and_lock(path: str | Path, *arguments: int) -> int:
        descriptor = os.open(path, *arguments)
        if str(path).endswith(".tmp") and not sweeper:
            sweeper.append(os.open(path, os.O_WRONLY))
            assert filelock.lock_descriptor(sweeper[0], blocking=False)
        return descriptor

    calls.open = open_and_lock
    save(tree, path, b"new")
    assert path.read_bytes() == b"new"
    assert temporary_files(tree) == []
    os.close(sweeper[0])


# Windows refuses to replace a file that is open.


def refusing(refusals: int, tries: list[int]) -> Callable[[str, Path], None]:
    """Return a replacement for `os.replace` that first fails, and adds the number of open descriptors to *tries*."""

    def replace(source: str, target: Path) -> None:
        tries.append(open_descriptors())
        if len(tries) <= refusals:
            raise PermissionError(errno.EACCES, "a reader has it open")
        os.replace(source, target)

    return replace


@pytest.mark.parametrize(("refusals", "saved"), [(0, True), (2, True), (3, False)])
def test_on_windows_a_refused_replacement_is_repeated(
    tree: Tree, path: Path, calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, refusals: int, *, saved: bool
) -> None:
    before, tries = open_descriptors(), list[int]()
    calls.replace = refusing(refusals, tries)
    monkeypatch.setattr(system, "WINDOWS", True)
    monkeypatch.setattr(atomic_write, "_REPLACE_TRIES", 3)
    monkeypatch.setattr(atomic_write, "_REPLACE_PAUSE", 0)
    if saved:
        save(tree, path, b"new")
    else:
        with pytest.raises(PermissionError, match="a reader has it open"):
            save(tree, path, b"new")
    assert path.read_bytes() == (b"new" if saved else b"old")
    assert temporary_files(tree) == []
    assert tries == [before] * min(refusals + 1, 3)  # the temporary file is closed


@posix
def test_elsewhere_a_refused_replacement_is_not_repeated(tree: Tree, path: Path, calls: SimpleNamespace) -> None:
    tries: list[int] = []
    calls.replace = refusing(1, tries)
    with pytest.raises(PermissionError):
        save(tree, path, b"new")
    assert len(tries) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="mounts of Linux")
def test_a_document_that_is_a_mount_point_is_an_error_that_says_so(tree: Tree, path: Path) -> None:
    other = tree.base / "other"
    other.write_bytes(b"mounted")
    command = ["mount", "--bind", str(other), str(path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    try:
        with pytest.raises(OSError, match=r"a file that is a mount point.*mount its directory instead") as caught:
            save(tree, path, b"new")
        assert (caught.value.errno, caught.value.filename) == (errno.EBUSY, str(path))
        with pytest.raises(OSError, match="a mount point"):
            remove(path)
        assert path.read_bytes() == b"mounted"
    finally:
        subprocess.run(["umount", str(path)], check=True)
    assert path.read_bytes() == b"old"
    assert temporary_files(tree) == []


@pytest.mark.parametrize("call", ["replace", "unlink"])
def test_a_busy_file_is_an_error_that_says_what_it_can_be(
    tree: Tree, path: Path, calls: SimpleNamespace, call: str
) -> None:
    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    setattr(calls, call, busy)
    with pytest.raises(OSError, match=r"Device or resource busy \(a file that is a mount point") as caught:
        save(tree, path, b"new") if call == "replace" else remove(path)
    assert (caught.value.errno, caught.value.filename) == (errno.EBUSY, str(path))
    assert path.read_bytes() == b"old"
