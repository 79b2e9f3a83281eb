"""A file of summaries that is damaged, foreign or no file: it is no cache, and the list of sessions is right."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import pytest

from oxios_state import Session, StateStore
from oxios_state.sessions import index
from oxios_state.storage import system
from oxios_state.storage.tree import Tree

posix = pytest.mark.skipif(system.WINDOWS, reason="modes and special files of POSIX")


def fresh(base: Path) -> StateStore:
    return StateStore(base, durable=False)


def spoiled(raw: bytes) -> list[bytes]:
    """Every truncation, and every single bit flipped."""
    flips = [raw[:i] + bytes([raw[i] ^ 1 << bit]) + raw[i + 1 :] for i in range(len(raw)) for bit in range(8)]
    return [raw[:length] for length in range(len(raw))] + flips


def signed(body: bytes, form: bytes = b"oxios_state summaries 1 %s\n") -> bytes:
    return form % blake2b(body, digest_size=16).hexdigest().encode() + body


def test_no_truncation_and_no_flipped_bit_is_taken_for_sound(base_of_two: Path, summary_file: Path) -> None:
    fresh(base_of_two).list_sessions()
    raw = summary_file.read_bytes()
    assert len(index._decode(raw)) == 2
    cache = index.SummaryFile(Tree(base_of_two, durable=False))
    for number, damaged in enumerate(spoiled(raw)):
        with pytest.raises(ValueError, match="damaged"):
            index._decode(damaged)
        if number % 50 == 0:
            summary_file.write_bytes(damaged)
            assert cache.read() == {}


def test_a_damaged_file_is_written_anew(
    base_of_two: Path,
    looked: list[str],
    summary_file: Path,
    truth: Callable[[], str],
    listed: Callable[[StateStore], str],
) -> None:
    expected = truth()
    raw = summary_file.read_bytes()
    for damaged in spoiled(raw)[:: 97 if len(raw) < 1000 else 997]:
        summary_file.write_bytes(damaged)
        assert listed(fresh(base_of_two)) == expected
        assert sorted(summary_file.read_bytes()) == sorted(raw)
        looked.clear()
        assert listed(fresh(base_of_two)) == expected
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
def test_a_file_of_another_kind_is_ignored_and_written_anew(
    base_of_two: Path, content: str, summary_file: Path, truth: Callable[[], str], listed: Callable[[StateStore], str]
) -> None:
    expected = truth()
    summary_file.write_bytes(FOREIGN[content])
    assert listed(fresh(base_of_two)) == expected
    assert len(index._decode(summary_file.read_bytes())) == 2


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
def test_whatever_is_in_its_place_the_list_is_right(
    base_of_two: Path, thing: str, summary_file: Path, truth: Callable[[], str], listed: Callable[[StateStore], str]
) -> None:
    expected = truth()
    summary_file.unlink()
    THINGS[thing](summary_file)
    for _ in range(2):
        assert listed(fresh(base_of_two)) == expected
    assert summary_file.is_dir() or not summary_file.is_symlink()
    elsewhere = summary_file.with_name("elsewhere")
    assert not elsewhere.exists() or elsewhere.read_bytes() == b"not to be written"
    assert not list(base_of_two.rglob("*.tmp"))


@posix
@pytest.mark.parametrize("level", [".oxios_state", ".oxios_state/cache"])
@pytest.mark.parametrize("thing", ["a file", "a link that leads outside"])
def test_whatever_is_in_the_place_of_its_directory_the_list_is_right(
    base_of_two: Path, level: str, thing: str, truth: Callable[[], str], listed: Callable[[StateStore], str]
) -> None:
    expected = truth()
    shutil.rmtree(base_of_two / level)
    outside = base_of_two.parent / "outside"
    if thing == "a file":
        (base_of_two / level).write_bytes(b"")
    else:
        outside.mkdir()
        (base_of_two / level).symlink_to(outside)
    for _ in range(2):
        assert listed(fresh(base_of_two)) == expected
    assert not outside.exists() or not list(outside.iterdir())


@posix
def test_a_file_that_may_not_be_read_is_ignored(nobody: Path) -> None:
    store = StateStore(nobody / "state", durable=False)
    store.save_session(Session("u", "s"))
    unreadable = store.base_path / ".oxios_state" / "cache" / "summaries.json"
    unreadable.parent.mkdir(parents=True)
    unreadable.touch(0o000)
    assert [summary.id for summary in fresh(store.base_path).list_sessions()] == ["s"]
