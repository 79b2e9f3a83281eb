"""Searching the text of sessions: which files can have it at all, told from their bytes, and where in a session it is.

Letters are compared as `str.casefold` gives them, on both sides: ``STRASSE`` finds ``Straße`` and the other way round.
That is the same in every locale; the Turkish i, with a dot or without, has two letters of its own.
"""

from __future__ import annotations

import logging
import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

import attrs

from oxios_state.codec import documents as codec
from oxios_state.errors import StateError
from oxios_state.model.dataframes import Row
from oxios_state.model.session import SessionSummary
from oxios_state.sessions.index import summarise
from oxios_state.storage import reads as reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from oxios_state.model.session import Session
    from oxios_state.sessions.finding import SessionFilter

Place = Literal["message", "tool_args", "output", "response"]
_FOLDED_TO_ASCII = (
    "\u00df\u0130\u0149\u017f\u01f0\u1e96\u1e97\u1e98\u1e99\u1e9a\u1e9e\u212a\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06"
)
"""The characters beyond ASCII that `str.casefold` gives letters of ASCII for."""
_MAY_BE_ESCAPED = re.compile(r'["\\/\x00-\x1f]')  # which all that writes JSON may, or must, write otherwise
_ESCAPE = re.compile(rb"\\u(?!00[01])")  # of any character but those above: the kernel writes none
_log = logging.getLogger("oxios_state")
_GAP = re.compile(r"\s+")


@attrs.frozen
class SearchHit(Row):
    """A place where `StateStore.search_sessions` found the text.

    Attributes:
        session_id: The session's id.
        turn: Which of `Session.turns` it is in, from 0.
        where: In what: ``"message"``, ``"tool_args"``, ``"output"`` or ``"response"``.
        index: Which of the session's messages, tool calls (for both ``"tool_args"`` and ``"output"``) or responses it
            is in, from 0.
        snippet: The text around it, on one line; ``…`` stands for what is left out.
        summary: The session's summary.
    """

    _no_columns = frozenset({"summary"})

    session_id: str
    turn: int
    where: Place
    index: int
    snippet: str
    summary: SessionSummary = attrs.field(repr=False)


class Needle:
    """What is searched for.

    Args:
        text: The text.
        context: How many characters of what is around it a snippet shows, on each side.

    Raises:
        TypeError: If *text* is not a string, or *context* not an int.
        ValueError: If *text* is empty, or *context* negative.
    """

    def __init__(self, text: str, context: int) -> None:
        if not isinstance(text, str):
            raise TypeError(f"the text to search for must be str, not {type(text).__name__}")
        if not text:
            raise ValueError("the text to search for is empty")
        if type(context) is not int:
            raise TypeError(f"context must be int, not {type(context).__name__}")
        if context < 0:
            raise ValueError(f"context must not be negative: {context}")
        self._context = context
        self._folded = text.casefold()
        # What of it stands in a document as it is, unless that has escapes that it could do without.
        self._piece = max(_MAY_BE_ESCAPED.split(self._folded), key=len)
        self._ascii = self._piece.encode() if self._piece.isascii() else None
        self._others = [char for char in _FOLDED_TO_ASCII if not set(self._piece).isdisjoint(char.casefold())]

    def may_be_in(self, raw: bytes) -> bool:
        """Say whether a document can have it: quickly, and sometimes yes where it has not."""
        return self._piece_is_in(raw) or _ESCAPE.search(raw) is not None

    def _piece_is_in(self, raw: bytes) -> bool:
        if self._ascii is not None and self._ascii in raw.lower():
            return True
        if raw.isascii():
            return False
        text = raw.decode(errors="replace")
        if self._ascii is not None and not any(char in text for char in self._others):
            return False
        return self._piece in text.casefold()

    def find(self, text: str) -> str | None:
        """Give the snippet around the first place where *text* has it; None if it has not."""
        folded = text.casefold()
        start = folded.find(self._folded)
        if start < 0:
            return None
        end = start + len(self._folded)
        if len(folded) != len(text):  # some characters are folded to two or three
            start, end = _unfolded(text, start), _unfolded(text, end - 1) + 1
        begin, stop = max(start - self._context, 0), end + self._context
        snippet = _GAP.sub(" ", text[begin:stop]).strip()
        return f"{'…' if begin else ''}{snippet}{'…' if stop < len(text) else ''}"

    def find_in_value(self, value: Any) -> str | None:
        """Find it in the strings and whole numbers of a JSON value."""
        return next((snippet for text in _texts(value) if (snippet := self.find(text)) is not None), None)


def search(
    summaries: Iterable[SessionSummary], path_of: Callable[[str], Path], needle: Needle, asked: SessionFilter
) -> Iterator[SearchHit]:
    """Search sessions, one file after the other.

    A file that cannot be read is left out, with a warning in the log ``oxios_state`` that says which and why.

    Args:
        summaries: The sessions to search.
        path_of: Gives the path of a session's file.
        needle: What is searched for.
        asked: What the summaries passed; looked at again, as a session may have been saved since it was listed.
    """
    for summary in summaries:
        try:
            path = path_of(summary.id)
            raw = reading.read(path)
            if raw is None or not needle.may_be_in(raw):
                continue
            session = codec.decode_named(raw, path)
        except (StateError, OSError) as error:
            _log.warning("left out of the search: %s", error)
            continue
        if asked.passes(summarise(session)):
            yield from search_session(session, needle)


def search_session(session: Session, needle: Needle) -> Iterator[SearchHit]:
    """Find the places in a session, in the order of its turns: at most one in each text."""
    found: dict[int, list[tuple[Place, int, str]]] = {}

    def look(record: object, where: Place, index: int, snippet: str | None) -> None:
        if snippet is not None:
            found.setdefault(id(record), []).append((where, index, snippet))

    for index, message in enumerate(session.user_messages):
        look(message, "message", index, needle.find(message.content))
    for index, step in enumerate(session.trajectory_steps):
        look(step, "tool_args", index, needle.find_in_value(step.tool_args))
        look(step, "output", index, needle.find(step.output_summary))
    for index, response in enumerate(session.agent_responses):
        look(response, "response", index, needle.find(response.content))
    if not found:
        return
    summary = summarise(session)
    for number, turn in enumerate(session.turns()):
        for record in (turn.message, *turn.steps, turn.response):
            for where, index, snippet in found.get(id(record), ()):
                yield SearchHit(summary.id, number, where, index, snippet, summary)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)


def _unfolded(text: str, position: int) -> int:
    """Give the index of the character that is at *position* in what *text* is folded to."""
    ends = accumulate(len(char.casefold()) for char in text)
    return next(index for index, end in enumerate(ends) if end > position)
