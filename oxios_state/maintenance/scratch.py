"""A directory for the probe to work in, among this library's own, which is removed again."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from oxios_state.storage import tree as files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE = 1.0  # seconds
_OLD_AFTER = 3600.0  # seconds


@contextmanager
def made(tree: files.Tree) -> Iterator[Path]:
    """Make such a directory for the time of the block. What a killed process left is removed when it is an hour old.

    Raises:
        OSError: If it cannot be made; with its name.
        InvalidNameError: If the library's own directory is a link that leads outside.
    """
    name = f"probe.{os.urandom(8).hex()}"
    try:
        tree.make_directory(tree.base)
        # Not durable: that a directory cannot be synced is for the probe to find, and no reason to find nothing.
        directory = files.Tree(tree.base, durable=False).make_own_directory(name)
        for other in tree.own.iterdir():
            if _is_old(other):
                _remove(other)
        yield directory
    finally:
        _remove(tree.own / name)


def _is_old(path: Path) -> bool:
    if not re.fullmatch(r"probe\.[0-9a-f]{16}", path.name):
        return False
    status = path.lstat()
    return stat.S_ISDIR(status.st_mode) and time.time() - status.st_mtime >= _OLD_AFTER


def _remove(directory: Path) -> None:
    """Remove a directory; NFS is a moment behind with what was open when it was replaced."""
    until = time.monotonic() + _PATIENCE
    while os.path.isdir(directory):
        try:
            shutil.rmtree(directory)
        except OSError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.01)
