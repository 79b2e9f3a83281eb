"""The package as a whole: what it exports and documents, how it is laid out, and what it imports."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import oxios_state

PACKAGE = Path(oxios_state.__file__).parent
FLOORS = [
    {"errors", "forking"},
    {"timestamps", "progress", "dataframes"},
    {
        "frozen",
        "revisions",
        "validators",
        "records",
        "model",
        "turns",
        "steps",
        "quotation",
        "transcript",
        "sequences",
        "pruning",
        "finding",
        "locks",
        "mounts",
        "moments",
        "names",
        "jsonvalues",
        "jsontext",
        "conversion",
    },
    {"columns", "codec", "files", "reading"},
    {"sessiontext", "staging", "spelling"},
    {"recent", "summarycache", "summaries", "quarantine", "removal", "replacing"},
    {"checking", "searching", "otherprocess", "scratch", "probing"},
    {"documents", "sessions", "store"},
    {"legible", "markup", "stylesheet", "timeline", "overview", "notebook", "terminal"},
]
FACES = ["streams", "commands", "cli", "__main__"]  # the command line, each importing from those before it
SHOWING = {"__repr__", "__str__", "_repr_html_"}  # what imports the last floor, late


def _public_callables() -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name in oxios_state.__all__:
        thing = getattr(oxios_state, name)
        if inspect.isclass(thing):
            found.append((name, thing))
            found += [
                (f"{name}.{attribute}", value)
                for cls in thing.__mro__
                if cls.__module__.startswith("oxios_state")
                for attribute, value in vars(cls).items()
                if not attribute.startswith("_") and (callable(value) or isinstance(value, property | classmethod))
            ]
    return found


def test_everything_exported_is_there_and_sorted() -> None:
    assert all(hasattr(oxios_state, name) for name in oxios_state.__all__)
    assert oxios_state.__all__ == sorted(oxios_state.__all__)
    assert re.fullmatch(r"\d+\.\d+\.\d+", oxios_state.__version__)


@pytest.mark.parametrize(
    ("name", "thing"), _public_callables(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_everything_public_is_documented(name: str, thing: object) -> None:
    assert inspect.getdoc(thing), name


def test_a_method_that_saves_says_what_it_raises() -> None:
    for name in ("save_json", "save_markdown", "save_session", "update_session", "edit_session", "prune", "lock"):
        assert "Raises:" in (inspect.getdoc(getattr(oxios_state.StateStore, name)) or "")


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_a_module_is_short_and_imports_from_its_floor_or_below(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 330
    if path.stem in {"__init__", *FACES}:
        return
    floor = next(i for i, floor in enumerate(FLOORS) if path.stem in floor)
    tree = ast.parse(text)
    showing = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in SHOWING]
    late = {node for function in showing for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("oxios_state"):
            module = (node.module or "").removeprefix("oxios_state").removeprefix(".")
            for imported in [module] if module else [alias.name for alias in node.names]:
                floors = FLOORS[-1:] if node in late else FLOORS[: floor + 1]
                assert any(imported in floor for floor in floors), f"{path.stem} imports {imported}"


@pytest.mark.parametrize("face", FACES)
def test_a_face_uses_the_public_api_alone(face: str) -> None:
    below = ["quotation", *FACES[: FACES.index(face)]]  # how text is made visible is one thing everywhere
    for node in ast.walk(ast.parse((PACKAGE / f"{face}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("oxios_state"):
            module = (node.module or "").removeprefix("oxios_state").removeprefix(".")
            assert module in below if module else {alias.name for alias in node.names} <= set(oxios_state.__all__)


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {module.partition(".")[0] for module in done.stdout.split()}


def test_the_package_imports_nothing_but_its_dependencies() -> None:
    imported = _modules_after("import oxios_state") - _modules_after("pass") - set(sys.stdlib_module_names)
    dependencies = {"attr", "attrs", "cattrs", "filelock", "dateutil", "typing_extensions"}
    assert {module for module in imported if not module.startswith("_")} <= {"oxios_state", *dependencies}


def test_showing_is_not_imported_before_something_is_shown() -> None:
    code = "import sys, oxios_state; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {f"oxios_state.{face}" for face in FLOORS[-1]} & set(done.stdout.split())


def test_type_checkers_are_told_that_the_package_has_types() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_what_is_not_exported_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'oxios_state' has no attribute 'nonsense'"):
        getattr(oxios_state, "nonsense")  # noqa: B009  # a name that a type checker need not know
