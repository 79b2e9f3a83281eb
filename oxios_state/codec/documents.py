"""Documents to and from bytes: the kernel's session documents, and JSON of any class that the `converter` knows."""

from __future__ import annotations

from functools import cache, partial
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import attrs
from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    ClassValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationError,
    StructureHandlerNotFoundError,
)
from cattrs.gen import make_dict_structure_fn, override

from oxios_state.codec import json_text
from oxios_state.codec.converter import (
    MAX_FAULTS,
    Hook,
    array_of,
    class_name,
    edited_class,
    make_converter,
    render_datetime,
    strict,
)
from oxios_state.errors import CorruptStateError, UnsupportedValueError
from oxios_state.model import records, timestamps
from oxios_state.model.immutable import SCALARS
from oxios_state.model.records import RECORD_TYPES, AgentResponse
from oxios_state.model.session import Session, SessionId
from oxios_state.model.values import (
    MAX_DEPTH,
    MAX_INTEGER,
    NOT_STORED,
    OMITTED_KEYS,
    OPTIONAL_KEYS,
    RECORD_DEPTH,
    RECORD_KEYS,
    SESSION_KEYS,
    depth_exceeds,
    json_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# The errors that say that a value of the document is wrong, and groups of them. A hook or a class that raises another
# has a fault itself.
_FAULTS = (ValueError, TypeError, LookupError, ArithmeticError, ForbiddenExtraKeysError, BaseValidationError)
_SAME_ERROR_DEPTH = 500  # levels: beyond, one JSON engine can only report the depth, so both do
_RECORD_KEYS = {RECORD_TYPES[array]: keys for array, keys in RECORD_KEYS.items()}


def decode_session(raw: bytes, path: Path) -> Session:
    """Read a session document.

    Raises:
        CorruptStateError: If it is not a session.
    """
    value = json_text.parse(raw, path)
    try:
        session: Session = _structure(_kernel_converter(), value, Session, path)
    except CorruptStateError:
        if depth_exceeds(value, _SAME_ERROR_DEPTH):
            raise CorruptStateError(path, f"nested deeper than {MAX_DEPTH} levels") from None
        raise
    return session


def decode_named(raw: bytes, path: Path) -> Session:
    """Read a session document whose id must be the name of its file.

    Raises:
        CorruptStateError: If it is not a session, or has another id.
    """
    session = decode_session(raw, path)
    if session.id != path.stem:  # saving it, or removing it by its id, would change another file
        reason = f"the id is {session.id!r:.80}, but the file is named {path.stem!r}"
        raise CorruptStateError(path, reason, json_path="$.id")
    return session


def record_document(record: Any) -> dict[str, Any]:
    """Return the document of a record. Free-form values are included as they are: the encoder checks them."""
    document = {key: getattr(record, key) for key in _RECORD_KEYS[type(record)]}
    document["timestamp"] = render_datetime(record.timestamp)
    if document.get("seed_id", "") is None and record.seed_id_absent:
        del document["seed_id"]
    return document | record.extra if record.extra else document


def session_document(session: Session) -> dict[str, Any]:
    """Return the document of a session, with its records as they are."""
    document = {key: getattr(session, key) for key in SESSION_KEYS}
    document["id"] = str(session.id)
    for key in ("created_at", "updated_at"):
        document[key] = render_datetime(document[key])
    for key in OMITTED_KEYS:
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
            raise UnsupportedValueError(path, f"nested deeper than {MAX_DEPTH} levels, or self-referencing") from None
        value = data  # the encoder refuses it, with the JSON path
    return json_text.encode(value, path)


def decode_json(raw: bytes, type: Any, path: Path) -> Any:
    """Read a document as *type*: any type that the `converter` knows, or Any for plain values.

    Raises:
        CorruptStateError: If it is not JSON or not a *type*; with every fault and its place.
        cattrs.StructureHandlerNotFoundError: If the `converter` does not know *type*.
    """
    value = json_text.decode(raw, path)
    return value if type is Any else _structure(converter(), value, type, path)


def _structure(conv: Converter, value: Any, type: Any, path: Path) -> Any:
    try:
        return conv.structure(value, type)
    except (StructureHandlerNotFoundError, RecursionError, MemoryError):
        raise
    except Exception as error:
        _raise_other_causes(error, type, path)
        faults = [(json_path(keys), f"{reason:.300}") for keys, reason in islice(_faults(error, ()), MAX_FAULTS)]
        reason = faults[0][1] + "".join(f"; {place}: {more}" for place, more in faults[1:])
        raise CorruptStateError(path, reason, json_path=faults[0][0]) from error


def _raise_other_causes(error: Exception, type: Any, path: Path) -> None:
    """Raise an error of structuring if a program is its cause, and not the document.

    Raises:
        TypeError: If a class was edited in place and cannot have instances any more.
        Exception: If it is, or contains, an error that does not say that a value is wrong: that error.
    """
    for part in _parts(error):
        if isinstance(part, ClassValidationError) and (name := edited_class(part.cl)):
            raise TypeError(
                f"the class {name} was edited while the program runs, as by %autoreload, and its slots do not fit its"
                f" instances any more: restart the program, or use attrs.define(slots=False). Not read: {path}"
            ) from error
        if not isinstance(part, _FAULTS):
            part.add_note(f"raised while {path} was read as {type}")
            raise part


def _parts(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and, if it is a group, the errors in it."""
    yield error
    for part in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _parts(part)


def _faults(error: BaseException, keys: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the path and the reason of each error in cattrs' groups, whose notes say where an error belongs."""
    if isinstance(error, ClassValidationError):
        noted, plain = error.group_exceptions()
        for inner, attribute in noted:
            place = (*keys, attribute.name)
            if isinstance(inner, KeyError) and inner.args == (attribute.name,):
                yield place, "the key is missing"
            else:
                yield from _faults(inner, place)
    elif isinstance(error, IterableValidationError):
        located, plain = error.group_exceptions()
        for inner, item in located:
            yield from _faults(inner, (*keys, item.index))
    else:
        yield keys, str(error)
        return
    for inner in plain:
        for place, reason in _faults(inner, keys):
            # The class itself raised it: its name says where to look.
            by_class = isinstance(inner, TypeError) and isinstance(error, ClassValidationError)
            yield place, f"{class_name(error.cl)}: {reason}" if by_class else reason


# Arrays of records. Most are as kernels write them: these are checked a column at a time, which CPython does in C, in a
# third of the time of checking record by record. cattrs gets the others, one record at a time, and says what is wrong
# and where.


def build_records(array: str, items: list[Any]) -> list[Any] | None:
    """Return the records of an array whose items all have the usual keys and types; None if one has not.

    Args:
        array: The key of the array in a session document.
        items: Its items, not empty. They are checked here, and become fields when a record is first read.
    """
    if not _have_types(RECORD_KEYS[array], items) or not timestamps.are_canonical(_column(items, "timestamp")):
        return None
    if array == "trajectory_steps":
        durations = _column(items, "duration_ms")
        if min(durations) < 0 or max(durations) > MAX_INTEGER or not _are_shallow(_column(items, "tool_args")):
            return None
    return records.unread(RECORD_TYPES[array], items)


def _column(items: list[Any], key: str) -> list[Any]:
    return list(map(itemgetter(key), items))


def _have_types(types: dict[str, frozenset[type]], items: list[Any]) -> bool:
    if set(map(type, items)) != {dict} or set(map(len, items)) != {len(types)}:
        return False
    try:
        # Never a list of lists: creating many containers makes the garbage collector look at all there are.
        return all(set(map(type, map(itemgetter(key), items))) <= types[key] for key in types)
    except KeyError:
        return False


def _are_shallow(values: list[Any]) -> bool:
    kinds = set(map(type, values))
    if kinds == {dict}:
        kinds = set(map(type, chain.from_iterable(map(dict.values, values))))
    return kinds <= SCALARS or not depth_exceeds(values, MAX_DEPTH - RECORD_DEPTH + 1)


# The kernel's own classes. Unknown keys come last, and are kept in `extra`.


def _is_record(cls: Any) -> bool:
    return cls in _RECORD_KEYS


def _is_stored(cls: Any) -> bool:
    return cls is Session or _is_record(cls)


def _records_hook(array: str) -> Hook:
    cls = RECORD_TYPES[array]
    one_by_one = array_of(cls, lambda item: _kernel_converter().structure(item, cls))

    def hook(value: Any) -> Any:
        built = build_records(array, value) if value else []
        return one_by_one(value) if built is None else built

    return strict(list, hook)


def _structure_hook(cls: type) -> Hook:
    known = {field.name for field in attrs.fields(cls)} - NOT_STORED
    overrides: dict[str, Any] = dict.fromkeys(NOT_STORED, override(omit=True))
    overrides["metadata"] = override(struct_hook=strict(dict, partial(_bounded, around=1)))
    overrides["tool_args"] = override(struct_hook=lambda value, _: _bounded(value, around=RECORD_DEPTH))
    overrides |= {array: override(struct_hook=_records_hook(array)) for array in RECORD_TYPES}
    overrides["duration_ms"] = override(struct_hook=strict(int, _duration))
    structure: Callable[[Any, Any], Any] = make_dict_structure_fn(cls, _kernel_converter(), **overrides)

    required = known - OPTIONAL_KEYS

    def hook(value: Any) -> Any:
        if not value.keys() >= required:
            raise _missing_keys(required - value.keys(), structure, value, cls)
        instance = structure(value, cls)
        if cls is AgentResponse and "seed_id" not in value:
            instance = attrs.evolve(instance, seed_id_absent=True)
        if not value.keys() <= known:
            extra = {key: value[key] for key in value if key not in known}
            around = 0 if cls is Session else RECORD_DEPTH - 1
            instance = attrs.evolve(instance, extra=_bounded(extra, around=around))
        return instance

    return strict(dict, hook)


def _bounded(value: Any, *, around: int) -> Any:
    if depth_exceeds(value, MAX_DEPTH - around):
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return value


def _missing_keys(missing: set[str], structure: Hook, value: Any, cls: type) -> ClassValidationError:
    """Return the error for required keys that the constructor has a default for, together with all other faults."""
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
    if not 0 <= value <= MAX_INTEGER:
        raise ValueError(f"expected an integer from 0 to 2^64-1, not {value}")
    return value


def _unstructure_session(session: Session) -> dict[str, Any]:
    document = session_document(session)
    return document | {
        array: list(map(record_document, document[array])) for array in RECORD_TYPES if array in document
    }


@cache
def _kernel_converter() -> Converter:
    """Return the converter of the kernel's own classes: a user's hooks do not change their documents."""
    conv = make_converter()
    conv.register_unstructure_hook(Session, _unstructure_session)
    conv.register_structure_hook_factory(_is_stored, _structure_hook)
    conv.register_unstructure_hook_func(_is_record, record_document)
    return conv


def _structure_and_read(value: Any, cls: type) -> Any:
    """Structure a value that the caller may change later, so every record is filled now."""
    instance: Any = _kernel_converter().structure(value, cls)
    if cls is Session:
        for array in RECORD_TYPES:
            for record in getattr(instance, array):
                records.read(record)
    return instance


_converters: list[Converter] = []


def converter() -> Converter:
    """Return the cattrs converter of all stores, where users register hooks for their own classes.

    It is created when it is first needed. All threads get the same one, or the hooks of some would be lost.
    """
    if not _converters:
        _converters.append(_make_converter())  # the first that any thread appends stays the first
    return _converters[0]


def _make_converter() -> Converter:
    conv = make_converter()
    conv.register_structure_hook_factory(_is_stored, lambda cls: lambda value, _: _structure_and_read(value, cls))
    conv.register_unstructure_hook(SessionId, str)
    conv.register_unstructure_hook_factory(_is_stored, lambda _: lambda value: _kernel_converter().unstructure(value))
    return conv
