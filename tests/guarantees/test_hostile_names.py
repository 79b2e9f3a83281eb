"""Names and paths that would lead a store outside its base, into another document, or nowhere."""

from __future__ import annotations

import errno
import json
import os
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from oxios_state import (
    CorruptStateError,
    InvalidNameError,
    Problem,
    ProblemKind,
    PruneConfig,
    Quarantined,
    Session,
    StateError,
    StateStore,
)

posix = pytest.mark.skipif(os.name == "nt", reason="links, devices and permissions of POSIX")


# Traversal, in every parameter that takes a name or a path.

TRAVERSAL = ["..", "../x", "../../x", "a/../../x", "/x", "/etc/passwd", "..\\x", "a/..", ".oxios_state", "./x", "x\0"]


@pytest.mark.parametrize("name", TRAVERSAL)
def test_every_parameter_refuses_a_name_that_leads_outside(
    all_below: Callable[[Path], dict[str, bytes | None]], store: StateStore, tmp_path: Path, name: str
) -> None:
    session = Session("u", name)
    before = all_below(tmp_path)
    refused: list[Callable[[], Any]] = [
        lambda: store.save_session(session),
        lambda: store.update_session(session),
        lambda: store.save_session_with_prune(session, PruneConfig()),
        lambda: store.edit_session(name).__enter__(),
        lambda: store.load_session(name),
        lambda: store.delete_session(name),
        lambda: store.get_or_create_session("u", name),
        lambda: store.prune(PruneConfig(1, 1), archive=name),
        lambda: store.prune(archive=f"archive/{name}"),
        lambda: store.lock(name).__enter__(),
        lambda: store.list_category(name),
        lambda: store.save_markdown("c", name, "x"),
        lambda: store.save_markdown(name, "a", "x"),
        lambda: store.load_markdown(name, "a"),
        lambda: store.save_json("c", name, 1),
        lambda: store.save_json(name, "a", 1),
        lambda: store.load_json("c", name),
        lambda: store.load_json(name, "a"),
        lambda: store.delete_file("c", name),
        lambda: store.delete_file(name, "a"),
    ]
    for call in refused:
        with pytest.raises(InvalidNameError):
            call()
    assert all_below(tmp_path) == before


def test_a_user_id_may_be_any_text(
    all_below: Callable[[Path], dict[str, bytes | None]], store: StateStore, tmp_path: Path
) -> None:
    before = all_below(tmp_path).keys()
    store.get_or_create_session("../../etc/passwd", "s")
    assert {Path(path).parent.name for path in all_below(tmp_path).keys() - before} == {"state", "sessions", "locks"}


def quarantined(store: StateStore) -> Quarantined:
    (store.base_path / "c" / "x.json").write_text("{")
    entry = store.quarantine.add(store.check()[0])
    assert entry is not None
    return entry


@posix
def test_quarantining_a_problem_outside_the_base_is_refused(store: StateStore, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises((ValueError, StateError)):
        store.quarantine.add(Problem(ProblemKind.CORRUPT, store.base_path / ".." / "x.json", ""))
    assert (tmp_path / "x.json").exists()


@posix
@pytest.mark.parametrize("path", ["../x.json", "c/../../x.json", ".oxios_state/locks/x.json"])
def test_restoring_to_a_place_outside_the_base_is_refused(store: StateStore, tmp_path: Path, path: str) -> None:
    content = quarantined(store).content
    reason = json.loads(content.with_name("reason.json").read_text())
    content.with_name("reason.json").write_text(json.dumps({**reason, "path": path}))
    for entry in store.quarantine:
        with pytest.raises((ValueError, StateError)):
            store.quarantine.restore(entry)
    assert content.exists()
    assert not (store.base_path / path).exists()


@posix
def test_a_file_that_is_not_in_quarantine_cannot_be_restored(store: StateStore, tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "content").write_text("1")
    place = store.base_path / "c" / "x.json"
    with pytest.raises((ValueError, StateError)):
        store.quarantine.restore(Quarantined(place, tmp_path / "foreign" / "content", "", datetime.now(UTC)))
    assert (tmp_path / "foreign" / "content").exists()


# Links and devices.


@posix
def test_a_save_does_not_change_other_hard_links_of_the_old_file(store: StateStore, tmp_path: Path) -> None:
    path, other = store.base_path / "c" / "a.json", tmp_path / "other.json"
    os.link(path, other)
    store.save_json("c", "a", 2)
    assert (other.read_text(), path.read_text()) == ("1", "2")
    os.link(path, store.base_path / "c" / "b.json")
    assert store.delete_file("c", "a")
    assert (store.load_json("c", "b"), other.read_text()) == (2, "1")


@posix
def test_archiving_keeps_another_hard_link_of_the_same_file(store: StateStore) -> None:
    store.save_session(Session("u", "s"))
    (store.base_path / "old").mkdir()
    os.link(store.base_path / "sessions" / "s.json", store.base_path / "old" / "s.json")
    store.save_session(Session("u", "t"))
    assert [summary.id for summary in store.prune(PruneConfig(1, 0), archive="old")] == ["s"]
    assert store.list_category("old") == ["s"]


@posix
@pytest.mark.parametrize("device", ["zero", "full"])
def test_a_device_is_neither_read_nor_written(store: StateStore, device: str) -> None:
    path = store.base_path / "sessions" / "s.json"
    path.parent.mkdir()
    try:
        os.mknod(path, 0o20600, Path("/dev", device).stat().st_rdev)
    except PermissionError:
        pytest.skip("only root makes devices")
    with pytest.raises(CorruptStateError, match="not a regular file"):
        store.load_session("s")
    with pytest.raises(CorruptStateError, match="not a regular file"):
        store.get_or_create_session("u", "s")
    with pytest.raises(CorruptStateError), store.edit_session("s"):
        pass
    assert (store.list_sessions(), store.prune(PruneConfig(1, 1))) == ([], [])
    assert [problem.kind for problem in store.check()] == [ProblemKind.NOT_A_FILE]
    store.save_session(Session("u", "s"))
    assert path.is_file()


@posix
@pytest.mark.parametrize("target", ["/dev/zero", "/dev/stdin", "/proc/self/mem", "/etc/passwd"])
def test_a_link_to_a_device_or_a_system_file_is_refused(store: StateStore, target: str) -> None:
    for extension in (".json", ".md"):
        (store.base_path / "c" / f"x{extension}").symlink_to(target)
    for call in (store.load_json, store.load_markdown, store.delete_file):
        with pytest.raises(InvalidNameError, match="a symbolic link that leads outside"):
            call("c", "x")
    assert store.list_category("c") == ["a"]


# Lengths, in bytes.


@posix
@pytest.mark.parametrize("letter", ["n", "é", "名", "🚀"])
def test_names_of_the_maximum_length_work_with_every_method(tmp_path: Path, letter: str) -> None:
    def longest(size: int) -> str:
        return (letter * 255)[: size // len(letter.encode())] + "x" * (size % len(letter.encode()))

    store = StateStore(tmp_path / "state", durable=False)
    category = "/".join([longest(255)] * 3)
    assert (len(longest(250).encode()), len(longest(255).encode())) == (250, 255)
    store.save_json(category, longest(250), 1)
    store.save_markdown(category, longest(252), "x")
    assert store.list_category(category) == sorted([longest(250), longest(252)])
    store.save_session(session := Session("u", longest(250)))
    with store.edit_session(session.id) as edited:
        edited.set_metadata("n", 1)
    (store.base_path / category / f"{longest(250)}.json").write_text("{")
    assert store.load_session(session.id) == edited
    (problem,) = store.check()
    entry = store.quarantine.add(problem)
    assert entry is not None
    store.quarantine.restore(entry)
    assert store.delete_file(category, longest(250))
    store.save_session(Session("u", "later"))
    assert [summary.id for summary in store.prune(PruneConfig(1, 0), archive=category)] == [session.id]
    assert len({path.name for path in (store.base_path / ".oxios_state" / "locks").iterdir()}) == 4
    for call in (lambda: store.save_json("c", longest(250) + "x", 1), lambda: store.list_category(longest(255) + "x")):
        with pytest.raises(InvalidNameError, match="25[16] bytes" if "x" in longest(251) else "256 bytes"):
            call()


@posix
def test_a_path_that_is_too_long_is_an_error_that_names_it(store: StateStore) -> None:
    category = "/".join(["d" * 255] * 17)
    calls: list[Callable[[], Any]] = [
        lambda: store.load_json(category, "x"),
        lambda: store.save_json(category, "x", 1),
        lambda: store.list_category(category),
    ]
    for call in calls:
        with pytest.raises(OSError, match="File name too long") as caught:
            call()
        assert caught.value.errno == errno.ENAMETOOLONG
    assert store.list_category("c") == ["a"]


# Names that some systems do not distinguish.


@posix
def test_names_that_differ_in_case_or_normalisation_are_documents_and_categories_of_their_own(
    store: StateStore,
) -> None:
    spellings = [
        "café",
        "CAFÉ",
        unicodedata.normalize("NFD", "café"),
        "Straße",
        "STRASSE",
        "\ufb01",
        "fi",
        "CON",
        "con",
    ]
    for number, name in enumerate(spellings):
        store.save_json("case", name, number)
        store.save_json(name, "a", number)
        store.save_session(Session(str(number), name))
    assert store.list_category("case") == sorted(spellings)
    for number, name in enumerate(spellings):
        session = store.load_session(name)
        assert session is not None
        assert (session.user_id, store.load_json("case", name), store.load_json(name, "a")) == (
            str(number),
            number,
            number,
        )
    locks = os.listdir(store.base_path / ".oxios_state" / "locks")
    assert {f"{name}.lock" for name in spellings} <= set(locks)
    assert store.delete_session("café")
    assert len(store.list_sessions()) == len(spellings) - 1
