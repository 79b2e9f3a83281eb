"""Tables of text in aligned columns, and the width of text on a terminal.

`width` agrees with the package ``wcwidth`` on what conversations contain: soft hyphens, combining marks, East Asian
characters, and emoji with skin tones, variation selectors and joiners.
"""

from __future__ import annotations

import unicodedata
from itertools import accumulate, takewhile, zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

_GAP = "  "
_MAX_CHARACTERS = 16  # of a cell, for each column of a terminal: combining marks take no column
_LEAST_LAST = 12  # columns of a terminal below which the last cell of a row is of no use
_JOINER, _EMOJI_SELECTOR = "\u200d", "\ufe0f"
_FIRST_FLAG_LETTER, _LAST_FLAG_LETTER = "\U0001f1e6", "\U0001f1ff"
# Format characters that are visible: the soft hyphen, and signs that enclose the digits after them.
_VISIBLE_FORMAT = frozenset(
    "\xad\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
# Narrow characters that the emoji selector makes wide: Unicode's emoji-variation-sequences.txt, without the wide ones.
_NARROW_EMOJI = frozenset(
    "#*0123456789©®‼⁉™\u2139↔↕↖↗↘↙↩↪⌨⏏⏭⏮⏯⏱⏲⏸⏹⏺Ⓜ▪▫▶◀◻◼☀☁☂☃☄☎☑☘☝☠☢☣☦☪☮☯☸☹☺♀♂♟♠♣♥♦♨♻♾⚒⚔⚕⚖⚗⚙⚛⚜⚠⚧⚰⚱⛈⛏⛑⛓⛩⛰⛱⛴⛷⛸⛹"
    "✂✈✉✌✍✏✒✔✖✝✡✳✴❄❇❣❤➡⤴⤵⬅⬆⬇🅰🅱🅾🅿🌡🌤🌥🌦🌧🌨🌩🌪🌫🌬🌶🍽🎖🎗🎙🎚🎛🎞🎟🏋🏌🏍🏎🏔🏕🏖🏗🏘🏙🏚🏛🏜🏝🏞🏟🏳🏵🏷🐿👁📽🕉🕊🕯🕰🕳🕴🕵🕶🕷🕸🕹🖇🖊🖋🖌🖍🖐🖥🖨🖱🖲"
    "🖼🗂🗃🗄🗑🗒🗓🗜🗝🗞🗡🗣🗨🗯🗳🗺🛋🛍🛎🛏🛠🛡🛢🛣🛤🛥🛩🛰🛳"
)


def width(text: str) -> int:
    """Return how many columns of a terminal a line takes."""
    return len(text) if text.isascii() else sum(_columns(text))


def cut(text: str, columns: int) -> str:
    """Return the text, or as much of its beginning as fits in so many columns, ending in ``...``."""
    if width(text) <= columns:
        return text
    fitting = takewhile(lambda end: end <= columns - 3, accumulate(_columns(text)))
    return f"{text[: sum(1 for _ in fitting)]}..."


def align(rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> Iterator[str]:
    """Return the lines of a table. Short rows are filled up.

    Args:
        rows: The cells, each a line of text.
        right: The numbers of the columns that are aligned to the right.
    """
    columns = []
    for index, cells in enumerate(zip_longest(*rows, fillvalue="")):
        widths = list(map(width, cells))
        widest = max(widths)
        padded = []
        for cell, taken in zip(cells, widths, strict=True):
            padding = " " * (widest - taken)
            padded.append(padding + cell if index in right else cell + padding)
        columns.append(padded)
    return (_GAP.join(row).rstrip() for row in zip(*columns, strict=True))


def fit(rows: Sequence[Sequence[str]], columns: int) -> Iterator[str]:
    """Return the lines of a table on a terminal.

    The first cell of a row is never cut. Where the terminal is too narrow, the last cell is cut, and other columns are
    left out, the last but one first. So are columns that are empty below the header. Cells of very many characters are
    cut even where they take few columns.

    Args:
        rows: The header and the rows, all of the same length.
        columns: The width of the terminal.
    """
    limit = _MAX_CHARACTERS * columns
    short_rows = [
        [*row[:1], *(cell if len(cell) <= limit else f"{cell[:limit]}..." for cell in row[1:])] for row in rows
    ]
    cells = [column for column in zip(*short_rows, strict=True) if any(column[1:])]
    widths = [max(map(width, column)) for column in cells]
    while len(cells) > 1 and _before_last(widths) + min(widths[-1], _LEAST_LAST) > columns:
        dropped = -2 if len(cells) > 2 else -1
        del cells[dropped], widths[dropped]
    if len(cells) > 1:
        room = columns - _before_last(widths)
        cells[-1] = tuple(cut(cell, room) for cell in cells[-1])
    return align(zip(*cells, strict=True))


def _before_last(widths: Sequence[int]) -> int:
    return sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)


def _columns(text: str) -> Iterator[int]:
    """Yield how many columns each character adds to those before it."""
    base = previous = " "  # the last character that takes columns, and the last of all
    selected = half_flag = False
    for char in text:
        columns = _own_columns(char)
        is_flag_letter = _FIRST_FLAG_LETTER <= char <= _LAST_FLAG_LETTER
        half_flag = is_flag_letter and not half_flag
        if char == _EMOJI_SELECTOR:
            columns, selected = int(base in _NARROW_EMOJI and not selected), True
        elif (
            (previous == _JOINER and _is_pictograph(base) and _is_pictograph(char))
            or ("\U0001f3fb" <= char <= "\U0001f3ff" and _is_pictograph(base))  # a skin tone
            or (is_flag_letter and not half_flag)
        ):
            columns = 0
        elif columns:
            base, selected = char, False
        previous = char
        yield columns


def _own_columns(char: str) -> int:
    category = unicodedata.category(char)
    if category in {"Mn", "Me"} or (category == "Cf" and char not in _VISIBLE_FORMAT):
        return 0
    if (
        "\u1160" <= char <= "\u11ff" or "\ud7b0" <= char <= "\ud7ff"
    ):  # the second and third letters of a Hangul syllable
        return 0
    if category == "Cn":  # Pythons disagree about unassigned characters; in this range, later Unicodes have wide ones
        return 2 if "\U0001f300" <= char <= "\U0003fffd" else 1
    is_wide = unicodedata.east_asian_width(char) in {"F", "W"} or _FIRST_FLAG_LETTER <= char <= _LAST_FLAG_LETTER
    return 2 if is_wide else 1


def _is_pictograph(char: str) -> bool:
    """Return whether skin tones and joiners apply to a character."""
    if char in _NARROW_EMOJI:
        return not char.isascii()
    return unicodedata.category(char) in {"So", "Cn"} and _own_columns(char) == 2
