"""Names of categories and documents: which are allowed, checked before the disk is touched."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from oxios_state.errors import InvalidNameError
from oxios_state.storage import system

if TYPE_CHECKING:
    from collections.abc import Callable

EXTENSIONS = (".json", ".md")
OWN_PREFIX = ".oxios_state"
"""The prefix of the library's own files and directories, which no document may have."""
NOT_CATEGORIES = frozenset({OWN_PREFIX, ".git"})
"""Directories in a base that are not categories: the library's own, and that of git, as Oxios keeps state in git."""

FOREIGN_PREFIXES = ("._", ".#")
"""Prefixes of files that are passed over in silence: macOS puts ``._x.json`` beside ``x.json`` where the file system
has no room for its attributes, and Emacs locks ``x.json`` by ``.#x.json``. No document may have such a name."""

_MAX_LENGTH = 255  # bytes of one path component: NAME_MAX of common file systems (ext4, xfs, btrfs, apfs, ntfs)
# re compiles and caches these when they are first used.
_CONTROL = r"[\x00-\x1f\x7f-\x9f]"
_WINDOWS_CHARACTER = r'[<>:"|?*]'
_WINDOWS_DEVICE = r"(?i:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])(?:\..*)?"


def check_category(category: str) -> None:
    """Raise an error for a category that is not allowed.

    Raises:
        InvalidNameError: With the reason.
        TypeError: If it is not a string.
    """
    _check_text(category, "category")
    for component in category.split("/"):
        if not component:
            raise InvalidNameError(f"category {category!r} begins or ends with '/', or contains '//'")
        _check_component(component, f"category {category!r}")


def check_name(name: str, extension: str = "") -> None:
    """Raise an error for a document's name that is not allowed.

    Args:
        name: The name, without its extension.
        extension: The extension on disk, ``.json`` or ``.md``, which counts towards the length.

    Raises:
        InvalidNameError: With the reason.
        TypeError: If it is not a string.
    """
    _check_text(name, "name")
    if "/" in name:
        raise InvalidNameError(f"name {name!r} contains '/'")
    _check_component(name, f"name {name!r}", extension)


def is_allowed(name: str, extension: str) -> bool:
    """Return whether `check_name` accepts a name."""
    return _accepts(check_name, name, extension)


def is_category(category: str) -> bool:
    """Return whether `check_category` accepts a category."""
    return _accepts(check_category, category)


def is_document(file_name: str) -> bool:
    """Return whether a file of this name is a document: it has a name and the extension of one, and is not foreign."""
    return file_name.endswith(EXTENSIONS) and file_name not in EXTENSIONS and not file_name.startswith(FOREIGN_PREFIXES)


def _accepts(check: Callable[..., None], *arguments: str) -> bool:
    try:
        check(*arguments)
    except InvalidNameError:
        return False
    return True


def windows_problem(component: str) -> str | None:
    """Return why Windows cannot hold a file or directory of this name; None if it can."""
    if re.search(_WINDOWS_CHARACTER, component):
        return 'contains one of <>:"|?*, which Windows does not allow'
    if component.endswith((".", " ")):
        return "ends with a dot or a space, which Windows does not allow"
    if re.fullmatch(_WINDOWS_DEVICE, component):
        return "is the name of a device on Windows"
    return None


def _check_text(text: str, kind: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"a {kind} must be str, not {type(text).__name__}")
    if not text:
        raise InvalidNameError(f"a {kind} must not be empty")
    if ".." in text:  # anywhere, as in the kernel
        raise InvalidNameError(f"{kind} {text!r} contains '..'")
    if "\\" in text:
        raise InvalidNameError(f"{kind} {text!r} contains a backslash")
    if re.search(_CONTROL, text):
        raise InvalidNameError(f"{kind} {text!r} contains a control character")


def _check_component(component: str, label: str, extension: str = "") -> None:
    if component == ".":
        raise InvalidNameError(f"{label}: '.' is not a name")
    if component.casefold().startswith(OWN_PREFIX):  # casefold, for file systems that ignore case
        raise InvalidNameError(f"{label} begins with {OWN_PREFIX!r}, which is reserved for this library")
    if component.startswith(FOREIGN_PREFIXES):
        raise InvalidNameError(f"{label} begins with {component[:2]!r}, like the files that systems and editors make")
    try:
        length = len(component.encode()) + len(extension)
    except UnicodeEncodeError:
        raise InvalidNameError(f"{label} contains a lone surrogate") from None
    try:
        os.fsencode(component)
    except UnicodeEncodeError as error:
        raise InvalidNameError(f"{label} has characters that file names on this system cannot have: {error}") from None
    if length > _MAX_LENGTH:
        raise InvalidNameError(f"{label} is {length} bytes long with its extension; file systems allow {_MAX_LENGTH}")
    if system.WINDOWS and (problem := windows_problem(component)):
        raise InvalidNameError(f"{label} {problem}")
