"""The package as a whole: its public names, its layout and its imports."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import oxios_state

PACKAGE = Path(oxios_state.__file__).parent
ALLOWED = {  # the parts of the package that each part may import, besides itself
    "errors": "",
    "model": "errors",
    "storage": "errors model",
    "codec": "errors model",
    "maintenance": "errors model storage codec",
    "documents": "errors model storage codec maintenance",
    "sessions": "errors model storage codec maintenance documents",
    "store": "errors model storage codec maintenance documents sessions",
    "__init__": "errors model storage codec maintenance documents sessions store",
    "rendering": "errors model storage codec maintenance documents sessions store __init__",
    "cli": "errors model storage codec maintenance documents sessions store __init__ rendering",
    "__main__": "cli",
}


def _public_callables() -> list[tuple[str, object]]:
    callables: list[tuple[str, object]] = []
    for name in oxios_state.__all__:
        thing = getattr(oxios_state, name)
        if inspect.isclass(thing):
            callables.append((name, thing))
            callables += [
                (f"{name}.{attribute}", value)
                for cls in thing.__mro__
                if cls.__module__.startswith("oxios_state")
                for attribute, value in vars(cls).items()
                if not attribute.startswith("_") and (callable(value) or isinstance(value, property | classmethod))
            ]
    return callables


def test_every_exported_name_exists_and_they_are_sorted() -> None:
    assert all(hasattr(oxios_state, name) for name in oxios_state.__all__)
    assert oxios_state.__all__ == sorted(oxios_state.__all__)
    assert re.fullmatch(r"\d+\.\d+\.\d+", oxios_state.__version__)


@pytest.mark.parametrize(
    ("name", "thing"), _public_callables(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_everything_public_has_a_docstring(name: str, thing: object) -> None:
    assert inspect.getdoc(thing), name


def test_methods_that_save_document_their_errors() -> None:
    for name in ("save_json", "save_markdown", "save_session", "update_session", "edit_session", "prune", "lock"):
        assert "Raises:" in (inspect.getdoc(getattr(oxios_state.StateStore, name)) or "")


# The layout, read from the code.


def _modules() -> dict[str, ast.Module]:
    paths = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    return {
        f"oxios_state.{name}".removesuffix(".__init__"): ast.parse(path.read_text(encoding="utf-8"))
        for name, path in sorted(paths.items())
    }


def _imported_by(node: ast.AST, modules: dict[str, ast.Module]) -> set[str]:
    """Return the names of the modules that a node of the code imports, by a statement or by name."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        submodules = {f"{node.module}.{alias.name}" for alias in node.names} & modules.keys()
        return submodules or {str(node.module)}
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        return {ast.literal_eval(node.args[0])} if isinstance(node.args[0], ast.Constant) else set()
    return set()


def _imports() -> dict[str, set[str]]:
    """Return the package's modules that each of its modules imports: late and type-only imports are counted, too.

    The seam `model/display.py` composes the name of the module that it imports, and so is not seen.
    """
    modules = _modules()
    return {
        name: {
            imported
            for node in ast.walk(tree)
            for imported in _imported_by(node, modules)
            if imported.partition(".")[0] == "oxios_state"
        }
        for name, tree in modules.items()
    }


def _part_of(module: str) -> str:
    return [*module.split("."), "__init__"][1]


def test_imports_go_one_way() -> None:
    wrong = {
        f"{module} imports {imported}"
        for module, all_imported in _imports().items()
        for imported in all_imported
        if _part_of(imported) not in {_part_of(module), *ALLOWED[_part_of(module)].split()}
    }
    assert wrong == set()


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert _circle(_imports()) == []


def _circle(imports: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _late_imports() -> Iterator[str]:
    modules = _modules()
    for name, tree in modules.items():
        functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        lines = {
            (node.lineno, " ".join(imported))
            for function in functions
            for node in ast.walk(function)
            if isinstance(node, ast.stmt | ast.expr) and (imported := _imported_by(node, modules))
        }
        yield from (f"{name}, line {line}: {imported}" for line, imported in sorted(lines))


def test_at_most_ten_imports_are_late() -> None:
    late = list(_late_imports())
    assert len(late) <= 10, "\n".join(late)


def test_the_package_folder_is_easy_to_survey() -> None:
    names = sorted(path.name for path in PACKAGE.iterdir() if path.name != "__pycache__")
    assert len(names) <= 16, names


@pytest.mark.parametrize("folder", [path for path in PACKAGE.iterdir() if any(path.glob("*.py"))], ids=str)
def test_the_init_of_a_folder_is_its_docstring_only(folder: Path) -> None:
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    assert len(tree.body) == 1
    assert ast.get_docstring(tree)


# Importing.


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_imports_only_its_dependencies() -> None:
    imported = _modules_after("import oxios_state; oxios_state.converter") - _modules_after("pass")
    packages = {module.partition(".")[0] for module in imported} - set(sys.stdlib_module_names)
    dependencies = {"attr", "attrs", "cattrs", "filelock", "dateutil", "orjson", "six", "typing_extensions"}
    assert {package for package in packages if not package.startswith("_")} <= {"oxios_state", *dependencies}


def test_importing_the_package_imports_no_costly_dependency_and_no_rendering() -> None:
    modules = _modules_after("from oxios_state import AgentResponse, PruneConfig, Session, StateStore")
    assert "oxios_state.store" in modules
    assert modules & {"cattrs", "filelock", "dateutil", "oxios_state.rendering"} == set()


def test_the_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'oxios_state' has no attribute 'nonsense'"):
        getattr(oxios_state, "nonsense")  # noqa: B009  # a name that a type checker need not know
