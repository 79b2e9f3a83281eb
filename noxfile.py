"""The checks. Plain `nox` runs the everyday ones, `nox -l` lists all; docs/contributing.md says when to run which."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
WHEEL: list[Path] = []  # filled by the first session that needs it
COVERAGE_FILE = Path(".nox/.coverage").absolute()
BROWSER = "tests/rendering/test_browser.py"  # needs Chromium, which is not on PyPI

nox.needs_version = ">=2025.10.14"
nox.options.reuse_venv = "yes"  # a second run installs only the new wheel; `nox --reuse-venv no` starts afresh
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False  # nox skips each one with a message, also in CI


def _let_pyenv_show_all() -> None:
    """Make pyenv's shims find every supported Python that pyenv has, not only the selected one."""
    if os.name == "nt" or shutil.which("pyenv") is None:
        return
    selected, installed = (
        subprocess.run(["pyenv", *command], capture_output=True, text=True, check=True).stdout.split()
        for command in (["version-name"], ["versions", "--bare"])
    )
    releases = re.compile(rf"({'|'.join(map(re.escape, PYTHONS))})\.\d+")  # not 3.14.0t, without the GIL
    supported = filter(releases.fullmatch, installed)
    os.environ["PYENV_VERSION"] = ":".join([*selected, *supported])


def _newest_python() -> str:
    """Return the newest supported Python on this machine: on the PATH, or the one that runs nox."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    here = [minor for minor in PYTHONS if minor == running or shutil.which(f"python{minor}")]
    return here[-1] if here else PYTHONS[-1]


_let_pyenv_show_all()
NEWEST = _newest_python()

EVERYDAY = ["lint", "types", "docs", "torture_short", f"tests-{NEWEST}", "coverage", "tests_plain"]
FULL = [
    *("lint", "types", "docs", "torture_short", "browser", "tests_lowest"),
    *(f"tests-{minor}" for minor in PYTHONS),
    *("coverage", "tests_plain"),
]
nox.options.sessions = EVERYDAY


def _group(name: str) -> list[str]:
    return list(nox.project.dependency_groups(PROJECT, name))


def _install(session: nox.Session, *packages: str) -> None:
    # pip would compile every module of pandas, polars and Sphinx one by one: two thirds of the installation's time.
    session.install("--no-compile", *packages)


def _install_wheel(session: nox.Session, extra: str, *packages: str) -> None:
    """Install the wheel with an extra, and *packages*. The first session that needs the wheel builds it."""
    if not WHEEL:
        directory = Path(session.virtualenv.location, "wheel").absolute()
        shutil.rmtree(directory, ignore_errors=True)
        session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(directory), ".", silent=True)
        WHEEL.extend(directory.glob("*.whl"))
    _install(session, f"{WHEEL[0]}{extra}", *packages)
    _install(session, "--force-reinstall", "--no-deps", str(WHEEL[0]))  # replaces that of an earlier run


def _run_tests(session: nox.Session, *program: str) -> None:
    # Without the safe path, `-m` would import the checkout instead of the installed wheel.
    env = {"COVERAGE_FILE": str(COVERAGE_FILE), "PYTHONSAFEPATH": "1"}
    options = ["-n", "auto", "--dist", "worksteal", f"--ignore={BROWSER}", *session.posargs]
    session.run(*(program or ["python"]), "-m", "pytest", *options, env=env)


@nox.session(default=False, python=False)
def dev(session: nox.Session) -> None:
    """Prepare .venv for work: the package in place, the tools and the commit hooks. A minute.

    Run it once in a clone, and again when the dependencies in pyproject.toml change.
    """
    python = Path(".venv", "Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        session.run(sys.executable, "-m", "venv", ".venv")
    session.run(str(python), "-m", "pip", "install", "--quiet", "--editable", ".[fast]", *_group("dev"))
    session.run(str(python), "-m", "pre_commit", "install")


@nox.session(python=NEWEST)
def lint(session: nox.Session) -> None:
    """Check style, format, and the workflow against its schema: five seconds."""
    _install(session, *_group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    workflows = [str(path) for path in sorted(Path(".github/workflows").glob("*.yml"))]
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)


@nox.session(python=NEWEST)
def types(session: nox.Session) -> None:
    """Check types strictly, and the public API as a user's type checker sees it: 15 seconds."""
    _install_wheel(session, "", *_group("types"))
    session.run("mypy")


REMOTE = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//"""
    r"""|<link\b[^>]*\bhref=["']?(?:https?:)?//|url\(["']?(?:https?:)?//|@import\b"""
)


@nox.session(python=NEWEST)
def docs(session: nox.Session) -> None:
    """Run the quickstart and build the documentation; a warning is an error: 20 seconds."""
    _install_wheel(session, "", *_group("docs"))
    session.run("python", "docs/quickstart.py")
    scratch = Path(session.create_tmp()).absolute()
    state = shutil.copytree("docs/sample_state", scratch / "state", dirs_exist_ok=True)
    session.run("python", "docs/quickstart.py", str(state))
    built = scratch / "html"
    shutil.rmtree(built, ignore_errors=True)
    options = ["-q", "-E", "-W", "--keep-going", "-d", f"{built}.doctrees"]
    session.run("python", "-m", "sphinx", *options, "docs", str(built), env={"IPYTHONDIR": str(scratch)})
    for path in [*built.rglob("*.html"), *built.rglob("*.css")]:
        if match := REMOTE.search(path.read_text(encoding="utf-8")):
            session.error(f"{path} would load something from elsewhere: {match[0]}")
    session.log(f"open {built}/index.html")


TORTURES = {  # the longest first, as they run side by side
    "crowds": "--seconds=0.5",
    "faults": "--short",
    "hostile": "--short",
    "powercut": "--short",
    "kill": "--seconds=4",
}


@nox.session(python=NEWEST)
def torture_short(session: nox.Session) -> None:
    """Run the short form of each torture, two at a time: a minute."""
    _install_wheel(session, "[fast]")

    def run(torture: str) -> None:
        session.log(session.run("python", f"tests/torture/{torture}.py", TORTURES[torture], silent=True))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, TORTURES))


@nox.session(default=False)
def torture(session: nox.Session) -> None:
    """Run each torture in full, and power cuts on the stores that users might choose instead: minutes each.

    Run it after a change in storage, in locks or in the caches, and before a release.
    """
    _install_wheel(session, "[fast]", *_group("peers"))
    for name in TORTURES:
        session.run("python", f"tests/torture/{name}.py", *(["--peers"] if name == "powercut" else []))


@nox.session(python=NEWEST, default=False)
def browser(session: nox.Session) -> None:
    """Test the notebook display in Chromium: a minute.

    Run it after a change in rendering. Without Chromium (on Debian, the package `chromium`) pytest skips the tests.
    """
    _install_wheel(session, "", *_group("tests"))
    session.run("python", "-m", "pytest", BROWSER, *session.posargs, env={"PYTHONSAFEPATH": "1"})


@nox.session(python=PYTHONS[0], default=False)
def tests_lowest(session: nox.Session) -> None:
    """Test the wheel with the lowest versions of its dependencies: a minute.

    Run it when the code starts to use a newer feature of a dependency.
    """
    required = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["fast"]]
    lowest = [requirement.replace(">=", "==") for requirement in required]
    _install_wheel(session, "", *lowest, *_group("tests"))
    _run_tests(session)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Test the wheel with orjson: a minute on each supported Python, half a minute more on the newest for coverage."""
    _install_wheel(session, "[fast]", *_group("tests"))
    if session.python != NEWEST:
        _run_tests(session)
        return
    env = {"COVERAGE_FILE": str(COVERAGE_FILE)}
    session.run("coverage", "erase", env=env, silent=True)
    _run_tests(session, "coverage", "run")


@nox.session(python=NEWEST)
def coverage(session: nox.Session) -> None:
    """Demand that the earlier tests on the newest Python reach every line and branch: five seconds."""
    _install(session, "coverage")
    env = {"COVERAGE_FILE": str(COVERAGE_FILE)}
    session.run("coverage", "combine", "--quiet", env=env)
    session.run("coverage", "report", env=env)


@nox.session(python=NEWEST)
def tests_plain(session: nox.Session) -> None:
    """Test the wheel without orjson: a minute."""
    _install_wheel(session, "", *_group("tests"))
    _run_tests(session)


@nox.session(default=False, python=False)
def full(session: nox.Session) -> None:
    """Run all everyday sessions, `browser`, `tests_lowest` and `tests` on each supported Python: ten minutes.

    Run it before a merge and before a release.
    """
    for name in FULL:
        session.notify(name)


@nox.session(default=False)
def powercut(session: nox.Session) -> None:
    """Cut the power of a guest while it saves: three minutes. `-- --cuts 50`: half an hour.

    Run it after a change in how files are written, synced or replaced. It needs root, and Linux on x86-64.
    """
    if reason := session.run("python", "tests/guest/machine.py", silent=True):
        session.skip(str(reason))
    session.run("python", "tests/guest/powercuts.py", *session.posargs)


@nox.session(default=False)
def network(session: nox.Session) -> None:
    """Let two NFS clients edit the same sessions in a guest: three minutes. `-- --transactions 10000`: an hour.

    Run it after a change in locks or reads, or in what the library does on NFS. It needs root, and Linux on x86-64.
    """
    if reason := session.run("python", "tests/guest/machine.py", silent=True):
        session.skip(str(reason).strip())
    session.run("python", "tests/guest/network.py", *session.posargs)


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Put small faults into the code and demand that the tests find them: an hour or more. `-- names`: in one module.

    Run it on a module after a change in its code or its tests.
    """
    required = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["fast"]]
    session.install(*required, *_group("mutation"))  # the tests run on a mutated copy, not on an installed package
    session.run("python", "tests/mutation/mutate.py", *session.posargs)


@nox.session(default=False)
def file_systems(session: nox.Session) -> None:
    """Probe real file systems in a guest, and try names that vfat treats as one: a minute.

    Run it after a change in the probe or in names. It needs root, and Linux on x86-64.
    """
    if reason := session.run("python", "tests/guest/machine.py", silent=True):
        session.skip(str(reason).strip())
    session.run("python", "tests/guest/file_systems.py")


PLOT = "docs/explanation/performance.svg"


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure costs relative to other ways of doing the same work, and plot them: six minutes. `-- --quick`: two.

    Run it after a change for speed, on a quiet machine.
    """
    _install_wheel(session, "[fast]", *_group("bench"))
    session.run("python", "tests/benchmarks/import_cost.py")
    session.run("python", "tests/benchmarks/syncing.py")
    session.run("python", "tests/benchmarks/bench.py", *(session.posargs or ["--plot", PLOT]))


INTERPRETERS = Path(".nox/interpreters").absolute()  # built by tests/interpreters/build.py
STRICT = {"PYTHONWARNINGS": "error", "PYTHONSAFEPATH": "1"}  # also for the processes that the tests start


def _interpreters() -> list[Any]:
    here = {f"3.{minor}": f"3.{minor}" for minor in range(11, 30) if shutil.which(f"python3.{minor}")}
    built = {path.parts[-3]: str(path) for path in sorted(INTERPRETERS.glob("*/bin/python3"))}
    return [nox.param(python, id=name) for name, python in (here | built).items() if not name.endswith("t")]


@nox.session(default=False)
@nox.parametrize("python", _interpreters())
def interpreters(session: nox.Session) -> None:
    """Test the wheel on every CPython here from 3.11 on; any warning is an error: two minutes each.

    Run it before a release, and when a new CPython is out: `tests/interpreters/build.py` builds one.
    """
    _install_wheel(session, "[fast]", *_group("tests"))
    session.run("python", "-VV")
    session.run("python", "-W", "error", "-m", "pytest", *session.posargs, env=STRICT)


@nox.session(default=False, python=False)
def freethreaded(session: nox.Session) -> None:
    """Run the tortures of threads, and the tests, without the GIL: ten minutes. `-- 3.14t` names the release.

    Run it after a change in locks, caches or late imports. It builds the interpreter if it is missing.
    """
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
    # orjson needs the GIL, and polars has no build without it; the tests that need them are skipped.
    needed = [requirement for requirement in _group("tests") if not requirement.startswith("polars")]
    session.run(python, "-m", "pip", "install", "-q", ".", *needed)
    session.run(python, "-VV")
    for name in ("crowds", "mixture", "kill"):
        session.run(python, f"tests/torture/{name}.py", env={"PYTHONWARNINGS": "error"})
    session.run(python, "-W", "error", "-m", "pytest", env=STRICT)


def _check_contents(session: nox.Session, archive: Path, names: list[str], *places: str) -> None:
    """Demand that an archive has the typing marker and the licence, and nothing outside *places*."""
    for needed in ("oxios_state/py.typed", "LICENSE", "oxios_state/store.py"):
        if not any(name.endswith(f"/{needed}") or name == needed for name in names):
            session.error(f"{archive.name} lacks {needed}")
    if strays := [name for name in names if not name.startswith(places)]:
        session.error(f"{archive.name} has {', '.join(strays)}")


@nox.session(python=NEWEST, default=False)
def release(session: nox.Session) -> None:
    """Build the sdist, and the wheel from it; check both, install each and run the quickstart: half a minute.

    It uploads nothing, and prints the next steps at its end.
    """
    _install(session, *_group("release"))
    dist = Path("dist").absolute()
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist), silent=True)
    sdist, wheel = next(dist.glob("*.tar.gz")), next(dist.glob("*.whl"))
    session.run("twine", "check", "--strict", str(sdist), str(wheel))

    version = wheel.name.split("-")[1]
    with zipfile.ZipFile(wheel) as archive:
        _check_contents(session, wheel, archive.namelist(), "oxios_state/", f"oxios_state-{version}.dist-info/")
    with tarfile.open(sdist) as archive:
        _check_contents(session, sdist, archive.getnames(), f"oxios_state-{version}")
    dated = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$"
    if not re.search(dated, Path("CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE):
        session.error(f"CHANGELOG.md has no section for {version} with its date")

    for built in (sdist, wheel):
        environment = Path(session.create_tmp(), "".join(built.suffixes[-1:])[1:])
        session.run("python", "-m", "venv", "--clear", str(environment))
        python = str(environment / ("Scripts" if os.name == "nt" else "bin") / "python")
        session.run(python, "-m", "pip", "install", "--quiet", str(built), external=True)
        session.run(python, "docs/quickstart.py", env={"PYTHONSAFEPATH": "1"}, external=True)

    session.log(
        f"{sdist.name} and {wheel.name} in dist/ are good. Nothing is uploaded. Next, on the commit of the release:"
    )
    session.log(f"  git tag -a v{version} -m 'oxios_state {version}' && git push origin v{version}")
    session.log(f"  {Path(session.bin, 'twine')} upload dist/{sdist.name} dist/{wheel.name}")
