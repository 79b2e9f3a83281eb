"""What a blind save replaces: kept in quarantine, if it cannot be read as what should be there."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from oxios_state import reading
from oxios_state.errors import CorruptStateError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from pathlib import Path

    from oxios_state import files
    from oxios_state.revisions import Identity

    Decode = Callable[[bytes, Path], object]


def find_corrupt(path: Path, decode: Decode, known: Container[Identity | None] = ()) -> tuple[bytes, str] | None:
    """Give what a file holds, and why *decode* refuses it; None if it does not, or if there is none.

    Args:
        path: The file.
        decode: Reads it.
        known: Identities of the file when it was known to be sound.
    """
    if reading.identity(path) in known or not reading.is_file(path):
        return None
    if (raw := reading.read(path)) is not None:
        try:
            decode(raw, path)
        except CorruptStateError as error:
            return raw, str(error)
    return None


@contextmanager
def keeping(tree: files.Tree, path: Path, decode: Decode) -> Iterator[None]:
    """Keep what the block replaces, if *decode* refuses it still. The caller holds the lock.

    Raises:
        OSError: If it cannot be kept; nothing is replaced.
    """
    corrupt = find_corrupt(path, decode)
    if corrupt is None:
        yield
        return
    from oxios_state import quarantine

    content, reason = corrupt
    entry = quarantine.keep_copy(tree, path, content, f"replaced, {reason}")
    try:
        yield
    except BaseException:
        with suppress(OSError, CorruptStateError):  # then the copy stays
            if reading.read(path) == content:  # not if an interrupt came when it was replaced
                quarantine.discard(tree, entry)
        raise
