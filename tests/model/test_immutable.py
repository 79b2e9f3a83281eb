"""Free-form values of records: copies that refuse to be changed."""

from __future__ import annotations

import copy
import json
import pickle
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import attrs
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


def test_a_record_copies_its_free_form_values() -> None:
    value: dict[str, Any] = OrderedDict(a=[1])
    step = TrajectoryStepRecord("bash", value, extra={"more": value})
    value["a"].append(2)
    assert step.tool_args == {"a": [1]}
    assert step.extra == {"more": {"a": [1]}}
    assert UserMessage("x", extra={"k": [1]}).extra == {"k": [1]}


def test_saving_rejects_a_self_referencing_value(tmp_path: Path) -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless["b"] = [endless]  # the number of paths doubles at each level
    with attrs.validators.disabled():
        session = Session("user", "s", trajectory_steps=[TrajectoryStepRecord("bash", endless)])
    with pytest.raises(UnsupportedValueError, match="nested deeper than 127 levels"):
        StateStore(tmp_path).save_session(session)


@pytest.mark.parametrize("scalar", [None, True, 1, 1.5, "text"])
def test_a_scalar_is_kept_as_it_is(scalar: object) -> None:
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


def test_frozen_values_are_dicts_and_lists(args: Any) -> None:
    assert json.loads(json.dumps(args)) == PLAIN
    assert isinstance(args, dict)
    assert isinstance(args["t"], list)
    assert {**args, "x": 1}["x"] == 1


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_value_is_plain(args: Any, protocol: int) -> None:
    unpickled = pickle.loads(pickle.dumps(args, protocol))
    assert unpickled == PLAIN
    assert {type(unpickled), type(unpickled["a"])} == {dict}
    assert {type(unpickled["t"]), type(unpickled["a"]["b"])} == {list}


def test_a_self_referencing_value_is_not_frozen() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with attrs.validators.disabled():
        assert isinstance(TrajectoryStepRecord("bash", endless).tool_args, list)
    with pytest.raises(UnsupportedValueError, match=r"not recorded, .* nested deeper than 127 levels"):
        TrajectoryStepRecord("bash", endless)


def test_a_record_is_its_own_copy() -> None:
    step = TrajectoryStepRecord("bash", VALUE)
    assert copy.copy(step) is step
    assert copy.deepcopy([step])[0] is step
