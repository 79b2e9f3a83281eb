"""The one place where the model asks to be displayed.

Rendering imports the model, so the model cannot import rendering without making a circle. It therefore names the module
that displays it and imports that module only when something is displayed: reading and saving never pay for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Literal


def display(thing: object, form: Literal["html", "markdown", "text"]) -> str:
    """Return *thing* rendered in the given form.

    Args:
        thing: A session, a summary, a list of summaries, a trajectory or a store.
        form: The module of `oxios_state.rendering` that renders it.

    Raises:
        TypeError: If *thing* has no such form.
    """
    rendered: str = import_module(f"oxios_state.rendering.{form}").show(thing)
    return rendered
