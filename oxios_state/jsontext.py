"""JSON text: plain values to and from the bytes that the kernel's ``serde_json::to_string_pretty`` writes.

There are two engines. The standard library's always works; orjson, the optional extra ``fast``, is used where it is
installed. Both give the same bytes, values and errors: what orjson reads or spells differently never reaches it, or is
done again by the standard library.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from oxios_state.errors import CorruptStateError, UnsupportedValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from json import JSONDecoder
    from pathlib import Path
    from types import ModuleType

DEEPEST = 127
"""How many arrays and objects may be nested: serde_json reads no more than this."""

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1  # the integers that serde_json holds as such: those of i64 and u64
_LONGEST_INTEGER = len(str(_SMALLEST))
_SURROGATE_ESCAPE = r"\\u[dD][89a-fA-F]"
_LITERAL = r'"[^"\\]*(?:\\.[^"\\]*)*"|[^\s"\[\]{},:]+'


# Both engines are imported when they are first used, as neither is needed to import this package.


@cache
def _orjson() -> ModuleType | None:
    try:
        return import_module("orjson")
    except ImportError:
        return None


@cache
def _json_decoder() -> JSONDecoder:
    from json import JSONDecoder

    return JSONDecoder(parse_int=_parse_integer, parse_float=_parse_float, parse_constant=_refuse_constant)


def json_path(keys: Iterable[str | int]) -> str:
    """Write a path into a document: ``$.metadata.scores[3]``, ``$['a key']``."""
    return "$" + "".join(f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]" for key in keys)


class _FaultError(Exception):
    """Why a value is not JSON that the kernel reads; *keys* lead to it from the innermost, gathered on the way out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.keys: list[str | int] = []

    @property
    def path(self) -> str:
        return json_path(reversed(self.keys))


def encode(value: Any, path: Path) -> bytes:
    """Write a JSON value.

    Args:
        value: None, bool, int, float, str, and lists, tuples and dicts of such, or subclasses of these.
        path: The file that it is for, to name it in an error.

    Raises:
        UnsupportedValueError: If the kernel could not read *value* back.
    """
    try:
        plain = _check(value, 1)
    except _FaultError as fault:
        raise UnsupportedValueError(path, fault.reason, fault.path) from None
    if plain and (orjson := _orjson()) is not None:
        encoded: bytes = orjson.dumps(value, option=orjson.OPT_INDENT_2)
        return encoded
    from json.encoder import encode_basestring

    chunks: list[str] = []
    _write(value, "\n", chunks, encode_basestring)
    return "".join(chunks).encode()


def _check(value: Any, depth: int) -> bool:
    """Refuse what the kernel could not read back; say whether orjson writes *value* as the kernel does."""
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_unicode(value)
        return True
    if value is None or kind is bool:
        return True
    if isinstance(value, dict):
        _check_depth(depth)
        plain = kind is dict
        for key, item in value.items():
            _check_key(key)
            try:
                plain &= _check(item, depth + 1) and type(key) is str
            except _FaultError as fault:
                fault.keys.append(key)
                raise
        return plain
    if isinstance(value, list | tuple):
        _check_depth(depth)
        plain = kind is list or kind is tuple
        for index, item in enumerate(value):
            try:
                plain &= _check(item, depth + 1)
            except _FaultError as fault:
                fault.keys.append(index)
                raise
        return plain
    return _check_scalar(value, kind)


def _check_key(key: Any) -> None:
    if not isinstance(key, str):
        raise _FaultError(f"the key {key!r} is not a string")
    _check_unicode(key)


def _check_scalar(value: Any, kind: type) -> bool:
    if isinstance(value, int):
        if not _SMALLEST <= value <= _LARGEST:
            raise _FaultError("the integer is outside [-2^63, 2^64-1]")
        return kind is int
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _FaultError(f"{value} is not JSON")
        return kind is float and "e" not in float.__repr__(value)  # releases of orjson differ in how they spell 1e16
    if isinstance(value, str):
        _check_unicode(value)
        return False
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise _FaultError(f"{value!r} has no time zone")
        raise _FaultError("a datetime is not JSON, or is outside the years 1 to 9999 in UTC")
    raise _FaultError(f"a value of type {kind.__qualname__} is not JSON")


def _check_depth(depth: int) -> None:
    if depth > DEEPEST:
        raise _FaultError(f"nested deeper than {DEEPEST} levels")


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _FaultError(f"the text has a lone surrogate at character {error.start}") from None


def _write(value: Any, newline: str, chunks: list[str], quote: Callable[[str], str]) -> None:
    """Append the text of a checked value; *newline* is a line break and the indent of the value's own line."""
    if isinstance(value, str):
        chunks.append(quote(value))
    elif value is None:
        chunks.append("null")
    elif isinstance(value, bool):
        chunks.append("true" if value else "false")
    elif isinstance(value, int):
        chunks.append(int.__repr__(value))
    elif isinstance(value, float):
        chunks.append(_float_text(value))
    elif not value:
        chunks.append("{}" if isinstance(value, dict) else "[]")
    elif isinstance(value, dict):
        separator, inner = "{", newline + "  "
        for key, item in value.items():
            chunks += (separator, inner, quote(key), ": ")
            _write(item, inner, chunks, quote)
            separator = ","
        chunks += (newline, "}")
    else:
        separator, inner = "[", newline + "  "
        for item in value:
            chunks += (separator, inner)
            _write(item, inner, chunks, quote)
            separator = ","
        chunks += (newline, "]")


def _float_text(value: float) -> str:
    """Spell a float as the kernel's ryu does: Python's digits, but 0.00001 for 1e-05 and 1e16 for 1e+16."""
    mantissa, _, exponent = float.__repr__(value).partition("e")
    if not exponent:
        return mantissa
    if exponent == "-05":
        sign = "-" if value < 0 else ""
        return f"{sign}0.0000{mantissa.lstrip('-').replace('.', '')}"
    return f"{mantissa}e{int(exponent)}"


def decode(raw: bytes, path: Path) -> Any:
    """Read a JSON document as serde_json does.

    An integer outside [-2^63, 2^64-1] becomes the nearest float, and of a key that stands twice in an object the last
    value counts.

    Args:
        raw: The text, in UTF-8.
        path: The file that it is from, to name it in an error.

    Raises:
        CorruptStateError: With the line and column where the text is malformed.
    """
    if (orjson := _orjson()) is not None:
        try:
            return _check_nesting(orjson.loads(raw), raw, path)
        except ValueError:
            pass  # the standard library refuses it too, and says why in words that do not depend on orjson
    return _decode_strictly(raw, path)


def _check_nesting(value: Any, raw: bytes, path: Path) -> Any:
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and _depth_exceeds(value, DEEPEST):
        raise CorruptStateError(path, f"nested deeper than {DEEPEST} levels")
    return value


class _BadLiteralError(Exception):
    """A literal that the standard library's decoder takes and JSON does not."""


def _parse_integer(literal: str) -> int | float:
    if len(literal) <= _LONGEST_INTEGER and _SMALLEST <= (value := int(literal)) <= _LARGEST:
        return value
    return _parse_float(literal)


def _parse_float(literal: str) -> float:
    value = float(literal)
    if math.isinf(value):
        raise _BadLiteralError(literal, "the number is too large")
    return value


def _refuse_constant(literal: str) -> float:
    raise _BadLiteralError(literal, f"{literal} is not JSON")


def _decode_strictly(raw: bytes, path: Path) -> Any:
    from json import JSONDecodeError

    text = decode_text(raw, path)
    try:
        value = _json_decoder().decode(text)
    except JSONDecodeError as error:
        reason = "the text begins with a byte order mark" if text[:1] == "\ufeff" else error.msg
        raise CorruptStateError(path, reason, error.lineno, error.colno) from None
    except _BadLiteralError as error:
        literal, reason = error.args
        start = next(token.start() for token in re.finditer(_LITERAL, text) if token[0].startswith(literal))
        raise CorruptStateError(path, reason, *_line_and_column(text, start)) from None
    except RecursionError:
        raise CorruptStateError(path, f"nested deeper than {DEEPEST} levels") from None
    _check_nesting(value, raw, path)
    if re.search(_SURROGATE_ESCAPE, text):
        try:
            _check(value, 1)
        except _FaultError as fault:
            raise CorruptStateError(path, fault.reason, json_path=fault.path) from None
    return value


def decode_text(raw: bytes, path: Path) -> str:
    """Read UTF-8.

    Raises:
        CorruptStateError: With the line and column of the first byte that is not UTF-8.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        reason = f"byte 0x{raw[error.start]:02x} is not UTF-8 ({error.reason})"
        raise CorruptStateError(path, reason, *_line_and_column(before, len(before))) from None


def encode_text(text: str, path: Path) -> bytes:
    """Write UTF-8.

    Raises:
        UnsupportedValueError: If *text* has a lone surrogate.
    """
    try:
        _check_unicode(text)
    except _FaultError as fault:
        raise UnsupportedValueError(path, fault.reason) from None
    return text.encode()


def _line_and_column(text: str, position: int) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def _depth_exceeds(value: Any, limit: int) -> bool:
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
    return True
