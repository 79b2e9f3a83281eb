"""Output of the commands: tables, questions, progress, and streams that are closed or fail."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from oxios_state.cli.console import Streams

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakeTerminal(io.StringIO):
    """A stream that passes for a terminal."""

    def isatty(self) -> bool:
        return True


class LostTerminal(FakeTerminal):
    """A terminal that is gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError(32, "gone")


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")


def test_invisible_characters_are_printed_visibly() -> None:
    streams = Streams(None, output := io.StringIO(), errors := io.StringIO())
    text = "a\tb\r\nc\rd\x00\x1b\x7f\x9b\u2028\u202e\u2066\udcffé"
    visible = "c␍d␀␛␡\\u009b\\u2028\\u202e\\u2066\\udcffé"
    streams.print(text)
    streams.print_line(text)
    streams.print_rows(["A", "B"], [[text, text]])
    streams.print_error(text)
    line = f"a␉b␊{visible}"
    assert output.getvalue() == f"a\tb\n{visible}\n{line}\n{line}\t{line}\n"
    assert errors.getvalue() == f"oxios-state: {line}\n"


def test_a_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    output = FakeTerminal()
    rows = [["0123456789", "", "A title of twenty-six letters"], ["a\tb", "", "Short"]]
    Streams(None, output, None).print_rows(["ID", "USER", "TITLE"], rows)
    assert output.getvalue().splitlines() == [
        "ID          TITLE",
        "0123456789  A title of twenty-six let...",
        "a␉b         Short",
    ]


def test_a_table_without_rows_has_no_header() -> None:
    output = FakeTerminal()
    Streams(None, output, None).print_rows(["ID"], [])
    assert output.getvalue() == ""


def test_a_terminal_of_unknown_width_has_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
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
    ("streams", "can_ask"),
    [
        (Streams(FakeTerminal(), FakeTerminal(), FakeTerminal()), True),
        (Streams(FakeTerminal(), io.StringIO(), FakeTerminal()), True),
        (Streams(FakeTerminal(), FakeTerminal(), None), True),
        (Streams(FakeTerminal(), io.StringIO(), io.StringIO()), False),
        (Streams(io.StringIO(), FakeTerminal(), FakeTerminal()), False),
        (Streams(None, FakeTerminal(), FakeTerminal()), False),
    ],
)
def test_a_question_needs_a_terminal_for_itself_and_its_answer(streams: Streams, *, can_ask: bool) -> None:
    assert streams.can_ask is can_ask


@pytest.mark.parametrize(
    ("answer", "confirmed"), [("y\n", True), (" Yes \n", True), ("y", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_a_question_is_printed_on_a_terminal(answer: str, *, confirmed: bool) -> None:
    output, errors = FakeTerminal(), FakeTerminal()
    assert Streams(FakeTerminal(answer), output, errors).confirm("Go\n on?") is confirmed
    assert output.getvalue() == ""
    assert errors.getvalue() == "Go␊ on? [y/N] " + ("" if answer.endswith("\n") else "\n")
    assert Streams(FakeTerminal(answer), output, io.StringIO()).confirm("Go on?") is confirmed
    assert output.getvalue().startswith("Go on? [y/N] ")


def test_an_undecodable_or_missing_answer_means_no() -> None:
    garbage = io.TextIOWrapper(io.BytesIO(b"\xff\n"), encoding="utf-8")
    assert not Streams(garbage, None, FakeTerminal()).confirm("Go on?")
    assert not Streams(None, None, FakeTerminal()).confirm("Go on?")


def test_progress_appears_after_a_delay_and_at_intervals() -> None:
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


def test_progress_without_a_known_total_counts_items() -> None:
    errors, clock = FakeTerminal(), Clock()
    over = Streams(None, None, errors).progress("looking", clock)
    assert over is not None
    for item in over(iter("ab")):
        assert item in "ab"
        clock.now += 1
    assert errors.getvalue() == "\rlooking: 2\r          \r"


@pytest.mark.parametrize(("width", "line"), [(10, "\rchecking:"), (1, "\r")])
def test_progress_fits_a_narrow_terminal(width: int, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert with_progress(Streams(None, None, screen := FakeTerminal())) is not None
    assert screen.getvalue() == line


def with_progress(streams: Streams) -> Iterator[object]:
    """Return unfinished work whose progress is on the terminal."""
    clock = Clock()
    over = streams.progress("checking", clock)
    assert over is not None
    work = over([1, 2])
    next(work)
    clock.now += 1
    next(work)
    return work


def test_progress_is_hidden_before_other_output() -> None:
    screen = FakeTerminal()
    streams = Streams(FakeTerminal(), screen, screen)
    for produce_output in (
        lambda: streams.print("text"),
        lambda: streams.print_line("text"),
        lambda: streams.print_rows(["A", "B"], [["a", "b"]]),
        lambda: streams.print_note("text"),
        lambda: streams.print_error("text"),
        lambda: streams.confirm("text"),
        streams.close,
    ):
        work = with_progress(streams)
        produce_output()
        assert screen.getvalue().startswith("\rchecking: 2 of 2\r                \r")
        screen.truncate(0)
        screen.seek(0)
        assert list(work) == []
        assert screen.getvalue() == ""


def test_progress_needs_a_terminal() -> None:
    assert Streams(None, FakeTerminal(), io.StringIO()).progress("checking") is None
    assert Streams(None, FakeTerminal(), None).progress("checking") is None


def test_a_lost_terminal_does_not_stop_work() -> None:
    streams = Streams(FakeTerminal("y\n"), None, LostTerminal())
    assert list(with_progress(streams)) == []
    streams.print_error("text")
    streams.print_note("text")
    assert streams.confirm("Go on?")
    streams.close()


@pytest.mark.parametrize("at_once", [False, True])
def test_unread_output_is_discarded_on_close(*, at_once: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    output = open(writer, "w")  # noqa: SIM115  # closed below
    streams = Streams(None, output, None)
    streams.print("text")
    if not at_once:
        with pytest.raises(BrokenPipeError):
            streams.flush()
    streams.close(at_once=at_once)
    output.close()  # its buffered text goes to the null device
