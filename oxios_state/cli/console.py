"""Output of the commands, for people at a terminal and for programs at the end of a pipe.

Conversations contain text of strangers. Characters that would move the cursor, change the title of a terminal or
reverse the reading order are printed as pictures or escapes, wherever the output goes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sized
from contextlib import suppress
from io import StringIO, UnsupportedOperation
from typing import TYPE_CHECKING, Any, TextIO

from oxios_state.rendering import tables
from oxios_state.rendering.escaping import visible, visible_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_PROGRESS_DELAY, _PROGRESS_INTERVAL = 0.5, 0.1  # seconds before the first update, and between two updates


class Streams:
    """The standard streams of one command. Each may be a terminal, something else, or closed."""

    def __init__(self, stdin: TextIO | None, stdout: TextIO | None, stderr: TextIO | None) -> None:
        # A closed stream is replaced by an empty one in memory.
        self._stdin, self._stdout, self._stderr = (
            StringIO() if stream is None else stream for stream in (stdin, stdout, stderr)
        )
        self._progress_width = 0  # columns of the progress line that is on the terminal

    @property
    def stdout_is_terminal(self) -> bool:
        """Whether the output appears on a terminal."""
        return self._stdout.isatty()

    @property
    def can_ask(self) -> bool:
        """Whether somebody can see a question and answer it."""
        return self._stdin.isatty() and (self._stderr.isatty() or self._stdout.isatty())

    def print(self, text: str) -> None:
        """Print text of any number of lines."""
        self._hide_progress()
        _write(self._stdout, visible(text).removesuffix("\n") + "\n")

    def print_line(self, text: str) -> None:
        """Print one line, whatever the text contains."""
        self._hide_progress()
        _write(self._stdout, visible_line(text) + "\n")

    def print_rows(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table: on a terminal in columns that fit, elsewhere as tab-separated lines, each as it comes.

        The first cell of a row is printed in full, whatever the width. Without room, the last cell is cut, and
        other columns are left out, the last but one first.
        """
        cells = ([visible_line(cell) for cell in row] for row in rows)
        lines: Iterable[str] = map("\t".join, cells)
        if self.stdout_is_terminal:
            all_cells = list(cells)
            lines = tables.fit([header, *all_cells], _terminal_width(self._stdout)) if all_cells else ()
        # Line by line, because an unbuffered stream silently drops the part of a long text that a broken pipe refuses.
        for line in lines:
            self._hide_progress()
            _write(self._stdout, f"{line}\n")

    def print_note(self, text: str) -> None:
        """Print a line for people on standard error, if that is a terminal."""
        if self._stderr.isatty():
            self.print_error(text)

    def print_error(self, text: str) -> None:
        """Print an error or a warning as one line on standard error."""
        self._hide_progress()
        _print_now(self._stderr, f"oxios-state: {visible_line(text)}\n")

    def confirm(self, question: str) -> bool:
        """Ask a question, and return whether the answer is yes."""
        self._hide_progress()
        terminal = self._stderr if self._stderr.isatty() else self._stdout
        _print_now(terminal, f"{visible_line(question)} [y/N] ")
        answer = ""
        with suppress(UnicodeDecodeError):
            answer = self._stdin.readline()
        if not answer.endswith("\n"):
            _print_now(terminal, "\n")  # the input ended, and the cursor is still behind the question
        return answer.strip().casefold() in {"y", "yes"}

    def progress(
        self, activity: str, clock: Callable[[], float] = time.monotonic
    ) -> Callable[[Iterable[Any]], Iterator[Any]] | None:
        """Return a wrapper of iterables that displays progress, for the methods of the store.

        Args:
            activity: What is done, such as "checking".
            clock: Returns the time in seconds. For tests.

        Returns:
            The wrapper, or None if standard error is not a terminal.
        """
        if not self._stderr.isatty():
            return None

        def over(items: Iterable[Any]) -> Iterator[Any]:
            due, total = clock() + _PROGRESS_DELAY, f" of {len(items)}" if isinstance(items, Sized) else ""
            for number, item in enumerate(items, 1):
                if clock() >= due:
                    due = clock() + _PROGRESS_INTERVAL
                    line = f"{activity}: {number}{total}"[: _terminal_width(self._stderr) - 1]
                    _print_now(self._stderr, f"\r{line.ljust(self._progress_width)}")
                    self._progress_width = len(line)
                yield item
            self._hide_progress()

        return over

    def flush(self) -> None:
        """Write buffered output.

        Raises:
            OSError: If standard output does not accept it.
        """
        self._stdout.flush()

    def close(self, *, at_once: bool = False) -> None:
        """Write buffered output, and discard what cannot be written: the interpreter would report it as it ends.

        Args:
            at_once: Discard buffered output without an attempt to write it, because its reader may be slow or asleep.
        """
        self._hide_progress()
        for stream in (self._stdout, self._stderr):
            try:
                if at_once and stream is self._stdout:
                    _discard(stream)
                stream.flush()
            except OSError:
                _discard(stream)

    def _hide_progress(self) -> None:
        if self._progress_width:
            width, self._progress_width = self._progress_width, 0
            _print_now(self._stderr, f"\r{' ' * width}\r")


def _terminal_width(stream: TextIO) -> int:
    with suppress(KeyError, ValueError):
        if (columns := int(os.environ["COLUMNS"])) > 0:
            return columns
    with suppress(OSError):
        return os.get_terminal_size(stream.fileno()).columns or 80
    return 80


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _print_now(stream: TextIO, text: str) -> None:
    """Print a message at once. A command does not fail because nobody reads its messages."""
    with suppress(OSError):
        _write(stream, text)
        stream.flush()


def _discard(stream: TextIO) -> None:
    """Connect the descriptor of a stream to the null device."""
    with suppress(UnsupportedOperation):
        descriptor = stream.fileno()
        null_device = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null_device, descriptor)
        os.close(null_device)
