"""What is shown of sessions and stores in a notebook: HTML, bounded in size, that runs nothing and loads nothing."""

from __future__ import annotations

import re
from functools import singledispatch
from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs

from oxios_state.model.sequences import SessionList, Trajectory
from oxios_state.model.session import Session, SessionSummary
from oxios_state.rendering import formatting as legible
from oxios_state.rendering import overview, timeline
from oxios_state.rendering.formatting import count
from oxios_state.rendering.markup import Markup, element
from oxios_state.rendering.stylesheet import STYLE
from oxios_state.store import StateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from oxios_state.model.records import AgentResponse, TrajectoryStepRecord, UserMessage
    from oxios_state.model.turns import Turn

_MOST = 200_000  # bytes of HTML
_FENCE = r"(?m)^ {0,3}```[^\n]*\n?"


@attrs.frozen
class _Limits:
    """How much is shown: of turns and sessions, of tool calls in one turn, and of characters in one text."""

    items: int
    steps: int
    text: int


# The first with which the whole is small enough is taken. With the last it is, whatever the characters.
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
    """Return *thing* as a piece of HTML.

    Args:
        thing: A session, a summary, a list of summaries, a trajectory or a store.

    Raises:
        TypeError: If *thing* is none of these.
    """
    raise TypeError(f"a {type(thing).__name__} has no HTML form")


@show.register(Session)
def _session(shown: Session) -> str:
    """Show a session: its turns, each with the tool calls that led to the response, and its timeline."""
    turns = shown.turns()
    head = [_title(legible.title(shown)), _facts(_id(shown.id), legible.line(shown.user_id, 60), *legible.facts(shown))]
    if shown.trajectory_steps:
        head.append(_timeline(shown.trajectory_steps))
    return _page(lambda limits: chain(head, _turns(turns, shown.user_id, limits), _free_form(shown, limits)))


@show.register(SessionSummary)
def _summary(shown: SessionSummary) -> str:
    """Show the summary of a session."""
    return _page(lambda _: [_title(legible.name(shown)), _facts(_id(shown.id), *legible.summary_facts(shown))])


@show.register(SessionList)
def _sessions(shown: SessionList) -> str:
    """Show summaries of sessions, as a table."""
    return _page(
        lambda limits: [
            _facts(count(len(shown), "session")),
            *([_session_table(shown, min(limits.items, 100))] if shown else []),
        ]
    )


@show.register(Trajectory)
def _trajectory(shown: Trajectory) -> str:
    """Show tool calls, as a timeline and a list."""
    if not shown:
        return _page(lambda _: [_facts(timeline.summary(shown))])
    head = [_facts(timeline.summary(shown)), element("div", timeline.picture(shown), class_="oxs-svg")]
    return _page(lambda limits: [*head, _steps(shown, limits, is_open=len(shown) <= 5)])


@show.register(StateStore)
def _store(shown: StateStore) -> str:
    """Show a store: its categories with the number and size of their documents, and its latest sessions."""
    found = overview.survey(shown)
    head = [_title(legible.line(str(shown.base_path), 300)), _facts(*found.facts)]
    head += [element("div", legible.line(note, 300), class_="oxs-bad") for note in found.notes]
    latest = [_session_table(found.sessions[: overview.LATEST], overview.LATEST)] if found.sessions else []
    return _page(lambda limits: chain(head, _categories(found, limits), latest))


def _page(contents: Callable[[_Limits], Iterable[Markup]]) -> str:
    """Put together what is small enough."""
    pages = (_bounded(contents(limits)) for limits in _LIMITS)
    return str(next(page for page in pages if page is not None))


def _bounded(parts: Iterable[Markup]) -> Markup | None:
    kept: list[Markup] = []
    size = len(STYLE)
    for part in parts:
        kept.append(part)
        size += len(part.encode())
        if size > _MOST - 200:
            return None
    # The classes keep MathJax from reading formulas, and their links, into what is said.
    return element("div", STYLE, *kept, class_="oxs tex2jax_ignore mathjax_ignore")


# Turns.


def _turns(turns: Sequence[Turn], user: str, limits: _Limits) -> Iterator[Markup]:
    def shown(numbered: Iterable[tuple[int, Turn]]) -> Iterator[Markup]:
        for number, turn in numbered:
            is_open = len(turns) <= 8 or number > len(turns) - 3
            yield _turn(number, turn, user, limits, is_open=is_open)

    first, left, last = legible.ends(turns, limits.items)
    yield from shown(first)
    if left:
        yield _left_out(count(left, "turn"))
    yield from shown(last)


def _turn(number: int, turn: Turn, user: str, limits: _Limits, *, is_open: bool) -> Markup:
    said = turn.message or turn.response
    peek = legible.line(said.content, 90) if said else legible.tools(turn.steps, 3)
    parts: list[Markup] = []
    if turn.message:
        parts.append(_said(turn.message, "oxs-user", legible.line(user, 60), limits))
    if turn.steps:
        parts.append(_steps(turn.steps, limits, is_open=len(turn.steps) <= 4))
    if turn.response:
        kind = "oxs-agent oxs-failed" if turn.response.evaluation_passed is False else "oxs-agent"
        parts.append(_said(turn.response, kind, "agent", limits, *legible.judgement(turn.response)))
    calls = f" · {legible.tool_calls(turn.steps)}" if turn.steps and said else ""
    head = element(
        "summary", f"Turn {number} ", element("span", peek, element("span", calls, class_="oxs-dim"), class_="oxs-peek")
    )
    return element("details", head, *parts, class_="oxs-turn", open=is_open)


def _said(record: UserMessage | AgentResponse, kind: str, who: str, limits: _Limits, *facts: str) -> Markup:
    by = element(
        "div", element("b", who), _time(record.timestamp), *(element("span", fact) for fact in facts), class_="oxs-by"
    )
    return element("div", by, _text(record.content, limits.text), class_=f"oxs-said {kind}")


def _text(text: str, limit: int) -> Markup:
    if not text.strip():
        return element("div", "(empty)", class_="oxs-cut")
    parts = [_prose(part) if type(part) is str else [part] for part in _excerpt(text, limit)]
    is_long = len(text) > 2500 or text.count("\n", 0, 2500) > 40
    classes = "oxs-text oxs-long" if is_long else "oxs-text"
    return element("pre", *chain.from_iterable(parts), class_=classes, dir="auto")


def _excerpt(text: str, limit: int) -> list[str]:
    head, left, tail = legible.excerpt(text, limit)
    if not left:
        return [head]
    return [head, element("span", f"\n… {count(left, 'character')} left out …\n", class_="oxs-cut"), tail]


def _prose(text: str) -> Iterator[str]:
    """Give a text with what stands between Markdown's fences as code. Nothing else of Markdown is read."""
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
    first, left, last = legible.ends(steps, limits.steps)
    parts = [_step(step, limits.text) for _, step in first]
    if left:
        parts.append(_left_out(count(left, "tool call")))
    parts += [_step(step, limits.text) for _, step in last]
    text = f"{legible.tool_calls(steps)}: {legible.tools(steps, 4)}"
    return element("details", element("summary", text), *parts, class_="oxs-steps", open=is_open)


def _step(step: TrajectoryStepRecord, limit: int) -> Markup:
    mark = (
        element("span", "✗", class_="oxs-bad", title="failed") if step.is_error else element("span", "✓", title="done")
    )
    name = element("b", legible.line(step.tool_name, 60), class_="oxs-bad" if step.is_error else "")
    given = legible.arguments(step.tool_args, min(limit, 200))
    call = element("span", name, f"({given})", class_="oxs-call")
    took = element("span", legible.duration(step.duration_ms), class_="oxs-num")
    details = [element("div", _time(step.timestamp), " ", legible.line(step.tool_call_id, 60), class_="oxs-dim")]
    if given.endswith("…"):
        details.append(element("pre", legible.json_text(step.tool_args, limit, indent=2), class_="oxs-json"))
    if step.output_summary.strip():
        details.append(element("pre", *_excerpt(step.output_summary, limit), class_="oxs-json"))
    return element("details", element("summary", mark, call, took), *details, class_="oxs-step")


# What is free-form.


def _free_form(shown: Session, limits: _Limits) -> Iterator[Markup]:
    for name, values in (("metadata", shown.metadata), ("other keys", shown.extra)):
        if values:
            yield _values(name, values, limits)


def _values(name: str, values: Mapping[str, Any], limits: _Limits) -> Markup:
    rows = [
        element(
            "tr",
            element("th", legible.line(str(key), 60)),
            element(
                "td", element("pre", legible.json_text(values[key], limits.text // 2, indent=2), class_="oxs-json")
            ),
        )
        for key in list(values)[: limits.steps]
    ]
    if left := len(values) - len(rows):
        rows.append(element("tr", element("td", f"… and {left:,} more", colspan=2, class_="oxs-cut")))
    head = element("summary", f"{name}: {count(len(values), 'key')}", class_="oxs-dim")
    return element("details", head, element("table", *rows), class_="oxs-turn")


# Summaries and categories.


def _table(heads: Sequence[Markup], rows: Iterable[Markup]) -> Markup:
    return element("table", element("thead", element("tr", *heads)), element("tbody", *rows))


def _session_table(shown: Sequence[SessionSummary], most: int) -> Markup:
    heads = [
        element("th", "updated (UTC)"),
        element("th", "session"),
        element("th", "user", class_="oxs-wide"),
        element("th", "messages", class_="oxs-num"),
    ]
    first, left, last = legible.ends(shown, most)
    rows = [_session_row(found) for _, found in first]
    if left:
        rows.append(element("tr", element("td", _left_out(count(left, "session")), colspan=4)))
    rows += [_session_row(found) for _, found in last]
    return _table(heads, rows)


def _session_row(shown: SessionSummary) -> Markup:
    user = legible.line(shown.user_id, 40)
    by = element("span", f" of {user}", class_="oxs-narrow")  # where there is no room for another column
    return element(
        "tr",
        element("td", legible.minute(shown.updated_at)),
        element("td", element("div", legible.name(shown)), element("div", _id(shown.id), by, class_="oxs-dim")),
        element("td", user, class_="oxs-wide"),
        element("td", f"{shown.message_count:,}", class_="oxs-num"),
    )


def _categories(found: overview.Overview, limits: _Limits) -> Iterator[Markup]:
    if not found.categories:
        return
    heads = [
        element("th", "category"),
        element("th", "documents", class_="oxs-num"),
        element("th", "size", class_="oxs-num"),
        element("th", class_="oxs-wide"),
    ]
    largest = max(category.size for category in found.categories) or 1
    shown = found.categories[: min(limits.items, 50)]
    rows = [
        element(
            "tr",
            element("td", legible.line(category.name, 120)),
            element("td", f"{category.documents:,}", class_="oxs-num"),
            element("td", legible.size(category.size), class_="oxs-num"),
            element(
                "td",
                element("div", class_="oxs-bar", style=f"width:{100 * category.size / largest:.1f}%"),
                class_="oxs-wide",
                style="width:35%",
            ),
        )
        for category in shown
    ]
    if left := len(found.categories) - len(shown):
        rows.append(element("tr", element("td", f"… and {left:,} more", colspan=4, class_="oxs-cut")))
    yield _table(heads, rows)


# Small parts.


def _title(text: str) -> Markup:
    return element("div", text, class_="oxs-title")


def _facts(*facts: str) -> Markup:
    return element("div", *(element("span", fact) for fact in facts), class_="oxs-facts")


def _id(text: str) -> Markup:
    return element("span", legible.line(text, 80), class_="oxs-id")


def _time(moment: datetime) -> Markup:
    return element("time", legible.clock(moment), title=f"{legible.period(moment, moment)}")


def _left_out(what: str) -> Markup:
    return element("div", f"… {what} left out …", class_="oxs-left oxs-cut")
