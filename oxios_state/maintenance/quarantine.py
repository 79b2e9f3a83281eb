"""The quarantine: files moved out of the way, each with the reason and its former place.

<base>/.oxios_state/quarantine/<time>-<random>/content        the file itself
<base>/.oxios_state/quarantine/<time>-<random>/reason.json    its former place, the reason and the time
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, unquote_to_bytes

from oxios_state.codec import json_text
from oxios_state.errors import CorruptStateError, describe
from oxios_state.maintenance import check
from oxios_state.maintenance.problems import Problem, Quarantined
from oxios_state.maintenance.reports import Reports
from oxios_state.model import timestamps
from oxios_state.storage import reads, tree
from oxios_state.storage.atomic_write import Staged
from oxios_state.storage.moves import move, remove_all, same_content, sync_file

if TYPE_CHECKING:
    from oxios_state.model.revision import Identity
    from oxios_state.storage.locks import CategoryLocks
    from oxios_state.storage.tree import Tree

Decode = Callable[[bytes, Path], object]
"""Decodes a document; raises a CorruptStateError for one that it cannot read."""

_CONTENT, _REASON = "content", "reason.json"
_MAX_REASON = 2**20  # bytes: a name and some faults are a few thousand


class QuarantineDirectory:
    """The directory of the quarantine of one store. `Quarantine` is its public face.

    Attributes:
        base: The base directory of the store.

    Args:
        tree: The directories of the store.
        locks: The locks of its categories.
    """

    def __init__(self, tree: Tree, locks: CategoryLocks) -> None:
        self.base = tree.base
        self._tree = tree
        self._locks = locks
        self._reports = Reports()

    def add(self, problem: Problem) -> Quarantined | None:
        """Move a file with a problem into quarantine, under the lock of its category: see `Quarantine.add`."""
        path = problem.path
        self._tree.refuse_outside(path)
        with self._locks.hold_for(path, path):
            if not reads.is_there(path) or not check.persists(self._tree, problem):
                return None
            entry = self._prepare(path, problem.reason)
            try:
                move(self._tree, path, entry.content)
            except OSError:
                if reads.is_there(entry.content):
                    self._discard_others(entry)
                else:
                    self._forget(entry)
                raise
            self._tree.sync(path.parent, f"{path.name} is in quarantine")
            self._discard_others(entry)
            return entry

    def entries(self) -> list[Quarantined]:
        """Return the entries, the oldest first; one with an unreadable reason is left out, with a warning."""
        entries, bad = [], set()
        directory = self._tree.own_directory("quarantine")
        for name in sorted(os.listdir(directory) if reads.is_there(directory) else []):
            content, reason = directory / name / _CONTENT, directory / name / _REASON
            try:
                if reads.is_there(content):  # else a power cut came before the file did, or after it left
                    entries.append(self._entry(content, reason))
            except (CorruptStateError, OSError) as error:
                state = str(error), reads.identity(reason)
                bad.add((name, state))
                self._reports.warn(name, state, "left out of the list of quarantined files: %s", describe(error))
        self._reports.keep(bad)
        return entries

    def restore(self, entry: Quarantined) -> None:
        """Put a file back in its former place, under the lock of its category: see `Quarantine.restore`."""
        self._tree.refuse_outside(entry.path)
        with self._locks.hold_for(entry.path, entry.content):
            self._tree.refuse_outside(entry.path)  # again: a link may have appeared during the wait
            self._refuse_foreign(entry)
            if move(self._tree, entry.content, entry.path):
                self._forget(entry)
            # Or a power cut could list the file as in quarantine again, though it may have changed since.
            self._tree.sync(entry.content.parents[1], f"{entry.path.name} is restored")

    def discard(self, entry: Quarantined) -> bool:
        """Remove a file from quarantine for good, and return whether it was there: see `Quarantine.discard`."""
        self._refuse_foreign(entry)
        if not reads.is_there(entry.content):
            return False
        with self._lock_of(entry):  # or a save might rely on the entry as the copy of what it replaces
            discarded = self._discard(entry)
            self._tree.sync(entry.content.parents[1], f"{entry.path.name} is discarded")
        return discarded

    def _refuse_foreign(self, entry: Quarantined) -> None:
        directory = self._tree.own_directory("quarantine")
        if entry.content.parents[1:2] != (directory,) or entry.content.name != _CONTENT or ".." in entry.content.parts:
            raise ValueError(f"not in the quarantine of {self._tree.base}: {entry.content}")

    def _lock_of(self, entry: Quarantined) -> AbstractContextManager[None]:
        try:
            self._tree.refuse_outside(entry.path)
        except ValueError:  # no method saves there
            return nullcontext()
        return self._locks.hold_for(entry.path, entry.content)

    @contextmanager
    def keeping(self, path: Path, decode: Decode, sound: Identity | None) -> Iterator[None]:
        """Copy a file that *decode* refuses to quarantine before the block replaces it. The caller holds the lock.

        If quarantine has a copy of it already, that one is kept.
        A file that is too large to be read is not copied: it gets a second name there, or is moved.

        Args:
            path: The file.
            decode: Decodes it.
            sound: The identity of the file when *decode* accepted it: then it is not read again.

        Raises:
            OSError: If it cannot be copied; nothing is replaced.
        """
        corrupt = None if sound == reads.identity(path) else _corrupt(path, decode, self._tree.max_file_bytes)
        if corrupt is None:
            yield
            return
        content, reason = corrupt
        entry = self._copy(path, content, f"replaced, {reason}")
        try:
            yield
        except BaseException:
            with suppress(OSError, CorruptStateError):  # then the copy stays
                if entry is None:
                    pass  # there was a copy already
                elif content is None:
                    self._put_back(entry)
                elif reads.read(path, self._tree.max_file_bytes) == content:  # else it was replaced all the same
                    self._discard(entry)
            raise

    def _set_aside(self, entry: Quarantined) -> None:
        """Let an entry have the file itself, which keeps its name too if the file system has hard links."""
        try:
            os.link(entry.path, entry.content)
        except OSError:
            self._tree.move(entry.path, entry.content)  # not between file systems: copying it could take for ever
        self._tree.sync(entry.content.parent, f"{entry.path.name} is in quarantine")

    def _put_back(self, entry: Quarantined) -> None:
        if not reads.is_there(entry.path):
            self._tree.move(entry.content, entry.path)
        elif not reads.is_there(entry.content) or os.path.samefile(entry.path, entry.content):
            tree.remove(entry.content)
        else:
            return  # the file was replaced all the same
        self._forget(entry)

    def _copy(self, path: Path, content: bytes | None, reason: str) -> Quarantined | None:
        """Create an entry with the content of a file, or with the file itself; None if there is one."""
        try:
            if content is not None and self._has_copy(path, content):
                return None
            entry = self._prepare(path, reason)
            try:
                if content is None:
                    self._set_aside(entry)
                else:
                    self._write(entry.content, content)
            except BaseException:
                if content is None:
                    self._put_back(entry)
                else:
                    self._discard(entry)
                raise
        except OSError as error:  # not re-raised as it is: a DurabilityError would say that the document is saved
            why = f"its old content cannot be copied to quarantine: {error.strerror or describe(error)}"
            raise (OSError(why) if error.errno is None else OSError(error.errno, why, error.filename)) from error
        return entry

    def _has_copy(self, path: Path, content: bytes) -> bool:
        """Return whether an entry has the content of a file; if so, it survives a power cut."""
        for entry in self.entries():
            with suppress(OSError, CorruptStateError):  # one that cannot be read or synced does not count
                if (
                    entry.path == path
                    and _is_file_of(entry.content, len(content))
                    and reads.read(entry.content, len(content)) == content
                ):
                    sync_file(self._tree, entry.content)
                    for directory in entry.content.parents[:2]:
                        self._tree.sync(directory, f"{entry.path.name} is in quarantine")
                    return True
        return False

    def _discard_others(self, entry: Quarantined) -> None:
        """Discard the other entries of the same file with the same content."""
        for other in self.entries():
            if other.path == entry.path and other.content != entry.content:
                files = entry.content, other.content
                with suppress(OSError):  # then both stay
                    size = os.lstat(entry.content).st_size
                    # A file that is too large to be read is too large to be compared.
                    if (
                        size <= self._tree.max_file_bytes
                        and all(_is_file_of(file, size) for file in files)
                        and same_content(*files)
                    ):
                        self._discard(other)

    def _discard(self, entry: Quarantined) -> bool:
        existed = remove_all(entry.content)
        self._forget(entry)
        return existed

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
        document = json_text.decode(reads.read(reason, _MAX_REASON) or b"", reason)
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


def _is_file_of(path: Path, size: int) -> bool:
    status = os.lstat(path)
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def sound_identity(
    path: Path, decode: Decode, known: Container[Identity | None] = (), limit: int = tree.MAX_FILE_BYTES
) -> Identity | None:
    """Return the identity of a file that *decode* accepts, or that does not exist; None if *decode* refuses it.

    Args:
        path: The file.
        decode: Decodes it.
        known: Identities of the file when *decode* accepted it.
        limit: The size of the largest file that is read, in bytes.
    """
    identity = reads.identity(path)
    return identity if identity in known or _corrupt(path, decode, limit) is None else None


def _corrupt(path: Path, decode: Decode, limit: int) -> tuple[bytes | None, str] | None:
    """Return the content of a file and why *decode* refuses it; None if it accepts it, or there is no file.

    There is no content of a file that is too large to be read. A link to one is left out: replacing the link loses
    nothing.
    """
    raw = None
    try:
        if reads.is_file(path) and (raw := reads.read(path, limit)) is not None:
            decode(raw, path)
    except CorruptStateError as error:
        if raw is not None or not path.is_symlink():
            return raw, str(error)
    return None
