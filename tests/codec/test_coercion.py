"""Nothing is coerced on reads."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any, Literal, NewType, TypedDict
from uuid import UUID

import attrs
import pytest

from oxios_state import CorruptStateError, SessionId
from oxios_state.codec import documents as codec

PATH = Path("config/agent.json")
UserName = NewType("UserName", str)


class Color(Enum):
    RED = "red"
    ONE = 1


class Level(IntEnum):
    LOW = 1


class Mood(StrEnum):
    GOOD = "good"


class Movie(TypedDict):
    name: str
    year: int


@attrs.frozen
class Point:
    x: int = 0


@dataclasses.dataclass
class Options:
    depth: int = 1


def refusal(value: Any, type: Any) -> CorruptStateError:
    with pytest.raises(CorruptStateError) as caught:
        codec.decode_json(json.dumps(value).encode(), type, PATH)
    return caught.value


WRONG: list[tuple[Any, list[Any], str]] = [
    (str, [1, 1.5, True, None, ["a"], {"a": 1}], "a string is expected"),
    (int, [1.0, "1", True, None, [1], {}], "an integer is expected"),
    (float, ["1.5", True, None, [], {}], "a number is expected"),
    (bool, [0, 1, 1.0, "true", None, []], "a boolean is expected"),
    (list[int], ["12", {"1": 2}, 1, None, True], "an array is expected"),
    (list, ["ab", {}, 1], "an array is expected"),
    (list[Any], ["ab", {}, 1], "an array is expected"),
    (set[str], ["ab", {"a": 1}], "an array is expected"),
    (frozenset[str], ["ab", {"a": 1}], "an array is expected"),
    (AbstractSet[str], ["ab", {"a": 1}], "an array is expected"),
    (Sequence[str], ["ab", {"a": 1}], "an array is expected"),
    (tuple[str, ...], ["ab", {"a": 1}], "an array is expected"),
    (tuple[str, str], ["ab", {"a": 1, "b": 2}], "an array is expected"),
    (deque[str], ["ab", {"a": 1}], "an array is expected"),
    (dict[str, int], [[["a", 1]], "", [], None], "an object is expected"),
    (dict, [[["a", 1]], "", [], None], "an object is expected"),
    (Mapping[str, int], [[["a", 1]], []], "an object is expected"),
    (Point, [[], [1], "x", 1, None], "an object is expected"),
    (Point | None, [[], "x"], "an object is expected"),
    (Options, [[], ["depth"], "", "depth", 1, None], "an object is expected"),
    (Options | None, [[], "depth"], "an object is expected"),
    (Movie, [[], "name", None], "an object is expected"),
    (int | str, [1.0, True, None, []], "a string or an integer is expected, not "),
    (int | None, ["1", 1.0, True, []], "an integer or null is expected, not "),
    (float | None, ["1", True, {}], "a float or null is expected, not "),
    (bool | None, [0, "true"], "a boolean or null is expected, not "),
    (datetime, [1, 1.5, None, "2026-03-01", "2026-03-01T08:00:00", "now", []], ""),
    (date, [1, None, "2026-02-30", "2026-03-01T08:00:00Z", ""], ""),
    (UUID, [1, None, "1234", ""], ""),
    (Path, [1, None, []], "a string is expected"),
    (Decimal, [1, 1.5, "", "1,5", "x", None], ""),
    (bytes, [1, "a", "****", "AP8=\n", [0]], ""),
    (Color, ["blue", 1.0, True, [], {}, 0], ""),
    (Level, [1.0, True, "1", 2], ""),
    (Mood, ["bad", None], ""),
    (Literal["a", 1], ["b", 1.0, True, None, []], ""),
    (SessionId, [1, None], "a string is expected"),
    (UserName, [1], "a string is expected"),
]


@pytest.mark.parametrize(
    ("type", "value", "reason"), [(kind, value, text) for kind, values, text in WRONG for value in values]
)
def test_nothing_is_coerced(type: Any, value: Any, reason: str) -> None:
    assert reason in refusal(value, type).reason
    error = refusal({"k": [value]}, dict[str, list[type]])
    assert error.json_path == "$.k[0]"
    assert reason in error.reason
