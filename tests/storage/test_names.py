"""Names: those that are refused, those that are allowed, and those that Windows cannot hold."""

from __future__ import annotations

import ntpath
import os
import posixpath
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oxios_state import InvalidNameError
from oxios_state.storage import names, system

if TYPE_CHECKING:
    from types import ModuleType

REFUSED = [
    ("", "must not be empty"),
    ("..", r"contains '\.\.'"),
    ("a..b", r"contains '\.\.'"),
    ("a...", r"contains '\.\.'"),
    ("a\\b", "contains a backslash"),
    ("a\0b", "contains a control character"),
    ("a\n", "contains a control character"),
    ("\x1f", "contains a control character"),
    ("\x7f", "contains a control character"),
    ("\x80", "contains a control character"),
    ("a\x9f", "contains a control character"),
    (".", r"'\.' is not a name"),
    (".oxios_state", r"begins with '\.oxios_state'"),
    (".oxios_state-2", r"begins with '\.oxios_state'"),
    ("._a", r"begins with '\._', like the files that systems and editors make"),
    (".#a", r"begins with '\.#', like the files that systems and editors make"),
    (".OXIOS_State", r"begins with '\.oxios_state'"),
    ("\ud800", "contains a lone surrogate"),
    ("a\udfffb", "contains a lone surrogate"),
    ("a" * 256, "is 256 bytes long"),
    ("é" * 128, "is 256 bytes long"),
]
ALLOWED = [
    "a",
    "A b",
    ".hidden",
    "_a",
    "#a",
    "a._b",
    "a.b",
    "-",
    "~",
    "~root",
    "名前 with spaces",
    "a" * 250,
    "é" * 125,
    "\xa0",
    "oxios_state",
]
CHARACTER = 'contains one of <>:"|?*, which Windows does not allow'
END = "ends with a dot or a space, which Windows does not allow"
DEVICE = "is the name of a device on Windows"
ONLY_WINDOWS = [
    ("CON", DEVICE),
    ("prn", DEVICE),
    ("nul", DEVICE),
    ("Aux.txt", DEVICE),
    ("COM1", DEVICE),
    ("lpt9", DEVICE),
    ("COM¹", DEVICE),
    ("conin$", DEVICE),
    ("CONOUT$", DEVICE),
    ("a.", END),
    ("a ", END),
    ("a:b", CHARACTER),
    ("<", CHARACTER),
    (">", CHARACTER),
    ('"', CHARACTER),
    ("|", CHARACTER),
    ("a?", CHARACTER),
    ("*", CHARACTER),
]


@pytest.mark.parametrize(("name", "reason"), REFUSED)
def test_a_bad_name_is_refused_as_name_and_category(name: str, reason: str) -> None:
    with pytest.raises(InvalidNameError, match=reason):
        names.check_name(name)
    with pytest.raises(InvalidNameError, match=reason):
        names.check_category(name)
    assert not names.is_allowed(name, "")


@pytest.mark.parametrize(("name", "reason"), [row for row in REFUSED if row[0]])
def test_every_component_of_a_category_is_checked(name: str, reason: str) -> None:
    for category in (f"{name}/b", f"a/{name}", f"a/{name}/b"):
        with pytest.raises(InvalidNameError, match=reason):
            names.check_category(category)


@pytest.mark.parametrize("category", ["/", "/a", "a/", "a//b", "//", "a/b/"])
def test_a_category_with_an_empty_component_is_refused(category: str) -> None:
    with pytest.raises(InvalidNameError, match="begins or ends with '/', or contains '//'"):
        names.check_category(category)


@pytest.mark.parametrize("name", ["a/b", "/", "/a", "a/", "/etc/passwd"])
def test_a_slash_in_a_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidNameError, match="contains '/'"):
        names.check_name(name)
    assert not names.is_allowed(name, ".json")


@pytest.mark.parametrize("name", ALLOWED)
def test_other_names_are_allowed(name: str) -> None:
    names.check_name(name, ".json")
    names.check_category(name)
    names.check_category(f"memory/{name}")
    assert names.is_allowed(name, ".json")


@pytest.mark.parametrize(("extension", "longest"), [(".json", 250), (".md", 252), ("", 255)])
def test_the_extension_counts_towards_the_length(extension: str, longest: int) -> None:
    names.check_name("a" * longest, extension)
    assert names.is_allowed("a" * longest, extension)
    with pytest.raises(InvalidNameError, match="is 256 bytes long with its extension; file systems allow 255"):
        names.check_name("a" * (longest + 1), extension)
    assert not names.is_allowed("a" * (longest + 1), extension)


def test_a_category_may_be_longer_than_a_component() -> None:
    names.check_category("/".join(["a" * 255] * 3))


@pytest.mark.parametrize("value", [None, 1, b"a", ["a"]])
def test_a_name_that_is_not_a_string_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match=f"a name must be str, not {type(value).__name__}"):
        names.check_name(value)
    with pytest.raises(TypeError, match=f"a category must be str, not {type(value).__name__}"):
        names.check_category(value)


@pytest.mark.parametrize(("name", "problem"), ONLY_WINDOWS)
def test_names_that_windows_cannot_hold_are_refused_on_windows_only(
    name: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names.windows_problem(name) == problem
    monkeypatch.setattr(system, "WINDOWS", False)
    names.check_name(name, ".json")
    names.check_category(f"a/{name}")
    monkeypatch.setattr(system, "WINDOWS", True)
    with pytest.raises(InvalidNameError) as caught:
        names.check_name(name, ".json")
    assert str(caught.value) == f"name {name!r} {problem}"
    with pytest.raises(InvalidNameError, match="category 'a/"):
        names.check_category(f"a/{name}")


@pytest.mark.parametrize("name", ["CONSOLE", "COM", "COM10", "LPT", "nul-1", "a.nul", "a.b", " a", ".a", "名前", "[a]"])
def test_other_names_are_allowed_on_windows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names.windows_problem(name) is None
    monkeypatch.setattr(system, "WINDOWS", True)
    names.check_name(name, ".json")
    names.check_category(name)


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        *[("a.json", True), ("b.md", True), ("a.b.json", True), (".a.md", True)],
        *[("._a.json", False), (".#b.md", False), ("a.#b.md", True)],
        *[("c.txt", False), ("json", False), (".json", False), (".md", False), ("d.json.bak", False), ("e", False)],
    ],
)
def test_a_document_has_a_name_and_an_extension(file_name: str, *, expected: bool) -> None:
    assert names.is_document(file_name) is expected


def test_invalid_name_error_is_a_value_error_with_the_name() -> None:
    with pytest.raises(ValueError, match=r"^name 'a/b' contains '/'$"):
        names.check_name("a/b")


bad_texts = st.text(st.sampled_from("./\\~:aCON\0\x7f é\ud800"), max_size=8) | st.text(max_size=8)


@settings(max_examples=400, deadline=None)
@given(category=bad_texts, name=bad_texts, windows=st.booleans())
@example(category="~", name="C:", windows=True)
@example(category="a/C:", name="b", windows=True)
@example(category="a", name="../b", windows=False)
def test_no_allowed_name_leads_out_of_the_base(category: str, name: str, *, windows: bool) -> None:
    # "Refused with InvalidNameError before the disk is touched [...] `..`, backslash, [...] a leading or trailing `/`
    # or `//` in a category, `/` in a name, a name or component that is `.` or begins with `.oxios_state`"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(system, "WINDOWS", windows)
        patch.setattr(names, "os", SimpleNamespace(fsencode=str.encode))  # of any file system
        try:
            names.check_category(category)
            names.check_name(name, ".md")
        except InvalidNameError:
            return
    path: ModuleType = ntpath if windows else posixpath
    base = r"C:\base" if windows else "/base"
    joined = path.join(base, *category.split("/"), name + ".md")
    assert path.normpath(joined) == joined
    parts = joined.split(path.sep)
    assert parts[:2] == base.split(path.sep)
    assert len(parts) == 2 + len(category.split("/")) + 1
    assert not parts[2].startswith(".oxios_state")


@pytest.mark.skipif(os.name == "nt", reason="file names of Windows are UTF-16")
def test_names_beyond_the_encoding_of_file_names_are_refused(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from oxios_state import InvalidNameError, StateStore
        store = StateStore(sys.argv[1])
        try:
            store.save_json("c", "caf\\u00e9", 1)
        except InvalidNameError as error:
            print(ascii(str(error)))
        print(ascii([finding.detail for finding in store.probe() if finding.what == "names"]))
    """
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.run(command, env=env, capture_output=True, encoding="utf-8", check=True)
    error, finding = process.stdout.splitlines()
    assert "has characters that file names on this system cannot have: " in error
    assert "'ascii' codec can't encode" in finding
