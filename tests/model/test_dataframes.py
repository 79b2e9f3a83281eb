"""Rows of data frames: pandas and polars make columns of summaries, records and search hits."""

from __future__ import annotations

import dataclasses
import json
import pprint
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import cattrs
import pytest

from oxios_state import (
    AgentResponse,
    SearchHit,
    Session,
    SessionSummary,
    StateStore,
    Timestamp,
    TrajectoryStepRecord,
    UserMessage,
    converter,
)
from oxios_state.model.dataframes import Row

MOMENT = Timestamp(2026, 3, 1, 12, 30, 0, 123456, UTC, nanosecond=789)
SUMMARY = ["id", "user_id", "message_count", "active_seed_id", "project_id", "title", "created_at", "updated_at"]
STEP = ["tool_name", "tool_args", "output_summary", "duration_ms", "is_error", "tool_call_id", "timestamp"]


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    store = StateStore(tmp_path, cache_bytes=0)
    steps = [
        TrajectoryStepRecord("bash", {"cmd": "ls"}, "a", 12, timestamp=MOMENT),
        TrajectoryStepRecord("read", {"paths": ["b"], "cmd": 1}, "b", 2**40, is_error=True, timestamp=MOMENT),
        TrajectoryStepRecord("now", None, timestamp=MOMENT, extra={"newer": True}),
    ]
    store.save_session(
        Session(
            "ada",
            "a",
            created_at=MOMENT,
            trajectory_steps=steps,
            user_messages=[UserMessage("List", timestamp=MOMENT)],
            agent_responses=[AgentResponse("Yes", timestamp=MOMENT, seed_id_absent=True)],
        )
    )
    store.save_session(Session("bob", "b", created_at=MOMENT, metadata={"project_id": "p"}))
    return store


def load(store: StateStore) -> Session:
    session = store.load_session("a")
    assert session is not None
    return session


def pandas() -> Any:
    return pytest.importorskip("pandas", reason="pandas is not installed")


def polars() -> Any:
    return pytest.importorskip("polars", reason="polars is not installed")


def test_pandas_makes_a_frame_of_a_list_of_sessions(store: StateStore) -> None:
    frame = pandas().DataFrame(store.list_sessions())
    assert list(frame.columns) == SUMMARY
    assert list(frame.id) == ["a", "b"]
    assert frame.message_count.dtype == "int64"
    assert str(frame.updated_at.dtype) in {"datetime64[us, UTC]", "datetime64[ns, UTC]"}  # pandas 3, pandas 2
    assert list(frame.updated_at.dt.microsecond) == [123456, 123456]
    assert list(frame.project_id.isna()) == [True, False]


def test_pandas_makes_a_frame_of_a_trajectory(store: StateStore) -> None:
    frame = pandas().DataFrame(load(store).trajectory)
    assert list(frame.columns) == STEP
    assert [str(frame[name].dtype) for name in ("duration_ms", "is_error", "tool_args")] == ["int64", "bool", "object"]
    assert list(frame.tool_args) == [{"cmd": "ls"}, {"paths": ["b"], "cmd": 1}, None]
    assert str(frame.timestamp.dt.tz) == "UTC"
    assert frame.groupby("tool_name").duration_ms.sum()["read"] == 2**40


def test_pandas_reads_the_nanoseconds_of_unstructured_timestamps(store: StateStore) -> None:
    steps = load(store).trajectory
    times = pandas().to_datetime([converter.unstructure(step.timestamp) for step in steps], format="ISO8601")
    assert str(times.dtype) == "datetime64[ns, UTC]"
    assert list(times.nanosecond) == [789] * 3


def test_polars_makes_a_frame_of_a_list_of_sessions(store: StateStore) -> None:
    frame = polars().DataFrame(store.list_sessions())
    assert frame.columns == SUMMARY
    assert [str(dtype) for dtype in frame.dtypes[:6]] == ["String", "String", "Int64", "String", "String", "String"]
    assert frame.dtypes[6] == frame.dtypes[7] == polars().Datetime("us", "UTC")
    assert frame["updated_at"].to_list() == [datetime(2026, 3, 1, 12, 30, 0, 123456, UTC)] * 2


def test_polars_makes_a_frame_of_a_trajectory_and_keeps_all_arguments(store: StateStore) -> None:
    steps = [*[TrajectoryStepRecord("ls", {"cmd": "ls"})] * 200, *load(store).trajectory]
    frame = polars().DataFrame(steps)
    assert frame.columns == STEP
    assert frame.schema["tool_args"] == polars().Object
    assert frame.schema["duration_ms"] == polars().Int64
    assert frame.schema["timestamp"] == polars().Datetime("us", "UTC")
    assert list(frame["tool_args"])[-3:] == [{"cmd": "ls"}, {"paths": ["b"], "cmd": 1}, None]


def test_messages_responses_and_hits_are_rows_too(store: StateStore) -> None:
    session = load(store)
    frame = pandas().DataFrame(session.user_messages)
    assert list(frame.columns) == ["content", "timestamp"]
    frame = pandas().DataFrame(session.agent_responses)
    assert list(frame.columns)[:3] == ["content", "session_id", "seed_id"]
    assert not {"extra", "seed_id_absent"} & {*frame.columns}
    frame = pandas().DataFrame(store.search_sessions("list"))
    assert list(frame.columns) == ["session_id", "turn", "where", "index", "snippet"]
    assert polars().DataFrame(list(store.search_sessions("list")))["turn"].to_list() == [0]
    store.save_session(Session("u", "titled", metadata={"title": "A list"}))
    hits = list(store.search_sessions("list"))
    assert pandas().DataFrame(hits)["turn"].isna().to_list() == [True, False]
    assert polars().DataFrame(hits)["index"].to_list() == [None, 0]


def test_dataclass_functions_accept_records_and_lose_nothing(store: StateStore) -> None:
    step, response = load(store).trajectory[2], load(store).agent_responses[0]
    assert list(dataclasses.asdict(step)) == STEP
    assert dataclasses.replace(step, duration_ms=5) == attrs.evolve(step, duration_ms=5)
    assert dataclasses.replace(step, duration_ms=5).extra == {"newer": True}
    assert dataclasses.replace(response, content="No").seed_id_absent


def test_records_are_dataclasses_and_their_base_is_not() -> None:
    assert [field.name for field in dataclasses.fields(SessionSummary)] == SUMMARY
    assert not hasattr(Row, "__dataclass_fields__")
    assert all(
        map(dataclasses.is_dataclass, (UserMessage, AgentResponse, TrajectoryStepRecord, SessionSummary, SearchHit))
    )


def test_pprint_shows_a_record_as_its_repr(store: StateStore) -> None:
    step = load(store).trajectory[0]
    assert pprint.pformat(step, width=500) == repr(step)


def test_cattrs_knows_the_records_as_attrs_classes(store: StateStore) -> None:
    (first, _) = store.list_sessions()
    assert list(cattrs.unstructure(first)) == SUMMARY
    text = json.dumps(converter.unstructure(first))
    assert converter.structure(json.loads(text), SessionSummary) == first
    step = load(store).trajectory[2]
    assert converter.structure(converter.unstructure(step), TrajectoryStepRecord) == step
