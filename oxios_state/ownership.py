"""Ownership: what root makes in somebody's store is that one's, as SQLite has it for its journals.

Or a ``sudo`` on the store, even one that only lists, would leave there what its owner cannot open: locks, above all.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def adopt(made: int | str | Path, like: str | Path) -> None:
    """Give what this process has made, if it is root's, to the owner and group of another file or directory."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # Windows has none
        with suppress(OSError):  # some roots may not, as in containers and on NFS
            owner, status = os.stat(like), os.stat(made)
            if (status.st_uid, status.st_gid) != (owner.st_uid, owner.st_gid):
                os.chown(made, owner.st_uid, owner.st_gid)
