"""How deep free-form values of a session may be nested, in each place, and the paths in the errors."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from oxios_state import CorruptStateError, Session, UnsupportedValueError
from oxios_state.codec import documents as codec
from oxios_state.codec import incremental

PATH = Path("sessions/s.json")
TIME = "2026-03-01T12:00:00Z"
RECORDS: dict[str, dict[str, Any]] = {
    "user_messages": {"content": "x", "timestamp": TIME},
    "agent_responses": {"content": "x", "timestamp": TIME},
    "trajectory_steps": {
        "tool_name": "t",
        "tool_args": {},
        "output_summary": "",
        "duration_ms": 0,
        "is_error": False,
        "tool_call_id": "",
        "timestamp": TIME,
    },
}
# The keys that lead to a value, and the path that an error on reading names.
PLACES: dict[str, tuple[list[str | int], str]] = {
    "metadata": (["metadata"], "$.metadata"),
    "in metadata": (["metadata", "m"], "$.metadata"),
    "extra": (["new"], "$"),
    **{f"extra of {key}": ([key, 1, "new"], f"$.{key}[1]") for key in RECORDS},
    "tool_args": (["trajectory_steps", 1, "tool_args"], "$.trajectory_steps[1].tool_args"),
    "in tool_args": (["trajectory_steps", 1, "tool_args", "a"], "$.trajectory_steps[1].tool_args"),
}


def document(place: str, depth: int, *, objects: bool) -> dict[str, Any]:
    """Return a session document that is *depth* levels deep in a place."""
    whole: dict[str, Any] = {"id": "s", "user_id": "u", "created_at": TIME, "updated_at": TIME, "metadata": {}}
    whole |= {key: [copy.deepcopy(record) for _ in range(2)] for key, record in RECORDS.items()}
    keys, _ = PLACES[place]
    inside: Any = whole
    for key in keys[:-1]:
        inside = inside[key]
    value: Any = {}
    for level in range(depth - len(keys) - 1, 0, -1):
        value = {"k": value} if objects or (level == 1 and place == "metadata") else [value]
    inside[keys[-1]] = value
    return whole


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("objects", [True, False], ids=["objects", "arrays"])
@pytest.mark.parametrize("place", PLACES)
def test_a_session_may_be_127_levels_deep(place: str, *, objects: bool) -> None:
    session = codec.decode_session(json.dumps(document(place, 127, objects=objects)).encode(), PATH)
    written = bytes(incremental.encode(session, PATH))
    assert codec.decode_session(written, PATH) == session
    for depth in (128, 129, 500):
        with pytest.raises(CorruptStateError, match="nested deeper than 127 levels") as caught:
            codec.decode_session(json.dumps(document(place, depth, objects=objects)).encode(), PATH)
        assert caught.value.json_path == PLACES[place][1]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("place", [place for place in PLACES if place != "metadata"])
def test_a_session_that_is_too_deep_is_not_written(place: str) -> None:
    keys, _ = PLACES[place]
    session = codec.decode_session(json.dumps(document(place, 127, objects=True)).encode(), PATH)
    deeper: Any = [[]]
    for _ in range(126 - len(keys)):
        deeper = [deeper]
    with attrs.validators.disabled():  # recording it is refused otherwise
        put(session, keys, deeper)
    with pytest.raises(UnsupportedValueError, match="nested deeper than 127 levels") as caught:
        incremental.encode(session, PATH)
    where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    assert caught.value.json_path == f"${where}{'[0]' * (127 - len(keys))}"


def put(session: Session, keys: list[str | int], value: Any) -> None:
    match keys:
        case ["metadata", key]:
            session.metadata[str(key)] = value
        case ["new"]:
            session.extra["new"] = value
        case [str(key), int(index), *rest]:
            array = getattr(session, key)
            change = (
                {"extra": {"new": value}} if rest == ["new"] else {"tool_args": {"a": value} if rest[1:] else value}
            )
            array[index] = attrs.evolve(array[index], **change)
