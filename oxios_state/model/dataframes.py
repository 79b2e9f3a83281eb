"""What pandas and polars ask of a record: the protocol of `dataclasses`, as both make columns of such instances.

They know no attrs classes, and neither is needed here.
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
    # What polars goes by, instead of by the values: it takes every datetime for one without a time zone, and for Any it
    # looks at the first records only and drops what no column was made for.
    Moment = NewType("Moment", datetime)
    JSONValue = object


class _Protocol:
    """Gives an attribute of the dataclass that stands for a class, made when it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, _: object, owner: type) -> Any:
        if not attrs.has(owner):
            raise AttributeError(self._name)
        return getattr(_dataclass(owner), self._name)


class Row:
    """A record of which data frames make a row: each field is a column, but for those in `_no_columns`.

    What `dataclasses` can do with its own instances, `asdict` and `replace` among it, it can do with these.
    """

    __slots__ = ()
    _no_columns: ClassVar[frozenset[str]] = frozenset()

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    else:
        __dataclass_fields__ = _Protocol("__dataclass_fields__")
        __dataclass_params__ = _Protocol("__dataclass_params__")  # what pprint asks for


_A_FACTORY: Any = attrs.Factory(list)  # its class is a function to a type checker


@cache
def _dataclass(cls: Any) -> type:  # an attrs class that is a Row
    hints = get_type_hints(cls)
    members: list[Any] = []
    for member in attrs.fields(cls):
        if member.name in cls._no_columns:  # `asdict` leaves such a one out, and `replace` keeps it
            members.append((member.name, InitVar[Any], None))
        else:
            hint = hints[member.name]
            members.append((member.name, getattr(hint, "__supertype__", hint), _field(member)))
    return make_dataclass(cls.__name__, members, init=False, repr=False, eq=False, namespace={"__doc__": cls.__doc__})


def _field(member: attrs.Attribute[Any]) -> Any:
    default: Any = member.default
    if default is attrs.NOTHING:
        return field(kw_only=member.kw_only)
    if type(default) is type(_A_FACTORY):
        return field(default_factory=default.factory, kw_only=member.kw_only)
    return field(default=default, kw_only=member.kw_only)
