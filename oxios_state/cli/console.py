"""What a command prints, for people at a terminal and for programs at the end of a pipe.

Conversations are text of strangers: what would move the cursor, change the title or turn the reading order of a
terminal is shown as a picture or an escape, wherever the output goes.
"""

from __future__ import annotations

import json
import os
import time
import unicodedata
from collections.abc import Sized
from contextlib import suppress
from io import StringIO, UnsupportedOperation
from typing import TYPE_CHECKING, Any, TextIO

from oxios_state.rendering.escaping import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_LEAST_TITLE = 12  # columns of a terminal that the last cell of a row needs to be of use
_PATIENCE, _PACE = 0.5, 0.1  # seconds before progress is shown, and between two showings


def visible_line(text: str) -> str:
    """Show control characters, newlines and tabs too, as `visible` does: the text is then one line, and one cell."""
    return visible(text).replace("\n", "\u240a").replace("\t", "\u2409")


class Streams:
    """The standard streams of one command, any of which may be a terminal, something else, or closed."""

    def __init__(self, stdin: TextIO | None, stdout: TextIO | None, stderr: TextIO | None) -> None:
        # In the place of one that is closed: what is printed there is nowhere, and what is read there is nothing.
        self._stdin, self._stdout, self._stderr = (
            StringIO() if stream is None else stream for stream in (stdin, stdout, stderr)
        )
        self._shown = 0  # columns of the line of progress that is on the terminal

    @property
    def is_read(self) -> bool:
        """Whether what is printed appears on a terminal."""
        return self._stdout.isatty()

    @property
    def may_ask(self) -> bool:
        """Whether somebody is there to see a question and to answer it."""
        return self._stdin.isatty() and (self._stderr.isatty() or self._stdout.isatty())

    def print(self, text: str) -> None:
        """Print text of any number of lines."""
        self._hide_progress()
        _write(self._stdout, visible(text).removesuffix("\n") + "\n")

    def print_line(self, text: str) -> None:
        """Print one line, whatever is in the text."""
        self._hide_progress()
        _write(self._stdout, visible_line(text) + "\n")

    def print_json(self, value: Any) -> None:
        """Print a JSON value as one line of ASCII, in which nothing can be unseen."""
        self._hide_progress()
        # Escaped are all but ASCII, and of that, DEL.
        _write(self._stdout, json.dumps(value, ensure_ascii=True).replace("\x7f", r"\u007f") + "\n")

    def print_rows(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table: for people in columns that fit the terminal, else as tab-separated lines, each as it comes.

        The first cell of a row is printed in full, whatever the width. The others go, the last but one first, where
        there is no room for them; the last is cut.
        """
        cells = ([visible_line(cell) for cell in row] for row in rows)
        lines: Iterable[str] = map("\t".join, cells)
        if self.is_read:
            found = list(cells)
            lines = _align([list(header), *found], _width(self._stdout)) if found else ()
        # Line by line: of one long text, an unbuffered stream drops silently what a broken pipe did not take.
        for line in lines:
            self._hide_progress()
            _write(self._stdout, f"{line}\n")

    def note(self, text: str) -> None:
        """Tell what only people at a terminal want to know, on standard error."""
        if self._stderr.isatty():
            self.complain(text)

    def complain(self, text: str) -> None:
        """Tell what went wrong, as one line on standard error."""
        self._hide_progress()
        _tell(self._stderr, f"oxios-state: {visible_line(text)}\n")

    def confirms(self, question: str) -> bool:
        """Ask, and say whether the answer is yes."""
        self._hide_progress()
        asked = self._stderr if self._stderr.isatty() else self._stdout
        _tell(asked, f"{visible_line(question)} [y/N] ")
        answer = ""
        with suppress(UnicodeDecodeError):
            answer = self._stdin.readline()
        if not answer.endswith("\n"):
            _tell(asked, "\n")  # the input ended, and left the cursor after the question
        return answer.strip().casefold() in {"y", "yes"}

    def progress(
        self, what: str, clock: Callable[[], float] = time.monotonic
    ) -> Callable[[Iterable[Any]], Iterator[Any]] | None:
        """Give what shows how far long work is, as the library takes it; None where standard error is no terminal.

        Args:
            what: What is done, as in "checking".
            clock: Gives the time in seconds. For tests.
        """
        if not self._stderr.isatty():
            return None

        def over(items: Iterable[Any]) -> Iterator[Any]:
            due, total = clock() + _PATIENCE, f" of {len(items)}" if isinstance(items, Sized) else ""
            for number, item in enumerate(items, 1):
                if clock() >= due:
                    due = clock() + _PACE
                    line = f"{what}: {number}{total}"[: _width(self._stderr) - 1]
                    _tell(self._stderr, f"\r{line.ljust(self._shown)}")
                    self._shown = len(line)
                yield item
            self._hide_progress()

        return over

    def flush(self) -> None:
        """Write what is still to be written.

        Raises:
            OSError: If standard output does not take it.
        """
        self._stdout.flush()

    def close(self, *, at_once: bool = False) -> None:
        """Write what is still to be written, and forget what cannot be: the interpreter would complain at its end.

        Args:
            at_once: Forget what is still to be printed: whoever reads it may be slow, or sleep.
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
        if self._shown:
            width, self._shown = self._shown, 0
            _tell(self._stderr, f"\r{' ' * width}\r")


def _width(stream: TextIO) -> int:
    with suppress(KeyError, ValueError):
        if (columns := int(os.environ["COLUMNS"])) > 0:
            return columns
    with suppress(OSError):
        return os.get_terminal_size(stream.fileno()).columns or 80
    return 80


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _tell(stream: TextIO, text: str) -> None:
    """Write at once what is not the result of a command: that nobody hears it is no reason to fail."""
    with suppress(OSError):
        _write(stream, text)
        stream.flush()


def _discard(stream: TextIO) -> None:
    with suppress(UnsupportedOperation):
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _align(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Put cells into columns; empty columns are left out, and those that have no room."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(_columns_of, column)) for column in columns]
    while len(columns) > 1 and sum(widths[:-1]) + 2 * (len(widths) - 1) + min(widths[-1], _LEAST_TITLE) > width:
        gone = -2 if len(columns) > 2 else -1
        del columns[gone], widths[gone]
    lines = []
    for row in zip(*columns, strict=True):
        line = ""
        for cell, cell_width in zip(row[:-1], widths, strict=False):
            line += cell + " " * (cell_width - _columns_of(cell) + 2)
        room = width - _columns_of(line) if len(columns) > 1 else widths[0]
        lines.append((line + _cut(row[-1], room)).rstrip())
    return lines


def _cut(text: str, width: int) -> str:
    if _columns_of(text) <= width:
        return text
    while _columns_of(text) > width - 3:
        text = text[: min(len(text) - 1, width)]
    return f"{text}..."


def _columns_of(text: str) -> int:
    """Count the columns that a terminal needs for a line."""
    if text.isascii():
        return len(text)
    return sum(map(_columns_of_one, text))


def _columns_of_one(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
