"""Search: whether a file can contain a text, decided from its bytes, and where in a session the text is.

Letters are compared as `str.casefold` folds them, on both sides: ``STRASSE`` finds ``Straße`` and the other way round.
That is the same in every locale; the Turkish i, with a dot or without, counts as two letters of its own.
"""

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Literal

import attrs

from oxios_state.model.dataframes import Row
from oxios_state.model.session import Session
from oxios_state.model.summary import SessionSummary, summarise
from oxios_state.model.validators import check_count

Place = Literal["message", "tool_args", "output", "response"]
_FOLDED_TO_ASCII = (
    "\u00df\u0130\u0149\u017f\u01f0\u1e96\u1e97\u1e98\u1e99\u1e9a\u1e9e\u212a\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06"
)
"""The characters beyond ASCII whose folded form contains ASCII letters."""
# re compiles and caches these when they are first used.
_MAY_BE_ESCAPED = r'["\\/\x00-\x1f]'  # characters that JSON writers may, or must, write as escapes
_ESCAPE = rb"\\u(?!00[01])"  # an escape of any other character: the kernel writes none
_GAP = r"\s+"


@attrs.frozen
class SearchHit(Row):
    """A place where `StateStore.search_sessions` found the text.

    Attributes:
        session_id: The session's id.
        turn: The index of the turn in `Session.turns`, from 0.
        where: The kind of text: ``"message"``, ``"tool_args"``, ``"output"`` or ``"response"``.
        index: The index of the record among the session's messages, tool calls (for both ``"tool_args"`` and
            ``"output"``) or responses, from 0.
        snippet: The match with the text around it, on one line; ``…`` stands for omitted text.
        summary: The session's summary.
    """

    __module__ = "oxios_state"
    _not_columns = frozenset({"summary"})

    session_id: str
    turn: int
    where: Place
    index: int
    snippet: str
    summary: SessionSummary = attrs.field(repr=False)


class Needle:
    """The text that a search looks for.

    Args:
        text: The text.
        context: How many characters around it a snippet shows, on each side.

    Raises:
        TypeError: If *text* is not a string, or *context* not an int.
        ValueError: If *text* is empty, or *context* negative.
    """

    def __init__(self, text: str, context: int) -> None:
        if not isinstance(text, str):
            raise TypeError(f"the text to search for must be str, not {type(text).__name__}")
        if not text:
            raise ValueError("the text to search for is empty")
        self._context = check_count("context", context)
        self._folded = text.casefold()
        # The longest part that a document contains literally, unless it has unnecessary escapes.
        self._piece = max(re.split(_MAY_BE_ESCAPED, self._folded), key=len)
        self._ascii = self._piece.encode() if self._piece.isascii() else None
        self._others = [char for char in _FOLDED_TO_ASCII if not set(self._piece).isdisjoint(char.casefold())]

    def may_be_in(self, raw: bytes) -> bool:
        """Return whether a document can contain the text: quickly, and sometimes true for one that does not."""
        return self._piece_is_in(raw) or re.search(_ESCAPE, raw) is not None

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
        """Return the snippet around the first match in *text*; None if there is none."""
        folded = text.casefold()
        start = folded.find(self._folded)
        if start < 0:
            return None
        end = start + len(self._folded)
        if len(folded) != len(text):  # some characters fold to two or three
            start, end = _unfolded(text, start), _unfolded(text, end - 1) + 1
        begin, stop = max(start - self._context, 0), end + self._context
        snippet = re.sub(_GAP, " ", text[begin:stop]).strip()
        return f"{'…' if begin else ''}{snippet}{'…' if stop < len(text) else ''}"

    def find_in_value(self, value: Any) -> str | None:
        """Return the snippet around the first match in the strings and whole numbers of a JSON value, or None."""
        return next((snippet for text in _texts(value) if (snippet := self.find(text)) is not None), None)


def search_session(session: Session, needle: Needle) -> Iterator[SearchHit]:
    """Yield the hits in a session, in the order of its turns: at most one in each text."""
    matches: dict[int, list[tuple[Place, int, str]]] = {}

    def add(record: object, where: Place, index: int, snippet: str | None) -> None:
        if snippet is not None:
            matches.setdefault(id(record), []).append((where, index, snippet))

    for index, message in enumerate(session.user_messages):
        add(message, "message", index, needle.find(message.content))
    for index, step in enumerate(session.trajectory_steps):
        add(step, "tool_args", index, needle.find_in_value(step.tool_args))
        add(step, "output", index, needle.find(step.output_summary))
    for index, response in enumerate(session.agent_responses):
        add(response, "response", index, needle.find(response.content))
    if not matches:
        return
    summary = summarise(session)
    for number, turn in enumerate(session.turns()):
        for record in (turn.message, *turn.steps, turn.response):
            for where, index, snippet in matches.get(id(record), ()):
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
    """Return the index in *text* of the character that is at *position* after folding."""
    ends = accumulate(len(char.casefold()) for char in text)
    return next(index for index, end in enumerate(ends) if end > position)
