"""Checking a store's files: each problem with its place, its cause and its remedy."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from oxios_state.codec import documents, json_text
from oxios_state.errors import CorruptStateError, InvalidNameError, UnsupportedValueError, describe
from oxios_state.maintenance.problems import Problem, ProblemKind
from oxios_state.model.progress import over
from oxios_state.model.values import SESSIONS
from oxios_state.storage import atomic_write, names, reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from oxios_state.model.progress import Progress
    from oxios_state.storage.tree import Tree


def check(tree: Tree, progress: Progress | None = None) -> Iterator[Problem]:
    """Yield the problems of all categories.

    Args:
        tree: The directories of the store.
        progress: Wraps the list of files and categories.
    """
    failures: list[OSError] = []
    unreadable: set[Path] = set()
    paths: list[Path] = []
    for directory, subdirectories, file_names in tree.walk(failures.append):
        entries = [*subdirectories, *file_names]
        if directory == tree.base:  # a file beside the categories belongs to none, but may occupy the place of one
            entries = [name for name in entries if name in subdirectories or _occupies_category(tree, directory / name)]
        yield from _find_collisions(directory, entries)
        paths += [directory / name for name in entries]
    for path in over(paths, progress):
        for problem in diagnose(tree, path):
            if problem.kind is ProblemKind.UNREADABLE:
                unreadable.add(problem.path)
            yield problem
    for error in failures:
        if not (isinstance(error, FileNotFoundError) or Path(error.filename) in unreadable):
            yield _unreadable(Path(error.filename), error)


def diagnose(tree: Tree, path: Path) -> Iterator[Problem]:
    """Yield the problems of one file or category; none if it is neither a document nor a temporary file."""
    if atomic_write.is_orphan(path):
        yield Problem(ProblemKind.ORPHAN, path, "a temporary file without a writer")
    elif names.is_document(path.name):
        yield from _check_name(path, names.check_name, *os.path.splitext(path.name))
        yield from _check_file(tree, path, _check_document)
    elif os.path.isdir(path) or _occupies_category(tree, path):
        yield from _check_name(path, names.check_category, path.name)
        yield from _check_file(tree, path, _check_category)


def persists(tree: Tree, problem: Problem) -> bool:
    """Return whether a file still has a problem that `check` found."""
    problems = [*diagnose(tree, problem.path), *_find_collisions(problem.path.parent, os.listdir(problem.path.parent))]
    kinds = (problem.kind, ProblemKind.UNREADABLE)  # an unreadable file may still have the problem
    return any(other.kind in kinds and other.path == problem.path for other in problems)


def _check_name(path: Path, refuse: Callable[..., None], *name: str) -> Iterator[Problem]:
    try:
        refuse(*name)
    except InvalidNameError as error:
        yield Problem(ProblemKind.NAME, path, str(error))
    if problem := names.windows_problem(path.name):
        yield Problem(ProblemKind.PORTABILITY, path, f"the name {problem}")


def _check_file(tree: Tree, path: Path, check_content: Callable[[Tree, Path], Iterator[Problem]]) -> Iterator[Problem]:
    try:
        tree.refuse_link_outside(path)
        yield from check_content(tree, path)
    except InvalidNameError as error:
        yield Problem(ProblemKind.LINK, path, str(error))
    except FileNotFoundError:
        if os.path.islink(path):  # otherwise the file vanished meanwhile
            yield Problem(ProblemKind.LINK, path, f"a symbolic link to a missing file: {path.readlink()}")
    except OSError as error:  # of a link: it leads in a circle
        yield Problem(ProblemKind.LINK, path, str(error)) if os.path.islink(path) else _unreadable(path, error)


def _occupies_category(tree: Tree, path: Path) -> bool:
    """Return whether a non-directory occupies a category's path: that of the sessions, or by its name another's."""
    if os.path.exists(path):
        return path == tree.base / SESSIONS
    return os.path.islink(path) and "." not in path.name  # editors lock files by links that lead nowhere


def _check_category(tree: Tree, path: Path) -> Iterator[Problem]:
    if path == tree.base / SESSIONS and path.exists() and not path.is_dir():
        yield Problem(ProblemKind.NOT_A_FILE, path, "not a directory, and the directory of the sessions belongs here")
        return
    os.listdir(path)


def _check_document(tree: Tree, path: Path) -> Iterator[Problem]:
    if not stat.S_ISREG(path.stat().st_mode):
        yield Problem(ProblemKind.NOT_A_FILE, path, "not a regular file")
        return
    try:
        raw = reads.read(path, tree.max_file_bytes) or b""
        if path.suffix == ".md":
            json_text.decode_text(raw, path)
            return
        if path.parent == tree.base / SESSIONS and (session_id := documents.decode_session(raw, path).id) != path.stem:
            yield _misnamed(path, session_id)
        json_text.check_for_kernel(raw, path)
    except CorruptStateError as error:
        yield Problem(ProblemKind.CORRUPT, path, error.detail)
    except UnsupportedValueError as error:
        yield Problem(ProblemKind.UNSAFE, path, error.detail)


def _misnamed(path: Path, session_id: str) -> Problem:
    reason = f"$.id: the id is {session_id!r:.80}"
    name = f"{session_id}{path.suffix}"
    if not names.is_allowed(session_id, path.suffix):
        remedy = "quarantine it: no file can have the name of its id"
    elif os.path.lexists(path.with_name(name)):  # a sync client's conflict copy, which may be the older one
        remedy = f"quarantine it: there is a {name!r}, which may be newer"
    else:
        remedy = f"quarantine it, or rename it to {name!r} while no file has that name"
    return Problem(ProblemKind.MISNAMED, path, reason, remedy)


def _unreadable(path: Path, error: OSError) -> Problem:
    if isinstance(error, PermissionError):
        remedy = "let its owner give you, and nobody else, permission to read it"
        return Problem(ProblemKind.UNREADABLE, path, describe(error), remedy)
    return Problem(ProblemKind.UNREADABLE, path, describe(error))


def _find_collisions(directory: Path, entries: Iterable[str]) -> Iterator[Problem]:
    spellings = defaultdict(list)
    for name in sorted(entries):
        spellings[unicodedata.normalize("NFC", name).casefold()].append(name)
    for same in spellings.values():
        for name in same[1:]:
            reason = f"differs from {same[0]!r} in case or in Unicode normalisation only, which some systems ignore"
            yield Problem(ProblemKind.PORTABILITY, directory / name, reason)
