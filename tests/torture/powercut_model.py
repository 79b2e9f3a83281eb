"""Model of the states that a power cut may leave on a file system.

A `Disk` follows the system calls of a program, and gives after each the states that may be found when the power goes
there. What POSIX promises is little: what was fsynced is there, and a rename is there or not.

- ``fsync`` of a file keeps its bytes, not its name; ``fsync`` of a directory keeps the names in it, not what they name.
- A name that was made or removed and not synced is kept or lost, in any order; of two changes to one name the later
  counts. A rename in one directory is one change, one across directories is two.
- Each write that was not synced is lost, cut at half, whole, or there in length alone, as zeros.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from powercut_trace import HARMLESS, Call, UnknownCallError

if TYPE_CHECKING:
    from collections.abc import Iterator

State = tuple[tuple[str, str, bytes | None], ...]
"""Path, the first path of the same file, content (None for a directory): of all that there is, in order."""


class Rule(NamedTuple):
    """The promises of a file system beyond POSIX."""

    name: str
    keeps: str
    data_first: bool = False  # the file of a kept rename or link is whole
    only_replacing: bool = False  # but only if it takes the place of another file
    in_order: bool = False  # names are kept in the order of their changes, as a journal does


POSIX = Rule("POSIX", "nothing (POSIX)")
DATA_FIRST = Rule("data first", "data first", data_first=True)
JOURNAL = Rule("ordered", "data, then names", data_first=True, in_order=True)
EXT4 = Rule("ext4", "as ext4 sets out", data_first=True, only_replacing=True, in_order=True)
RULES = {rule.name: rule for rule in (POSIX, DATA_FIRST, JOURNAL, EXT4)}


@dataclass
class _File:
    durable: bytes = b""
    pending: list[tuple[int, int, bytes | None]] = field(default_factory=list)  # when, where; None truncates there

    def variants(self, whole_before: int) -> list[bytes]:
        """The contents that the file may have if everything written before that moment is on the disk."""
        contents = [self.durable]
        for when, offset, data in self.pending:
            kept = [_written(content, offset, data) for content in contents]
            if when >= whole_before:
                parts = [] if data is None else [data[: len(data) // 2], bytes(len(data))]
                kept += contents + [_written(content, offset, part) for content in contents for part in parts]
            contents = list(dict.fromkeys(kept))
        return contents

    def live(self) -> bytes:
        return self.variants(1 << 62)[0]

    def sync(self, before: int) -> None:
        for _, offset, data in [write for write in self.pending if write[0] < before]:
            self.durable = _written(self.durable, offset, data)
        self.pending = [write for write in self.pending if write[0] >= before]


def _written(content: bytes, offset: int, data: bytes | None) -> bytes:
    if data is None:
        return content[:offset].ljust(offset, b"\0")
    return content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :] if data else content


class _Change(NamedTuple):
    """Of names in one directory: kept as a whole or lost."""

    when: int
    directory: int
    names: dict[str, int | None]
    lands: int | None = None  # the file whose data the rule may put first


class Disk:
    """The disk after a program's calls.

    Args:
        root: The directory, as it was before the program ran: all of that lasts.
        rule: What the file system promises.
    """

    def __init__(self, root: Path, rule: Rule) -> None:
        self._root = str(root)
        self._rule = rule
        self._files: dict[int, _File] = {}
        self._durable: dict[int, dict[str, int]] = {}
        self._live: dict[int, dict[str, int]] = {}
        self._pending: list[_Change] = []
        self._open: dict[int, tuple[int, int]] = {}  # inode and offset, by descriptor
        self._now = 0
        known: dict[int, int] = {}
        self._top = self._load(root, known)

    def _load(self, path: Path, known: dict[int, int]) -> int:
        inode = known.setdefault(path.stat().st_ino, len(known))
        if path.is_dir():
            self._durable[inode] = {child.name: self._load(child, known) for child in sorted(path.iterdir())}
            self._live[inode] = dict(self._durable[inode])
        else:
            self._files[inode] = _File(path.read_bytes())
        return inode

    def apply(self, call: Call) -> bool:
        """Follow a call; say whether it matters to what a power cut leaves."""
        self._now += 1
        name = call.name.removesuffix("at2").removesuffix("at") if call.name not in HARMLESS else call.name
        step = getattr(self, f"_do_{name}", None)
        if step is None and call.name not in HARMLESS:
            raise UnknownCallError(f"{call.name}({call.arguments}) on {call.paths or call.descriptor}")
        return bool(step(call)) if step else False

    def live(self) -> State:
        """The state that the program itself sees."""
        return next(self._trees(self._live, dict.fromkeys(self._files, 1 << 62)))

    def states(self) -> Iterator[State]:
        """Yield each state that a power cut may leave now, some more than once."""
        for kept in self._choices():
            entries = {directory: dict(names) for directory, names in self._durable.items()}
            whole: dict[int, int] = {}
            for change in kept:
                _change(entries, change)
                if change.lands is not None:
                    whole[change.lands] = change.when
            yield from self._trees(entries, whole)

    def _choices(self) -> Iterator[tuple[_Change, ...]]:
        if self._rule.in_order:
            for moment in sorted({0, *(change.when for change in self._pending)}):
                yield tuple(change for change in self._pending if change.when <= moment)
            return
        if len(self._pending) > 16:
            raise UnknownCallError(f"too many changes to try all subsets: {self._pending}")
        for size in range(len(self._pending) + 1):
            yield from combinations(self._pending, size)

    def _trees(self, entries: dict[int, dict[str, int]], whole: dict[int, int]) -> Iterator[State]:
        found: list[tuple[str, int]] = []
        directories = [("", self._top)]
        for path, directory in directories:
            for name, inode in entries.get(directory, {}).items():
                (directories if inode in self._durable else found).append((posixpath.join(path, name), inode))
        first = {inode: path for path, inode in sorted(found, reverse=True)}
        made = [(path, path, None) for path, _ in directories[1:]]
        for contents in product(*(self._files[inode].variants(whole.get(inode, 0)) for inode in first)):
            held = dict(zip(first, contents, strict=True))
            yield tuple(sorted([*made, *((path, first[inode], held[inode]) for path, inode in found)]))

    def _find(self, path: str) -> tuple[int, str, int | None]:
        """Return the directory, the name in it, and the inode if the name exists."""
        if path == self._root:
            return -1, "", self._top
        if not path.startswith(f"{self._root}/"):
            raise UnknownCallError(f"between the store and elsewhere: {path}")
        *parents, name = path.removeprefix(f"{self._root}/").split("/")
        directory = self._top
        for parent in parents:
            directory = self._live[directory][parent]
        return directory, name, self._live[directory].get(name)

    def _alter(self, directory: int, names: dict[str, int | None], lands: int | None = None) -> bool:
        change = _Change(self._now, directory, names, lands)
        _change(self._live, change)
        self._pending.append(change)
        return True

    def _lands(self, inode: int, replaced: int | None) -> int | None:
        first = self._rule.data_first and (replaced is not None or not self._rule.only_replacing)
        return inode if first and inode in self._files else None

    def _do_mark(self, _: Call) -> bool:
        return True

    def _do_open(self, call: Call) -> bool:
        if re.search("O_SYNC|O_DSYNC|O_TMPFILE|O_DIRECT\\b", call.arguments):
            raise UnknownCallError(f"{call.name} with {call.arguments}")
        directory, name, inode = self._find(call.paths[0])
        created = inode is None
        if inode is None:
            inode = 1 + max([*self._files, *self._durable])
            self._files[inode] = _File()
            self._alter(directory, {name: inode})
        elif "O_TRUNC" in call.arguments:
            self._files[inode].pending.append((self._now, 0, None))
        self._open[call.result] = inode, -1 if "O_APPEND" in call.arguments else 0
        return created or "O_TRUNC" in call.arguments

    def _do_mkdir(self, call: Call) -> bool:
        directory, name, _ = self._find(call.paths[0])
        inode = 1 + max([*self._files, *self._durable])
        self._durable[inode], self._live[inode] = {}, {}
        return self._alter(directory, {name: inode})

    def _do_unlink(self, call: Call) -> bool:
        directory, name, _ = self._find(call.paths[0])
        return self._alter(directory, {name: None})

    _do_rmdir = _do_unlink

    def _do_link(self, call: Call) -> bool:
        inode = self._find(call.paths[0])[2]
        directory, name, _ = self._find(call.paths[1])
        assert inode is not None
        return self._alter(directory, {name: inode}, self._lands(inode, None))

    def _do_rename(self, call: Call) -> bool:
        if "RENAME_EXCHANGE" in call.arguments:
            raise UnknownCallError(call.arguments)
        (source, old, inode), (target, new, replaced) = self._find(call.paths[0]), self._find(call.paths[1])
        assert inode is not None
        if inode == replaced:
            return False  # POSIX: two names of one file stay
        if source == target:
            return self._alter(source, {old: None, new: inode}, self._lands(inode, replaced))
        self._alter(target, {new: inode}, self._lands(inode, replaced))
        return self._alter(source, {old: None})

    def _do_write(self, call: Call) -> bool:
        inode, offset = self._open[call.descriptor]
        if offset < 0:
            raise UnknownCallError(f"appended: {call.data[:80]!r}")
        self._files[inode].pending.append((self._now, offset, call.data[: call.result]))
        self._open[call.descriptor] = inode, offset + call.result
        return True

    _do_writev = _do_write

    def _do_ftruncate(self, call: Call) -> bool:
        inode, _ = self._open[call.descriptor]
        self._files[inode].pending.append((self._now, int(call.arguments.rpartition(",")[2]), None))
        return True

    def _do_fsync(self, call: Call) -> bool:
        inode, _ = self._open[call.descriptor]
        if inode in self._files:
            self._files[inode].sync(self._now)
            return True
        for change in [change for change in self._pending if self._rule.in_order or change.directory == inode]:
            _change(self._durable, change)
            self._pending.remove(change)
            if change.lands is not None:
                self._files[change.lands].sync(change.when)
        return True

    _do_fdatasync = _do_fsync

    def _do_lseek(self, call: Call) -> bool:
        self._open[call.descriptor] = self._open[call.descriptor][0], call.result
        return False

    def _do_read(self, call: Call) -> bool:
        inode, offset = self._open[call.descriptor]
        self._open[call.descriptor] = inode, offset + call.result
        return False

    def _do_close(self, call: Call) -> bool:
        del self._open[call.descriptor]
        return False

    def _do_ioctl(self, call: Call) -> bool:
        if "FIOCLEX" not in call.arguments and "TCGETS" not in call.arguments:
            raise UnknownCallError(call.arguments)
        return False

    def _do_fcntl(self, call: Call) -> bool:
        if "F_GET" not in call.arguments and "F_SETFD" not in call.arguments and "F_SETLK" not in call.arguments:
            raise UnknownCallError(call.arguments)
        return False


def _change(entries: dict[int, dict[str, int]], change: _Change) -> None:
    names = entries[change.directory]
    for name, inode in change.names.items():
        names.pop(name, None)
        if inode is not None:
            names[name] = inode


def scan(root: Path) -> State:
    """Describe a directory as it is."""
    first: dict[int, str] = {}
    found = []
    for path in sorted(root.rglob("*"), key=str):
        name = str(path.relative_to(root))
        original = first.setdefault(path.stat().st_ino, name)
        found.append((name, original, None if path.is_dir() else path.read_bytes()))
    return tuple(sorted(found))


def build(state: State, root: Path) -> None:
    """Make the directory that a state describes."""
    root.mkdir()
    for path, first, content in state:
        if content is None:
            os.mkdir(root / path, 0o700)
        elif path == first:
            descriptor = os.open(root / path, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(descriptor, content)
            os.close(descriptor)
        else:
            os.link(root / first, root / path)
