"""Search: whether a file can contain a text, decided from its bytes, and where in a session the text is.

Two texts are compared in one canonical normalisation, NFC, with letters as `str.casefold` folds them: ``STRASSE`` finds
``Straße``, and ``é`` as one character finds ``é`` as a letter and an accent; and the other way round. That is the same
in every locale; the Turkish i, with a dot or without, counts as two letters of its own. Compatibility characters such
as full-width letters stay different.

Of the canonical forms, only NFC keeps a letter whole: in NFD, ``か`` would be the beginning of ``が``, and ``e`` of
``é``.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Literal
from unicodedata import combining, is_normalized, normalize

import attrs

from oxios_state.model.dataframes import Row
from oxios_state.model.session import Session
from oxios_state.model.summary import SessionSummary, summarise
from oxios_state.model.validators import check_count

Place = Literal["title", "message", "tool_name", "tool_args", "output", "response"]
_FOLDED_TO_ASCII = "\u00df\u0130\u0149\u017f\u037e\u1e9a\u1e9e\u1fef\u212a\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06"
"""The characters beyond ASCII whose folded form contains ASCII."""
# re compiles and caches these when they are first used.
_MAY_BE_ESCAPED = r'["\\/\x00-\x1f]'  # characters that JSON writers may, or must, write as escapes
_ESCAPE = rb"\\u(?!00[01])"  # an escape of any other character: the kernel writes none
_GAP = r"\s+"
# All combining marks are among these characters; the letters of languages without spaces mostly are not.
_MARK = "[\u0300-\u2fff\u302a-\u302f\u3099\u309a\ua000-\uabff\uf900-\uffff\U00010000-\U0001efff]"
_LONG_RUN = f"{_MARK}{{33,}}"
_IOTA_SUBSCRIPT = "\u0345"  # casefold turns this accent into a letter, which would get the accents behind it


@attrs.frozen
class SearchHit(Row):
    """A place where `StateStore.search_sessions` found the text.

    Attributes:
        session_id: The session's id.
        turn: The index of the turn in `Session.turns`, from 0; None for the title, which belongs to no turn.
        where: The kind of text: ``"title"``, ``"message"``, ``"tool_name"``, ``"tool_args"``, ``"output"`` or
            ``"response"``.
        index: The index of the record among the session's messages, tool calls (for ``"tool_name"``, ``"tool_args"``
            and ``"output"``) or responses, from 0; None for the title.
        snippet: The match with the text around it, on one line; ``…`` stands for omitted text.
        summary: The session's summary.
    """

    __module__ = "oxios_state"
    _not_columns = frozenset({"summary"})

    session_id: str
    turn: int | None
    where: Place
    index: int | None
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
        self._folded, _ = _fold(text)
        # The longest part that a document contains literally, unless it has unnecessary escapes. Not with an accent at
        # its beginning: behind an escape such as \\n, an accent would be that of the letter n.
        parts = re.split(_MAY_BE_ESCAPED, self._folded)
        self._piece = max(map(_without_first_marks, parts), key=len)
        self._ascii = self._piece.encode() if self._piece.isascii() else None
        self._others = [char for char in _FOLDED_TO_ASCII if not set(self._piece).isdisjoint(_fold(char)[0])]

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
        return self._piece in _fold(text)[0]

    def find(self, text: str) -> str | None:
        """Return the snippet around the first match in *text*; None if there is none."""
        folded, is_aligned = _fold(text)
        start = folded.find(self._folded)
        if start < 0:
            return None
        end = start + len(self._folded)
        if not is_aligned:  # some characters fold to two or three, and some are composed to one
            start, end = _unfolded(text, start, end)
        begin, stop = max(start - self._context, 0), end + self._context
        snippet = re.sub(_GAP, " ", text[begin:stop]).strip()
        return f"{'…' if begin else ''}{snippet}{'…' if stop < len(text) else ''}"

    def find_in_value(self, value: Any) -> str | None:
        """Return the snippet around the first match in the strings and whole numbers of a JSON value, or None."""
        return next((snippet for text in _texts(value) if (snippet := self.find(text)) is not None), None)


def search_session(session: Session, needle: Needle) -> Iterator[SearchHit]:
    """Yield the hits in a session: in its title, then in the order of its turns; at most one in each text."""
    title = session.metadata.get("title")
    if isinstance(title, str) and (snippet := needle.find(title)) is not None:
        yield SearchHit(str(session.id), None, "title", None, snippet, summarise(session))
    matches = _matches(session, needle)
    if not matches:
        return
    summary = summarise(session)
    for number, turn in enumerate(session.turns()):
        for record in (turn.message, *turn.steps, turn.response):
            for where, index, snippet in matches.get(id(record), ()):
                yield SearchHit(summary.id, number, where, index, snippet, summary)


def _matches(session: Session, needle: Needle) -> dict[int, list[tuple[Place, int, str]]]:
    """Return the kinds, indexes and snippets of the matches in the records of a session, by the `id` of the record."""
    matches: dict[int, list[tuple[Place, int, str]]] = {}

    def add(record: object, where: Place, index: int, snippet: str | None) -> None:
        if snippet is not None:
            matches.setdefault(id(record), []).append((where, index, snippet))

    for index, message in enumerate(session.user_messages):
        add(message, "message", index, needle.find(message.content))
    for index, step in enumerate(session.trajectory_steps):
        add(step, "tool_name", index, needle.find(step.tool_name))
        add(step, "tool_args", index, needle.find_in_value(step.tool_args))
        add(step, "output", index, needle.find(step.output_summary))
    for index, response in enumerate(session.agent_responses):
        add(response, "response", index, needle.find(response.content))
    return matches


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)


def _fold(text: str) -> tuple[str, bool]:
    """Return the form of a text that is compared, and whether each of its characters is where the original one is."""
    if text.isascii():
        return text.lower(), True
    lower = text.casefold()
    if is_normalized("NFC", lower) and _IOTA_SUBSCRIPT not in text:
        return lower, len(lower) == len(text)
    return _canonical(_canonical(text).casefold()), False


def _canonical(text: str) -> str:
    """Return a text in NFC: the same object if it is already."""
    if is_normalized("NFC", text):
        return text
    return normalize("NFC", re.sub(_LONG_RUN, _sort_marks, text))


def _sort_marks(run: re.Match[str]) -> str:
    """Return an equivalent of a run with its combining marks in canonical order.

    `normalize` would take a time for them that grows with the square of their number.
    """
    parts = (part for char in run[0] for part in normalize("NFD", char))
    groups = groupby(parts, lambda char: combining(char) != 0)
    return "".join("".join(sorted(group, key=combining) if are_marks else group) for are_marks, group in groups)


def _without_first_marks(text: str) -> str:
    return text[next((index for index, char in enumerate(text) if not combining(char)), len(text)) :]


def _unfolded(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the range in *text* of the letters that are in a range after folding."""
    first = index = position = 0
    for letter in _letters(text):
        if position >= end:
            break
        if position <= start:
            first = index
        position += len(_fold(letter)[0])
        index += len(letter)
    return first, index


def _letters(text: str) -> Iterator[str]:
    """Divide a text into letters, each with its accents: each can be folded alone."""
    letter = text[0]
    for char in text[1:]:
        if not char.isascii() and (combining(normalize("NFD", char)[0]) or _compose(letter, char)):
            letter += char
        else:
            yield letter
            letter = char
    yield letter


def _compose(letter: str, char: str) -> bool:
    """Return whether a letter becomes another with *char*, which is no accent, as Hangul does."""
    return _canonical(letter + char) != _canonical(letter) + _canonical(char)
