"""Reading files: content, identity, and errors that name the file."""

from __future__ import annotations

import errno
import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from oxios_state.storage import reads
from oxios_state.storage.revisions import identity_of

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 10**9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.json"
    path.write_bytes(b"content")
    return path


@pytest.fixture
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files be so old that their identities are trusted."""
    monkeypatch.setattr(reads, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 5 * SECOND))


def test_a_missing_file_has_no_content(tmp_path: Path) -> None:
    assert reads.read(tmp_path / "missing") is None
    assert reads.read_unless_known(tmp_path / "missing") is None
    assert reads.read(tmp_path / "missing" / "below") is None


@pytest.mark.usefixtures("_later")
def test_a_file_of_a_known_identity_is_not_read(path: Path) -> None:
    identity = identity_of(path.stat())
    assert reads.read_unless_known(path) == (b"content", identity)
    assert reads.read_unless_known(path, {identity}) == (None, identity)
    assert reads.identity(path) == identity


def test_the_identity_of_a_file_that_has_just_changed_is_not_trusted(path: Path) -> None:
    path.write_bytes(b"changed")
    assert reads.read_unless_known(path) == (b"changed", None)


@pytest.mark.usefixtures("_later")
def test_the_identity_of_a_file_that_grows_while_it_is_read_is_not_trusted(path: Path, calls: SimpleNamespace) -> None:
    def fstat(descriptor: int) -> os.stat_result:
        status = os.fstat(descriptor)
        with path.open("ab") as file:
            file.write(b" ")
        return status

    calls.fstat = fstat
    assert reads.read_unless_known(path) == (b"content ", None)


def test_a_failing_read_names_the_file(path: Path, calls: SimpleNamespace) -> None:
    def fail(_: int) -> os.stat_result:
        raise OSError(errno.EIO, "Input/output error")

    calls.fstat = fail
    with pytest.raises(OSError, match="Input/output error") as caught:
        reads.read(path)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))


def test_a_file_that_memory_cannot_hold_is_an_error_that_names_it(path: Path, calls: SimpleNamespace) -> None:
    def read(_: int, size: int) -> bytes:
        assert size == 8
        raise MemoryError

    calls.read = read
    with pytest.raises(OSError, match="not enough memory for 7 bytes; max_file_bytes=") as caught:
        reads.read(path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOMEM, str(path))


@pytest.mark.parametrize("call", ["open", "fstat"])
def test_an_error_without_errno_keeps_its_text(path: Path, calls: SimpleNamespace, call: str) -> None:
    def fail(*_: object) -> int:
        raise OSError("out of order")

    setattr(calls, call, fail)
    with pytest.raises(OSError, match="out of order") as caught:
        reads.read(path)
    assert str(caught.value) == "out of order"
