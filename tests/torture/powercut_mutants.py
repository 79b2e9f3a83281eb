"""Faults to put into the library, each of which a power cut must show."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple


class Mutant(NamedTuple):
    scenario: str  # which shows it
    module: str
    old: str
    new: str
    without: str = ""  # what goes besides


_SYNC_FILE = "            os.fsync(self._descriptor)  # once"
_SYNC_MADE = "                    sync_directory(path.parent)"
_REPLACE = "                _replace(self._temporary, self._path)"
_SYNC_SAVED = '        self._tree.sync(self._directory, f"{self._path.name} is saved")'
_TEMPORARY = 'f"{OWN_PREFIX}.{self._token.hex()}.tmp"'
_MOVE = "        linked = _link(path, target)\n        if not linked:"
_SYNC_MOVED = '        self.sync(target.parent, f"{target.name} is there")\n'
_MOVE_IN = "    tree.move(path, entry.content)\n"

MUTANTS = {
    "no fsync of the file": Mutant("saves", "staging", _SYNC_FILE, "            pass  #"),
    "no fsync of the directory": Mutant("saves", "staging", _SYNC_SAVED, "        pass"),
    "no fsync of a new directory's parent": Mutant("first save", "files", _SYNC_MADE, "                    pass"),
    "a new directory synced, not its parent": Mutant(
        "first save", "files", _SYNC_MADE, "                    sync_directory(path)"
    ),
    "fsync of the file before it is written": Mutant(
        "saves",
        "staging",
        "        written = 0\n",
        "        written = 0\n        os.fsync(self._descriptor)\n",
        without=_SYNC_FILE,
    ),
    "fsync of the file after the rename": Mutant(
        "saves", "staging", _REPLACE, f"{_REPLACE}\n                os.fsync(self._descriptor)", without=_SYNC_FILE
    ),
    "written in place": Mutant(
        "saves",
        "staging",
        _REPLACE,
        "                self._path.write_bytes(open(self._temporary, 'rb').read())\n"
        "                with open(self._path, 'rb') as file: os.fsync(file.fileno())\n"
        "                os.unlink(self._temporary)",
    ),
    "unlinked before the rename": Mutant(
        "saves", "staging", _REPLACE, f"                self._path.unlink(missing_ok=True)\n{_REPLACE}"
    ),
    "one name for all temporary files": Mutant("saves", "staging", _TEMPORARY, 'f"{OWN_PREFIX}.0000000000000000.tmp"'),
    "temporary files that no prune knows": Mutant("saves", "staging", _TEMPORARY, 'f"{self._token.hex()}.tmp"'),
    "acknowledged before the sync": Mutant(
        "edits", "sessions", "            staged.sync()", "            import atexit; atexit.register(staged.sync)"
    ),
    "the base synced instead of the category": Mutant(
        "saves", "staging", _SYNC_SAVED, '        self._tree.sync(self._tree.base, "")'
    ),
    "no sync after a delete": Mutant(
        "deletes",
        "documents",
        '                self._tree.sync(paths[0].parent, "the document is deleted")',
        "                pass",
    ),
    "summaries for whatever the file is by now": Mutant(
        "lists", "summaries", "entry._source.identity == identity:", "True:"
    ),
    "a damaged cache is an error": Mutant(
        "lists", "summarycache", '        raise ValueError("there', '        if raw: raise RuntimeError("there'
    ),
    "no sync after a prune": Mutant("prune", "store", "        if removed:\n", "        if False:\n"),
    "archived by rename, the sessions synced first": Mutant(
        "archive",
        "files",
        _MOVE,
        "        os.rename(path, target); sync_directory(path.parent); linked = False\n        if False:",
    ),
    "archived without a sync of the archive": Mutant("archive", "files", _SYNC_MOVED, ""),
    "unlinked before the archive is synced": Mutant(
        "archive", "files", _SYNC_MOVED, f"        self.remove(path)\n{_SYNC_MOVED}"
    ),
    "quarantined by rename, without a sync": Mutant(
        "quarantine", "quarantine", _MOVE_IN, "    os.rename(path, entry.content)\n"
    ),
    "quarantine: no sync of where the file was": Mutant(
        "quarantine", "quarantine", '    tree.sync(path.parent, f"{path.name} is in quarantine")\n', ""
    ),
    "the copy of a corrupt file is not synced": Mutant(
        "replace corrupt", "quarantine", "        staged.replace()\n        staged.sync()", "        staged.replace()"
    ),
}


def put_in(name: str, package: Path, target: Path) -> None:
    """Copy the package below *target*, with the fault in it."""
    mutant = MUTANTS[name]
    copy = Path(shutil.copytree(package, target / package.name, ignore=shutil.ignore_patterns("__pycache__")))
    module = copy / f"{mutant.module}.py"
    source = module.read_text(encoding="utf-8")
    if mutant.old not in source or mutant.without not in source:
        raise ValueError(f"{mutant.module}.py has changed: there is no place for the fault {name!r}")
    if mutant.without:
        source = source.replace(mutant.without, "            pass  #")
    module.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
