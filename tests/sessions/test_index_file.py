"""The cache file of the index. Whatever it contains, or is, the list of sessions is right."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import stat
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oxios_state import Session, StateStore
from oxios_state.sessions.index import SummaryFile, decode_entries
from oxios_state.storage import reads, system
from oxios_state.storage.tree import Tree

posix = pytest.mark.skipif(system.WINDOWS, reason="modes and special files of POSIX")


def fresh(base: Path) -> StateStore:
    """Return a store without memory, as another process has it."""
    return StateStore(base, durable=False)


# Its content.


@pytest.fixture
def file(base_of_two: Path) -> SummaryFile:
    fresh(base_of_two).list_sessions()
    return SummaryFile(Tree(base_of_two, durable=False))


def with_digest(body: bytes, header: bytes = b"oxios_state summaries 1 %s\n") -> bytes:
    return header % blake2b(body, digest_size=16).hexdigest().encode() + body


def damaged(raw: bytes) -> list[bytes]:
    """Return every truncation, and every single bit flipped."""
    flips = [raw[:i] + bytes([raw[i] ^ 1 << bit]) + raw[i + 1 :] for i in range(len(raw)) for bit in range(8)]
    return [raw[:length] for length in range(len(raw))] + flips


def test_a_file_contains_a_row_for_each_session(file: SummaryFile, summary_file: Path) -> None:
    raw = summary_file.read_bytes()
    assert sorted(file.read()) == ["a.json", "b.json"]
    body = raw.partition(b"\n")[2]
    assert with_digest(body) == raw
    rows = json.loads(body)
    rows[0][6] = "another title"
    summary_file.write_bytes(with_digest(json.dumps(rows).encode()))
    summary = file.read()[rows[0][0]].summary
    assert summary is not None
    assert summary.title == "another title"


def test_every_truncation_and_every_flipped_bit_is_noticed(file: SummaryFile, summary_file: Path) -> None:
    assert file.read()
    for raw in damaged(summary_file.read_bytes()):
        with pytest.raises(ValueError, match="damaged"):
            decode_entries(raw)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *[(0, 5), (0, None), (0, ["a.json"])],
        *[(1, None), (1, 5), (1, []), (1, [1, 2, 3, 4, [5]]), (1, [1, 2, 3, 4, 5.0]), (1, {"0": 1}), (1, "12345")],
        *[(2, None), (2, -1), (2, 1.0), (2, True), (2, "1")],
        *[(3, None), (3, 5), (4, 5), (5, []), (6, {})],
        *[(7, 5), (7, "yesterday"), (8, "2026-03-01T08:00:00"), (8, "2026-03-01T08:00:00.1234567890123Z")],
        *[(7, "2026-03-01T24:00:00Z"), (8, "0000-00-00T00:00:00Z"), (8, "2026-03-01T08:00:00+00:00"), (8, "")],
    ],
)
def test_a_bad_row_invalidates_the_file(file: SummaryFile, summary_file: Path, column: int, value: object) -> None:
    rows = json.loads(summary_file.read_bytes().partition(b"\n")[2])
    rows[1][column] = value
    summary_file.write_bytes(with_digest(json.dumps(rows).encode()))
    assert file.read() == {}


@pytest.mark.parametrize("rows", [None, 5, "rows", {}, {"a": 1}, [5], ["123456789"], [[]], [{}], [[1] * 9], [[1], []]])
def test_a_file_of_other_json_is_ignored(file: SummaryFile, summary_file: Path, rows: object) -> None:
    summary_file.write_bytes(with_digest(json.dumps(rows).encode()))
    assert file.read() == {}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"a": 1}', id="no header"),
        pytest.param(with_digest(b"[]", b"oxios_state summaries 2 %s\n"), id="another format"),
        pytest.param(with_digest(b""), id="no rows"),
        pytest.param(with_digest(b"[[1, 2"), id="not JSON"),
        pytest.param(with_digest(b'["\xff"]'), id="not UTF-8"),
        pytest.param(with_digest(b"9" * 10_000), id="a huge number"),
        pytest.param(with_digest(b"[" * 100_000 + b"]" * 100_000), id="deep nesting"),
    ],
)
def test_a_file_that_is_not_a_cache_is_ignored(file: SummaryFile, summary_file: Path, raw: bytes) -> None:
    summary_file.write_bytes(raw)
    assert file.read() == {}


def test_the_next_list_replaces_a_damaged_file(
    base_of_two: Path,
    looked: list[str],
    summary_file: Path,
    truth: Callable[[], str],
    listed: Callable[[StateStore], str],
) -> None:
    expected = truth()
    raw = summary_file.read_bytes()
    for content in (raw[:-1], with_digest(b"[[1]]"), b""):
        summary_file.write_bytes(content)
        assert listed(fresh(base_of_two)) == expected
        assert sorted(summary_file.read_bytes()) == sorted(raw)
        looked.clear()
        assert listed(fresh(base_of_two)) == expected
        assert looked == []


def test_no_session_is_written_before_its_file_is_settled(
    base_of_two: Path, monkeypatch: pytest.MonkeyPatch, summary_file: Path
) -> None:
    fresh(base_of_two).save_session(Session("u", "young"))
    young = (base_of_two / "sessions" / "young.json").stat().st_ctime_ns
    monkeypatch.setattr(reads, "time", SimpleNamespace(time_ns=lambda: young + 10**7))
    assert len(fresh(base_of_two).list_sessions()) == 3
    for name in (b"young", b'"a.json"', b'"b.json"'):
        assert name not in (summary_file.read_bytes() if summary_file.exists() else b"")


# Its place.


def _link(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"not to be written")
    path.symlink_to("elsewhere")


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


KINDS: dict[str, Callable[[Path], object]] = {
    "directory": Path.mkdir,
    "FIFO": getattr(os, "mkfifo", Path.mkdir),
    "socket": _socket,
    "link": _link,
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link in a circle": lambda path: path.symlink_to(path.name),
}


@posix
@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_of_another_file_kind_is_ignored(
    base_of_two: Path, kind: str, summary_file: Path, truth: Callable[[], str], listed: Callable[[StateStore], str]
) -> None:
    expected = truth()
    summary_file.unlink()
    KINDS[kind](summary_file)
    for _ in range(2):
        assert listed(fresh(base_of_two)) == expected
    assert summary_file.is_dir() or not summary_file.is_symlink()
    elsewhere = summary_file.with_name("elsewhere")
    assert not elsewhere.exists() or elsewhere.read_bytes() == b"not to be written"
    assert not list(base_of_two.rglob("*.tmp"))


@posix
@pytest.mark.parametrize("level", [".oxios_state", ".oxios_state/cache"])
@pytest.mark.parametrize("kind", ["file", "link that leads outside"])
def test_a_directory_of_another_file_kind_is_ignored(
    base_of_two: Path, level: str, kind: str, truth: Callable[[], str], listed: Callable[[StateStore], str]
) -> None:
    expected = truth()
    shutil.rmtree(base_of_two / level)
    outside = base_of_two.parent / "outside"
    if kind == "file":
        (base_of_two / level).write_bytes(b"")
    else:
        outside.mkdir()
        (base_of_two / level).symlink_to(outside)
    for _ in range(2):
        assert listed(fresh(base_of_two)) == expected
    assert not outside.exists() or not list(outside.iterdir())


@posix
def test_the_file_is_private(base_of_two: Path, summary_file: Path) -> None:
    fresh(base_of_two).list_sessions()
    assert stat.S_IMODE(summary_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(summary_file.parent.stat().st_mode) == 0o700


@posix
def test_an_unreadable_file_is_ignored(nobody: Path) -> None:
    store = StateStore(nobody / "state", durable=False)
    store.save_session(Session("u", "s"))
    unreadable = store.base_path / ".oxios_state" / "cache" / "summaries.json"
    unreadable.parent.mkdir(parents=True)
    unreadable.touch(0o000)
    assert [summary.id for summary in fresh(store.base_path).list_sessions()] == ["s"]


@posix
def test_nothing_is_written_in_a_read_only_directory(nobody: Path) -> None:
    store = StateStore(nobody / "state", durable=False)
    store.save_session(Session("u", "s"))
    shutil.rmtree(store.base_path / ".oxios_state")
    store.base_path.chmod(0o500)
    for _ in range(2):
        assert [summary.id for summary in fresh(store.base_path).list_sessions()] == ["s"]
    assert os.listdir(store.base_path) == ["sessions"]


@pytest.mark.parametrize("call", ["open", "writev", "replace"])
def test_a_file_that_cannot_be_written_is_left_out(
    base_of_two: Path,
    calls: SimpleNamespace,
    *,
    call: str,
    summary_file: Path,
    truth: Callable[[], str],
    listed: Callable[[StateStore], str],
) -> None:
    expected = truth()
    summary_file.unlink()

    def fail(*arguments: Any) -> int:
        if call == "open" and not arguments[1] & os.O_CREAT:
            return os.open(*arguments)  # to read
        raise OSError(errno.EROFS, "Read-only file system")

    for name in (call, "write") if call == "writev" else (call,):
        setattr(calls, name, fail)
    store = fresh(base_of_two)
    for _ in range(2):
        assert listed(store) == expected
    assert os.listdir(summary_file.parent) == []


def test_listing_creates_no_base_directory(tmp_path: Path, base_of_two: Path) -> None:
    assert fresh(tmp_path / "missing").list_sessions() == []
    assert not (tmp_path / "missing").exists()
    (tmp_path / "bare").mkdir()
    assert fresh(tmp_path / "bare").list_sessions() == []
    assert list((tmp_path / "bare").iterdir()) == []
    store = fresh(base_of_two)
    assert len(store.list_sessions()) == 2
    shutil.rmtree(base_of_two)  # by another process
    assert store.list_sessions() == []
    assert not base_of_two.exists()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no users")
def test_root_writes_no_file_into_another_users_store(
    base_of_two: Path, summary_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(base_of_two / ".oxios_state")
    monkeypatch.setattr(os, "geteuid", lambda: base_of_two.stat().st_uid + 1)
    assert len(fresh(base_of_two).list_sessions()) == 2
    assert not (base_of_two / ".oxios_state").exists()  # it would lock the owner out
    monkeypatch.undo()
