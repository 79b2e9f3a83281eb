"""Checks of arguments and attributes, whose errors name the argument, what it must be and what it was."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from oxios_state.errors import UnsupportedValueError
from oxios_state.model import timestamps
from oxios_state.model.values import check_recorded, json_path

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


_is_str = instance_of(str)
_is_str_or_none = instance_of(str, type(None))
_is_datetime = instance_of(datetime)


def is_text(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Accept, as an attrs validator, text that can be saved."""
    if type(value) is not str or not value.isascii():  # most text is, which takes a fraction of the time
        _is_str(instance, attribute, value)
        check_recorded(value, 0, attribute.name)


def is_optional_text(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Accept, as an attrs validator, text that can be saved, and None."""
    if value is not None:
        _is_str_or_none(instance, attribute, value)
        check_recorded(value, 0, attribute.name)


def is_datetime(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Accept, as an attrs validator, datetimes that can be saved."""
    moment: Any = value
    if type(value) is datetime and moment.tzinfo is UTC:  # most are: a fraction of the time
        return
    _is_datetime(instance, attribute, value)
    try:
        timestamps.render(moment)
    except ValueError as error:  # from pandas' NaT, too
        reason = f"{error}; moment.astimezone() adds the system's"
        raise UnsupportedValueError(None, reason, json_path([attribute.name])) from None
    except OverflowError:
        reason = f"{moment!r} is outside the years 1 to 9999 in UTC"
        raise UnsupportedValueError(None, reason, json_path([attribute.name])) from None


def is_json(depth: int, *keys: str, **more: str) -> Validator:
    """Return an attrs validator that accepts JSON values.

    Args:
        depth: How deep the value stands in the document of its session.
        *keys: The keys that lead to the value.
        **more: Further arguments of `check_recorded`.
    """

    def validate(_: object, __: attrs.Attribute[Any], value: object) -> None:
        if type(value) is not dict or value:  # metadata is often empty
            check_recorded(value, depth, *keys, **more)

    return validate


def list_of(kind: type) -> Validator:
    """Return an attrs validator that accepts lists of exactly *kind* only: what a subclass adds cannot be saved."""
    is_list = instance_of(list)

    def validate(instance: object, attribute: attrs.Attribute[Any], value: list[Any]) -> None:
        is_list(instance, attribute, value)
        if not set(map(type, value)) <= {kind}:  # a fifth of the time of asking isinstance of each
            for index, item in enumerate(value):
                if type(item) is not kind:
                    expected = f"'{attribute.name}[{index}]' must be {kind.__name__}"
                    raise TypeError(f"{expected}, not {type(item).__name__}")

    return validate


def count(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Accept, as an attrs validator, whole numbers from 0 up."""
    check_count(f"'{attribute.name}'", value)
