"""The index of sessions: a summary of each, created anew where the file has changed, and shared between processes.

<base>/.oxios_state/cache/summaries.json is the file by which one process leaves them to the next: a line with a digest
of the rest, and the rest, a JSON array with a row for each session. It is disposable: the session files are
authoritative. A row stands for a file of exactly its identity. A cache that is damaged, unreadable or of another format
is ignored; if it cannot be written, the next process does without it.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from hashlib import blake2b
from json import dumps, loads
from typing import TYPE_CHECKING, Any, NamedTuple

from oxios_state.codec.documents import decode_named
from oxios_state.errors import CorruptStateError, StateError, describe
from oxios_state.maintenance.reports import Reports
from oxios_state.model import timestamps
from oxios_state.model.progress import over
from oxios_state.model.revision import Revision
from oxios_state.model.summary import SessionSummary, summarise
from oxios_state.model.values import SESSIONS
from oxios_state.storage import forks, names, reads, system
from oxios_state.storage.atomic_write import Staged

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from pathlib import Path

    from oxios_state.model.progress import Progress
    from oxios_state.model.revision import Identity
    from oxios_state.storage.tree import Tree

_log = logging.getLogger("oxios_state")


class Entry:
    """A file among the sessions, at a revision.

    Attributes:
        revision: The revision.
        summary: The summary of the session; None if the file cannot be read.
        problem: Why it cannot be read.
        state: What a warning about that is logged for once.
        memory: How much memory the entry takes at most, in bytes.
    """

    __slots__ = ("memory", "problem", "revision", "state", "summary")

    def __init__(
        self, revision: Revision, summary: SessionSummary | None, problem: str = "", state: Hashable = None
    ) -> None:
        self.revision = revision
        self.summary = summary
        self.problem = problem
        self.state = state
        text = (
            f"{summary.id}{summary.user_id}{summary.active_seed_id}{summary.project_id}{summary.title}"
            if summary
            else problem
        )
        self.memory = _PER_ENTRY + len(text) * (1 if text.isascii() else _MAX_WIDTH)


_PER_ENTRY = 2000  # bytes of memory, beside the texts
_MAX_WIDTH = 8  # bytes of a character in a string with wide ones, which may keep its UTF-8 too


class _Listing(NamedTuple):
    """The result of one listing; assigned at once, as other threads list too."""

    entries: dict[str, Entry]  # by the names of the files
    summaries: list[tuple[SessionSummary, Revision]]
    written: Mapping[str, Identity | None]  # of the files that the cache file has entries of, by their names


class SessionIndex:
    """The summaries of all sessions of a store.

    Args:
        tree: The directories of the store.
        reserve: Reserves memory of so many bytes, and returns whether there is as much. Otherwise the summaries are
            not kept in memory, and each listing reads the file.
    """

    def __init__(self, tree: Tree, reserve: Callable[[int], bool]) -> None:
        self._reserve = reserve
        self._tree = tree
        self._file = SummaryFile(tree)
        self._last: _Listing | None = None
        self._latest = object()  # another one after each listing
        self._reports = Reports()
        self._reset()
        forks.reset_in_children(self, SessionIndex._reset)

    def _reset(self) -> None:
        self._keepers: list[object] = []  # the calls of `_keep` that run, in the order in which they began

    def summaries(self, progress: Progress | None = None) -> list[tuple[SessionSummary, Revision]]:
        """Return the summary of each session and the revision of its file, the latest first, ties by id.

        A file that cannot be read is left out, with a warning in the log ``oxios_state`` that names it and the reason,
        once for each state of the file.

        Args:
            progress: Wraps the list of files.
        """
        last, latest = self._last, self._latest
        known, summaries, written = last or self._from_file()
        entries: dict[str, Entry] = {}
        refused: list[tuple[str, Entry]] = []  # not kept: only opening such a file shows whether it is still refused
        unchanged = 0
        with self._tree.open(SESSIONS) as directory:
            files = directory.identities(".json")
        for name, identity in over(files, progress):
            entry = known.get(name)
            if entry is not None and entry.revision.identity == identity:
                unchanged += 1
            elif (entry := self._read(name)) is None:
                continue
            elif entry.revision is _REFUSED:
                refused.append((name, entry))
                continue
            entries[name] = entry
        if last is None or not unchanged == len(entries) == len(known):
            # Sorted by integers: comparing them takes a tenth of the time of comparing timestamps with nanoseconds.
            latest_first = sorted(
                (-timestamps.nanoseconds(entry.summary.updated_at), entry.summary.id, entry.summary, entry.revision)
                for entry in entries.values()
                if entry.summary is not None
            )
            summaries = [(summary, revision) for _, _, summary, revision in latest_first]
            self._keep(_Listing(entries, summaries, written), latest)
        bad = refused
        if len(summaries) < len(entries):
            bad = [*refused, *((name, entry) for name, entry in entries.items() if entry.summary is None)]
        self._reports.keep({(name, entry.state) for name, entry in bad})
        for name, entry in bad:
            self._reports.warn(name, entry.state, "left out of the list of sessions: %s", entry.problem)
        return list(summaries)

    def report(self, path: Path, raw: bytes | None, error: Exception) -> None:
        """Log that a search leaves a file out, unless a list or a search has logged it for this state of the file.

        Args:
            path: The file.
            raw: Its content; None if it was not read.
            error: Why it cannot be read.
        """
        self._reports.warn(path.name, _state(path, raw, error), "left out of the search: %s", describe(error))

    def _from_file(self) -> _Listing:
        entries = self._file.read()
        return _Listing(entries, [], _identities(entries))

    def _keep(self, listing: _Listing, latest: object) -> None:
        """Keep a listing, unless another thread keeps, or has kept, a listing since *latest*, which may be newer.

        So what is kept, and what the file contains, is always from one listing; the next listing adds what they lack.
        """
        keeper = object()
        try:
            # Not a lock: nobody waits, and an interrupt between its acquisition and `try` would leave it locked.
            self._keepers.append(keeper)
            if self._keepers[0] is keeper and self._latest is latest:
                listing = listing._replace(written=self._file.write(listing.entries, listing.written))
                self._last = None  # until there is memory for it
                if self._reserve(sum(entry.memory for entry in listing.entries.values())):
                    self._last = listing
                self._latest = object()
        finally:
            with suppress(ValueError):  # an interrupt came before it was added
                self._keepers.remove(keeper)

    def _read(self, file_name: str) -> Entry | None:
        """Return the entry of a file; None if it is missing. Without its content, the revision is `_REFUSED`."""
        name = file_name.removesuffix(".json")
        path = self._tree.base / SESSIONS / file_name
        try:
            names.check_name(name, ".json")
            with self._tree.open(SESSIONS) as directory:
                path = directory.file(file_name)
            result = reads.read_unless_known(path, limit=self._tree.max_file_bytes)
        except (StateError, OSError) as error:
            return Entry(_REFUSED, None, describe(error), _state(path, None, error))
        raw, identity = result or (None, None)
        if raw is None:
            return None
        revision = Revision(identity, (raw,)).without_text()
        try:
            return Entry(revision, summarise(decode_named(raw, path)))
        except CorruptStateError as error:
            return Entry(revision, None, str(error), _state(path, raw, error))


_REFUSED = Revision(None, (), b"")


def _state(path: Path, raw: bytes | None, error: Exception) -> Hashable:
    """Return what changes when a bad file does: by its content, or where that cannot be had, by its identity."""
    return str(error), reads.identity(path) if raw is None else Revision(None, (raw,)).digest


# The file.

_FORMAT = b"oxios_state summaries 1 %s\n"  # to be counted up when the rows, or the result of `summarise`, change
_SHARE = 64  # writing the file costs as much as reading a 64th of the sessions: fewer new ones are not written
_TEXT: set[type] = {str, type(None)}
_TYPES: list[set[type]] = [{str}, {list}, {int}, {str}, _TEXT, _TEXT, _TEXT, {str}, {str}]  # of the values of a row


class SummaryFile:
    """The cache file, read once and written when enough is new.

    Args:
        tree: The directories of the store.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree.without_syncs()

    def read(self) -> dict[str, Entry]:
        """Return the entries by the names of their files; none if there is no undamaged file of this format."""
        try:
            return decode_entries(reads.read(self._path(), self._tree.max_file_bytes) or b"")
        except (StateError, OSError, ValueError, TypeError, RecursionError) as error:
            _log.debug("no cache of summaries: %s", describe(error))
            return {}

    def write(
        self, entries: Mapping[str, Entry], written: Mapping[str, Identity | None]
    ) -> Mapping[str, Identity | None]:
        """Write the entries, if many are new, or if the file contains the session of a file that no longer exists.

        An entry whose identity cannot be trusted is left out.

        Args:
            entries: The entries.
            written: The names and identities of the entries that the file contains.

        Returns:
            Those that it contains now.
        """
        rows = {name: entry for name, entry in entries.items() if entry.summary and entry.revision.identity}
        identities = _identities(rows)
        few = len(identities.items() ^ written.items()) * _SHARE <= len(rows)
        if few and written.keys() <= entries.keys():  # a title must not outlive its session here
            return written
        try:
            if not self._may_write():
                return written
            self._tree.make_own_directory("cache")
            content = encode_entries(rows)
            if sum(map(len, content)) > self._tree.max_file_bytes:
                content = encode_entries({})  # nobody would read the other
            with Staged(self._tree, self._path(), content) as staged:
                staged.replace()
        except (StateError, OSError) as error:  # a read-only directory, a full disk
            _log.debug("no cache of summaries: %s", describe(error))
        return identities

    def _may_write(self) -> bool:
        """Return whether the cache may be written: not without a base, nor as root, which would lock others out."""
        if self._tree.read_only:
            return False
        try:
            owner = os.stat(self._tree.base).st_uid
        except FileNotFoundError:  # deleted since it was listed
            return False
        return system.WINDOWS or owner == os.geteuid()

    def _path(self) -> Path:
        return self._tree.own_directory("cache") / "summaries.json"


def _identities(entries: Mapping[str, Entry]) -> dict[str, Identity | None]:
    return {name: entry.revision.identity for name, entry in entries.items()}


def encode_entries(entries: Mapping[str, Entry]) -> list[bytes]:
    """Return the content of the file in pieces."""
    rows = []
    readable = [(name, entry.revision.identity, entry.summary) for name, entry in entries.items() if entry.summary]
    for name, identity, summary in readable:
        times = timestamps.render(summary.created_at), timestamps.render(summary.updated_at)
        texts = summary.user_id, summary.active_seed_id, summary.project_id, summary.title
        rows.append([name, identity, summary.message_count, *texts, *times])
    body = dumps(rows, separators=(",", ":")).encode()
    return [_FORMAT % _digest(body), body]


def decode_entries(raw: bytes) -> dict[str, Entry]:
    """Return the entries in the content of the file.

    Raises:
        ValueError, TypeError, RecursionError: If it is damaged or of another format.
    """
    header, _, body = raw.partition(b"\n")
    if header + b"\n" != _FORMAT % _digest(body):
        raise ValueError("the file is missing, damaged or of another format")
    rows = loads(body)
    if rows:
        _check(list(zip(*rows, strict=True)))
    moments = list(map(timestamps.parse_canonical, [text for row in rows for text in row[-2:]]))
    entries = {}
    for row, created, updated in zip(rows, moments[::2], moments[1::2], strict=True):
        name, identity, count, user_id, seed_id, project_id, title, _, _ = row
        session_id = name.removesuffix(".json")
        summary = SessionSummary(session_id, user_id, count, seed_id, project_id, title, created, updated)
        entries[name] = Entry(Revision(tuple(identity), (), b""), summary)
    return entries


def _check(columns: list[tuple[Any, ...]]) -> None:
    """Raise an error for rows that are not summaries: the digest proves only that the file is as it was written."""
    types = [set(map(type, column)) for column in columns]
    if len(types) != len(_TYPES) or not all(map(set.issuperset, _TYPES, types)):
        raise ValueError("a row is not that of a summary")
    identities, counts, *times = columns[1], columns[2], *columns[-2:]
    if set(map(len, identities)) != {5} or {type(part) for identity in identities for part in identity} != {int}:
        raise ValueError("an identity is not that of a file")
    if min(counts) < 0 or not all(map(timestamps.are_canonical, times)):
        raise ValueError("a count is negative, or a timestamp is not in the canonical form")


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).hexdigest().encode()
