"""The summaries as a process leaves them for the next: one file, of this library's own, that is never the truth.

<base>/.oxios_state/cache/summaries.json: a line with a digest of the rest, and the rest, a JSON array for each session.
An entry counts for the file of exactly its identity. What is damaged, of another format or not to be read is no cache;
what cannot be written is not there for the next process. Nothing else depends on it.
"""

from __future__ import annotations

import logging
import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from oxios_state.errors import StateError
from oxios_state.model import timestamps
from oxios_state.model.session import SessionSummary
from oxios_state.storage import atomic_write as staging
from oxios_state.storage import reads as reading
from oxios_state.storage import tree as files
from oxios_state.storage.revisions import UNKNOWN, Revision

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from oxios_state.storage.revisions import Identity

_FORMAT = b"oxios_state summaries 1 %s\n"  # count up when the rows change, or what `summarise` gives
_SHARE = (
    64  # writing costs about what looking at one of so many files does: fewer new ones are left to the next process
)
_TEXT: set[type] = {str, type(None)}
_TYPES: list[set[type]] = [{str}, {list}, {int}, {str}, _TEXT, _TEXT, _TEXT, {str}, {str}]  # of a row's values
_log = logging.getLogger("oxios_state")


class Entry:
    """A file among the sessions, as it was at a revision.

    Attributes:
        revision: The revision.
        summary: Its summary; None if it cannot be read.
        problem: Why it cannot.
    """

    __slots__ = ("problem", "revision", "summary")

    def __init__(self, revision: Revision, summary: SessionSummary | None, problem: str = "") -> None:
        self.revision = revision
        self.summary = summary
        self.problem = problem


class SummaryCache:
    """The file, read once and written when enough is new."""

    def __init__(self, tree: files.Tree) -> None:
        self._tree = files.Tree(tree.base, durable=False)

    def read(self) -> dict[str, Entry]:
        """Give the entries, by the names of the files; none if there is no such file of this format, undamaged."""
        try:
            return _decode(reading.read(self._path()) or b"")
        except (StateError, OSError, ValueError, TypeError, RecursionError) as error:
            _log.debug("no cache of summaries: %s", error)
            return {}

    def write(self, entries: Mapping[str, Entry], written: Mapping[str, Entry]) -> Mapping[str, Entry]:
        """Write the entries, if many are not those of the file, or one there is of a session that is gone.

        An entry whose identity cannot be trusted is left out.

        Args:
            entries: What there is.
            written: What the file was left with.

        Returns:
            What the file has now.
        """
        rows = {name: entry for name, entry in entries.items() if entry.summary and entry.revision.identity}
        few = len(_identities(rows) ^ _identities(written)) * _SHARE <= len(rows)
        if few and written.keys() <= entries.keys():  # a title does not outlive its session here
            return written
        try:
            if not self._is_ours():
                return written
            self._tree.make_own_directory("cache")
            with staging.Staged(self._tree, self._path(), _encode(rows)) as staged:
                staged.replace()
        except (StateError, OSError) as error:  # a read-only directory, a full disk
            _log.debug("no cache of summaries: %s", error)
        return rows

    def _is_ours(self) -> bool:
        """Say whether the base is there, and this user's: what a root that lists leaves there would lock others out."""
        try:
            owner = os.stat(self._tree.base).st_uid
        except FileNotFoundError:  # deleted since it was listed
            return False
        return files.WINDOWS or owner == os.geteuid()

    def _path(self) -> Path:
        directory = self._tree.own / "cache"
        self._tree.refuse_link_outside(self._tree.own)
        self._tree.refuse_link_outside(directory)
        return directory / "summaries.json"


def _identities(entries: Mapping[str, Entry]) -> set[tuple[str, Identity | None]]:
    return {(name, entry.revision.identity) for name, entry in entries.items()}


def _encode(entries: Mapping[str, Entry]) -> list[bytes]:
    rows = []
    known = [(name, entry.revision.identity, entry.summary) for name, entry in entries.items() if entry.summary]
    for name, identity, summary in known:
        times = timestamps.render(summary.created_at), timestamps.render(summary.updated_at)
        texts = summary.user_id, summary.active_seed_id, summary.project_id, summary.title
        rows.append([name, identity, summary.message_count, *texts, *times])
    from json import dumps

    body = dumps(rows, separators=(",", ":")).encode()
    return [_FORMAT % _digest(body), body]


def _decode(raw: bytes) -> dict[str, Entry]:
    header, _, body = raw.partition(b"\n")
    if header + b"\n" != _FORMAT % _digest(body):
        raise ValueError("there is none, or it is damaged or of another format")
    from json import loads

    rows = loads(body)
    if rows:
        _check(list(zip(*rows, strict=True)))
    moments = list(map(timestamps.parse_usual, [text for row in rows for text in row[-2:]]))
    found = {}
    for row, created, updated in zip(rows, moments[::2], moments[1::2], strict=True):
        name, identity, count, user_id, seed_id, project_id, title, _, _ = row
        session_id = name.removesuffix(".json")
        summary = SessionSummary(session_id, user_id, count, seed_id, project_id, title, created, updated)
        found[name] = Entry(Revision(tuple(identity), (), UNKNOWN), summary)
    return found


def _check(columns: list[tuple[Any, ...]]) -> None:
    """Refuse what no file gives a summary: that the digest is right says only that somebody wrote this."""
    types = [set(map(type, column)) for column in columns]
    if len(types) != len(_TYPES) or not all(map(set.issuperset, _TYPES, types)):
        raise ValueError("a row is not one of a summary")
    identities, counts, *times = columns[1], columns[2], *columns[-2:]
    if set(map(len, identities)) != {5} or {type(part) for identity in identities for part in identity} != {int}:
        raise ValueError("an identity is none")
    if min(counts) < 0 or not all(map(timestamps.are_usual, times)):
        raise ValueError("a count or a timestamp is none")


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).hexdigest().encode()
