"""The documentation: its examples run, it names everything public, and its links lead somewhere."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import pkgutil
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import oxios_state

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"
PACKAGE = Path(oxios_state.__file__).parent
EXAMPLES = DOCS / "examples"
PAGES = [
    PROJECT / "README.md",
    *sorted(path for path in DOCS.rglob("*.md") if not path.is_relative_to(DOCS / "sample_state")),
]
MODULES = {module.name for module in pkgutil.walk_packages(oxios_state.__path__, "oxios_state.")}
MODULES -= {"oxios_state.__main__"}  # which runs when it is imported
END = "-- the end of what a command printed --"
FENCE = re.compile(r"^(`{3,})(\S*)[^\n]*\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


def _name(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def _blocks(path: Path, language: str) -> list[str]:
    return [block for _, found, block in FENCE.findall(path.read_text(encoding="utf-8")) if found == language]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if paths := os.environ.get("PYTHONPATH"):
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(os.path.abspath, paths.split(os.pathsep))))
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # other tests cover the library, in half of the time
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_the_examples_of_a_page_run(path: Path, home: Path) -> None:
    unfenced = FENCE.sub("\n\\3\n", path.read_text(encoding="utf-8"))  # as an output ends at a blank line
    test = doctest.DocTestParser().get_doctest(unfenced, {"__name__": "__main__"}, _name(path), str(path), 0)
    assert doctest.DocTestRunner().run(test).failed == 0
    if path.name == "README.md":
        assert len(test.examples) > 10


@pytest.mark.parametrize("module", sorted(MODULES))
def test_the_examples_of_docstrings_run(module: str, home: Path) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_a_page_has_no_code_that_is_not_run(path: Path) -> None:
    fences = {language for _, language, _ in FENCE.findall(path.read_text(encoding="utf-8"))}
    run = {"pycon", "console", "{code-cell}", "{literalinclude}"}
    assert fences <= run | {"text", "{toctree}", "{eval-rst}", "{include}"}


@pytest.mark.parametrize("path", [path for path in PAGES if _blocks(path, "{code-cell}")], ids=_name)
def test_the_cells_of_a_notebook_run_and_show_what_they_give(
    path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in _blocks(path, "{code-cell}"):
        *statements, last = ast.parse(cell).body
        if not isinstance(last, ast.Expr):
            statements.append(last)
        exec(compile(ast.Module(statements, []), path.name, "exec", dont_inherit=True), names)
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), path.name, "eval", dont_inherit=True), names)
            assert getattr(shown, "_repr_html_", shown.__repr__)()


@pytest.mark.skipif(os.name == "nt", reason="the commands are those of a POSIX shell")
@pytest.mark.parametrize("path", [path for path in PAGES if _blocks(path, "console")], ids=_name)
def test_the_commands_of_a_page_print_what_it_says(path: Path, home: Path) -> None:
    (home / "docs").mkdir()
    for needed in (EXAMPLES, DOCS / "sample_state"):
        shutil.copytree(needed, home / "docs" / needed.name)
    programs = home / "bin"
    programs.mkdir()
    for name, options in {"python": "", "oxios-state": "-m oxios_state"}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {options} "$@"\n')
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    said = re.findall(r"^\$ ([^\n]*)\n((?:(?!\$ )[^\n]*\n)*)", "".join(_blocks(path, "console")), re.MULTILINE)
    done = subprocess.run(
        ["bash"],
        input="".join(f"{command}\necho {END}\n" for command, _ in said),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    printed = done.stdout.split(f"{END}\n")[:-1]
    assert list(zip((command for command, _ in said), printed, strict=True)) == said


def test_the_tests_that_the_documentation_shows_pass(home: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_an_example_is_shown_on_some_page() -> None:
    shown = {
        (path.parent / name).resolve()
        for path in PAGES
        for name in re.findall(r"^```\{literalinclude\} (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert shown == set(EXAMPLES.glob("*.py"))


def test_the_reference_names_everything_public_and_nothing_else() -> None:
    reference = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    directives = r"^\.\. auto(?:class|exception|data|function):: oxios_state\.(\w+)(?:\(\))?$"
    named = re.findall(directives, reference, re.MULTILINE)
    assert sorted(named) == oxios_state.__all__


def test_the_reference_of_the_store_names_each_of_its_methods_once() -> None:
    named = re.findall(r"^\.\. auto\w+:: StateStore\.(\w+)$", (DOCS / "reference/store.md").read_text(), re.MULTILINE)
    assert sorted(named) == [name for name in dir(oxios_state.StateStore) if not name.startswith("_")]


def test_the_table_of_the_store_lists_the_methods_of_each_section() -> None:
    table, *sections = re.split(r"^## (\w+)$", (DOCS / "reference/store.md").read_text(), flags=re.MULTILINE)
    group = ""
    listed: dict[str, list[str]] = {}
    row = r"^\|(?: \[(\w+)\]\(#\w+\))? \| \[`(\w+)`\]\(#oxios_state\.StateStore\.(\w+)\) \| \w[^|]+ \|$"
    for heading, name, target in re.findall(row, table, re.MULTILINE):
        group = heading or group
        listed.setdefault(group, []).append(name)
        assert name == target
    described = {
        heading: re.findall(r"^\.\. auto\w+:: StateStore\.(\w+)$", section, re.MULTILINE)
        for heading, section in zip(sections[::2], sections[1::2], strict=True)
    }
    assert listed == described
    names = sorted(name for group in listed.values() for name in group)
    assert names == [name for name in dir(oxios_state.StateStore) if not name.startswith("_")]


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_a_link_within_the_project_leads_to_a_file(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


NAMED = re.compile(r"\btests/[\w./*-]*\w(?:::(\w+))?")


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_a_test_that_a_page_names_is_there(path: Path) -> None:
    for found in NAMED.finditer(path.read_text(encoding="utf-8")):
        named, _, test = found[0].partition("::")
        assert list(PROJECT.glob(named)), named
        if test:
            assert f"\ndef {test}(" in (PROJECT / named).read_text(encoding="utf-8"), found[0]


def test_each_promise_has_a_test_and_each_test_a_promise() -> None:
    page = (DOCS / "explanation/promises.md").read_text(encoding="utf-8")
    _, _, rest = page.partition("\n## What the library promises\n")
    groups = rest.partition("\n## ")[0].split("\n### ")[1:]
    promises: list[int] = []
    named: set[str] = set()
    for group in groups:
        text, opening, folded = group.partition("\n<details>\n")
        assert opening, f"tests are not folded away: {group.splitlines()[0]}"
        numbers = [int(number) for number in re.findall(r"^(\d+)\. \S", text, re.MULTILINE)]
        rows = re.findall(r"^\| (\d+) \| (.*) \|$", folded.partition("\n</details>\n")[0], re.MULTILINE)
        assert [int(number) for number, _ in rows] == numbers
        promises += numbers
        for number, tests in rows:
            assert NAMED.search(tests), f"no test holds promise {number}"
            assert not re.search(r"tests/[\w/]*test_\w+\.py(?!::test_)", tests), f"name the test of promise {number}"
            named |= {test.split("::")[0] for test in re.findall(r"tests/[\w/.:]+", tests)}
    assert len(promises) > 50
    assert promises == list(range(1, len(promises) + 1))
    test_files = {_name(path) for path in (PROJECT / "tests").rglob("test_*.py")}
    assert test_files - named == set()


def test_the_map_of_the_architecture_names_every_module() -> None:
    page = (DOCS / "explanation/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\|", page, re.MULTILINE)
    listed = {folder: set(re.findall(r"`(\w+)`", modules)) for folder, modules in rows}
    modules: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        if not path.stem.startswith("__"):
            folder, *module = path.relative_to(PACKAGE).with_suffix("").parts
            modules.setdefault(folder, set()).update(module)
    assert listed == modules


def test_a_function_that_the_architecture_names_exists() -> None:
    page = (DOCS / "explanation/architecture.md").read_text(encoding="utf-8")
    folders = "|".join(path.stem for path in PACKAGE.iterdir() if not path.stem.startswith("_"))
    names = set(re.findall(rf"`((?:{folders})(?:\.\w+)+)`", page))
    assert len(names) > 25
    for name in names:
        assert pkgutil.resolve_name(f"oxios_state.{name}"), name


def test_each_fault_of_the_track_record_can_be_put_back_and_has_a_test() -> None:
    again = runpy.run_path(str(PROJECT / "tests/torture/again.py"))
    page = (DOCS / "explanation/track-record.md").read_text(encoding="utf-8").partition("## Tests that held nothing")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)) == sorted(again["FAULTS"])
    wrong = []
    for name, fault in again["FAULTS"].items():
        try:
            ast.parse(again["source_with"](fault))
        except (ValueError, SyntaxError) as error:
            wrong.append(f"{name}: {error}")
        module, _, test = fault.test.partition("::")
        if f"\ndef {test}(" not in (PROJECT / "tests" / module).read_text(encoding="utf-8"):
            wrong.append(f"{name}: there is no {fault.test}")
    assert not wrong, "\n".join(wrong)


def test_each_fault_that_a_power_cut_reveals_can_be_put_in() -> None:
    mutants = runpy.run_path(str(PROJECT / "tests/torture/powercut_mutants.py"))
    for name in mutants["MUTANTS"]:
        ast.parse(mutants["source_with"](name, PACKAGE))


@pytest.mark.skipif(not (PROJECT / ".git").exists() or (PROJECT / ".git/shallow").exists(), reason="has no history")
def test_a_commit_that_the_track_record_names_is_in_the_history() -> None:
    history = subprocess.run(["git", "rev-list", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=True)
    page = (DOCS / "explanation/track-record.md").read_text(encoding="utf-8")
    named = re.findall(r"\b(?=\d*[a-f])[0-9a-f]{7}\b", page)
    assert len(named) > 50
    assert set(named) - {commit[:7] for commit in history.stdout.split()} == set()


def test_the_readme_has_the_two_commands_and_ci_runs_the_second() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    tests = "python3 -m venv .venv && .venv/bin/pip install nox && .venv/bin/nox"
    assert f"    {tests}  " in readme
    assert "    python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/python docs/quickstart.py  " in readme
    assert (PROJECT / ".ci/run").read_text(encoding="utf-8").splitlines()[-1] == tests


def test_the_contributing_guide_names_each_session() -> None:
    noxfile = ast.parse((PROJECT / "noxfile.py").read_text(encoding="utf-8"))
    sessions = [node.name for node in noxfile.body if isinstance(node, ast.FunctionDef) and node.decorator_list]
    guide = (DOCS / "contributing.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE)) == sorted(sessions)


@pytest.mark.parametrize("own", [False, True])
def test_the_quickstart_does_the_main_job(tmp_path: Path, *, own: bool) -> None:
    arguments = [str(tmp_path / "state")] if own else []
    done = subprocess.run(
        [sys.executable, DOCS / "quickstart.py", *arguments], capture_output=True, text=True, check=True
    )
    assert "There are 3." in done.stdout
    assert "unchanged:     True" in done.stdout
    assert ("would move 0 sessions" if own else "moved 3 sessions") in done.stdout
