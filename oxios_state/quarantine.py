"""The quarantine: files out of the way, each with the reason beside it and what it takes to put it back.

<base>/.oxios_state/quarantine/<time>-<random>/content        the file itself
<base>/.oxios_state/quarantine/<time>-<random>/reason.json    where it was, and why it is here
"""

from __future__ import annotations

import logging
import os
from datetime import datetime
from pathlib import Path

import attrs

from oxios_state import codec, files, staging, timestamps
from oxios_state.errors import CorruptStateError, DurabilityError

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
    tree.move(path, entry.content)
    tree.sync(path.parent, f"{path.name} is in quarantine")
    return entry


def keep_copy(tree: files.Tree, path: Path, content: bytes, reason: str) -> None:
    """Put a file's content into quarantine, and leave the file to be replaced.

    Raises:
        OSError: If it cannot be written.
    """
    try:
        _write(tree, _prepare(tree, path, reason).content, content)
    except DurabilityError as error:  # of the copy: the document itself is not saved
        raise OSError(error.errno, error.strerror, error.filename) from error


def entries(tree: files.Tree) -> list[Quarantined]:
    """List what is in quarantine, the oldest first; what has an unreadable reason is left out, with a warning."""
    found = []
    directory = tree.own / "quarantine"
    for name in sorted(os.listdir(directory) if files.is_there(directory) else []):
        content, reason = directory / name / _CONTENT, directory / name / _REASON
        try:
            if not files.is_there(content):
                continue  # the power went before the file came, or after it left
            why = codec.decode_json(files.read(reason) or b"", _Reason, reason)
        except (CorruptStateError, OSError) as error:
            _log.warning("left out of the list of what is in quarantine: %s", error)
        else:
            found.append(Quarantined(tree.base / why.path, content, why.reason, why.since))
    return found


def move_out(tree: files.Tree, entry: Quarantined) -> None:
    """Put a file back.

    Raises:
        FileExistsError: If there is a file again.
    """
    tree.move(entry.content, entry.path)
    tree.remove(entry.content.with_name(_REASON))
    entry.content.parent.rmdir()


def _prepare(tree: files.Tree, path: Path, reason: str) -> Quarantined:
    now = timestamps.now()
    directory = tree.make_own_directory("quarantine") / f"{now:%Y%m%dT%H%M%S.%f}-{os.urandom(4).hex()}"
    why = _Reason(os.path.relpath(path, tree.base), reason, now)
    _write(tree, directory / _REASON, codec.encode_json(why, directory / _REASON))
    return Quarantined(path, directory / _CONTENT, reason, now)


def _write(tree: files.Tree, path: Path, content: bytes) -> None:
    with staging.Staged(tree, path, content) as staged:
        staged.replace()
        staged.sync()
