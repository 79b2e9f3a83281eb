"""How Sphinx builds these pages: ``nox -s docs``. Nothing is fetched, and the tutorial is run."""

from __future__ import annotations

import builtins
import re
import sys
from typing import Any

import oxios_state

project = "oxios_state"
author = copyright = "The developers of oxios_state"  # noqa: A001  # Sphinx's name for it
release = version = oxios_state.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "sample_state"]
default_role = "py:obj"  # a name in backticks in a docstring is a reference, and is checked
nitpicky = True
# What docstrings and annotations name from elsewhere.
nitpick_ignore = [("py:obj", name) for name in dir(builtins)]
nitpick_ignore_regex = [
    ("py:.*", rf"({'|'.join(sys.stdlib_module_names)})\..*"),
    ("py:.*", "Callable|Enum|Decimal|Iterable|Iterator|Path|PathLike|Sequence|UUID|AbstractContextManager"),
    ("py:.*", r"(date|datetime|timedelta|str\.\w+)"),
    ("py:.*", r"cattrs\.(converters\.)?\w+|Converter"),
    ("py:class", r"oxios_state(\.\w+)*\.Revision"),  # the store's own
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
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # nothing from another server
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
    r"= NOTHING": "= ...",  # attrs calls a factory
    r"= FrozenDict\(\{\}\)": "= {}",
    r"= <built-in function (\w+)>": r"= \1",
    r"\b(oxios_state(\.\w+)*\.)?Moment\b": "datetime",
    r"\b(oxios_state(\.\w+)*\.)?JSONValue\b": "Any",
    r"\bProgress\b": "Callable[[Iterable], Iterable]",
}


def setup(app: Any) -> None:
    """Have signatures say what a reader can use, and a property's text be no type, as napoleon would have it."""
    app.connect("autodoc-process-signature", _make_legible)
    app.connect("autodoc-process-docstring", _begin_property, priority=400)  # before napoleon


def _make_legible(*event: Any) -> tuple[str, str] | None:
    _app, what, _name, thing, _options, arguments, returned = event
    if arguments is None:
        return None
    if what == "method" and hasattr(thing, "__wrapped__"):  # a generator that is made a context manager
        returned = re.sub("^Iterator", "AbstractContextManager", returned)
    for what_it_is, legible in _LEGIBLE.items():
        arguments = re.sub(what_it_is, legible, arguments)
    return arguments, returned


def _begin_property(*event: Any) -> None:
    _app, what, _name, _thing, _options, lines = event
    if what == "property" and lines:
        lines[0] = f": {lines[0]}"  # what stands before the first colon is the type
