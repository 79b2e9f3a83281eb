"""The errors of this package, one tree: `StateError` is the base of them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class StateError(Exception):
    """The base of all errors of this package. Never raised itself."""

    __module__ = "oxios_state"


class InvalidNameError(StateError, ValueError):
    """A category, document name or session id that the store refuses; the message says why.

    Raised before the disk is touched, except for a symbolic link that leads outside the store's directory, and for a
    name that the file system takes for that of another file. Nothing is changed.
    """

    __module__ = "oxios_state"


class CorruptStateError(StateError):
    """A file that cannot be read as the document that it should be. The file is left as it is.

    Attributes:
        path: The file.
        reason: What is wrong, in words.
        line: The line of the fault, counted from 1, where the text itself is malformed; else None.
        column: The column of the fault in characters, counted from 1; None when *line* is.
        json_path: The place of a wrong value in the document, for example ``$.user_messages[0].content``; else None.
    """

    __module__ = "oxios_state"

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

    @property
    def detail(self) -> str:
        """The fault and its place in the file."""
        place = f"line {self.line}, column {self.column}: " if self.line else ""
        place += f"{self.json_path}: " if self.json_path else ""
        return f"{place}{self.reason}"

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


class UnsupportedValueError(StateError, ValueError):
    """A value that the kernel could not read back. Nothing was recorded or written.

    Raised where the value is recorded, as far as it can be checked there, or else by saving.

    Attributes:
        path: The file that was to be saved; None where the value was to be recorded.
        reason: What is wrong, in words, and what to do about it where the value was to be recorded.
        json_path: The place of the value in the document, for example ``$.metadata.scores[3]``, or in the record, for
            example ``$.tool_args.scores[3]``; None for Markdown.
    """

    __module__ = "oxios_state"

    def __init__(self, path: Path | None, reason: str, json_path: str | None = None) -> None:
        super().__init__(path, reason, json_path)
        self.path = path
        self.reason = reason
        self.json_path = json_path

    @property
    def detail(self) -> str:
        """The fault and its place in the document."""
        return f"{self.json_path}: {self.reason}" if self.json_path else self.reason

    def __str__(self) -> str:
        if self.path is None:
            return f"not recorded, {self.detail}"
        return f"not saved, {self.detail}: {self.path}"


class SessionNotFoundError(StateError, LookupError):
    """There is no session of this id for `StateStore.edit_session` to edit."""

    __module__ = "oxios_state"


class SessionConflictError(StateError):
    """The session's file changed since this object was loaded or last saved. Nothing was written.

    Load the session again and repeat the change, or let `StateStore.edit_session` do both under the lock. If the
    session was deleted, for example by a prune, the object still has your work: `StateStore.save_session` saves it.
    """

    __module__ = "oxios_state"


class SessionOwnerError(StateError, PermissionError):
    """The session that `StateStore.get_or_create_session` was asked for belongs to another user."""

    __module__ = "oxios_state"


class LockTimeoutError(StateError, TimeoutError):
    """A category's lock was not free within the timeout; the message says which lock.

    Nothing was written, except by `StateStore.prune`: a note of its error says how many sessions it had removed.
    """

    __module__ = "oxios_state"


class DurabilityError(StateError, OSError):
    """The document is saved and readable, but the directory could not be synced: a power cut could undo the save.

    ``errno``, ``strerror`` and ``filename`` are those of the failed sync.
    """

    __module__ = "oxios_state"


def describe(error: Exception) -> str:
    """Return an error as a text: with its notes, and with its type if an OSError has no errno."""
    text = str(error)
    if isinstance(error, OSError) and not isinstance(error, StateError) and error.errno is None:
        text = reason_of(error)
    return ". ".join([text, *getattr(error, "__notes__", ())])


def reason_of(error: OSError) -> str:
    """Return what went wrong, without the file: the system's text, or else the type and the text of the error.

    An error of a system call has an errno, and a text for it. A program that raises an OSError, such as a FUSE binding,
    may give it any text, or none.
    """
    return error.strerror or ": ".join(filter(None, [type(error).__name__, str(error)]))
