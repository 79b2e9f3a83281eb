"""Values as people read them, in a notebook and in a terminal: quantities, moments, and texts cut to a length.

What a conversation holds is anybody's: a text may be of any length and hold any character, and arguments any object.
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
_SIZES = ("B", "kB", "MB", "GB", "TB")
_TIMES = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def line(text: str, limit: int) -> str:
    """Give the beginning of a text as one line of at most *limit* characters."""
    words = visible(" ".join(text[: 4 * limit].split()))
    return words if len(words) <= limit and len(text) <= 4 * limit else f"{words[: limit - 1]}…"


def excerpt(text: str, limit: int) -> tuple[str, int, str]:
    """Give the beginning of a text, how many characters are left out, and its end; all of it, if that is short."""
    if len(text) <= limit:
        return text, 0, ""
    head = limit * 2 // 3
    return text[:head], len(text) - limit, text[head - limit :]


def ends(items: Sequence[_T], most: int) -> tuple[list[tuple[int, _T]], int, list[tuple[int, _T]]]:
    """Give the first of *items*, how many are left out, and the last, in which all matter more; numbered from 1."""
    if len(items) <= most:
        return list(enumerate(items, 1)), 0, []
    first = most // 3
    last = most - first
    start = len(items) - last
    return list(enumerate(items[:first], 1)), start - first, list(enumerate(items[start:], start + 1))


def json_text(value: Any, limit: int, indent: int | None = None) -> str:
    """Give a JSON value as text of at most *limit* characters, and of anything else what can be said in these."""
    pieces: list[str] = []
    room = limit
    try:
        # Piece by piece, and only until there is enough.
        for piece in json.JSONEncoder(ensure_ascii=False, default=repr, indent=indent).iterencode(
            _shortened(value, limit)
        ):
            pieces.append(piece[: room + 1])
            room -= len(pieces[-1])
            if room < 0:
                return f"{''.join(pieces)[: limit - 1]}…"
    except Exception:
        return f"(a {type(value).__name__} that is no JSON value)"[:limit]
    return "".join(pieces)


def _shortened(value: Any, limit: int) -> Any:
    """Give a value whose texts are not longer than what is wanted of them: a long one takes long to encode."""
    if isinstance(value, dict):
        return {key: _shortened(inner, limit) if isinstance(inner, str) else inner for key, inner in value.items()}
    return value[: limit + 1] if isinstance(value, str) else value


def arguments(value: Any, limit: int) -> str:
    """Give what a tool was called with, as a call would be written: one line of at most *limit* characters."""
    if not isinstance(value, dict):
        return line(json_text(value, limit), limit)
    given = (f"{line(str(key), limit)}={json_text(value[key], limit)}" for key in islice(value, limit))
    text = ""
    for part in given:
        text += f", {part}" if text else part
        if len(text) > limit:
            break
    return line(text, limit)


def count(number: int, what: str, many: str = "") -> str:
    """Give a number of things: ``1 turn``, ``1,200 turns``; *many* of them, if that is not said with an s."""
    return f"{number:,} {what if number == 1 else many or f'{what}s'}"


def duration(milliseconds: float) -> str:
    """Give a length of time: ``12 ms``, ``3.4 s``, ``2 min 5 s``, ``3 h 20 min``, ``2 d 3 h``."""
    seconds = int(milliseconds // 1000)
    for size, unit, smaller, rest_unit in _TIMES:
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size:,} {unit} {rest} {rest_unit}" if rest else f"{seconds // size:,} {unit}"
    return f"{int(milliseconds // 100) / 10:g} s" if seconds else f"{milliseconds:.0f} ms"


def size(number: float) -> str:
    """Give a number of bytes: ``812 B``, ``3.4 MB``."""
    unit = 0
    while number >= 999.95 and unit < len(_SIZES) - 1:
        number /= 1000
        unit += 1
    return f"{number:,.1f} {_SIZES[unit]}" if unit else f"{number:.0f} B"


def in_utc(moment: datetime) -> datetime:
    """Give a moment in UTC; one without a time zone is taken to be there, and one that would leave it stays."""
    if moment.tzinfo is UTC:
        return moment
    if moment.utcoffset() is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # in the first or the last hours that a datetime can hold
        return moment.replace(tzinfo=UTC)


def milliseconds(moment: datetime) -> float:
    """Give the milliseconds from 1970 to a moment."""
    return in_utc(moment).timestamp() * 1000


def minute(moment: datetime) -> str:
    """Give a moment in UTC to the minute: ``2026-03-01 08:00``."""
    return in_utc(moment).isoformat(" ", "minutes")[:16]


def clock(moment: datetime) -> str:
    """Give the time of day in UTC: ``08:00:03``."""
    return in_utc(moment).isoformat(" ", "seconds")[11:19]


def period(start: datetime, end: datetime) -> str:
    """Give the time from one moment to another: ``2026-03-01 08:00:00 to 08:00:03 UTC``."""
    first, last = (in_utc(moment).isoformat(" ", "seconds")[:19] for moment in (start, end))
    if first == last:
        return f"{first} UTC"
    return f"{first} to {last[11:] if first[:10] == last[:10] else last} UTC"


def tool_calls(steps: Sequence[TrajectoryStepRecord]) -> str:
    """Sum up tool calls: ``12 tool calls, 1 failed``."""
    failed = sum(step.is_error for step in steps)
    return f"{count(len(steps), 'tool call')}, {failed:,} failed" if failed else count(len(steps), "tool call")


def tools(steps: Sequence[TrajectoryStepRecord], most: int) -> str:
    """Say which tools were called how often, the most called first: ``bash (3), grep``."""
    counted = Counter(step.tool_name for step in steps)
    named = [line(name, 40) + (f" ({times:,})" if times > 1 else "") for name, times in counted.most_common(most)]
    return ", ".join(named) + (f" and {count(len(counted) - most, 'other')}" if len(counted) > most else "")


def title(session: Session) -> str:
    """Give what a session is called."""
    return line(title_of(session) or "(no title)", 120)


def facts(session: Session) -> list[str]:
    """Sum up a session: counts, time, and what is set."""
    found = [
        count(len(session.user_messages), "message"),
        count(len(session.agent_responses), "response"),
        tool_calls(session.trajectory_steps),
        period(session.created_at, session.updated_at),
    ]
    return found + _named(seed=session.active_seed_id, persona=session.active_persona_id)


def judgement(response: AgentResponse) -> list[str]:
    """Say what a response says about itself."""
    found = [f"reached {line(response.phase_reached, 60)}"] if response.phase_reached else []
    passed = response.evaluation_passed
    return found if passed is None else [*found, f"evaluation {'passed' if passed else 'failed'}"]


def name(summary: SessionSummary) -> str:
    """Give what a session is called, of its summary."""
    return line(summary.title, 120) if summary.title else "(no title)"


def summary_facts(summary: SessionSummary) -> list[str]:
    """Sum up what a summary says beside the title and the id."""
    found = [
        line(summary.user_id, 60),
        count(summary.message_count, "message"),
        period(summary.created_at, summary.updated_at),
    ]
    return found + _named(project=summary.project_id, seed=summary.active_seed_id)


def _named(**values: str | None) -> list[str]:
    return [f"{what} {line(value, 60)}" for what, value in values.items() if value]
