"""One lock per category: a fair queue for the threads of a process, a file lock between processes.

The file lock is filelock's `lock_descriptor`: the operating system's own lock (flock on POSIX), which ends with its
process, however that dies, and never becomes a soft lock. The lock file is empty and is never removed.

Two files make one lock. A process that wants ``<category>.lock`` must first hold ``<category>.turn``, and releases that
once it has the other: so a process that releases the lock and wants it again at once queues behind one that waits, and
only one process at a time waits for the lock itself.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from filelock import lock_descriptor, unlock_descriptor

from oxios_state.errors import LockTimeoutError
from oxios_state.storage import forks, names, nfs, system
from oxios_state.storage.aliases import Aliases
from oxios_state.storage.tree import naming

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from oxios_state.storage.tree import Tree

_POLL = 0.001  # seconds between two tries for a file lock that another process holds
_MAX_STEM = 250  # bytes: leaves room for the extension in a file name of 255
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}
_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | system.NO_LINK


_threads = threading.local()


def _this_thread() -> object:
    """Return an object that stands for this thread; the identifier of a dead thread would be reused."""
    try:
        token: object = _threads.token
    except AttributeError:
        token = _threads.token = object()
    return token


class _Lock:
    """A category's lock in this process, shared by all stores and threads.

    Threads queue first come, first served. Each waits for a lock of its own; the thread that releases makes that lock
    the owner before it wakes the waiting thread, so that no third thread slips in between.
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
        """Become the owner in this process; return False if that took longer than *timeout* seconds."""
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
        except BaseException:  # an interrupt: give up the place in the queue
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
    """The locks of this process, which its threads share."""

    def __init__(self) -> None:
        self.guard = threading.RLock()  # guards the two below, also across a fork
        self.locks: WeakValueDictionary[tuple[int, int], _Lock] = WeakValueDictionary()  # by device and inode
        self.descriptors: set[int] = set()  # those open on lock files

    def lock_of(self, descriptor: int, path: str) -> _Lock:
        """Return the one lock for an open lock file; close the descriptor if that fails."""
        try:
            with naming(path):
                status = os.fstat(descriptor)
        except OSError:
            self.close(descriptor)
            raise
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

    def acquire_guard(self) -> None:
        self.guard.acquire()

    def release_guard(self) -> None:
        self.guard.release()

    def reset(self) -> None:
        """Forget, in a forked child, the locks of the parent: their holders do not exist here.

        A descriptor in both processes would keep a lock after the parent's death, so the child closes its own.
        """
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.guard, self.locks, self.descriptors = threading.RLock(), WeakValueDictionary(), set()


_process = _Process()
forks.at_fork(
    before=_process.acquire_guard,
    after_in_parent=_process.release_guard,
    after_in_child=_process.reset,
)


@contextmanager
def hold(directory: Path, category: str, timeout: float) -> Iterator[bool]:
    """Hold the lock of a category in the block. Re-entrant in a thread.

    Yields whether the thread has just acquired the lock; False if it held it already.

    Args:
        directory: The existing directory of the lock files. Any two paths of one directory share the lock.
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
            if lock.is_mine() and lock.depth == depth:  # the interrupt came before anything was released
                _release(lock)
            raise


def _acquire(directory: Path, category: str, timeout: float) -> _Lock:
    deadline = time.monotonic() + timeout
    stem = os.path.join(directory, _stem(category))
    descriptor = _process.open(f"{stem}.lock")
    lock = _process.lock_of(descriptor, f"{stem}.lock")
    if lock.is_mine():
        _process.close(descriptor)
        if not lock.depth:  # in a signal handler, which interrupted the taking or the release of this lock
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
        return  # forked inside the block: the lock is the parent's, and this process closed its descriptor
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
    """Lock an open file for this descriptor, unless another has the lock, and return whether it is locked now.

    Raises:
        OSError: If the system cannot lock it; with its *path*.
    """
    with naming(path):
        try:
            return lock_descriptor(descriptor, blocking=False)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                reason = "the file system has no file locks, and a store is not safe without them"
                raise OSError(error.errno, reason) from error
            raise


def _unlock(descriptor: int) -> None:
    with suppress(OSError):  # closing the descriptor releases the lock too
        unlock_descriptor(descriptor)


def _stem(category: str) -> str:
    stem = category.replace("%", "%25").replace("/", "%2F")
    return stem if len(stem.encode()) <= _MAX_STEM else blake2b(stem.encode(), digest_size=32).hexdigest()


class CategoryLocks:
    """The locks of one store's categories.

    Args:
        tree: The directories of the store.
        timeout: How long to wait for a lock, in seconds.
    """

    def __init__(self, tree: Tree, timeout: float) -> None:
        self._tree = tree
        self._timeout = timeout
        self._aliases = Aliases(tree)
        self.refuse_alias = self._aliases.refuse_document
        """Refuses a document's path that is an alias of another file: see `Aliases.refuse_document`."""

    @contextmanager
    def hold(self, category: str, timeout: float | None = None) -> Iterator[None]:
        """Hold a category's lock in the block. Re-entrant in a thread.

        Args:
            category: The category.
            timeout: How long to wait, in seconds; by default that of the store.

        Raises:
            InvalidNameError: If *category* is not allowed, or is an alias of another.
            LockTimeoutError: If the lock was not free in time.
        """
        names.check_category(category)
        self._tree.refuse_change()
        directory = self._tree.make_own_directory("locks")
        wait = self._timeout if timeout is None else timeout
        with hold(directory, self._tree.real_category(category), wait) as acquired:
            if not acquired:
                yield
                return
            self._aliases.refuse_category(category)
            with self._tree.open(category) as opened, nfs.in_step(opened.path):
                yield

    @contextmanager
    def hold_all(self, *categories: str) -> Iterator[None]:
        """Hold the locks of several categories in the block."""
        with ExitStack() as stack:
            # In the order of their names, so that no two holders wait for each other. A category that is a link has
            # the lock of the category that it leads to.
            for category in sorted(set(categories), key=self._tree.real_category):
                stack.enter_context(self.hold(category))
            yield

    @contextmanager
    def hold_for(self, path: Path, moved: Path) -> Iterator[None]:
        """Hold the lock of the category of *path* and, if the *moved* file is a category's directory, its own."""
        directories = [path.parent, path] if moved.is_dir() and not moved.is_symlink() else [path.parent]
        categories = [directory.relative_to(self._tree.base).as_posix() for directory in directories]
        with self.hold_all(*filter(names.is_category, categories)):  # a name that no method accepts has no lock
            yield
