"""Scenarios: what a program does to a store before a power cut, and what must be there afterwards.

A scenario prepares a directory and then works on it; each of its steps ends with a yield, which acknowledges it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from oxios_state import CorruptStateError, PruneConfig, Session, StateStore, UserMessage
from oxios_state.codec import documents as codec
from oxios_state.model.revision import Revision
from oxios_state.model.summary import summarise
from oxios_state.sessions import index
from oxios_state.storage import revisions

revisions._TICK = revisions._COARSE_TICK = -(2**62)  # new files go into the cache of summaries at once

Documents = dict[str, bytes]
_BAD = {"sessions/bad"}  # corrupt from the beginning, in some scenarios
_CATEGORIES = ("archive/sessions", "config", "memory/knowledge", "notes", "sessions")


class Scenario(NamedTuple):
    prepare: Callable[[StateStore], None]
    work: Callable[[StateStore], Iterator[None]]
    repeatable: bool = True  # doing it all again after the cut has the same result as without one
    moves: bool = False  # files from one directory to another: nothing but syncs keeps them, whatever comes first


def _session(number: int, text: str = "first", name: str = "") -> Session:
    moment = datetime(2026, 1, number, tzinfo=UTC)
    message = UserMessage(f"{text} message, with a few words to be torn apart. " * 8, timestamp=moment)
    return Session("ada", name or f"s{number}", created_at=moment, updated_at=moment, user_messages=[message])


def _nothing(_: StateStore) -> None: ...


def _used(store: StateStore) -> None:
    for number in (1, 2, 3):
        store.save_session(_session(number))
    store.save_json("config", "agent", {"model": "old", "tools": ["bash"]})
    store.save_markdown("notes", "plan", "# Plan\n\nThe old one.\n")


def _first_save(store: StateStore) -> Iterator[None]:
    store.save_session(_session(1))
    yield


def _new_category(store: StateStore) -> Iterator[None]:
    store.save_markdown("memory/knowledge", "facts", "# Facts\n")
    yield


def _first_session(store: StateStore) -> Iterator[None]:
    store.get_or_create_session("ada", "s1")
    yield


def _saves(store: StateStore) -> Iterator[None]:
    store.save_session(_session(1, "second"))
    yield
    store.save_json("config", "agent", {"model": "new", "tools": []})
    yield
    store.save_markdown("notes", "plan", "# Plan\n\nThe new one, which is longer than the old one.\n")
    yield


def _edits(store: StateStore) -> Iterator[None]:
    for text in ("one more", "and another"):
        with store.edit_session("s2") as session:
            session.add_user_message(text)
        yield


def _updates(store: StateStore) -> Iterator[None]:
    session = store.load_session("s1")
    assert session is not None
    session.set_metadata("title", "Updated")
    store.update_session(session)
    yield


def _deletes(store: StateStore) -> Iterator[None]:
    store.delete_session("s1")
    yield
    store.delete_file("notes", "plan")
    yield


def _prune(store: StateStore) -> Iterator[None]:
    store.prune(PruneConfig(max_sessions=1, ttl_hours=0))
    yield


def _save_and_prune(store: StateStore) -> Iterator[None]:
    store.save_session_with_prune(_session(4), PruneConfig(max_sessions=2, ttl_hours=0))
    yield


def _archive(store: StateStore) -> Iterator[None]:
    store.prune(PruneConfig(max_sessions=1, ttl_hours=0), archive="archive/sessions")
    yield


def _archived_before(store: StateStore) -> None:
    """The archive has an older s1, and the s2 of a prune that was cut off."""
    _used(store)
    store.save_json("archive/sessions", "s1", {"id": "s1", "older": True})
    os.link(store.base_path / "sessions/s2.json", store.base_path / "archive/sessions/s2.json")


def _corrupt(store: StateStore) -> None:
    _used(store)
    (store.base_path / "sessions/bad.json").write_bytes(b'{"id": "bad", "user_id": "ada", "half a ses')


def _quarantine(store: StateStore) -> Iterator[None]:
    (problem,) = store.check()
    assert store.quarantine.add(problem)
    yield


def _quarantined(store: StateStore) -> None:
    _corrupt(store)
    next(_quarantine(store))


def _restore(store: StateStore) -> Iterator[None]:
    (entry,) = store.quarantine
    store.quarantine.restore(entry)
    yield


def _replace_corrupt(store: StateStore) -> Iterator[None]:
    store.save_session(_session(5, name="bad"))
    yield


def _listed(store: StateStore) -> None:
    _used(store)
    store.list_sessions()


def _first_list(store: StateStore) -> Iterator[None]:
    store.list_sessions()
    store.save_session(_session(2, "second"))
    yield


def _lists(store: StateStore) -> Iterator[None]:
    """List with a cache from before, and have others written."""
    store.list_sessions()
    store.save_session(_session(2, "second"))
    store.list_sessions()
    yield
    store.delete_session("s1")
    StateStore(store.base_path).list_sessions()
    yield


def _after_another(store: StateStore) -> Iterator[None]:
    """Another process made the category's directory, and was killed or is late: it is not synced."""
    os.makedirs(store.base_path / "memory/knowledge", 0o700)
    store.save_markdown("memory/knowledge", "facts", "# Facts\n")
    yield


SCENARIOS = {
    "first save": Scenario(_nothing, _first_save),
    "first session": Scenario(_nothing, _first_session, repeatable=False),
    "new category": Scenario(_used, _new_category),
    "saves": Scenario(_used, _saves),
    "edits": Scenario(_used, _edits, repeatable=False),
    "update": Scenario(_used, _updates, repeatable=False),
    "deletes": Scenario(_used, _deletes),
    "first list": Scenario(_used, _first_list),
    "lists": Scenario(_listed, _lists),
    "prune": Scenario(_used, _prune),
    "save and prune": Scenario(_used, _save_and_prune),
    "archive": Scenario(_used, _archive, moves=True),
    "archive again": Scenario(_archived_before, _archive, moves=True),
    "quarantine": Scenario(_corrupt, _quarantine, repeatable=False, moves=True),
    "restore": Scenario(_quarantined, _restore, repeatable=False, moves=True),
    "replace corrupt": Scenario(_corrupt, _replace_corrupt, moves=True),
    "after another": Scenario(_used, _after_another, repeatable=False),
}


class Library:
    """The library's own scenarios: a subject of the check."""

    def __init__(self, name: str, *, durable: bool) -> None:
        self._scenario = SCENARIOS[name]
        self._durable = durable

    def prepare(self, root: Path) -> None:
        self._scenario.prepare(StateStore(root / "state", durable=False))

    def work(self, root: Path) -> Iterator[None]:
        return self._scenario.work(StateStore(root / "state", durable=self._durable))

    def read(self, root: Path) -> Documents:
        """Read all documents, each as its bytes, through the library."""
        store = StateStore(root / "state", durable=False)
        found = {}
        for category in _CATEGORIES:
            for name in store.list_category(category):
                path = store.base_path / category / f"{name}.json"
                with suppress(CorruptStateError):  # then its bytes tell: they are those of before, or torn
                    if category == "sessions":
                        assert store.load_session(name)
                    elif path.exists():
                        assert store.load_json(category, name)
                    else:
                        path = path.with_suffix(".md")
                        assert store.load_markdown(category, name) is not None
                found[f"{category}/{name}"] = path.read_bytes()
        for entry in store.quarantine:
            found[f"quarantined {entry.path.name}"] = entry.content.read_bytes()
        return found

    def problems(self, root: Path, found: Documents, wanted: Documents) -> Iterator[str]:
        """Yield the problems of the store as a whole, and of going on with it."""
        store = StateStore(root / "state", durable=False)
        _put_in_cache(store)
        listed = {f"sessions/{summary.id}" for summary in store.list_sessions()}
        yield from _cache_problems(store)
        if listed != {key for key in found if key.startswith("sessions/")} - (_BAD - listed):
            yield "listed wrongly"
        odd = [problem for problem in store.check() if problem.kind.name != "ORPHAN" and problem.path.stem != "bad"]
        if odd:
            yield f"check finds it {odd[0].kind.value}"
        if self._scenario.repeatable:
            for _ in self._scenario.work(store):
                pass
            if _in_place(self.read(root)) != _in_place(wanted):
                yield "not the same when done again"
        yield from self._live_on(store, root)

    def _live_on(self, store: StateStore, root: Path) -> Iterator[str]:
        before = self.read(root)
        edited = {f"sessions/{summary.id}" for summary in store.list_sessions()}
        for key in edited:
            with store.edit_session(os.path.basename(key)) as session:
                session.set_metadata("after", "the cut")
        store.save_session(_session(9))
        store.save_json("config", "agent", {"model": "latest"})
        store.save_markdown("memory/knowledge", "facts", "# Other facts\n")
        store.prune(PruneConfig(max_sessions=0, ttl_hours=0))
        left = [path for category in _CATEGORIES for path in (store.base_path / category).glob("*.*")]
        if {path.suffix for path in left} - {".json", ".md"}:
            yield "temporary files stay"
        latest = self.read(root)
        written = {"sessions/s9", "config/agent", "memory/knowledge/facts"}
        changed = {key for key, content in latest.items() if before.get(key) != content}
        if changed != written | edited or not before.keys() <= latest.keys():
            yield "does not save"
        store.prune(PruneConfig(max_sessions=1, ttl_hours=0), archive="archive/sessions")
        if len(store.list_sessions()) != 1 or not set(latest.values()) <= set(self.read(root).values()):
            yield "does not prune"
        own = store.base_path / ".oxios_state"
        if [path.read_bytes().rstrip() for path in own.glob(".gitignore")] != [b"*"]:
            yield ".gitignore"
        if list(own.rglob("*.tmp")):
            yield "temporary files of its own stay"
        if any(not list(entry.glob("content")) for entry in own.glob("quarantine/*")):
            yield "(litter in quarantine)"


def _put_in_cache(store: StateStore) -> None:
    """Make the cache valid for unchanged files: in a state, unlike after a real cut, all files are new."""
    path = _cache(store)
    with suppress(OSError, ValueError):
        entries = index.decode_entries(path.read_bytes())
        for name, entry in entries.items():
            with suppress(OSError, CorruptStateError):
                file = store.base_path / "sessions" / name
                if summarise(codec.decode_named(file.read_bytes(), file)) == entry.summary:
                    entry.revision = Revision(revisions.identity_of(file.stat()), ())
        path.write_bytes(b"".join(index.encode_entries(entries)))


def _cache_problems(store: StateStore) -> Iterator[str]:
    """Compare what is listed with the cache of before, with the one that was written now, and without."""
    with_old = store.list_sessions()
    entries = index.decode_entries(_cache(store).read_bytes()) if with_old else {}
    if {entry.summary for entry in entries.values()} != set(with_old):
        yield "the cache is not written anew"
    with_new = StateStore(store.base_path).list_sessions()
    _cache(store).unlink(missing_ok=True)
    if not with_old == with_new == StateStore(store.base_path).list_sessions():
        yield "another list with a cache"


def _cache(store: StateStore) -> Path:
    return store.base_path / ".oxios_state/cache/summaries.json"


def _in_place(documents: Documents) -> Documents:
    return {key: content for key, content in documents.items() if not key.startswith("quarantined")}
