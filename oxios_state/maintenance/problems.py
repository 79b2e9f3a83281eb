"""The results of maintenance: problems of files, findings of probes, and entries of the quarantine."""

import os
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Protocol

import attrs


class ProblemKind(Enum):
    """The kind of a problem that `StateStore.check` found."""

    __module__ = "oxios_state"

    CORRUPT = "corrupt"
    MISNAMED = "misnamed"
    UNSAFE = "unsafe"
    NOT_A_FILE = "not a file"
    LINK = "link"
    UNREADABLE = "unreadable"
    ORPHAN = "orphan"
    NAME = "name"
    PORTABILITY = "portability"
    FILE_SYSTEM = "file system"

    @property
    def remedy(self) -> str:
        """The advice for a problem of this kind."""
        return _REMEDIES[self]


# A script may follow a remedy blindly: none of them overwrites, removes or publishes anything that is still wanted.
_REMEDIES = {
    ProblemKind.CORRUPT: "mend it by hand, or quarantine it",
    ProblemKind.MISNAMED: "quarantine it, or rename it to the id in it while no file has that name",
    ProblemKind.UNSAFE: "mend its text by hand: a load and save may drop digits or values that are in it",
    ProblemKind.NOT_A_FILE: "quarantine it, with all that is in it",
    ProblemKind.LINK: "quarantine the link: what it leads to stays where it is",
    ProblemKind.UNREADABLE: "leave it, and mend the cause that the system names",
    ProblemKind.ORPHAN: "sweep() or oxios-state check --sweep removes it: its writer died before the save was done",
    ProblemKind.NAME: "quarantine it, or rename it to an allowed name that no file has: this library refuses the name",
    ProblemKind.PORTABILITY: "leave it; before the directory goes to such a system, give it (and a session's id) a "
    "name that no file has",
    ProblemKind.FILE_SYSTEM: "end what uses the directory, then move the directory to a file system that has this, or "
    "mount this one so that it does",
}


def _remedy_of_kind(problem: "Problem") -> str:
    return problem.kind.remedy


@attrs.frozen
class Problem:
    """A problem that `StateStore.check` found.

    Attributes:
        kind: Its kind; ``kind.remedy`` is safe for every problem of the kind.
        path: The file or directory.
        reason: What is wrong with it, and where in it: line and column, or the JSON path of a value.
        remedy: What you can do about it, safe even for a script that follows it blindly. By default that of the kind.
    """

    __module__ = "oxios_state"

    kind: ProblemKind
    path: Path
    reason: str
    remedy: str = attrs.field(default=attrs.Factory(_remedy_of_kind, takes_self=True), eq=False)

    def __str__(self) -> str:
        return f"{self.path}: {self.reason} ({self.remedy})"


_WORDS = {True: "yes", False: "no", None: "note"}


@attrs.frozen
class Finding:
    """The result of one trial of `StateStore.probe`.

    Attributes:
        what: What was tried.
        holds: Whether it is as it should be; None if it could not be tried, or is only good to know.
        detail: What was observed.
    """

    __module__ = "oxios_state"

    what: str
    holds: bool | None
    detail: str

    def __str__(self) -> str:
        return f"{self.what}: {_WORDS[self.holds]}, {self.detail}"

    def problem(self, base: Path) -> Problem | None:
        """Return the problem of the directory *base* that this finding shows; None if it shows none."""
        if self.holds is False:
            return Problem(ProblemKind.FILE_SYSTEM, base, f"{self.what}: {self.detail}")
        return None


@attrs.frozen
class Quarantined:
    """A file in quarantine.

    Attributes:
        path: Its former place, where `Quarantine.restore` puts it back.
        content: Where it is now.
        reason: What was wrong with it, and where in it.
        since: When it was moved here, or first copied.
    """

    __module__ = "oxios_state"

    path: Path
    content: Path
    reason: str
    since: datetime


class _Entries(Protocol):
    """The keeper of a quarantine's entries: `oxios_state.maintenance.quarantine`, which is imported late."""

    base: Path

    def add(self, problem: Problem) -> Quarantined | None: ...
    def entries(self) -> list[Quarantined]: ...
    def restore(self, entry: Quarantined) -> None: ...
    def discard(self, entry: Quarantined) -> bool: ...


_REPR_ENTRIES = 20
_REPR_REASON = 120  # characters


class Quarantine:
    """The quarantine of a store: a collection of the files that were moved out of the way, or copied before a save.

    `StateStore.quarantine` returns it. Iterating yields the entries as `Quarantined`, the oldest first, with those of
    earlier processes; ``len`` is their number. An entry with an unreadable reason is left out, with a warning in the
    log ``oxios_state``. Of files with equal bytes from the same path, one is kept.

    Entries stay until you discard them. They may be the only copy of a file, and they outlive the deletion of the
    document or session that they come from.

    Example:
        >>> from oxios_state import StateStore
        >>> store = StateStore("~/oxios")
        >>> for problem in store.check():
        ...     entry = store.quarantine.add(problem)
        >>> for entry in store.quarantine:
        ...     print(entry.path, entry.reason)
    """

    __module__ = "oxios_state"

    def __init__(self, entries: _Entries) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[Quarantined]:
        return iter(self._entries.entries())

    def __len__(self) -> int:
        return len(self._entries.entries())

    def __repr__(self) -> str:
        base = repr(str(self._entries.base))
        try:
            entries = self._entries.entries()
        except (OSError, ValueError) as error:
            return f"<Quarantine of {base}: {error!r}>"
        lines = [f"<Quarantine of {base}: {len(entries)} {'entry' if len(entries) == 1 else 'entries'}>"]
        for entry in islice(entries, _REPR_ENTRIES):
            path = str(entry.path).removeprefix(f"{self._entries.base}{os.sep}")
            reason = entry.reason if len(entry.reason) <= _REPR_REASON else f"{entry.reason[:_REPR_REASON]}..."
            lines.append(f"  {entry.since:%Y-%m-%d %H:%M:%S}Z {str(path)!r}: {reason!r}")
        if len(entries) > _REPR_ENTRIES:
            lines.append(f"  and {len(entries) - _REPR_ENTRIES} more")
        return "\n".join(lines)

    def add(self, problem: Problem) -> Quarantined | None:
        """Move a file that `StateStore.check` found out of the way, under the lock of its category.

        Its content is kept. Earlier entries of the same path with equal bytes are discarded.

        Returns:
            The entry, for `restore`; None if the file is gone, or no longer has the problem, and nothing was moved.

        Raises:
            ValueError: If the problem belongs to another store, or to the file system.
            OSError: If the file cannot be moved; it stays where it was.
            LockTimeoutError: If the category's lock was not free in time.
        """
        return self._entries.add(problem)

    def restore(self, entry: Quarantined) -> None:
        """Put a file from quarantine back in its place, under the lock of its category.

        Raises:
            FileExistsError: If there is a file in its place again.
            FileNotFoundError: If it is no longer in quarantine.
            DurabilityError: If it is restored, but a power cut could leave it in quarantine too.
            ValueError: If it belongs to another store, or its place is not in a category.
            LockTimeoutError: If the category's lock was not free in time.
        """
        self._entries.restore(entry)

    def discard(self, entry: Quarantined) -> bool:
        """Remove a file from quarantine for good, under the lock of its category.

        Returns:
            Whether it was there.

        Raises:
            ValueError: If it belongs to another store.
            DurabilityError: If it is removed, but a power cut could undo that.
            LockTimeoutError: If the category's lock was not free in time.
        """
        return self._entries.discard(entry)
