"""What can go wrong, as one tree: `StateError` is the base of every error that this package defines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class StateError(Exception):
    """Base of all errors of this package. Never raised itself."""


class InvalidNameError(StateError, ValueError):
    """A category, document name or session id that the store refuses; the message says why.

    Raised before the disk is touched, but for a symbolic link that leads outside the store's directory, and for what
    would change a file of another name, where the file system takes the two for one. Nothing is changed then.
    """


class CorruptStateError(StateError):
    """A file that is there and cannot be read as what it should be. The file is left as it is.

    Attributes:
        path: The file.
        reason: What is wrong, in words.
        line: The line of the fault, counted from 1, where the text itself is malformed; else None.
        column: The column of the fault in characters, counted from 1; None when *line* is.
        json_path: Where in the document a value is wrong, for example ``$.user_messages[0].content``; else None.
    """

    def __init__(
        self,
        path: Path,
        reason: str,
        line: int | None = None,
        column: int | None = None,
        json_path: str | None = None,
    ) -> None:
        super().__init__(path, reason, line, column, json_path)
        self.path = path
        self.reason = reason
        self.line = line
        self.column = column
        self.json_path = json_path

    def __str__(self) -> str:
        where = f"line {self.line}, column {self.column}: " if self.line else ""
        where += f"{self.json_path}: " if self.json_path else ""
        return f"{self.path}: {where}{self.reason}"


class UnsupportedValueError(StateError, ValueError):
    """A value that was to be saved and that the kernel could not read back. Nothing was written.

    Attributes:
        path: The file that was to be saved.
        reason: What is wrong, in words.
        json_path: Where in the document the value is, for example ``$.metadata.scores[3]``; None for markdown.
    """

    def __init__(self, path: Path, reason: str, json_path: str | None = None) -> None:
        super().__init__(path, reason, json_path)
        self.path = path
        self.reason = reason
        self.json_path = json_path

    def __str__(self) -> str:
        where = f"{self.json_path}: " if self.json_path else ""
        return f"not saved, {where}{self.reason}: {self.path}"


class SessionNotFoundError(StateError, LookupError):
    """`StateStore.edit_session` was asked for a session that is not there."""


class SessionConflictError(StateError):
    """The session's file is no longer what this object was loaded from or last saved as. Nothing was written.

    Load the session again and repeat the change, or let `StateStore.edit_session` do both under the lock.
    """


class SessionOwnerError(StateError, PermissionError):
    """`StateStore.get_or_create_session` was asked for a session that belongs to another user."""


class LockTimeoutError(StateError, TimeoutError):
    """A category's lock was not free within the time-out; the message says which lock.

    Nothing was written, but for `StateStore.prune`, whose error has a note of how many sessions it had removed.
    """


class DurabilityError(StateError, OSError):
    """The document is saved and readable, but the directory could not be synced: a power cut could undo the save.

    ``errno``, ``strerror`` and ``filename`` are those of the failed sync.
    """
