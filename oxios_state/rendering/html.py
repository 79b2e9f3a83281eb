"""HTML of sessions and stores for notebooks: bounded in size, without scripts and without anything to load."""

from __future__ import annotations

import re
from functools import singledispatch
from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs

from oxios_state.model.session import Session
from oxios_state.model.summary import SessionList, SessionSummary
from oxios_state.model.trajectory import Trajectory
from oxios_state.rendering import formatting, overview, timeline
from oxios_state.rendering.formatting import count, one_line
from oxios_state.rendering.markup import Markup, element
from oxios_state.rendering.stylesheet import STYLE
from oxios_state.store import StateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from oxios_state.model.records import AgentResponse, TrajectoryStepRecord, UserMessage
    from oxios_state.model.turns import Turn

_MAX_BYTES = 200_000
_FENCE = r"(?m)^ {0,3}```[^\n]*\n?"


@attrs.frozen
class _Limits:
    """How much is displayed."""

    items: int  # turns, sessions or categories
    steps: int  # tool calls of one turn
    text: int  # characters of one text


# The first limits with which the page is small enough are used. With the last it always is, whatever the characters.
_LIMITS = [
    _Limits(400, 60, 6000),
    _Limits(250, 30, 3000),
    _Limits(150, 16, 1500),
    _Limits(100, 10, 800),
    _Limits(75, 8, 600),
    _Limits(60, 8, 500),
    _Limits(45, 6, 350),
    _Limits(30, 6, 250),
    _Limits(14, 4, 150),
    _Limits(6, 2, 60),
]


@singledispatch
def show(thing: object) -> str:
    """Return *thing* as one element of HTML.

    Args:
        thing: A session, a summary, a list of summaries, a trajectory or a store.

    Raises:
        TypeError: If *thing* is none of these.
    """
    raise TypeError(f"a {type(thing).__name__} has no HTML form")


@show.register(Session)
def _session(session: Session) -> str:
    """Return the turns of a session, each with the tool calls that led to the response, and its timeline."""
    turns = session.turns()
    facts = [one_line(session.user_id, 60), *formatting.session_facts(session)]
    head = [_title(formatting.session_title(session)), _facts(_id(session.id), *facts)]
    if session.trajectory_steps:
        head.append(_timeline(session.trajectory_steps))
    return _page(lambda limits: chain(head, _turns(turns, session.user_id, limits), _free_form(session, limits)))


@show.register(SessionSummary)
def _summary(summary: SessionSummary) -> str:
    head = [_title(formatting.summary_title(summary)), _facts(_id(summary.id), *formatting.summary_facts(summary))]
    return _page(lambda _: head)


@show.register(SessionList)
def _sessions(summaries: SessionList) -> str:
    head = [_facts(count(len(summaries), "session"))]
    if not summaries:
        return _page(lambda _: head)
    return _page(lambda limits: [*head, _session_table(summaries, min(limits.items, 100))])


@show.register(Trajectory)
def _trajectory(steps: Trajectory) -> str:
    head = [_facts(timeline.summary(steps))]
    if not steps:
        return _page(lambda _: head)
    head.append(element("div", timeline.picture(steps), class_="oxs-svg"))
    return _page(lambda limits: [*head, _steps(steps, limits, is_open=len(steps) <= 5)])


@show.register(StateStore)
def _store(store: StateStore) -> str:
    """Return the categories of a store, with the number and size of their documents, and its latest sessions."""
    contents = overview.survey(store)
    head = [_title(one_line(str(store.base_path), 300)), _facts(*contents.facts)]
    head += [element("div", one_line(note, 300), class_="oxs-bad") for note in contents.notes]
    latest = [_session_table(contents.sessions[: overview.LATEST], overview.LATEST)] if contents.sessions else []
    return _page(lambda limits: chain(head, _categories(contents, limits), latest))


def _page(parts: Callable[[_Limits], Iterable[Markup]]) -> str:
    """Put the parts together with the first limits that make them small enough."""
    pages = (_bounded(parts(limits)) for limits in _LIMITS)
    return str(next(page for page in pages if page is not None))


def _bounded(parts: Iterable[Markup]) -> Markup | None:
    kept: list[Markup] = []
    size = len(STYLE)
    for part in parts:
        kept.append(part)
        size += len(part.encode())
        if size > _MAX_BYTES - 200:
            return None
    # The classes keep MathJax from turning text into formulas, and links in formulas into links.
    return element("div", STYLE, *kept, class_="oxs tex2jax_ignore mathjax_ignore")


# Turns.


def _turns(turns: Sequence[Turn], user: str, limits: _Limits) -> Iterator[Markup]:
    def elements(numbered: Iterable[tuple[int, Turn]]) -> Iterator[Markup]:
        for number, turn in numbered:
            is_open = len(turns) <= 8 or number > len(turns) - 3
            yield _turn(number, turn, user, limits, is_open=is_open)

    head, omitted, tail = formatting.head_and_tail(turns, limits.items)
    yield from elements(head)
    if omitted:
        yield _omission(count(omitted, "turn"))
    yield from elements(tail)


def _turn(number: int, turn: Turn, user: str, limits: _Limits, *, is_open: bool) -> Markup:
    record = turn.message or turn.response
    peek = one_line(record.content, 90) if record else formatting.tool_counts(turn.steps, 3)
    parts: list[Markup] = []
    if turn.message:
        parts.append(_record(turn.message, "oxs-user", one_line(user, 60), limits))
    if turn.steps:
        parts.append(_steps(turn.steps, limits, is_open=len(turn.steps) <= 4))
    if turn.response:
        classes = "oxs-agent oxs-failed" if turn.response.evaluation_passed is False else "oxs-agent"
        parts.append(_record(turn.response, classes, "agent", limits, *formatting.response_facts(turn.response)))
    calls = f" · {formatting.tool_call_count(turn.steps)}" if turn.steps and record else ""
    head = element(
        "summary", f"Turn {number} ", element("span", peek, element("span", calls, class_="oxs-dim"), class_="oxs-peek")
    )
    return element("details", head, *parts, class_="oxs-turn", open=is_open)


def _record(record: UserMessage | AgentResponse, classes: str, author: str, limits: _Limits, *facts: str) -> Markup:
    spans = (element("span", fact) for fact in facts)
    byline = element("div", element("b", author), _time(record.timestamp), *spans, class_="oxs-by")
    return element("div", byline, _text(record.content, limits.text), class_=f"oxs-said {classes}")


def _text(text: str, limit: int) -> Markup:
    if not text.strip():
        return element("div", "(empty)", class_="oxs-cut")
    parts = [_with_code(part) if type(part) is str else [part] for part in _excerpt(text, limit)]
    is_long = len(text) > 2500 or text.count("\n", 0, 2500) > 40
    classes = "oxs-text oxs-long" if is_long else "oxs-text"
    return element("pre", *chain.from_iterable(parts), class_=classes, dir="auto")


def _excerpt(text: str, limit: int) -> list[str]:
    head, omitted, tail = formatting.excerpt(text, limit)
    if not omitted:
        return [head]
    return [head, element("span", f"\n… {count(omitted, 'character')} left out …\n", class_="oxs-cut"), tail]


def _with_code(text: str) -> Iterator[str]:
    """Yield a text in parts, those between code fences as elements. No other Markdown is interpreted."""
    for index, part in enumerate(re.split(_FENCE, text)):
        if index % 2:
            yield element("code", part.rstrip("\n"), class_="oxs-code")
        elif part.strip():
            yield part.strip("\n")


# Tool calls.


def _timeline(steps: Sequence[TrajectoryStepRecord]) -> Markup:
    head = element("summary", timeline.summary(steps), class_="oxs-dim")
    return element("details", head, element("div", timeline.picture(steps), class_="oxs-svg"), open=True)


def _steps(steps: Sequence[TrajectoryStepRecord], limits: _Limits, *, is_open: bool) -> Markup:
    head, omitted, tail = formatting.head_and_tail(steps, limits.steps)
    parts = [_step(step, limits.text) for _, step in head]
    if omitted:
        parts.append(_omission(count(omitted, "tool call")))
    parts += [_step(step, limits.text) for _, step in tail]
    text = f"{formatting.tool_call_count(steps)}: {formatting.tool_counts(steps, 4)}"
    return element("details", element("summary", text), *parts, class_="oxs-steps", open=is_open)


def _step(step: TrajectoryStepRecord, limit: int) -> Markup:
    mark = (
        element("span", "✗", class_="oxs-bad", title="failed") if step.is_error else element("span", "✓", title="done")
    )
    name = element("b", one_line(step.tool_name, 60), class_="oxs-bad" if step.is_error else "")
    arguments = formatting.call_arguments(step.tool_args, min(limit, 200))
    call = element("span", name, f"({arguments})", class_="oxs-call")
    duration = element("span", formatting.duration(step.duration_ms), class_="oxs-num")
    details = [element("div", _time(step.timestamp), " ", one_line(step.tool_call_id, 60), class_="oxs-dim")]
    if arguments.endswith("…"):
        details.append(element("pre", formatting.json_text(step.tool_args, limit, indent=2), class_="oxs-json"))
    if step.output_summary.strip():
        details.append(element("pre", *_excerpt(step.output_summary, limit), class_="oxs-json"))
    return element("details", element("summary", mark, call, duration), *details, class_="oxs-step")


# Free-form values.


def _free_form(session: Session, limits: _Limits) -> Iterator[Markup]:
    for name, values in (("metadata", session.metadata), ("other keys", session.extra)):
        if values:
            yield _values(name, values, limits)


def _values(name: str, values: Mapping[str, Any], limits: _Limits) -> Markup:
    rows = []
    for key in list(values)[: limits.steps]:
        text = formatting.json_text(values[key], limits.text // 2, indent=2)
        value = element("td", element("pre", text, class_="oxs-json"))
        rows.append(element("tr", element("th", one_line(str(key), 60)), value))
    if omitted := len(values) - len(rows):
        rows.append(_more(omitted, columns=2))
    head = element("summary", f"{name}: {count(len(values), 'key')}", class_="oxs-dim")
    return element("details", head, element("table", *rows), class_="oxs-turn")


# Summaries and categories.


def _table(header: Sequence[Markup], rows: Iterable[Markup]) -> Markup:
    return element("table", element("thead", element("tr", *header)), element("tbody", *rows))


def _session_table(summaries: Sequence[SessionSummary], limit: int) -> Markup:
    header = [
        element("th", "updated (UTC)"),
        element("th", "session"),
        element("th", "user", class_="oxs-wide"),
        element("th", "messages", class_="oxs-num"),
    ]
    head, omitted, tail = formatting.head_and_tail(summaries, limit)
    rows = [_session_row(summary) for _, summary in head]
    if omitted:
        rows.append(element("tr", element("td", _omission(count(omitted, "session")), colspan=4)))
    rows += [_session_row(summary) for _, summary in tail]
    return _table(header, rows)


def _session_row(summary: SessionSummary) -> Markup:
    user = one_line(summary.user_id, 40)
    owner = element("span", f" of {user}", class_="oxs-narrow")  # in narrow cells, in place of the column
    return element(
        "tr",
        element("td", formatting.date_and_time(summary.updated_at)),
        element(
            "td",
            element("div", formatting.summary_title(summary)),
            element("div", _id(summary.id), owner, class_="oxs-dim"),
        ),
        element("td", user, class_="oxs-wide"),
        element("td", f"{summary.message_count:,}", class_="oxs-num"),
    )


def _categories(contents: overview.Overview, limits: _Limits) -> Iterator[Markup]:
    if not contents.categories:
        return
    header = [
        element("th", "category"),
        element("th", "documents", class_="oxs-num"),
        element("th", "size", class_="oxs-num"),
        element("th", class_="oxs-wide"),
    ]
    largest = max(category.size for category in contents.categories) or 1
    rows = []
    for category in contents.categories[: min(limits.items, 50)]:
        bar = element("div", class_="oxs-bar", style=f"width:{100 * category.size / largest:.1f}%")
        cells = [
            element("td", one_line(category.name, 120)),
            element("td", f"{category.documents:,}", class_="oxs-num"),
            element("td", formatting.file_size(category.size), class_="oxs-num"),
            element("td", bar, class_="oxs-wide", style="width:35%"),
        ]
        rows.append(element("tr", *cells))
    if omitted := len(contents.categories) - len(rows):
        rows.append(_more(omitted, columns=4))
    yield _table(header, rows)


# Small parts.


def _title(text: str) -> Markup:
    return element("div", text, class_="oxs-title")


def _facts(*facts: str) -> Markup:
    return element("div", *(element("span", fact) for fact in facts), class_="oxs-facts")


def _id(text: str) -> Markup:
    return element("span", one_line(text, 80), class_="oxs-id")


def _time(moment: datetime) -> Markup:
    return element("time", formatting.time_of_day(moment), title=formatting.period(moment, moment))


def _omission(things: str) -> Markup:
    return element("div", f"… {things} left out …", class_="oxs-left oxs-cut")


def _more(number: int, columns: int) -> Markup:
    return element("tr", element("td", f"… and {number:,} more", colspan=columns, class_="oxs-cut"))
