"""Network file systems: noticing the changes of other machines, and letting them notice those of this one.

Local file systems need none of this; it costs them two microseconds a call, the time of opening a directory.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import attrs

from oxios_state.storage import system

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LISTINGS = 2
_MAX_TICK, _TOUCH_INTERVAL = 0.1, 0.001  # seconds
_MOUNTS = "/proc/self/mountinfo"
_OPEN_FILES = "/proc/self/fdinfo"
_on_nfs: dict[tuple[int, int], bool] = {}  # by device, whose number may be reused, and inode of a directory


def revalidate(directory: Path) -> None:
    """Make a network file system ask the server whether the names that it has cached of *directory* are still true.

    NFS does so when a directory is opened ("close-to-open consistency", nfs(5)). For a missing directory, its nearest
    existing parent is opened.
    """
    while True:
        try:
            os.close(os.open(directory, system.DIRECTORY))
        except FileNotFoundError:
            if directory.parent != directory:
                directory = directory.parent
                continue
        except OSError:
            pass  # it cannot be opened: the operation that follows reports it, or works
        return


@contextmanager
def in_step(directory: Path) -> Iterator[None]:
    """Notice the earlier changes of other machines in a directory, and let them notice those of the block.

    The caller holds the directory's lock, and releases it after the block.
    """
    catch_up(directory)
    try:
        yield
    finally:
        announce(directory)


def catch_up(directory: Path) -> None:
    """Notice the changes of other machines in a directory, whose lock the caller has just taken.

    A reader notices them because it opens the directory. But if one machine has two mounts (``nosharecache``), an NFS
    server believes that each knows the changes of the other, and recalls nothing; listing makes the client ask.
    """
    revalidate(directory)
    if is_on_nfs(directory):
        listing(directory)


def announce(directory: Path) -> None:
    """Let other machines notice the changes in a directory, whose lock the caller is about to release.

    NFS 3, and 4 from a server that does not count changes, recognise a change by its time (ctime), which is the tick of
    the server's clock: a client that has seen the first of two changes within a tick never sees the second. So the
    directory is touched until its time differs from that of the last change.
    """
    if not is_on_nfs(directory):
        return
    with suppress(OSError):  # the directory may be gone; the changes are done
        descriptor = os.open(directory, system.DIRECTORY)
        try:
            changed, deadline = os.fstat(descriptor).st_ctime_ns, time.monotonic() + _MAX_TICK
            while os.fstat(descriptor).st_ctime_ns == changed and time.monotonic() < deadline:
                time.sleep(_TOUCH_INTERVAL)
                os.utime(descriptor)
        finally:
            os.close(descriptor)


def is_listed(path: Path) -> bool:
    """Return whether a file exists although NFS did not find it.

    A client that looks a file up while another replaces it may believe it to be absent until it lists the directory
    (seen with Linux 6.1 and two mounts of one machine, once in some thousand times).
    """
    directory = path.parent
    if is_on_nfs(directory):
        for _ in range(_LISTINGS):
            revalidate(directory)
            if path.name in listing(directory):
                return True
    return False


def listing(directory: Path) -> list[str]:
    """Return the names in a directory; none if it cannot be listed, which the next operation in it reports."""
    try:
        return os.listdir(directory)
    except OSError:
        return []


def is_on_nfs(directory: Path) -> bool:
    """Return whether a directory is on NFS. The answer is kept: the table of mounts takes a millisecond to read."""
    try:
        status = os.stat(directory)
    except OSError:
        return False
    key = status.st_dev, status.st_ino
    if key not in _on_nfs:
        mount = mount_of(status.st_dev)
        _on_nfs[key] = mount is not None and mount.is_nfs
    return _on_nfs[key]


@attrs.frozen
class Mount:
    """A mounted file system, as Linux reports it.

    Attributes:
        point: The directory that it is mounted on.
        type: Its type, such as ``ext4`` or ``nfs4``.
        options: Its options, such as ``ro`` or ``local_lock=all``.
    """

    point: str
    type: str
    options: frozenset[str]

    @property
    def is_nfs(self) -> bool:
        """Whether it is a network file system of the NFS kind."""
        return self.type in {"nfs", "nfs4"}


def mount_of(device: int) -> Mount | None:
    """Return the mount of a device number; None where the system reports none, as for a subvolume of btrfs.

    proc(5) describes the table: of two mounts on one point, the last line counts.
    """
    wanted = f"{os.major(device)}:{os.minor(device)}"
    result = None
    for _, number, mount in _mounts():
        if number == wanted:
            result = mount
    return result


def mount_at(descriptor: int) -> Mount | None:
    """Return the mount of an open file or directory, on a subvolume of btrfs too; None if the system reports none."""
    try:
        with open(f"{_OPEN_FILES}/{descriptor}", encoding="ascii") as lines:
            wanted = next((line.split()[1] for line in lines if line.startswith("mnt_id:")), None)
    except OSError:
        return None
    return next((mount for identifier, _, mount in _mounts() if identifier == wanted), None)


def _mounts() -> Iterator[tuple[str, str, Mount]]:
    """Yield each mount with its identifier and its device number; none where the system reports none."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as table:
            for line in table:
                fields, _, more = line.partition(" - ")
                identifier, _, number, _, point, options, *_ = fields.split(" ")
                kind, _, super_options = more.rstrip("\n").split(" ", 2)
                all_options = frozenset(f"{options},{super_options}".split(","))
                yield identifier, number, Mount(_unescaped(point), kind, all_options)
    except OSError:  # the table is missing, or a sandbox forbids reading it
        return


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
