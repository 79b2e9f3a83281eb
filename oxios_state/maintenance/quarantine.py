"""The quarantine: files moved out of the way, each with the reason and its former place.

<base>/.oxios_state/quarantine/<time>-<random>/content        the file itself
<base>/.oxios_state/quarantine/<time>-<random>/reason.json    its former place, the reason and the time
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, unquote_to_bytes

from oxios_state.codec import json_text
from oxios_state.errors import CorruptStateError, describe
from oxios_state.maintenance import check
from oxios_state.maintenance.problems import Problem, Quarantined
from oxios_state.model import timestamps
from oxios_state.storage import reads, tree
from oxios_state.storage.atomic_write import Staged

if TYPE_CHECKING:
    from oxios_state.model.revision import Identity
    from oxios_state.storage.locks import CategoryLocks
    from oxios_state.storage.tree import Tree

Decode = Callable[[bytes, Path], object]
"""Decodes a document; raises a CorruptStateError for one that it cannot read."""

_CONTENT, _REASON = "content", "reason.json"
_log = logging.getLogger("oxios_state")


class Quarantine:
    """The quarantine of one store.

    Args:
        tree: The directories of the store.
        locks: The locks of its categories.
    """

    def __init__(self, tree: Tree, locks: CategoryLocks) -> None:
        self._tree = tree
        self._locks = locks

    def add(self, problem: Problem) -> Quarantined | None:
        """Move a file with a problem into quarantine, under the lock of its category.

        Returns:
            The entry; None if the file is gone, or no longer has the problem, and nothing was moved.

        Raises:
            ValueError: If the problem belongs to another store, or to the file system.
            OSError: If the file cannot be moved; it stays where it was.
            LockTimeoutError: If the category's lock was not free in time.
        """
        path = problem.path
        self._tree.refuse_outside(path)
        with self._locks.hold_for(path, path):
            if not reads.is_there(path) or not check.persists(self._tree, problem):
                return None
            entry = self._prepare(path, problem.reason)
            try:
                self._tree.move(path, entry.content)
            except OSError:
                if not reads.is_there(entry.content):
                    self._forget(entry)
                raise
            self._tree.sync(path.parent, f"{path.name} is in quarantine")
            return entry

    def entries(self) -> list[Quarantined]:
        """Return the entries, the oldest first; one with an unreadable reason is left out, with a warning."""
        entries = []
        directory = self._tree.own_directory("quarantine")
        for name in sorted(os.listdir(directory) if reads.is_there(directory) else []):
            content, reason = directory / name / _CONTENT, directory / name / _REASON
            try:
                if reads.is_there(content):  # else a power cut came before the file did, or after it left
                    entries.append(self._entry(content, reason))
            except (CorruptStateError, OSError) as error:
                _log.warning("left out of the list of quarantined files: %s", error)
        return entries

    def restore(self, entry: Quarantined) -> None:
        """Put a file back in its former place, under the lock of its category.

        Raises:
            DurabilityError: If it is back, but a power cut could leave it in quarantine too.
            FileExistsError: If there is a file in its place again.
            ValueError: If its place is not in a category of this store, or it is not in this store's quarantine.
            LockTimeoutError: If the category's lock was not free in time.
        """
        self._tree.refuse_outside(entry.path)
        with self._locks.hold_for(entry.path, entry.content):
            self._tree.refuse_outside(entry.path)  # again: a link may have appeared during the wait
            if entry.content.parents[1] != self._tree.own / "quarantine" or ".." in entry.content.parts:
                raise ValueError(f"not in the quarantine of {self._tree.base}: {entry.content}")
            self._tree.move(entry.content, entry.path)
            self._forget(entry)
            # Or a power cut could list the file as in quarantine again, though it may have changed since.
            self._tree.sync(entry.content.parents[1], f"{entry.path.name} is restored")

    @contextmanager
    def keeping(self, path: Path, decode: Decode, sound: Identity | None) -> Iterator[None]:
        """Copy a file that *decode* refuses to quarantine before the block replaces it. The caller holds the lock.

        Args:
            path: The file.
            decode: Decodes it.
            sound: The identity of the file when *decode* accepted it: then it is not read again.

        Raises:
            OSError: If it cannot be copied; nothing is replaced.
        """
        corrupt = None if sound == reads.identity(path) else _corrupt(path, decode)
        if corrupt is None:
            yield
            return
        content, reason = corrupt
        entry = self._copy(path, content, f"replaced, {reason}")
        try:
            yield
        except BaseException:
            with suppress(OSError, CorruptStateError):  # then the copy stays
                if reads.read(path) == content:  # not if an interrupt came after it was replaced
                    self._discard(entry)
            raise

    def _copy(self, path: Path, content: bytes, reason: str) -> Quarantined:
        try:
            entry = self._prepare(path, reason)
            try:
                self._write(entry.content, content)
            except BaseException:
                self._discard(entry)
                raise
        except OSError as error:  # not re-raised as it is: a DurabilityError would say that the document is saved
            why = f"its old content cannot be copied to quarantine: {error.strerror or describe(error)}"
            raise (OSError(why) if error.errno is None else OSError(error.errno, why, error.filename)) from error
        return entry

    def _discard(self, entry: Quarantined) -> None:
        tree.remove(entry.content)
        self._forget(entry)

    def _forget(self, entry: Quarantined) -> None:
        """Remove an entry whose content is gone."""
        tree.remove(entry.content.with_name(_REASON))
        try:
            entry.content.parent.rmdir()
        except OSError as error:
            # A desktop or NFS may have put a file of its own there; or the directory was not created.
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}:
                raise

    def _prepare(self, path: Path, reason: str) -> Quarantined:
        """Create an entry without its content."""
        now = timestamps.now()
        directory = self._tree.make_own_directory("quarantine") / f"{now:%Y%m%dT%H%M%S.%f}-{os.urandom(4).hex()}"
        entry = Quarantined(path, directory / _CONTENT, reason.encode(errors="backslashreplace").decode(), now)
        # A name need not be UTF-8, so it is quoted.
        place = quote_from_bytes(os.fsencode(os.path.relpath(path, self._tree.base)), safe="/ ")
        document = {"path": place, "reason": entry.reason, "since": timestamps.render(now)}
        try:
            self._write(directory / _REASON, json_text.encode(document, directory / _REASON))
        except BaseException:
            self._forget(entry)
            raise
        return entry

    def _entry(self, content: Path, reason: Path) -> Quarantined:
        document = json_text.decode(reads.read(reason) or b"", reason)
        if not isinstance(document, dict):
            raise CorruptStateError(reason, "expected an object", json_path="$")
        for key in ("path", "reason", "since"):
            if not isinstance(document.get(key), str):
                raise CorruptStateError(reason, "expected a string", json_path=f"$.{key}")
        try:
            since = timestamps.parse(document["since"])
        except ValueError as error:
            raise CorruptStateError(reason, str(error), json_path="$.since") from None
        path = self._tree.base / os.fsdecode(unquote_to_bytes(document["path"]))
        return Quarantined(path, content, document["reason"], since)

    def _write(self, path: Path, content: bytes) -> None:
        with Staged(self._tree, path, (content,)) as staged:
            staged.replace()
            staged.sync()


def sound_identity(path: Path, decode: Decode, known: Container[Identity | None] = ()) -> Identity | None:
    """Return the identity of a file that *decode* accepts, or that does not exist; None if *decode* refuses it.

    Args:
        path: The file.
        decode: Decodes it.
        known: Identities of the file when *decode* accepted it.
    """
    identity = reads.identity(path)
    return identity if identity in known or _corrupt(path, decode) is None else None


def _corrupt(path: Path, decode: Decode) -> tuple[bytes, str] | None:
    """Return the content of a file and why *decode* refuses it; None if it accepts it, or there is no file."""
    if reads.is_file(path) and (raw := reads.read(path)) is not None:
        try:
            decode(raw, path)
        except CorruptStateError as error:
            return raw, str(error)
    return None
