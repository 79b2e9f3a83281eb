"""Searching the text of sessions."""

from __future__ import annotations

import gc
import json
import logging
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxios_state import AgentResponse, SearchHit, Session, StateStore, TrajectoryStepRecord, UserMessage
from oxios_state.codec import documents as codec
from oxios_state.sessions.search import _FOLDED_TO_ASCII, Needle
from oxios_state.storage import reads

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


def recorded(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[str]:
    """Note the files that a function is called for, by their names."""
    called: list[str] = []
    function = getattr(module, name)

    def recording(*arguments: Any) -> Any:
        called.append(arguments[-1].stem)
        return function(*arguments)

    monkeypatch.setattr(module, name, recording)
    return called


def test_everything_that_was_said_and_done_is_searched_in_the_order_of_the_turns(store: StateStore) -> None:
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
    found = list(store.search_sessions("fish"))
    assert [(hit.turn, hit.where, hit.index, hit.snippet) for hit in found] == [
        (0, "message", 0, "Fish?"),
        (1, "message", 1, "More FISH"),
        (1, "tool_args", 1, "a fish"),
        (1, "output", 1, "the fish"),
        (1, "response", 1, "Here: fish"),
    ]
    assert {hit.session_id for hit in found} == {"s"}
    assert [hit.summary for hit in found] == store.list_sessions() * 5
    assert session.turns()[found[2].turn].steps[0] is session.trajectory[found[2].index]


def test_hits_come_latest_session_first_and_only_from_those_asked_for(store: StateStore) -> None:
    for day, session_id in enumerate("abc"):
        saved(store, session_id, "one", "one", day=day, metadata={"project_id": "p"} if session_id != "b" else {})
    search = store.search_sessions
    assert [hit.session_id for hit in search("one")] == ["c", "c", "b", "b", "a", "a"]
    assert [hit.session_id for hit in search("one", project_id="p", updated_before="3 March 2026")] == ["a", "a"]
    assert [hit.session_id for hit in search("one", limit=3)] == ["c", "c", "b"]
    assert list(search("one", limit=0)) == []
    assert list(search("one", user_id="bob")) == []
    assert list(search("two")) == []


@pytest.mark.parametrize("text", ["8080", '"quoted"', "C:\\dir", "a/b", "two\nlines", "tab\there", "\x1b[0m"])
def test_numbers_and_what_json_escapes_are_found(store: StateStore, text: str) -> None:
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
def test_case_does_not_matter_in_any_script(store: StateStore, content: str, text: str) -> None:
    saved(store, "s", content)
    path = store.base_path / "sessions/s.json"
    assert [hit.snippet for hit in store.search_sessions(text)] == [content]
    path.write_text(json.dumps(json.loads(path.read_bytes())))  # with all but ASCII escaped
    assert path.read_bytes().isascii()
    assert [hit.snippet for hit in store.search_sessions(text)] == [content]


@pytest.mark.parametrize(("content", "text"), [("İzmir", "izmir"), ("\u0131l\u0131k", "ilik"), ("über", "uber")])
def test_other_letters_are_other_letters(store: StateStore, content: str, text: str) -> None:
    saved(store, "s", content)
    assert not list(store.search_sessions(text))


def test_the_characters_that_are_folded_to_ascii_are_these() -> None:
    folded = {chr(code) for code in range(128, sys.maxunicode + 1) if any(map(str.isascii, chr(code).casefold()))}
    assert folded == set(_FOLDED_TO_ASCII)
    assert all(char.isalpha() or not char.isascii() for char in "".join(folded).casefold())  # none that JSON escapes


@given(
    st.text(st.sampled_from('aKs"\\/\n\x1b\x7fß\u017f\u0131\u0130üé😀k'), max_size=12),
    st.text(st.sampled_from('aKs"\\/\n\x1b\x7fß\u017f\u0131\u0130üé😀k'), min_size=1, max_size=3),
    st.sampled_from(["kernel", "ascii", "slashes"]),
)
def test_no_file_that_has_the_text_is_passed_over(content: str, text: str, writer: str) -> None:
    raw = json.dumps(content, ensure_ascii=writer == "ascii")
    raw = raw.replace("/", "\\/") if writer == "slashes" else raw
    needle = Needle(text, 40)
    if needle.find(content) is not None:
        assert needle.may_be_in(raw.encode())


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
    ],
)
def test_a_snippet_shows_what_is_around_the_text_on_one_line(
    content: str, text: str, context: int, snippet: str
) -> None:
    assert Needle(text, context).find(content) == snippet


def test_only_files_that_can_have_the_text_are_decoded(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(store, "plain", "nothing here")
    saved(store, "other", "nichts für ungut")
    saved(store, "it", "the needle", day=1)
    time.sleep(0.2)  # until the identities of the files are trusted
    store.list_sessions()
    decoded = recorded(monkeypatch, codec, "decode_named")
    assert [hit.session_id for hit in store.search_sessions("needle")] == ["it"]
    assert decoded == ["it"]
    assert list(store.search_sessions("größer")) == []
    assert list(store.search_sessions("sss")) == []
    assert decoded == ["it"]


def test_hits_come_as_they_are_found_and_no_lock_is_held(
    store: StateStore,
    monkeypatch: pytest.MonkeyPatch,
    held_by_another: Callable[[StateStore, str], AbstractContextManager[object]],
) -> None:
    for session_id in "abc":
        saved(store, session_id, "one")
    read = recorded(monkeypatch, reads, "read")
    hits = store.search_sessions("one")
    assert next(hits).session_id == "a"
    assert read[-1:] == ["a"]
    with store.edit_session("b") as session:
        session.user_messages.clear()
    with held_by_another(store, "sessions"):  # who gets it, and does not keep the search from going on
        assert [hit.session_id for hit in hits] == ["c"]


def test_what_changes_between_listing_and_searching_is_searched_as_it_is_then(
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
    assert ["corrupt.json: line 1" in record.getMessage() for record in caplog.records] == [True]
    assert caplog.records[0].getMessage().startswith("left out of the search: ")


def test_a_file_that_cannot_be_read_is_left_out_and_reported_once(
    store: StateStore, caplog: pytest.LogCaptureFixture
) -> None:
    saved(store, "good", "one")
    saved(store, "bad", "one")
    (store.base_path / "sessions/bad.json").write_bytes(b'{"one":')
    with caplog.at_level(logging.WARNING, "oxios_state"):
        assert [hit.session_id for hit in store.search_sessions("one")] == ["good"]
    assert len(caplog.records) == 1


def test_where_nothing_is_nothing_is_found_or_made(store: StateStore) -> None:
    assert list(store.search_sessions("one")) == []
    assert not store.base_path.exists()


def test_a_search_that_is_given_up_leaves_nothing_open(store: StateStore) -> None:
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
def test_what_is_no_search_is_refused_at_once(
    store: StateStore, arguments: list[Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        store.search_sessions(*arguments, **options)


def test_a_hit_shows_where_it_is(store: StateStore) -> None:
    saved(store, "s", "one")
    (hit,) = store.search_sessions("one")
    assert repr(hit) == "SearchHit(session_id='s', turn=0, where='message', index=0, snippet='one')"
    assert hit == SearchHit("s", 0, "message", 0, "one", hit.summary)
