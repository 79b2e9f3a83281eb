"""Plain text of sessions and stores for terminals: bounded in length, without control characters."""

from __future__ import annotations

from functools import singledispatch
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from oxios_state.model.session import Session
from oxios_state.model.summary import SessionList, SessionSummary
from oxios_state.model.trajectory import Trajectory
from oxios_state.rendering import formatting, overview, timeline
from oxios_state.rendering.escaping import visible
from oxios_state.rendering.formatting import count, one_line
from oxios_state.rendering.tables import align
from oxios_state.store import StateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from oxios_state.model.records import AgentResponse, TrajectoryStepRecord, UserMessage
    from oxios_state.model.turns import Turn

_T = TypeVar("_T")
_R = TypeVar("_R")
_MAX_TURNS, _MAX_STEPS, _MAX_ROWS = 20, 12, 40
_CONTENT_LIMITS, _OUTPUT_LIMITS = (1200, 30), (400, 8)  # characters and lines of a text


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
def _session(session: Session) -> str:
    """Return a transcript: the turns of a session, each with the tool calls that led to the response."""
    user = one_line(session.user_id, 60)

    def lines(number: int, turn: Turn) -> list[str]:
        return ["", *_turn(number, turn, user)]

    def omission(omitted: int) -> list[str]:
        return ["", f"... {count(omitted, 'turn')} left out ..."]

    facts = ", ".join(formatting.session_facts(session))
    head = [formatting.session_title(session), f"{_id(session.id)} of {user}: {facts}"]
    turns = _head_and_tail(session.turns(), _MAX_TURNS, lines, omission)
    return "\n".join([*head, *chain.from_iterable(turns)])


@show.register(SessionSummary)
def _summary(summary: SessionSummary) -> str:
    facts = [formatting.summary_title(summary), *formatting.summary_facts(summary)]
    return f"{_id(summary.id)}: {', '.join(facts)}"


@show.register(SessionList)
def _sessions(summaries: SessionList) -> str:
    head = count(len(summaries), "session")
    return "\n".join([head, *_session_table(summaries)]) if summaries else head


@show.register(Trajectory)
def _trajectory(steps: Trajectory) -> str:
    def row(number: int, step: TrajectoryStepRecord) -> list[str]:
        duration = formatting.duration(step.duration_ms)
        return [f"{number:,}", formatting.time_of_day(step.timestamp), duration, _outcome(step), _call(step)]

    rows = _head_and_tail(steps, _MAX_ROWS, row, _omitted_rows)
    return "\n".join([timeline.summary(steps), *align(rows, right={0, 2})])


@show.register(StateStore)
def _store(store: StateStore) -> str:
    """Return the categories of a store, with the number and size of their documents, and its latest sessions."""

    def row(_: int, category: overview.Category) -> list[str]:
        return [one_line(category.name, 80), f"{category.documents:,}", formatting.file_size(category.size)]

    contents = overview.survey(store)
    parts = [f"{one_line(str(store.base_path), 300)}: {', '.join(contents.facts)}"]
    parts += [one_line(note, 300) for note in contents.notes]
    if contents.categories:
        rows = _head_and_tail(contents.categories, _MAX_ROWS, row, _omitted_rows)
        parts += ["", *align(chain([["category", "documents", "size"]], rows), right={1, 2})]
    if contents.sessions:
        parts += ["", *_session_table(contents.sessions[: overview.LATEST])]
    return "\n".join(parts)


def _session_table(summaries: Sequence[SessionSummary]) -> Iterator[str]:
    def row(_: int, summary: SessionSummary) -> list[str]:
        updated, title = formatting.date_and_time(summary.updated_at), formatting.summary_title(summary)
        return [updated, _id(summary.id), one_line(summary.user_id, 20), f"{summary.message_count:,}", title]

    header = ["updated (UTC)", "id", "user", "messages", "title"]
    return align(chain([header], _head_and_tail(summaries, _MAX_ROWS, row, _omitted_rows)), right={3})


def _turn(number: int, turn: Turn, user: str) -> Iterator[str]:
    if turn.message:
        yield f"[{number:,}] {user}, {_time(turn.message)}"
        yield from _text(turn.message.content, "    ", *_CONTENT_LIMITS)
    steps = _head_and_tail(
        turn.steps, _MAX_STEPS, lambda _, step: _step(step), lambda omitted: [f"  ... {omitted:,} left out ..."]
    )
    yield from chain.from_iterable(steps)
    if turn.response:
        yield f"[{number:,}] {', '.join(['agent', _time(turn.response), *formatting.response_facts(turn.response)])}"
        yield from _text(turn.response.content, "    ", *_CONTENT_LIMITS)


def _time(record: UserMessage | AgentResponse) -> str:
    return formatting.period(record.timestamp, record.timestamp)


def _step(step: TrajectoryStepRecord) -> list[str]:
    head = f"  - {_call(step)} {_outcome(step)}, {formatting.duration(step.duration_ms)}"
    return [head, *(_text(step.output_summary, "        ", *_OUTPUT_LIMITS) if step.output_summary else [])]


def _call(step: TrajectoryStepRecord) -> str:
    return f"{one_line(step.tool_name, 60)}({formatting.call_arguments(step.tool_args, 120)})"


def _outcome(step: TrajectoryStepRecord) -> str:
    return "FAILED" if step.is_error else "ok"


def _text(text: str, indent: str, max_characters: int, max_lines: int) -> Iterator[str]:
    """Yield the lines of a text, indented, so that none can pass for a heading of the transcript."""
    head, omitted, tail = formatting.excerpt(text, max_characters)
    parts = [visible(head)]
    if omitted:
        parts += [f"... {count(omitted, 'character')} left out ...", visible(tail)]
    lines = "\n".join(parts).strip("\n").split("\n")
    kept = _head_and_tail(lines, max_lines, lambda _, line: line, lambda omitted: f"... {count(omitted, 'line')} ...")
    return (f"{indent}{line}".rstrip() for line in kept)


def _head_and_tail(
    items: Sequence[_T], limit: int, row: Callable[[int, _T], _R], omission: Callable[[int], _R]
) -> Iterator[_R]:
    """Yield a row for each item; if there are too many, one that stands for those in the middle."""
    head, omitted, tail = formatting.head_and_tail(items, limit)
    yield from (row(number, item) for number, item in head)
    if omitted:
        yield omission(omitted)
    yield from (row(number, item) for number, item in tail)


def _omitted_rows(number: int) -> list[str]:
    return ["...", f"({number:,} left out)"]


def _id(text: str) -> str:
    return one_line(text, 80)
