"""Text of any origin in a markdown document, where it cannot change the structure of what stands around it."""

from __future__ import annotations

import re

# Besides control characters: separators that some programs take for line breaks, marks that turn the direction of the
# text around them, what hides text from people that programs read (characters without width, tags), and lone
# surrogates, which no file can hold.
_INVISIBLE = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_SPECIAL_INLINE = re.compile(r"[\\`*_\[\]<>&~#|!$]")
_BACKTICKS = re.compile("`+")
_FENCE = re.compile(r"(`{3,})[^`]*|(~{3,}).*")
_INDENTED_FENCE = re.compile(r"[-+*>.)\d \t]+(?:```|~~~)")
# The beginnings of HTML and autolinks, of link definitions (which hold in the whole document), and of images.
_WILD = re.compile(r"<(?!\s|$)|\]:|!\[")


def visible(text: str) -> str:
    """Show control characters but for newline and tab: the ASCII ones as pictures, others as escapes, as JSON has them.

    A carriage return before a newline is left out.
    """
    return _INVISIBLE.sub(_picture, text.replace("\r\n", "\n"))


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else _escape(code)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def inline_text(text: str) -> str:
    """Give a text on one line, where all that is special in markdown stands for itself."""
    return _SPECIAL_INLINE.sub(r"\\\g<0>", visible(" ".join(text.split())))


def inline_code(text: str) -> str:
    """Give a text as a code span, on one line."""
    shown = visible(text).replace("\n", "\u240a").replace("\t", "\u2409") or '""'
    ticks = "`" * (_longest_run(shown) + 1)
    padding = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{ticks}{padding}{shown}{padding}{ticks}"


def fenced(text: str, language: str) -> str:
    """Give a text as a fenced code block."""
    shown = visible(text)
    ticks = "`" * max(_longest_run(shown) + 1, 3)
    return f"{ticks}{language}\n{shown}\n{ticks}"


def quoted(text: str) -> str:
    """Give a markdown text in a block quote, which ends what it leaves open: lists, code fences, headings.

    One with HTML, images or link definitions, which a block quote does not hold, is shown as its source.
    """
    shown = visible(text)
    lines = (shown if is_tame(shown) else fenced(shown, "markdown")).split("\n")
    return "\n".join(f"> {line}" if line else ">" for line in lines)


def is_tame(text: str) -> bool:
    """Say whether a markdown text certainly has no HTML, no image and no link definition outside of code.

    It is sure of code where CommonMark leaves no doubt without parsing the whole: in fences that begin at the margin,
    and in spans that end on their line, in a paragraph where all do so up to there.
    """
    fence = ""  # what opened the code that the line is in
    sure = True  # of where code begins and ends, up to here: no fence in doubt, and in the paragraph no span
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
            if _WILD.search(outside):
                return False
    return True


def _without_code(line: str) -> tuple[str, bool]:
    """Give a line with an x for each code span, up to where it is not sure of them; and whether it is to the end."""
    outside, position = "", 0
    while opening := _BACKTICKS.search(line, position):
        start, end = opening.span()
        ticks = re.compile(f"(?<!`){opening[0]}(?!`)")
        closing = ticks.search(line, end)
        # A backslash makes the first backtick a plain one; a pipe may end a table's cell, and a bracket a label.
        if closing is None or line[start - 1 : start] == "\\" or re.search(r"\||\]:", line[end : closing.start()]):
            return outside + line[position:], False
        outside += line[position:start] + "x"
        position = closing.end()
    return outside + line[position:], True


def _longest_run(text: str) -> int:
    return max(map(len, _BACKTICKS.findall(text)), default=0)
