"""JSON text: plain values to and from the bytes that the kernel's ``serde_json::to_string_pretty`` writes.

There are two engines. The standard library's always works; orjson, the optional extra ``fast``, is used where it is
installed. Both give the same bytes, values and errors: what orjson reads or spells differently never reaches it, or is
done again by the standard library.
"""

from __future__ import annotations

import math
import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from oxios_state.errors import CorruptStateError, UnsupportedValueError
from oxios_state.model.values import DEEPEST, LARGEST, SMALLEST, FaultError, check, check_unicode, depth_exceeds

if TYPE_CHECKING:
    from collections.abc import Callable
    from json import JSONDecoder
    from pathlib import Path
    from types import ModuleType

_LONGEST_INTEGER = len(str(SMALLEST))
_SURROGATE_ESCAPE = rb"\\u[dD][89a-fA-F]"
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_LITERAL = rf'{_STRING}|[^\s"\[\]{{}},:]+'


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


def encode(value: Any, path: Path) -> bytes:
    """Write a JSON value.

    Args:
        value: None, bool, int, float, str, and lists, tuples and dicts of such, or subclasses of these.
        path: The file that it is for, to name it in an error.

    Raises:
        UnsupportedValueError: If the kernel could not read *value* back.
    """
    try:
        return encode_value(value, 1)[0]
    except FaultError as fault:
        raise UnsupportedValueError(path, fault.reason, fault.path) from None


def encode_value(value: Any, depth: int) -> tuple[bytes, bool]:
    """Write a JSON value that stands *depth* levels deep in a document, as if it stood alone.

    Returns:
        The text, and whether reading it gives values of the same types: false for subclasses, and sometimes for floats.

    Raises:
        FaultError: If the kernel could not read it back.
    """
    plain = check(value, depth)
    if plain and (orjson := _orjson()) is not None:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2), True
    from json import encoder  # not `from json.encoder`: two threads that import both at once wait for each other

    chunks: list[str] = []
    _write(value, "\n", chunks, encoder.encode_basestring)
    return "".join(chunks).encode(), plain


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
    value = parse(raw, path)
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and depth_exceeds(value, DEEPEST):
        raise CorruptStateError(path, f"nested deeper than {DEEPEST} levels")
    return value


def parse(raw: bytes, path: Path) -> Any:
    """Read a JSON document as `decode` does, but for how deep it is nested: that is the caller's to check.

    Raises:
        CorruptStateError: With the line and column where the text is malformed.
    """
    if (orjson := _orjson()) is not None:
        try:
            return orjson.loads(raw)
        except ValueError:
            pass  # the standard library refuses it too, and says why in words that do not depend on orjson
    return _parse_strictly(raw, path)


def check_for_kernel(raw: bytes, path: Path) -> None:
    """Refuse a document that this module reads and the kernel would refuse, or read as something else.

    Raises:
        UnsupportedValueError: With the path of an integer out of range, or a key that stands twice in an object.
        CorruptStateError: If it is not JSON at all.
    """
    from json import JSONDecoder

    decode(raw, path)
    exact = JSONDecoder(object_pairs_hook=_Object).decode(decode_text(raw, path))
    try:
        _refuse_repeated_keys(exact)
        check(exact, 1)
    except FaultError as fault:
        raise UnsupportedValueError(path, fault.reason, fault.path) from None


class _Object(dict[str, Any]):
    """An object that knows which of its keys stood twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__()
        self.repeated: str | None = None
        for key, item in pairs:
            if key in self and self.repeated is None:
                self.repeated = key
            self[key] = item


def _refuse_repeated_keys(value: Any) -> None:
    if isinstance(value, _Object) and value.repeated is not None:
        fault = FaultError(f"the key {value.repeated!r:.80} stands twice in an object")
        fault.keys.append(value.repeated)
        raise fault
    for key, item in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else []):
        try:
            _refuse_repeated_keys(item)
        except FaultError as fault:
            fault.keys.append(key)
            raise


class _BadLiteralError(Exception):
    """A literal that the standard library's decoder takes and JSON does not."""


def _parse_integer(literal: str) -> int | float:
    if len(literal) <= _LONGEST_INTEGER and SMALLEST <= (value := int(literal)) <= LARGEST:
        return value
    return _parse_float(literal)


def _parse_float(literal: str) -> float:
    value = float(literal)
    if math.isinf(value):
        raise _BadLiteralError(literal, "the number is too large")
    return value


def _refuse_constant(literal: str) -> float:
    raise _BadLiteralError(literal, f"{literal} is not JSON")


def _parse_strictly(raw: bytes, path: Path) -> Any:
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
        if _brackets_deep(text) <= DEEPEST:
            raise  # it is the caller's stack that is deep
        raise CorruptStateError(path, f"nested deeper than {DEEPEST} levels") from None
    if re.search(_SURROGATE_ESCAPE, raw):
        try:
            check(value, 1)
        except FaultError as fault:
            raise CorruptStateError(path, fault.reason, json_path=fault.path) from None
    return value


def _brackets_deep(text: str) -> int:
    depth = deepest = 0
    for token in re.finditer(rf"{_STRING}|[\[\]{{}}]", text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        deepest = max(deepest, depth)
    return deepest


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
        check_unicode(text)
    except FaultError as fault:
        raise UnsupportedValueError(path, fault.reason) from None
    return text.encode()


def _line_and_column(text: str, position: int) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
