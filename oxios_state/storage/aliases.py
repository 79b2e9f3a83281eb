"""Spelling: whether a name is that of the file, where the file system takes several names for one.

Most of macOS and Windows, and vfat everywhere, take ``foo`` for ``Foo``; some take composed and decomposed characters
for the same, a name with a dot at its end for one without, or a short name for a long one. Reading by such a name gives
the other file. Changing by it would lose what the other holds, so that is refused.
"""

from __future__ import annotations

import os
import unicodedata
from typing import TYPE_CHECKING, Any

from oxios_state.errors import InvalidNameError
from oxios_state.storage import reads as reading
from oxios_state.storage import tree as files
from oxios_state.storage.names import OWN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from oxios_state.storage.revisions import Identity


class Spelling:
    """Refuses names under which there is another file. Where the file system tells names apart, that costs nothing.

    Args:
        tree: The directory of the store.
    """

    def __init__(self, tree: files.Tree) -> None:
        self._tree = tree
        self._ignores_case: dict[Path, bool] = {}  # by directory
        self._exact: set[str] = set()  # categories whose directories have these names

    def __reduce__(self) -> tuple[Any, ...]:
        return Spelling, (self._tree,)

    def refuse_document(self, path: Path, known: Container[Identity | None] = ()) -> None:
        """Refuse the path of a document if the file that is there has another name. The caller holds the lock.

        Args:
            path: The document; there need be none.
            known: Identities of the file when it was known to be that document.

        Raises:
            InvalidNameError: If it has.
        """
        directory = files.parent(path)
        ignores_case = self._ignores_case.get(directory)
        if (ignores_case is False and path.name.isascii()) or not os.path.lexists(path):
            return
        if ignores_case is None:
            stem, extension = os.path.splitext(path.name)
            ignores_case = self._ignores_case[directory] = _is_one(path, stem + extension.upper())
        if (ignores_case or _ignores_normalisation(path)) and reading.identity(path) not in known:
            _refuse_unlisted(path)

    def refuse_category(self, category: str) -> None:
        """Refuse a category if its directory, or one above it, has another name. The caller holds the lock.

        Raises:
            InvalidNameError: If it has.
        """
        if category in self._exact:
            return
        path = base = self._tree.base
        if base not in self._ignores_case:
            self._ignores_case[base] = _is_one(self._tree.own, OWN_PREFIX.upper())
        for component in category.split("/"):
            path = files.join(path, component)
            if not os.path.lexists(path):
                return
            if self._ignores_case[base] or _is_one(path, component.swapcase()) or _ignores_normalisation(path):
                _refuse_unlisted(path)
        self._exact.add(category)


def _ignores_normalisation(path: Path) -> bool:
    if path.name.isascii():
        return False
    return any(_is_one(path, normalize(path.name)) for normalize in (_composed, _decomposed))


def _is_one(path: Path, name: str) -> bool:
    """Say whether what is at *path* has another *name* too."""
    try:
        return name != path.name and os.path.samestat(os.lstat(path), os.lstat(files.join(path.parent, name)))
    except OSError:  # there is nothing by that name, or it cannot be one
        return False


def _refuse_unlisted(path: Path) -> None:
    names = os.listdir(files.parent(path))
    if path.name not in names:
        same = [name for name in names if _folded(name) == _folded(path.name)]
        other = f"{same[0]!r}" if same else "another name"
        raise InvalidNameError(f"nothing is changed, the file system takes {path.name!r} for {other}: {path}")


def _folded(name: str) -> str:
    return _composed(name).casefold()


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _decomposed(name: str) -> str:
    return unicodedata.normalize("NFD", name)
