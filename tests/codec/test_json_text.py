"""JSON text: what is written and read, by both engines, and the place of each fault."""

from __future__ import annotations

import json
import runpy
import sys
from collections import OrderedDict
from datetime import UTC, datetime
from enum import Enum, IntEnum
from importlib.util import find_spec
from math import inf, nan
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from oxios_state import CorruptStateError, UnsupportedValueError
from oxios_state.codec import json_text

PATH = Path("memory/facts.json")
both_engines = pytest.mark.usefixtures("engine")
needs_orjson = pytest.mark.skipif(find_spec("orjson") is None, reason="orjson, the optional extra, is not installed")


class Word(str):
    __slots__ = ()


class Number(float):
    def __repr__(self) -> str:
        return "a number"


class Level(IntEnum):
    HIGH = 3


class Color(str, Enum):  # noqa: UP042  # StrEnum is another
    RED = "red"


class Pair(NamedTuple):
    left: int
    right: int


def nested(depth: int, innermost: Any = None) -> Any:
    """Nest *depth* arrays and objects in turn."""
    value = innermost
    for level in range(depth):
        value = [value] if level % 2 else {"k": value}
    return value


# Writing: "Bytes as `serde_json::to_string_pretty` writes them".


@both_engines
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-(2**63), "-9223372036854775808"),
        (2**64 - 1, "18446744073709551615"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e16"),
        (-1.5e300, "-1.5e300"),
        (0.0001, "0.0001"),
        (0.00001, "0.00001"),
        (-0.000012345, "-0.000012345"),
        (1e-6, "1e-6"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e308"),
        ("", '""'),
        ('a"b\\c/d', '"a\\"b\\\\c/d"'),
        ("\b\t\n\f\r", '"\\b\\t\\n\\f\\r"'),
        ("\0\x0b\x1f\x7f\x80", '"\\u0000\\u000b\\u001f\x7f\x80"'),
        ("名é😀\u2028\ufeff", '"名é😀\u2028\ufeff"'),
        ([], "[]"),
        ((), "[]"),
        ({}, "{}"),
        ([[], {}], "[\n  [],\n  {}\n]"),
        ((1, "a"), '[\n  1,\n  "a"\n]'),
        ({"b": 1, "a": [2, {"": None}]}, '{\n  "b": 1,\n  "a": [\n    2,\n    {\n      "": null\n    }\n  ]\n}'),
        ({"名\n": 1e16, "a": []}, '{\n  "名\\n": 1e16,\n  "a": []\n}'),
        (Word("é"), '"é"'),
        ({Word("k"): 1}, '{\n  "k": 1\n}'),
        ({Word("k"): [Word("v")]}, '{\n  "k": [\n    "v"\n  ]\n}'),
        ([Number(0.5), Number(1e20)], "[\n  0.5,\n  1e20\n]"),
        ({"level": Level.HIGH, "color": Color.RED}, '{\n  "level": 3,\n  "color": "red"\n}'),
        ([Pair(1, 2)], "[\n  [\n    1,\n    2\n  ]\n]"),
        (OrderedDict(z=1, a=[True, False]), '{\n  "z": 1,\n  "a": [\n    true,\n    false\n  ]\n}'),
    ],
)
def test_a_value_is_written_as_the_kernel_writes_it(value: Any, text: str) -> None:
    assert json_text.encode(value, PATH).decode() == text


def deep_in(value: Any) -> dict[str, Any]:
    return {"metadata": {"scores": [1, 2.5, "3", value]}}


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@both_engines
@pytest.mark.parametrize(
    ("value", "where", "reason"),
    [
        (deep_in(nan), "$.metadata.scores[3]", "nan is not JSON"),
        (deep_in(inf), "$.metadata.scores[3]", "inf is not JSON"),
        (deep_in(Number(-inf)), "$.metadata.scores[3]", "is not JSON"),
        (nan, "$", "nan is not JSON"),
        (deep_in(2**64), "$.metadata.scores[3]", "the integer is outside [-2^63, 2^64-1]"),
        (deep_in(-(2**63) - 1), "$.metadata.scores[3]", "the integer is outside [-2^63, 2^64-1]"),
        ([10**5000], "$[0]", "the integer is outside [-2^63, 2^64-1]"),
        (["ab\ud800"], "$[0]", "the text has a lone surrogate at character 2"),
        (Word("\udfff"), "$", "the text has a lone surrogate at character 0"),
        ({"a": {"k\udc00": 1}}, "$.a", "the text has a lone surrogate at character 1"),
        ({"a": {1: 1}}, "$.a", "the key 1 is not a string"),
        ({None: 1}, "$", "the key None is not a string"),
        ([{"a": {b"b": 1}}], "$[0].a", "the key b'b' is not a string"),
        ({"a key": {"": [nan]}}, "$['a key'][''][0]", "nan is not JSON"),
        ({"it's": {"ключ": {"1": nan}}}, """$["it's"].ключ['1']""", "nan is not JSON"),
        ((1, (nan,)), "$[1][0]", "nan is not JSON"),
        ([datetime(2026, 3, 1)], "$[0]", "datetime.datetime(2026, 3, 1, 0, 0) has no time zone"),  # noqa: DTZ001
        ([datetime(2026, 3, 1, tzinfo=UTC)], "$[0]", "a datetime is not JSON"),
        ({"a": {1, 2}}, "$.a", "a value of type set is not JSON"),
        ([b"raw"], "$[0]", "a value of type bytes is not JSON"),
        ({"f": print}, "$.f", "a value of type builtin_function_or_method is not JSON"),
        (CYCLE, "$" + "[0]" * 127, "nested deeper than 127 levels"),
    ],
)
def test_a_value_that_the_kernel_could_not_read_is_refused_with_its_path(value: Any, where: str, reason: str) -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        json_text.encode(value, PATH)
    error = caught.value
    assert (error.path, error.json_path) == (PATH, where)
    assert reason in error.reason
    assert str(error) == f"not saved, {where}: {error.reason}: {PATH}"


@both_engines
@pytest.mark.parametrize("innermost", [None, [], {}])
def test_127_levels_are_written_and_read_and_128_are_refused(innermost: Any) -> None:
    levels = 127 if innermost is None else 126
    deepest = nested(levels, innermost)
    assert json_text.decode(json_text.encode(deepest, PATH), PATH) == deepest
    too_deep = nested(levels + 1, innermost)
    with pytest.raises(UnsupportedValueError, match="nested deeper than 127 levels") as unsupported:
        json_text.encode(too_deep, PATH)
    where = unsupported.value.json_path
    assert where is not None
    assert where.count(".k") + where.count("[0]") == 127
    for text in (json.dumps(too_deep), json.dumps(too_deep, indent=2)):
        with pytest.raises(CorruptStateError, match="nested deeper than 127 levels"):
            json_text.decode(text.encode(), PATH)


@both_engines
@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_very_deep_nesting_is_corrupt_and_not_a_recursion_error(depth: int) -> None:
    with pytest.raises(CorruptStateError, match="nested deeper than 127 levels"):
        json_text.decode(b"[" * depth + b"]" * depth, PATH)


@both_engines
def test_many_shallow_brackets_are_not_deep() -> None:
    wide: list[Any] = [[] for _ in range(200)] + [{"a": "[" * 200}]
    assert json_text.decode(json_text.encode(wide, PATH), PATH) == wide


# Reading.


@both_engines
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        (" \t\r\n true \n", True),
        ("-1", -1),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551616", 2.0**64),
        ("-9223372036854775809", -(2.0**63)),
        ("1" + "0" * 300, 1e300),
        ("12.0", 12.0),
        ("1e2", 100.0),
        ("1E+2", 100.0),
        ("1e-400", 0.0),
        ("5e-324", 5e-324),
        ("-0.0", -0.0),
        ('"\\/\\u002f\\u00e9\\u00E9"', "//éé"),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\\\ud800"', "\\ud800"),
        ('"\x7f\u2028\ufeff"', "\x7f\u2028\ufeff"),
        ('{"b": 1, "a": 2}', {"b": 1, "a": 2}),
        ('{"a": 1, "b": 2, "a": {"a": 3, "a": 4}}', {"a": {"a": 4}, "b": 2}),
        ('["NaN", "1e400", "\\ud83d\\ude00\\\\ud800"]', ["NaN", "1e400", "😀\\ud800"]),
    ],
)
def test_json_is_read_as_the_kernel_reads_it(text: str, value: Any) -> None:
    decoded = json_text.decode(text.encode(), PATH)
    assert repr(decoded) == repr(value)  # the type of a number, the sign of zero and the order of keys count


@both_engines
@pytest.mark.parametrize(
    ("raw", "line", "column", "reason"),
    [
        (b"", 1, 1, "the file is empty"),
        (b" \n\n ", 3, 2, "the file contains only white space"),
        (b"\xef\xbb\xbf{}", 1, 1, "the text begins with a byte order mark"),
        ('{"a": 1}'.encode("utf-16"), 1, 1, "the text is UTF-16, not UTF-8"),
        (b"\xfe\xff" + '{"a": 1}'.encode("utf-16-be"), 1, 1, "the text is UTF-16, not UTF-8"),
        ('{"a": 1}'.encode("utf-32"), 1, 1, "the text is UTF-32, not UTF-8"),
        (b"\0\0\xfe\xff" + '{"a": 1}'.encode("utf-32-be"), 1, 3, "the text is UTF-32, not UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), 1, 2, "the text seems to be UTF-16-LE, not UTF-8"),
        (b"\x00", 1, 1, "the file contains only NUL bytes, as after a power cut without sync"),
        (b"\0" * 4096, 1, 1, "the file contains only NUL bytes, as after a power cut without sync"),
        (b'{"a": 1}\0\0', 1, 9, "NUL bytes after the document, as after a power cut without sync"),
        (b'{"a":\0\0', 1, 6, "Expecting value, but the rest of the file is NUL bytes, as after a power cut"),
        ('{\n  "é": "é'.encode() + b'\xe9"}', 2, 10, "byte 0xe9 is not UTF-8"),
        (b'"\xed\xa0\x80"', 1, 2, "byte 0xed is not UTF-8"),
        (b'"\xc0\x80"', 1, 2, "byte 0xc0 is not UTF-8"),
        (b'"\xc3', 1, 2, "byte 0xc3 is not UTF-8 (unexpected end of data)"),
        (b'{\n  "a": nul\n}', 2, 8, "Expecting value"),
        (b'{"a": 1} {', 1, 10, "text after the end of the document"),
        ('["é", 1 2]'.encode(), 1, 9, ""),
        (b"{'a': 1}", 1, 2, ""),
        (b'"a\nb"', 1, 3, ""),
        (b'"\\x"', 1, 2, ""),
        (b'"\\u12g4"', 1, 3, ""),
        (b'{"a" 1}', 1, 6, ""),
        (b"[1", 1, 3, ""),
        (b'"a', 1, 1, ""),
        (b"01", 1, 2, "text after the end of the document"),
        (b"+1", 1, 1, "Expecting value"),
        (b"\xc2\xa01", 1, 1, "Expecting value"),
        (b"NaN", 1, 1, "NaN is not JSON"),
        (b'{"NaN": "NaN\\"",\n "b": [1,  NaN]}', 2, 12, "NaN is not JSON"),
        (b'["-Infinity", -Infinity]', 1, 15, "-Infinity is not JSON"),
        (b"[Infinity, NaN]", 1, 2, "Infinity is not JSON"),
        (b'["1e400",\n1e400]', 2, 1, "the number is too large"),
        (b'{"a":{"b":-1E999}}', 1, 11, "the number is too large"),
        (b"[1" + b"0" * 400 + b"]", 1, 2, "the number is too large"),
        (b"[" + b"9" * 5000 + b"]", 1, 2, "the number is too large"),
    ],
)
def test_malformed_text_is_corrupt_with_its_line_and_column(raw: bytes, line: int, column: int, reason: str) -> None:
    with pytest.raises(CorruptStateError) as caught:
        json_text.decode(raw, PATH)
    error = caught.value
    assert (error.path, error.line, error.column, error.json_path) == (PATH, line, column, None)
    assert reason in error.reason
    assert str(error) == f"{PATH}: line {line}, column {column}: {error.reason}"


@both_engines
@pytest.mark.parametrize(
    "raw", [b"[1,]", b'{"a": 1,}', b"[,]", b'{"a"}', b"{1: 2}", b"1.", b".5", b"0x1", b"tru", b"//"]
)
def test_other_dialects_of_json_are_corrupt(raw: bytes) -> None:
    with pytest.raises(CorruptStateError, match=r"^memory/facts\.json: line 1, column \d: "):
        json_text.decode(raw, PATH)


@both_engines
@pytest.mark.parametrize(
    ("raw", "where", "character"),
    [
        (rb'"ab\ud800"', "$", 2),
        (rb'{"a": ["", "\uDC00\uD800"]}', "$.a[1]", 0),
        (rb'{"a": {"\ud83d\ude00\udBff": 1}}', "$.a", 1),
    ],
)
def test_a_lone_surrogate_escape_is_corrupt_with_its_json_path(raw: bytes, where: str, character: int) -> None:
    with pytest.raises(CorruptStateError) as caught:
        json_text.decode(raw, PATH)
    assert (caught.value.json_path, caught.value.line, caught.value.column) == (where, None, None)
    assert str(caught.value) == f"{PATH}: {where}: the text has a lone surrogate at character {character}"


def test_markdown_is_utf_8_without_any_translation() -> None:
    text = "\ufeffé\r\n\0\n名"
    assert json_text.encode_text(text, PATH) == text.encode()
    assert json_text.decode_text(text.encode(), PATH) == text
    with pytest.raises(
        UnsupportedValueError, match=r"^not saved, the text has a lone surrogate at character 1: "
    ) as caught:
        json_text.encode_text("a\ud800", PATH)
    assert caught.value.json_path is None
    with pytest.raises(CorruptStateError, match=r"line 2, column 3: byte 0xff is not UTF-8 \(invalid start byte\)"):
        json_text.decode_text("é\naé".encode() + b"\xff", PATH)


def test_orjson_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)  # importing it is an ImportError
    assert runpy.run_path(str(json_text.__file__))["_orjson"] is None


@needs_orjson
def test_orjson_is_used_where_it_is_installed() -> None:
    assert json_text._orjson.__name__ == "orjson"
