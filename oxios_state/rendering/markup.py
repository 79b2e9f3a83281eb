"""HTML that holds what anybody wrote: elements are made here alone, and all text in them is escaped."""

from __future__ import annotations

import html

from oxios_state.rendering.escaping import visible


class Markup(str):
    """HTML that `element` made."""

    __slots__ = ()


def element(name: str, *content: str, **attributes: str | float | bool) -> Markup:
    """Make an element. What it contains is escaped, unless it is made here too.

    Args:
        name: The element's name.
        *content: Texts and elements.
        **attributes: Its attributes; one that is True has no value, one that is False is left out. An underscore at the
            end of a name is dropped, any other stands for a hyphen.
    """
    given = "".join(
        f" {key.removesuffix('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not False
    )
    inner = "".join(part if isinstance(part, Markup) else escape(part) for part in content)
    return Markup(f"<{name}{given}>{inner}</{name}>")


def escape(text: str) -> Markup:
    """Make text harmless, here and where notebooks are taken to.

    A blank line would let Markdown take what follows for its own, and doubled braces would be a template's.
    """
    safe = html.escape(visible(text)).replace("\n", "&#10;").replace("{{", "&#123;&#123;").replace("{%", "&#123;%")
    return Markup(safe)
