"""The public API as a user's type checker sees it: checked by `mypy --strict`, never run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, assert_type

import attrs
from tqdm import tqdm

from oxios_state import (
    AgentResponse,
    CorruptStateError,
    DurabilityError,
    Problem,
    PruneConfig,
    PruneThrottle,
    Quarantined,
    RunningStep,
    SearchHit,
    Session,
    SessionId,
    SessionList,
    SessionSummary,
    StateError,
    StateStore,
    Timestamp,
    Trajectory,
    TrajectoryStepRecord,
    Turn,
    UnsupportedValueError,
    UserMessage,
    converter,
)


@attrs.frozen
class Config:
    name: str
    retries: int = 3


store = StateStore("~/.oxios/state")
StateStore(Path("state"), durable=False, lock_timeout=1.5, max_file_bytes=10**6, read_only=True)
StateStore(b"state")  # type: ignore[arg-type]
assert_type(store.base_path, Path)
assert_type(store.durable, bool)
assert_type(store.lock_timeout, float)
store.base_path = Path()  # type: ignore[misc]

# Documents.

store.save_markdown("memory", "notes", "# Notes")
store.save_markdown("memory", "notes", b"# Notes")  # type: ignore[arg-type]
assert_type(store.load_markdown("memory", "notes"), str | None)
store.save_json("config", "agent", Config("a"))
assert_type(store.load_json("config", "agent"), Any)
assert_type(store.load_json("config", "agent", Config), Config | None)
assert_type(store.load_json("config", "agent", Config, None), Config | None)
assert_type(store.load_json("config", "agent", type=Config, default=Config("b")), Config)
assert_type(store.load_json("config", "agent", Config, "none"), Config | str)
assert_type(store.load_json("config", "agent", list[int]), list[int] | None)
assert_type(store.load_json("config", "agent", dict[str, Config], {}), dict[str, Config])
assert_type(store.load_json("config", "agent", default=5), Any)
store.load_json("config", "agent", Config | None)
assert_type(store.list_category("memory/knowledge"), list[str])
assert_type(store.delete_file("memory", "notes"), bool)
with store.lock("memory") as nothing, store.lock("config", timeout=0.5):
    assert_type(nothing, None)

# Sessions.

session = Session("user")
Session("user", "id", metadata={"title": "A title"}, created_at=datetime.now(UTC))
Session("user", SessionId.new())
Session()  # type: ignore[call-arg]
assert_type(session.id, SessionId)
assert_type(SessionId.new(), SessionId)
assert_type(session.user_messages, list[UserMessage])
assert_type(session.agent_responses, list[AgentResponse])
assert_type(session.trajectory_steps, list[TrajectoryStepRecord])
assert_type(session.trajectory, Trajectory)
assert_type(session.trajectory[0], TrajectoryStepRecord)
assert_type(session.trajectory[:2], Trajectory)
steps: Sequence[TrajectoryStepRecord] = session.trajectory
session.trajectory.append(steps[0])  # type: ignore[attr-defined]
assert_type(session.active_seed_id, str | None)
assert_type(session.updated_at, datetime)
assert_type(session.metadata, dict[str, Any])
assert_type(session.get_metadata("title", "none"), Any)
assert_type(session.turns(), list[Turn])
assert_type(session.turns()[0].message, UserMessage | None)
assert_type(session.turns()[0].response, AgentResponse | None)
assert_type(session.turns()[0].steps, tuple[TrajectoryStepRecord, ...])
assert_type(session.turns()[0].started, datetime | None)
assert_type(session.to_markdown(), str)
with session.step("bash", {"cmd": "ls"}, tool_call_id="call_0") as step:
    assert_type(step, RunningStep)
    step.output, step.is_error = "total 0", False
    step.tool_call_id = "call_1"  # type: ignore[misc]
assert_type(session.exchange_count, int)
assert_type(session.is_empty, bool)
session.add_user_message("hello")
session.add_agent_response(AgentResponse("hi", seed_id="s", evaluation_passed=True))
session.add_agent_response("hi")  # type: ignore[arg-type]
session.extend_trajectory([TrajectoryStepRecord("grep", {"q": "x"}, "out", 12, is_error=False)])
session.extend_trajectory(step for step in session.trajectory)
session.set_active_seed(None)
session.set_active_persona("p")
session.set_metadata("k", [1, None])
session.user_messages[0].content = "changed"  # type: ignore[misc]
UserMessage("a", datetime.now(UTC))  # type: ignore[call-arg]
UserMessage("a", {})  # type: ignore[call-arg, arg-type]
TrajectoryStepRecord("grep", {}, "", 0, False, "", {})  # type: ignore[call-arg, arg-type]  # noqa: FBT003
Session("user", "id", [])  # type: ignore[call-arg]

store.save_session(session)
store.update_session(session)
assert_type(store.load_session("id"), Session | None)
assert_type(store.load_session(session.id), Session | None)
with store.edit_session("id") as editing:
    assert_type(editing, Session)
assert_type(store.get_or_create_session("user"), Session)
assert_type(store.get_or_create_session("user", session_id="id"), Session)
assert_type(store.delete_session("id"), bool)
summaries = store.list_sessions()
assert_type(summaries, SessionList)
assert_type(summaries[:2], SessionList)
plain: list[SessionSummary] = summaries
assert_type(summaries[0].title, str | None)
assert_type(summaries[0].updated_at, datetime)
store.list_sessions(user_id="a", project_id="p", updated_after="2026-03-01", updated_before=datetime.now(UTC), limit=5)
store.list_sessions(updated_after=date(2026, 3, 1))
store.list_sessions("a")  # type: ignore[call-arg]
store.list_sessions(updated_after=5)  # type: ignore[arg-type]
hits = store.search_sessions("text", user_id="a", updated_after="March 2026", limit=5, context=20)
assert_type(hits, Iterator[SearchHit])
hit = next(hits)
assert_type(hit.summary, SessionSummary)
assert_type((hit.session_id, hit.turn, hit.index, hit.snippet), tuple[str, int | None, int | None, str])
assert_type(hit.where, Literal["title", "message", "tool_name", "tool_args", "output", "response"])
hit.where == "metadata"  # type: ignore[comparison-overlap]  # noqa: B015

# Progress, and data frames.


def percent(items: Iterable[Any]) -> Iterator[Any]:
    yield from items


store.list_sessions(progress=percent)
store.list_sessions(progress=tqdm)
store.search_sessions("text", progress=lambda items: tqdm(items, desc="searching"))
assert_type(store.check(progress=tqdm), list[Problem])
assert_type(store.prune(progress=tqdm), SessionList)
store.check(progress=5)  # type: ignore[arg-type]
assert_type(asdict(session.trajectory[0]), dict[str, Any])
assert_type(replace(session.trajectory[0], duration_ms=5), TrajectoryStepRecord)
assert_type(session.trajectory[0].tool_args, Any)

# Pruning.

assert_type(store.prune(), SessionList)
store.prune(PruneConfig(10, ttl_hours=1.5), dry_run=True, keep=lambda summary: summary.title == "x", archive="old")
store.prune(confirm=lambda sessions: assert_type(sessions, SessionList)[0].title == "x")
store.prune(confirm=True)  # type: ignore[arg-type]
store.prune(PruneConfig(), True)  # type: ignore[call-arg]  # noqa: FBT003
throttle = PruneThrottle(60)
PruneThrottle(timedelta(minutes=1))
assert_type(throttle.should_prune(), bool)
store.prune(PruneConfig(ttl_hours=1.5), now=datetime.now(UTC))
assert_type(PruneConfig().max_sessions, int)
assert_type(store.save_session_with_prune(session, PruneConfig(), throttle), SessionList)
store.save_session_with_prune(session, PruneConfig(5))

# Maintenance.

for problem in store.check():
    assert_type(problem.remedy, str)
    assert_type(store.quarantine.add(problem), Quarantined | None)
for entry in store.quarantine:
    assert_type(entry, Quarantined)
    store.quarantine.restore(entry)
    assert_type(store.quarantine.discard(entry), bool)
assert_type(len(store.quarantine), int)
assert_type(store.sweep(), list[Path])

# Errors and timestamps.

try:
    store.list_sessions()
except CorruptStateError as error:
    assert_type(error.path, Path)
    assert_type(error.line, int | None)
    assert_type(error.json_path, str | None)
except UnsupportedValueError as error:
    assert_type(error.reason, str)
except DurabilityError as error:
    assert_type(error.errno, int | None)
except StateError:
    pass
assert_type(Timestamp(2026, 3, 1, tzinfo=UTC, nanosecond=5).nanosecond, int)

# The converter.


def structure_path(value: Any, _: type[Path]) -> Path:
    return Path(value)


converter.register_structure_hook(Path, structure_path)
converter.register_unstructure_hook(Path, str)
assert_type(converter.structure({"name": "a"}, Config), Config)
