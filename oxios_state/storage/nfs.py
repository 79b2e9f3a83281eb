"""Mounts: on what file system a file is, and how that is mounted, as Linux tells. Other systems tell nothing here."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLE = "/proc/self/mountinfo"
_OPEN_FILES = "/proc/self/fdinfo"


@attrs.frozen
class Mount:
    """A mounted file system.

    Attributes:
        point: The directory that it is mounted on.
        type: Its type, such as ``ext4`` or ``nfs4``.
        options: How it is mounted, such as ``ro`` or ``local_lock=all``.
    """

    point: str
    type: str
    options: frozenset[str]

    @property
    def is_nfs(self) -> bool:
        """Whether it is a network file system of the NFS kind."""
        return self.type in {"nfs", "nfs4"}


def mount_of(device: int) -> Mount | None:
    """Give the mount of a device number; None where the system does not tell, as of a part of a btrfs.

    The table is described in proc(5): of what is mounted twice, the last line counts.
    """
    wanted = f"{os.major(device)}:{os.minor(device)}"
    found = None
    for _, number, mount in _mounts():
        if number == wanted:
            found = mount
    return found


def mount_at(descriptor: int) -> Mount | None:
    """Give the mount of an open file or directory, also of a part of a btrfs; None where the system does not tell."""
    try:
        with open(f"{_OPEN_FILES}/{descriptor}", encoding="ascii") as lines:
            wanted = next((line.split()[1] for line in lines if line.startswith("mnt_id:")), None)
    except OSError:
        return None
    return next((mount for identifier, _, mount in _mounts() if identifier == wanted), None)


def _mounts() -> Iterator[tuple[str, str, Mount]]:
    """Give each mount with its identifier and its device number; none where the system does not tell."""
    try:
        with open(_TABLE, encoding="utf-8", errors="surrogateescape") as table:
            for line in table:
                fields, _, more = line.partition(" - ")
                identifier, _, number, _, point, options, *_ = fields.split(" ")
                kind, _, of_the_system = more.rstrip("\n").split(" ", 2)
                of_both = frozenset(f"{options},{of_the_system}".split(","))
                yield identifier, number, Mount(_unescaped(point), kind, of_both)
    except OSError:  # there is none, or a sandbox forbids to read it
        return


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
