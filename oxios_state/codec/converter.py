"""The cattrs converter between JSON values and attrs classes, and other types that cattrs knows. It is strict.

Nothing is coerced on reading: a number in place of a string, 12.0 for an int or an object for a list is an error, as
in the kernel. cattrs by itself would call ``int("12")``, or split a string into a list of characters.
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
from types import MemberDescriptorType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, is_typeddict

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

_T = TypeVar("_T")
Hook = Callable[[Any, Any], Any]
MAX_FAULTS = 20
"""How many faults of a document, or of one list in it, are reported."""

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
    return sorted(items, key=repr)  # a set has no order; equal sets become equal bytes


# Types that are JSON values: exactly these are accepted.


def check_kind(value: Any, kind: type) -> None:
    """Raise a TypeError for a value that is not exactly this kind of JSON value."""
    if type(value) is not kind:
        raise TypeError(f"expected {_KINDS[kind]}, not {_kind_of(value)}")


def _kind_of(value: Any) -> str:
    return _KINDS.get(type(value), repr(value))


def strict(kind: type, build: Callable[[Any], Any] | None = None) -> Hook:
    """Return a hook that accepts this kind of JSON value only and passes it to *build*.

    Without *build* it creates an instance of the requested class, which may be a subclass of *kind*, such as a StrEnum.
    """

    def structure(value: Any, cls: Any) -> Any:
        check_kind(value, kind)
        if build is not None:
            return build(value)
        return value if cls is kind else cls(value)

    return structure


def _structure_float(value: Any, cls: Any) -> float:
    if type(value) is not float and type(value) is not int:  # serde reads 1 as 1.0 in place of a float
        raise TypeError(f"expected a number, not {_kind_of(value)}")
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
        raise TypeError(f"expected {' or '.join(sorted(_KINDS[kind] for kind in kinds))}, not {_kind_of(value)}")

    return structure


def _is_class(cls: Any) -> bool:
    return attrs.has(cls) or is_dataclass(cls)


def _object_hook(cls: Any, conv: Converter) -> Hook:
    structure = _up_to_date(cls, lambda: make_dict_structure_fn(cls, conv))
    return strict(dict, lambda value: structure()(value, cls))


def _unstructure_hook(cls: Any, conv: Converter) -> Callable[[Any], Any]:
    unstructure = _up_to_date(cls, lambda: conv.gen_unstructure_attrs_fromdict(cls))

    def hook(value: Any) -> Any:
        return unstructure()(value)

    return hook


def _up_to_date(cls: Any, build: Callable[[], _T]) -> Callable[[], _T]:
    """Return a function that returns the result of *build*, built again whenever the fields of *cls* have changed.

    IPython's %autoreload edits a class in place: it gets the attributes of the class in the edited file.
    """
    latest = _fields(cls), build()

    def current() -> _T:
        nonlocal latest
        fields, result = latest
        if fields is not _fields(cls):
            result = build()
            latest = _fields(cls), result
        return result

    return current


def _fields(cls: Any) -> object:
    origin = _origin(cls)
    return getattr(origin, "__attrs_attrs__", None) or getattr(origin, "__dataclass_fields__", None)


def edited_class(cls: Any) -> str | None:
    """Return the name of *cls* if it was edited in place and cannot have instances any more; else None.

    The slots of the class in the edited file do not fit instances of this one.
    """
    origin = _origin(cls)
    slots = [member for member in vars(origin).values() if isinstance(member, MemberDescriptorType)]
    return class_name(cls) if any(slot.__objclass__ is not origin for slot in slots) else None


def class_name(cls: Any) -> str:
    """Return the name of a class, or of the class of a generic alias."""
    name: str = _origin(cls).__qualname__
    return name


def _mapping_hook(cls: Any, conv: Converter) -> Hook:
    structure = mapping_structure_factory(cls, conv)
    return strict(dict, lambda value: structure(value, cls))


def _typed_dict_hook(cls: Any, conv: Converter) -> Hook:
    structure = conv.gen_structure_typeddict(cls)
    return strict(dict, lambda value: structure(value, cls))


def array_of(cls: Any, structure: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    """Return a function that structures each item of a list, and stops after `MAX_FAULTS`: every item may be wrong."""

    def items(value: list[Any]) -> list[Any]:
        result, faults = [], []
        for index, item in enumerate(value):
            try:
                result.append(structure(item))
            except (RecursionError, MemoryError):
                raise
            except Exception as error:
                error.__notes__ = [IterableValidationNote("", index, cls)]
                faults.append(error)
                if len(faults) == MAX_FAULTS:
                    break
        if faults:
            raise IterableValidationError("items are wrong", faults, list)
        return result

    return items


def _array_hook_factory(abstract: type) -> Callable[[Any, Converter], Hook]:
    # cattrs accepts any iterable: the characters of a string, the keys of an object.
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
            expected = choice.value if isinstance(choice, Enum) else choice
            if expected == value and type(expected) is type(value):
                return choice
        raise ValueError(f"expected one of {', '.join(map(repr, choices))}, not {value!r:.60}")

    return structure


# Types that are not JSON values: written as strings.


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r:.60} is not a decimal number") from None


def render_datetime(moment: datetime) -> str | datetime:
    """Return a datetime as the kernel writes it, or unchanged if it cannot be written."""
    try:
        return timestamps.render(moment)
    except (ValueError, OverflowError):
        return moment  # the encoder refuses it, with its JSON path


def _is_uuid(cls: Any) -> bool:
    return getattr(cls, "__module__", "") == "uuid" and cls.__name__ == "UUID"  # without importing it


def _enum_hook(cls: Any) -> Hook:
    def structure(value: Any, _: Any) -> Enum:
        member: Enum = cls(value)
        check_kind(value, type(member.value))  # 1.0 and true equal 1
        return member

    return structure


def make_converter() -> Converter:
    """Return a converter with the hooks of this module."""
    conv = Converter(unstruct_collection_overrides={AbstractSet: _sorted_array})
    for kind in (str, int, bool):
        conv.register_structure_hook(kind, strict(kind))
    conv.register_structure_hook(float, _structure_float)
    conv.register_structure_hook(datetime, strict(str, timestamps.parse))
    conv.register_unstructure_hook(datetime, render_datetime)
    conv.register_structure_hook(date, strict(str, date.fromisoformat))
    conv.register_unstructure_hook(date, date.isoformat)
    conv.register_structure_hook(Path, strict(str, Path))
    conv.register_structure_hook(Decimal, strict(str, _decimal))
    conv.register_unstructure_hook(Decimal, str)
    conv.register_structure_hook(bytes, strict(str, lambda text: base64.b64decode(text, validate=True)))
    conv.register_unstructure_hook(bytes, lambda value: base64.b64encode(value).decode())
    conv.register_unstructure_hook_factory(_is_class, _unstructure_hook)
    conv.register_unstructure_hook_factory(_is_uuid, lambda _: str)
    for predicate, factory in _FACTORIES:
        conv.register_structure_hook_factory(predicate, factory)
    return conv


_FACTORIES: list[tuple[Callable[[Any], bool], Any]] = [  # cattrs tries the last one first
    (_is_scalar_union, _scalar_union_hook),
    (_is_class, _object_hook),
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
