"""Public classes: the module that they name, the types that they declare, and their pickles and copies."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections import abc
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import pytest

import oxios_state
from oxios_state import (
    AgentResponse,
    Finding,
    Problem,
    ProblemKind,
    PruneConfig,
    PruneThrottle,
    Quarantine,
    Quarantined,
    RunningStep,
    SearchHit,
    Session,
    SessionConflictError,
    SessionId,
    SessionList,
    SessionSummary,
    StateError,
    StateStore,
    Timestamp,
    Trajectory,
    TrajectoryStepRecord,
    Turn,
    UserMessage,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NANOSECONDS = Timestamp(2026, 3, 1, 12, tzinfo=UTC, nanosecond=7)
MESSAGE = UserMessage("hello", timestamp=NANOSECONDS, extra={"a": [1]})
RESPONSE = AgentResponse("hi", seed_id="s", evaluation_passed=False, timestamp=NOON, seed_id_absent=True)
STEP = TrajectoryStepRecord(
    "grep", {"a": [1, {"b": 2}]}, "out", 12, is_error=True, tool_call_id="call", timestamp=NOON, extra={"new": {}}
)
SUMMARY = SessionSummary("s", "u", 1, None, "p", "t", NOON, NANOSECONDS)
INSTANCES: dict[str, Any] = {
    type(instance).__name__: instance
    for instance in (
        MESSAGE,
        RESPONSE,
        STEP,
        SUMMARY,
        Finding("locks", True, "held"),  # noqa: FBT003  # an attrs class, whose fields are positional
        Problem(ProblemKind.CORRUPT, Path("s.json"), "bad"),
        ProblemKind.CORRUPT,
        PruneConfig(5, 1.5),
        PruneThrottle(60),
        Quarantined(Path("s.json"), Path("q/s.json"), "bad", NOON),
        SearchHit("s", 0, "message", 0, "hello", SUMMARY),
        Session(
            "u",
            "s",
            user_messages=[MESSAGE],
            agent_responses=[RESPONSE],
            trajectory_steps=[STEP],
            active_seed_id="seed",
            created_at=NOON,
            metadata={"a": {"b": [1]}},
            extra={"project_id": "p"},
        ),
        SessionId("s"),
        SessionList([SUMMARY]),
        StateStore("state", durable=False, lock_timeout=5, cache_bytes=0),
        NANOSECONDS,
        Trajectory([STEP]),
        Turn(MESSAGE, RESPONSE, (STEP,)),
    )
}
NOT_PICKLABLE: set[type] = {Quarantine, RunningStep}  # they belong to a store, and to a running block
CLASSES: dict[str, type] = {
    name: public for name in oxios_state.__all__ if inspect.isclass(public := getattr(oxios_state, name))
}
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": partial(
            lambda protocol, instance: pickle.loads(pickle.dumps(instance, protocol)), protocol
        )
        for protocol in PROTOCOLS
    },
}
each_class = pytest.mark.parametrize("name", CLASSES)
each_way = pytest.mark.parametrize("way", WAYS)


# The module and the types.


@each_class
def test_a_public_class_names_the_package_as_its_module(name: str) -> None:
    assert CLASSES[name].__module__ == "oxios_state"
    assert CLASSES[name].__qualname__ == name
    assert repr(CLASSES[name]) in {f"<class 'oxios_state.{name}'>", f"<enum '{name}'>"}


@pytest.mark.parametrize("name", oxios_state.__all__)
def test_the_type_hints_of_everything_public_can_be_resolved(name: str) -> None:
    public = getattr(oxios_state, name)
    if type(public).__module__.startswith("cattrs"):
        pytest.skip("its types are those of cattrs")
    if callable(public):
        get_type_hints(public)
    # Methods name classes that are imported late: public ones, and some of the standard library.
    names = {other: getattr(oxios_state, other) for other in oxios_state.__all__} | vars(abc) | {"Path": Path}
    for function in _functions(public):
        get_type_hints(function, localns=names)


def _functions(cls: object) -> list[Callable[..., Any]]:
    """Return the functions behind a class's constructor and its public methods and properties."""
    members = {name: inspect.getattr_static(cls, name) for name in dir(cls) if inspect.isclass(cls)}
    public = [member for name, member in members.items() if name == "__init__" or not name.startswith("_")]
    functions = [getattr(member, "__func__", None) or getattr(member, "fget", None) or member for member in public]
    return [inspect.unwrap(function) for function in functions if inspect.isfunction(function)]


def test_the_hints_of_a_method_name_public_classes() -> None:
    assert get_type_hints(StateStore.load_session) == {"return": Session | None, "session_id": str}
    assert get_type_hints(Session)["user_messages"] == list[UserMessage]


# Pickles and copies.


def test_every_public_class_has_an_instance_here() -> None:
    picklable = {name for name, cls in CLASSES.items() if cls not in NOT_PICKLABLE and not issubclass(cls, StateError)}
    assert INSTANCES.keys() == picklable  # tests/test_errors.py has the errors


@each_way
@pytest.mark.parametrize("name", INSTANCES)
def test_an_instance_survives_pickling_and_copying(name: str, way: str) -> None:
    instance = INSTANCES[name]
    twin = WAYS[way](instance)
    assert type(twin) is type(instance)
    assert repr(twin) == repr(instance)
    if name not in {"StateStore", "PruneThrottle"}:  # these are equal to themselves only
        assert twin == instance
    if attrs.has(type(instance)):  # fields that do not take part in comparisons too
        names = [field.name for field in attrs.fields(type(instance))]
        assert [getattr(twin, name) for name in names] == [getattr(instance, name) for name in names]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_values_of_an_unpickled_record_are_frozen(protocol: int) -> None:
    step = pickle.loads(pickle.dumps(STEP, protocol))
    for container in (step.tool_args, step.tool_args["a"], step.tool_args["a"][1], step.extra, step.extra["new"]):
        with pytest.raises(TypeError, match="a record is immutable"):
            container.clear()


@each_way
@pytest.mark.parametrize("origin", ["saved", "loaded"])
def test_a_copy_of_a_session_notices_a_conflict(tmp_path: Path, origin: str, way: str) -> None:
    store = StateStore(tmp_path, durable=False)
    session = Session("u", "s")
    store.save_session(session)
    if origin == "loaded":
        session = StateStore(tmp_path, durable=False).load_session("s") or pytest.fail("it was saved")
    twin, later_twin = WAYS[way](session), WAYS[way](session)
    twin.set_metadata("by", "the copy")
    store.update_session(twin)
    with pytest.raises(SessionConflictError):
        store.update_session(later_twin)
    assert store.load_session("s") == twin


@each_way
def test_a_copy_of_a_new_session_does_not_replace_another(tmp_path: Path, way: str) -> None:
    store = StateStore(tmp_path, durable=False)
    twin = WAYS[way](Session("u", "s"))
    store.save_session(Session("another", "s"))
    with pytest.raises(SessionConflictError):
        store.update_session(twin)


def test_a_pickle_of_a_session_does_not_contain_the_text_of_its_file(tmp_path: Path) -> None:
    store = StateStore(tmp_path, durable=False)
    session = Session("u", "s", user_messages=[UserMessage("x" * 100_000)])
    plain = len(pickle.dumps(session))
    store.save_session(session)
    assert len(pickle.dumps(session)) < plain + 1000


def test_a_copy_of_a_store_works_on_the_same_directory(tmp_path: Path) -> None:
    store = StateStore(tmp_path, durable=False)
    store.save_session(Session("u", "s"))
    for make_twin in WAYS.values():
        assert make_twin(store).load_session("s") == store.load_session("s")
