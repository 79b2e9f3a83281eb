"""Free-form values of records: copies that refuse to be changed."""

from __future__ import annotations

import copy
import json
import pickle
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pytest

from oxios_state import Session, StateStore, TrajectoryStepRecord, UnsupportedValueError, UserMessage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VALUE = {"a": {"b": [1, {"c": None}]}, "t": (1, 2)}
PLAIN = {"a": {"b": [1, {"c": None}]}, "t": [1, 2]}


@pytest.fixture
def args() -> Any:
    return TrajectoryStepRecord("bash", VALUE).tool_args


def test_the_arguments_of_a_tool_are_a_copy_of_what_was_given() -> None:
    given: dict[str, Any] = OrderedDict(a=[1])
    step = TrajectoryStepRecord("bash", given, extra={"more": given})
    given["a"].append(2)
    assert step.tool_args == {"a": [1]}
    assert step.extra == {"more": {"a": [1]}}
    assert UserMessage("x", extra={"k": [1]}).extra == {"k": [1]}


def test_what_holds_itself_many_times_is_left_to_be_refused_on_saving(tmp_path: Path) -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless["b"] = [endless]
    session = Session("user", "s", trajectory_steps=[TrajectoryStepRecord("bash", endless)])
    with pytest.raises(UnsupportedValueError, match="nested deeper than 127 levels"):
        StateStore(tmp_path).save_session(session)


@pytest.mark.parametrize("scalar", [None, True, 1, 1.5, "text"])
def test_a_scalar_is_what_it_was(scalar: object) -> None:
    assert TrajectoryStepRecord("bash", scalar).tool_args is scalar


@pytest.mark.parametrize(
    "change",
    [
        lambda args: args.__setitem__("x", 1),
        lambda args: args.__delitem__("a"),
        lambda args: args.__ior__({"x": 1}),
        lambda args: args.clear(),
        lambda args: args.pop("a"),
        lambda args: args.popitem(),
        lambda args: args.setdefault("x", 1),
        lambda args: args.update(x=1),
        lambda args: args["a"].update(x=1),
        lambda args: args["a"]["b"].__setitem__(0, 2),
        lambda args: args["a"]["b"].__delitem__(0),
        lambda args: args["a"]["b"].__iadd__([2]),
        lambda args: args["a"]["b"].__imul__(2),
        lambda args: args["a"]["b"].append(2),
        lambda args: args["a"]["b"].clear(),
        lambda args: args["a"]["b"].extend([2]),
        lambda args: args["a"]["b"].insert(0, 2),
        lambda args: args["a"]["b"].pop(),
        lambda args: args["a"]["b"].remove(1),
        lambda args: args["a"]["b"].reverse(),
        lambda args: args["a"]["b"].sort(),
        lambda args: args["a"]["b"][1].clear(),
        lambda args: args["t"].append(3),
    ],
)
def test_a_change_in_place_is_refused(args: Any, change: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match="a record is immutable"):
        change(args)
    assert args == PLAIN


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_a_copy_is_plain_and_can_be_changed(args: Any, make: Callable[[Any], Any]) -> None:
    for value in (args, args["a"]["b"]):
        copied = make(value)
        assert copied == value
        assert type(copied) in {dict, list}
    copied = copy.deepcopy(args)
    copied["a"]["b"][1]["c"] = 3
    assert args == PLAIN


def test_it_is_a_dict_and_a_list_to_all_who_ask(args: Any) -> None:
    assert json.loads(json.dumps(args)) == PLAIN
    assert isinstance(args, dict)
    assert isinstance(args["t"], list)
    assert {**args, "x": 1}["x"] == 1


def test_it_stays_frozen_through_pickling(args: Any) -> None:
    loaded = pickle.loads(pickle.dumps(args))
    assert loaded == PLAIN
    assert type(loaded) is type(args)
    assert type(loaded["a"]["b"]) is type(args["a"]["b"])


def test_what_holds_itself_can_be_given_and_not_saved() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert isinstance(TrajectoryStepRecord("bash", endless).tool_args, list)


def test_a_record_is_its_own_copy() -> None:
    step = TrajectoryStepRecord("bash", VALUE)
    assert copy.copy(step) is step
    assert copy.deepcopy([step])[0] is step
