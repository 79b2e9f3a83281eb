"""Stores that an agent's author might choose instead; each is used as its manual says, and stays open.

All keep the same plain records, one turn after another, and each turn reads the whole session and adds to it. If a peer
offers a choice, it gets the faster one: plain dictionaries instead of its message classes, one write for a turn.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any

from work import Turn, Writer, append, edit, put, read_all

from oxios_state import StateStore


class Peer:
    """A store with one session."""

    name = ""
    syncs = False  # whether a saved turn survives a power cut; `syncing.py` checks it

    def __init__(self, base: Path) -> None:
        self.base = base

    def fill(self, turns: list[Turn]) -> None:
        """Store a session with these turns."""
        raise NotImplementedError

    def turn(self, turn: Turn) -> None:
        """Read the session, append a turn, save."""
        raise NotImplementedError

    def count(self) -> int:
        """Count the records of the session."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the store."""


class Library(Peer):
    """This library: reads and replaces one file, under a lock. Syncs the file and its directory."""

    name, syncs = "ours", True

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.store = StateStore(base, durable=self.syncs)

    def fill(self, turns: list[Turn]) -> None:
        put(self.base, "the-session", Writer(len(turns)).document("the-session", len(turns)))

    def turn(self, turn: Turn) -> None:
        edit(self.store, "the-session", turn)

    def count(self) -> int:
        session = self.store.load_session("the-session")
        assert session is not None
        return len(session.user_messages) + len(session.trajectory_steps) + len(session.agent_responses)


class LibraryReading(Library):
    """The same, and every record is read, since the other stores build every record on each turn."""

    name = "ours, every record read"

    def turn(self, turn: Turn) -> None:
        with self.store.edit_session("the-session") as session:
            read_all(session)
            append(session, turn)


class LibraryWithoutSync(Library):
    """The same with `durable=False`."""

    syncs = False


class LibraryReadingWithoutSync(LibraryReading):
    """The same with `durable=False`."""

    syncs = False


class OpenAI(Peer):
    """A row of JSON for each record, in SQLite with a write-ahead log, which each commit syncs (synchronous=FULL)."""

    name, syncs = "OpenAI Agents SQLiteSession", True

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        base.mkdir(parents=True, exist_ok=True)
        self.runner = asyncio.Runner()
        self.session = import_module("agents").SQLiteSession("the-session", base / "openai.db")

    def fill(self, turns: list[Turn]) -> None:
        self.add([record for turn in turns for record in turn.records])

    def add(self, records: list[dict[str, Any]]) -> None:
        """Add records without reading."""
        self.runner.run(self.session.add_items(records))

    def turn(self, turn: Turn) -> None:
        async def read_and_add() -> None:
            await self.session.get_items()
            await self.session.add_items(turn.records)

        self.runner.run(read_and_add())

    def count(self) -> int:
        return len(self.runner.run(self.session.get_items()))

    def close(self) -> None:
        self.session.close()
        self.runner.close()


class LangGraph(Peer):
    """The whole list of records as a new checkpoint in MessagePack, in SQLite as above. Old checkpoints stay.

    A running graph stores several checkpoints a turn, and its pending writes; here it is one checkpoint.
    """

    name, syncs = "LangGraph SqliteSaver", True

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        base.mkdir(parents=True, exist_ok=True)
        self.empty = import_module("langgraph.checkpoint.base").empty_checkpoint
        self.opened = import_module("langgraph.checkpoint.sqlite").SqliteSaver.from_conn_string(str(base / "lang.db"))
        self.saver = self.opened.__enter__()
        self.config = {"configurable": {"thread_id": "the-session", "checkpoint_ns": ""}}

    def fill(self, turns: list[Turn]) -> None:
        self.put(self.config, [record for turn in turns for record in turn.records])

    def put(self, config: Any, records: list[dict[str, Any]]) -> None:
        """Add a checkpoint."""
        checkpoint = self.empty() | {"channel_values": {"messages": records}, "channel_versions": {"messages": 1}}
        self.saver.put(config, checkpoint, {"source": "loop", "step": 1, "parents": {}}, {"messages": 1})

    def turn(self, turn: Turn) -> None:
        latest = self.saver.get_tuple(self.config)
        self.put(latest.config, latest.checkpoint["channel_values"]["messages"] + turn.records)

    def count(self) -> int:
        return len(self.saver.get_tuple(self.config).checkpoint["channel_values"]["messages"])

    def close(self) -> None:
        self.opened.__exit__(None, None, None)


class SqliteDict(Peer):
    """One pickle of the whole list, in SQLite with synchronous=OFF and a rollback journal; another thread writes it."""

    name = "sqlitedict"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        base.mkdir(parents=True, exist_ok=True)
        self.store = import_module("sqlitedict").SqliteDict(str(base / "dict.db"))

    def fill(self, turns: list[Turn]) -> None:
        self.store["the-session"] = [record for turn in turns for record in turn.records]
        self.store.commit()

    def turn(self, turn: Turn) -> None:
        records = self.store["the-session"]
        records += turn.records
        self.store["the-session"] = records
        self.store.commit()

    def count(self) -> int:
        return len(self.store["the-session"])

    def close(self) -> None:
        self.store.close()


class DiskCache(Peer):
    """One pickle of the whole list: a new file from 32 KB on, named in SQLite (write-ahead log, synchronous=NORMAL)."""

    name = "diskcache Cache"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.store = import_module("diskcache").Cache(str(base))

    def fill(self, turns: list[Turn]) -> None:
        self.store.set("the-session", [record for turn in turns for record in turn.records])

    def turn(self, turn: Turn) -> None:
        with self.store.transact():
            records = self.store.get("the-session")
            records += turn.records
            self.store.set("the-session", records)

    def count(self) -> int:
        return len(self.store.get("the-session"))

    def close(self) -> None:
        self.store.close()


class Strands(Peer):
    """A JSON file for each record, replaced by a rename; nothing is synced."""

    name = "Strands FileSessionManager"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.types = import_module("strands.types.session")
        self.manager = import_module("strands.session.file_session_manager").FileSessionManager(
            "the-session", storage_dir=str(base)
        )
        self.manager.create_agent("the-session", self.types.SessionAgent("agent", {}, {}))

    def fill(self, turns: list[Turn]) -> None:
        self.add(0, [record for turn in turns for record in turn.records])

    def add(self, index: int, records: list[dict[str, Any]]) -> None:
        """Add records without reading."""
        for number, record in enumerate(records, index):
            message = self.types.SessionMessage.from_message({"role": "user", "content": [record]}, number)
            self.manager.create_message("the-session", "agent", message)

    def turn(self, turn: Turn) -> None:
        messages = self.manager.list_messages("the-session", "agent")
        self.add(len(messages), turn.records)

    def count(self) -> int:
        return len(self.manager.list_messages("the-session", "agent"))


PACKAGES = ["diskcache", "langgraph-checkpoint-sqlite", "openai-agents", "sqlitedict", "strands-agents"]
GROUPS: dict[bool, list[type[Peer]]] = {
    True: [Library, LibraryReading, OpenAI, LangGraph],
    False: [LibraryWithoutSync, LibraryReadingWithoutSync, SqliteDict, DiskCache, Strands],
}
