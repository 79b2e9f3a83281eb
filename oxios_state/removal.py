"""Taking a document away, for good or into an archive, if it is still what it was when that was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxios_state import files, names, reading
from oxios_state.errors import InvalidNameError

if TYPE_CHECKING:
    from pathlib import Path

    from oxios_state.revisions import Revision


def remove_unchanged(tree: files.Tree, path: Path, revision: Revision, archive: str | None) -> bool:
    """Remove a document, or move it into the category *archive*, if it is still at *revision*; say whether it was.

    The caller holds the locks. An archived document that is there already keeps its name; the new one gets a number.

    Raises:
        InvalidNameError: If it is a symbolic link, which is not archived, or its new name is too long.
        OSError: If it cannot be removed.
    """
    found = reading.read_unknown(path, (revision.identity,))
    if found is None or (found[0] is not None and not revision.holds(found[0])):
        return False
    if archive is None:
        return tree.remove(path)
    if path.is_symlink():
        raise InvalidNameError(f"a symbolic link is not archived: {path}")
    number, name = 1, path.stem
    while True:
        names.check_name(name, path.suffix)
        try:
            return tree.move(path, tree.document(archive, name, path.suffix))
        except FileExistsError:
            number += 1
            name = f"{path.stem}.{number}"
