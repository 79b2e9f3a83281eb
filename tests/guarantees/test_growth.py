"""The time that content of strangers costs grows no faster than its size."""

from __future__ import annotations

import gc
from contextlib import suppress
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING

import pytest

from oxios_state import AgentResponse, CorruptStateError, Session, TrajectoryStepRecord, UserMessage
from oxios_state.codec import documents as codec
from oxios_state.codec import json_text
from oxios_state.model.summary import title_of
from oxios_state.rendering import tables
from oxios_state.rendering.escaping import quoted
from oxios_state.rendering.tables import fit
from oxios_state.sessions.search import Needle

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = Path("sessions/s.json")
MARKS = "e" + "\u0301" * 15
SESSION = (
    '{"id": "s", "user_id": "u", "created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z",'
    ' "metadata": {"a": %s}}'
)


def decode(text: str) -> None:
    with suppress(CorruptStateError):
        json_text.decode(text.encode(), PATH)


def decode_session(text: str) -> None:
    with suppress(CorruptStateError):
        codec.decode_session(text.encode(), PATH)


def title(text: str) -> None:
    title_of(Session("u", user_messages=[UserMessage(text)]))


def table(text: str) -> None:
    list(fit([["id", "title"], ["s", text]], 80))


def wide_table(text: str) -> None:
    list(fit([["id", "user", "title"], ["s", text, ""]], 80))


def search(text: str) -> None:
    assert Needle("needle", 40).find(f"{text} needle")


def show(text: str) -> None:
    session = Session("u", "s", user_messages=[UserMessage(text)], agent_responses=[AgentResponse(text)])
    session.extend_trajectory([TrajectoryStepRecord("t", {"a": text, "b": [text]}, text)])
    session.set_metadata("title", text)
    assert session.to_markdown()
    assert str(session)
    assert session._repr_html_()


# The work, and a function that makes its text of so many thousand units.
CASES: dict[str, tuple[Callable[[str], object], Callable[[int], str]]] = {
    "brackets that are opened": (decode, lambda n: "[" * n * 1000),
    "brackets": (decode, lambda n: "[" * n * 1000 + "]" * n * 1000),
    "brackets in a row": (decode, lambda n: f"[{'[], ' * n * 1000}[]]"),
    "nested brackets in a row": (decode, lambda n: f"[{('[' * 50 + ']' * 50 + ',') * n * 20}[]]"),
    "brackets in a session": (decode_session, lambda n: SESSION % ("[" * n * 1000 + "]" * n * 1000)),
    "brackets in a row in a session": (decode_session, lambda n: SESSION % f"[{'[], ' * n * 1000}[]]"),
    "a bad literal at the end": (decode, lambda n: f"[{'1, ' * n * 1000}NaN]"),
    "digits": (decode, lambda n: f"0.{'1' * n * 1000}"),
    "code spans on a line": (quoted, lambda n: "`a` " * n * 1000),
    "code spans on a line that is not ASCII": (quoted, lambda n: "`a` \u00e9" * n * 1000),
    "code spans on many lines": (quoted, lambda n: "`a` b\n" * n * 1000),
    "a code span that is not closed": (quoted, lambda n: "`a`` b" * n * 1000),
    "backticks": (quoted, lambda n: "`" * n * 1000),
    "list markers": (quoted, lambda n: "- " * n * 1000),
    "fences": (quoted, lambda n: "```\n" * n * 1000),
    "a message of many lines": (title, lambda n: "a\n" * n * 1000),
    "a message of spaces": (title, lambda n: " " * n * 1000),
    "a title of combining marks in a table": (table, lambda n: MARKS * n * 60),
    "a user of combining marks in a table": (wide_table, lambda n: MARKS * n * 60),
    "a search behind letters that fold to two": (search, lambda n: "\u00df" * n * 300),
    "a search behind combining marks": (search, lambda n: MARKS * n * 20),
    "a search behind one letter of many marks": (search, lambda n: "e" + "\u0301\u0323" * n * 100),
    "spans everywhere in a session": (show, lambda n: "`a` " * n * 100),
    "marks everywhere in a session": (show, lambda n: MARKS * n * 20),
    "lines everywhere in a session": (show, lambda n: "a\n" * n * 100),
}


@pytest.mark.parametrize("case", CASES)
def test_the_time_grows_no_faster_than_the_content(case: str) -> None:
    check_growth(*CASES[case])


@pytest.mark.parametrize("case", [case for case, (work, _) in CASES.items() if work in {decode, decode_session}])
def test_the_time_without_orjson_grows_no_faster_than_the_content(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "_orjson", None)
    check_growth(*CASES[case])


def check_growth(work: Callable[[str], object], make: Callable[[int], str]) -> None:
    small, large = make(10), make(10 * 16)
    ratios: list[float] = []
    while not ratios or (ratios[-1] >= 64 and len(ratios) < 4):  # in proportion it is 16, by the square 256
        ratios.append(seconds(work, large) / seconds(work, small))
    assert ratios[-1] < 64, ratios


def seconds(work: Callable[[str], object], text: str) -> float:
    """Return the processor time that the work takes, at least a millisecond: less says nothing."""
    gc.disable()  # a collection looks at what other tests left, too
    try:
        start = process_time()
        work(text)
        return max(process_time() - start, 0.001)
    finally:
        gc.enable()


def test_a_table_looks_at_no_more_of_a_title_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    own_columns = tables._own_columns

    def look(char: str) -> int:
        looked.append(char)
        return own_columns(char)

    monkeypatch.setattr(tables, "_own_columns", look)
    header, row = fit([["id", "title"], ["s", "e" + "\u0301" * 100_000]], 80)
    assert len(row) < 2000
    assert row.endswith("...")
    assert header == "id  title"
    assert len(looked) < 10_000
