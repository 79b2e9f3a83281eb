"""Transcripts: sessions as Markdown documents for people to read."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any

from oxios_state.codec.json_text import encode_value
from oxios_state.model import timestamps
from oxios_state.model.session import Session
from oxios_state.model.summary import title_of
from oxios_state.model.values import InvalidValueError
from oxios_state.rendering.escaping import fenced, inline_code, inline_text, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from oxios_state.model.records import AgentResponse, TrajectoryStepRecord
    from oxios_state.model.turns import Turn


@singledispatch
def show(thing: object) -> str:
    """Return *thing*, a session, as a transcript: the result of `Session.to_markdown`.

    Raises:
        TypeError: If *thing* is not a session.
    """
    raise TypeError(f"a {type(thing).__name__} has no Markdown form")


@show.register(Session)
def _session(session: Session) -> str:
    blocks = [f"# {inline_text(title_of(session) or '') or inline_code(session.id)}", _particulars(session)]
    for number, turn in enumerate(session.turns(), 1):
        blocks += (f"## Turn {number}", *_turn(turn))
    return "\n\n".join(blocks) + "\n"


def _particulars(session: Session) -> str:
    lines = [
        f"- Session: {inline_code(session.id)}",
        f"- User: {inline_code(session.user_id)}",
        f"- Created: {_time(session.created_at)}",
        f"- Updated: {_time(session.updated_at)}",
    ]
    if session.active_seed_id is not None:
        lines.append(f"- Seed: {inline_code(session.active_seed_id)}")
    if session.active_persona_id is not None:
        lines.append(f"- Persona: {inline_code(session.active_persona_id)}")
    return "\n".join(lines)


def _turn(turn: Turn) -> Iterator[str]:
    if turn.message is None:
        yield "*No message.*"
    else:
        yield f"**User**, {_time(turn.message.timestamp)}"
        yield quoted(turn.message.content)
    for step in turn.steps:
        yield from _step(step)
    if turn.response is None:
        yield "*No response.*"
    else:
        yield _response_line(turn.response)
        yield quoted(turn.response.content)


def _step(step: TrajectoryStepRecord) -> Iterator[str]:
    facts = [f"**Tool** {inline_code(step.tool_name)}", _time(step.timestamp), f"{step.duration_ms} ms"]
    if step.tool_call_id:
        facts.append(f"call {inline_code(step.tool_call_id)}")
    if step.is_error:
        facts.append("**failed**")
    yield ", ".join(facts)
    yield _arguments(step.tool_args)
    if step.output_summary:
        yield fenced(step.output_summary, "text")


def _arguments(value: Any) -> str:
    try:
        return fenced(encode_value(value, 1)[0].decode(), "json")
    except InvalidValueError:  # a value that cannot be saved can still be read
        return fenced(_python_text(value), "python")


def _python_text(value: Any) -> str:
    try:
        return repr(value)
    except RecursionError:
        return "..."


def _response_line(response: AgentResponse) -> str:
    facts = ["**Agent**", _time(response.timestamp)]
    if response.phase_reached is not None:
        facts.append(f"phase {inline_code(response.phase_reached)}")
    if response.evaluation_passed is not None:
        facts.append("evaluation passed" if response.evaluation_passed else "**evaluation failed**")
    return ", ".join(facts)


def _time(moment: datetime) -> str:
    try:
        return timestamps.render(moment)
    except (ValueError, OverflowError):  # no time zone, or beyond what UTC can express; it cannot be saved
        return moment.isoformat()
