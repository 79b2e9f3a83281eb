"""Mutations of JSON documents, for ``hostile.py``: of their bytes, their tokens and their structure."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

KNOWN = {
    *("id", "user_id", "user_messages", "agent_responses", "trajectory_steps", "active_seed_id", "active_persona_id"),
    *("created_at", "updated_at", "metadata", "content", "timestamp", "session_id", "seed_id", "phase_reached"),
    *("evaluation_passed", "tool_name", "tool_args", "output_summary", "duration_ms", "is_error", "tool_call_id"),
}


TOKENS = [
    *b'{ } [ ] , : " \\ 0 - + . e E null true false NaN Infinity -Infinity 1e999 -0 -0.0 1e16 1E-400 12.0'.split(),
    *b"18446744073709551615 18446744073709551616 -9223372036854775808 -9223372036854775809 \\u0000 \\ud800".split(),
    *b'\\udc00\\ud800 \\ud83d\\ude80 \\/ \\x 2026-03-01T08:00:00.123456789Z 2026-03-01t08:00:00z "\\u0069d":'.split(),
    *b"0001-01-01T00:00:00+23:59 9999-12-31T23:59:60Z 2026-02-30T00:00:00-00:00 0000-01-01T00:00:00Z".split(),
    *[b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x80\xa8"],
    *[b" ", b"\n", b"\r", b"\x1f", b"\x7f", b"[" * 128, b'{"a":' * 126, b"9" * 5000, b"0." + b"3" * 400],
]
VALUES: list[Any] = [None, True, 0, -1, 2**63, 2**64, 1.0, 1e300, "", "x", [], {}, [[]], {"": {}}]
VALUES += ["2026-03-01T08:00:00+05:30", "0001-01-01T00:00:00+01:00"]


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from nodes(value[key])


def restructure(raw: bytes, rng: random.Random) -> bytes:
    """Replace, remove or repeat a value, if *raw* is valid JSON."""
    try:
        document = json.loads(raw)
        container, key = rng.choice(list(nodes(document)))
    except (ValueError, IndexError, RecursionError):
        return raw
    choice = rng.randrange(5)
    if choice == 0:
        del container[key]
    elif choice == 1 and isinstance(container, list):
        container.insert(key, container[key])
    elif choice == 2 and isinstance(container, dict):
        container[rng.choice([*KNOWN, "x"])] = container[key]
    else:
        container[key] = rng.choice(VALUES)
    return json.dumps(document, ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")


def mutate(raw: bytes, other: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 1, 2, 4])):
        start, end = sorted(rng.randrange(len(raw) + 1) for _ in range(2))
        end = min(end, start + rng.choice([0, 1, 4, 64]))
        choice = rng.randrange(6)
        if choice <= 1:
            raw = restructure(raw, rng)
        elif choice == 2:
            raw = raw[:start] + rng.choice(TOKENS) + raw[end:]
        elif choice == 3:
            raw = raw[:start] + other[start:end] * rng.choice([1, 2]) + raw[end:]
        elif choice == 4:
            raw = raw[:start] + raw[end:]
        elif raw:
            raw = flip(raw, rng.randrange(8 * len(raw)))
    return raw[:20_000]


def flip(raw: bytes, bit: int) -> bytes:
    return raw[: bit // 8] + bytes([raw[bit // 8] ^ 1 << bit % 8]) + raw[bit // 8 + 1 :]
