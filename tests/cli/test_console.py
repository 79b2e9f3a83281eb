"""What a command prints: rows that fit, questions, progress, and streams that are closed or fail."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from oxios_state.cli.console import Streams, visible_line

if TYPE_CHECKING:
    from collections.abc import Iterator

ROW = ["0123456789", "2026", "3", "ada", "p", "A title of twenty-six letters"]
HEADER = ["ID", "UPDATED", "MSGS", "USER", "PROJECT", "TITLE"]


class FakeTerminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class Deaf(FakeTerminal):
    """A terminal that is gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError(32, "gone")


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")


def test_what_cannot_be_seen_is_shown_and_a_cell_is_one_line() -> None:
    streams = Streams(None, output := io.StringIO(), errors := io.StringIO())
    text = "a\tb\r\nc\rd\x00\x1b\x7f\x9b\u2028\u202e\u2066\udcffé"
    shown = "c␍d␀␛␡\\u009b\\u2028\\u202e\\u2066\\udcffé"
    streams.print(text)
    streams.print_line(text)
    streams.print_rows(["A", "B"], [[text, text]])
    streams.complain(text)
    line = f"a␉b␊{shown}"
    assert output.getvalue() == f"a\tb\n{shown}\n{line}\n{line}\t{line}\n"
    assert errors.getvalue() == f"oxios-state: {line}\n"
    assert visible_line(text) == line


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (80, "0123456789  2026     3     ada   p        A title of twenty-six letters"),
        (60, "0123456789  2026     3     ada   p        A title of twen..."),
        (48, "0123456789  2026     3     ada   A title of t..."),
        (35, "0123456789  2026     A title of ..."),
        (24, "0123456789  A title o..."),
        (23, "0123456789"),
        (1, "0123456789"),
    ],
)
def test_cells_without_room_go_and_the_last_is_cut(width: int, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    output = FakeTerminal()
    Streams(None, output, None).print_rows(HEADER, [ROW])
    header, printed = output.getvalue().splitlines()
    assert printed == line
    assert len(header) <= max(width, len("ID"))


def test_columns_count_what_a_terminal_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    output = FakeTerminal()
    rows = [["e\u0301", "", "one"], ["名", "", "名名名名名名名名名名名名名名"], ["long id", "", "two"]]
    Streams(None, output, None).print_rows(["ID", "USER", "TITLE"], rows)
    assert output.getvalue().splitlines() == [
        "ID       TITLE",
        "e\u0301        one",
        "名       名名名名名名名名名...",
        "long id  two",
    ]


def test_a_terminal_that_does_not_say_its_width_is_taken_for_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    output = FakeTerminal()
    Streams(None, output, None).print_rows(["ID", "TITLE"], [["s", "x" * 100]])
    assert max(map(len, output.getvalue().splitlines())) == 80


def test_text_ends_with_one_newline() -> None:
    output = io.StringIO()
    streams = Streams(None, output, None)
    streams.print("one\n")
    streams.print("two")
    assert output.getvalue() == "one\ntwo\n"


@pytest.mark.parametrize(
    ("streams", "may_ask"),
    [
        (Streams(FakeTerminal(), FakeTerminal(), FakeTerminal()), True),
        (Streams(FakeTerminal(), io.StringIO(), FakeTerminal()), True),
        (Streams(FakeTerminal(), FakeTerminal(), None), True),
        (Streams(FakeTerminal(), io.StringIO(), io.StringIO()), False),
        (Streams(io.StringIO(), FakeTerminal(), FakeTerminal()), False),
        (Streams(None, FakeTerminal(), FakeTerminal()), False),
    ],
)
def test_somebody_is_asked_who_sees_the_question_and_can_answer(streams: Streams, *, may_ask: bool) -> None:
    assert streams.may_ask is may_ask


@pytest.mark.parametrize(
    ("answer", "confirmed"), [("y\n", True), (" Yes \n", True), ("y", True), ("n\n", False), ("", False)]
)
def test_a_question_is_asked_where_it_is_seen(answer: str, *, confirmed: bool) -> None:
    output, errors = FakeTerminal(), FakeTerminal()
    assert Streams(FakeTerminal(answer), output, errors).confirms("Go\n on?") is confirmed
    assert output.getvalue() == ""
    assert errors.getvalue() == "Go␊ on? [y/N] " + ("" if answer.endswith("\n") else "\n")
    assert Streams(FakeTerminal(answer), output, io.StringIO()).confirms("Go on?") is confirmed
    assert output.getvalue().startswith("Go on? [y/N] ")


def test_an_answer_that_is_no_text_or_never_comes_is_no() -> None:
    garbage = io.TextIOWrapper(io.BytesIO(b"\xff\n"), encoding="utf-8")
    assert not Streams(garbage, None, FakeTerminal()).confirms("Go on?")
    assert not Streams(None, None, FakeTerminal()).confirms("Go on?")


def test_progress_is_shown_on_one_line_after_a_while_and_not_too_often() -> None:
    errors, clock = FakeTerminal(), Clock()
    over = Streams(None, None, errors).progress("checking", clock)
    assert over is not None
    moments = [0.0, 0.5, 0.55, 0.6, 0.65]
    work = over([5, 6, 7, 8, 9])
    for moment, item in zip(moments, range(5, 10), strict=True):
        clock.now = moment
        assert next(work) == item
    assert errors.getvalue() == "\rchecking: 2 of 5\rchecking: 4 of 5"
    assert list(work) == []
    assert errors.getvalue().endswith("\r                \r")


def test_progress_of_work_without_a_known_end_says_how_much_is_done() -> None:
    errors, clock = FakeTerminal(), Clock()
    over = Streams(None, None, errors).progress("looking", clock)
    assert over is not None
    for item in over(iter("ab")):
        assert item in "ab"
        clock.now += 1
    assert errors.getvalue() == "\rlooking: 2\r          \r"


@pytest.mark.parametrize(("width", "shown"), [(10, "\rchecking:"), (1, "\r")])
def test_progress_fits_a_narrow_terminal(width: int, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert showing(Streams(None, None, screen := FakeTerminal())) is not None
    assert screen.getvalue() == shown


def showing(streams: Streams) -> Iterator[object]:
    """Have progress shown."""
    clock = Clock()
    over = streams.progress("checking", clock)
    assert over is not None
    work = over([1, 2])
    next(work)
    clock.now += 1
    next(work)
    return work


def test_progress_goes_before_anything_else_is_said() -> None:
    screen = FakeTerminal()
    streams = Streams(FakeTerminal(), screen, screen)
    for say in (
        lambda: streams.print("text"),
        lambda: streams.print_line("text"),
        lambda: streams.print_json("text"),
        lambda: streams.print_rows(["A", "B"], [["a", "b"]]),
        lambda: streams.note("text"),
        lambda: streams.complain("text"),
        lambda: streams.confirms("text"),
        streams.close,
    ):
        work = showing(streams)
        say()
        assert screen.getvalue().startswith("\rchecking: 2 of 2\r                \r")
        screen.truncate(0)
        screen.seek(0)
        assert list(work) == []
        assert screen.getvalue() == ""


def test_there_is_no_progress_where_there_is_no_terminal() -> None:
    assert Streams(None, FakeTerminal(), io.StringIO()).progress("checking") is None
    assert Streams(None, FakeTerminal(), None).progress("checking") is None


def test_a_terminal_that_is_gone_stops_no_work() -> None:
    streams = Streams(FakeTerminal("y\n"), None, Deaf())
    assert list(showing(streams)) == []
    streams.complain("text")
    streams.note("text")
    assert streams.confirms("Go on?")
    streams.close()


@pytest.mark.parametrize("at_once", [False, True])
def test_what_nobody_takes_is_dropped_at_the_end(*, at_once: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    output = open(writer, "w")  # noqa: SIM115  # closed below
    streams = Streams(None, output, None)
    streams.print("text")
    if not at_once:
        with pytest.raises(BrokenPipeError):
            streams.flush()
    streams.close(at_once=at_once)
    output.close()  # writes what it still has: nowhere
