"""The quarantine: files out of the way, each with the reason beside it and what it takes to put it back.

<base>/.oxios_state/quarantine/<time>-<random>/content        the file itself
<base>/.oxios_state/quarantine/<time>-<random>/reason.json    where it was, and why it is here
"""

from __future__ import annotations

import errno
import logging
import os
from datetime import datetime
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

import attrs

from oxios_state.codec import documents as codec
from oxios_state.errors import CorruptStateError
from oxios_state.model import timestamps
from oxios_state.storage import atomic_write as staging
from oxios_state.storage import reads as reading
from oxios_state.storage import tree as files

_CONTENT, _REASON = "content", "reason.json"


_log = logging.getLogger("oxios_state")


@attrs.frozen
class _Reason:
    path: str
    reason: str
    since: datetime


@attrs.frozen
class Quarantined:
    """A file in quarantine.

    Attributes:
        path: Where it was, and where `StateStore.restore` puts it back.
        content: Where it is.
        reason: What was wrong with it, and where in it.
        since: When it came here.
    """

    path: Path
    content: Path
    reason: str
    since: datetime


def move_in(tree: files.Tree, path: Path, reason: str) -> Quarantined:
    """Move a file into quarantine.

    Raises:
        OSError: If it cannot be moved; it is then where it was.
    """
    entry = _prepare(tree, path, reason)
    try:
        tree.move(path, entry.content)
    except OSError:
        if not reading.is_there(entry.content):
            _forget(tree, entry)
        raise
    tree.sync(path.parent, f"{path.name} is in quarantine")
    return entry


def keep_copy(tree: files.Tree, path: Path, content: bytes, reason: str) -> Quarantined:
    """Put a file's content into quarantine, and leave the file to be replaced.

    Raises:
        OSError: If it cannot be written; nothing of it is left.
    """
    try:
        entry = _prepare(tree, path, reason)
        try:
            _write(tree, entry.content, content)
        except BaseException:
            discard(tree, entry)
            raise
    except OSError as error:  # not as it is: a DurabilityError would say that the document itself is saved
        why = str(error.strerror).removeprefix("not saved, ")
        raise OSError(error.errno, f"what it holds cannot be copied to quarantine: {why}", error.filename) from error
    return entry


def entries(tree: files.Tree) -> list[Quarantined]:
    """List what is in quarantine, the oldest first; what has an unreadable reason is left out, with a warning."""
    found = []
    directory = tree.own / "quarantine"
    tree.refuse_link_outside(tree.own)
    tree.refuse_link_outside(directory)
    for name in sorted(os.listdir(directory) if reading.is_there(directory) else []):
        content, reason = directory / name / _CONTENT, directory / name / _REASON
        try:
            if not reading.is_there(content):
                continue  # the power went before the file came, or after it left
            why = codec.decode_json(reading.read(reason) or b"", _Reason, reason)
        except (CorruptStateError, OSError) as error:
            _log.warning("left out of the list of what is in quarantine: %s", error)
        else:
            path = tree.base / os.fsdecode(unquote_to_bytes(why.path))
            found.append(Quarantined(path, content, why.reason, why.since))
    return found


def move_out(tree: files.Tree, entry: Quarantined) -> None:
    """Put a file back.

    Raises:
        DurabilityError: If it is back, but a power cut could leave it in quarantine too.
        FileExistsError: If there is a file again.
        ValueError: If its place is not in a category of this store, or it is not in this store's quarantine.
    """
    tree.refuse_outside(entry.path)
    if entry.content.parents[1] != tree.own / "quarantine" or ".." in entry.content.parts:
        raise ValueError(f"not in the quarantine of {tree.base}: {entry.content}")
    tree.move(entry.content, entry.path)
    _forget(tree, entry)
    # Or what was restored, and perhaps changed or deleted since, would be listed as in quarantine after a power cut.
    tree.sync(entry.content.parents[1], f"{entry.path.name} is restored")


def discard(tree: files.Tree, entry: Quarantined) -> None:
    """Remove a copy that `keep_copy` made, or began to make."""
    tree.remove(entry.content)
    _forget(tree, entry)


def _forget(tree: files.Tree, entry: Quarantined) -> None:
    tree.remove(entry.content.with_name(_REASON))
    try:
        entry.content.parent.rmdir()
    except OSError as error:
        # Somebody else's file may be there, of a desktop or of NFS; or the directory was not made.
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}:
            raise


def _prepare(tree: files.Tree, path: Path, reason: str) -> Quarantined:
    now = timestamps.now()
    directory = tree.make_own_directory("quarantine") / f"{now:%Y%m%dT%H%M%S.%f}-{os.urandom(4).hex()}"
    # Quoted and escaped, as a name need not be UTF-8.
    place = quote_from_bytes(os.fsencode(os.path.relpath(path, tree.base)), safe="/ ")
    why = _Reason(place, reason.encode(errors="backslashreplace").decode(), now)
    entry = Quarantined(path, directory / _CONTENT, why.reason, now)
    try:
        _write(tree, directory / _REASON, codec.encode_json(why, directory / _REASON))
    except BaseException:
        _forget(tree, entry)
        raise
    return entry


def _write(tree: files.Tree, path: Path, content: bytes) -> None:
    with staging.Staged(tree, path, (content,)) as staged:
        staged.replace()
        staged.sync()
