"""Aliases: names that the file system takes for that of another file.

Most of macOS and Windows, and vfat everywhere, take ``foo`` for ``Foo``; some take composed and decomposed characters
for the same, a name with a trailing dot for one without, or a short name for a long one. Reading by an alias returns
the other file. Changing by it would lose the other's content, so that is refused.
"""

from __future__ import annotations

import os
import unicodedata
from typing import TYPE_CHECKING

from oxios_state.errors import InvalidNameError
from oxios_state.storage import reads
from oxios_state.storage.names import OWN_PREFIX
from oxios_state.storage.tree import join

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from oxios_state.model.revision import Identity
    from oxios_state.storage.tree import Tree


class Aliases:
    """Refuses aliases of other files. Where the file system tells names apart, that costs nothing.

    Args:
        tree: The directories of the store.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._ignores_case: dict[Path, bool] = {}  # by directory
        self._exact: set[str] = set()  # categories whose directories have exactly these names

    def refuse_document(self, path: Path, known: Container[Identity | None] = ()) -> None:
        """Raise an error if a document's path is an alias of another file. The caller holds the lock.

        Args:
            path: The document, which need not exist.
            known: Identities of the file when it was known to be that document.

        Raises:
            InvalidNameError: If it is an alias.
        """
        ignores_case = self._ignores_case.get(path.parent)
        if (ignores_case is False and path.name.isascii()) or not os.path.lexists(path):
            return
        if ignores_case is None:
            stem, extension = os.path.splitext(path.name)
            ignores_case = self._ignores_case[path.parent] = _is_same(path, stem + extension.upper())
        if (ignores_case or _ignores_normalisation(path)) and reads.identity(path) not in known:
            _refuse_unlisted(path)

    def refuse_category(self, category: str) -> None:
        """Raise an error if the directory of a category, or one above it, has another name. The caller holds the lock.

        Raises:
            InvalidNameError: If it has.
        """
        if category in self._exact:
            return
        path = base = self._tree.base
        if base not in self._ignores_case:
            self._ignores_case[base] = _is_same(self._tree.own, OWN_PREFIX.upper())
        for component in category.split("/"):
            path = join(path, component)
            if not os.path.lexists(path):
                return
            if self._ignores_case[base] or _is_same(path, component.swapcase()) or _ignores_normalisation(path):
                _refuse_unlisted(path)
        self._exact.add(category)


def _ignores_normalisation(path: Path) -> bool:
    if path.name.isascii():
        return False
    return any(_is_same(path, normalize(path.name)) for normalize in (_composed, _decomposed))


def _is_same(path: Path, name: str) -> bool:
    """Return whether *name* is another name of the file at *path*."""
    try:
        return name != path.name and os.path.samestat(os.lstat(path), os.lstat(path.parent / name))
    except OSError:  # there is no such file, or the name is not possible
        return False


def _refuse_unlisted(path: Path) -> None:
    names = os.listdir(path.parent)
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
