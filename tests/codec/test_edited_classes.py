"""Classes that change while the program runs, or fail themselves: not the file's fault."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
import pytest

from oxios_state import CorruptStateError, StateStore, converter
from oxios_state.codec import documents as codec

PATH = Path("notes/a.json")
T = TypeVar("T")


def autoreload(old: type, new: type) -> None:
    """Edit a class in place, as IPython's `update_class` does after the file of the class was edited."""
    for name in list(vars(old)):
        if name in {"__dict__", "__weakref__"}:
            continue
        try:
            if not hasattr(new, name):
                delattr(old, name)
            elif getattr(old, name) != getattr(new, name):
                setattr(old, name, vars(new).get(name, getattr(new, name)))
        except (AttributeError, TypeError):
            pass
    for name in list(vars(new)):
        if name not in vars(old):
            setattr(old, name, vars(new)[name])


def attrs_classes() -> tuple[type, type]:
    @attrs.define(slots=False)
    class Note:
        text: str

    former = Note

    @attrs.define(slots=False)
    class Note:  # type: ignore[no-redef]
        title: str
        pages: int = 0

    return former, Note


def dataclasses_() -> tuple[type, type]:
    @dataclasses.dataclass
    class Note:
        text: str

    former = Note

    @dataclasses.dataclass
    class Note:  # type: ignore[no-redef]
        title: str
        pages: int = 0

    return former, Note


@pytest.mark.parametrize("classes", [attrs_classes, dataclasses_])
def test_a_class_that_is_edited_in_place_is_read_and_written_with_its_new_fields(classes: Any) -> None:
    note, edited = classes()
    assert codec.decode_json(b'{"text": "a"}', note, PATH) == note("a")
    assert converter.unstructure([note("a")]) == [{"text": "a"}]
    autoreload(note, edited)
    assert codec.decode_json(b'{"title": "a", "pages": 2}', note, PATH).pages == 2
    assert codec.decode_json(b'[{"title": "a"}]', list.__class_getitem__(note), PATH)[0].title == "a"
    assert converter.unstructure([note("a", 2)]) == [{"title": "a", "pages": 2}]
    with pytest.raises(CorruptStateError, match=r"\$\.title: the key is missing"):
        codec.decode_json(b'{"text": "a"}', note, PATH)


def test_a_class_whose_slots_no_longer_fit_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    @attrs.define
    class Note:
        text: str

    former = Note

    @attrs.define
    class Note:  # type: ignore[no-redef]
        text: str
        pages: int = 0

    store = StateStore(tmp_path, durable=False)
    store.save_json("notes", "a", {"text": "a"})
    assert store.load_json("notes", "a", former) == former("a")
    autoreload(former, Note)
    with pytest.raises(TypeError, match=r"the class .*Note was edited while the program runs.*Not read: .*a\.json"):
        store.load_json("notes", "a", former)
    store.save_json("notes", "a", [{"text": "a"}])
    with pytest.raises(TypeError, match="was edited while the program runs"):
        store.load_json("notes", "a", list.__class_getitem__(former))
    store.save_json("notes", "a", {"text": 1})
    with pytest.raises(CorruptStateError, match=r"\$\.text: expected a string"):
        store.load_json("notes", "a", Note)


def test_an_error_of_a_class_that_says_nothing_of_a_value_passes_with_the_type_and_the_file() -> None:
    @attrs.define
    class Note:
        text: str

        def __attrs_post_init__(self) -> None:
            self.text = self.txt  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="txt") as caught:
        codec.decode_json(b'{"text": "a"}', Note, PATH)
    assert caught.value.__notes__ == [f"raised while {PATH} was read as {Note}"]
    with pytest.raises(AttributeError, match="txt"):
        codec.decode_json(b'[{"text": 1}, {"text": "a"}]', list[Note], PATH)


def test_a_type_error_that_a_class_raises_names_the_class() -> None:
    @attrs.define
    class Note:
        text: str

        def __attrs_post_init__(self) -> None:
            len(3)  # type: ignore[arg-type]

    with pytest.raises(CorruptStateError, match=r"\$: .*Note: object of type 'int' has no len\(\)"):
        codec.decode_json(b'{"text": "a"}', Note, PATH)


def test_a_generic_class_is_read_and_written() -> None:
    @attrs.define
    class Box(Generic[T]):
        item: T

    box = codec.decode_json(b'{"item": 1}', Box[int], PATH)
    assert box == Box(1)
    assert converter.unstructure(box) == {"item": 1}
    assert converter.unstructure(box, Box[int]) == {"item": 1}


def test_a_type_error_that_a_generic_class_raises_names_the_class() -> None:
    @attrs.define
    class Box(Generic[T]):
        item: T = attrs.field(validator=attrs.validators.instance_of(str))  # type: ignore[assignment]

    with pytest.raises(CorruptStateError, match=r"\$: .*Box: .*'item' must be <class 'str'>"):
        codec.decode_json(b'{"item": 1}', Box[int], PATH)
