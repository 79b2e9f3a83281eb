"""HTML elements with escaped content. All HTML of the package is made here."""

from __future__ import annotations

import html

from oxios_state.rendering.escaping import visible


class Markup(str):
    """HTML that is escaped already."""

    __slots__ = ()


def element(name: str, *content: str, **attributes: str | float | bool) -> Markup:
    """Return an element as HTML.

    Args:
        name: The name of the element.
        *content: Texts, which are escaped, and `Markup`.
        **attributes: The attributes. True stands for an attribute without a value, False for none. An underscore at the
            end of a name is dropped; any other stands for a hyphen.
    """
    attribute_text = "".join(
        f" {key.removesuffix('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not False
    )
    inner = "".join(part if isinstance(part, Markup) else escape(part) for part in content)
    return Markup(f"<{name}{attribute_text}>{inner}</{name}>")


def escape(text: str) -> Markup:
    """Escape text for HTML, and for the programs that notebooks are converted with.

    A blank line would end a block of HTML in Markdown, and doubled braces would begin an expression in a template.
    """
    escaped = html.escape(visible(text)).replace("\n", "&#10;").replace("{{", "&#123;&#123;").replace("{%", "&#123;%")
    return Markup(escaped)
