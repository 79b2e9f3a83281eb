"""What is wrong with the files of a store: each problem with its place, its cause and its remedy."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import defaultdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from oxios_state.codec import documents as codec
from oxios_state.codec import json_text as jsontext
from oxios_state.errors import CorruptStateError, InvalidNameError, UnsupportedValueError
from oxios_state.model.progress import over
from oxios_state.sessions.index import SESSIONS
from oxios_state.storage import atomic_write as staging
from oxios_state.storage import names
from oxios_state.storage import reads as reading
from oxios_state.storage import tree as files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from oxios_state.maintenance.probe import Finding
    from oxios_state.model.progress import Progress


class ProblemKind(Enum):
    """What `StateStore.check` can find."""

    CORRUPT = "corrupt"
    MISNAMED = "misnamed"
    UNSAFE = "unsafe"
    NOT_A_FILE = "not a file"
    LINK = "link"
    UNREADABLE = "unreadable"
    ORPHAN = "orphan"
    NAME = "name"
    PORTABILITY = "portability"
    FILE_SYSTEM = "file system"

    @property
    def remedy(self) -> str:
        """What can be done about a problem of this kind."""
        return _REMEDIES[self]


_REMEDIES = {
    ProblemKind.CORRUPT: "mend it by hand, or quarantine it",
    ProblemKind.MISNAMED: "give the file the name of the id in it, or quarantine it",
    ProblemKind.UNSAFE: "load it, change the value and save it: the kernel would refuse it, or read another value",
    ProblemKind.NOT_A_FILE: "move it away, or quarantine it",
    ProblemKind.LINK: "put the file itself in its place, or quarantine the link",
    ProblemKind.UNREADABLE: "give yourself the permission to read it",
    ProblemKind.ORPHAN: "let the next prune remove it, or quarantine it: its writer died before the save was done",
    ProblemKind.NAME: "rename it, or quarantine it: this library refuses the name",
    ProblemKind.PORTABILITY: "rename it before the directory goes to such a system",
    ProblemKind.FILE_SYSTEM: "move the directory to a file system that has this, or mount this one so that it does",
}


@attrs.frozen
class Problem:
    """One thing that `StateStore.check` found.

    Attributes:
        kind: Its kind; ``kind.remedy`` says what can be done.
        path: The file or directory.
        reason: What is wrong with it, and where in it: line and column, or the path of a value.
    """

    kind: ProblemKind
    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason} ({self.kind.remedy})"


def problem_of(base: Path, finding: Finding) -> Problem | None:
    """Give what a probe's finding says is wrong with the directory; None if it says nothing of the kind."""
    if finding.holds is False:
        return Problem(ProblemKind.FILE_SYSTEM, base, f"{finding.what}: {finding.detail}")
    return None


def check(tree: files.Tree, progress: Progress | None = None) -> Iterator[Problem]:
    """Find what is wrong, in all categories.

    Args:
        tree: The documents.
        progress: Is told of each file and category.
    """
    failures: list[OSError] = []
    unreadable: set[Path] = set()
    paths: list[Path] = []
    for directory, subdirectories, filenames in tree.walk(failures.append):
        found = [*subdirectories, *filenames]
        if directory == tree.base:  # a file beside the categories is in none, but may be in the place of one
            found = [name for name in found if name in subdirectories or _is_in_the_way(tree, directory / name)]
        yield from _find_collisions(directory, found)
        paths += [directory / name for name in found]
    for path in over(paths, progress):
        for problem in diagnose(tree, path):
            if problem.kind is ProblemKind.UNREADABLE:
                unreadable.add(problem.path)
            yield problem
    for error in failures:
        if not (isinstance(error, FileNotFoundError) or Path(error.filename) in unreadable):
            yield Problem(ProblemKind.UNREADABLE, Path(error.filename), str(error))


def diagnose(tree: files.Tree, path: Path) -> Iterator[Problem]:
    """Find what is wrong with one file or category; nothing, if it is neither a document nor a temporary file."""
    if staging.is_orphan(path):
        yield Problem(ProblemKind.ORPHAN, path, "a temporary file without a writer")
    elif path.name.endswith(files.EXTENSIONS) and path.name not in files.EXTENSIONS:
        yield from _check_name(path, names.check_name, *os.path.splitext(path.name))
        yield from _check_file(tree, path, _check_document)
    elif os.path.isdir(path) or _is_in_the_way(tree, path):
        yield from _check_name(path, names.check_category, path.name)
        yield from _check_file(tree, path, _check_category)


def persists(tree: files.Tree, problem: Problem) -> bool:
    """Say whether a file still has the problem that was found."""
    found = [*diagnose(tree, problem.path), *_find_collisions(problem.path.parent, os.listdir(problem.path.parent))]
    kinds = (problem.kind, ProblemKind.UNREADABLE)  # what cannot be read is not found mended
    return any(other.kind in kinds and other.path == problem.path for other in found)


def _check_name(path: Path, refuse: Callable[..., None], *name: str) -> Iterator[Problem]:
    try:
        refuse(*name)
    except InvalidNameError as error:
        yield Problem(ProblemKind.NAME, path, str(error))
    if problem := names.windows_problem(path.name):
        yield Problem(ProblemKind.PORTABILITY, path, f"the name {problem}")


def _check_file(
    tree: files.Tree, path: Path, check_content: Callable[[files.Tree, Path], Iterator[Problem]]
) -> Iterator[Problem]:
    try:
        tree.refuse_link_outside(path)
        yield from check_content(tree, path)
    except InvalidNameError as error:
        yield Problem(ProblemKind.LINK, path, str(error))
    except FileNotFoundError:
        if os.path.islink(path):  # otherwise it went meanwhile
            yield Problem(ProblemKind.LINK, path, f"a symbolic link to what is not there: {path.readlink()}")
    except OSError as error:  # of a link, for one that leads in a circle
        yield Problem(ProblemKind.LINK if os.path.islink(path) else ProblemKind.UNREADABLE, path, str(error))


def _is_in_the_way(tree: files.Tree, path: Path) -> bool:
    """Say whether it is no directory and in the place of one: the sessions', or by its name another category's."""
    if os.path.exists(path):
        return path == tree.base / SESSIONS
    return os.path.islink(path) and "." not in path.name  # editors lock files by links that lead nowhere


def _check_category(tree: files.Tree, path: Path) -> Iterator[Problem]:
    if path == tree.base / SESSIONS and path.exists() and not path.is_dir():
        yield Problem(ProblemKind.NOT_A_FILE, path, "no directory, in the place of the sessions'")
        return
    os.listdir(path)


def _check_document(tree: files.Tree, path: Path) -> Iterator[Problem]:
    if not stat.S_ISREG(path.stat().st_mode):
        yield Problem(ProblemKind.NOT_A_FILE, path, "not a regular file")
        return
    raw = reading.read(path) or b""
    try:
        if path.suffix == ".md":
            jsontext.decode_text(raw, path)
            return
        if path.parent == tree.base / SESSIONS and (session_id := codec.decode_session(raw, path).id) != path.stem:
            yield Problem(ProblemKind.MISNAMED, path, f"$.id: the id is {session_id!r:.80}")
        jsontext.check_for_kernel(raw, path)
    except CorruptStateError as error:
        yield Problem(ProblemKind.CORRUPT, path, str(error).removeprefix(f"{path}: "))
    except UnsupportedValueError as error:
        yield Problem(
            ProblemKind.UNSAFE, path, f"{error.json_path}: {error.reason}" if error.json_path else error.reason
        )


def _find_collisions(directory: Path, found: Iterable[str]) -> Iterator[Problem]:
    spellings = defaultdict(list)
    for name in sorted(found):
        spellings[unicodedata.normalize("NFC", name).casefold()].append(name)
    for same in spellings.values():
        for name in same[1:]:
            reason = f"differs from {same[0]!r} in case or in Unicode normalisation only, which some systems ignore"
            yield Problem(ProblemKind.PORTABILITY, directory / name, reason)
