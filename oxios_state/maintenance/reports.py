"""Warnings in the log ``oxios_state``: each is logged once for each state of the file that it is about."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Hashable

_log = logging.getLogger("oxios_state")


class Reports:
    """The warnings that a store has logged about files."""

    def __init__(self) -> None:
        # No lock, which a forked child or a signal handler might find taken: each change is one step.
        self._logged: dict[tuple[str, Hashable], object] = {}

    def warn(self, name: str, state: Hashable, message: str, error: object) -> None:
        """Log a warning, unless it was logged for the same state of the file.

        Args:
            name: The file.
            state: Its state: something that changes when the file does.
            message: The warning, with ``%s`` in the place of the error.
            error: What is wrong with the file, and which file it is.
        """
        first = object()
        if self._logged.setdefault((name, state), first) is first:
            _log.warning(message, error)

    def keep(self, bad: Container[tuple[str, Hashable]]) -> None:
        """Forget the warnings about all other files and states: a file that is mended and spoilt again is news."""
        for key in list(self._logged):
            if key not in bad:
                self._logged.pop(key, None)
