"""What is shown of sessions and stores in a notebook, read as HTML. How it looks and behaves: `test_browser`."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

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


class Shown(HTMLParser):
    """What an object shows: its text, and how often each element and class is there."""

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


def test_a_session_shows_its_turns_with_the_tool_calls_that_led_to_each_response() -> None:
    session = conversation(2)
    session.agent_responses[1] = AgentResponse(
        "No", phase_reached="execute", evaluation_passed=False, timestamp=at(15), seed_id="x"
    )
    session.set_metadata("title", "Two turns")
    session.set_active_persona("dev")
    shown = Shown(session)
    order = ["Two turns|", "|ada|", "2 messages|", "persona dev|", "said 0|", "bash|", "said back 0|", "said 1|", "No|"]
    place = 0
    for text in order:
        assert text in shown.text[place:]
        place = shown.text.index(text, place)
    assert shown.text.count("|bash|(cmd=") == 2
    assert "reached execute|evaluation failed|" in shown.text
    assert shown.classes.count("oxs-failed") == 1
    assert shown.tags.count("svg") == 1


def test_messages_alone_responses_alone_and_tool_calls_alone_are_shown() -> None:
    assert "hello|" in Shown(Session("u", user_messages=[UserMessage("hello")])).text
    assert "hello|" in Shown(Session("u", agent_responses=[AgentResponse("hello")])).text
    assert "bash|(cmd=" in Shown(Session("u", trajectory_steps=[step(0)])).text
    assert "0 messages|" in Shown(Session("u")).text


def test_what_stands_between_fences_is_code() -> None:
    shown = Shown(Session("u", user_messages=[UserMessage("see\n```python\nx = 1\n```\n\nwell\n~~~\n")]))
    assert shown.tags.count("code") == 1
    assert "see|x = 1|well\n~~~|" in shown.text


def test_a_text_of_nothing_says_so() -> None:
    assert "(empty)|" in Shown(Session("u", user_messages=[UserMessage(" \n")])).text


def test_metadata_and_unknown_keys_are_shown() -> None:
    session = Session("u", metadata={f"k{n}": {"n": n} for n in range(100)}, extra={"project_id": "p-7"})
    text = Shown(session).text
    assert "metadata: 100 keys|" in text
    assert '"n": 59' in text
    assert "… and 40 more|" in text
    assert "other keys: 1 key|project_id|" in text


def test_a_short_session_is_unfolded_and_of_a_long_one_the_last_turns() -> None:
    assert Shown(conversation(8)).open == 1 + 8 + 8  # the timeline, the turns, the tool calls of each
    shown = Shown(conversation(9, steps=0))
    assert shown.open == 3
    assert "Turn 1 |said 0|" in shown.text


def test_a_folded_turn_says_what_is_in_it() -> None:
    session = conversation(9)
    session.trajectory_steps[0] = step(3, is_error=True)
    assert "Turn 1 |said 0| · 1 tool call, 1 failed|" in Shown(session).text


def test_of_a_huge_session_the_first_and_the_last_turns_are_shown_and_how_many_are_not() -> None:
    shown = Shown(conversation(20_000))
    assert len(shown.html.encode()) <= LIMIT
    assert "Turn 1 |" in shown.text
    assert "Turn 20000 |" in shown.text
    turns = shown.classes.count("oxs-turn")
    assert turns >= 60
    assert f"… {20_000 - turns:,} turns left out …|" in shown.text


def test_of_many_tool_calls_in_a_turn_the_first_and_the_last_are_shown() -> None:
    shown = Shown(conversation(1, steps=500))
    left_out = 500 - shown.classes.count("oxs-step")
    assert f"… {left_out} tool calls left out …|" in shown.text
    assert shown.classes.count("oxs-step") >= 16


def test_of_a_long_text_the_beginning_and_the_end_are_shown() -> None:
    session = Session("u", user_messages=[UserMessage(f"begin {'x' * 10**6} end")])
    shown = Shown(session)
    assert "|begin xx" in shown.text
    assert "\n… 994,010 characters left out …\n|" in shown.text
    assert "xx end|" in shown.text
    assert "oxs-long" in shown.classes


# Characters that take most room in HTML.
WORST = ['"', "\n", "\U000e0041", "\x80", "{{", "名", "😀"]


@pytest.mark.parametrize("character", WORST, ids=ascii)
def test_however_it_is_written_the_html_is_at_most_200_kb(character: str) -> None:
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
        shown = Shown(thing)
        assert len(shown.html.encode()) <= LIMIT
        assert "Turn 300 |" in shown.text or thing is not session


@pytest.mark.parametrize(
    "session",
    [
        Session("u", user_messages=[UserMessage("<&\n" * 10**7)]),
        Session("u", trajectory_steps=[TrajectoryStepRecord("t", {"a": "<" * 10**8}, "&" * 10**8)]),
        Session("u", trajectory_steps=[TrajectoryStepRecord("t", [[n] for n in range(10**5)])]),
    ],
    ids=["text", "argument", "list"],
)
def test_a_huge_record_is_shown_in_a_moment(session: Session) -> None:
    started = time.process_time()
    for shown in (session._repr_html_(), session.trajectory._repr_html_(), str(session), repr(session.trajectory)):
        assert len(shown.encode()) <= LIMIT
    assert time.process_time() - started < 5


def test_what_could_not_be_saved_is_shown_all_the_same() -> None:
    circle: dict[str, Any] = {}
    circle["a"] = circle
    session = Session("\ud800", user_messages=[UserMessage("\ud800")], metadata={"circle": circle, "object": object()})
    session.trajectory_steps = [TrajectoryStepRecord("t", circle), TrajectoryStepRecord("t", {"a": {1, 2}})]
    shown = Shown(session)
    assert "\\ud800|" in shown.text
    assert "(a dict that is no JSON value)" in shown.text
    assert shown.html.encode()


def test_a_list_of_sessions_is_a_table() -> None:
    sessions = SessionList([SessionSummary("s1", "ada", 1200, None, None, "A title", NOON, NOON)])
    shown = Shown(sessions)
    assert "1 session|updated (UTC)|session|user|messages|2026-03-01 12:00|A title|s1| of ada|ada|1,200|" in shown.text
    assert Shown(SessionList()).text == "0 sessions|"


def test_of_many_sessions_the_first_and_the_last_are_shown() -> None:
    shown = Shown(SessionList(SessionSummary(f"s{n}", "u", n, None, None, None, NOON, NOON) for n in range(5000)))
    assert shown.tags.count("tr") == 102
    assert "… 4,900 sessions left out …|" in shown.text
    assert "s4999|" in shown.text


def test_a_summary_is_a_card() -> None:
    shown = Shown(SessionSummary("s1", "ada", 1, "seed-9", "p", None, NOON, NOON))
    assert shown.text == "(no title)|s1|ada|1 message|2026-03-01 12:00:00 UTC|project p|seed seed-9|"


def test_a_trajectory_is_a_timeline_with_the_calls_below() -> None:
    shown = Shown(Trajectory([step(0, output_summary="done"), step(1, tool_name="grep", is_error=True)]))
    assert shown.text.startswith("2 tool calls, 1 failed, 24 ms of work")
    assert shown.tags.count("svg") == 1
    assert shown.classes.count("oxs-step") == 2
    assert "2 tool calls, 1 failed: bash, grep|" in shown.text
    assert Shown(Trajectory()).text == "0 tool calls|"


def test_a_store_is_an_overview(tmp_path: Path) -> None:
    store = StateStore(tmp_path, durable=False)
    for n in range(60):
        store.save_json(f"config/{n}", "a", "x" * n)
    for n in range(12):
        store.save_session(Session("ada", f"s{n}", created_at=at(n)))
    shown = Shown(store)
    assert f"{tmp_path}|72 documents|" in shown.text
    assert "12 sessions|" in shown.text
    assert "… and 11 more|" in shown.text
    assert "s11|" in shown.text
    assert "s1|" not in shown.text
    assert Shown(StateStore(tmp_path / "none")).text.endswith(
        "there is no such directory yet: the first save makes it|"
    )


def test_a_store_of_empty_documents_is_shown(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_markdown("notes", "a", "")
    assert "notes|1|0 B|" in Shown(store).text


def test_no_blank_line_lets_markdown_read_what_is_said(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_session(conversation(1, "a\n\n[b](javascript:c)\n\n"))
    session = store.load_session("s")
    assert session is not None
    for thing in (store, session, session.trajectory, store.list_sessions(), store.list_sessions()[0]):
        assert "\n\n" not in Shown(thing).html
