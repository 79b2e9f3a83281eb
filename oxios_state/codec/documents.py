"""Documents to and from bytes: the kernel's session documents, and JSON of any class that the `converter` knows."""

from __future__ import annotations

from collections import deque
from functools import cache, partial
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import attrs
from cattrs import (
    AttributeValidationNote,
    ClassValidationError,
    Converter,
    IterableValidationError,
    StructureHandlerNotFoundError,
)
from cattrs.gen import make_dict_structure_fn, override

from oxios_state.codec import columns
from oxios_state.codec import json_text as jsontext
from oxios_state.codec.converter import MOST_FAULTS, Hook, array_of, make_converter, render_datetime, strict
from oxios_state.errors import CorruptStateError, UnsupportedValueError
from oxios_state.model.records import NOT_ON_DISK, AgentResponse, TrajectoryStepRecord, UserMessage
from oxios_state.model.session import Session, SessionId
from oxios_state.model.values import DEEPEST, depth_exceeds, json_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RECORDS: dict[str, type[Any]] = {
    "user_messages": UserMessage,
    "agent_responses": AgentResponse,
    "trajectory_steps": TrajectoryStepRecord,
}
"""The arrays of records in a session document."""

_READ_BY_BOTH = 500  # levels: of what is much deeper, one of the JSON engines can say only that it is; so both do


def decode_session(raw: bytes, path: Path) -> Session:
    """Read a session document.

    Raises:
        CorruptStateError: If it is not one.
    """
    value = jsontext.parse(raw, path)
    try:
        session: Session = _structure(_kernel(), value, Session, path)
    except CorruptStateError:
        if depth_exceeds(value, _READ_BY_BOTH):
            raise CorruptStateError(path, f"nested deeper than {DEEPEST} levels") from None
        raise
    return session


def decode_named(raw: bytes, path: Path) -> Session:
    """Read a session that must be the one that its file's name says.

    Raises:
        CorruptStateError: If it is not a session, or not that one.
    """
    session = decode_session(raw, path)
    if session.id != path.stem:  # to save it, or to remove it by its id, would hit another file
        reason = f"the id is {session.id!r:.80}, but the file is {path.stem!r}'s"
        raise CorruptStateError(path, reason, json_path="$.id")
    return session


_RECORD_KEYS = {
    cls: [field.name for field in attrs.fields(cls) if field.name not in NOT_ON_DISK] for cls in RECORDS.values()
}


def record_document(record: Any) -> dict[str, Any]:
    """Give the document of a record, what is free-form in it as it is: for the encoder to check."""
    document = {key: getattr(record, key) for key in _RECORD_KEYS[type(record)]}
    document["timestamp"] = render_datetime(record.timestamp)
    if document.get("seed_id", "") is None and record.seed_id_absent:
        del document["seed_id"]
    return document | record.extra if record.extra else document


def session_document(session: Session) -> dict[str, Any]:
    """Give the document of a session, its records as they are."""
    document = {
        "id": str(session.id),
        "user_id": session.user_id,
        "user_messages": session.user_messages,
        "agent_responses": session.agent_responses,
        "trajectory_steps": session.trajectory_steps,
        "active_seed_id": session.active_seed_id,
        "active_persona_id": session.active_persona_id,
        "created_at": render_datetime(session.created_at),
        "updated_at": render_datetime(session.updated_at),
        "metadata": session.metadata,
    }
    for key in ("trajectory_steps", "active_seed_id", "active_persona_id"):
        if document[key] is None or document[key] == []:
            del document[key]
    return document | session.extra


def encode_json(data: Any, path: Path) -> bytes:
    """Write a JSON value, or an object that the `converter` knows.

    Raises:
        UnsupportedValueError: If the kernel could not read it back.
    """
    try:
        value = converter().unstructure(data)
    except RecursionError:
        if not isinstance(data, dict | list | tuple):
            raise UnsupportedValueError(path, f"nested deeper than {DEEPEST} levels, or in itself") from None
        value = data  # for the encoder to refuse it, with the path
    return jsontext.encode(value, path)


def decode_json(raw: bytes, type: Any, path: Path) -> Any:
    """Read a document as *type*: anything that the `converter` knows, or Any for plain values.

    Raises:
        CorruptStateError: If it is not JSON or not a *type*; with all that is wrong, and where.
        cattrs.StructureHandlerNotFoundError: If the `converter` does not know *type*.
    """
    value = jsontext.decode(raw, path)
    return value if type is Any else _structure(converter(), value, type, path)


def _structure(conv: Converter, value: Any, type: Any, path: Path) -> Any:
    try:
        return conv.structure(value, type)
    except (StructureHandlerNotFoundError, RecursionError, MemoryError):
        raise
    except Exception as error:
        faults = [(json_path(keys), f"{reason:.300}") for keys, reason in islice(_faults(error, ()), MOST_FAULTS)]
        reason = faults[0][1] + "".join(f"; {where}: {also}" for where, also in faults[1:])
        raise CorruptStateError(path, reason, json_path=faults[0][0]) from error


def _faults(error: BaseException, keys: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Give the path and the reason of each error in cattrs' groups, whose notes say where an error belongs."""
    if isinstance(error, ClassValidationError):
        noted, plain = error.group_exceptions()
        for inner, attribute in noted:
            where = (*keys, attribute.name)
            if isinstance(inner, KeyError) and inner.args == (attribute.name,):
                yield where, "the key is missing"
            else:
                yield from _faults(inner, where)
    elif isinstance(error, IterableValidationError):
        located, plain = error.group_exceptions()
        for inner, item in located:
            yield from _faults(inner, (*keys, item.index))
    else:
        yield keys, str(error)
        return
    for inner in plain:
        yield from _faults(inner, keys)


# The kernel's own classes. Keys that this release does not know come last, and are kept in `extra`.


# The keys that a document may be without: of a session, and of an AgentResponse.
_OPTIONAL = {
    *("user_messages", "agent_responses", "trajectory_steps", "active_seed_id", "active_persona_id", "metadata"),
    *("session_id", "seed_id", "phase_reached", "evaluation_passed"),
}


def _is_record(cls: Any) -> bool:
    return cls in RECORDS.values()


def _is_ours(cls: Any) -> bool:
    return cls is Session or _is_record(cls)


def _records_hook(cls: type[Any]) -> Hook:
    slowly = array_of(cls, lambda item: _kernel().structure(item, cls))

    def hook(value: Any) -> Any:
        quickly = columns.build(cls, value) if value else []
        return slowly(value) if quickly is None else quickly

    return strict(list, hook)


def _structure_hook(cls: type) -> Hook:
    known = {field.name for field in attrs.fields(cls)} - NOT_ON_DISK
    overrides: dict[str, Any] = dict.fromkeys(NOT_ON_DISK, override(omit=True))
    overrides["metadata"] = override(struct_hook=strict(dict, partial(_bounded, around=1)))
    overrides["tool_args"] = override(struct_hook=lambda value, _: _bounded(value, around=columns.RECORD_DEPTH))
    overrides |= {key: override(struct_hook=_records_hook(kind)) for key, kind in RECORDS.items()}
    overrides["duration_ms"] = override(struct_hook=strict(int, _duration))
    structure: Callable[[Any, Any], Any] = make_dict_structure_fn(cls, _kernel(), **overrides)

    required = known - _OPTIONAL

    def hook(value: Any) -> Any:
        if not value.keys() >= required:
            raise _missing_keys(required - value.keys(), structure, value, cls)
        instance = structure(value, cls)
        if cls is AgentResponse and "seed_id" not in value:
            instance = attrs.evolve(instance, seed_id_absent=True)
        if not value.keys() <= known:
            extra = {key: value[key] for key in value if key not in known}
            around = 0 if cls is Session else columns.RECORD_DEPTH - 1
            instance = attrs.evolve(instance, extra=_bounded(extra, around=around))
        return instance

    return strict(dict, hook)


def _bounded(value: Any, *, around: int) -> Any:
    if depth_exceeds(value, DEEPEST - around):
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    return value


def _missing_keys(missing: set[str], structure: Hook, value: Any, cls: type) -> ClassValidationError:
    """Make the error for keys that the constructor has a default for and the document must have, and all others."""
    faults: list[Exception] = [KeyError(key) for key in sorted(missing)]
    for fault in faults:
        fault.add_note(AttributeValidationNote("", fault.args[0], Any))
    try:
        structure(value, cls)
    except ClassValidationError as error:
        faults += [
            fault for fault in error.exceptions if not (isinstance(fault, KeyError) and fault.args[0] in missing)
        ]
    return ClassValidationError("keys are missing", faults, cls)


def _duration(value: int) -> int:
    if not 0 <= value < 2**64:
        raise ValueError(f"an integer from 0 to 2^64-1 is expected, not {value}")
    return value


def _unstructure_session(session: Session) -> dict[str, Any]:
    document = session_document(session)
    return document | {key: list(map(record_document, document[key])) for key in RECORDS if key in document}


@cache
def _kernel() -> Converter:
    """Make the converter of the kernel's own classes: a hook that a user registers does not change their documents."""
    made = make_converter()
    made.register_unstructure_hook(Session, _unstructure_session)
    made.register_structure_hook_factory(_is_ours, _structure_hook)
    made.register_unstructure_hook_func(_is_record, record_document)
    return made


def _structure_at_once(value: Any, cls: type) -> Any:
    """Structure what is the caller's to change later: nothing of it is left to be read then."""
    instance: Any = _kernel().structure(value, cls)
    if cls is Session:
        for key in RECORDS:
            deque(map(attrgetter("timestamp"), getattr(instance, key)), maxlen=0)
    return instance


_made: list[Converter] = []


def converter() -> Converter:
    """Give the cattrs converter of all stores, where users register hooks for classes of their own.

    Like the other it is made when it is first needed: a tenth of what importing this package costs. Of threads that
    need it first at the same time all get one, or the hooks of some would be lost.
    """
    if not _made:
        _made.append(_make_converter())  # the first of those that are made meanwhile stays the first
    return _made[0]


def _make_converter() -> Converter:
    made = make_converter()
    made.register_structure_hook_factory(_is_ours, lambda cls: lambda value, _: _structure_at_once(value, cls))
    made.register_unstructure_hook(SessionId, str)
    made.register_unstructure_hook_factory(_is_ours, lambda _: lambda value: _kernel().unstructure(value))
    return made
