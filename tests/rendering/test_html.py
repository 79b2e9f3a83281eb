"""HTML of sessions and stores, as a parser reads it. `test_browser` tests it in a browser."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import attrs
import pytest

from oxios_state import (
    AgentResponse,
    Session,
    SessionList,
    SessionSummary,
    StateStore,
    Trajectory,
    TrajectoryStepRecord,
    UserMessage,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMIT = 200_000


class Rendered(HTMLParser):
    """The HTML of an object: its text, and its elements and classes."""

    def __init__(self, thing: Any) -> None:
        super().__init__()
        self.html: str = thing._repr_html_()
        self.text = ""
        self.tags: list[str] = []
        self.classes: list[str] = []
        self.open = 0
        self._inside: list[str] = []
        self.feed(self.html)
        self.close()
        assert self._inside == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside.append(tag)
        self.tags.append(tag)
        self.classes += (dict(attrs).get("class") or "").split()
        self.open += any(key == "open" for key, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._inside:
            self.text += f"{data}|"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def step(seconds: float, **changes: Any) -> TrajectoryStepRecord:
    values: dict[str, Any] = {"tool_name": "bash", "tool_args": {"cmd": "ls"}, "duration_ms": 12}
    return TrajectoryStepRecord(**{**values, **changes}, timestamp=at(seconds))


def conversation(turns: int, text: str = "said", steps: int = 1) -> Session:
    return Session(
        "ada",
        "s",
        user_messages=[UserMessage(f"{text} {n}", timestamp=at(10 * n)) for n in range(turns)],
        agent_responses=[AgentResponse(f"{text} back {n}", timestamp=at(10 * n + 5)) for n in range(turns)],
        trajectory_steps=[step(10 * n + 3) for n in range(turns) for _ in range(steps)],
        created_at=NOON,
    )


def test_a_session_shows_its_turns_with_their_tool_calls() -> None:
    session = conversation(2)
    session.agent_responses[1] = AgentResponse(
        "No", phase_reached="execute", evaluation_passed=False, timestamp=at(15), seed_id="x"
    )
    session.set_metadata("title", "Two turns")
    session.set_active_persona("dev")
    rendered = Rendered(session)
    order = ["Two turns|", "|ada|", "2 messages|", "persona dev|", "said 0|", "bash|", "said back 0|", "said 1|", "No|"]
    place = 0
    for text in order:
        assert text in rendered.text[place:]
        place = rendered.text.index(text, place)
    assert rendered.text.count("|bash|(cmd=") == 2
    assert "reached execute|evaluation failed|" in rendered.text
    assert rendered.classes.count("oxs-failed") == 1
    assert rendered.tags.count("svg") == 1


def test_a_session_may_have_only_one_kind_of_record() -> None:
    assert "hello|" in Rendered(Session("u", user_messages=[UserMessage("hello")])).text
    assert "hello|" in Rendered(Session("u", agent_responses=[AgentResponse("hello")])).text
    assert "bash|(cmd=" in Rendered(Session("u", trajectory_steps=[step(0)])).text
    assert "0 messages|" in Rendered(Session("u")).text


def test_fenced_text_is_code() -> None:
    rendered = Rendered(Session("u", user_messages=[UserMessage("see\n```python\nx = 1\n```\n\nwell\n~~~\n")]))
    assert rendered.tags.count("code") == 1
    assert "see|x = 1|well\n~~~|" in rendered.text


def test_a_blank_message_is_marked_as_empty() -> None:
    assert "(empty)|" in Rendered(Session("u", user_messages=[UserMessage(" \n")])).text


def test_metadata_and_unknown_keys_are_shown() -> None:
    session = Session("u", metadata={f"k{n}": {"n": n} for n in range(100)}, extra={"project_id": "p-7"})
    text = Rendered(session).text
    assert "metadata: 100 keys|" in text
    assert '"n": 59' in text
    assert "… and 40 more|" in text
    assert "other keys: 1 key|project_id|" in text


def test_a_long_session_folds_all_but_its_last_turns() -> None:
    assert Rendered(conversation(8)).open == 1 + 8 + 8  # the timeline, the turns, the tool calls of each
    rendered = Rendered(conversation(9, steps=0))
    assert rendered.open == 3
    assert "Turn 1 |said 0|" in rendered.text


def test_a_folded_turn_shows_a_preview() -> None:
    session = conversation(9)
    session.trajectory_steps[0] = step(3, is_error=True)
    assert "Turn 1 |said 0| · 1 tool call, 1 failed|" in Rendered(session).text


def test_a_huge_session_shows_its_first_and_last_turns() -> None:
    rendered = Rendered(conversation(5000))
    assert len(rendered.html.encode()) <= LIMIT
    assert "Turn 1 |" in rendered.text
    assert "Turn 5000 |" in rendered.text
    turns = rendered.classes.count("oxs-turn")
    assert turns >= 60
    assert f"… {5000 - turns:,} turns left out …|" in rendered.text


def test_a_turn_with_many_tool_calls_shows_the_first_and_last() -> None:
    rendered = Rendered(conversation(1, steps=500))
    left_out = 500 - rendered.classes.count("oxs-step")
    assert f"… {left_out} tool calls left out …|" in rendered.text
    assert rendered.classes.count("oxs-step") >= 16


def test_a_long_text_shows_its_beginning_and_end() -> None:
    session = Session("u", user_messages=[UserMessage(f"begin {'x' * 10**6} end")])
    rendered = Rendered(session)
    assert "|begin xx" in rendered.text
    assert "\n… 994,010 characters left out …\n|" in rendered.text
    assert "xx end|" in rendered.text
    assert "oxs-long" in rendered.classes


# The characters that take the most bytes of HTML.
LONGEST = ['"', "\n", "\U000e0041", "\x80", "{{", "名", "😀"]


@pytest.mark.parametrize("character", LONGEST, ids=ascii)
def test_html_is_at_most_200_kb_whatever_the_characters(character: str) -> None:
    text = character * 4000
    session = conversation(300, text)
    session.trajectory_steps = [
        TrajectoryStepRecord(
            f"{n % 9}{text}", {text: text}, text, 5, is_error=True, tool_call_id=text, timestamp=at(n % 300 * 10)
        )
        for n in range(120)
    ]
    session.metadata = {f"{n}{text}": {text: text} for n in range(100)}
    session.extra = dict(session.metadata)
    session.user_id = session.active_seed_id = session.active_persona_id = text
    sessions = SessionList([SessionSummary(text, text, n, text, text, text, NOON, NOON) for n in range(500)])
    for thing in (session, session.trajectory, sessions, sessions[0]):
        rendered = Rendered(thing)
        assert len(rendered.html.encode()) <= LIMIT
        assert "Turn 300 |" in rendered.text or thing is not session


@pytest.mark.parametrize(
    "session",
    [
        Session("u", user_messages=[UserMessage("<&\n" * 10**6)]),
        Session("u", trajectory_steps=[TrajectoryStepRecord("t", {"a": "<" * 10**7}, "&" * 10**7)]),
        Session("u", trajectory_steps=[TrajectoryStepRecord("t", [[n] for n in range(10**5)])]),
    ],
    ids=["text", "argument", "list"],
)
def test_a_huge_record_is_rendered_quickly(session: Session) -> None:
    started = time.process_time()
    for rendered in (session._repr_html_(), session.trajectory._repr_html_(), str(session), repr(session.trajectory)):
        assert len(rendered.encode()) <= LIMIT
    assert time.process_time() - started < 2


def test_values_that_cannot_be_saved_are_rendered() -> None:
    circle: dict[str, Any] = {}
    circle["a"] = circle
    metadata = {"circle": circle, "object": object()}
    with attrs.validators.disabled():
        session = Session("\ud800", user_messages=[UserMessage("\ud800")], metadata=metadata)
        session.trajectory_steps = [TrajectoryStepRecord("t", circle), TrajectoryStepRecord("t", {"a": {1, 2}})]
    rendered = Rendered(session)
    assert "\\ud800|" in rendered.text
    assert "(a dict that is no JSON value)" in rendered.text
    assert rendered.html.encode()


def test_a_list_of_sessions_is_a_table() -> None:
    sessions = SessionList([SessionSummary("s1", "ada", 1200, None, None, "A title", NOON, NOON)])
    rendered = Rendered(sessions)
    assert (
        "1 session|updated (UTC)|session|user|messages|2026-03-01 12:00|A title|s1| of ada|ada|1,200|" in rendered.text
    )
    assert Rendered(SessionList()).text == "0 sessions|"


def test_a_long_list_shows_its_first_and_last_sessions() -> None:
    rendered = Rendered(SessionList(SessionSummary(f"s{n}", "u", n, None, None, None, NOON, NOON) for n in range(5000)))
    assert rendered.tags.count("tr") == 102
    assert "… 4,900 sessions left out …|" in rendered.text
    assert "s4999|" in rendered.text


def test_a_summary_is_a_card() -> None:
    rendered = Rendered(SessionSummary("s1", "ada", 1, "seed-9", "p", None, NOON, NOON))
    assert rendered.text == "(no title)|s1|ada|1 message|2026-03-01 12:00:00 UTC|project p|seed seed-9|"


def test_a_trajectory_is_a_timeline_and_a_list_of_calls() -> None:
    rendered = Rendered(Trajectory([step(0, output_summary="done"), step(1, tool_name="grep", is_error=True)]))
    assert rendered.text.startswith("2 tool calls, 1 failed, 24 ms of work")
    assert rendered.tags.count("svg") == 1
    assert rendered.classes.count("oxs-step") == 2
    assert "2 tool calls, 1 failed: bash, grep|" in rendered.text
    assert Rendered(Trajectory()).text == "0 tool calls|"


def test_a_store_shows_its_categories_and_latest_sessions(tmp_path: Path) -> None:
    store = StateStore(tmp_path, durable=False)
    for n in range(60):
        store.save_json(f"config/{n}", "a", "x" * n)
    for n in range(12):
        store.save_session(Session("ada", f"s{n}", created_at=at(n)))
    rendered = Rendered(store)
    assert f"{tmp_path}|72 documents|" in rendered.text
    assert "12 sessions|" in rendered.text
    assert "… and 11 more|" in rendered.text
    assert "s11|" in rendered.text
    assert "s1|" not in rendered.text
    assert Rendered(StateStore(tmp_path / "none")).text.endswith(
        "the directory does not exist yet: the first save creates it|"
    )


def test_a_store_of_empty_documents_is_rendered(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_markdown("notes", "a", "")
    assert "notes|1|0 B|" in Rendered(store).text


def test_html_has_no_blank_line_that_markdown_would_interpret(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_session(conversation(1, "a\n\n[b](javascript:c)\n\n"))
    session = store.load_session("s")
    assert session is not None
    for thing in (store, session, session.trajectory, store.list_sessions(), store.list_sessions()[0]):
        assert "\n\n" not in Rendered(thing).html
