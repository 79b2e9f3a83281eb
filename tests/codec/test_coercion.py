"""The converter coerces nothing on reading."""

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
    (str, [1, 1.5, True, None, ["a"], {"a": 1}], "expected a string"),
    (int, [1.0, "1", True, None, [1], {}], "expected an integer"),
    (float, ["1.5", True, None, [], {}], "expected a number"),
    (bool, [0, 1, 1.0, "true", None, []], "expected a boolean"),
    (list[int], ["12", {"1": 2}, 1, None, True], "expected an array"),
    (list, ["ab", {}, 1], "expected an array"),
    (list[Any], ["ab", {}, 1], "expected an array"),
    (set[str], ["ab", {"a": 1}], "expected an array"),
    (frozenset[str], ["ab", {"a": 1}], "expected an array"),
    (AbstractSet[str], ["ab", {"a": 1}], "expected an array"),
    (Sequence[str], ["ab", {"a": 1}], "expected an array"),
    (tuple[str, ...], ["ab", {"a": 1}], "expected an array"),
    (tuple[str, str], ["ab", {"a": 1, "b": 2}], "expected an array"),
    (deque[str], ["ab", {"a": 1}], "expected an array"),
    (dict[str, int], [[["a", 1]], "", [], None], "expected an object"),
    (dict, [[["a", 1]], "", [], None], "expected an object"),
    (Mapping[str, int], [[["a", 1]], []], "expected an object"),
    (Point, [[], [1], "x", 1, None], "expected an object"),
    (Point | None, [[], "x"], "expected an object"),
    (Options, [[], ["depth"], "", "depth", 1, None], "expected an object"),
    (Options | None, [[], "depth"], "expected an object"),
    (Movie, [[], "name", None], "expected an object"),
    (int | str, [1.0, True, None, []], "expected a string or an integer, not "),
    (int | None, ["1", 1.0, True, []], "expected an integer or null, not "),
    (float | None, ["1", True, {}], "expected a float or null, not "),
    (bool | None, [0, "true"], "expected a boolean or null, not "),
    (datetime, [1, 1.5, None, "2026-03-01", "2026-03-01T08:00:00", "now", []], ""),
    (date, [1, None, "2026-02-30", "2026-03-01T08:00:00Z", ""], ""),
    (UUID, [1, None, "1234", ""], ""),
    (Path, [1, None, []], "expected a string"),
    (Decimal, [1, 1.5, "", "1,5", "x", None], ""),
    (bytes, [1, "a", "****", "AP8=\n", [0]], ""),
    (Color, ["blue", 1.0, True, [], {}, 0], ""),
    (Level, [1.0, True, "1", 2], ""),
    (Mood, ["bad", None], ""),
    (Literal["a", 1], ["b", 1.0, True, None, []], ""),
    (SessionId, [1, None], "expected a string"),
    (UserName, [1], "expected a string"),
]


@pytest.mark.parametrize(
    ("type", "value", "reason"), [(kind, value, text) for kind, values, text in WRONG for value in values]
)
def test_nothing_is_coerced(type: Any, value: Any, reason: str) -> None:
    assert reason in refusal(value, type).reason
    error = refusal({"k": [value]}, dict[str, list[type]])
    assert error.json_path == "$.k[0]"
    assert reason in error.reason
