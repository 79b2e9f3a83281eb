"""Which categories and document names are allowed: a name is refused here, before the disk is touched."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from oxios_state.errors import InvalidNameError

if TYPE_CHECKING:
    from collections.abc import Callable

OWN_PREFIX = ".oxios_state"
"""What this library's own files and directories begin with, so that no document can be one of them."""

_LONGEST = 255  # bytes of one path component: NAME_MAX of the usual file systems (ext4, xfs, btrfs, apfs, ntfs)
# Patterns are compiled, and cached by re, when they are first used: compiling all would double the cost of importing.
_CONTROL = r"[\x00-\x1f\x7f-\x9f]"
_WINDOWS_CHARACTER = r'[<>:"|?*]'
_WINDOWS_DEVICE = r"(?i:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])(?:\..*)?"


def check_category(category: str) -> None:
    """Refuse a category that the store cannot hold.

    Raises:
        InvalidNameError: With what is wrong with it.
        TypeError: If it is not a string.
    """
    _check_text(category, "category")
    for component in category.split("/"):
        if not component:
            raise InvalidNameError(f"category {category!r} begins or ends with '/', or contains '//'")
        _check_component(component, f"category {category!r}")


def check_name(name: str, extension: str = "") -> None:
    """Refuse a document's name that the store cannot hold.

    Args:
        name: The name, without its extension.
        extension: What is added to it on disk, for its length: ``.json`` or ``.md``.

    Raises:
        InvalidNameError: With what is wrong with it.
        TypeError: If it is not a string.
    """
    _check_text(name, "name")
    if "/" in name:
        raise InvalidNameError(f"name {name!r} contains '/'")
    _check_component(name, f"name {name!r}", extension)


def is_allowed(name: str, extension: str) -> bool:
    """Say whether `check_name` takes a name."""
    return _takes(check_name, name, extension)


def is_category(category: str) -> bool:
    """Say whether `check_category` takes a category."""
    return _takes(check_category, category)


def _takes(check: Callable[..., None], *arguments: str) -> bool:
    try:
        check(*arguments)
    except InvalidNameError:
        return False
    return True


def windows_problem(component: str) -> str | None:
    """Say why Windows could not hold a file or directory of this name; None if it could."""
    if re.search(_WINDOWS_CHARACTER, component):
        return 'contains one of <>:"|?*, which Windows does not allow'
    if component.endswith((".", " ")):
        return "ends with a dot or a space, which Windows does not allow"
    if re.fullmatch(_WINDOWS_DEVICE, component):
        return "is the name of a device on Windows"
    return None


def _check_text(text: str, kind: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"a {kind} is a str, not {type(text).__name__}")
    if not text:
        raise InvalidNameError(f"a {kind} must not be empty")
    if ".." in text:  # anywhere, as in the kernel
        raise InvalidNameError(f"{kind} {text!r} contains '..'")
    if "\\" in text:
        raise InvalidNameError(f"{kind} {text!r} contains a backslash")
    if re.search(_CONTROL, text):
        raise InvalidNameError(f"{kind} {text!r} contains a control character")


def _check_component(component: str, what: str, extension: str = "") -> None:
    if component == ".":
        raise InvalidNameError(f"{what}: '.' is not a name")
    if component.casefold().startswith(OWN_PREFIX):  # casefold, for file systems that ignore case
        raise InvalidNameError(f"{what} begins with {OWN_PREFIX!r}, which is this library's own")
    try:
        length = len(component.encode()) + len(extension)
    except UnicodeEncodeError:
        raise InvalidNameError(f"{what} contains a lone surrogate") from None
    try:
        os.fsencode(component)
    except UnicodeEncodeError as error:
        raise InvalidNameError(f"{what} has characters that file names here cannot have: {error}") from None
    if length > _LONGEST:
        raise InvalidNameError(f"{what} is {length} bytes long with its extension; file systems take {_LONGEST}")
    if os.name == "nt" and (problem := windows_problem(component)):
        raise InvalidNameError(f"{what} {problem}")
