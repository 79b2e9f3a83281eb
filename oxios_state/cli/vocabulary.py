"""The words of the command line: exit codes, and the names of the kinds of problems."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oxios_state import ProblemKind


class Exit(IntEnum):
    """The exit code of a command, for scripts."""

    DONE = 0
    NO = 1
    USAGE = 2
    FAILED = 3
    INTERRUPTED = 130
    BROKEN_PIPE = 141


def kind_name(kind: ProblemKind) -> str:
    """Return the name of a kind as one word."""
    return kind.value.replace(" ", "-")
