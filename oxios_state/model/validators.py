"""Checks of arguments and attributes, whose errors name the argument, what it must be and what it was."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import attrs

    Validator = Callable[[Any, attrs.Attribute[Any], Any], None]


def check_count(name: str, value: Any) -> int:
    """Return *value* if it is a whole number from 0 up.

    Raises:
        TypeError: If it is not exactly an int.
        ValueError: If it is negative.
    """
    if type(value) is not int:  # a bool is an int to isinstance
        raise TypeError(f"{name} must be int, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{name} must not be negative: {value}")
    return value


def check_number(name: str, value: Any, maximum: float = math.inf) -> float:
    """Return *value* if it is a number from 0 to *maximum*.

    Raises:
        TypeError: If it is neither an int nor a float.
        ValueError: If it is negative, not a number, or more than *maximum*.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be int or float, not {type(value).__name__}")
    if not 0 <= value <= maximum:
        limit = "" if maximum == math.inf else f" or more than {maximum:g}"
        raise ValueError(f"{name} must not be negative{limit}: {value!r}")
    return value


def instance_of(*kinds: type) -> Validator:
    """Return an attrs validator that accepts instances of *kinds* only."""
    expected = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)

    def validate(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kinds):
            raise TypeError(f"'{attribute.name}' must be {expected}, not {type(value).__name__}")

    return validate


is_text = instance_of(str)
is_optional_text = instance_of(str, type(None))
is_datetime = instance_of(datetime)


def list_of(kind: type) -> Validator:
    """Return an attrs validator that accepts lists of instances of *kind* only."""
    is_list = instance_of(list)

    def validate(instance: object, attribute: attrs.Attribute[Any], value: list[Any]) -> None:
        is_list(instance, attribute, value)
        if not set(map(type, value)) <= {kind}:  # a fifth of the time of asking isinstance of each
            for index, item in enumerate(value):
                if not isinstance(item, kind):
                    expected = f"'{attribute.name}[{index}]' must be {kind.__name__}"
                    raise TypeError(f"{expected}, not {type(item).__name__}")

    return validate


def count(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Accept, as an attrs validator, whole numbers from 0 up."""
    check_count(f"'{attribute.name}'", value)
