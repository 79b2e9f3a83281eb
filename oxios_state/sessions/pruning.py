"""Taking a document away, for good or into an archive, if it is still what it was when that was decided."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from oxios_state.errors import InvalidNameError
from oxios_state.storage import names
from oxios_state.storage import reads as reading
from oxios_state.storage import tree as files
from oxios_state.storage.revisions import identity_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from oxios_state.storage.revisions import Revision

_RELATIVE = {os.stat, os.unlink} <= os.supports_dir_fd  # a quarter quicker than by a whole path


class Remover:
    """Removes documents of one category, whose lock the caller holds. See `opened`."""

    def __init__(self, tree: files.Tree, directory: Path, descriptor: int | None) -> None:
        self._tree = tree
        self._directory = directory
        self._descriptor = descriptor

    def remove_unchanged(self, file_name: str, revision: Revision, archive: str | None) -> bool:
        """Remove a document, or move it into the category *archive*, if it is still at *revision*; say whether it was.

        An archived document that is there already keeps its name; the new one gets a number.

        Raises:
            InvalidNameError: If it is a symbolic link, which is not archived, or its new name is too long.
            OSError: If it cannot be removed.
        """
        if archive is None and self._descriptor is not None:
            try:
                status = os.stat(file_name, dir_fd=self._descriptor, follow_symlinks=False)
                if identity_of(status) == revision.identity:
                    os.unlink(file_name, dir_fd=self._descriptor)
                    return True
            except OSError:
                pass  # tried again below, for an error that names the whole path
        path = self._directory / file_name
        self._tree.refuse_link_outside(path)
        found = reading.read_unknown(path, (revision.identity,))
        if found is None or (found[0] is not None and not revision.holds(found[0])):
            return False
        if archive is None:
            return self._tree.remove(path)
        if path.is_symlink():
            raise InvalidNameError(f"a symbolic link is not archived: {path}")
        return self._archive(path, archive)

    def _archive(self, path: Path, archive: str) -> bool:
        number, name = 1, path.stem
        while True:
            names.check_name(name, path.suffix)
            try:
                return self._tree.move(path, self._tree.document(archive, name, path.suffix))
            except FileExistsError:
                number += 1
                name = f"{path.stem}.{number}"


@contextmanager
def opened(tree: files.Tree, category: str) -> Iterator[Remover]:
    """Open a category, to remove documents of it."""
    directory = tree.directory(category)
    descriptor = None
    if _RELATIVE:
        with suppress(FileNotFoundError):  # then there is nothing to remove
            descriptor = os.open(directory, os.O_RDONLY)
    try:
        yield Remover(tree, directory, descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)
