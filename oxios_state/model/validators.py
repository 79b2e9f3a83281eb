"""attrs validators whose errors say what is wanted and what was given, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import attrs

    Validator = Callable[[Any, attrs.Attribute[Any], Any], None]


def is_a(*kinds: type) -> Validator:
    """Refuse what is of none of *kinds*."""
    wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)

    def validate(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kinds):
            raise TypeError(f"'{attribute.name}' must be {wanted}, not {type(value).__name__}")

    return validate


def is_int(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse, as a validator, what is not exactly an int."""
    if type(value) is not int:  # a bool is an int to isinstance
        raise TypeError(f"'{attribute.name}' must be int, not {type(value).__name__}")


def list_of(kind: type) -> Validator:
    """Refuse what is not a list, or has something else than *kind* in it."""
    is_list = is_a(list)

    def validate(session: object, attribute: attrs.Attribute[Any], value: list[Any]) -> None:
        is_list(session, attribute, value)
        if not set(map(type, value)) <= {kind}:  # quicker than one by one, which hardly ever comes to it
            wrong = [(index, type(item)) for index, item in enumerate(value) if not isinstance(item, kind)]
            if wrong:
                index, found = wrong[0]
                raise TypeError(f"'{attribute.name}[{index}]' must be {kind.__name__}, not {found.__name__}")

    return validate
