"""The results of maintenance: problems of files, findings of probes, and entries of the quarantine."""

from datetime import datetime
from enum import Enum
from pathlib import Path

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


_REMEDIES = {
    ProblemKind.CORRUPT: "mend it by hand, or quarantine it",
    ProblemKind.MISNAMED: "rename the file to match the id in it, or quarantine it",
    ProblemKind.UNSAFE: "load it, change the value and save it: the kernel would refuse it, or read another value",
    ProblemKind.NOT_A_FILE: "move it away, or quarantine it",
    ProblemKind.LINK: "replace the link with the file itself, or quarantine the link",
    ProblemKind.UNREADABLE: "give yourself permission to read it",
    ProblemKind.ORPHAN: "let the next prune remove it, or quarantine it: its writer died before the save was done",
    ProblemKind.NAME: "rename it, or quarantine it: this library refuses the name",
    ProblemKind.PORTABILITY: "rename it before the directory goes to such a system",
    ProblemKind.FILE_SYSTEM: "move the directory to a file system that has this, or mount this one so that it does",
}


@attrs.frozen
class Problem:
    """A problem that `StateStore.check` found.

    Attributes:
        kind: Its kind; ``kind.remedy`` is what you can do about it.
        path: The file or directory.
        reason: What is wrong with it, and where in it: line and column, or the JSON path of a value.
    """

    __module__ = "oxios_state"

    kind: ProblemKind
    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason} ({self.kind.remedy})"


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
        path: Its former place, where `StateStore.restore` puts it back.
        content: Where it is now.
        reason: What was wrong with it, and where in it.
        since: When it was moved here.
    """

    __module__ = "oxios_state"

    path: Path
    content: Path
    reason: str
    since: datetime
