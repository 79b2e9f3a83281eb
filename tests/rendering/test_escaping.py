"""Escaping of invisible characters and of Markdown. `test_markdown` tests it with any content."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from oxios_state.rendering.escaping import inline_code, is_safe, quoted, visible, visible_line


def test_control_characters_are_made_visible() -> None:
    assert visible("a\r\nb\tc\rd\0\x1b[0m\x7f\x85\u2028\u202e\ud800\N{GRINNING FACE}") == (
        "a\nb\tc␍d␀␛[0m␡\\u0085\\u2028\\u202e\\ud800\N{GRINNING FACE}"
    )


def test_a_visible_line_has_no_newline_or_tab() -> None:
    assert visible_line("a\tb\r\nc\rd") == "a\u2409b\u240ac\u240dd"


def test_a_code_span_is_longer_than_the_backticks_in_it() -> None:
    assert inline_code("a``b\n") == "```a``b\u240a```"
    assert inline_code("`a") == "`` `a ``"
    assert inline_code("") == '`""`'


def test_a_safe_message_is_quoted_as_markdown() -> None:
    text = "# Plan\n\n1. Use `Vec<T>` if a < b\n\n```html\n<div>\n```\n\n~~~\n<p>\n~~~"
    assert is_safe(text)
    assert quoted(text) == "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


@pytest.mark.parametrize(
    "text",
    [
        "<b>",
        "<!-- a",
        "a <https://example.org>",
        "[a]: /url",
        "![a](https://example.org/track)",
        "` <b>",
        "` a\n` <b> `",
        "\\` <b> `",
        "| ` | <b> | ` |",
        "[`a]:`",
        "  ```\n```\n<b>",
        "- ```\n  <b>\n  ```",
        "```\n\t```\n<b>",
        "```\n\t```\n```\n<b>",
        "```\n```\n<b>",
        "````\n```\n````\n<b>",
        "```\n    ```\n```\n<b>",
        "``` a`b\n<b>",
    ],
)
def test_an_unsafe_message_is_quoted_as_source(text: str) -> None:
    assert not is_safe(text)
    (fence,) = (token for token in MarkdownIt("commonmark").parse(quoted(text)) if token.type == "fence")
    assert (fence.level, fence.info, fence.content) == (1, "markdown", f"{text}\n")


@pytest.mark.parametrize("text", ["a `<b>` `` ` <c> `` d", "` a\n\n`<b>`", "```\n    ```\n<b>", "~~~ `\n```\n<b>"])
def test_html_in_code_is_safe(text: str) -> None:
    assert is_safe(text)
