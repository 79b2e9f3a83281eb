"""The public operations in which `faults.py` injects faults, and the store that they work on."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs

from oxios_state import AgentResponse, PruneConfig, Session, SessionConflictError, StateStore

ACT = Callable[[], object]
OLD = datetime.now(UTC) - timedelta(days=30)


@attrs.frozen
class Operation:
    """One operation.

    Attributes:
        name: Its name in the report.
        prepare: Prepares the operation, and returns it as a function.
        atomic: Whether a failure leaves the documents as they were, unless it is a `DurabilityError`.
        keeps_all: Whether every content must still be in some file, whatever fails.
        replaces: The document whose old content may be lost all the same.
        fresh: Whether the store's directory is still missing.
    """

    name: str
    prepare: Callable[[StateStore], ACT]
    atomic: bool = True
    keeps_all: bool = True
    replaces: str = ""
    fresh: bool = False


def build_world(base: Path) -> None:
    store = StateStore(base)
    for number in range(4):
        session = Session("ada", f"s{number}")
        session.add_user_message(f"message of s{number} " + "x" * 2000)
        session.add_agent_response(AgentResponse("answer"))
        if number > 1:
            session.updated_at = OLD + timedelta(hours=number)
        store.save_session(session)
    store.save_json("config", "agent", {"model": "old", "padding": "x" * 9000})
    store.save_json("config", "broken", 1)
    (base / "config" / "broken.json").write_bytes(b'{"half": ')
    (base / "sessions" / "bad.json").write_bytes(b"{}")
    store.save_markdown("memory/knowledge", "notes", "# old\n" + "y" * 5000)


def _loaded(store: StateStore, session_id: str = "s0") -> Session:
    session = store.load_session(session_id)
    assert session is not None
    session.add_user_message("new")
    return session


def _edit(store: StateStore) -> ACT:
    def act() -> None:
        with store.edit_session("s0") as session:
            session.add_user_message("new")

    return act


def _conflict(store: StateStore) -> ACT:
    session = _loaded(store)
    store.save_session(_loaded(store))

    def act() -> str:
        try:
            store.update_session(session)
        except SessionConflictError:
            return "conflict"
        return "no conflict"

    return act


def _lock(store: StateStore) -> ACT:
    def act() -> None:
        with store.lock("config"), store.lock("config"):
            pass

    return act


def _quarantine(store: StateStore) -> ACT:
    problem = next(problem for problem in store.check() if problem.path.name == "broken.json")
    return lambda: getattr(store.quarantine.add(problem), "content", None)


def _restore(store: StateStore) -> ACT:
    _quarantine(store)()
    (entry,) = store.quarantine
    return lambda: store.quarantine.restore(entry)


def _quarantined(store: StateStore) -> ACT:
    _quarantine(store)()
    return lambda: [entry.path for entry in store.quarantine]


def _discard(store: StateStore) -> ACT:
    _quarantine(store)()
    (entry,) = store.quarantine
    return lambda: store.quarantine.discard(entry)


def _orphaned(store: StateStore) -> ACT:
    # Of the kernel's kind, and an hour old: `faults.py` checks for temporaries of the library's own kind.
    path = store.base_path / "config" / "a.json.1.00000000-0000-0000-0000-000000000000.tmp"
    path.write_bytes(b"orphan")
    os.utime(path, (1, 1))
    return lambda: [f"{problem.kind.value}: {problem}" for problem in store.check()]


def _save_old(store: StateStore) -> ACT:
    session = _loaded(store)
    return lambda: store.save_session(session)


def _update(store: StateStore) -> ACT:
    session = _loaded(store)
    return lambda: store.update_session(session)


def _kept(store: StateStore) -> ACT:
    _loaded(store)
    return lambda: store.load_session("s0")


def _edit_kept(store: StateStore) -> ACT:
    _loaded(store)
    return _edit(store)


def _list(store: StateStore) -> ACT:
    return lambda: [(summary.id, summary.message_count) for summary in store.list_sessions()]


def _list_cached(store: StateStore) -> ACT:
    StateStore(store.base_path).list_sessions()
    return _list(store)


def _list_stale(store: StateStore) -> ACT:
    StateStore(store.base_path).list_sessions()
    store.save_session(_loaded(store))
    return _list(store)


def _list_damaged(store: StateStore) -> ACT:
    StateStore(store.base_path).list_sessions()
    cache = store.base_path / ".oxios_state/cache/summaries.json"
    cache.write_bytes(cache.read_bytes()[:-9])
    return _list(store)


def _list_again(store: StateStore) -> ACT:
    store.list_sessions()
    return _list(store)


_NEW = {"model": "new", "padding": "z" * 9000}
_TWO = PruneConfig(max_sessions=2, ttl_hours=0)

OPERATIONS = [
    Operation(
        "save_json, over another", lambda s: lambda: s.save_json("config", "agent", _NEW), replaces="config/agent.json"
    ),
    Operation("save_json, in a new category", lambda s: lambda: s.save_json("a/b", "new", _NEW)),
    Operation("save_json, in a new store", lambda s: lambda: s.save_json("config", "agent", _NEW), fresh=True),
    Operation("save_json, over a broken one", lambda s: lambda: s.save_json("config", "broken", _NEW)),
    Operation(
        "save_markdown",
        lambda s: lambda: s.save_markdown("memory/knowledge", "notes", "# new\n"),
        replaces="memory/knowledge/notes.md",
    ),
    Operation("save_session", _save_old, replaces="sessions/s0.json"),
    Operation("update_session", _update, replaces="sessions/s0.json"),
    Operation("update_session, in conflict", _conflict),
    Operation("edit_session", _edit, replaces="sessions/s0.json"),
    Operation("get_or_create_session, new", lambda s: lambda: s.get_or_create_session("ada", "n").id),
    Operation(
        "get_or_create_session, in a new store", lambda s: lambda: s.get_or_create_session("a", "n").id, fresh=True
    ),
    Operation("get_or_create_session, there", lambda s: lambda: s.get_or_create_session("ada", "s1").id),
    Operation("load_session", lambda s: lambda: s.load_session("s0")),
    Operation("load_json", lambda s: lambda: s.load_json("config", "agent")),
    Operation("load_markdown", lambda s: lambda: s.load_markdown("memory/knowledge", "notes")),
    Operation("load_session, kept in memory", _kept),
    Operation("edit_session, kept in memory", _edit_kept, replaces="sessions/s0.json"),
    Operation("list_sessions", _list),
    Operation("list_sessions, from the cache", _list_cached),
    Operation("list_sessions, from a stale cache", _list_stale),
    Operation("list_sessions, with a damaged cache", _list_damaged),
    Operation("list_sessions, again", _list_again),
    Operation("list_category", lambda s: lambda: s.list_category("memory/knowledge")),
    Operation("delete_session", lambda s: lambda: s.delete_session("s0"), keeps_all=False),
    Operation("delete_file", lambda s: lambda: s.delete_file("memory/knowledge", "notes"), keeps_all=False),
    Operation("lock", _lock),
    Operation("prune", lambda s: lambda: [x.id for x in s.prune(_TWO)], atomic=False, keeps_all=False),
    Operation("prune, into an archive", lambda s: lambda: [x.id for x in s.prune(_TWO, archive="old/s")], atomic=False),
    Operation("check", _orphaned),
    Operation("quarantine", _quarantine, atomic=False),
    Operation("quarantined", _quarantined),
    Operation("restore", _restore, atomic=False),
    Operation("discard", _discard, atomic=False, keeps_all=False),
]
