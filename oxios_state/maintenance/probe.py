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

from oxios_state.errors import InvalidNameError, describe, reason_of
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

_OLD, _NEW = "o", "n"  # the old and the new content of a file, repeated: a reader needs more than one read
_SIZE = 2**20
_RELEASE_TIMEOUT = 1.0  # seconds within which a lock must be free after its holder was killed
_REMOVE_TIMEOUT = 1.0  # seconds: NFS lags behind with a file that was open when it was replaced
_STALE_AFTER = 3600.0  # seconds: the age of a probe's directory whose process was killed
_PRECISE_TIME = 1_700_000_001_123_456_789  # nanoseconds: no resolution of a file system, not even 2 s, divides it
_RESOLUTIONS = (1, 100, 10**3, 10**6, 10**7, 10**9)  # nanoseconds
_COARSEST_RESOLUTION = 2 * 10**9
_MAX_SKEW = 10**8  # nanoseconds that the clocks may differ: `revisions` relies on it


def _create(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | system.BINARY, 0o600)


def _lock(descriptor: int) -> bool:
    return lock_descriptor(descriptor, blocking=False)  # as `locks` does


def _interpreter() -> str:
    return "" if getattr(sys, "frozen", False) else sys.executable  # a frozen program would run itself again


@attrs.frozen
class Operations:
    """The operations that are tried; tests pass broken ones.

    Attributes:
        interpreter: The Python that runs the other process, or a script that starts one; empty if none is known.
        program: The program of the other process.
        timeout: How long the other process may run, in seconds.
    """

    create: Callable[[str], int] = _create
    lock: Callable[[int], object] = _lock
    unlock: Callable[[int], object] = unlock_descriptor
    replace: Callable[[str, str], object] = os.replace
    link: Callable[[str, str], object] = os.link
    exists: Callable[[str], bool] = os.path.lexists
    sync: Callable[[int], object] = system.sync
    sync_directory: Callable[[Path], object] = sync_directory
    set_times: Callable[[str, tuple[int, int]], object] = lambda path, times: os.utime(path, ns=times)
    now: Callable[[], int] = time.time_ns
    mount_at: Callable[[int], nfs.Mount | None] = nfs.mount_at
    interpreter: str = attrs.field(factory=_interpreter)
    program: str = PROGRAM
    timeout: float = 60.0


def probe(tree: Tree, operations: Operations | None = None) -> list[Finding]:
    """Try a store's directory, in a new directory among the library's own, which is removed again.

    Returns:
        One finding for each trial, including those that failed or were not possible. If nothing can be written, that
        is the only finding.

    Raises:
        OSError: If the store is read-only.
    """
    tree.refuse_change()
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(_scratch_directory(tree))
        except (OSError, InvalidNameError) as error:
            return [Finding("directory", holds=False, detail=f"nothing can be created in it: {describe(error)}")]
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
        directory = tree.without_syncs().make_own_directory(name)
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
        self._operations = operations
        self._stack = stack
        self._mount: nfs.Mount | None = None

    def run(self) -> Iterator[Finding]:
        """Run the trials, one after another."""
        operations = self._operations
        try:
            other: OtherProcess | NotTriedError = OtherProcess(
                operations.interpreter, self._stack, program=operations.program, timeout=operations.timeout
            )
        except NotTriedError as error:
            other = error
        rename = _try("rename over an open file", partial(self._try_rename, other))
        yield _try("locks between processes", partial(self._try_locks, other))  # which kills the other process
        yield rename
        yield _try("mount", self._check_mount)
        yield _try("sync", self._try_sync)
        yield _try("names", self._try_names)
        yield _try("file modes", self._check_modes)
        yield _try("hard links", self._try_link)
        yield _try("file times", self._check_times)
        yield _try("clock", self._compare_clocks)

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _create(self, name: str, content: bytes = b"") -> str:
        """Create a file in the directory and return its path."""
        path = self._path(name)
        with open(self._operations.create(path), "wb") as file:
            file.write(content)
        return path

    def _open(self, path: str) -> int:
        descriptor = os.open(path, os.O_RDWR | system.BINARY)
        self._stack.callback(os.close, descriptor)
        return descriptor

    def _try_locks(self, other: OtherProcess | NotTriedError) -> tuple[bool, str]:
        if isinstance(other, NotTriedError):
            raise other
        path = self._create("lock")
        descriptor = self._open(path)
        if not self._operations.lock(descriptor):
            return False, "no process gets a free lock"
        if other.call("lock", path):
            return False, "two processes hold a lock at once"
        self._operations.unlock(descriptor)
        if not other.call("lock", path):
            return False, "no process gets a lock that its holder released"
        if self._operations.lock(descriptor):
            return False, "two processes hold a lock at once"
        other.kill()
        deadline = time.monotonic() + _RELEASE_TIMEOUT
        while not self._operations.lock(descriptor):
            if time.monotonic() >= deadline:
                return False, "no process gets a lock whose holder was killed"
            time.sleep(0.001)
        return True, "one process at a time holds a lock, and if it is killed, the next gets the lock at once"

    def _try_rename(self, other: OtherProcess | NotTriedError) -> tuple[bool, str]:
        old, new = _OLD.encode() * _SIZE, _NEW.encode() * _SIZE
        path, temporary = self._create("document", old), self._create("temporary", new)
        with open(path, "rb", buffering=0) as reader:
            start = reader.read(1)
            if isinstance(other, OtherProcess):
                other.call("read_start", path)
            self._operations.replace(temporary, path)
            torn = start + reader.read() != old
        with open(path, "rb") as file:
            stale = file.read() != new
        limit = f"; tried in one process only: {other}"
        if isinstance(other, OtherProcess):
            torn |= other.call("read_rest", path) != [_OLD]
            stale |= other.call("read", path) != [_NEW]
            limit = ""
        if torn:
            return False, f"a reader that has the file open does not read the old content to its end{limit}"
        if stale:
            return False, f"a reader that opens the file afterwards does not read the new content{limit}"
        return True, f"a reader that has the file open reads the old content to its end, later ones the new{limit}"

    def _check_mount(self) -> tuple[bool | None, str]:
        self._mount = mount = self._operations.mount_at(self._open(self._create("mount")))
        if mount is None:
            return None, "this system does not tell how the directory is mounted"
        place = f"{mount.type}, mounted on {mount.point}"
        if options := mount.options & _LOCAL_LOCKS:
            return False, f"{place} with {_listed(options)}: locks hold only between processes of one machine"
        if options := mount.options & _UNSEEN:
            return False, f"{place} with {_listed(options)}: saves by another machine may stay unseen"
        if mount.is_nfs and (options := mount.options & _IMPATIENT):
            return None, f"{place} with {_listed(options)}: operations fail if the server is slow"
        if mount.type.partition(".")[0] in _UNTRIED:
            return None, f"{place}: untested, and one machine cannot tell whether locks hold between machines"
        return True, place

    def _try_sync(self) -> tuple[bool, str]:
        with open(self._operations.create(self._path("synced")), "wb") as file:
            file.write(b"s" * 4096)
            file.flush()  # not closed: on NFS that would sync it already
            started = time.perf_counter()
            self._operations.sync(file.fileno())
        between = time.perf_counter()
        self._operations.sync_directory(self._directory)
        ended = time.perf_counter()
        if self._mount is not None:
            if self._mount.type in _IN_MEMORY:
                return False, f"{self._mount.type} is in memory: a sync does not reach a disk"
            if options := self._mount.options & _UNSYNCED:
                return False, f"mounted with {_listed(options)}: a sync does not reach the disk"
        return True, f"a file takes {(between - started) * 1000:.2g} ms, a directory {(ended - between) * 1000:.2g} ms"

    def _try_names(self) -> tuple[bool, str]:
        faults = []
        for name, twin in _TWINS:
            try:
                self._create(name)
            except (OSError, UnicodeEncodeError) as error:
                faults.append(
                    f"no file can be named {name!a} ({reason_of(error) if isinstance(error, OSError) else error})"
                )
                continue
            if self._operations.exists(self._path(twin)):
                faults.append(f"{name!a} and {twin!a} are one file, not two documents")
            elif name not in os.listdir(self._directory):
                faults.append(f"a file named {name!a} gets another name")
        if faults:
            return False, "; ".join(faults)
        return True, "names that differ in case, Unicode normalisation or a dot at the end are different files"

    def _check_modes(self) -> tuple[bool | None, str]:
        if system.WINDOWS:
            return None, "Windows has access lists instead of modes, and they are not checked"
        mode = os.stat(self._create("private")).st_mode & 0o777
        if mode & 0o077:
            return False, f"a file created for its owner only has mode {mode:04o}: others may read conversations"
        return True, "a file created for its owner only is private"

    def _try_link(self) -> tuple[bool | None, str]:
        path = self._create("linked")
        try:
            self._operations.link(path, self._path("link"))
        except OSError as error:
            risk = "a power cut may lose a file while it is archived or quarantined"
            return None, f"there are none ({reason_of(error)}): {risk}"
        return True, "a file that is archived or quarantined is in one of the two places at any time"

    def _check_times(self) -> tuple[bool | None, str]:
        path = self._create("times")
        with suppress(OSError):
            self._operations.set_times(path, (_PRECISE_TIME, _PRECISE_TIME))
        if revisions.is_marked(os.stat(path), _PRECISE_TIME):
            return True, "they are kept to 100 nanoseconds or better"
        return None, "they are not kept exactly: files that may have changed are read again, which is slower"

    def _compare_clocks(self) -> tuple[bool, str]:
        path = self._create("resolution")
        resolution = _COARSEST_RESOLUTION
        with suppress(OSError):
            self._operations.set_times(path, (_PRECISE_TIME, _PRECISE_TIME))
            kept = os.stat(path).st_mtime_ns
            candidates = (unit for unit in _RESOLUTIONS if _PRECISE_TIME // unit * unit == kept)
            resolution = next(candidates, _COARSEST_RESOLUTION)
        before = self._operations.now()
        stamp = os.stat(self._create("clock", b"c")).st_mtime_ns
        after = self._operations.now()
        if stamp > after + _MAX_SKEW:
            return False, f"the file system's clock is {_seconds(stamp - after)} ahead, which hides changes"
        if stamp < before - resolution - _MAX_SKEW:
            return False, f"the file system's clock is {_seconds(before - stamp)} behind, which hides changes"
        return True, "the file system's clock agrees with this machine's"


def _try(what: str, trial: Trial) -> Finding:
    try:
        holds, detail = trial()
    except NotTriedError as error:
        return Finding(what, holds=None, detail=f"not tried: {error}")
    except OSError as error:
        return Finding(what, holds=False, detail=f"the trial failed: {reason_of(error)}")
    return Finding(what, holds, detail)


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 10**9:.1f} s"


def _listed(options: frozenset[str]) -> str:
    return ", ".join(sorted(options))
