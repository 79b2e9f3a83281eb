"""HTML elements with escaped content."""

from __future__ import annotations

from oxios_state.rendering.markup import Markup, element, escape


def test_text_is_escaped_and_markup_is_not_escaped_twice() -> None:
    assert element("b", "a < b & \"c\" 'd'") == "<b>a &lt; b &amp; &quot;c&quot; &#x27;d&#x27;</b>"
    assert element("p", "<", element("b", ">"), "<") == "<p>&lt;<b>&gt;</b>&lt;</p>"
    assert type(element("p")) is Markup


def test_attributes_are_escaped() -> None:
    html = element("p", class_="a", font_size=12, open=True, hidden=False, title='"><script>')
    assert html == '<p class="a" font-size="12" open title="&quot;&gt;&lt;script&gt;"></p>'


def test_text_cannot_end_a_block_of_html_or_begin_a_template_expression() -> None:
    assert escape("a\n\n# b\r\n{{c}} {%d%} {e}") == "a&#10;&#10;# b&#10;&#123;&#123;c}} &#123;%d%} {e}"


def test_invisible_characters_are_made_visible() -> None:
    assert escape("\x1b\u202e\u200b\ud800\U000e0041\x00") == "\u241b\\u202e\\u200b\\ud800\\U000e0041\u2400"
