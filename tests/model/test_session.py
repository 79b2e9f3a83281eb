"""Sessions: construction, equality, and the methods that change one; and the checks of all constructors."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pytest

from oxios_state import AgentResponse, PruneConfig, Session, SessionId, Timestamp, TrajectoryStepRecord, UserMessage
from oxios_state.model import timestamps
from oxios_state.model.revision import Revision

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
SESSION = Session(
    "u",
    "s",
    user_messages=[UserMessage("hello", timestamp=NOON)],
    active_seed_id="seed",
    created_at=NOON,
    metadata={"a": {"b": 1}},
    extra={"project_id": "p"},
)


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Stop the clock at noon; the returned function sets it."""

    def set_clock(moment: datetime) -> None:
        monkeypatch.setattr(timestamps, "now", lambda: moment)

    set_clock(NOON)
    return set_clock


# Construction, of records too.


@pytest.mark.parametrize(
    "make",
    [
        lambda: UserMessage(1),  # type: ignore[arg-type]
        lambda: UserMessage(*("a", NOON)),  # type: ignore[arg-type, misc, unused-ignore]
        lambda: UserMessage("a", timestamp="2026-03-01T08:00:00Z"),  # type: ignore[arg-type]
        lambda: UserMessage("a", extra=[]),
        lambda: AgentResponse(None),  # type: ignore[arg-type]
        lambda: AgentResponse(*("a", "s")),  # type: ignore[arg-type, misc, unused-ignore]
        lambda: AgentResponse("a", session_id=1),  # type: ignore[arg-type]
        lambda: AgentResponse("a", seed_id=1),  # type: ignore[arg-type]
        lambda: AgentResponse("a", phase_reached=1),  # type: ignore[arg-type]
        lambda: AgentResponse("a", evaluation_passed=1),  # type: ignore[arg-type]
        lambda: AgentResponse("a", timestamp=None),  # type: ignore[arg-type]
        lambda: AgentResponse("a", seed_id_absent=None),  # type: ignore[arg-type]
        lambda: TrajectoryStepRecord("t"),  # type: ignore[call-arg]
        lambda: TrajectoryStepRecord(1, {}),  # type: ignore[arg-type]
        lambda: TrajectoryStepRecord("t", {}, None),  # type: ignore[arg-type]
        lambda: TrajectoryStepRecord("t", {}, duration_ms=1.0),  # type: ignore[arg-type]
        lambda: TrajectoryStepRecord("t", {}, duration_ms=True),
        lambda: TrajectoryStepRecord("t", {}, is_error=0),  # type: ignore[arg-type]
        lambda: TrajectoryStepRecord("t", {}, tool_call_id=None),  # type: ignore[arg-type]
        lambda: Session(1),  # type: ignore[arg-type]
        lambda: Session("u", 1),  # type: ignore[arg-type]
        lambda: Session("u", user_messages=("a",)),  # type: ignore[arg-type]
        lambda: Session("u", user_messages=["a"]),  # type: ignore[list-item]
        lambda: Session("u", agent_responses=[UserMessage("a")]),  # type: ignore[list-item]
        lambda: Session("u", trajectory_steps={}),  # type: ignore[arg-type]
        lambda: Session("u", active_seed_id=1),  # type: ignore[arg-type]
        lambda: Session("u", active_persona_id=1),  # type: ignore[arg-type]
        lambda: Session("u", created_at="now"),  # type: ignore[arg-type]
        lambda: Session("u", updated_at=None),  # type: ignore[arg-type]
        lambda: Session("u", metadata=[]),  # type: ignore[arg-type]
        lambda: PruneConfig(1.0),  # type: ignore[arg-type]
        lambda: PruneConfig(max_sessions=True),
        lambda: PruneConfig(ttl_hours="1"),  # type: ignore[arg-type]
        lambda: PruneConfig(ttl_hours=True),
    ],
)
def test_an_argument_of_another_type_is_a_type_error(make: Callable[[], object]) -> None:
    with pytest.raises(TypeError):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: TrajectoryStepRecord("t", {}, duration_ms=-1),
        lambda: TrajectoryStepRecord("t", {}, duration_ms=2**64),
        lambda: PruneConfig(-1),
        lambda: PruneConfig(ttl_hours=-0.5),
        lambda: PruneConfig(ttl_hours=float("inf")),
        lambda: PruneConfig(ttl_hours=float("nan")),
        lambda: UserMessage("a", extra={"x": 1, "content": "b"}),
        lambda: AgentResponse("a", extra={"seed_id": "b"}),
        lambda: Session("u", extra={"metadata": {}}),
    ],
)
def test_an_argument_out_of_range_is_a_value_error(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        make()


def test_extra_accepts_names_of_fields_that_are_not_keys() -> None:
    odd = {"extra": 1, "_source": 2, "seed_id_absent": 3}
    assert Session("u", extra=odd).extra == AgentResponse("a", extra=odd).extra == odd


def test_the_rules_of_pruning_are_the_kernels_by_default() -> None:
    config = PruneConfig()
    assert (config.max_sessions, config.ttl_hours) == (100, 168)
    assert PruneConfig(0, 0) == PruneConfig(max_sessions=0, ttl_hours=0.0)


# Sessions.


def test_a_new_session_is_empty() -> None:
    before = datetime.now(UTC)
    session = Session("u")
    assert before <= session.created_at == session.updated_at <= datetime.now(UTC)
    assert session.user_id == "u"
    assert (session.user_messages, session.agent_responses, session.trajectory_steps) == ([], [], [])
    assert (session.active_seed_id, session.active_persona_id, session._source) == (None, None, None)
    assert session.metadata == session.extra == {}
    assert session.is_empty
    assert session.exchange_count == 0
    assert Session("u", created_at=LATER).updated_at == LATER


def test_an_id_is_a_string_and_by_default_random() -> None:
    new = SessionId.new()
    assert (type(new), UUID(new).version, str(UUID(new))) == (SessionId, 4, new)
    assert new != SessionId.new()
    assert UUID(Session("u").id).version == 4
    session = Session("u", "my-session")
    assert type(session.id) is SessionId
    assert session.id == "my-session"
    assert Session("u", new).id is new
    with pytest.raises(AttributeError):
        session.id = SessionId("other")


CHANGES: list[Callable[[Session], None]] = [
    lambda session: session.add_user_message("hello"),
    lambda session: session.add_agent_response(AgentResponse("hi")),
    lambda session: session.extend_trajectory([TrajectoryStepRecord("t", None)]),
    lambda session: session.set_active_seed("s"),
    lambda session: session.set_active_seed(None),
    lambda session: session.set_active_persona("p"),
    lambda session: session.set_active_persona(None),
    lambda session: session.set_metadata("k", [1]),
]


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_moves_updated_at(
    change: Callable[[Session], None], stopped_clock: Callable[[datetime], None]
) -> None:
    session = Session("u", created_at=NOON)
    stopped_clock(LATER)
    change(session)
    assert (session.created_at, session.updated_at) == (NOON, LATER)


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_moves_updated_at_while_the_clock_stands(
    change: Callable[[Session], None], stopped_clock: Callable[[datetime], None]
) -> None:
    session = Session("u", created_at=NOON)
    change(session)
    assert session.updated_at > NOON
    for _ in range(3):
        before = session.updated_at
        change(session)
        assert before != session.updated_at
        assert timedelta(0) <= session.updated_at - NOON <= timedelta(milliseconds=1)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("behind", [timedelta(days=1), timedelta(days=36500)])
def test_no_change_moves_updated_at_back(
    behind: timedelta, change: Callable[[Session], None], stopped_clock: Callable[[datetime], None]
) -> None:
    session = Session("u", created_at=NOON)
    stopped_clock(NOON - behind)
    for number in range(1, 4):
        change(session)
        assert session.updated_at == NOON + timedelta(microseconds=number)
    stopped_clock(LATER)
    change(session)
    assert session.updated_at == LATER


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Timestamp(2026, 3, 1, 12, tzinfo=UTC, nanosecond=7), NOON + timedelta(microseconds=1)),
        (NOON.astimezone(timezone(timedelta(hours=9))), NOON + timedelta(microseconds=1)),
        # The second half past two of that night, in local time, is followed by the first one if you just add to it.
        (
            datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
            datetime(2026, 10, 25, 1, 30, 0, 1, UTC),
        ),
        (datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))),) * 2,
        (datetime(2026, 3, 1, 13), NOON),  # without a time zone, so it may be earlier or later  # noqa: DTZ001
    ],
)
def test_an_update_time_ahead_of_the_clock_moves_by_a_microsecond(
    before: datetime, after: datetime, stopped_clock: Callable[[datetime], None]
) -> None:
    stopped_clock(NOON)
    with attrs.validators.disabled():  # two of these times cannot be recorded otherwise
        session = Session("u", created_at=NOON, updated_at=before)
        session.add_user_message("hello")
    assert session.updated_at == after


def test_direct_changes_leave_updated_at_to_the_caller(
    stopped_clock: Callable[[datetime], None],
) -> None:
    session = Session("u", created_at=NOON)
    stopped_clock(LATER)
    session.active_seed_id = "seed"
    session.user_messages.append(UserMessage("hello"))
    session.metadata["k"] = 1
    assert session.updated_at == NOON


def test_methods_change_a_session_as_the_kernels_do(stopped_clock: Callable[[datetime], None]) -> None:
    session = Session("u", created_at=NOON)
    session.add_user_message("one")
    session.add_user_message("two")
    response, steps = AgentResponse("hi"), [TrajectoryStepRecord("a", None), TrajectoryStepRecord("b", 1)]
    session.add_agent_response(response)
    session.extend_trajectory(step for step in steps)
    session.extend_trajectory(steps[:1])
    session.set_active_seed("seed")
    session.set_active_persona("persona")
    session.set_metadata("k", {"a": 1})
    assert [message.content for message in session.user_messages] == ["one", "two"]
    assert session.agent_responses == [response]
    assert list(session.trajectory) == [*steps, steps[0]]
    assert (session.active_seed_id, session.active_persona_id) == ("seed", "persona")
    assert (session.get_metadata("k"), session.get_metadata("x"), session.get_metadata("x", 5)) == ({"a": 1}, None, 5)
    assert (session.exchange_count, session.is_empty) == (1, False)
    session.add_agent_response(response)
    session.add_agent_response(response)
    assert session.exchange_count == 2
    session.set_active_seed(None)
    session.set_active_persona(None)
    assert (session.active_seed_id, session.active_persona_id) == (None, None)


def test_extending_the_trajectory_by_nothing_changes_nothing(stopped_clock: Callable[[datetime], None]) -> None:
    session = Session("u", created_at=NOON)
    stopped_clock(LATER)
    session.extend_trajectory([])
    session.extend_trajectory(iter(()))
    assert (session.trajectory_steps, session.updated_at) == ([], NOON)


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session.extend_trajectory([TrajectoryStepRecord("t", 1), "step"]),
        lambda session: session.extend_trajectory([UserMessage("a")]),
        lambda session: session.add_user_message(None),
        lambda session: session.add_agent_response("hi"),
        lambda session: session.set_active_seed(1),
        lambda session: session.set_active_persona(1),
        lambda session: session.set_metadata(1, 1),
        lambda session: setattr(session, "user_messages", ["a"]),
        lambda session: setattr(session, "updated_at", "now"),
        lambda session: setattr(session, "metadata", None),
    ],
)
def test_a_refused_change_changes_nothing(
    change: Callable[[Session], None], stopped_clock: Callable[[datetime], None]
) -> None:
    session = Session("u", "s", user_messages=[UserMessage("a")])
    before = copy.deepcopy(session)
    stopped_clock(LATER)
    with pytest.raises(TypeError):
        change(session)
    assert session == before


def test_sessions_are_equal_by_value_whatever_their_source() -> None:
    twin = copy.deepcopy(SESSION)
    twin._source = Revision(None, [b"1"])
    assert twin == SESSION
    twin.metadata["a"] = 2
    assert twin != SESSION
    with pytest.raises(TypeError, match="unhashable"):
        hash(SESSION)
