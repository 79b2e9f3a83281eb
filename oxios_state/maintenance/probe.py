"""The probe: trying in a directory the operations that the library's promises rest on, and reporting the results."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from filelock import lock_descriptor, unlock_descriptor

from oxios_state.errors import InvalidNameError
from oxios_state.maintenance.probe_process import PROGRAM, NotTriedError, OtherProcess
from oxios_state.maintenance.problems import Finding
from oxios_state.storage import nfs, revisions, system
from oxios_state.storage.tree import Tree, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    Trial = Callable[[], tuple[bool | None, str]]
    """Returns the `holds` and `detail` of a finding."""

# Options and types of mounts, from proc(5) and the manuals of the file systems.
_LOCAL_LOCKS = {"nolock", "local_lock=all", "local_lock=flock", "nobrl", "localflock", "localflocks"}
_UNSEEN = {"nocto", "cache=loose"}
_UNSYNCED = {"nobarrier", "barrier=0", "barrier=none", "fsync_mode=nobarrier", "volatile"}
_IMPATIENT = {"soft", "softerr"}
_IN_MEMORY = {"tmpfs", "ramfs"}
_UNTRIED = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse", "gfs2", "gpfs", "lustre", "ncpfs", "ocfs2", "orangefs"),
    *("prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"),
}

# Pairs of names that some file systems take for one.
_TWINS = [("Case", "case"), ("\u00e9", "e\u0301"), ("dot.", "dot")]

_OLD, _NEW = "o", "n"  # repeated, so that a reader needs more than one read
_MUCH = 2**20
_AT_ONCE = 1.0  # seconds within which a lock must be free after its holder was killed
_REMOVE_TIMEOUT = 1.0  # seconds: NFS lags behind with a file that was open when it was replaced
_STALE_AFTER = 3600.0  # seconds: the age of a probe's directory whose process was killed
_ODD = 1_700_000_001_123_456_789  # nanoseconds: a time that shows the resolution of a file system, two seconds included
_UNITS = (1, 100, 10**3, 10**6, 10**7, 10**9)  # of times, in nanoseconds
_COARSEST = 2 * 10**9
_SKEW = 10**8  # nanoseconds that the clocks may differ: `revisions` relies on it


def _make(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | system.BINARY, 0o600)


def _lock(descriptor: int) -> bool:
    return lock_descriptor(descriptor, blocking=False)  # as `locks` does


def _interpreter() -> str:
    return "" if getattr(sys, "frozen", False) else sys.executable  # a frozen program would run itself again


@attrs.frozen
class Operations:
    """The operations that are tried; tests pass others, which are broken."""

    make: Callable[[str], int] = _make
    lock: Callable[[int], object] = _lock
    unlock: Callable[[int], object] = unlock_descriptor
    replace: Callable[[str, str], object] = os.replace
    link: Callable[[str, str], object] = os.link
    exists: Callable[[str], bool] = os.path.lexists
    sync: Callable[[int], object] = os.fsync
    sync_directory: Callable[[Path], object] = sync_directory
    set_times: Callable[[str, tuple[int, int]], object] = lambda path, times: os.utime(path, ns=times)
    now: Callable[[], int] = time.time_ns
    mount_at: Callable[[int], nfs.Mount | None] = nfs.mount_at
    interpreter: str = attrs.field(factory=_interpreter)
    program: str = PROGRAM
    timeout: float = 60.0  # seconds for everything that the other process does


def probe(tree: Tree, operations: Operations | None = None) -> list[Finding]:
    """Try a store's directory, in a new directory among the library's own, which is removed again.

    Returns:
        A finding for each trial, also for those that failed or were not possible. Where nothing can be written, that is
        the only finding.
    """
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(_scratch_directory(tree))
        except (OSError, InvalidNameError) as error:
            return [Finding("directory", holds=False, detail=f"nothing can be created in it: {error}")]
        return list(_Probe(directory, operations or Operations(), stack).run())


@contextmanager
def _scratch_directory(tree: Tree) -> Iterator[Path]:
    """Create a directory for the block and remove it afterwards, together with old ones that killed processes left.

    Raises:
        OSError: If it cannot be created; with its name.
        InvalidNameError: If the library's own directory is a link that leads outside.
    """
    name = f"probe.{os.urandom(8).hex()}"
    try:
        tree.make_directory(tree.base)
        # Not durable: that a directory cannot be synced is a finding, and no reason to try nothing.
        directory = Tree(tree.base, durable=False).make_own_directory(name)
        for other in tree.own.iterdir():
            if _is_stale(other):
                _remove_directory(other)
        yield directory
    finally:
        _remove_directory(tree.own / name)


def _is_stale(path: Path) -> bool:
    if not re.fullmatch(r"probe\.[0-9a-f]{16}", path.name):
        return False
    status = path.lstat()
    return stat.S_ISDIR(status.st_mode) and time.time() - status.st_mtime >= _STALE_AFTER


def _remove_directory(directory: Path) -> None:
    deadline = time.monotonic() + _REMOVE_TIMEOUT
    while os.path.isdir(directory):
        try:
            shutil.rmtree(directory)
        except OSError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


class _Probe:
    """The trials, in a directory that exists."""

    def __init__(self, directory: Path, operations: Operations, stack: ExitStack) -> None:
        self._directory = directory
        self._do = operations
        self._stack = stack
        self._mount: nfs.Mount | None = None

    def run(self) -> Iterator[Finding]:
        """Try one after another."""
        try:
            other: OtherProcess | NotTriedError = OtherProcess(
                self._do.interpreter, self._stack, program=self._do.program, patience=self._do.timeout
            )
        except NotTriedError as error:
            other = error
        replacing = _tried("rename over an open file", partial(self._replace, other))
        yield _tried("locks between processes", partial(self._lock, other))  # which kills the other process
        yield replacing
        yield _tried("mount", self._look_at_mount)
        yield _tried("sync", self._sync)
        yield _tried("names", self._tell_names_apart)
        yield _tried("file modes", self._keep_private)
        yield _tried("hard links", self._link)
        yield _tried("file times", self._keep_times)
        yield _tried("clock", self._compare_clocks)

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _made(self, name: str, content: bytes = b"") -> str:
        path = self._path(name)
        with open(self._do.make(path), "wb") as file:
            file.write(content)
        return path

    def _open(self, path: str) -> int:
        descriptor = os.open(path, os.O_RDWR | system.BINARY)
        self._stack.callback(os.close, descriptor)
        return descriptor

    def _lock(self, other: OtherProcess | NotTriedError) -> tuple[bool, str]:
        if isinstance(other, NotTriedError):
            raise other
        path = self._made("lock")
        mine = self._open(path)
        if not self._do.lock(mine):
            return False, "nobody gets it"
        if other.ask("lock", path):
            return False, "two processes get it at once"
        self._do.unlock(mine)
        if not other.ask("lock", path):
            return False, "nobody gets it when its holder has given it back"
        if self._do.lock(mine):
            return False, "two processes get it at once"
        other.kill()
        until = time.monotonic() + _AT_ONCE
        while not self._do.lock(mine):
            if time.monotonic() >= until:
                return False, "nobody gets it when its holder was killed"
            time.sleep(0.001)
        return True, "one process gets it at a time, and the next at once when that one is killed"

    def _replace(self, other: OtherProcess | NotTriedError) -> tuple[bool, str]:
        old, new = _OLD.encode() * _MUCH, _NEW.encode() * _MUCH
        path, temporary = self._made("document", old), self._made("temporary", new)
        with open(path, "rb", buffering=0) as reader:
            begun = reader.read(1)
            if isinstance(other, OtherProcess):
                other.ask("begin", path)
            self._do.replace(temporary, path)
            seen = begun + reader.read() != old
        with open(path, "rb") as file:
            unseen = file.read() != new
        where = f"; in one process only, as {other}"
        if isinstance(other, OtherProcess):
            seen |= other.ask("go_on", path) != [_OLD]
            unseen |= other.ask("read", path) != [_NEW]
            where = ""
        if seen:
            return False, f"who has the file open does not read the old content to its end{where}"
        if unseen:
            return False, f"who opens the file afterwards does not read the new content{where}"
        return True, f"who has the file open reads the old content to its end, and who opens it then the new{where}"

    def _look_at_mount(self) -> tuple[bool | None, str]:
        descriptor = self._open(self._made("mount"))
        self._mount = mount = self._do.mount_at(descriptor)
        if mount is None:
            return None, "this system does not tell how the directory is mounted"
        where = f"{mount.type}, mounted on {mount.point}"
        if found := mount.options & _LOCAL_LOCKS:
            return False, f"{where} with {_listed(found)}: locks hold among the processes of one machine only"
        if found := mount.options & _UNSEEN:
            return False, f"{where} with {_listed(found)}: what another machine saved may not be seen"
        if mount.is_nfs and (found := mount.options & _IMPATIENT):
            return None, f"{where} with {_listed(found)}: what takes the server long fails"
        if mount.type.partition(".")[0] in _UNTRIED:
            return None, f"{where}: not tried, and one machine cannot tell whether locks hold between machines"
        return True, where

    def _sync(self) -> tuple[bool, str]:
        with open(self._do.make(self._path("synced")), "wb") as file:
            file.write(b"s" * 4096)
            file.flush()  # and not closed, which with NFS would sync it already
            started = time.perf_counter()
            self._do.sync(file.fileno())
        between = time.perf_counter()
        self._do.sync_directory(self._directory)
        ended = time.perf_counter()
        if self._mount is not None:
            if self._mount.type in _IN_MEMORY:
                return False, f"{self._mount.type} is in memory: a sync does not reach a disk"
            if found := self._mount.options & _UNSYNCED:
                return False, f"mounted with {_listed(found)}: a sync does not reach the disk"
        return True, f"a file takes {(between - started) * 1000:.2g} ms, a directory {(ended - between) * 1000:.2g} ms"

    def _tell_names_apart(self) -> tuple[bool, str]:
        faults = []
        for name, twin in _TWINS:
            try:
                self._made(name)
            except (OSError, UnicodeEncodeError) as error:
                faults.append(f"{name!a} cannot be one ({getattr(error, 'strerror', error)})")
                continue
            if self._do.exists(self._path(twin)):
                faults.append(f"{name!a} and {twin!a} are one file, and no two documents")
            elif name not in os.listdir(self._directory):
                faults.append(f"{name!a} becomes another")
        if faults:
            return False, "; ".join(faults)
        return True, "those that differ in case, Unicode normalisation or a dot at the end are of different files"

    def _keep_private(self) -> tuple[bool | None, str]:
        if system.WINDOWS:
            return None, "Windows keeps lists instead of who may read what, which are not looked at"
        mode = os.stat(self._made("private")).st_mode & 0o777
        if mode & 0o077:
            return False, f"a file that is made for its owner only has {mode:04o}: others may read conversations"
        return True, "a file that is made for its owner only stays so"

    def _link(self) -> tuple[bool | None, str]:
        path = self._made("linked")
        try:
            self._do.link(path, self._path("link"))
        except OSError as error:
            lost = "a power cut may take a file while it is archived or quarantined"
            return None, f"there are none ({error.strerror}): {lost}"
        return True, "a file that is archived or quarantined is in one of the two places at any time"

    def _keep_times(self) -> tuple[bool | None, str]:
        path = self._made("times")
        with suppress(OSError):
            self._do.set_times(path, (_ODD, _ODD))
        if revisions.is_marked(os.stat(path), _ODD):
            return True, "they are kept to the 100 nanoseconds or better"
        return None, "they are not kept exactly: what may have changed is read again, which is slower"

    def _compare_clocks(self) -> tuple[bool, str]:
        path = self._made("unit")
        unit = _COARSEST
        with suppress(OSError):
            self._do.set_times(path, (_ODD, _ODD))
            kept = os.stat(path).st_mtime_ns
            unit = next((unit for unit in _UNITS if _ODD // unit * unit == kept), _COARSEST)
        before = self._do.now()
        stamp = os.stat(self._made("clock", b"c")).st_mtime_ns
        after = self._do.now()
        if stamp > after + _SKEW:
            return False, f"that of the file system is {_seconds(stamp - after)} ahead, which hides changes"
        if stamp < before - unit - _SKEW:
            return False, f"that of the file system is {_seconds(before - stamp)} behind, which hides changes"
        return True, "that of the file system goes with this machine's"


def _tried(what: str, trial: Trial) -> Finding:
    try:
        holds, detail = trial()
    except NotTriedError as error:
        return Finding(what, holds=None, detail=f"not tried: {error}")
    except OSError as error:
        return Finding(what, holds=False, detail=f"this failed: {error.strerror or error}")
    return Finding(what, holds, detail)


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 10**9:.1f} s"


def _listed(options: frozenset[str]) -> str:
    return ", ".join(sorted(options))
