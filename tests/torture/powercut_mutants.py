"""Faults in the library that a power cut must reveal."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple


class Mutant(NamedTuple):
    scenario: str  # the scenario that reveals it
    module: str
    old: str
    new: str
    without: str = ""  # text that is also removed


_SYNC_FILE = "            system.sync(self._descriptor)  # once"
_SYNC_MADE = "                    sync_directory(path.parent)"
_REPLACE = "                _replace(self._temporary, self._path)"
_SYNC_SAVED = '        self._tree.sync(self._path.parent, f"{self._path.name} is saved")'
_TEMPORARY = 'f"{OWN_PREFIX}.{self._token.hex()}.tmp"'
_MOVE = "        linked = link(path, target)\n        if not linked:"
_SYNC_MOVED = '        self.sync(target.parent, f"{target.name} is there")\n'
_MOVE_IN = "                move(self._tree, path, entry.content)\n"

MUTANTS = {
    "no fsync of the file": Mutant("saves", "storage/atomic_write", _SYNC_FILE, "            pass  #"),
    "no fsync of the directory": Mutant("saves", "storage/atomic_write", _SYNC_SAVED, "        pass"),
    "no fsync of a new directory's parent": Mutant(
        "first save", "storage/tree", _SYNC_MADE, "                    pass"
    ),
    "a new directory synced, not its parent": Mutant(
        "first save", "storage/tree", _SYNC_MADE, "                    sync_directory(path)"
    ),
    "fsync of the file before it is written": Mutant(
        "saves",
        "storage/atomic_write",
        "        written = 0\n",
        "        written = 0\n        system.sync(self._descriptor)\n",
        without=_SYNC_FILE,
    ),
    "fsync of the file after the rename": Mutant(
        "saves",
        "storage/atomic_write",
        _REPLACE,
        f"{_REPLACE}\n                system.sync(self._descriptor)",
        without=_SYNC_FILE,
    ),
    "written in place": Mutant(
        "saves",
        "storage/atomic_write",
        _REPLACE,
        "                self._path.write_bytes(open(self._temporary, 'rb').read())\n"
        "                with open(self._path, 'rb') as file: os.fsync(file.fileno())\n"
        "                os.unlink(self._temporary)",
    ),
    "unlinked before the rename": Mutant(
        "saves", "storage/atomic_write", _REPLACE, f"                self._path.unlink(missing_ok=True)\n{_REPLACE}"
    ),
    "one name for all temporary files": Mutant(
        "saves", "storage/atomic_write", _TEMPORARY, 'f"{OWN_PREFIX}.0000000000000000.tmp"'
    ),
    "temporary files that no prune knows": Mutant(
        "saves", "storage/atomic_write", _TEMPORARY, 'f"{self._token.hex()}.tmp"'
    ),
    "acknowledged before the sync": Mutant(
        "edits", "documents", "            staged.sync()", "            import atexit; atexit.register(staged.sync)"
    ),
    "the base synced instead of the category": Mutant(
        "saves", "storage/atomic_write", _SYNC_SAVED, '        self._tree.sync(self._tree.base, "")'
    ),
    "no sync after a delete": Mutant(
        "deletes",
        "documents",
        '                    directory.sync("the document is deleted")',
        "                    pass",
    ),
    "summaries for whatever the file is by now": Mutant(
        "lists", "sessions/index", "entry.revision.identity == identity:", "True:"
    ),
    "a damaged cache is an error": Mutant(
        "lists", "sessions/index", '        raise ValueError("the file', '        if raw: raise RuntimeError("the file'
    ),
    "no sync after a prune": Mutant(
        "prune", "sessions/pruning", "            if removed:\n", "            if False:\n"
    ),
    "archived by rename, the sessions synced first": Mutant(
        "archive",
        "storage/tree",
        _MOVE,
        "        os.rename(path, target); sync_directory(path.parent); linked = False\n        if False:",
    ),
    "archived without a sync of the archive": Mutant("archive", "storage/tree", _SYNC_MOVED, ""),
    "unlinked before the archive is synced": Mutant(
        "archive", "storage/tree", _SYNC_MOVED, f"        remove(path)\n{_SYNC_MOVED}"
    ),
    "quarantined by rename, without a sync": Mutant(
        "quarantine", "maintenance/quarantine", _MOVE_IN, "                os.rename(path, entry.content)\n"
    ),
    "quarantine: no sync of where the file was": Mutant(
        "quarantine",
        "maintenance/quarantine",
        '            self._tree.sync(path.parent, f"{path.name} is in quarantine")\n',
        "",
    ),
    "the copy of a corrupt file is not synced": Mutant(
        "replace corrupt",
        "maintenance/quarantine",
        "            staged.replace()\n            staged.sync()",
        "            staged.replace()",
    ),
}


def source_with(name: str, package: Path) -> str:
    """Return the source of a module of the package with the fault in it."""
    mutant = MUTANTS[name]
    source = (package / f"{mutant.module}.py").read_text(encoding="utf-8")
    if source.count(mutant.old) != 1 or mutant.without not in source:
        raise ValueError(f"{mutant.module}.py has changed: there is no one place for the fault {name!r}")
    if mutant.without:
        source = source.replace(mutant.without, "            pass  #")
    return source.replace(mutant.old, mutant.new)


def put_in(name: str, package: Path, target: Path) -> None:
    """Copy the package into *target*, with the fault in it."""
    copy = Path(shutil.copytree(package, target / package.name, ignore=shutil.ignore_patterns("__pycache__")))
    (copy / f"{MUTANTS[name].module}.py").write_text(source_with(name, package), encoding="utf-8")
