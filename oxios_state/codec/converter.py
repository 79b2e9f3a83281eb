"""The cattrs converter: between JSON values and attrs classes (and whatever else cattrs knows), strictly.

Nothing is coerced on reading: a number where a string belongs, 12.0 for an int or an object for a list is an error, as
it is in the kernel. cattrs by itself would call ``int("12")``, or make a list of the characters of a string.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from inspect import isabstract
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, is_typeddict

import attrs
from cattrs import Converter, IterableValidationError, IterableValidationNote
from cattrs.cols import (
    is_abstract_set,
    is_frozenset,
    is_mutable_sequence,
    is_sequence,
    is_set,
    mapping_structure_factory,
)
from cattrs.gen import make_dict_structure_fn

from oxios_state.model import timestamps

Hook = Callable[[Any, Any], Any]
MOST_FAULTS = 20
"""How many faults of a document are told, and looked for in one list."""

_KINDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "an integer",
    float: "a float",
    bool: "a boolean",
    type(None): "null",
}
_SCALARS = {str, int, float, bool, type(None)}


def _origin(cls: Any) -> Any:
    return get_origin(cls) or cls


def _sorted_array(items: Iterable[Any]) -> list[Any]:
    return sorted(items, key=repr)  # a set has no order; equal ones are to be equal bytes


# What JSON has a value for: exactly that.


def check_kind(value: Any, kind: type) -> None:
    """Refuse with a TypeError what is not exactly this kind of JSON value."""
    if type(value) is not kind:
        raise TypeError(f"{_KINDS[kind]} is expected, not {_kind_of(value)}")


def _kind_of(value: Any) -> str:
    return _KINDS.get(type(value), repr(value))


def strict(kind: type, build: Callable[[Any], Any] | None = None) -> Hook:
    """Make a hook that takes this kind of JSON value only, and hands it to *build*.

    Without *build* it makes an instance of the wanted class, which may be a subclass of *kind*, such as a StrEnum.
    """

    def structure(value: Any, cls: Any) -> Any:
        check_kind(value, kind)
        if build is not None:
            return build(value)
        return value if cls is kind else cls(value)

    return structure


def _structure_float(value: Any, cls: Any) -> float:
    if type(value) is not float and type(value) is not int:  # serde reads 1 as 1.0 where a float belongs
        raise TypeError(f"a number is expected, not {_kind_of(value)}")
    number: float = cls(value)
    return number


def _is_scalar_union(cls: Any) -> bool:
    return _origin(cls) in {Union, UnionType} and set(get_args(cls)) <= _SCALARS


def _scalar_union_hook(cls: Any) -> Hook:
    kinds = set(get_args(cls))

    def structure(value: Any, _: Any) -> Any:
        if type(value) in kinds:
            return value
        if type(value) is int and float in kinds:
            return float(value)
        raise TypeError(f"{' or '.join(sorted(_KINDS[kind] for kind in kinds))} is expected, not {_kind_of(value)}")

    return structure


def _object_hook(cls: Any, conv: Converter) -> Hook:
    structure = make_dict_structure_fn(cls, conv)
    return strict(dict, lambda value: structure(value, cls))


def _mapping_hook(cls: Any, conv: Converter) -> Hook:
    structure = mapping_structure_factory(cls, conv)
    return strict(dict, lambda value: structure(value, cls))


def _typed_dict_hook(cls: Any, conv: Converter) -> Hook:
    structure = conv.gen_structure_typeddict(cls)
    return strict(dict, lambda value: structure(value, cls))


def array_of(cls: Any, structure: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    """Make a function that structures each item of a list, and gives up after some faults: a file may be all wrong."""

    def items(value: list[Any]) -> list[Any]:
        made, faults = [], []
        for index, item in enumerate(value):
            try:
                made.append(structure(item))
            except (RecursionError, MemoryError):
                raise
            except Exception as error:
                error.__notes__ = [IterableValidationNote("", index, cls)]
                faults.append(error)
                if len(faults) == MOST_FAULTS:
                    break
        if faults:
            raise IterableValidationError("items are wrong", faults, list)
        return made

    return items


def _array_hook_factory(abstract: type) -> Callable[[Any, Converter], Hook]:
    # cattrs makes one of anything that it can iterate over: the characters of a string, the keys of an object.
    def factory(cls: Any, conv: Converter) -> Hook:
        item = (get_args(cls) or (Any,))[0]
        items = array_of(item, lambda value: conv.structure(value, item))
        concrete = _origin(cls)
        build = abstract if isabstract(concrete) else concrete
        return strict(list, lambda value: build(items(value)))

    return factory


def _is_fixed_tuple(cls: Any) -> bool:
    return cls is not tuple and _origin(cls) is tuple and get_args(cls)[-1:] != (Ellipsis,)


def _tuple_hook(cls: Any, conv: Converter) -> Hook:
    structure = conv.gen_structure_hetero_tuple(cls)
    return strict(list, lambda value: structure(value, cls))


def _literal_hook(cls: Any) -> Hook:
    choices = get_args(cls)

    def structure(value: Any, _: Any) -> Any:
        for choice in choices:
            found = choice.value if isinstance(choice, Enum) else choice
            if found == value and type(found) is type(value):
                return choice
        raise ValueError(f"one of {', '.join(map(repr, choices))} is expected, not {value!r:.60}")

    return structure


# What JSON has no value for: strings.


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r:.60} is not a decimal number") from None


def render_datetime(moment: datetime) -> str | datetime:
    """Write a moment as the kernel does; what that cannot be, as it is."""
    try:
        return timestamps.render(moment)
    except (ValueError, OverflowError):
        return moment  # for the encoder to refuse it, with its path in the document


def _is_uuid(cls: Any) -> bool:
    return getattr(cls, "__module__", "") == "uuid" and cls.__name__ == "UUID"  # not imported, as most do without


def _enum_hook(cls: Any) -> Hook:
    def structure(value: Any, _: Any) -> Enum:
        member: Enum = cls(value)
        check_kind(value, type(member.value))  # 1.0 and true equal 1
        return member

    return structure


def make_converter() -> Converter:
    """Make a converter with all of the above."""
    made = Converter(unstruct_collection_overrides={AbstractSet: _sorted_array})
    for kind in (str, int, bool):
        made.register_structure_hook(kind, strict(kind))
    made.register_structure_hook(float, _structure_float)
    made.register_structure_hook(datetime, strict(str, timestamps.parse))
    made.register_unstructure_hook(datetime, render_datetime)
    made.register_structure_hook(date, strict(str, date.fromisoformat))
    made.register_unstructure_hook(date, date.isoformat)
    made.register_structure_hook(Path, strict(str, Path))
    made.register_structure_hook(Decimal, strict(str, _decimal))
    made.register_unstructure_hook(Decimal, str)
    made.register_structure_hook(bytes, strict(str, lambda text: base64.b64decode(text, validate=True)))
    made.register_unstructure_hook(bytes, lambda value: base64.b64encode(value).decode())
    made.register_unstructure_hook_factory(_is_uuid, lambda _: str)
    for predicate, factory in _FACTORIES:
        made.register_structure_hook_factory(predicate, factory)
    return made


_FACTORIES: list[tuple[Callable[[Any], bool], Any]] = [  # cattrs asks the last one first
    (_is_scalar_union, _scalar_union_hook),
    (lambda cls: attrs.has(cls) or is_dataclass(cls), _object_hook),
    (lambda cls: _origin(cls) in {dict, Mapping, MutableMapping}, _mapping_hook),
    (is_typeddict, _typed_dict_hook),
    (is_sequence, _array_hook_factory(tuple)),
    (is_mutable_sequence, _array_hook_factory(list)),
    (is_set, _array_hook_factory(set)),
    (is_abstract_set, _array_hook_factory(frozenset)),
    (is_frozenset, _array_hook_factory(frozenset)),
    (_is_fixed_tuple, _tuple_hook),
    (lambda cls: _origin(cls) is Literal, _literal_hook),
    (_is_uuid, lambda cls: strict(str, cls)),
    (lambda cls: isinstance(cls, type) and issubclass(cls, Enum), _enum_hook),
]
