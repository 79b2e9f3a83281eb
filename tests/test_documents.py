"""Markdown and JSON documents: saving, loading, listing and deleting them, and saves that fail."""

from __future__ import annotations

import errno
import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from oxios_state import CorruptStateError, DurabilityError, InvalidNameError, Session, StateStore, UnsupportedValueError
from oxios_state.storage import locks, reads

if TYPE_CHECKING:
    from collections.abc import Callable

posix = pytest.mark.skipif(os.name == "nt", reason="links, limits and directories of POSIX")


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state")


@attrs.define
class Limits:
    tokens: int
    since: datetime


# Markdown.


@pytest.mark.parametrize("text", ["", "x", "a\r\nb\rc\n", "\ufeffBOM", "naïve 🚀\0", "no newline at the end"])
def test_markdown_is_loaded_exactly_as_it_was_saved(store: StateStore, text: str) -> None:
    store.save_markdown("memory/knowledge", "note", text)
    assert store.load_markdown("memory/knowledge", "note") == text
    assert (store.base_path / "memory/knowledge/note.md").read_bytes() == text.encode()


def test_markdown_that_is_not_utf8_is_corrupt(store: StateStore) -> None:
    store.save_markdown("notes", "a", "one\ntwo")
    (store.base_path / "notes/a.md").write_bytes(b"one\nt\xffo")
    with pytest.raises(CorruptStateError, match="line 2, column 2: byte 0xff is not UTF-8") as caught:
        store.load_markdown("notes", "a")
    assert caught.value.path == store.base_path / "notes/a.md"


def test_markdown_with_a_lone_surrogate_is_refused(store: StateStore) -> None:
    store.save_markdown("notes", "a", "old")
    reason = "not saved, the text has a lone surrogate at character 1"
    with pytest.raises(UnsupportedValueError, match=reason) as caught:
        store.save_markdown("notes", "a", "x\ud800")
    assert caught.value.json_path is None
    assert store.load_markdown("notes", "a") == "old"


def test_markdown_must_be_a_string(store: StateStore) -> None:
    with pytest.raises(TypeError, match="content must be str, not bytes"):
        store.save_markdown("notes", "a", b"x")  # type: ignore[arg-type]


# JSON.


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "x", [], {}, {"b": 1, "a": [None]}])
def test_a_json_value_is_loaded_as_it_was_saved(store: StateStore, value: Any) -> None:
    store.save_json("config", "v", value)
    assert store.load_json("config", "v", default="missing") == value


def test_a_missing_document_is_the_default(store: StateStore) -> None:
    assert store.load_json("config", "v", Limits) is None
    assert store.load_json("config", "v", int, 3) == 3
    assert store.load_json("config", "v", default=[]) == []


def test_an_attrs_class_is_saved_and_loaded(store: StateStore) -> None:
    limits = Limits(4096, datetime(2026, 3, 1, tzinfo=UTC))
    store.save_json("config", "limits", limits)
    assert store.load_json("config", "limits", Limits) == limits
    assert store.load_json("config", "limits") == {"tokens": 4096, "since": "2026-03-01T00:00:00Z"}


def test_an_unsupported_value_is_refused_with_its_path(store: StateStore) -> None:
    store.save_json("config", "v", 1)
    with pytest.raises(UnsupportedValueError, match=r"not saved, \$\.a\[1\]: nan is not JSON: .*v\.json") as caught:
        store.save_json("config", "v", {"a": [1, float("nan")]})
    assert caught.value.json_path == "$.a[1]"
    assert caught.value.path == store.base_path / "config/v.json"
    assert store.load_json("config", "v") == 1


# Listing and deleting.


def test_a_category_lists_each_name_once_and_sorted(store: StateStore) -> None:
    store.save_json("c", "both", 1)
    store.save_markdown("c", "both", "x")
    store.save_markdown("c", "b.c", "x")
    store.save_json("c/deeper", "inner", 1)
    for file_name in ("x.txt", ".json", ".md", "x.json.tmp", ".oxios_state.1.json", "a..b.json"):
        (store.base_path / "c" / file_name).write_bytes(b"")
    (store.base_path / "c" / "directory.json").mkdir()
    assert store.list_category("c") == ["b.c", "both"]


def test_delete_file_deletes_the_json_document_first(store: StateStore) -> None:
    store.save_json("c", "a", 1)
    store.save_markdown("c", "a", "x")
    assert store.delete_file("c", "a")
    assert store.load_json("c", "a") is None
    assert store.load_markdown("c", "a") == "x"
    assert store.delete_file("c", "a")
    assert not store.delete_file("c", "a")


def test_a_name_that_fits_with_the_markdown_extension_only_can_be_deleted(store: StateStore) -> None:
    name = "n" * 252
    store.save_markdown("c", name, "x")
    assert store.list_category("c") == [name]
    assert store.delete_file("c", name)
    with pytest.raises(InvalidNameError, match="257 bytes"):
        store.save_json("c", name, 1)


def test_a_document_that_another_process_deletes_meanwhile_was_not_deleted(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "is_there", lambda _: True)  # as it was a moment ago
    assert not store.delete_file("c", "a")


# Saves that fail.


def file_names_below(directory: Path) -> list[str]:
    file_names = [name for _, _, names in os.walk(directory) for name in names]
    return sorted(name for name in file_names if not name.endswith((".lock", ".turn")))


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd")) if os.path.exists("/dev/fd") else 0


def failing(call: str, error: OSError) -> Callable[..., Any]:
    def fail(*arguments: Any) -> Any:
        if call == "open" and not str(arguments[0]).endswith(".tmp"):
            return os.open(*arguments)
        raise error

    return fail


@posix
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
    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(calls, call, failing(call, OSError(code, os.strerror(code))))
        with pytest.raises(OSError, match="not saved, ") as caught:
            store.save_json("c", "a", "new")
    assert caught.value.errno == code
    assert caught.value.strerror == f"not saved, {os.strerror(code)}"
    assert caught.value.filename == str(path)
    assert not isinstance(caught.value, DurabilityError)
    assert store.load_json("c", "a") == "old"
    assert file_names_below(store.base_path) == [".gitignore", "a.json"]
    assert open_descriptors() == before
    store.save_json("c", "a", "new")  # the lock is free
    assert store.load_json("c", "a") == "new"


@posix
@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace", "fstat", "lstat"])
def test_an_error_without_errno_keeps_its_text_and_names_the_document_in_a_note(
    store: StateStore, calls: SimpleNamespace, call: str
) -> None:
    store.save_json("c", "a", "old")
    path = store.base_path / "c" / "a.json"
    setattr(calls, call, failing(call, OSError("out of order")))
    with pytest.raises(OSError, match="out of order") as caught:
        store.save_json("c", "a", "new")
    assert str(caught.value) == "out of order"
    assert caught.value.__notes__[-1] == f"not saved: {path}"


@posix
def test_a_document_beyond_the_file_size_limit_leaves_the_old_one(store: StateStore) -> None:
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
    assert file_names_below(store.base_path) == [".gitignore", "a.md"]


@posix
@pytest.mark.parametrize(
    ("obstacle", "error"),
    [("file", NotADirectoryError), ("directory", IsADirectoryError), ("dangling link", FileNotFoundError)],
)
def test_an_obstacle_in_place_of_a_document_is_an_error(store: StateStore, obstacle: str, error: type[OSError]) -> None:
    store.save_json("other", "a", 1)
    category, path = store.base_path / "c", store.base_path / "c" / "a.json"
    if obstacle == "file":
        category.touch()
    elif obstacle == "directory":
        path.mkdir(parents=True)
    else:
        category.symlink_to("nowhere")
    with pytest.raises(error, match="not saved, ") as caught:
        store.save_json("c", "a", 1)
    assert caught.value.filename == str(path)
    assert not list(store.base_path.rglob("*.tmp"))


def test_a_save_without_a_lock_says_that_nothing_was_saved_and_why(store: StateStore) -> None:
    store.save_json("c", "a", "old")
    own = store.base_path / ".oxios_state"
    own.rename(store.base_path / "moved")
    own.write_text("a file in its place")
    with pytest.raises(OSError, match=f"not saved, .*: {re.escape(str(own))}") as caught:
        store.save_json("c", "a", "new")
    assert caught.value.filename == str(store.base_path / "c" / "a.json")
    assert store.load_json("c", "a") == "old"
    assert not list(store.base_path.rglob("*.tmp"))


def test_an_error_after_the_replacement_does_not_say_that_nothing_was_saved(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close(descriptor: int) -> None:
        os.close(descriptor)
        if path.read_bytes() == b"2":
            raise OSError(errno.EIO, "late")

    store.save_json("c", "a", 1)
    path = store.base_path / "c" / "a.json"
    with monkeypatch.context() as patch:
        patch.setattr(locks, "os", SimpleNamespace(**vars(os) | {"close": close}))  # closes the file of the lock
        with pytest.raises(OSError, match=r"^\[Errno \d+\] late$"):
            store.save_json("c", "a", 2)
    assert store.load_json("c", "a") == 2
    store.save_json("c", "a", 3)  # the lock is free


@posix
def test_a_failed_sync_of_the_directory_says_that_the_document_is_saved(
    store: StateStore, calls: SimpleNamespace
) -> None:
    session = Session("user", "s")
    store.save_session(session)
    before = open_descriptors()

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
    assert file_names_below(store.base_path) == [".gitignore", "s.json"]
    assert open_descriptors() == before
    calls.fsync = os.fsync
    store.update_session(session)  # the object knows that it was saved
