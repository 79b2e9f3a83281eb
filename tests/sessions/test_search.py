"""Search: where sessions contain a text, and which files are decoded to find out."""

from __future__ import annotations

import gc
import json
import logging
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from unicodedata import combining, normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oxios_state import AgentResponse, SearchHit, Session, StateStore, TrajectoryStepRecord, UserMessage
from oxios_state.sessions.search import _FOLDED_TO_ASCII, _MARK, Needle

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state", durable=False)


def minute(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


def saved(store: StateStore, session_id: str, *messages: str, day: int = 0, **fields: Any) -> Session:
    texts = [UserMessage(text, timestamp=NOON) for text in messages]
    session = Session("ada", session_id, created_at=NOON + timedelta(days=day), user_messages=texts, **fields)
    store.save_session(session)
    return session


def test_messages_tool_calls_and_responses_are_searched_turn_by_turn(store: StateStore) -> None:
    session = Session(
        "ada",
        "s",
        created_at=NOON,
        user_messages=[UserMessage("Fish?", timestamp=minute(0)), UserMessage("More FISH", timestamp=minute(10))],
        trajectory_steps=[
            TrajectoryStepRecord("fish", {"cmd": "ls"}, "nothing", timestamp=minute(1)),
            TrajectoryStepRecord("cat", {"fish": [{"a": "a fish"}, "fish"]}, "the fish", timestamp=minute(11)),
        ],
        agent_responses=[
            AgentResponse("no", timestamp=minute(5)),
            AgentResponse("Here: fish", timestamp=minute(15), phase_reached="fish"),
        ],
        metadata={"title": "fish"},
    )
    store.save_session(session)
    hits = list(store.search_sessions("fish"))
    assert [(hit.turn, hit.where, hit.index, hit.snippet) for hit in hits] == [
        (None, "title", None, "fish"),
        (0, "message", 0, "Fish?"),
        (0, "tool_name", 0, "fish"),
        (1, "message", 1, "More FISH"),
        (1, "tool_args", 1, "a fish"),
        (1, "output", 1, "the fish"),
        (1, "response", 1, "Here: fish"),
    ]
    assert {hit.session_id for hit in hits} == {"s"}
    assert [hit.summary for hit in hits] == store.list_sessions() * 7
    turn, index = hits[4].turn, hits[4].index
    assert turn is not None
    assert index is not None
    assert session.turns()[turn].steps[0] is session.trajectory[index]


@pytest.mark.parametrize("title", ["the fish", "FISH", ["fish"], {"a": "fish"}, None, 1])
def test_a_title_is_searched_where_the_metadata_has_a_text(store: StateStore, title: Any) -> None:
    saved(store, "s", "hello", metadata={"title": title, "topic": "fish"})
    assert [hit.where for hit in store.search_sessions("fish")] == ["title"] * isinstance(title, str)
    assert [hit.where for hit in store.search_sessions("hello")] == ["message"]  # not as the title that a list shows


def test_hits_are_ordered_by_session_and_filtered(store: StateStore) -> None:
    for day, session_id in enumerate("abc"):
        saved(store, session_id, "one", "one", day=day, metadata={"project_id": "p"} if session_id != "b" else {})
    search = store.search_sessions
    assert [hit.session_id for hit in search("one")] == ["c", "c", "b", "b", "a", "a"]
    assert [hit.session_id for hit in search("one", project_id="p", updated_before="3 March 2026")] == ["a", "a"]
    assert [hit.session_id for hit in search("one", limit=3)] == ["c", "c", "b"]
    assert list(search("one", limit=0)) == []
    assert len(list(search("one", limit=2**80))) == 6
    assert list(search("one", user_id="bob")) == []
    assert list(search("two")) == []


@pytest.mark.parametrize("text", ["8080", '"quoted"', "C:\\dir", "a/b", "two\nlines", "tab\there", "\x1b[0m"])
def test_numbers_and_escaped_characters_are_found(store: StateStore, text: str) -> None:
    args = {"a": [None, True, 0.5, {"port": 18080}], "b": text if text != "8080" else ""}
    session = Session("ada", "s", trajectory_steps=[TrajectoryStepRecord("bash", args)], created_at=NOON)
    store.save_session(session)
    (hit,) = store.search_sessions(text)
    assert hit.where == "tool_args"
    assert not list(store.search_sessions("True"))
    assert not list(store.search_sessions("port"))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Die Straße", "STRASSE"),
        ("DIE STRASSE", "straße"),
        ("DIE STRASSE ü", "straße"),
        ("Die Straße", "STRAẞE"),
        ("ÜBER", "über"),
        ("ΣΟΦΟΣ", "σοφος"),
        ("273 \u212a", "273 k"),
        ("\ufb01le", "FILE"),
        ("İzmir", "İZMIR"),
        ("\u0131l\u0131k", "\u0131L\u0131K"),
        ("emoji 😀 here", "😀 HERE"),
    ],
)
def test_case_is_ignored_in_any_script(store: StateStore, content: str, text: str) -> None:
    saved(store, "s", content)
    path = store.base_path / "sessions/s.json"
    assert [hit.snippet for hit in store.search_sessions(text)] == [content]
    path.write_text(json.dumps(json.loads(path.read_bytes())))  # with all but ASCII escaped
    assert path.read_bytes().isascii()
    assert [hit.snippet for hit in store.search_sessions(text)] == [content]


@pytest.mark.parametrize(
    "content",
    [
        "un café noir",
        "CAFÉ",
        "zażółć gęślą jaźń",  # Polish
        "élève à Noël",
        "안녕하세요 한글",  # Korean: syllables, which are jamo when decomposed
        "がぎぐげご バビブベボ",  # Japanese: kana with dakuten
        "ệ ế ậ",  # Vietnamese, with two accents on one letter
        "Ωμέγα \u2126",
        "Ångström \u212b",
        "ΐ ᾳ ǰ",  # which casefold decomposes
        "q\u0323\u0307 q\u0307\u0323",  # which no single character is, in either order
    ],
)
@pytest.mark.parametrize("writer", ["kernel", "ascii"])
def test_canonical_normalisation_is_ignored(store: StateStore, content: str, writer: str) -> None:
    forms: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
    for form in forms:
        written = normalize(form, content)
        saved(store, "s", written)
        if writer == "ascii":
            path = store.base_path / "sessions/s.json"
            path.write_text(json.dumps(json.loads(path.read_bytes())))
        for text in (content, *content.split()):
            for searched in (normalize("NFC", text), normalize("NFD", text), text.upper(), text.lower()):
                (hit,) = store.search_sessions(searched)
                assert hit.snippet == written  # the text as it is in the file


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("İzmir", "izmir"),
        ("\u0131l\u0131k", "ilik"),
        ("über", "uber"),
        ("café", "cafe"),
        ("がき", "か"),
        ("각", "가"),
        ("ế", "ê"),
        ("\ufb01le \uff21", "A"),  # a full-width letter: compatible, and not canonically equivalent
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_and_dots_are_not_ignored(
    store: StateStore, content: str, text: str, form: Literal["NFC", "NFD"]
) -> None:
    saved(store, "s", normalize(form, content))
    assert not list(store.search_sessions(text))


def folded(text: str) -> str:
    """The form in which texts are compared, computed the simple way."""
    return normalize("NFC", normalize("NFC", text).casefold())


def test_the_list_of_characters_folded_to_ascii_is_complete() -> None:
    characters = {chr(code) for code in range(128, sys.maxunicode + 1)}
    assert {char for char in characters if any(map(str.isascii, folded(char)))} == set(_FOLDED_TO_ASCII)
    assert not set('"\\/').intersection(*map(folded, _FOLDED_TO_ASCII))  # none that JSON escapes


def test_each_combining_mark_is_among_the_characters_of_long_runs() -> None:
    for char in map(chr, range(sys.maxunicode + 1)):
        if combining(normalize("NFD", char)[0]):
            assert re.match(_MARK, char)


LETTERS = 'aeKns"\\/\n\x1b\x7f<=ßéậǰΐᾳ\u017f\u0131\u0130ü😀' + "\u0301\u0323\u0345\u0338\u0f73"
LETTERS += "が\u3099か한하\u1112\u1161\u11ab\u212b\u212a\u1e9a\u09c7\u09be\u037e"
TEXTS = st.text(st.sampled_from(LETTERS), max_size=12)


@given(
    TEXTS, st.text(st.sampled_from(LETTERS), min_size=1, max_size=3), st.sampled_from(["kernel", "ascii", "slashes"])
)
@example("\n\u0301x", "\u0301x", "kernel")  # in the file, the accent follows the n of an escape
@example("\n\u0301x", "\n\u0301x", "kernel")
def test_no_file_with_the_text_is_skipped(content: str, text: str, writer: str) -> None:
    raw = json.dumps(content, ensure_ascii=writer == "ascii")
    raw = raw.replace("/", "\\/") if writer == "slashes" else raw
    needle = Needle(text, 40)
    if needle.find(content) is not None:
        assert needle.may_be_in(raw.encode())


@given(TEXTS, TEXTS.filter(bool), st.integers(0, 3))
def test_a_snippet_is_of_the_original_text(content: str, text: str, context: int) -> None:
    snippet = Needle(text, context).find(content)
    assert (snippet is not None) == (folded(text) in folded(content))
    if snippet is not None:
        assert snippet.strip("…") in re.sub(r"\s+", " ", content)
        assert re.sub(r"\s+", " ", folded(text)).strip() in folded(snippet)


@given(TEXTS, TEXTS.filter(bool), st.sampled_from(["NFC", "NFD"]))
def test_the_forms_of_a_text_are_equal_in_a_search(content: str, text: str, form: Literal["NFC", "NFD"]) -> None:
    hits = {
        Needle(searched, 0).find(written) is not None
        for searched in (text, normalize(form, text))
        for written in (content, normalize(form, content))
    }
    assert len(hits) == 1


def test_a_long_run_of_accents_takes_no_quadratic_time(store: StateStore) -> None:
    marks = "\u0301\u0323" * 50_000  # `normalize` alone would take a minute
    saved(store, "s", f"Zalgo {marks} needlé", metadata={"title": marks})
    (hit,) = store.search_sessions("NEEDLÉ")
    assert hit.snippet.endswith("needlé")
    (hit,) = store.search_sessions(f" {marks[2:]}\u0323\u0301 ")
    assert hit.where == "message"


@pytest.mark.parametrize(
    ("content", "text", "context", "snippet"),
    [
        ("a needle b", "NEEDLE", 40, "a needle b"),
        ("aaaa needle bbbb", "needle", 2, "…a needle b…"),
        ("aaaa needle", "needle", 0, "…needle"),
        ("needle bbbb", "needle", 0, "needle…"),
        ("a\n\n  needle\tb", "needle", 40, "a needle b"),
        ("ßßß Maßstab ßßß", "MASSSTAB", 2, "…ß Maßstab ß…"),
        ("ﬃ İ needle ß", "needle", 1, "…needle…"),
        ("needle and needle", "needle", 3, "needle an…"),
        ("weiß", "s", 0, "…ß"),
        ("e\u0301 cafe\u0301 noir", "CAFÉ", 1, "…cafe\u0301…"),
        ("ßé café noir ß", "cafe\u0301", 1, "…café…"),
        ("ß 한글은", "\u1112\u1161\u11ab", 0, "…한…"),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "글", 0, "…\u1100\u1173\u11af"),
        ("か\u3099き", "が", 0, "か\u3099…"),
    ],
)
def test_a_snippet_shows_the_context_on_one_line(content: str, text: str, context: int, snippet: str) -> None:
    assert Needle(text, context).find(content) == snippet


def test_only_files_that_may_have_the_text_are_decoded(settled_store: StateStore, decoded: list[str]) -> None:
    saved(settled_store, "plain", "nothing here")
    saved(settled_store, "other", "nichts für ungut")
    saved(settled_store, "it", "the needle", day=1)
    settled_store.list_sessions()
    decoded.clear()
    assert [hit.session_id for hit in settled_store.search_sessions("needle")] == ["it"]
    assert decoded == ["it"]
    assert list(settled_store.search_sessions("größer")) == []
    assert list(settled_store.search_sessions("sss")) == []
    assert decoded == ["it"]


def test_hits_are_yielded_as_they_are_found_without_a_lock(
    store: StateStore, held_by_another: Callable[[StateStore, str], AbstractContextManager[object]]
) -> None:
    for session_id in "abc":
        saved(store, session_id, "one")
    hits = store.search_sessions("one")
    assert next(hits).session_id == "a"
    with store.edit_session("b") as session:  # which has not been searched yet
        session.user_messages.clear()
    with held_by_another(store, "sessions"):
        assert [hit.session_id for hit in hits] == ["c"]


def test_sessions_changed_since_the_listing_are_searched_as_they_are(
    store: StateStore, caplog: pytest.LogCaptureFixture
) -> None:
    for session_id in ("a", "corrupt", "gone", "moved", "stays"):
        saved(store, session_id, "one")
    hits = store.search_sessions("one", user_id="ada")
    next(hits)
    (store.base_path / "sessions/corrupt.json").write_bytes(b'{"one":')
    store.delete_session("gone")
    store.save_session(Session("bob", "moved", user_messages=[UserMessage("one")]))
    with caplog.at_level(logging.WARNING, "oxios_state"):
        assert [hit.session_id for hit in hits] == ["stays"]
        store.list_sessions()  # logs nothing more
    assert ["corrupt.json: line 1" in record.getMessage() for record in caplog.records] == [True]
    assert caplog.records[0].getMessage().startswith("left out of the search: ")


def test_an_unreadable_file_is_left_out_and_logged_once(store: StateStore, caplog: pytest.LogCaptureFixture) -> None:
    saved(store, "good", "one")
    saved(store, "bad", "one")
    (store.base_path / "sessions/bad.json").write_bytes(b'{"one":')
    with caplog.at_level(logging.WARNING, "oxios_state"):
        assert [hit.session_id for hit in store.search_sessions("one")] == ["good"]
    assert len(caplog.records) == 1


def test_searching_a_missing_base_finds_and_creates_nothing(store: StateStore) -> None:
    assert list(store.search_sessions("one")) == []
    assert not store.base_path.exists()


def test_an_abandoned_search_leaves_no_file_open(store: StateStore) -> None:
    saved(store, "a", "one", "one")
    hits = store.search_sessions("one")
    next(hits)
    del hits
    gc.collect()  # a file left open would be a ResourceWarning, which fails the test
    assert store.delete_session("a")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ([""], {}, ValueError, "the text to search for is empty"),
        ([b"a"], {}, TypeError, "the text to search for must be str, not bytes"),
        (["a"], {"context": -1}, ValueError, "context must not be negative: -1"),
        (["a"], {"context": 1.0}, TypeError, "context must be int, not float"),
    ],
)
def test_bad_arguments_are_refused_at_the_call(
    store: StateStore, arguments: list[Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        store.search_sessions(*arguments, **options)


def test_a_hit_has_a_short_repr(store: StateStore) -> None:
    saved(store, "s", "one")
    (hit,) = store.search_sessions("one")
    assert repr(hit) == "SearchHit(session_id='s', turn=0, where='message', index=0, snippet='one')"
    assert hit == SearchHit("s", 0, "message", 0, "one", hit.summary)
