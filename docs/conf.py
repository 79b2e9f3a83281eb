"""Sphinx's settings for these pages (``nox -s docs``). The build downloads nothing, and runs the tutorial."""

from __future__ import annotations

import builtins
import re
import sys
from typing import Any

import oxios_state

project = "oxios_state"
author = copyright = "The developers of oxios_state"  # noqa: A001  # the name that Sphinx requires
release = version = oxios_state.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "sample_state"]
default_role = "py:obj"  # a name in backticks in a docstring is a reference that the build checks
nitpicky = True
# Names from elsewhere in docstrings and annotations.
nitpick_ignore = [("py:obj", name) for name in dir(builtins)]
nitpick_ignore_regex = [
    ("py:.*", rf"({'|'.join(sys.stdlib_module_names)})\..*"),
    ("py:.*", "Callable|Enum|Decimal|Iterable|Iterator|Path|PathLike|Sequence|UUID|AbstractContextManager"),
    ("py:.*", r"(date|datetime|timedelta|str\.\w+)"),
    ("py:.*", r"cattrs\.(converters\.)?\w+|Converter"),
    ("py:class", r"oxios_state(\.\w+)*\._[A-Z]\w*"),  # type variables and protocols
]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_attr_annotations = False  # the signature has them
napoleon_numpy_docstring = False
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90

myst_heading_anchors = 3

nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 60
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # no scripts from another server
nb_merge_streams = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
pygments_dark_style = "github-dark"
_CELLS = {
    "mystnb-source-bg-color": "var(--color-code-background)",
    "mystnb-source-border-color": "var(--color-background-border)",
    "mystnb-source-margin-color": "var(--color-brand-primary)",
}
html_theme_options = {"light_css_variables": _CELLS, "dark_css_variables": _CELLS}
html_title = f"oxios_state {release}"
html_copy_source = False
html_show_sphinx = False


_LEGIBLE = {
    r"= NOTHING": "= ...",  # the text of an attrs factory
    r"= FrozenDict\(\{\}\)": "= {}",
    r"= <built-in function (\w+)>": r"= \1",
    r"\b(oxios_state(\.\w+)*\.)?Moment\b": "datetime",
    r"\b(oxios_state(\.\w+)*\.)?JSONValue\b": "Any",
    r"\bProgress\b": "Callable[[Iterable], Iterable]",
}


def setup(app: Any) -> None:
    """Make signatures readable, and keep napoleon from taking the start of a property's docstring for its type."""
    app.connect("autodoc-process-signature", _make_legible)
    app.connect("autodoc-process-docstring", _begin_property, priority=400)  # before napoleon


def _make_legible(*event: Any) -> tuple[str, str] | None:
    _app, kind, _name, documented, _options, arguments, returned = event
    if arguments is None:
        return None
    if kind == "method" and hasattr(documented, "__wrapped__"):  # a generator, decorated as a context manager
        returned = re.sub("^Iterator", "AbstractContextManager", returned)
    for pattern, legible in _LEGIBLE.items():
        arguments = re.sub(pattern, legible, arguments)
    return arguments, returned


def _begin_property(*event: Any) -> None:
    _app, kind, _name, _documented, _options, lines = event
    if kind == "property" and lines:
        lines[0] = f": {lines[0]}"  # napoleon takes the text before the first colon for the type
