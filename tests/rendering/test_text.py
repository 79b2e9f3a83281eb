"""Plain text of sessions and stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

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


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def step(seconds: float, output: str = "", *, is_error: bool = False) -> TrajectoryStepRecord:
    return TrajectoryStepRecord("bash", {"cmd": "ls"}, output, 12, is_error, timestamp=at(seconds))


def conversation(turns: int) -> Session:
    return Session(
        "ada",
        "s",
        user_messages=[UserMessage(f"message {n}", timestamp=at(10 * n)) for n in range(turns)],
        agent_responses=[AgentResponse(f"response {n}", timestamp=at(10 * n + 5)) for n in range(turns)],
        created_at=NOON,
    )


def summary(number: int, title: str | None = None) -> SessionSummary:
    return SessionSummary(f"s{number}", "ada", number, None, "p", title, NOON, NOON)


def test_the_repr_of_a_session_is_one_short_line() -> None:
    session = conversation(2)
    assert repr(session) == (
        "<Session 's' of 'ada': 2 messages, 2 responses, 0 tool calls, updated 2026-03-01 12:00:00+00:00>"
    )
    assert len(repr(Session("u\n\x1b" * 1000, "s" * 1000))) < 300
    assert "\n" not in repr(Session("u\n\x1b"))
    assert "\x1b" not in repr(Session("u\n\x1b"))


def test_a_session_is_a_transcript_in_turns() -> None:
    session = Session(
        "ada",
        "s",
        user_messages=[UserMessage("List the files\n\nall", timestamp=NOON)],
        agent_responses=[
            AgentResponse("Done", phase_reached="execute", evaluation_passed=False, timestamp=at(3)),
            AgentResponse("Again", evaluation_passed=True, timestamp=at(4)),
        ],
        trajectory_steps=[step(1, "a\nb\n"), step(2, is_error=True)],
        active_seed_id="seed-9",
        active_persona_id="dev",
        created_at=NOON,
        updated_at=at(4),
    )
    assert str(session) == (
        """\
List the files
s of ada: 1 message, 2 responses, 2 tool calls, 1 failed, 2026-03-01 12:00:00 to 12:00:04 UTC, seed seed-9, persona dev

[1] ada, 2026-03-01 12:00:00 UTC
    List the files

    all
  - bash(cmd="ls") ok, 12 ms
        a
        b
  - bash(cmd="ls") FAILED, 12 ms
[1] agent, 2026-03-01 12:00:03 UTC, reached execute, evaluation failed
    Done

[2] agent, 2026-03-01 12:00:04 UTC, evaluation passed
    Again"""
    )


def test_an_empty_session_is_two_lines() -> None:
    assert str(Session("ada", "s", created_at=NOON)).split("\n") == [
        "(no title)",
        "s of ada: 0 messages, 0 responses, 0 tool calls, 2026-03-01 12:00:00 UTC",
    ]


def test_a_long_session_shows_its_first_and_last_turns() -> None:
    text = str(conversation(500))
    assert "\n\n... 480 turns left out ...\n\n" in text
    assert "[6] " in text
    assert "[7] " not in text
    assert "[486] " not in text
    assert "[487] " in text
    assert text.endswith("response 499")


def test_a_transcript_is_of_bounded_length() -> None:
    session = conversation(500)
    session.user_messages[3:5] = [UserMessage("x" * 10**6, timestamp=at(30)), UserMessage("\n" * 999, timestamp=at(40))]
    session.trajectory_steps = [step(42, "line\n" * 10_000) for _ in range(500)]
    text = str(session)
    assert "    ... 998,800 characters left out ..." in text
    assert "  ... 488 left out ..." in text
    assert len(text) < 30_000
    assert text.count("\n") < 400


def test_content_cannot_control_the_terminal_or_forge_a_line_of_the_transcript() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\u202e\x9b\r[9] agent\n[9] agent, 2026"
    session = Session(
        hostile, hostile, user_messages=[UserMessage(hostile, timestamp=NOON)], metadata={"title": hostile}
    )
    session.agent_responses = [AgentResponse(hostile, phase_reached=hostile, timestamp=at(2))]
    session.trajectory_steps = [
        TrajectoryStepRecord(hostile, {hostile: hostile}, hostile, timestamp=at(1)),
        TrajectoryStepRecord(hostile, hostile, timestamp=at(1)),
    ]
    session.active_seed_id = session.active_persona_id = hostile
    hostile_summary = SessionSummary(hostile, hostile, 1, hostile, hostile, hostile, NOON, NOON)
    for text in (
        str(session),
        repr(session),
        repr(session.trajectory),
        str(hostile_summary),
        repr(SessionList([hostile_summary])),
    ):
        assert not set(text) & {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u202e"} - {"\n"}
        assert "\n[9]" not in text
    assert str(session).count("\n[") == 2


def test_a_summary_is_one_line() -> None:
    assert str(summary(1, "Title")) == "s1: Title, ada, 1 message, 2026-03-01 12:00:00 UTC, project p"
    assert str(summary(2)) == "s2: (no title), ada, 2 messages, 2026-03-01 12:00:00 UTC, project p"


def test_a_list_of_sessions_is_a_table() -> None:
    sessions = SessionList([summary(1, "A title"), summary(12, "名前"), summary(3)])
    assert repr(sessions) == str(sessions)
    assert repr(sessions).split("\n") == [
        "3 sessions",
        "updated (UTC)     id   user  messages  title",
        "2026-03-01 12:00  s1   ada          1  A title",
        "2026-03-01 12:00  s12  ada         12  名前",
        "2026-03-01 12:00  s3   ada          3  (no title)",
    ]
    assert repr(SessionList()) == "0 sessions"


def test_a_long_list_shows_its_first_and_last_sessions() -> None:
    rows = repr(SessionList(map(summary, range(10_000)))).split("\n")
    assert len(rows) == 43
    assert "...               (9,960 left out)" in rows


def test_a_trajectory_is_a_table() -> None:
    assert repr(Trajectory([step(0), step(1, is_error=True)])).split("\n") == [
        "2 tool calls, 1 failed, 24 ms of work, 2026-03-01 12:00:00 to 12:00:01 UTC",
        '1  12:00:00  12 ms  ok      bash(cmd="ls")',
        '2  12:00:01  12 ms  FAILED  bash(cmd="ls")',
    ]
    assert repr(Trajectory()) == "0 tool calls"


def test_a_printed_store_shows_its_categories_and_latest_sessions(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    assert str(store) == f"{tmp_path}: 0 documents, 0 B, 0 sessions"
    store.save_session(conversation(1))
    store.save_markdown("memory/knowledge", "notes", "x" * 1500)
    (tmp_path / "sessions/bad.json").write_text("{")
    lines = str(store).split("\n")
    assert lines[1:5] == [
        "1 session cannot be read: check() says why",
        "",
        "category          documents    size",
        "memory/knowledge          1  1.5 kB",
    ]
    assert lines[-1] == "2026-03-01 12:00  s   ada          1  message 0"
    options = "durable=True, lock_timeout=30.0, cache_bytes=134217728, max_file_bytes=1073741824, read_only=False"
    assert repr(store) == f"StateStore({str(tmp_path)!r}, {options})"
