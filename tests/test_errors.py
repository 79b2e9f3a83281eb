"""The errors: their texts, their bases and their attributes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from oxios_state import (
    CorruptStateError,
    DurabilityError,
    InvalidNameError,
    LockTimeoutError,
    SessionConflictError,
    SessionNotFoundError,
    SessionOwnerError,
    StateError,
    UnsupportedValueError,
)
from oxios_state.errors import describe

FILE = Path("base/sessions/s.json")
ERRORS: list[tuple[StateError, type[Exception], str]] = [
    (InvalidNameError("name '' is empty"), ValueError, "name '' is empty"),
    (CorruptStateError(FILE, "bad"), StateError, f"{FILE}: bad"),
    (CorruptStateError(FILE, "bad", 2, 3), StateError, f"{FILE}: line 2, column 3: bad"),
    (CorruptStateError(FILE, "bad", json_path="$.id"), StateError, f"{FILE}: $.id: bad"),
    (UnsupportedValueError(FILE, "bad"), ValueError, f"not saved, bad: {FILE}"),
    (UnsupportedValueError(FILE, "bad", "$.a[0]"), ValueError, f"not saved, $.a[0]: bad: {FILE}"),
    (SessionNotFoundError("no session"), LookupError, "no session"),
    (SessionConflictError("changed"), StateError, "changed"),
    (SessionOwnerError("somebody else's"), PermissionError, "somebody else's"),
    (LockTimeoutError("sessions"), TimeoutError, "sessions"),
    (DurabilityError(5, "I/O error", "dir"), OSError, "[Errno 5] I/O error: 'dir'"),
]


@pytest.mark.parametrize(("error", "base", "message"), ERRORS)
def test_an_error_says_what_is_wrong_and_survives_pickling_and_copying(
    error: StateError, base: type[Exception], message: str
) -> None:
    assert isinstance(error, StateError)
    assert isinstance(error, base)
    pickles = [pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for twin in (error, *pickles, copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert str(twin) == message
        assert vars(twin) == vars(error)
        assert twin.args == error.args


def test_an_error_says_where_in_its_attributes() -> None:
    corrupt = CorruptStateError(FILE, "bad", 2, 3)
    assert (corrupt.path, corrupt.reason, corrupt.line, corrupt.column, corrupt.json_path) == (FILE, "bad", 2, 3, None)
    unsupported = UnsupportedValueError(FILE, "bad", "$.a")
    assert (unsupported.path, unsupported.reason, unsupported.json_path) == (FILE, "bad", "$.a")
    assert (corrupt.detail, unsupported.detail) == ("line 2, column 3: bad", "$.a: bad")
    durability = DurabilityError(5, "I/O error", "dir")
    assert (durability.errno, durability.strerror, durability.filename) == (5, "I/O error", "dir")


class ProgramError(OSError):
    """An error of a program, as a FUSE binding may raise it: without an errno."""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(2, "No such file", "a"), "[Errno 2] No such file: 'a'"),
        (ProgramError("out of order"), "ProgramError: out of order"),
        (ProgramError(), "ProgramError"),
        (DurabilityError("a is saved"), "a is saved"),
        (CorruptStateError(FILE, "bad"), f"{FILE}: bad"),
    ],
)
def test_a_description_has_what_the_text_of_an_error_leaves_out(error: Exception, text: str) -> None:
    assert describe(error) == text
    error.add_note("not saved: a")
    assert describe(error) == f"{text}. not saved: a"
