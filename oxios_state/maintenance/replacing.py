"""What a blind save replaces: kept in quarantine, if it cannot be read as what should be there."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from oxios_state.errors import CorruptStateError
from oxios_state.storage import reads as reading

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from pathlib import Path

    from oxios_state.storage import tree as files
    from oxios_state.storage.revisions import Identity

    Decode = Callable[[bytes, Path], object]


def sound_identity(path: Path, decode: Decode, known: Container[Identity | None] = ()) -> Identity | None:
    """Give the identity of a file that *decode* takes, or of what is no file; None if it is refused.

    Args:
        path: The file.
        decode: Reads it.
        known: Identities of the file when it was known to be sound.
    """
    identity = reading.identity(path)
    return identity if identity in known or _corrupt(path, decode) is None else None


@contextmanager
def keeping(tree: files.Tree, path: Path, decode: Decode, sound: Identity | None) -> Iterator[None]:
    """Keep what the block replaces, if *decode* refuses it. The caller holds the lock.

    Args:
        tree: The documents.
        path: The file.
        decode: Reads it.
        sound: The identity of the file when it was sound: then it need not be read again.

    Raises:
        OSError: If it cannot be kept; nothing is replaced.
    """
    corrupt = None if sound == reading.identity(path) else _corrupt(path, decode)
    if corrupt is None:
        yield
        return
    from oxios_state.maintenance import quarantine

    content, reason = corrupt
    entry = quarantine.keep_copy(tree, path, content, f"replaced, {reason}")
    try:
        yield
    except BaseException:
        with suppress(OSError, CorruptStateError):  # then the copy stays
            if reading.read(path) == content:  # not if an interrupt came when it was replaced
                quarantine.discard(tree, entry)
        raise


def _corrupt(path: Path, decode: Decode) -> tuple[bytes, str] | None:
    """Give what a file holds and why *decode* refuses it; None if it does not, or there is no file."""
    if reading.is_file(path) and (raw := reading.read(path)) is not None:
        try:
            decode(raw, path)
        except CorruptStateError as error:
            return raw, str(error)
    return None
