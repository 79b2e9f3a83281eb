"""Which values JSON can hold for the kernel to read them back, and where in a document one is that it cannot hold."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from oxios_state.model.immutable import FrozenDict, FrozenList

if TYPE_CHECKING:
    from collections.abc import Iterable

DEEPEST = 127
"""How many arrays and objects may be nested: serde_json reads no more than this."""

_MANY = 10_000  # containers at one depth
SMALLEST, LARGEST = -(2**63), 2**64 - 1  # the integers that serde_json holds as such: those of i64 and u64


def json_path(keys: Iterable[str | int]) -> str:
    """Write a path into a document: ``$.metadata.scores[3]``, ``$['a key']``."""
    return "$" + "".join(f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]" for key in keys)


class FaultError(Exception):
    """Why a value is not JSON that the kernel reads; *keys* lead to it from the innermost, gathered on the way out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.keys: list[str | int] = []

    @property
    def path(self) -> str:
        """The path to the value."""
        return json_path(reversed(self.keys))


def check(value: Any, depth: int) -> bool:
    """Refuse what the kernel could not read back; say whether orjson writes *value* as the kernel does.

    Raises:
        FaultError: With the reason, and the keys that lead to the value.
    """
    kind = type(value)
    if kind is str:
        if not value.isascii():
            check_unicode(value)
        return True
    if value is None or kind is bool:
        return True
    if isinstance(value, dict):
        _check_depth(depth)
        plain = kind is dict or kind is FrozenDict
        for key, item in value.items():
            _check_key(key)
            try:
                plain &= check(item, depth + 1) and type(key) is str
            except FaultError as fault:
                fault.keys.append(key)
                raise
        return plain
    if isinstance(value, list | tuple):
        _check_depth(depth)
        plain = kind is list or kind is FrozenList or kind is tuple
        for index, item in enumerate(value):
            try:
                plain &= check(item, depth + 1)
            except FaultError as fault:
                fault.keys.append(index)
                raise
        return plain
    return _check_scalar(value, kind)


def _check_key(key: Any) -> None:
    if not isinstance(key, str):
        raise FaultError(f"the key {key!r} is not a string")
    check_unicode(key)


def _check_scalar(value: Any, kind: type) -> bool:
    if isinstance(value, int):
        if not SMALLEST <= value <= LARGEST:
            raise FaultError("the integer is outside [-2^63, 2^64-1]")
        return kind is int
    if isinstance(value, float):
        if not math.isfinite(value):
            raise FaultError(f"{value} is not JSON")
        return kind is float and "e" not in float.__repr__(value)  # releases of orjson differ in how they spell 1e16
    if isinstance(value, str):
        check_unicode(value)
        return False
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise FaultError(f"{value!r} has no time zone")
        raise FaultError("a datetime is not JSON, or is outside the years 1 to 9999 in UTC")
    raise FaultError(f"a value of type {kind.__qualname__} is not JSON")


def _check_depth(depth: int) -> None:
    if depth > DEEPEST:
        raise FaultError(f"nested deeper than {DEEPEST} levels")


def check_unicode(text: str) -> None:
    """Refuse text that UTF-8 cannot hold.

    Raises:
        FaultError: If it has a lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FaultError(f"the text has a lone surrogate at character {error.start}") from None


def depth_exceeds(value: Any, limit: int) -> bool:
    """Say whether plain arrays and objects are nested deeper than *limit*."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
        if len(level) > _MANY:  # what holds itself twice would be twice as many at each depth
            level = list({id(container): container for container in level}.values())
    return True
