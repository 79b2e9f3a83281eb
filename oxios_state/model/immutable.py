"""Free-form values that cannot be changed, for records that cannot be changed."""

from __future__ import annotations

import copy
from typing import Any, NoReturn

_MAX_DEPTH = 127  # deeper values are returned unfrozen; saving rejects them
SCALARS = frozenset({str, int, float, bool, type(None)})
"""The types of values that contain no others."""


class FrozenDict(dict[str, Any]):
    """A dict that refuses to be changed. Copies and pickles of it are plain dicts."""

    __slots__ = ()

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {key: copy.deepcopy(value, memo) for key, value in self.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class FrozenList(list[Any]):
    """A list that refuses to be changed. Copies and pickles of it are plain lists."""

    __slots__ = ()

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [copy.deepcopy(value, memo) for value in self]

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError(
        "a record is immutable: change a copy (copy.deepcopy returns a plain one), and make a new record of it"
    )


for _class, _names in (
    (FrozenDict, "__setitem__ __delitem__ __ior__ clear pop popitem setdefault update"),
    (FrozenList, "__setitem__ __delitem__ __iadd__ __imul__ append clear extend insert pop remove reverse sort"),
):
    for _name in _names.split():
        setattr(_class, _name, _refuse)


def freeze(value: Any, around: tuple[int, ...] = ()) -> Any:
    """Return a frozen copy of dicts, lists and tuples, nested ones included; other values are returned as they are.

    Self-referencing containers are returned unfrozen; saving rejects them.

    Args:
        value: The value.
        around: The identities of the containers that enclose it.
    """
    kind = type(value)
    if kind is dict and SCALARS.issuperset(map(type, value.values())):
        return FrozenDict(value)
    if kind is FrozenDict or kind is FrozenList or len(around) >= _MAX_DEPTH or id(value) in around:
        return value
    if isinstance(value, dict):
        return FrozenDict({key: freeze(item, (*around, id(value))) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return FrozenList([freeze(item, (*around, id(value))) for item in value])
    return value


def thaw(value: Any) -> Any:
    """Return a plain copy of a value that `freeze` returned."""
    kind = type(value)
    if kind is FrozenDict:
        if SCALARS.issuperset(map(type, value.values())):
            return dict(value)
        return {key: thaw(item) for key, item in value.items()}
    return list(map(thaw, value)) if kind is FrozenList else value
