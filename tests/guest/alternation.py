"""Two clients of an NFS server change one directory by turns: what one does next must see what the other did.

    alternation.py WAY ROUNDS LATE FLAW

LATE is 1 where who looks without a lock may not see what was changed until he takes the lock, and 0 where he must. Each
client is a process with one store, so what it knows of files and names is as old as can be. See `network`, and
`clients` for the ways.
"""

from __future__ import annotations

import json
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import booted
import clients

from oxios_state import Problem, ProblemKind, PruneConfig, Session, StateError, StateStore

EVERYTHING = PruneConfig(max_sessions=0, ttl_hours=sys.float_info.min)
LISTED = "listed"


class WrongError(Exception):
    """A client saw, or did, what it should not; what."""


class Client:
    """One client, in a process of its own."""

    def __init__(self, base: Path, asked: Connection) -> None:
        self._store = StateStore(base, lock_timeout=60)
        self._asked = asked
        self._loaded: Session | None = None

    def serve(self) -> None:
        while True:
            what, arguments = self._asked.recv()
            try:
                answer: object = getattr(self, what)(*arguments)
            except (StateError, OSError) as error:
                answer = type(error).__name__
            self._asked.send(answer)

    # Operations that read.

    def texts(self, session_id: str) -> list[str] | None:
        session = self._store.load_session(session_id)
        return [message.content for message in session.user_messages] if session else None

    def counts(self) -> dict[str, int]:
        return {summary.id: summary.message_count for summary in self._store.list_sessions()}

    def found(self, text: str) -> list[str]:
        return sorted({hit.session_id for hit in self._store.search_sessions(text)})

    def json(self, category: str) -> Any:
        return self._store.load_json(category, "document")

    def names(self, category: str) -> list[str]:
        return self._store.list_category(category)

    def quarantined(self) -> int:
        return len(self._store.quarantine)

    def catch_up(self, *categories: str) -> None:
        for category in categories:
            with self._store.lock(category):
                pass

    # Operations that change.

    def create(self, session_id: str) -> int:
        return len(self._store.get_or_create_session(clients.USER, session_id).user_messages)

    def add(self, session_id: str, text: str) -> None:
        with self._store.edit_session(session_id) as session:
            session.add_user_message(text)

    def load(self, session_id: str) -> None:
        self._loaded = self._store.load_session(session_id)

    def update(self, text: str) -> None:
        assert self._loaded is not None
        self._loaded.add_user_message(text)
        self._store.update_session(self._loaded)

    def delete(self, session_id: str) -> bool:
        return self._store.delete_session(session_id)

    def save_json(self, category: str, value: object) -> None:
        self._store.save_json(category, "document", value)

    def delete_json(self, category: str) -> bool:
        return self._store.delete_file(category, "document")

    def delete_archived(self, name: str) -> bool:
        return self._store.delete_file("archive", name)

    def prune(self, archive: str | None, *, stop: bool = True) -> list[str]:
        """Remove all sessions; when they are listed, tell so, and wait until the other is done."""

        def keep(_: object) -> bool:
            nonlocal stop
            if stop:
                stop = False
                self._asked.send(LISTED)
                self._asked.recv()
            return False

        return sorted(summary.id for summary in self._store.prune(EVERYTHING, keep=keep, archive=archive))

    def quarantine(self, category: str) -> bool:
        problem = Problem(ProblemKind.CORRUPT, self._store.base_path / category / "document.json", "spoilt")
        problem.path.write_bytes(b"{")
        return self._store.quarantine.add(problem) is not None

    def restore(self) -> int:
        entries = list(self._store.quarantine)
        for entry in entries:
            self._store.quarantine.restore(entry)
        return len(entries)


class Turns:
    """Has two clients do something by turns, and compares what comes of it with what should."""

    def __init__(self, *, may_be_late: bool) -> None:
        self.done = 0
        self.late = 0
        self.category = "none"
        self._may_be_late = may_be_late
        self._pipes = [self._start(mount / "state") for mount in clients.MOUNTS]

    @staticmethod
    def _start(base: Path) -> Connection:
        ours, theirs = clients.CONTEXT.Pipe()
        clients.CONTEXT.Process(target=lambda: Client(base, theirs).serve(), daemon=True).start()
        return ours

    def do(self, client: int, what: str, *arguments: object) -> Any:
        self._pipes[client].send((what, arguments))
        return self._pipes[client].recv()

    def change(self, client: int, what: str, *arguments: object, gives: object = None) -> None:
        self._compare(self.do(client, what, *arguments), gives, f"{what} {arguments}")

    def look(self, client: int, what: str, *arguments: object, gives: object) -> None:
        seen = self.do(client, what, *arguments)
        if self._may_be_late and seen != gives:
            self.late += 1
            self.do(client, "catch_up", "sessions", "archive", self.category)
            seen = self.do(client, what, *arguments)
        self._compare(seen, gives, f"{what} {arguments}")

    def go_on(self, client: int, gives: object) -> None:
        self._pipes[client].send("go on")
        self._compare(self._pipes[client].recv(), gives, "prune")

    def _compare(self, seen: object, expected: object, what: str) -> None:
        self.done += 1
        if seen != expected:
            raise WrongError(f"turn {self.done}: {what} gave {seen}, not {expected}")


def play(turns: Turns, one: int, number: int) -> None:
    """Do each kind of change by one client, and what should see it by the other: all ends as it began."""
    _sessions(turns, one, 1 - one, f"a{number}")
    _overtaken_prunes(turns, one, 1 - one, f"a{number}", f"b{number}")
    turns.category = f"c{number}/below"
    _documents(turns, one, 1 - one, turns.category)


def _sessions(turns: Turns, one: int, two: int, a: str) -> None:
    change, look = turns.change, turns.look
    look(two, "texts", a, gives=None)
    look(two, "counts", gives={})
    change(one, "create", a, gives=0)
    look(two, "texts", a, gives=[])
    change(two, "create", a, gives=0)
    change(one, "add", a, "first")
    look(two, "texts", a, gives=["first"])
    look(two, "counts", gives={a: 1})
    look(two, "found", "first", gives=[a])
    change(one, "load", a)
    change(two, "add", a, "second")
    change(one, "update", "third", gives="SessionConflictError")
    change(one, "add", a, "fourth")
    look(two, "texts", a, gives=["first", "second", "fourth"])
    change(two, "load", a)
    change(one, "delete", a, gives=True)
    look(two, "texts", a, gives=None)
    change(two, "update", "fifth", gives="SessionConflictError")
    change(two, "add", a, "sixth", gives="SessionNotFoundError")
    change(two, "delete", a, gives=False)
    look(two, "counts", gives={})


def _overtaken_prunes(turns: Turns, one: int, two: int, a: str, b: str) -> None:
    """Save, and delete, one of two sessions while the other client prunes: what was saved since it was listed stays."""
    change, look = turns.change, turns.look
    for archive in (None, "archive"):
        change(two, "create", a, gives=0)
        change(two, "create", b, gives=0)
        look(one, "counts", gives={a: 0, b: 0})
        change(one, "prune", archive, gives=LISTED)
        change(two, "add", a, "overtaking")
        turns.go_on(one, gives=[b])
        look(two, "texts", b, gives=None)
        look(one, "texts", a, gives=["overtaking"])
        change(one, "delete", a, gives=True)
    look(two, "names", "archive", gives=[b])
    change(two, "delete_archived", b, gives=True)
    change(two, "create", a, gives=0)
    look(one, "counts", gives={a: 0})
    change(one, "prune", None, gives=LISTED)
    change(two, "delete", a, gives=True)
    turns.go_on(one, gives=[])


def _documents(turns: Turns, one: int, two: int, category: str) -> None:
    """Change a document of a category that the other client has looked for before it was there."""
    change, look = turns.change, turns.look
    look(two, "json", category, gives=None)
    look(two, "names", category, gives=[])
    change(one, "save_json", category, 1)
    look(two, "json", category, gives=1)
    look(two, "names", category, gives=["document"])
    change(one, "save_json", category, {"two": 2})
    look(two, "json", category, gives={"two": 2})
    change(one, "quarantine", category, gives=True)
    look(two, "quarantined", gives=1)
    change(two, "restore", gives=1)
    look(one, "quarantined", gives=0)
    look(one, "json", category, gives="CorruptStateError")
    change(one, "delete_json", category, gives=True)
    change(two, "delete_json", category, gives=False)
    look(two, "names", category, gives=[])


def main(arguments: list[str]) -> None:
    """Take turns, and say what was wrong."""
    way, rounds, late, flaw = arguments
    Path("/dev/shm").mkdir()
    booted.do("mount", "-t", "tmpfs", "tmpfs", "/dev/shm")  # where multiprocessing shares memory
    clients.serve()
    clients.WAYS[way]()
    if flaw == "plain-locks":
        clients.forget_the_network()
    turns = Turns(may_be_late=late == "1")
    wrong = None
    try:
        for number in range(int(rounds)):
            play(turns, number % 2, number)
    except WrongError as error:
        wrong = str(error)
    booted.say(json.dumps({"turns": turns.done, "late": turns.late, "wrong": wrong}))


if __name__ == "__main__":
    booted.run(main)
