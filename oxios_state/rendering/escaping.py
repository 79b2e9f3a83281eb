"""Escaping: invisible characters made visible, and text of any origin kept from changing a Markdown document."""

from __future__ import annotations

import re

# Besides control characters: separators that some programs take for line breaks, marks that change the direction of the
# text around them, characters without width and tags (they hide from people what programs read), and lone surrogates
# (no file can contain them).
_INVISIBLE = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_SPECIAL_INLINE = re.compile(r"[\\`*_\[\]<>&~#|!$]")
_BACKTICKS = re.compile("`+")
_CELL_OR_LABEL = re.compile(r"\||\]:")
_FENCE = re.compile(r"(`{3,})[^`]*|(~{3,}).*")
_INDENTED_FENCE = re.compile(r"[-+*>.)\d \t]+(?:```|~~~)")
# The beginnings of HTML, autolinks, link definitions (they affect the whole document) and images.
_UNSAFE = re.compile(r"<(?!\s|$)|\]:|!\[")


def visible(text: str) -> str:
    """Replace invisible characters except newline and tab: ASCII ones by pictures, others by escapes as in JSON.

    A carriage return before a newline is dropped.
    """
    return _INVISIBLE.sub(_picture_of, text.replace("\r\n", "\n"))


def visible_line(text: str) -> str:
    """Replace invisible characters, newlines and tabs, so that the text is one line and one cell of a table."""
    return visible(text).replace("\n", "\u240a").replace("\t", "\u2409")


def _picture_of(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else _escape(code)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def inline_text(text: str) -> str:
    """Return a text as one line of Markdown that displays it literally."""
    return _SPECIAL_INLINE.sub(r"\\\g<0>", visible(" ".join(text.split())))


def inline_code(text: str) -> str:
    """Return a text as a code span on one line; an empty text as ``""``."""
    code = visible_line(text) or '""'
    ticks = "`" * (_longest_run(code) + 1)
    padding = " " if code[0] in "` " or code[-1] in "` " else ""
    return f"{ticks}{padding}{code}{padding}{ticks}"


def fenced(text: str, language: str) -> str:
    """Return a text as a fenced code block."""
    code = visible(text)
    ticks = "`" * max(_longest_run(code) + 1, 3)
    return f"{ticks}{language}\n{code}\n{ticks}"


def quoted(text: str) -> str:
    """Return a Markdown text in a block quote. The quote ends whatever the text leaves open, such as a code fence.

    A block quote cannot confine HTML, images and link definitions: a text that may contain them is quoted as source.
    """
    markdown = visible(text)
    lines = (markdown if is_safe(markdown) else fenced(markdown, "markdown")).split("\n")
    return "\n".join(f"> {line}" if line else ">" for line in lines)


def is_safe(text: str) -> bool:
    """Return whether a Markdown text certainly has no HTML, image or link definition outside of code.

    Text counts as code only where CommonMark leaves no doubt without parsing the whole document: in a fence that begins
    at the margin, and in a span that ends on its line, if all earlier spans of the paragraph do so too.
    """
    fence = ""  # the fence that encloses the line, if any
    sure = True  # where code begins and ends is certain up to here
    doubtful_fence = False
    for line in text.split("\n"):
        bare = line.strip(" \t")
        if fence:
            if bare.startswith(fence) and not bare.strip(fence[0]):
                indent = line[: line.index(fence[0])]
                doubtful_fence = doubtful_fence or "\t" in indent
                if "\t" in indent or len(indent) < 4:
                    fence, sure = "", not doubtful_fence
        elif not doubtful_fence and (opening := _FENCE.fullmatch(line)):
            fence = opening[1] or opening[2]
        else:
            doubtful_fence = doubtful_fence or _INDENTED_FENCE.match(line) is not None
            sure = not doubtful_fence and (sure or not bare)
            outside, sure = _without_code(line) if sure else (line, False)
            if _UNSAFE.search(outside):
                return False
    return True


def _without_code(line: str) -> tuple[str, bool]:
    """Replace each code span of a line by an x, as far as the spans are certain.

    Returns:
        The line, and whether all of its spans are certain.
    """
    outside: list[str] = []
    position = 0
    runs = map(re.Match.span, _BACKTICKS.finditer(line))
    for start, end in runs:
        closing = next((span for span in runs if span[1] - span[0] == end - start), None)
        # A backslash makes the first backtick literal; a pipe may end a cell of a table, and a bracket a label.
        if closing is None or line[start - 1 : start] == "\\" or _CELL_OR_LABEL.search(line, end, closing[0]):
            return "".join((*outside, line[position:])), False
        outside += (line[position:start], "x")
        position = closing[1]
    return "".join((*outside, line[position:])), True


def _longest_run(text: str) -> int:
    return max(map(len, _BACKTICKS.findall(text)), default=0)
