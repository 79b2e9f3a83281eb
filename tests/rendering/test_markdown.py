"""Transcripts, as a CommonMark parser reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from oxios_state import AgentResponse, Session, StateStore, Timestamp, TrajectoryStepRecord, UserMessage
from oxios_state.rendering.escaping import inline_text, quoted, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KERNEL = Path(__file__).parents[1] / "data" / "kernel"
PARSERS = [MarkdownIt("commonmark"), MarkdownIt("gfm-like", {"linkify": False})]

TYPICAL = """\
# List the files

- Session: `typical`
- User: `user-1`
- Created: 2026-03-01T08:00:00Z
- Updated: 2026-03-01T08:00:03.000001Z
- Seed: `seed-9`
- Persona: `dev`

## Turn 1

**User**, 2026-03-01T08:00:00.123456789Z

> List the files

**Tool** `bash`, 2026-03-01T08:00:01.500Z, 12 ms, call `call_0`

```json
{
  "cmd": "ls -la",
  "n": 0
}
```

```text
total 0
```

**Tool** `bash`, 2026-03-01T08:00:01.500Z, 0 ms, call `call_1`, **failed**

```json
{
  "cmd": "ls -la",
  "n": 1
}
```

```text
permission denied
```

**Agent**, 2026-03-01T08:00:03.000001Z, phase `execute`, evaluation passed

> Done:
>
> ```
> a.txt
> ```
"""


def test_a_typical_session_becomes_a_transcript() -> None:
    session = StateStore(KERNEL).load_session("typical")
    assert session is not None
    assert session.to_markdown() == TYPICAL


def test_missing_messages_and_responses_are_marked() -> None:
    session = Session(
        "ada",
        "s",
        created_at=NOON,
        user_messages=[UserMessage("hello", timestamp=NOON + timedelta(1))],
        agent_responses=[AgentResponse("hi", evaluation_passed=False, timestamp=NOON)],
    )
    assert session.to_markdown().partition("\n\n## ")[2] == (
        "Turn 1\n\n*No message.*\n\n**Agent**, 2026-03-01T12:00:00Z, **evaluation failed**\n\n> hi\n\n"
        "## Turn 2\n\n**User**, 2026-03-02T12:00:00Z\n\n> hello\n\n*No response.*\n"
    )


def test_an_empty_session_has_its_id_as_heading() -> None:
    text = "# `s`\n\n- Session: `s`\n- User: `ada`\n- Created: 2026-03-01T12:00:00Z\n- Updated: 2026-03-01T12:00:00Z\n"
    assert Session("ada", "s", created_at=NOON).to_markdown() == text
    assert Session("ada", "s", created_at=NOON, metadata={"title": " \n"}).to_markdown() == text


def test_the_title_is_escaped() -> None:
    assert Session("ada", metadata={"title": "My *files*"}).to_markdown().startswith("# My \\*files\\*\n")


def test_times_are_exact_and_in_utc_where_possible() -> None:
    moments = [
        Timestamp(2026, 3, 1, 12, tzinfo=UTC, nanosecond=7),
        NOON.replace(tzinfo=None),
        datetime.fromisoformat("0001-01-01T00:00:00+09:00"),
        datetime.fromisoformat("2026-03-01T21:00:00+09:00"),
    ]
    for moment, text in zip(moments, ["12:00:00.000000007Z", "12:00:00", "00:00:00+09:00", "12:00:00Z"], strict=True):
        with attrs.validators.disabled():  # two of them cannot be recorded otherwise
            message = UserMessage("a", timestamp=moment)
        assert f"T{text}\n\n> a\n" in Session("ada", user_messages=[message]).to_markdown()


def test_arguments_that_are_not_json_are_shown_as_python() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for args, text in (({"a": {1}}, "{'a': {1}}"), (float("nan"), "nan"), ("\ud800", "'\\ud800'"), (deep, "...")):
        with attrs.validators.disabled():
            session = Session("ada", trajectory_steps=[TrajectoryStepRecord("t", args)])
        assert f"\n```python\n{text}\n```\n" in session.to_markdown()
    while deep:  # unwound, because freeing it at once would need as deep a stack
        deep = deep[0]


# Any content.

MARKS = [
    *("`", "``", "```", "~~~", "````", "<b>", "<!--", "</blockquote>", "<script>", "<`@x.y>", "[a]: /u", "![a](/u)"),
    *("[", "]:", "|", "\\", "# ", "## Turn 1", "===", "---", "- ", "1. ", "> ", "*", "_", "&lt;", "<", "$", "text"),
    *("\n", "\n\n", " ", "  ", "    ", "\t", "\r", "\0", "\x1b", "\x85", "\u2028", "\u202e", "\ud800", "é", '"'),
]
hostile = st.one_of(st.lists(st.sampled_from(MARKS), max_size=12).map("".join), st.text(max_size=20))
hostile_json = st.recursive(hostile, lambda inner: st.dictionaries(hostile, inner, max_size=2), max_leaves=3)


@st.composite
def hostile_sessions(draw: st.DrawFn) -> Session:
    with attrs.validators.disabled():  # text that cannot be recorded is shown, too
        return draw(any_sessions())


@st.composite
def any_sessions(draw: st.DrawFn) -> Session:
    seconds = st.integers(0, 5).map(lambda number: NOON + timedelta(seconds=number))
    maybe = st.none() | hostile
    steps = st.builds(
        TrajectoryStepRecord,
        hostile,
        hostile_json,
        hostile,
        is_error=st.booleans(),
        tool_call_id=hostile,
        timestamp=seconds,
    )
    return Session(
        draw(hostile),
        draw(hostile),
        user_messages=draw(st.lists(st.builds(UserMessage, hostile, timestamp=seconds), max_size=2)),
        agent_responses=draw(
            st.lists(st.builds(AgentResponse, hostile, phase_reached=maybe, timestamp=seconds), max_size=2)
        ),
        trajectory_steps=draw(st.lists(steps, max_size=2)),
        active_seed_id=draw(maybe),
        active_persona_id=draw(maybe),
        metadata={"title": draw(maybe)},
        created_at=NOON,
    )


def expected_structure(session: Session) -> Iterator[tuple[str, str]]:
    """Yield the kind of each block of a transcript, with the tag of a heading or the language of a fence."""
    yield "heading", "h1"
    yield "bullet_list", "ul"
    for turn in session.turns():
        yield "heading", "h2"
        yield "paragraph", "p"
        if turn.message:
            yield "blockquote", "blockquote"
        for step in turn.steps:
            yield "paragraph", "p"
            yield "fence", "python" if "\\ud800" in repr(step.tool_args) else "json"
            if step.output_summary:
                yield "fence", "text"
        yield "paragraph", "p"
        if turn.response:
            yield "blockquote", "blockquote"


def structure(tokens: list[Token]) -> Iterator[tuple[str, str]]:
    for token in tokens:
        if token.level == 0 and token.nesting >= 0:
            yield token.type.removesuffix("_open"), token.info or token.tag


@given(hostile_sessions())
@example(Session("ada", user_messages=[UserMessage(">0")]))
@example(Session("`", "``", user_messages=[UserMessage("```\n# a"), UserMessage("# b")], created_at=NOON))
def test_no_content_changes_the_structure_of_a_transcript(session: Session) -> None:
    text = session.to_markdown()
    text.encode()
    assert visible(text) == text
    for parser in PARSERS:
        env: dict[str, Any] = {}
        tokens = parser.parse(text, env)
        assert list(structure(tokens)) == list(expected_structure(session))
        assert not env.get("references")
        inline = {child.type for token in tokens for child in token.children or ()}
        assert not {"html_inline", "image"} & inline
        assert not any(token.type == "html_block" for token in tokens)
        particulars = takewhile(lambda token: token.tag != "h2", tokens)
        items = [token for token in particulars if token.type == "inline" and token.level == 3]
        assert len(items) == 4 + (session.active_seed_id is not None) + (session.active_persona_id is not None)
        assert [child.type for child in items[0].children or ()] == ["text", "code_inline"]
        assert [child.type for child in items[1].children or ()] == ["text", "code_inline"]


@given(hostile, hostile_json)
def test_code_fences_contain_exactly_the_arguments_and_output(output: str, args: Any) -> None:
    with attrs.validators.disabled():
        session = Session("ada", trajectory_steps=[TrajectoryStepRecord("t", args, output or "x")])
    arguments, output_fence = (token for token in PARSERS[0].parse(session.to_markdown()) if token.type == "fence")
    assert output_fence.content == visible(output or "x") + "\n"
    if arguments.info == "json":
        # JSON escapes ASCII control characters except DEL. The escapes of other invisible characters are those of JSON.
        assert json.loads(arguments.content.replace("\u2421", "\x7f")) == args


@given(hostile)
def test_any_id_is_shown_literally(session_id: str) -> None:
    with attrs.validators.disabled():
        session = Session("ada", session_id)
    tokens = PARSERS[0].parse(session.to_markdown())
    item = next(token for token in tokens if token.type == "inline" and token.level == 3)
    expected = visible(session_id).replace("\n", "␊").replace("\t", "␉") or '""'
    assert (item.children or [])[1].content.strip() == expected.strip()


@given(hostile)
def test_any_title_is_shown_as_plain_text(title: str) -> None:
    for parser in PARSERS:
        heading = parser.parseInline(inline_text(title))[0]
        assert "".join(child.content for child in heading.children or ()) == visible(" ".join(title.split()))
        assert {child.type for child in heading.children or ()} <= {"text", "text_special"}


@given(hostile)
def test_any_message_is_quoted_completely(content: str) -> None:
    lines = quoted(content).split("\n")
    assert all(line == ">" or line.startswith("> ") for line in lines)
    content_or_source = "\n".join(line.removeprefix(">").removeprefix(" ") for line in lines)
    assert visible(content) in content_or_source
