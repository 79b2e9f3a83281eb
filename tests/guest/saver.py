"""In the guest: look at what a power cut left of a store, and go on saving in it until the next.

Each change is told to the host before it begins ("try") and after the library said that it is saved ("ack").
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import booted

from oxios_state import CorruptStateError, Problem, ProblemKind, PruneConfig, Session, StateStore

DISK, MOUNTED = "/dev/ubda", Path("/tmp/disk")
BASE = MOUNTED / "some/where/store"  # three directories that the first save makes
MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
THREADS = 4
LONGEST = 40  # messages
MOST = 10  # documents of a thread that are made to go again
LOCK_TIMEOUT = 30.0  # seconds: a lock that stays held is an error
NOTHING = PruneConfig(max_sessions=0, ttl_hours=0)  # removes temporary files only
BAD = b'{"cut": '
ABSENT = "-"
Known = dict[str, str]  # the content of each document by its path, shortened


def main(arguments: list[str]) -> None:
    kind, options, store, seed, stage = arguments
    if stage == "new":
        booted.do(*MAKE[kind], DISK)
    MOUNTED.mkdir()
    if kind == "xfs" and "commit=1" in options:  # which is no option of its mounts
        Path("/proc/sys/fs/xfs/xfssyncd_centisecs").write_text("100")
        options = "rw"
    booted.do("mount", "-t", kind, "-o", options, DISK, str(MOUNTED))
    if store == "no-fsync":
        mock.patch("os.fsync", return_value=None).start()
    elif store == "no-directory-sync":
        mock.patch("oxios_state.storage.tree.sync_directory").start()
    known = verify()
    if stage == "last":
        booted.say("verified")
        booted.do("umount", str(MOUNTED))
    else:
        booted.say("saving")
        save(known, store, seed)


def save(known: Known, store: str, seed: str) -> None:
    """Save until the power is cut."""
    opened = StateStore(BASE, durable=store != "not-durable", lock_timeout=LOCK_TIMEOUT)
    for key, value in list(known.items()):
        if value.startswith("bad"):  # left by a cut during a fault of our own, or torn
            with announced(known, {key: ABSENT}):
                category, name = key.rsplit("/", 1)
                opened.delete_file(category, Path(name).stem)
    workers = []
    for number in range(THREADS):
        own = {key: value for key, value in known.items() if Path(key).name.startswith(f"t{number}-")}
        workers.append(Worker(opened, number, seed, own))
    if store == "not-durable":
        for worker in workers:
            worker.fill()
        os.sync()
        booted.say("settled")
    booted.say("begun")
    for worker in workers:
        threading.Thread(target=worker.run).start()
    while True:
        time.sleep(60)


# The documents that exist.


def verify() -> Known:
    """Report the documents and their problems to the host."""
    store = StateStore(BASE, lock_timeout=LOCK_TIMEOUT)
    found = {path.relative_to(BASE).as_posix(): look(store, path) for path in documents()}
    for key, value in found.items():
        booted.say(f"found {key}={value}")
    for entry in store.quarantine:
        booted.say(f"found quarantine/{entry.path.relative_to(BASE)}={digest('bad', entry.content.read_bytes())}")
    compare_list(found)
    for problem in store.check():
        if problem.kind is not ProblemKind.ORPHAN:
            booted.say(f"problem {problem.kind.value.replace(' ', '_')} {problem.path.relative_to(BASE)}")
    booted.say(f"temporary {len(temporaries())}")
    if BASE.is_dir():
        store.prune(NOTHING)
    for path in temporaries():
        booted.say(f"wrong {path} outlived a prune")
    compare_list(found)
    return found


def documents() -> Iterator[Path]:
    for directory, subdirectories, names in os.walk(BASE):
        if ".oxios_state" in subdirectories:
            subdirectories.remove(".oxios_state")
        yield from (Path(directory, name) for name in names if name.endswith((".json", ".md")))


def temporaries() -> list[Path]:
    return [Path(directory, name) for directory, _, names in os.walk(BASE) for name in names if name.endswith(".tmp")]


def look(store: StateStore, path: Path) -> str:
    category, name = path.parent.relative_to(BASE).as_posix(), path.stem
    try:
        if path.suffix == ".md":
            return digest("text", (store.load_markdown(category, name) or "").encode())
        data = store.load_json(category, name)
        if isinstance(data, dict) and "user_messages" in data:
            texts = [message["content"] for message in data["user_messages"]]
            if category == "sessions" and ((session := store.load_session(name)) is None or texts_of(session) != texts):
                booted.say(f"wrong {path} is another session than JSON")
            return digest_of(texts)
        return digest("json", json.dumps(data).encode())
    except CorruptStateError:
        return digest("bad", path.read_bytes())


def compare_list(found: Known) -> None:
    """See that the list, which has a cache, is what loading gives."""
    loaded = {Path(key).stem: value for key, value in found.items() if key.startswith("sessions/")}
    wanted = {name: value.split(".")[1] for name, value in loaded.items() if not value.startswith("bad")}
    listed = {summary.id: str(summary.message_count) for summary in StateStore(BASE).list_sessions()}
    for name in sorted(wanted.keys() | listed.keys()):
        if wanted.get(name) != listed.get(name):
            booted.say(f"wrong sessions/{name}.json is listed as {listed.get(name)} and loaded as {loaded.get(name)}")


def texts_of(session: Session) -> list[str]:
    return [message.content for message in session.user_messages]


def digest_of(texts: list[str]) -> str:
    return digest("session", "\n".join(texts).encode(), len(texts))


def digest(kind: str, content: bytes, number: int | None = None) -> str:
    return f"{kind}.{len(content) if number is None else number}.{hashlib.sha256(content).hexdigest()[:12]}"


# The operations.


@contextmanager
def announced(known: Known, changes: Mapping[str, str]) -> Iterator[None]:
    """Announce changes to the host before and after them."""
    words = " ".join(f"{key}={value}" for key, value in changes.items())
    booted.say(f"try {words}")
    yield
    booted.say(f"ack {words}")
    known.update(changes)
    for key in [key for key, value in changes.items() if value == ABSENT]:
        known.pop(key, None)


class Worker:
    """A thread, the only one that changes its documents."""

    def __init__(self, store: StateStore, number: int, seed: str, known: Known) -> None:
        self._store = store
        self._me = f"t{number}"
        self._chance = random.Random(f"{seed} {number}")
        self._known = known
        self._names = (f"{self._me}-{seed}-{number}" for number in count())  # each once, ever
        self._announced = partial(announced, known)

    def run(self) -> None:
        often = [self.edit, self.update, self.save_json, self.save_markdown]
        rarely = [
            self.make_category,
            self.make_session,
            self.make_session,
            self.prune,
            self.tidy,
            self.spoil,
            self.list,
        ]
        try:
            while True:
                self._chance.choice(self._chance.choice([often, often, rarely]))()
        except BaseException as error:
            booted.say(f"wrong {self._me}: {type(error).__name__}: {error}")

    def fill(self) -> None:
        """Create documents that are overwritten later."""
        for _ in range(10):
            self.save_json()
            self.save_markdown()
            self.edit()

    def _text(self) -> str:
        return f"{self._chance.random()} " * self._chance.choice([1, 5, 50, 500, 2000])

    def _own(self, category: str) -> list[str]:
        return [key for key in self._known if key.startswith(category)]

    def edit(self) -> None:
        """Append in a transaction; what does not exist is made, and what is long is deleted."""
        session_id = f"{self._me}-{self._chance.choice('ab')}"
        key, message = f"sessions/{session_id}.json", self._text()
        session = self._store.load_session(session_id)
        if session is None:
            with self._announced({key: digest_of([])}):
                self._store.get_or_create_session("ada", session_id)
        elif len(session.user_messages) >= LONGEST:
            with self._announced({key: ABSENT}):
                self._store.delete_session(session_id)
        else:
            after = digest_of([*texts_of(session), message])
            with self._announced({key: after}), self._store.edit_session(session_id) as edited:
                edited.add_user_message(message)

    def update(self) -> None:
        # A file that a cut left in both places is not changed in one: a prune would then keep both.
        keys = [key for key in self._own("sessions/") if f"archive/{self._me}/{Path(key).name}" not in self._known]
        if keys:
            key = self._chance.choice(keys)
            session = self._store.load_session(Path(key).stem)
            assert session is not None, key
            session.add_user_message(self._text())
            with self._announced({key: digest_of(texts_of(session))}):
                self._store.update_session(session)

    def save_json(self) -> None:
        self._save_json("config", f"{self._me}-{self._chance.randrange(4)}")

    def _save_json(self, category: str, name: str, **more: str) -> None:
        data: dict[str, Any] = {"text": self._text()}
        with self._announced({f"{category}/{name}.json": digest("json", json.dumps(data).encode()), **more}):
            self._store.save_json(category, name, data)

    def save_markdown(self) -> None:
        name, text = f"{self._me}-{self._chance.randrange(4)}", self._text()
        with self._announced({f"memory/knowledge/{name}.md": digest("text", text.encode())}):
            self._store.save_markdown("memory/knowledge", name, text)

    def make_category(self) -> None:
        name = next(self._names)
        self._save_json(f"new/{name}/below", name)

    def make_session(self) -> None:
        session = Session("ada", next(self._names))
        session.add_user_message(self._text())
        with self._announced({f"sessions/{session.id}.json": digest_of(texts_of(session))}):
            self._store.save_session(session)

    def prune(self) -> None:
        """Move all but the latest of the sessions that were made for it into an archive."""
        made = {Path(key).stem for key in self._own("sessions/")} - {f"{self._me}-a", f"{self._me}-b"}
        config, archive = PruneConfig(max_sessions=1, ttl_hours=0), f"archive/{self._me}"
        prune = partial(self._store.prune, config, keep=lambda summary: summary.id not in made, archive=archive)
        changes: Known = {}
        for summary in prune(dry_run=True):
            key = f"sessions/{summary.id}.json"
            changes |= {key: ABSENT, f"{archive}/{summary.id}.json": self._known[key]}
        if changes:
            with self._announced(changes):
                prune()

    def tidy(self) -> None:
        """Delete documents that were made anew, that they do not get too many."""
        made = [*self._own("archive/"), *self._own("new/"), *self._own("spoilt/")]
        if len(made) > MOST:
            self._delete(self._chance.choice(made))

    def _delete(self, key: str) -> None:
        category, name = key.rsplit("/", 1)
        with self._announced({key: ABSENT}):
            assert self._store.delete_file(category, Path(name).stem), key

    def spoil(self) -> None:
        """Put a bad file there as others might, then quarantine and restore it, or save over it."""
        name = next(self._names)
        key, kept, bad = f"spoilt/{name}.json", f"quarantine/spoilt/{name}.json", digest("bad", BAD)
        self._save_json("spoilt", name)
        path = self._store.base_path / key
        with self._announced({key: bad}):
            path.with_suffix(".other").write_bytes(BAD)
            descriptor = os.open(path.with_suffix(".other"), os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
            path.with_suffix(".other").replace(path)
            descriptor = os.open(path.parent, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        if self._chance.random() < 0.5:
            self._save_json("spoilt", name, **{kept: bad})
            return
        with self._announced({key: ABSENT, kept: bad}):
            entry = self._store.quarantine.add(Problem(ProblemKind.CORRUPT, path, "on purpose"))
        assert entry is not None, key
        with self._announced({kept: ABSENT, key: bad}):
            self._store.quarantine.restore(entry)
        self._delete(key)

    def list(self) -> None:
        """List as a new process does, which reads the cache of summaries and writes it."""
        listed = {summary.id for summary in StateStore(self._store.base_path).list_sessions()}
        missing = {Path(key).stem for key in self._own("sessions/")} - listed
        assert not missing, missing


if __name__ == "__main__":
    booted.run(main)
