"""The converter: types that survive, and the places of faults."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any, Generic, Literal, NewType, Optional, TypedDict, TypeVar, Union
from uuid import UUID

import attrs
import pytest
from cattrs import StructureHandlerNotFoundError

from oxios_state import CorruptStateError, SessionId, Timestamp, UnsupportedValueError, converter
from oxios_state.codec import documents as codec

PATH = Path("config/agent.json")
T = TypeVar("T")
UserName = NewType("UserName", str)
MOMENT = datetime(2026, 3, 1, 8, tzinfo=UTC)
SOME_UUID = UUID("12345678-1234-5678-1234-567812345678")


class Color(Enum):
    RED = "red"
    ONE = 1
    NONE = None
    HALF = 0.5


class Level(IntEnum):
    LOW = 1


class Mood(StrEnum):
    GOOD = "good"


class Movie(TypedDict):
    name: str
    year: int


@attrs.frozen
class Point:
    x: int
    y: float = 0.0


@attrs.frozen
class Circle:
    center: Point
    radius: float


@attrs.define
class Tree:
    name: str
    children: list[Tree] = attrs.field(factory=list)
    parent: Tree | None = None


@attrs.define
class Box(Generic[T]):
    content: T


@dataclasses.dataclass
class Options:
    depth: int = 1
    tags: list[str] = dataclasses.field(default_factory=list)


@attrs.define
class Everything:
    moment: datetime
    day: date
    id: UUID
    path: Path
    color: Color
    price: Decimal
    raw: bytes
    names: set[str]
    fixed: frozenset[int]
    pair: tuple[int, str]
    numbers: tuple[int, ...]
    points: dict[str, Point]
    by_id: dict[UUID, int]
    maybe: Point | None
    number_or_text: int | str | None
    session_id: SessionId
    anything: Any


def round_trip(value: Any, type: Any) -> Any:
    return codec.decode_json(codec.encode_json(value, PATH), type, PATH)


def decode(value: Any, type: Any) -> Any:
    return codec.decode_json(json.dumps(value).encode(), type, PATH)


def refusal(value: Any, type: Any) -> CorruptStateError:
    with pytest.raises(CorruptStateError) as caught:
        decode(value, type)
    assert caught.value.path == PATH
    return caught.value


def test_a_class_with_fields_of_all_types_survives() -> None:
    everything = Everything(
        moment=MOMENT,
        day=date(2026, 3, 1),
        id=SOME_UUID,
        path=Path("a/b"),
        color=Color.RED,
        price=Decimal("1.10"),
        raw=b"\0\xff",
        names={"b", "a", "c"},
        fixed=frozenset({2, 1}),
        pair=(1, "one"),
        numbers=(1, 2, 3),
        points={"origin": Point(0)},
        by_id={SOME_UUID: 1},
        maybe=None,
        number_or_text="text",
        session_id=SessionId("s"),
        anything={"k": [1, None]},
    )
    assert round_trip(everything, Everything) == everything
    assert json.loads(codec.encode_json(everything, PATH)) == {
        "moment": "2026-03-01T08:00:00Z",
        "day": "2026-03-01",
        "id": str(SOME_UUID),
        "path": "a/b",
        "color": "red",
        "price": "1.10",
        "raw": "AP8=",
        "names": ["a", "b", "c"],
        "fixed": [1, 2],
        "pair": [1, "one"],
        "numbers": [1, 2, 3],
        "points": {"origin": {"x": 0, "y": 0.0}},
        "by_id": {str(SOME_UUID): 1},
        "maybe": None,
        "number_or_text": "text",
        "session_id": "s",
        "anything": {"k": [1, None]},
    }


@pytest.mark.parametrize(
    ("value", "type"),
    [
        (Timestamp(2026, 3, 1, tzinfo=UTC, nanosecond=5), datetime),
        (None, datetime | None),
        (MOMENT, Optional[datetime]),  # noqa: UP045
        (Color.ONE, Color),
        (Color.NONE, Color),
        (Color.HALF, Color),
        (Level.LOW, Level),
        (Mood.GOOD, Mood),
        (Circle(Point(1, 2.5), 3.0), Circle),
        (Tree("a", [Tree("b", [Tree("c")])], Tree("d")), Tree),
        (Box(Point(1)), Box[Point]),
        (Box([1, 2]), Box[list[int]]),
        (Options(2, ["a"]), Options),
        ([Options()], list[Options]),
        (Options(), Options | None),
        ({"a": [Point(1)], "b": []}, dict[str, list[Point]]),
        ({"a": 1}, Mapping[str, int]),
        ((1, 2), Sequence[int]),
        (frozenset({1}), AbstractSet[int]),
        ({Color.RED: 1}, dict[Color, int]),
        ([], list[int]),
        ([1, "a", None], list),
        ((1, "a"), tuple),
        ((), tuple[()]),
        ({"a": 1}, dict),
        ([1, 2.5, "a", True, None], list[int | float | str | bool | None]),
        (Circle(Point(1), 1.0), Point | Circle),
        (Point(1), Union[Point, Circle]),  # noqa: UP007
        ("u", UserName),
        (deque([1, 2]), deque[int]),
        ({"name": "Alien", "year": 1979}, Movie),
        ("a", Literal["a", 1]),
        (1, Literal["a", 1]),
        (None, Literal["a"] | None),
    ],
)
def test_a_value_survives_as_its_type(value: Any, type: Any) -> None:
    decoded = round_trip(value, type)
    assert decoded == value
    assert decoded.__class__ is value.__class__
    assert repr(decoded) == repr(value)


def test_equal_sets_are_equal_bytes() -> None:
    assert codec.encode_json({"c", "a", "b"}, PATH) == codec.encode_json(frozenset({"b", "c", "a"}), PATH)
    assert json.loads(codec.encode_json({Point(2), Point(1)}, PATH)) == [{"x": 1, "y": 0.0}, {"x": 2, "y": 0.0}]


def test_an_integer_is_read_as_a_float_where_one_is_expected() -> None:
    assert repr(decode([1, 2.5], list[float])) == "[1.0, 2.5]"
    assert decode([1, None, 2.5], list[float | None]) == [1, None, 2.5]
    assert repr(decode({"x": 1, "y": 2}, Point)) == "Point(x=1, y=2.0)"


@pytest.mark.parametrize(
    ("value", "type", "where"),
    [
        ({"center": {"x": "1"}, "radius": 1}, Circle, "$.center.x"),
        ({"center": {"x": 1}}, Circle, "$.radius"),
        ({"name": "a", "children": [{"name": "b"}, {"name": 1}]}, Tree, "$.children[1].name"),
        ({"content": {"x": None}}, Box[Point], "$.content.x"),
        ({"depth": "1"}, Options, "$.depth"),
        ({"tags": ["a", 1]}, Options, "$.tags[1]"),
        ({"name": "Alien", "year": "1979"}, Movie, "$.year"),
        ({"name": "Alien"}, Movie, "$.year"),
        ([1, "a"], tuple[int, int], "$[1]"),
        ([[1], ["a"]], list[set[int]], "$[1][0]"),
        ([{"x": 1}, {"x": 1.0}], list[Point], "$[1].x"),
        ({"a b": [1, 2, "3"]}, dict[str, list[int]], "$['a b'][2]"),
        ({"ok": {"x": 1}, "bad": {"x": 1.5}}, dict[str, Point], "$.bad.x"),
    ],
)
def test_an_error_names_the_path_of_the_fault(value: Any, type: Any, where: str) -> None:
    assert refusal(value, type).json_path == where


@pytest.mark.parametrize("value", [[], [1], [1, "a", 2]])
def test_a_tuple_of_another_length_is_corrupt(value: list[Any]) -> None:
    assert refusal(value, tuple[int, str]).json_path == "$"


def test_an_error_names_all_faults() -> None:
    error = refusal({"center": {"x": "1", "y": "2"}, "radius": None}, Circle)
    assert error.json_path == "$.center.x"
    assert error.reason == (
        "expected an integer, not a string"
        "; $.center.y: expected a number, not a string"
        "; $.radius: expected a number, not null"
    )


def test_a_validator_of_a_users_class_is_applied() -> None:
    @attrs.define
    class Positive:
        n: int = attrs.field(validator=attrs.validators.gt(0))

    error = refusal([{"n": 1}, {"n": 0}], list[Positive])
    assert (error.json_path or "").startswith("$[1]")
    assert "must be > 0" in error.reason


def test_unknown_keys_of_a_users_class_are_ignored() -> None:
    assert decode({"x": 1, "z": 2}, Point) == Point(1)


def test_a_users_hook_is_used_both_ways_and_its_errors_are_located() -> None:
    class Celsius:
        def __init__(self, degrees: float) -> None:
            self.degrees = degrees

    def structure(value: Any, _: Any) -> Celsius:
        if not isinstance(value, str):
            raise TypeError("a temperature is a string")
        return Celsius({"hot": 40.0, "cold": 0.0}[value])

    converter.register_structure_hook(Celsius, structure)
    converter.register_unstructure_hook(Celsius, lambda celsius: "hot" if celsius.degrees > 20 else "cold")
    assert codec.encode_json([Celsius(30)], PATH) == b'[\n  "hot"\n]'
    assert decode({"a": "cold"}, dict[str, Celsius])["a"].degrees == 0
    error = refusal({"a": 1}, dict[str, Celsius])
    assert (error.json_path, error.reason) == ("$.a", "a temperature is a string")
    for value, kind, where in (("mild", Celsius, "$"), (["hot", "mild"], list[Celsius], "$[1]")):
        error = refusal(value, kind)  # a KeyError of the hook's own
        assert (error.json_path, "mild" in error.reason) == (where, True)


@pytest.mark.parametrize("type", [complex, object, Point | dict[str, int]])
def test_an_unknown_type_is_an_error_of_the_caller(type: Any) -> None:
    with pytest.raises(StructureHandlerNotFoundError):
        decode({}, type)


@attrs.define
class Holder:
    content: Any


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (Holder(float("nan")), "$.content"),
        (Holder([1j]), "$.content[0]"),
        (Holder(object()), "$.content"),
        (Holder(datetime(2026, 3, 1)), "$.content"),  # noqa: DTZ001
        ([Holder({1: 2})], "$[0].content"),
        ({"a": Box(2**64)}, "$.a.content"),
    ],
)
def test_an_unsupported_value_in_a_class_is_refused_with_its_path(value: Any, where: str) -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        codec.encode_json(value, PATH)
    assert caught.value.json_path == where


def test_any_reads_the_plain_value() -> None:
    assert decode({"a": [1, None]}, Any) == {"a": [1, None]}
