"""The contents of a store: its categories, with the number and size of their documents, and its sessions."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

import attrs

from oxios_state.errors import StateError, describe
from oxios_state.model.summary import SessionList
from oxios_state.model.values import SESSIONS
from oxios_state.rendering.formatting import count, file_size
from oxios_state.storage.names import is_document
from oxios_state.storage.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from oxios_state.store import StateStore

LATEST = 10  # sessions of a store that are displayed
_MAX_ENTRIES = 200_000  # about a second of work: somebody may open a home directory as a store


@attrs.define
class Category:
    """The documents of one category, without those of the categories below it.

    Attributes:
        name: Its name.
        json: How many JSON documents it has.
        markdown: How many Markdown documents it has.
        size: The size of all in bytes.
    """

    name: str
    json: int = 0
    markdown: int = 0
    size: int = 0

    @property
    def documents(self) -> int:
        """How many documents it has of either kind."""
        return self.json + self.markdown


@attrs.frozen
class Overview:
    """The contents of a store.

    Attributes:
        categories: The categories that have documents, by name.
        sessions: All sessions, the latest first.
        notes: Problems, and what was not counted.
    """

    categories: list[Category]
    sessions: SessionList
    notes: list[str]

    @property
    def facts(self) -> list[str]:
        """The number of documents, their size, and the number of sessions, as text."""
        documents = sum(category.documents for category in self.categories)
        total = sum(category.size for category in self.categories)
        return [count(documents, "document"), file_size(total), count(len(self.sessions), "session")]


def survey(store: StateStore) -> Overview:
    """Return the contents of a store. What cannot be read becomes a note; no error is raised."""
    base = store.base_path
    if not os.path.lexists(base):
        return Overview([], SessionList(), ["the directory does not exist yet: the first save creates it"])
    notes: list[str] = []
    categories = sorted(_count(base, notes), key=lambda category: category.name)
    try:
        sessions = store.list_sessions()
    except (OSError, StateError) as error:
        notes.append(f"the sessions cannot be listed: {describe(error)}")
        return Overview(categories, SessionList(), notes)
    files = next((category.json for category in categories if category.name == SESSIONS), 0)
    if files > len(sessions):
        notes.append(f"{count(files - len(sessions), 'session')} cannot be read: check() says why")
    return Overview(categories, sessions, notes)


def _count(base: Path, notes: list[str]) -> Iterable[Category]:
    categories: dict[str, Category] = {}
    failures: list[OSError] = []
    room = _MAX_ENTRIES
    for directory, subdirectories, file_names in Tree(base, durable=False).walk(failures.append):
        if directory != base:
            name = directory.relative_to(base).as_posix()
            for file_name in filter(is_document, islice(file_names, room)):
                with suppress(OSError):  # deleted meanwhile
                    status = os.lstat(directory / file_name)
                    if stat.S_ISREG(status.st_mode):
                        category = categories.setdefault(name, Category(name))
                        category.json += file_name.endswith(".json")
                        category.markdown += file_name.endswith(".md")
                        category.size += status.st_size
        room -= len(subdirectories) + len(file_names)
        if room <= 0:
            notes.append(f"not counted: everything beyond {_MAX_ENTRIES:,} files and directories")
            break
    if failures:
        notes.append(f"not counted: {count(len(failures), 'directory', 'directories')}, such as {failures[0]}")
    return categories.values()
