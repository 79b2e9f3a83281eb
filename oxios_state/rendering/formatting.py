"""Text that HTML and plain text share: quantities, times, and conversation content shortened to a limit.

Conversation content comes from anybody: a text may have any length and contain any character, and the arguments of a
tool call may be any object.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from oxios_state.model.summary import title_of
from oxios_state.rendering.escaping import visible

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from oxios_state.model.records import AgentResponse, TrajectoryStepRecord
    from oxios_state.model.session import Session
    from oxios_state.model.summary import SessionSummary

_T = TypeVar("_T")
_SIZE_UNITS = ("B", "kB", "MB", "GB", "TB")
_TIME_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def one_line(text: str, limit: int) -> str:
    """Return the beginning of a text as one line of at most *limit* characters."""
    words = visible(" ".join(text[: 4 * limit].split()))
    return words if len(words) <= limit and len(text) <= 4 * limit else f"{words[: limit - 1]}…"


def excerpt(text: str, limit: int) -> tuple[str, int, str]:
    """Shorten a text to *limit* characters.

    Returns:
        Its beginning, how many characters are left out, and its end; the whole text, 0 and ``""`` if it is short.
    """
    if len(text) <= limit:
        return text, 0, ""
    head = limit * 2 // 3
    return text[:head], len(text) - limit, text[head - limit :]


def head_and_tail(items: Sequence[_T], limit: int) -> tuple[list[tuple[int, _T]], int, list[tuple[int, _T]]]:
    """Shorten a sequence to *limit* items, two thirds of them from its end, where conversations matter most.

    Returns:
        The first items, how many are left out, and the last items. Each item comes with its number, from 1.
    """
    if len(items) <= limit:
        return list(enumerate(items, 1)), 0, []
    first = limit // 3
    last = limit - first
    start = len(items) - last
    return list(enumerate(items[:first], 1)), start - first, list(enumerate(items[start:], start + 1))


def json_text(value: Any, limit: int, indent: int | None = None) -> str:
    """Return any object as text of at most *limit* characters: JSON where possible."""
    pieces: list[str] = []
    room = limit
    encoder = json.JSONEncoder(ensure_ascii=False, default=repr, indent=indent)
    try:
        # A huge value is encoded piece by piece, and only until the limit is reached.
        for piece in encoder.iterencode(_with_short_strings(value, limit)):
            pieces.append(piece[: room + 1])
            room -= len(pieces[-1])
            if room < 0:
                return f"{''.join(pieces)[: limit - 1]}…"
    except Exception:
        return f"(a {type(value).__name__} that is no JSON value)"[:limit]
    return "".join(pieces)


def _with_short_strings(value: Any, limit: int) -> Any:
    """Cut the strings of a value to what is displayed of them: the encoder takes a string as one piece."""
    if isinstance(value, dict):
        return {
            key: _with_short_strings(inner, limit) if isinstance(inner, str) else inner for key, inner in value.items()
        }
    return value[: limit + 1] if isinstance(value, str) else value


def call_arguments(value: Any, limit: int) -> str:
    """Return the arguments of a tool call as a call in Python has them: one line of at most *limit* characters."""
    if not isinstance(value, dict):
        return one_line(json_text(value, limit), limit)
    arguments = (f"{one_line(str(key), limit)}={json_text(value[key], limit)}" for key in islice(value, limit))
    text = ""
    for argument in arguments:
        text += f", {argument}" if text else argument
        if len(text) > limit:
            break
    return one_line(text, limit)


def count(number: int, singular: str, plural: str = "") -> str:
    """Return a number of things, such as ``1 turn`` or ``1,200 turns``. The plural ends in s by default."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def duration(milliseconds: float) -> str:
    """Return a length of time, such as ``12 ms``, ``3.4 s``, ``2 min 5 s``, ``3 h 20 min`` or ``2 d 3 h``."""
    seconds = int(milliseconds // 1000)
    for size, unit, smaller, rest_unit in _TIME_UNITS:
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size:,} {unit} {rest} {rest_unit}" if rest else f"{seconds // size:,} {unit}"
    return f"{int(milliseconds // 100) / 10:g} s" if seconds else f"{milliseconds:.0f} ms"


def file_size(number: float) -> str:
    """Return a number of bytes, such as ``812 B`` or ``3.4 MB``."""
    unit = 0
    while number >= 999.95 and unit < len(_SIZE_UNITS) - 1:
        number /= 1000
        unit += 1
    return f"{number:,.1f} {_SIZE_UNITS[unit]}" if unit else f"{number:.0f} B"


def in_utc(moment: datetime) -> datetime:
    """Return a moment in UTC. Without a time zone, UTC is assumed."""
    if moment.tzinfo is UTC:
        return moment
    if moment.utcoffset() is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # in the first or the last hours that a datetime can hold
        return moment.replace(tzinfo=UTC)


def epoch_milliseconds(moment: datetime) -> float:
    """Return the milliseconds from 1970 to a moment."""
    return in_utc(moment).timestamp() * 1000


def date_and_time(moment: datetime) -> str:
    """Return a moment in UTC to the minute, such as ``2026-03-01 08:00``."""
    return in_utc(moment).isoformat(" ", "minutes")[:16]


def time_of_day(moment: datetime) -> str:
    """Return the time of day in UTC, such as ``08:00:03``."""
    return in_utc(moment).isoformat(" ", "seconds")[11:19]


def period(start: datetime, end: datetime) -> str:
    """Return the time from one moment to another, such as ``2026-03-01 08:00:00 to 08:00:03 UTC``."""
    first, last = (in_utc(moment).isoformat(" ", "seconds")[:19] for moment in (start, end))
    if first == last:
        return f"{first} UTC"
    return f"{first} to {last[11:] if first[:10] == last[:10] else last} UTC"


def tool_call_count(steps: Sequence[TrajectoryStepRecord]) -> str:
    """Return how many tool calls there are, such as ``12 tool calls, 1 failed``."""
    failed = sum(step.is_error for step in steps)
    return f"{count(len(steps), 'tool call')}, {failed:,} failed" if failed else count(len(steps), "tool call")


def tool_counts(steps: Sequence[TrajectoryStepRecord], limit: int) -> str:
    """Return which tools were called how often, the most called first, such as ``bash (3), grep``."""
    counts = Counter(step.tool_name for step in steps)
    tools = [one_line(name, 40) + (f" ({calls:,})" if calls > 1 else "") for name, calls in counts.most_common(limit)]
    return ", ".join(tools) + (f" and {count(len(counts) - limit, 'other')}" if len(counts) > limit else "")


def session_title(session: Session) -> str:
    """Return the title of a session as one line."""
    return one_line(title_of(session) or "(no title)", 120)


def session_facts(session: Session) -> list[str]:
    """Return what a heading says about a session: counts, time, seed and persona."""
    counts_and_time = [
        count(len(session.user_messages), "message"),
        count(len(session.agent_responses), "response"),
        tool_call_count(session.trajectory_steps),
        period(session.created_at, session.updated_at),
    ]
    return counts_and_time + _named_values(seed=session.active_seed_id, persona=session.active_persona_id)


def response_facts(response: AgentResponse) -> list[str]:
    """Return the phase that a response reached and whether its evaluation passed, where it says so."""
    phase = [f"reached {one_line(response.phase_reached, 60)}"] if response.phase_reached else []
    passed = response.evaluation_passed
    return phase if passed is None else [*phase, f"evaluation {'passed' if passed else 'failed'}"]


def summary_title(summary: SessionSummary) -> str:
    """Return the title of a summarised session as one line."""
    return one_line(summary.title, 120) if summary.title else "(no title)"


def summary_facts(summary: SessionSummary) -> list[str]:
    """Return what a heading says about a summarised session, beside its title and id."""
    facts = [
        one_line(summary.user_id, 60),
        count(summary.message_count, "message"),
        period(summary.created_at, summary.updated_at),
    ]
    return facts + _named_values(project=summary.project_id, seed=summary.active_seed_id)


def _named_values(**values: str | None) -> list[str]:
    return [f"{name} {one_line(value, 60)}" for name, value in values.items() if value]
