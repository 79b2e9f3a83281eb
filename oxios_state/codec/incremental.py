"""Session documents in pieces of text: records cannot change, so the text of a record is written once and reused."""

from __future__ import annotations

import re
from itertools import groupby
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any

import attrs

from oxios_state.codec import json_text
from oxios_state.codec.documents import decode_session, record_document, session_document
from oxios_state.errors import UnsupportedValueError
from oxios_state.model import timestamps
from oxios_state.model.records import RECORD_TYPES, AgentResponse
from oxios_state.model.session import Session
from oxios_state.model.values import NOT_STORED, OMITTED_KEYS, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_MAX_SEGMENTS = 32
_SEPARATOR = b",\n    "
# Memory in bytes. What a document is made of ends in one of these characters, and takes at most so much beside its
# text: measured are up to 105, for small objects with a key and a text of their own. Text takes the bytes that were
# loaded or saved, and a string. One wide character makes all of a string wide, to 4 bytes for each, and orjson adds
# its UTF-8.
_SEPARATORS = b"{[:,"
_PER_SEPARATOR = 112
_ASCII_WIDTH, _WIDTH = 2, 6
_PER_SEGMENT = 300
LEAST_PER_BYTE, MOST_PER_BYTE = _ASCII_WIDTH, _WIDTH + _PER_SEPARATOR
"""The bounds of what `memory_of` returns for each byte of a document."""


def memory_of(text: bytes) -> int:
    """Return how much memory a part of a session document takes at most, loaded and with its text: in one quick pass.

    Args:
        text: The part, in JSON of any layout.
    """
    is_narrow = text.isascii() and re.search(rb"\\u(?!00)", text) is None
    separators = len(text) - len(text.translate(None, _SEPARATORS))
    return len(text) * (_ASCII_WIDTH if is_narrow else _WIDTH) + separators * _PER_SEPARATOR


class _Segment:
    """Consecutive records of an array, and their text.

    Attributes:
        records: The records.
        text: Their text, with the separators between them.
        exact: Whether decoding the text returns equal records, down to the types of their values.
    """

    __slots__ = ("_memory", "exact", "records", "text")

    def __init__(self, records: Sequence[Any], text: bytes, memory: int | None = None, *, exact: bool) -> None:
        self.records = records
        self.text = text
        self.exact = exact
        self._memory = memory

    @property
    def memory(self) -> int:
        """How much memory they take at most, in bytes."""
        if self._memory is None:
            self._memory = _PER_SEGMENT + memory_of(self.text)
        return self._memory


class SessionText:
    """The text of a session document: an iterable of its pieces. Immutable."""

    __slots__ = ("_after", "_arrays", "_before", "_exact")

    def __init__(self, before: bytes, arrays: dict[str, list[_Segment]], after: bytes, *, exact: bool) -> None:
        self._before = before
        self._arrays = arrays
        self._after = after
        self._exact = exact

    @property
    def memory(self) -> int:
        """How much memory the session takes at most, with its text, in bytes."""
        around = memory_of(self._before) + memory_of(self._after)
        return around + sum(part.memory for parts in self._arrays.values() for part in parts)

    @property
    def is_exact(self) -> bool:
        """Whether decoding the text returns a session equal to its source, down to the types of its values."""
        return self._exact and all(part.exact for parts in self._arrays.values() for part in parts)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces(self._arrays)

    def __bytes__(self) -> bytes:
        return b"".join(self)

    def _pieces(self, arrays: dict[str, list[_Segment]]) -> Iterator[bytes]:
        yield self._before
        for key, segments in arrays.items():
            if segments:
                yield b',\n  "%s": [' % key.encode()
                for index, segment in enumerate(segments):
                    yield _SEPARATOR if index else b"\n    "
                    yield segment.text
                yield b"\n  ]"
            elif key not in OMITTED_KEYS:
                yield b',\n  "%s": []' % key.encode()
        yield self._after

    def segments(self, array: str) -> list[_Segment]:
        """Return the segments of an array."""
        return self._arrays[array]

    def without_inexact_records(self) -> SessionText:
        """Return this text without the records that decoding it does not return: their values may be any objects."""
        arrays = {
            key: [
                part if part.exact else _Segment(range(len(part.records)), part.text, part._memory, exact=False)
                for part in parts
            ]
            for key, parts in self._arrays.items()
        }
        return SessionText(self._before, arrays, self._after, exact=self._exact)

    def decode(self, path: Path) -> tuple[Session, SessionText]:
        """Return the session that decoding this text returns, and the same text with the records of that session."""
        arrays = self._arrays
        inexact = {key: [part for part in parts if not part.exact] for key, parts in arrays.items()}
        session = decode_session(b"".join(self._pieces(inexact)), path)
        decoded = {key: iter(getattr(session, key)) for key in arrays}
        exact = {key: [_exact(part, decoded[key]) for part in parts] for key, parts in arrays.items()}
        for key, parts in exact.items():
            setattr(session, key, [record for part in parts for record in part.records])
        return session, SessionText(self._before, exact, self._after, exact=True)


def _exact(segment: _Segment, decoded: Iterator[Any]) -> _Segment:
    if segment.exact:
        return segment
    return _Segment([next(decoded) for _ in segment.records], segment.text, segment._memory, exact=True)


def encode(session: Session, path: Path) -> SessionText:
    """Return the text of a session document. Only records that were not part of its last text are encoded.

    Raises:
        UnsupportedValueError: If the kernel could not read it back.
    """
    previous = session._source.text if session._source is not None else ()  # the store's slot
    document = session_document(session)
    try:
        if session.extra:
            _refuse_fields(session.extra)
        before, plain = json_text.encode_value({key: document.pop(key) for key in ("id", "user_id")}, 1)
        arrays = {
            array: _encode_array(
                document.pop(array, []), array, previous.segments(array) if isinstance(previous, SessionText) else ()
            )
            for array in RECORD_TYPES
        }
        after, also_plain = json_text.encode_value(document, 1)
    except InvalidValueError as error:
        raise UnsupportedValueError(path, error.reason, error.path) from None
    exact = plain and also_plain and timestamps.is_exact(session.created_at) and timestamps.is_exact(session.updated_at)
    return SessionText(before[:-2], arrays, b"," + after[1:], exact=exact)


def _refuse_fields(extra: dict[str, Any]) -> None:
    for field in attrs.fields(Session):
        if field.name in extra and field.name not in NOT_STORED:
            raise InvalidValueError("'extra' must not contain fields of the class", field.name)


def _encode_array(records: list[Any], array: str, previous: Iterable[_Segment]) -> list[_Segment]:
    segments, start = [], 0
    for segment in previous:
        end = start + len(segment.records)
        if end > len(records) or not all(map(is_, segment.records, records[start:end])):
            break
        segments.append(segment)
        start = end
    if start < len(records):
        segments.append(_encode_records(records[start:], array, start))
    if len(segments) > _MAX_SEGMENTS:
        return [_joined(list(alike), exact=exact) for exact, alike in groupby(segments, attrgetter("exact"))]
    return segments


def _encode_records(records: list[Any], array: str, start: int) -> _Segment:
    kind = RECORD_TYPES[array]
    try:
        for index, record in enumerate(records):
            if type(record) is not kind:  # the attributes of a subclass would be lost
                raise InvalidValueError(f"expected {kind.__name__}, not {record!r:.60}", index)
        text, plain = json_text.encode_value(list(map(record_document, records)), 2)
    except InvalidValueError as error:
        error.keys[-1:] = [start + int(error.keys[-1]), array]
        raise
    inner = text[len(b"[\n  ") : -len(b"\n]")].replace(b"\n", b"\n  ")
    return _Segment(records, inner, exact=plain and all(map(_is_exact, records)))


def _is_exact(record: Any) -> bool:
    absent = type(record) is AgentResponse and record.seed_id_absent
    return timestamps.is_exact(record.timestamp) and (record.seed_id is None if absent else True)


def _joined(segments: list[_Segment], *, exact: bool) -> _Segment:
    records = [record for segment in segments for record in segment.records]
    return _Segment(records, _SEPARATOR.join(segment.text for segment in segments), exact=exact)
