"""A session document as text, in pieces. Records cannot change: what was written of them once is used again."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any

import attrs

from oxios_state.codec import documents as codec
from oxios_state.codec import json_text as jsontext
from oxios_state.errors import UnsupportedValueError
from oxios_state.model import timestamps
from oxios_state.model.records import NOT_ON_DISK, AgentResponse
from oxios_state.model.session import Session
from oxios_state.model.values import FaultError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_MOST_SEGMENTS = 32
_SEPARATOR = b",\n    "


class _Segment:
    """Some records that follow each other in an array, and their text.

    Attributes:
        records: The records.
        text: Their text, with what separates them.
        exact: Whether they are what reading the text gives, down to the types.
    """

    __slots__ = ("exact", "records", "text")

    def __init__(self, records: Sequence[Any], text: bytes, *, exact: bool) -> None:
        self.records = records
        self.text = text
        self.exact = exact


class SessionText:
    """The text of a session document: an iterable of its pieces. Immutable."""

    __slots__ = ("_after", "_arrays", "_before", "_exact")

    def __init__(self, before: bytes, arrays: dict[str, list[_Segment]], after: bytes, *, exact: bool) -> None:
        self._before = before
        self._arrays = arrays
        self._after = after
        self._exact = exact

    @property
    def is_exact(self) -> bool:
        """Whether the session that it was made of is what reading it gives, down to the types."""
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
            elif key != "trajectory_steps":  # which kernels leave out when it is empty
                yield b',\n  "%s": []' % key.encode()
        yield self._after

    def kept(self, key: str) -> list[_Segment]:
        """Give what there is of an array."""
        return self._arrays[key]

    def decode(self, path: Path) -> tuple[Session, SessionText]:
        """Give the session that reading this text would give, and the same text with that session's records."""
        arrays = self._arrays
        doubtful = {key: [part for part in parts if not part.exact] for key, parts in arrays.items()}
        session = codec.decode_session(b"".join(self._pieces(doubtful)), path)
        decoded = {key: iter(getattr(session, key)) for key in arrays}
        exact = {key: [_exact(part, decoded[key]) for part in parts] for key, parts in arrays.items()}
        for key, parts in exact.items():
            setattr(session, key, [record for part in parts for record in part.records])
        return session, SessionText(self._before, exact, self._after, exact=True)


def _exact(segment: _Segment, decoded: Iterator[Any]) -> _Segment:
    if segment.exact:
        return segment
    return _Segment([next(decoded) for _ in segment.records], segment.text, exact=True)


def encode(session: Session, path: Path) -> SessionText:
    """Write a session document; of its records, only what was not written when it was last saved.

    Raises:
        UnsupportedValueError: If the kernel could not read it back.
    """
    last = session.revision.content if session.revision is not None else ()
    document = codec.session_document(session)
    try:
        if session.extra:
            _refuse_fields(session.extra)
        before, plain = jsontext.encode_value({key: document.pop(key) for key in ("id", "user_id")}, 1)
        arrays = {
            key: _encode_array(document.pop(key, []), key, last.kept(key) if isinstance(last, SessionText) else ())
            for key in codec.RECORDS
        }
        after, plain_too = jsontext.encode_value(document, 1)
    except FaultError as fault:
        raise UnsupportedValueError(path, fault.reason, fault.path) from None
    exact = plain and plain_too and timestamps.is_exact(session.created_at) and timestamps.is_exact(session.updated_at)
    return SessionText(before[:-2], arrays, b"," + after[1:], exact=exact)


def _refuse_fields(extra: dict[str, Any]) -> None:
    for field in attrs.fields(Session):
        if field.name in extra and field.name not in NOT_ON_DISK:
            fault = FaultError("'extra' must not hold what is a field")
            fault.keys.append(field.name)
            raise fault


def _encode_array(records: list[Any], key: str, kept: Iterable[_Segment]) -> list[_Segment]:
    segments, start = [], 0
    for segment in kept:
        end = start + len(segment.records)
        if end > len(records) or not all(map(is_, segment.records, records[start:end])):
            break
        segments.append(segment)
        start = end
    if start < len(records):
        segments.append(_encode_records(records[start:], key, start))
    if len(segments) > _MOST_SEGMENTS:
        return [_joined(list(alike), exact=exact) for exact, alike in groupby(segments, attrgetter("exact"))]
    return segments


def _encode_records(records: list[Any], key: str, start: int) -> _Segment:
    kind = codec.RECORDS[key]
    try:
        for index, record in enumerate(records):
            if type(record) is not kind:  # what a subclass adds would be lost
                fault = FaultError(f"a {kind.__name__} belongs here, not {record!r:.60}")
                fault.keys.append(index)
                raise fault
        text, plain = jsontext.encode_value(list(map(codec.record_document, records)), 2)
    except FaultError as fault:
        fault.keys[-1:] = [start + int(fault.keys[-1]), key]
        raise
    inner = text[len(b"[\n  ") : -len(b"\n]")].replace(b"\n", b"\n  ")
    return _Segment(records, inner, exact=plain and all(map(_is_exact, records)))


def _is_exact(record: Any) -> bool:
    absent = type(record) is AgentResponse and record.seed_id_absent
    return timestamps.is_exact(record.timestamp) and (record.seed_id is None if absent else True)


def _joined(segments: list[_Segment], *, exact: bool) -> _Segment:
    records = [record for segment in segments for record in segment.records]
    return _Segment(records, _SEPARATOR.join(segment.text for segment in segments), exact=exact)
