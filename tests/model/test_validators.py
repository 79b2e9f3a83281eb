"""Checks of arguments and attributes: each error names the argument, what it must be, and what it was."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from oxios_state.model.validators import (
    check_count,
    check_number,
    count,
    instance_of,
    is_datetime,
    is_optional_text,
    is_text,
    list_of,
)


@pytest.mark.parametrize("value", [0, 1, 2**70])
def test_a_count_is_a_whole_number_from_0_up(value: int) -> None:
    assert check_count("limit", value) is value


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (-1, ValueError, "limit must not be negative: -1"),
        (1.0, TypeError, "limit must be int, not float"),
        (True, TypeError, "limit must be int, not bool"),
        (None, TypeError, "limit must be int, not NoneType"),
    ],
)
def test_another_count_is_refused(value: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        check_count("limit", value)
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 60])
def test_a_number_is_from_0_to_the_maximum(value: float) -> None:
    assert check_number("timeout", value, 60) is value
    assert check_number("timeout", math.inf) == math.inf


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (-0.5, ValueError, "timeout must not be negative or more than 60: -0.5"),
        (61, ValueError, "timeout must not be negative or more than 60: 61"),
        (math.nan, ValueError, "timeout must not be negative or more than 60: nan"),
        (math.inf, ValueError, "timeout must not be negative or more than 60: inf"),
        ("1", TypeError, "timeout must be int or float, not str"),
        (True, TypeError, "timeout must be int or float, not bool"),
    ],
)
def test_another_number_is_refused(value: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        check_number("timeout", value, 60)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("validator", "value", "message"),
    [
        (is_text, 1, "'x' must be str, not int"),
        (is_optional_text, 1, "'x' must be str or None, not int"),
        (is_datetime, "now", "'x' must be datetime, not str"),
        (instance_of(bool, type(None)), 0, "'x' must be bool or None, not int"),
        (count, 1.5, "'x' must be int, not float"),
        (list_of(str), "ab", "'x' must be list, not str"),
        (list_of(str), ["a", 1], "'x[1]' must be str, not int"),
    ],
)
def test_an_attribute_of_another_type_is_a_type_error(validator: Any, value: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        attrs.make_class("Example", {"x": attrs.field(validator=validator)})(value)
    assert str(caught.value) == message


def test_a_list_refuses_instances_of_subclasses() -> None:
    example = attrs.make_class("Example", {"x": attrs.field(validator=list_of(int))})
    assert example([1, 2]).x == [1, 2]
    with pytest.raises(TypeError, match=r"'x\[1\]' must be int, not bool"):
        example([1, True])
