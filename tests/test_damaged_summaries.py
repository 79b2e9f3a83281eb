"""A file of summaries that is damaged, foreign or no file: it is no cache, and the list of sessions is right."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace

import pytest

from oxios_state import (
    Session,
    SessionSummary,
    StateStore,
    Timestamp,
    UserMessage,
    files,
    reading,
    summaries,
    summarycache,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
posix = pytest.mark.skipif(files.WINDOWS, reason="modes and special files of POSIX")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # As if every file had been there for a while.
    monkeypatch.setattr(reading, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 10**10))
    store = StateStore(tmp_path / "state", durable=False)
    nanoseconds = Timestamp(2026, 3, 1, 13, nanosecond=7, tzinfo=UTC)
    store.save_session(Session("ada", "a", created_at=NOON, metadata={"title": "T \u00e9 \U0001f680"}))
    store.save_session(Session("bo", "b", created_at=nanoseconds, user_messages=[UserMessage("hello\nyou")]))
    return store.base_path


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the sessions whose files were looked at."""
    ids: list[str] = []
    summarise = summaries.summarise

    def summarise_and_note(session: Session) -> SessionSummary:
        ids.append(session.id)
        return summarise(session)

    monkeypatch.setattr(summaries, "summarise", summarise_and_note)
    return ids


def fresh(base: Path) -> StateStore:
    return StateStore(base, durable=False)


def cache_of(base: Path) -> Path:
    return base / ".oxios_state" / "cache" / "summaries.json"


def truth(base: Path) -> str:
    """What is listed without the file, down to the types."""
    shutil.rmtree(base / ".oxios_state" / "cache", ignore_errors=True)
    return exactly(fresh(base).list_sessions())


def exactly(listed: list[SessionSummary]) -> str:
    assert all(type(summary.id) is str for summary in listed)
    return repr(listed)


def spoiled(raw: bytes) -> list[bytes]:
    """Every truncation, and every single bit flipped."""
    flips = [raw[:i] + bytes([raw[i] ^ 1 << bit]) + raw[i + 1 :] for i in range(len(raw)) for bit in range(8)]
    return [raw[:length] for length in range(len(raw))] + flips


def signed(body: bytes, form: bytes = b"oxios_state summaries 1 %s\n") -> bytes:
    return form % blake2b(body, digest_size=16).hexdigest().encode() + body


def test_no_truncation_and_no_flipped_bit_is_taken_for_sound(base: Path) -> None:
    fresh(base).list_sessions()
    raw = cache_of(base).read_bytes()
    assert len(summarycache._decode(raw)) == 2
    cache = summarycache.SummaryCache(files.Tree(base, durable=False))
    for damaged in spoiled(raw):
        cache_of(base).write_bytes(damaged)
        assert cache.read() == {}


def test_a_damaged_file_is_written_anew(base: Path, looked: list[str]) -> None:
    expected = truth(base)
    raw = cache_of(base).read_bytes()
    for damaged in spoiled(raw)[:: 97 if len(raw) < 1000 else 997]:
        cache_of(base).write_bytes(damaged)
        assert exactly(fresh(base).list_sessions()) == expected
        assert sorted(cache_of(base).read_bytes()) == sorted(raw)
        looked.clear()
        assert exactly(fresh(base).list_sessions()) == expected
        assert looked == []


FOREIGN = {
    "empty": b"",
    "JSON": b'{"a": 1}',
    "another format": signed(b"[]", b"oxios_state summaries 2 %s\n"),
    "not JSON": signed(b"["),
    "a number": signed(b"1"),
    "an object": signed(b'{"a": [1, 2]}'),
    "objects": signed(b'[{"a": 1}]'),
    "short rows": signed(b'[["a.json"]]'),
    "names that are none": signed(json.dumps([[1, [1] * 5, 0, *"upst", *["2026-03-01T12:00:00Z"] * 2]]).encode()),
    "times that are none": signed(json.dumps([["a.json", [1] * 5, 0, "u", None, None, None, "x", "y"]]).encode()),
    "deep": signed(b"[" * 100_000 + b"]" * 100_000),
    "not UTF-8": signed(b'["\xff"]'),
}


@pytest.mark.parametrize("content", FOREIGN)
def test_a_file_of_another_kind_is_ignored_and_written_anew(base: Path, content: str) -> None:
    expected = truth(base)
    cache_of(base).write_bytes(FOREIGN[content])
    assert exactly(fresh(base).list_sessions()) == expected
    assert len(summarycache._decode(cache_of(base).read_bytes())) == 2


def _a_link(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"not to be written")
    path.symlink_to("elsewhere")


def _a_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


THINGS: dict[str, Callable[[Path], object]] = {
    "a directory": Path.mkdir,
    "a FIFO": getattr(os, "mkfifo", Path.mkdir),
    "a socket": _a_socket,
    "a link": _a_link,
    "a broken link": lambda path: path.symlink_to("nowhere"),
    "a link in a circle": lambda path: path.symlink_to(path.name),
}


@posix
@pytest.mark.parametrize("thing", THINGS)
def test_whatever_is_in_its_place_the_list_is_right(base: Path, thing: str) -> None:
    expected = truth(base)
    cache_of(base).unlink()
    THINGS[thing](cache_of(base))
    for _ in range(2):
        assert exactly(fresh(base).list_sessions()) == expected
    assert cache_of(base).is_dir() or not cache_of(base).is_symlink()
    elsewhere = cache_of(base).with_name("elsewhere")
    assert not elsewhere.exists() or elsewhere.read_bytes() == b"not to be written"
    assert not list(base.rglob("*.tmp"))


@posix
@pytest.mark.parametrize("level", [".oxios_state", ".oxios_state/cache"])
@pytest.mark.parametrize("thing", ["a file", "a link that leads outside"])
def test_whatever_is_in_the_place_of_its_directory_the_list_is_right(base: Path, level: str, thing: str) -> None:
    expected = truth(base)
    shutil.rmtree(base / level)
    outside = base.parent / "outside"
    if thing == "a file":
        (base / level).write_bytes(b"")
    else:
        outside.mkdir()
        (base / level).symlink_to(outside)
    for _ in range(2):
        assert exactly(fresh(base).list_sessions()) == expected
    assert not outside.exists() or not list(outside.iterdir())


@posix
def test_a_file_that_may_not_be_read_is_ignored(nobody: Path) -> None:
    store = StateStore(nobody / "state", durable=False)
    store.save_session(Session("u", "s"))
    cache_of(store.base_path).parent.mkdir(parents=True)
    cache_of(store.base_path).touch(0o000)
    assert [summary.id for summary in fresh(store.base_path).list_sessions()] == ["s"]
