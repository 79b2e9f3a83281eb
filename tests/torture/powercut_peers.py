"""Stores that users would pick instead: each saves a document of 3 KB, and then another over it, as its manual says.

A peer is imported where it is used: what is not installed is left out, by name.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TEXTS = ("the first version. " * 150, "the second version, longer. " * 110)
_LATER = "the third"


class Peer:
    """A store with one document: a subject of the check."""

    package = ""

    def __init__(self) -> None:
        self.module: Any = importlib.import_module(self.package)

    def put(self, root: Path, text: str) -> None:
        raise NotImplementedError

    def get(self, root: Path) -> str | None:
        raise NotImplementedError

    def prepare(self, root: Path) -> None:
        (root / "sessions").mkdir()  # some leave that to the user

    def work(self, root: Path) -> Iterator[None]:
        for text in _TEXTS:
            self.put(root, text)
            yield

    def read(self, root: Path) -> dict[str, bytes]:
        text = self.get(root)
        return {} if text is None else {"the document": text.encode()}

    def problems(self, root: Path, found: object, wanted: object) -> Iterator[str]:
        """Yield the problems of going on after the cut."""
        del found, wanted
        self.put(root, _LATER)
        if self.get(root) != _LATER:
            yield "does not save"


class _CacheLib(Peer):
    package = "cachelib"

    def put(self, root: Path, text: str) -> None:
        assert self.module.FileSystemCache(str(root / "sessions"), default_timeout=0).set("s1", text)

    def get(self, root: Path) -> str | None:
        text: str | None = self.module.FileSystemCache(str(root / "sessions"), default_timeout=0).get("s1")
        return text


class _Django(Peer):
    package = "django.contrib.sessions.backends.file"
    _key = "0123456789abcdef0123456789abcdef"

    def _session(self, root: Path) -> Any:
        settings = importlib.import_module("django.conf").settings
        if not settings.configured:
            settings.configure(SECRET_KEY="for a test", USE_TZ=True)
        settings.SESSION_FILE_PATH = str(root / "sessions")
        if hasattr(self.module.SessionStore, "_storage_path"):
            del self.module.SessionStore._storage_path
        return self.module.SessionStore(self._key)

    def put(self, root: Path, text: str) -> None:
        session = self._session(root)
        new = not session.exists(self._key)
        session["text"] = text
        session._session_key = self._key  # a new session would get a random one
        session.save(must_create=new)

    def get(self, root: Path) -> str | None:
        text: str | None = self._session(root).get("text")
        return text


class _Strands(Peer):
    package = "strands.session.file_session_manager"

    def _manager(self, root: Path) -> Any:
        return self.module.FileSessionManager("s1", storage_dir=str(root / "sessions"))

    def put(self, root: Path, text: str) -> None:
        types = importlib.import_module("strands.types.session")
        manager = self._manager(root)
        agent = types.SessionAgent("a", {"text": text}, {})
        (manager.update_agent if manager.read_agent("s1", "a") else manager.create_agent)("s1", agent)

    def get(self, root: Path) -> str | None:
        agent = self._manager(root).read_agent("s1", "a")
        text: str | None = agent and agent.state["text"]
        return text


class _TinyDB(Peer):
    package = "tinydb"

    def put(self, root: Path, text: str) -> None:
        with self.module.TinyDB(str(root / "sessions/db.json")) as database:
            database.upsert({"id": "s1", "text": text}, self.module.where("id") == "s1")

    def get(self, root: Path) -> str | None:
        with self.module.TinyDB(str(root / "sessions/db.json")) as database:
            found = database.get(self.module.where("id") == "s1")
        text: str | None = found and found["text"]
        return text


class _AtomicWrites(Peer):
    package = "atomicwrites"

    def put(self, root: Path, text: str) -> None:
        with self.module.atomic_write(str(root / "sessions/s1.json"), overwrite=True) as file:
            json.dump({"text": text}, file)

    def get(self, root: Path) -> str | None:
        try:
            text: str = json.loads((root / "sessions/s1.json").read_text())["text"]
        except FileNotFoundError:
            return None
        return text


PEERS: dict[str, type[Peer]] = {
    "cachelib FileSystemCache": _CacheLib,
    "Django file sessions": _Django,
    "Strands FileSessionManager": _Strands,
    "tinydb": _TinyDB,
    "atomicwrites": _AtomicWrites,
}
