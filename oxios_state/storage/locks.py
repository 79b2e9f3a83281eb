"""One lock per category: a fair queue for the threads of a process, a file lock between processes.

The file lock is filelock's `lock_descriptor`: the operating system's own lock (flock on POSIX), which ends with its
process, however that dies, and never becomes a soft lock. The lock file holds nothing and is never removed.

Two files stand for one lock. A process that wants ``<category>.lock`` must first hold ``<category>.turn``, and gives
that back once it has the other: so a process that releases the lock and wants it again at once comes after the one that
waits, and only one process at a time waits for the lock itself.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from filelock import lock_descriptor, unlock_descriptor

from oxios_state.errors import LockTimeoutError
from oxios_state.storage import forks as forking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_POLL = 0.001  # seconds between two tries for a file lock that another process holds
_LONGEST_STEM = 250  # bytes: leaves room for the extension in a file name of 255
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}
_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)


_threads = threading.local()


def _this_thread() -> object:
    """Give what stands for this thread. Its identity does not: that of a dead thread is used again."""
    try:
        token: object = _threads.token
    except AttributeError:
        token = _threads.token = object()
    return token


class _Lock:
    """A category's lock in this process, whatever stores and threads share it.

    Threads queue first come, first served. Each waits for a lock of its own; the one that releases makes that lock the
    owner before it wakes the thread, so that no third thread slips in between.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.owner: object = None
        self.depth = 0
        self.descriptor = -1
        self._waiting: deque[threading.Lock] = deque()
        # Guards owner and _waiting; re-entrant for a signal handler, which runs in the thread that it interrupts.
        self._state = threading.RLock()

    def is_mine(self) -> bool:
        return self.owner is _this_thread()

    def wait_for_turn(self, timeout: float) -> bool:
        """Become the owner in this process; False if that took longer than *timeout* seconds."""
        woken = threading.Lock()
        woken.acquire()
        try:
            with self._state:
                if self.owner is None:
                    self.owner = _this_thread()
                    return True
                self._waiting.append(woken)
            if not woken.acquire(timeout=max(timeout, 0)) and self._withdraw(woken):
                return False
            self.owner = _this_thread()
            return True
        except BaseException:  # an interrupt: the place in the queue must not stay behind
            if not self._withdraw(woken) and (self.owner is woken or self.is_mine()):
                self.pass_on()
            raise

    def _withdraw(self, woken: threading.Lock) -> bool:
        with self._state:
            if woken in self._waiting:
                self._waiting.remove(woken)
                return True
            return False

    def pass_on(self) -> None:
        """Hand the lock to the thread that has waited longest, or leave it free."""
        with self._state:
            woken = self._waiting.popleft() if self._waiting else None
            self.owner = woken
            if woken is not None:
                woken.release()


class _Process:
    """What the threads of one process share."""

    def __init__(self) -> None:
        self.guard = threading.RLock()  # guards the two below, also across a fork
        self.locks: WeakValueDictionary[tuple[int, int], _Lock] = WeakValueDictionary()  # by device and inode
        self.descriptors: set[int] = set()  # those open on lock files

    def lock_of(self, descriptor: int, path: str) -> _Lock:
        """Give the one lock for the lock file that *descriptor* is open on; closed if that fails."""
        try:
            status = os.fstat(descriptor)
        except OSError as error:
            self.close(descriptor)
            raise OSError(error.errno, error.strerror, path) from error
        with self.guard:
            lock = self.locks.get((status.st_dev, status.st_ino))
            if lock is None:
                lock = self.locks[status.st_dev, status.st_ino] = _Lock()
            return lock

    def open(self, path: str) -> int:
        with self.guard:
            descriptor = os.open(path, _OPEN_FLAGS, 0o600)
            self.descriptors.add(descriptor)
            return descriptor

    def close(self, descriptor: int) -> None:
        with self.guard:
            self.descriptors.discard(descriptor)
            os.close(descriptor)

    def hold_still(self) -> None:
        self.guard.acquire()

    def go_on(self) -> None:
        self.guard.release()

    def start_afresh(self) -> None:
        """Forget, in a forked child, the parent's locks, which a thread that is not here may hold for ever.

        A descriptor that both processes have would keep a lock after the parent's death, so the child closes its own.
        """
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.guard, self.locks, self.descriptors = threading.RLock(), WeakValueDictionary(), set()


_process = _Process()
forking.at_fork(
    before=_process.hold_still,
    after_in_parent=_process.go_on,
    after_in_child=_process.start_afresh,
)


@contextmanager
def hold(directory: Path, category: str, timeout: float) -> Iterator[bool]:
    """Hold the lock of *category*, whose files are in *directory*; re-entrant in a thread, where it then gives False.

    Args:
        directory: An existing directory. The lock is shared by all who name the same one, by whatever path.
        category: The category, of any length.
        timeout: How long to wait, in seconds, for the threads of this process and for other processes together.

    Raises:
        LockTimeoutError: If the lock was not free in time.
        OSError: If a lock file cannot be opened, or the file system has no locks.
    """
    lock = _acquire(directory, category, timeout)
    try:
        yield lock.depth == 1
    finally:
        depth = lock.depth
        try:
            _release(lock)
        except KeyboardInterrupt:
            if lock.is_mine() and lock.depth == depth:  # it came before anything was done
                _release(lock)
            raise


def _acquire(directory: Path, category: str, timeout: float) -> _Lock:
    deadline = time.monotonic() + timeout
    stem = os.path.join(directory, _stem(category))
    descriptor = _process.open(f"{stem}.lock")
    lock = _process.lock_of(descriptor, f"{stem}.lock")
    if lock.is_mine():
        _process.close(descriptor)
        if not lock.depth:  # a signal handler, while what it interrupted takes the lock or gives it back
            raise LockTimeoutError(f"the lock of category {category!r} is being taken by this thread: {stem}.lock")
        lock.depth += 1
        return lock
    try:
        if not (lock.wait_for_turn(deadline - time.monotonic()) and _wait_for_processes(stem, descriptor, deadline)):
            raise LockTimeoutError(f"the lock of category {category!r} was not free within {timeout:g} s: {stem}.lock")
        lock.depth, lock.descriptor = 1, descriptor
        return lock
    except BaseException:  # also an interrupt
        _process.close(descriptor)
        if lock.is_mine():
            lock.pass_on()
        raise


def _release(lock: _Lock) -> None:
    if lock.pid != os.getpid():
        return  # forked inside the block: the lock is the parent's, and this process gave up its descriptor
    lock.depth -= 1
    if lock.depth:
        return
    descriptor, lock.descriptor = lock.descriptor, -1
    try:
        _unlock(descriptor)
    finally:
        try:
            _process.close(descriptor)
        finally:
            lock.pass_on()


def _wait_for_processes(stem: str, descriptor: int, deadline: float) -> bool:
    turn = _process.open(f"{stem}.turn")
    try:
        if not _wait_for_file(turn, f"{stem}.turn", deadline):
            return False
        try:
            return _wait_for_file(descriptor, f"{stem}.lock", deadline)
        finally:
            _unlock(turn)
    finally:
        _process.close(turn)


def _wait_for_file(descriptor: int, path: str, deadline: float) -> bool:
    while not try_lock(descriptor, path):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        time.sleep(min(_POLL, remaining))
    return True


def try_lock(descriptor: int, path: str) -> bool:
    """Lock an open file for this descriptor unless another has the lock; say whether it has it now.

    Raises:
        OSError: If the system cannot lock it; with its *path*.
    """
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            reason = "the file system has no file locks, and a store is not safe without them"
            raise OSError(error.errno, reason, path) from error
        raise OSError(error.errno, error.strerror, path) from error


def _unlock(descriptor: int) -> None:
    with suppress(OSError):  # what was done under the lock is done, and closing the descriptor gives the lock back too
        unlock_descriptor(descriptor)


def _stem(category: str) -> str:
    stem = category.replace("%", "%25").replace("/", "%2F")
    return stem if len(stem.encode()) <= _LONGEST_STEM else blake2b(stem.encode(), digest_size=32).hexdigest()
