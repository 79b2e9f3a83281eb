"""What is shown of sessions and stores in a terminal: plain text, bounded in length, without control characters."""

from __future__ import annotations

import unicodedata
from functools import singledispatch
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, TypeVar

from oxios_state.model.sequences import SessionList, Trajectory
from oxios_state.model.session import Session, SessionSummary
from oxios_state.rendering import formatting as legible
from oxios_state.rendering import overview, timeline
from oxios_state.rendering.escaping import visible
from oxios_state.rendering.formatting import count, line
from oxios_state.store import StateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from oxios_state.model.records import AgentResponse, TrajectoryStepRecord, UserMessage
    from oxios_state.model.turns import Turn

_T = TypeVar("_T")
_R = TypeVar("_R")
_TURNS, _STEPS, _ROWS = 20, 12, 40  # how many are shown
_SAID, _OUTPUT = (1200, 30), (400, 8)  # characters and lines of a text


@singledispatch
def show(thing: object) -> str:
    """Return *thing* as plain text.

    Args:
        thing: A session, a summary, a list of summaries, a trajectory or a store.

    Raises:
        TypeError: If *thing* is none of these.
    """
    raise TypeError(f"a {type(thing).__name__} has no text form")


@show.register(Session)
def _session(shown: Session) -> str:
    """Show a session as a transcript: its turns, each with the tool calls that led to the response."""

    def turn(number: int, turn: Turn) -> list[str]:
        return ["", *_turn(number, turn, line(shown.user_id, 60))]

    head = [legible.title(shown), f"{_id(shown.id)} of {line(shown.user_id, 60)}: {', '.join(legible.facts(shown))}"]
    turns = _shown(shown.turns(), _TURNS, turn, lambda left: ["", f"... {count(left, 'turn')} left out ..."])
    return "\n".join([*head, *chain.from_iterable(turns)])


@show.register(SessionSummary)
def _summary(shown: SessionSummary) -> str:
    """Show the summary of a session, in one line."""
    return f"{_id(shown.id)}: {', '.join([legible.name(shown), *legible.summary_facts(shown)])}"


@show.register(SessionList)
def _sessions(shown: SessionList) -> str:
    """Show summaries of sessions, as a table."""
    head = count(len(shown), "session")
    return "\n".join([head, *_session_table(shown)]) if shown else head


@show.register(Trajectory)
def _trajectory(shown: Trajectory) -> str:
    """Show tool calls, as a table."""

    def row(number: int, step: TrajectoryStepRecord) -> list[str]:
        took = legible.duration(step.duration_ms)
        return [f"{number:,}", legible.clock(step.timestamp), took, _outcome(step), _call(step)]

    return "\n".join([timeline.summary(shown), *_columns(_shown(shown, _ROWS, row, _left_out), right={0, 2})])


@show.register(StateStore)
def _store(shown: StateStore) -> str:
    """Show a store: its categories with the number and size of their documents, and its latest sessions."""

    def row(_: int, category: overview.Category) -> list[str]:
        return [line(category.name, 80), f"{category.documents:,}", legible.size(category.size)]

    found = overview.survey(shown)
    parts = [f"{line(str(shown.base_path), 300)}: {', '.join(found.facts)}", *(line(note, 300) for note in found.notes)]
    if found.categories:
        rows = chain([["category", "documents", "size"]], _shown(found.categories, _ROWS, row, _left_out))
        parts += ["", *_columns(rows, right={1, 2})]
    if found.sessions:
        parts += ["", *_session_table(found.sessions[: overview.LATEST])]
    return "\n".join(parts)


def _session_table(shown: Sequence[SessionSummary]) -> Iterator[str]:
    def row(_: int, found: SessionSummary) -> list[str]:
        user = line(found.user_id, 20)
        return [legible.minute(found.updated_at), _id(found.id), user, f"{found.message_count:,}", legible.name(found)]

    rows = chain([["updated (UTC)", "id", "user", "messages", "title"]], _shown(shown, _ROWS, row, _left_out))
    return _columns(rows, right={3})


def _turn(number: int, turn: Turn, user: str) -> Iterator[str]:
    if turn.message:
        yield f"[{number:,}] {user}, {_when(turn.message)}"
        yield from _text(turn.message.content, "    ", *_SAID)
    calls = _shown(turn.steps, _STEPS, lambda _, step: _step(step), lambda left: [f"  ... {left:,} left out ..."])
    yield from chain.from_iterable(calls)
    if turn.response:
        yield f"[{number:,}] {', '.join(['agent', _when(turn.response), *legible.judgement(turn.response)])}"
        yield from _text(turn.response.content, "    ", *_SAID)


def _when(record: UserMessage | AgentResponse) -> str:
    return legible.period(record.timestamp, record.timestamp)


def _step(step: TrajectoryStepRecord) -> list[str]:
    head = f"  - {_call(step)} {_outcome(step)}, {legible.duration(step.duration_ms)}"
    return [head, *(_text(step.output_summary, "        ", *_OUTPUT) if step.output_summary else [])]


def _call(step: TrajectoryStepRecord) -> str:
    return f"{line(step.tool_name, 60)}({legible.arguments(step.tool_args, 120)})"


def _outcome(step: TrajectoryStepRecord) -> str:
    return "FAILED" if step.is_error else "ok"


def _text(text: str, indent: str, most: int, most_lines: int) -> Iterator[str]:
    """Give the lines of a text, each indented: none can be taken for a line that is not of the text."""
    head, left, tail = legible.excerpt(text, most)
    lines = [visible(head)]
    if left:
        lines += [f"... {count(left, 'character')} left out ...", visible(tail)]
    rows = _shown(
        "\n".join(lines).strip("\n").split("\n"),
        most_lines,
        lambda _, row: row,
        lambda left: f"... {count(left, 'line')} ...",
    )
    return (f"{indent}{row}".rstrip() for row in rows)


def _shown(items: Sequence[_T], most: int, row: Callable[[int, _T], _R], left_out: Callable[[int], _R]) -> Iterator[_R]:
    first, left, last = legible.ends(items, most)
    yield from (row(number, item) for number, item in first)
    if left:
        yield left_out(left)
    yield from (row(number, item) for number, item in last)


def _left_out(number: int) -> list[str]:
    return ["...", f"({number:,} left out)"]


def _columns(rows: Iterable[Sequence[str]], right: set[int]) -> Iterator[str]:
    columns = list(zip_longest(*rows, fillvalue=""))
    widths = [max(map(_width, column)) for column in columns]
    for row in zip(*columns, strict=True):
        padded = [
            f"{' ' * (width - _width(cell))}{cell}" if index in right else f"{cell}{' ' * (width - _width(cell))}"
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Give how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def _id(text: str) -> str:
    return line(text, 80)
