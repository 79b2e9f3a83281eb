"""Two clients of an NFS server take turns to change one directory: each must see the other's changes at once.

    alternation.py WAY ROUNDS LATE FLAW

LATE is 1 if a read without a lock may miss a change until the client takes the lock, and 0 if it must see the change.
Each client is a process with one store, so its knowledge of files and names is as old as it can be. See `network` for
the test, and `clients` for the ways.
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
    """A client saw or did something wrong."""


class Client:
    """The operations of one client, which runs in a process of its own."""

    def __init__(self, base: Path, pipe: Connection) -> None:
        self._store = StateStore(base, lock_timeout=60)
        self._pipe = pipe
        self._loaded: Session | None = None

    def serve(self) -> None:
        while True:
            method, arguments = self._pipe.recv()
            try:
                answer: object = getattr(self, method)(*arguments)
            except (StateError, OSError) as error:
                answer = type(error).__name__
            self._pipe.send(answer)

    # Reading

    def texts(self, session_id: str) -> list[str] | None:
        session = self._store.load_session(session_id)
        return [message.content for message in session.user_messages] if session else None

    def counts(self) -> dict[str, int]:
        return {summary.id: summary.message_count for summary in self._store.list_sessions()}

    def search(self, text: str) -> list[str]:
        return sorted({hit.session_id for hit in self._store.search_sessions(text)})

    def json(self, category: str) -> Any:
        return self._store.load_json(category, "document")

    def names(self, category: str) -> list[str]:
        return self._store.list_category(category)

    def quarantined(self) -> int:
        return len(self._store.quarantined())

    def catch_up(self, *categories: str) -> None:
        for category in categories:
            with self._store.lock(category):
                pass

    # Changing

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
        """Remove all sessions; report when they are listed, and wait until the other client has finished."""

        def keep(_: object) -> bool:
            nonlocal stop
            if stop:
                stop = False
                self._pipe.send(LISTED)
                self._pipe.recv()
            return False

        return sorted(summary.id for summary in self._store.prune(EVERYTHING, keep=keep, archive=archive))

    def quarantine(self, category: str) -> bool:
        problem = Problem(ProblemKind.CORRUPT, self._store.base_path / category / "document.json", "spoilt")
        problem.path.write_bytes(b"{")
        return self._store.quarantine(problem) is not None

    def restore(self) -> int:
        entries = self._store.quarantined()
        for entry in entries:
            self._store.restore(entry)
        return len(entries)


class Turns:
    """Makes two clients act in turn, and compares their results with the expected ones."""

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

    def do(self, client: int, method: str, *arguments: object) -> Any:
        self._pipes[client].send((method, arguments))
        return self._pipes[client].recv()

    def change(self, client: int, method: str, *arguments: object, expected: object = None) -> None:
        self._compare(self.do(client, method, *arguments), expected, f"{method} {arguments}")

    def look(self, client: int, method: str, *arguments: object, expected: object) -> None:
        actual = self.do(client, method, *arguments)
        if self._may_be_late and actual != expected:
            self.late += 1
            self.do(client, "catch_up", "sessions", "archive", self.category)
            actual = self.do(client, method, *arguments)
        self._compare(actual, expected, f"{method} {arguments}")

    def go_on(self, client: int, expected: object) -> None:
        self._pipes[client].send("go on")
        self._compare(self._pipes[client].recv(), expected, "prune")

    def _compare(self, actual: object, expected: object, action: str) -> None:
        self.done += 1
        if actual != expected:
            raise WrongError(f"turn {self.done}: {action} returned {actual}, expected {expected}")


def play(turns: Turns, one: int, number: int) -> None:
    """Make each kind of change on one client and check it on the other; at the end all is as at the beginning."""
    _sessions(turns, one, 1 - one, f"a{number}")
    _overtaken_prunes(turns, one, 1 - one, f"a{number}", f"b{number}")
    turns.category = f"c{number}/below"
    _documents(turns, one, 1 - one, turns.category)


def _sessions(turns: Turns, one: int, two: int, a: str) -> None:
    change, look = turns.change, turns.look
    look(two, "texts", a, expected=None)
    look(two, "counts", expected={})
    change(one, "create", a, expected=0)
    look(two, "texts", a, expected=[])
    change(two, "create", a, expected=0)
    change(one, "add", a, "first")
    look(two, "texts", a, expected=["first"])
    look(two, "counts", expected={a: 1})
    look(two, "search", "first", expected=[a])
    change(one, "load", a)
    change(two, "add", a, "second")
    change(one, "update", "third", expected="SessionConflictError")
    change(one, "add", a, "fourth")
    look(two, "texts", a, expected=["first", "second", "fourth"])
    change(two, "load", a)
    change(one, "delete", a, expected=True)
    look(two, "texts", a, expected=None)
    change(two, "update", "fifth", expected="SessionConflictError")
    change(two, "add", a, "sixth", expected="SessionNotFoundError")
    change(two, "delete", a, expected=False)
    look(two, "counts", expected={})


def _overtaken_prunes(turns: Turns, one: int, two: int, a: str, b: str) -> None:
    """Save or delete one of two sessions while the other client prunes: sessions saved since the listing stay."""
    change, look = turns.change, turns.look
    for archive in (None, "archive"):
        change(two, "create", a, expected=0)
        change(two, "create", b, expected=0)
        look(one, "counts", expected={a: 0, b: 0})
        change(one, "prune", archive, expected=LISTED)
        change(two, "add", a, "overtaking")
        turns.go_on(one, expected=[b])
        look(two, "texts", b, expected=None)
        look(one, "texts", a, expected=["overtaking"])
        change(one, "delete", a, expected=True)
    look(two, "names", "archive", expected=[b])
    change(two, "delete_archived", b, expected=True)
    change(two, "create", a, expected=0)
    look(one, "counts", expected={a: 0})
    change(one, "prune", None, expected=LISTED)
    change(two, "delete", a, expected=True)
    turns.go_on(one, expected=[])


def _documents(turns: Turns, one: int, two: int, category: str) -> None:
    """Change a document in a category that the other client has already looked up in vain."""
    change, look = turns.change, turns.look
    look(two, "json", category, expected=None)
    look(two, "names", category, expected=[])
    change(one, "save_json", category, 1)
    look(two, "json", category, expected=1)
    look(two, "names", category, expected=["document"])
    change(one, "save_json", category, {"two": 2})
    look(two, "json", category, expected={"two": 2})
    change(one, "quarantine", category, expected=True)
    look(two, "quarantined", expected=1)
    change(two, "restore", expected=1)
    look(one, "quarantined", expected=0)
    look(one, "json", category, expected="CorruptStateError")
    change(one, "delete_json", category, expected=True)
    change(two, "delete_json", category, expected=False)
    look(two, "names", category, expected=[])


def main(arguments: list[str]) -> None:
    """Run the turns, and report the result to the host."""
    way, rounds, late, flaw = arguments
    Path("/dev/shm").mkdir()
    booted.do("mount", "-t", "tmpfs", "tmpfs", "/dev/shm")  # where multiprocessing shares memory
    clients.serve()
    clients.WAYS[way]()
    if flaw == "plain-locks":
        clients.forget_the_network()
    turns = Turns(may_be_late=late == "1")
    failure = None
    try:
        for number in range(int(rounds)):
            play(turns, number % 2, number)
    except WrongError as error:
        failure = str(error)
    booted.say(json.dumps({"turns": turns.done, "late": turns.late, "wrong": failure}))


if __name__ == "__main__":
    booted.run(main)
