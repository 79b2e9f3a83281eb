"""What a store holds, in figures: its categories with the number and size of their documents, and its sessions."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

import attrs

from oxios_state.errors import StateError
from oxios_state.model.summary import SessionList
from oxios_state.rendering.formatting import count, size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oxios_state.store import StateStore

LATEST = 10  # sessions that are shown of a store
_MOST_ENTRIES = 200_000  # about a second's worth: somebody's home directory may be given as a store
_EXTENSIONS = (".json", ".md")
_NOT_CATEGORIES = {".oxios_state", ".git"}  # the library's own; and the kernel keeps its state in git


@attrs.define
class Category:
    """A category that has documents.

    Attributes:
        name: Its name.
        json: How many JSON documents it has, not counting those of the categories below it.
        markdown: How many markdown documents.
        size: Their size in bytes.
    """

    name: str
    json: int = 0
    markdown: int = 0
    size: int = 0

    @property
    def documents(self) -> int:
        """How many documents it has."""
        return self.json + self.markdown


@attrs.frozen
class Overview:
    """What a store holds.

    Attributes:
        categories: The categories that have documents, by name.
        sessions: All sessions, the latest first.
        notes: What is not as it should be, or not counted.
    """

    categories: list[Category]
    sessions: SessionList
    notes: list[str]

    @property
    def facts(self) -> list[str]:
        """How many documents and sessions there are, and the size of all."""
        documents = sum(category.documents for category in self.categories)
        total = sum(category.size for category in self.categories)
        return [count(documents, "document"), size(total), count(len(self.sessions), "session")]


def survey(store: StateStore) -> Overview:
    """Look at a store. What cannot be looked at is a note, never an error."""
    base = str(store.base_path)
    if not os.path.lexists(base):
        return Overview([], SessionList(), ["there is no such directory yet: the first save makes it"])
    notes: list[str] = []
    categories = sorted(_count(base, notes), key=lambda category: category.name)
    try:
        sessions = store.list_sessions()
    except (OSError, StateError) as error:
        notes.append(f"the sessions cannot be listed: {error}")
        return Overview(categories, SessionList(), notes)
    files = next((category.json for category in categories if category.name == "sessions"), 0)
    if files > len(sessions):
        notes.append(f"{count(files - len(sessions), 'session')} cannot be read: check() says why")
    return Overview(categories, sessions, notes)


def _is_document(entry: os.DirEntry[str]) -> bool:
    named = entry.name.endswith(_EXTENSIONS) and entry.name not in _EXTENSIONS
    return named and entry.is_file(follow_symlinks=False)


def _count(base: str, notes: list[str]) -> Iterable[Category]:
    found: dict[str, Category] = {}
    failures: list[OSError] = []
    waiting, left = [""], _MOST_ENTRIES
    while waiting:
        name = waiting.pop()
        try:
            with os.scandir(os.path.join(base, name)) as scanned:
                entries = list(islice(scanned, left))
        except OSError as error:
            failures.append(error)
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if name or entry.name not in _NOT_CATEGORIES:
                    waiting.append(f"{name}/{entry.name}" if name else entry.name)
            elif name and _is_document(entry):
                category = found.setdefault(name, Category(name))
                category.json += entry.name.endswith(".json")
                category.markdown += entry.name.endswith(".md")
                with suppress(OSError):  # it went meanwhile
                    category.size += entry.stat(follow_symlinks=False).st_size
        left -= len(entries)
        if left <= 0:
            notes.append(f"not counted: what there is beyond {_MOST_ENTRIES:,} files and directories")
            break
    if failures:
        notes.append(f"not counted: {count(len(failures), 'directory', 'directories')}, such as {failures[0]}")
    return found.values()
