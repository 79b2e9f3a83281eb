"""Tables of text in aligned columns, and the width of text on a terminal.

`width` agrees with the package ``wcwidth`` on what conversations contain: soft hyphens, combining marks, East Asian
characters, and emoji with skin tones, variation selectors and joiners.
"""

from __future__ import annotations

import unicodedata
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

_GAP = "  "
_LEAST_LAST = 12  # columns of a terminal below which the last cell of a row is of no use
_JOINER, _EMOJI_SELECTOR = "\u200d", "\ufe0f"
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
    room, end = columns - 3, 0
    for taken in _columns(text):
        room -= taken
        if room < 0:
            break
        end += 1
    return f"{text[:end]}..."


def align(rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> Iterator[str]:
    """Return the lines of a table. Short rows are filled up.

    Args:
        rows: The cells, each a line of text.
        right: The numbers of the columns that are aligned to the right.
    """
    columns = list(zip_longest(*rows, fillvalue=""))
    widths = [max(map(width, column)) for column in columns]
    for row in zip(*columns, strict=True):
        padded = []
        for index, (cell, most) in enumerate(zip(row, widths, strict=True)):
            padding = " " * (most - width(cell))
            padded.append(padding + cell if index in right else cell + padding)
        yield _GAP.join(padded).rstrip()


def fit(rows: Sequence[Sequence[str]], columns: int) -> Iterator[str]:
    """Return the lines of a table on a terminal.

    The first cell of a row is never cut. Where the terminal is too narrow, the last cell is cut, and other columns are
    left out, the last but one first. So are columns that are empty below the header.

    Args:
        rows: The header and the rows, all of the same length.
        columns: The width of the terminal.
    """
    cells = [column for column in zip(*rows, strict=True) if any(column[1:])]
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
    emoji = 0  # the columns of the emoji that the next characters may change, or 0
    previous = ""
    half_flag = False
    for char in text:
        columns = _own_columns(char)
        is_emoji = char in _NARROW_EMOJI or (columns == 2 and unicodedata.category(char) == "So")
        is_indicator = "\U0001f1e6" <= char <= "\U0001f1ff"
        half_flag = is_indicator and not half_flag
        if char == _EMOJI_SELECTOR and emoji:
            columns, emoji = 2 - emoji, 2
        elif (
            (emoji and previous == _JOINER and is_emoji)
            or (emoji and "\U0001f3fb" <= char <= "\U0001f3ff")  # a skin tone
            or (is_indicator and not half_flag)
        ):
            columns = 0
        elif columns:
            emoji = columns if is_emoji else 0
        previous = char
        yield columns


def _own_columns(char: str) -> int:
    category = unicodedata.category(char)
    if category in {"Mn", "Me"} or (category == "Cf" and char not in _VISIBLE_FORMAT):
        return 0
    if "\u1160" <= char <= "\u11ff" or "\ud7b0" <= char <= "\ud7ff":  # the letters of a Hangul syllable, but its first
        return 0
    if category == "Cn":  # the emoji and ideographs of a later Unicode are wide; what Python says of them varies
        return 2 if "\U0001f300" <= char <= "\U0003fffd" else 1
    is_wide = unicodedata.east_asian_width(char) in {"F", "W"} or "\U0001f1e6" <= char <= "\U0001f1ff"
    return 2 if is_wide else 1
