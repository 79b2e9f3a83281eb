"""Tables, and the width of text on a terminal, compared with the package wcwidth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from oxios_state.rendering.tables import align, cut, fit, width

SEQUENCES = [
    *("\N{WAVING HAND SIGN}", "\N{WAVING HAND SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-5}"),
    *(
        "\N{HEAVY BLACK HEART}",
        "\N{HEAVY BLACK HEART}\ufe0f",
        "1\ufe0f\u20e3",
        "\N{SQUARED OK}",
        "\N{COPYRIGHT SIGN}\ufe0f",
    ),
    "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}",
    "\N{WOMAN}\N{EMOJI MODIFIER FITZPATRICK TYPE-3}\u200d\N{MICROSCOPE}",
    "\N{WEIGHT LIFTER}\N{EMOJI MODIFIER FITZPATRICK TYPE-3}\u200d\N{FEMALE SIGN}\ufe0f",
    "\N{WAVING WHITE FLAG}\ufe0f\u200d\N{RAINBOW}",
    *("\U0001f1e9\U0001f1ea", "\U0001f1e9", "\U0001f1e9\U0001f1ea\U0001f1eb"),
    *("a\u0301", "e\u0301\u0323", "\u05d0\u05b7", "\u0915\u093e", "\u0915\u094d\u0937"),
    *("\u540d\u524d", "\uff21", "\uff71", "\ud55c\uae00", "\u1112\u1161\u11ab", "\u3000", "\u304b\u3099"),
    *("\xad", "co\xadoperate", "\u0600\u0661", "\u2060", "plain", " ", "\u2500", "\u2026"),
]
# Blocks whose widths every supported Python and wcwidth agree on: later releases of Unicode left them alone.
BLOCKS = [
    *((0xA0, 0x36F), (0x370, 0x52F), (0x590, 0x605), (0x1100, 0x11FF), (0x2010, 0x2027), (0x2500, 0x257F)),
    *((0x3041, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xFF01, 0xFF60), (0x1F300, 0x1F5FF), (0x1F600, 0x1F64F)),
]
letters = st.one_of(
    [st.characters(min_codepoint=first, max_codepoint=last, exclude_categories=["Cn"]) for first, last in BLOCKS]
)
texts = st.lists(st.sampled_from(SEQUENCES) | letters, max_size=8).map("".join)


@given(texts)
def test_the_width_is_that_of_wcwidth(text: str) -> None:
    assert width(text) == wcswidth(text)


@given(texts, st.integers(3, 20))
def test_a_cut_text_fits(text: str, columns: int) -> None:
    shortened = cut(text, columns)
    assert width(shortened) <= columns
    assert shortened == text if wcswidth(text) <= columns else shortened.endswith("...")


@pytest.mark.parametrize("text", SEQUENCES, ids=ascii)
def test_the_width_of_a_sequence_is_that_of_wcwidth(text: str) -> None:
    assert width(text) == wcswidth(text)


def test_characters_that_are_no_emoji_are_not_joined() -> None:
    assert width("a\u200db") == 2
    assert width("1\N{EMOJI MODIFIER FITZPATRICK TYPE-3}") == 3


def test_an_emoji_that_this_python_does_not_know_is_wide() -> None:
    assert width("\U0001fafe\U0003fffd") == 4
    assert width("\u0378") == 1


def test_an_emoji_is_not_cut_in_two() -> None:
    family = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}"
    assert cut(f"a{family}bcdef", 6) == f"a{family}..."
    assert cut(f"a{family}bcdef", 5) == "a..."


def test_columns_are_aligned() -> None:
    rows = [
        ["id", "messages", "title"],
        ["\u540d", "1", "A title"],
        ["e\u0301", "1,200"],
        ["co\xadop", "12", "co\xadop"],
    ]
    assert list(align(rows, right={1})) == [
        "id     messages  title",
        "\u540d            1  A title",
        "e\u0301         1,200",
        "co\xadop        12  co\xadop",
    ]
    assert list(align([])) == []


ROW = ["0123456789", "2026", "3", "ada", "p", "A title of twenty-six letters"]
HEADER = ["ID", "UPDATED", "MSGS", "USER", "PROJECT", "TITLE"]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (80, "0123456789  2026     3     ada   p        A title of twenty-six letters"),
        (60, "0123456789  2026     3     ada   p        A title of twen..."),
        (48, "0123456789  2026     3     ada   A title of t..."),
        (35, "0123456789  2026     A title of ..."),
        (24, "0123456789  A title o..."),
        (23, "0123456789"),
        (1, "0123456789"),
    ],
)
def test_a_narrow_terminal_drops_columns_and_cuts_the_last_cell(columns: int, line: str) -> None:
    header, fitted = fit([HEADER, ROW], columns)
    assert fitted == line
    assert len(header) <= max(columns, len("ID"))


def test_columns_that_are_empty_below_the_header_are_dropped() -> None:
    rows = [["ID", "USER", "TITLE"], ["e\u0301", "", "one"], ["\u540d", "", "\u540d" * 14], ["long id", "", "two"]]
    assert list(fit(rows, 30)) == [
        "ID       TITLE",
        "e\u0301        one",
        "\u540d       \u540d\u540d\u540d\u540d\u540d\u540d\u540d\u540d\u540d...",
        "long id  two",
    ]
    assert list(fit([["ID", "TITLE"], ["", ""]], 30)) == []
