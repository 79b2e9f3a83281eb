"""Free-form values that cannot be changed, for records that cannot be changed."""

from __future__ import annotations

import copy
from typing import Any, NoReturn

_DEEPEST = 127  # what is nested deeper is left as it is, and refused when it is saved
SCALARS = frozenset({str, int, float, bool, type(None)})
"""The types of values that hold no others."""


class FrozenDict(dict[str, Any]):
    """A dict that refuses to be changed; its copies are plain dicts, which do not."""

    __slots__ = ()

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {key: copy.deepcopy(value, memo) for key, value in self.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)


class FrozenList(list[Any]):
    """A list that refuses to be changed; its copies are plain lists, which do not."""

    __slots__ = ()

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [copy.deepcopy(value, memo) for value in self]

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenList, (list(self),)


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError(
        "a record is immutable: change a copy (copy.deepcopy gives a plain one), and make a new record of it"
    )


for _class, _names in (
    (FrozenDict, "__setitem__ __delitem__ __ior__ clear pop popitem setdefault update"),
    (FrozenList, "__setitem__ __delitem__ __iadd__ __imul__ append clear extend insert pop remove reverse sort"),
):
    for _name in _names.split():
        setattr(_class, _name, _refuse)


def freeze(value: Any, around: tuple[int, ...] = ()) -> Any:
    """Give a frozen copy of dicts, lists and tuples, and of what they hold; anything else as it is.

    What holds itself is left as it is there, for saving to refuse; *around* are the identities of what holds *value*.
    """
    kind = type(value)
    if kind is dict and SCALARS.issuperset(map(type, value.values())):
        return FrozenDict(value)
    if kind is FrozenDict or kind is FrozenList or len(around) >= _DEEPEST or id(value) in around:
        return value
    if isinstance(value, dict):
        return FrozenDict({key: freeze(item, (*around, id(value))) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return FrozenList([freeze(item, (*around, id(value))) for item in value])
    return value


def thaw(value: Any) -> Any:
    """Give a plain copy of what `freeze` gave."""
    kind = type(value)
    if kind is FrozenDict:
        if SCALARS.issuperset(map(type, value.values())):
            return dict(value)
        return {key: thaw(item) for key, item in value.items()}
    return list(map(thaw, value)) if kind is FrozenList else value
