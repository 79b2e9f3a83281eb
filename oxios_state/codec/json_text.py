"""JSON text: plain values to and from the bytes that the kernel's ``serde_json::to_string_pretty`` writes.

There are two engines: the standard library's, and orjson, the optional extra ``fast``, where it is installed. Both
produce the same bytes, values and errors: values that orjson would spell differently, and text that it refuses, are
handled by the standard library.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from importlib import import_module
from itertools import accumulate

# Not from json.encoder: importing both at once may deadlock.
from json import JSONDecodeError, JSONDecoder, detect_encoding, encoder
from typing import TYPE_CHECKING, Any

from oxios_state.errors import CorruptStateError, UnsupportedValueError
from oxios_state.model.values import (
    MAX_DEPTH,
    MAX_INTEGER,
    MIN_INTEGER,
    InvalidValueError,
    check_unicode,
    check_value,
    depth_exceeds,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MAX_INTEGER_LENGTH = len(str(MIN_INTEGER))
_POWER_CUT = "as after a power cut without sync"
_BYTE_ORDER_MARKS = {
    "UTF-32": (b"\xff\xfe\0\0", b"\0\0\xfe\xff"),
    "UTF-16": (b"\xff\xfe", b"\xfe\xff"),
}
_SURROGATE_ESCAPE = rb"\\u[dD][89a-fA-F]"
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_LITERAL = rf'{_STRING}|[^\s"\[\]{{}},:]+'


_orjson: Any = None
with suppress(ImportError):
    _orjson = import_module("orjson")  # the optional extra


def encode(value: Any, path: Path) -> bytes:
    """Write a JSON value.

    Args:
        value: None, bool, int, float, str, and lists, tuples and dicts of these, or subclasses.
        path: The file, to name it in an error.

    Raises:
        UnsupportedValueError: If the kernel could not read *value* back.
    """
    try:
        return encode_value(value, 1)[0]
    except InvalidValueError as error:
        raise UnsupportedValueError(path, error.reason, error.path) from None


def encode_value(value: Any, depth: int) -> tuple[bytes, bool]:
    """Write a JSON value from *depth* levels deep in a document, as if it were a document.

    Returns:
        The text, and whether reading it returns values of the same types: not for subclasses, nor always for floats.

    Raises:
        InvalidValueError: If the kernel could not read it back.
    """
    plain = check_value(value, depth)
    if plain and _orjson is not None:
        return _orjson.dumps(value, option=_orjson.OPT_INDENT_2), True
    chunks: list[str] = []
    _write(value, "\n", chunks, encoder.encode_basestring)
    return "".join(chunks).encode(), plain


def _write(value: Any, newline: str, chunks: list[str], quote: Callable[[str], str]) -> None:
    """Append the text of a checked value; *newline* is a line break and the indent of the line of the value."""
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
    """Return a float as the kernel's ryu spells it: Python's digits, but 0.00001 for 1e-05 and 1e16 for 1e+16."""
    mantissa, _, exponent = float.__repr__(value).partition("e")
    if not exponent:
        return mantissa
    if exponent == "-05":
        sign = "-" if value < 0 else ""
        return f"{sign}0.0000{mantissa.lstrip('-').replace('.', '')}"
    return f"{mantissa}e{int(exponent)}"


def decode(raw: bytes, path: Path) -> Any:
    """Read a JSON document as serde_json does.

    An integer outside [-2^63, 2^64-1] becomes the nearest float. If an object has a key twice, the last value counts.

    Args:
        raw: The text, in UTF-8.
        path: The file, to name it in an error.

    Raises:
        CorruptStateError: With the line and column where the text is malformed.
    """
    value = parse(raw, path)
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and depth_exceeds(value, MAX_DEPTH):
        raise CorruptStateError(path, f"nested deeper than {MAX_DEPTH} levels")
    return value


def parse(raw: bytes, path: Path) -> Any:
    """Read a JSON document as `decode` does, but leave it to the caller to check how deep it is nested.

    Raises:
        CorruptStateError: With the line and column where the text is malformed.
    """
    if _orjson is not None:
        try:
            return _orjson.loads(raw)
        except ValueError:
            pass  # the standard library refuses it too, with a reason that does not depend on orjson
    return _parse_strictly(raw, path)


def check_for_kernel(raw: bytes, path: Path) -> None:
    """Raise an error for a document that the kernel would refuse, or read as other values than this module.

    Raises:
        UnsupportedValueError: With the JSON path of an integer out of range, or of a repeated key of an object.
        CorruptStateError: If it is not JSON.
    """
    decode(raw, path)
    exact = JSONDecoder(object_pairs_hook=_Object).decode(decode_text(raw, path))
    try:
        _refuse_repeated_keys(exact)
        check_value(exact, 1)
    except InvalidValueError as error:
        raise UnsupportedValueError(path, error.reason, error.path) from None


class _Object(dict[str, Any]):
    """An object that remembers its first repeated key."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__()
        self.repeated: str | None = None
        for key, item in pairs:
            if key in self and self.repeated is None:
                self.repeated = key
            self[key] = item


def _refuse_repeated_keys(value: Any) -> None:
    if isinstance(value, _Object) and value.repeated is not None:
        raise InvalidValueError(f"the key {value.repeated!r:.80} stands twice in an object", value.repeated)
    for key, item in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else []):
        try:
            _refuse_repeated_keys(item)
        except InvalidValueError as error:
            error.keys.append(key)
            raise


class _BadLiteralError(Exception):
    """A literal that the standard library's decoder accepts and JSON does not."""


def _parse_integer(literal: str) -> int | float:
    if len(literal) <= _MAX_INTEGER_LENGTH and MIN_INTEGER <= (value := int(literal)) <= MAX_INTEGER:
        return value
    return _parse_float(literal)


def _parse_float(literal: str) -> float:
    value = float(literal)
    if math.isinf(value):
        raise _BadLiteralError(literal, "the number is too large")
    return value


def _refuse_constant(literal: str) -> float:
    raise _BadLiteralError(literal, f"{literal} is not JSON")


_decoder = JSONDecoder(parse_int=_parse_integer, parse_float=_parse_float, parse_constant=_refuse_constant)


def _parse_strictly(raw: bytes, path: Path) -> Any:
    text = decode_text(raw, path)
    try:
        value = _decoder.decode(text)
    except JSONDecodeError as error:
        raise CorruptStateError(path, _reason(raw, text, error), error.lineno, error.colno) from None
    except _BadLiteralError as error:
        literal, reason = error.args
        start = next(token.start() for token in re.finditer(_LITERAL, text) if token[0].startswith(literal))
        raise CorruptStateError(path, reason, *_line_and_column(text, start)) from None
    except RecursionError:
        if not _brackets_exceed(text, MAX_DEPTH):
            raise  # the caller's stack is deep, not the document
        raise CorruptStateError(path, f"nested deeper than {MAX_DEPTH} levels") from None
    if re.search(_SURROGATE_ESCAPE, raw):
        try:
            check_value(value, 1)
        except InvalidValueError as error:
            raise CorruptStateError(path, error.reason, json_path=error.path) from None
    return value


def _reason(raw: bytes, text: str, error: JSONDecodeError) -> str:
    """Return what is wrong with a document, in words that say what happened to the file."""
    rest = text[error.pos :]
    encoding = detect_encoding(raw[:4]).upper()
    causes = (
        (not raw, "the file is empty"),
        (not raw.strip(b"\0"), f"the file contains only NUL bytes, {_POWER_CUT}"),
        (encoding == "UTF-8-SIG", "the text begins with a byte order mark"),
        (encoding != "UTF-8", f"the text seems to be {encoding}, not UTF-8"),
        (text.isspace(), "the file contains only white space"),
        (error.msg == "Extra data" and not rest.strip("\0"), f"NUL bytes after the document, {_POWER_CUT}"),
        (error.msg == "Extra data", "text after the end of the document"),
        (rest and not rest.strip("\0"), f"{error.msg}, but the rest of the file is NUL bytes, {_POWER_CUT}"),
    )
    return next((reason for holds, reason in causes if holds), error.msg)


def _brackets_exceed(text: str, limit: int) -> bool:
    """Return whether brackets are nested deeper than *limit*. The rest of the text is not looked at."""
    depths = accumulate(
        {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0) for token in re.finditer(rf"{_STRING}|[\[\]{{}}]", text)
    )
    return any(depth > limit for depth in depths)


def decode_text(raw: bytes, path: Path) -> str:
    """Read UTF-8.

    Raises:
        CorruptStateError: With the line and column of the first byte that is not UTF-8.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        encoding = next((name for name, marks in _BYTE_ORDER_MARKS.items() if raw.startswith(marks)), None)
        reason = f"byte 0x{raw[error.start]:02x} is not UTF-8 ({error.reason})"
        if encoding is not None:
            reason = f"the text is {encoding}, not UTF-8"
        raise CorruptStateError(path, reason, *_line_and_column(before, len(before))) from None


def encode_text(text: str, path: Path) -> bytes:
    """Write UTF-8.

    Raises:
        UnsupportedValueError: If *text* has a lone surrogate.
    """
    try:
        check_unicode(text)
    except InvalidValueError as error:
        raise UnsupportedValueError(path, error.reason) from None
    return text.encode()


def _line_and_column(text: str, position: int) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
