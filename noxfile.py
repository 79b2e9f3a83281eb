"""What is checked, and how: `nox` runs what is checked each time; `nox -l` lists the rest, which takes longer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
COVERAGE_FILE = Path(".nox/.coverage").absolute()

nox.needs_version = ">=2025.2.9"
nox.options.error_on_missing_interpreters = False  # not even in CI, where nox would: it says which it skips


def _let_pyenv_show_all() -> None:
    """Have pyenv's shims find each supported Python that it holds, not just the one that is selected."""
    if shutil.which("pyenv") is None:
        return
    held = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=True).stdout.split()
    current = subprocess.run(["pyenv", "version-name"], capture_output=True, text=True, check=True).stdout.strip()
    found = [version for minor in PYTHONS for version in held if re.fullmatch(rf"{re.escape(minor)}\.\d+", version)]
    os.environ["PYENV_VERSION"] = ":".join([current, *found])


_let_pyenv_show_all()
NEWEST = next((minor for minor in reversed(PYTHONS) if shutil.which(f"python{minor}")), PYTHONS[-1])  # that is here


def _group(name: str) -> list[str]:
    return list(nox.project.dependency_groups(PROJECT, name))


def _run_tests(session: nox.Session) -> None:
    # Without the safe path, `-m` would put the checkout before the installed wheel.
    env = {"COVERAGE_FILE": str(COVERAGE_FILE), "PYTHONSAFEPATH": "1"}
    session.run("coverage", "run", "-m", "pytest", "-n", "auto", *session.posargs, env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*_group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly, and what a user's type checker sees of the public API."""
    session.install(".", *_group("types"))
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Test the wheel with orjson, on each supported Python."""
    session.install(".[fast]", *_group("tests"))
    _run_tests(session)


@nox.session(python=NEWEST)
def tests_plain(session: nox.Session) -> None:
    """Test the wheel without the optional extra."""
    session.install(".", *_group("tests"))
    _run_tests(session)


@nox.session(python=PYTHONS[0])
def tests_lowest(session: nox.Session) -> None:
    """Test the wheel with the lowest releases that it says it takes."""
    required = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["fast"]]
    session.install(".", *(requirement.replace(">=", "==") for requirement in required), *_group("tests"))
    _run_tests(session)


@nox.session
def coverage(session: nox.Session) -> None:
    """Demand that the tests that ran before, together, reach every line and branch."""
    session.install(*_group("tests"))
    env = {"COVERAGE_FILE": str(COVERAGE_FILE)}
    session.run("coverage", "combine", env=env)
    session.run("coverage", "report", env=env)


REMOTE = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//"""
    r"""|<link\b[^>]*\bhref=["']?(?:https?:)?//|url\(["']?(?:https?:)?//|@import\b"""
)


@nox.session
def docs(session: nox.Session) -> None:
    """Run the main job as the README does, and build the documentation: a warning is an error."""
    session.install(".", *_group("docs"))
    session.run("python", "docs/quickstart.py")
    own = shutil.copytree("docs/sample_state", session.create_tmp() + "/state", dirs_exist_ok=True)
    session.run("python", "docs/quickstart.py", str(own))
    built = Path(session.create_tmp(), "html")
    shutil.rmtree(built, ignore_errors=True)
    options = ["-q", "-E", "-W", "--keep-going", "-d", f"{built}.doctrees"]
    session.run("python", "-m", "sphinx", *options, "docs", str(built), env={"IPYTHONDIR": session.create_tmp()})
    for path in [*built.rglob("*.html"), *built.rglob("*.css")]:
        if found := REMOTE.search(path.read_text(encoding="utf-8")):
            session.error(f"{path} would load something from elsewhere: {found[0]}")
    session.log(f"open {built}/index.html")


TORTURES = {
    "powercut": "--short",
    "faults": "--short",
    "kill": "--seconds=8",
    "hostile": "--short",
    "crowds": "--seconds=1",
}


@nox.session
def torture_short(session: nox.Session) -> None:
    """Run the short form of each torture: some seconds each."""
    session.install(".[fast]")
    for name, option in TORTURES.items():
        session.run("python", f"tests/torture/{name}.py", option)


@nox.session(default=False)
def torture(session: nox.Session) -> None:
    """Run each torture in full: minutes. Power cuts also of the stores that users would pick instead."""
    session.install(".[fast]", *_group("peers"))
    for name in TORTURES:
        session.run("python", f"tests/torture/{name}.py", *(["--peers"] if name == "powercut" else []))


@nox.session(default=False)
def powercut(session: nox.Session) -> None:
    """Cut the power of a guest that saves: three minutes. `nox -s powercut -- --cuts 50` takes half an hour."""
    if why := session.run("python", "tests/guest/machine.py", silent=True):
        session.skip(str(why))
    session.run("python", "tests/guest/powercuts.py", *session.posargs)


@nox.session(default=False)
def network(session: nox.Session) -> None:
    """Have two NFS clients edit the same sessions in a guest: three minutes; `-- --transactions 10000`: an hour."""
    if why := session.run("python", "tests/guest/machine.py", silent=True):
        session.skip(str(why).strip())
    session.run("python", "tests/guest/network.py", *session.posargs)


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Put small faults into the code and see that the tests find them: an hour or more. `-- names`: in one module."""
    required = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["fast"]]
    session.install(*required, *_group("mutation"))  # not the package: what is tested is a copy with faults
    session.run("python", "tests/mutation/mutate.py", *session.posargs)


@nox.session(default=False)
def file_systems(session: nox.Session) -> None:
    """Probe real file systems in a guest, and try on vfat the names that it takes for one: a minute."""
    if why := session.run("python", "tests/guest/machine.py", silent=True):
        session.skip(str(why).strip())
    session.run("python", "tests/guest/file_systems.py")


PLOT = "docs/explanation/performance.svg"


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure: ratios of things done in turn in one run, and a plot. `nox -s bench -- --quick` takes two minutes."""
    session.install(".[fast]", *_group("bench"))
    session.run("python", "tests/benchmarks/import_cost.py")
    session.run("python", "tests/benchmarks/syncing.py")
    session.run("python", "tests/benchmarks/bench.py", *(session.posargs or ["--plot", PLOT]))


INTERPRETERS = Path(".nox/interpreters").absolute()  # what tests/interpreters/build.py built
STRICT = {"PYTHONWARNINGS": "error", "PYTHONSAFEPATH": "1"}  # in the processes that the tests start, too


def _interpreters() -> list[Any]:
    here = {f"3.{minor}": f"3.{minor}" for minor in range(11, 30) if shutil.which(f"python3.{minor}")}
    built = {path.parts[-3]: str(path) for path in sorted(INTERPRETERS.glob("*/bin/python3"))}
    return [nox.param(python, id=name) for name, python in (here | built).items() if not name.endswith("t")]


@nox.session(default=False)
@nox.parametrize("python", _interpreters())
def interpreters(session: nox.Session) -> None:
    """Test the wheel on each CPython that is here, from 3.11 on and whatever was built; any warning is an error."""
    session.install(".[fast]", *_group("tests"))
    session.run("python", "-VV")
    session.run("python", "-W", "error", "-m", "pytest", *session.posargs, env=STRICT)


@nox.session(default=False, python=False)
def freethreaded(session: nox.Session) -> None:
    """Tortures of threads, and the tests, without the GIL: `nox -s freethreaded -- 3.14t`, built if need be."""
    release = (session.posargs or ["3.14t"])[0]
    python = shutil.which(f"python{release}") or ""
    if not python:
        build = [sys.executable, "tests/interpreters/build.py", release]
        built = subprocess.run(build, stdout=subprocess.PIPE, text=True, check=False)
        python = built.stdout.strip()
        if built.returncode:
            session.skip(python)
    environment = session.create_tmp()
    session.run(python, "-m", "venv", "--clear", environment)
    python = f"{environment}/bin/python"
    # orjson needs the GIL, and polars has no build without it: the tests of both are skipped.
    needed = [requirement for requirement in _group("tests") if not requirement.startswith("polars")]
    session.run(python, "-m", "pip", "install", "-q", ".", *needed)
    session.run(python, "-VV")
    for name in ("crowds", "mixture", "kill"):
        session.run(python, f"tests/torture/{name}.py", env={"PYTHONWARNINGS": "error"})
    session.run(python, "-W", "error", "-m", "pytest", env=STRICT)
