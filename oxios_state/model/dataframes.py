"""Rows of data frames: pandas and polars make columns of records by the protocol of `dataclasses`.

Neither knows attrs classes, and neither is needed here.
"""

from __future__ import annotations

from dataclasses import InitVar, field, make_dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NewType, get_type_hints

import attrs

if TYPE_CHECKING:
    from dataclasses import Field

    Moment = datetime
    JSONValue = Any
else:
    # polars reads these annotations instead of the values: it takes every datetime for one without a time zone, and
    # for Any it looks at the first records only and drops keys for which these made no column.
    Moment = NewType("Moment", datetime)
    JSONValue = object


class _DataclassAttribute:
    """An attribute of the dataclass that stands for an attrs class, created when it is first read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, _: object, owner: type) -> Any:
        if not attrs.has(owner):
            raise AttributeError(self._name)
        return getattr(_dataclass(owner), self._name)


class Row:
    """Base of attrs classes whose instances are rows of a data frame: each field is a column.

    Functions of `dataclasses` that take an instance, such as ``asdict`` and ``replace``, accept these too.
    """

    __slots__ = ()
    _not_columns: ClassVar[frozenset[str]] = frozenset()
    """The fields that are no columns."""

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    else:
        __dataclass_fields__ = _DataclassAttribute("__dataclass_fields__")
        __dataclass_params__ = _DataclassAttribute("__dataclass_params__")  # pprint reads them


_FACTORY: Any = attrs.Factory(list)  # to a type checker, the class of this object is a function


@cache
def _dataclass(cls: Any) -> type:
    hints = get_type_hints(cls)
    members: list[Any] = []
    for member in attrs.fields(cls):
        if member.name in cls._not_columns:  # `asdict` omits an InitVar, and `replace` keeps it
            members.append((member.name, InitVar[Any], None))
        else:
            hint = hints[member.name]
            members.append((member.name, getattr(hint, "__supertype__", hint), _field(member)))
    return make_dataclass(cls.__name__, members, init=False, repr=False, eq=False, namespace={"__doc__": cls.__doc__})


def _field(member: attrs.Attribute[Any]) -> Any:
    default: Any = member.default
    if default is attrs.NOTHING:
        return field(kw_only=member.kw_only)
    if type(default) is type(_FACTORY):
        return field(default_factory=default.factory, kw_only=member.kw_only)
    return field(default=default, kw_only=member.kw_only)
