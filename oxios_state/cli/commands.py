"""The subcommands of ``oxios-state``: each asks the store, and prints what it says."""

from __future__ import annotations

import html
import os
from enum import IntEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from oxios_state import ProblemKind, PruneConfig, SessionSummary, StateError, StateStore, converter
from oxios_state.cli.console import Streams, visible_line
from oxios_state.rendering.escaping import visible

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from oxios_state import Finding, Quarantined, Session

_T = TypeVar("_T")
_SESSION_HEADER = ("ID", "UPDATED", "MSGS", "USER", "PROJECT", "TITLE")
_HIT_HEADER = ("SESSION", "TURN", "WHERE", "TEXT")
_HIT_FIELDS = ("session_id", "turn", "where", "index", "snippet")
_ENTRY_HEADER = ("ENTRY", "SINCE", "FILE", "REASON")

_PAGE = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
</head>
<body>
{body}
</body>
</html>
"""


class Exit(IntEnum):
    """How a command ends, for scripts."""

    DONE = 0
    NO = 1
    USAGE = 2
    FAILED = 3
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class _DeclinedError(Exception):
    """What was asked for was not confirmed."""


@attrs.frozen
class Commands:
    """The subcommands, on one store.

    Attributes:
        store: The store.
        streams: Where to print, and to ask.
        as_json: Whether to print JSON, an object on each line.
    """

    store: StateStore
    streams: Streams
    as_json: bool

    def list(self, arguments: Namespace) -> Exit:
        """Print the sessions that are asked for, the latest first."""
        try:
            found = self.store.list_sessions(**_asked(arguments), progress=self.streams.progress("reading"))
        except ValueError as error:  # of what is no date
            return self._refuse(error)
        self._print_sessions(found)
        return Exit.DONE

    def search(self, arguments: Namespace) -> Exit:
        """Print where a text is, in the sessions that are asked for."""
        progress = self.streams.progress("searching")
        try:
            hits = self.store.search_sessions(arguments.text, **_asked(arguments), progress=progress)
        except ValueError as error:
            return self._refuse(error)
        first = next(hits, None)
        if first is None:
            return Exit.NO
        found = chain((first,), hits)  # each is printed when it is found
        if self.as_json:
            for hit in found:
                self.streams.print_json({key: getattr(hit, key) for key in _HIT_FIELDS})
        else:
            # Turns are counted as in a transcript.
            rows = ([hit.session_id, str(hit.turn + 1), hit.where, hit.snippet] for hit in found)
            self.streams.print_rows(_HIT_HEADER, rows)
        return Exit.DONE

    def show(self, arguments: Namespace) -> Exit:
        """Print one session, or write it as a page."""
        session = self.store.load_session(arguments.session)
        if session is None:
            self.streams.complain(f"there is no session {arguments.session}")
            return Exit.NO
        if self.as_json:
            self.streams.print_json(converter.unstructure(session))
        elif arguments.markdown:
            self.streams.print(session.to_markdown())
        elif arguments.html == "-":
            self.streams.print(_page(session))
        elif arguments.html:
            page = _page(session)
            with open(arguments.html, "w", encoding="utf-8", opener=_open_for_its_owner) as file:
                file.write(page)
        else:
            self.streams.print(str(session))
        return Exit.DONE

    def prune(self, arguments: Namespace) -> Exit:
        """Remove the sessions that are too old or too many, or say which they are."""
        config = PruneConfig(arguments.max_sessions, arguments.ttl_hours)
        archive, progress = arguments.archive, self.streams.progress("pruning")
        if arguments.dry_run:
            due = self.store.prune(config, dry_run=True, archive=archive, progress=progress)
            self._print_sessions(due, removed=False)
            self.streams.note(f"sessions to remove: {len(due)}; none is removed yet")
            return Exit.DONE
        shown = False

        def ask_first(items: Any) -> Iterable[Any]:
            """Be the progress of a prune, which tells what it is about to remove: only that goes then."""
            nonlocal shown
            if items and isinstance(items[0], SessionSummary):
                if shown := self.streams.is_read and not self.as_json:
                    self._print_sessions(items)
                goal = f"move to {archive}" if archive else "remove"
                if not self.streams.confirms(f"Sessions to {goal}: {len(items)}. Go on?"):
                    raise _DeclinedError
            return progress(items) if progress else items

        asking = self.streams.may_ask and not arguments.yes
        try:
            removed = self.store.prune(config, archive=archive, progress=ask_first if asking else progress)
        except _DeclinedError:
            self.streams.note("no session is removed")
            return Exit.NO
        if not shown:
            self._print_sessions(removed, removed=True)
        self.streams.note(f"sessions removed: {len(removed)}")
        return Exit.DONE

    def check(self, arguments: Namespace) -> Exit:
        """Print what is wrong with the files, and first what the directory gives if that is asked for."""
        findings = self.store.probe() if arguments.probe else []
        for finding in findings:
            self._print_finding(finding)
        problems = self.store.check(progress=self.streams.progress("checking"))
        for problem in problems:
            place, kind, remedy = self._place(problem.path), token(problem.kind), problem.kind.remedy
            if self.as_json:
                self.streams.print_json({"path": place, "kind": kind, "reason": problem.reason, "remedy": remedy})
            else:
                self.streams.print_line(f"{place}: {kind}: {problem.reason} ({remedy})")
        found = len(problems) + sum(finding.holds is False for finding in findings)
        self.streams.note(f"problems found: {found}")
        return Exit.NO if found else Exit.DONE

    def list_quarantined(self, _: Namespace) -> Exit:
        """Print what is in quarantine, the oldest first."""
        self._print_entries(self.store.quarantined())
        return Exit.DONE

    def quarantine(self, arguments: Namespace) -> Exit:
        """Move files that the check finds into quarantine."""
        found = self.store.check(progress=self.streams.progress("checking"))
        # What only another system cannot hold is sound here: it goes if it is named.
        everything = {token(kind) for kind in ProblemKind if kind is not ProblemKind.PORTABILITY}
        kinds = everything if arguments.all else set(arguments.kind)
        chosen = [problem for problem in found if token(problem.kind) in kinds]
        outcome = Exit.DONE
        for file in arguments.files:
            named = [problem for problem in found if self._is_named(problem.path, file)]
            chosen += named
            if not named:
                self.streams.complain(f"the check finds nothing wrong with {file}")
                outcome = Exit.NO
        return max(outcome, self._move(chosen, self.store.quarantine))

    def restore(self, arguments: Namespace) -> Exit:
        """Put files from quarantine back in their places."""
        entries = {_name(entry): entry for entry in self.store.quarantined()}
        chosen = []
        outcome = Exit.DONE
        for name in arguments.entries:
            if name in entries:
                chosen.append(entries[name])
            else:
                self.streams.complain(f"there is no entry {name} in quarantine")
                outcome = Exit.NO

        def put_back(entry: Quarantined) -> Quarantined:
            self.store.restore(entry)
            return entry

        return max(outcome, self._move(chosen, put_back))

    def _print_finding(self, finding: Finding) -> None:
        remedy = ProblemKind.FILE_SYSTEM.remedy if finding.holds is False else None
        if self.as_json:
            self.streams.print_json({**attrs.asdict(finding), "remedy": remedy})
        else:
            self.streams.print_line(f"{finding} ({remedy})" if remedy else str(finding))

    def _refuse(self, error: ValueError) -> Exit:
        self.streams.complain(str(error))
        return Exit.USAGE

    def _move(self, chosen: Iterable[_T], move: Callable[[_T], Quarantined | None]) -> Exit:
        """Move each of the *chosen*, whatever becomes of the others, and print what was moved."""
        failed = []

        def moved() -> Iterator[Quarantined]:
            for one in chosen:
                try:
                    entry = move(one)
                except (StateError, OSError, ValueError) as error:  # ValueError: the reason beside a file is anybody's
                    self.streams.complain(str(error))
                    failed.append(one)
                else:
                    if entry is not None:  # otherwise it was moved for another problem that it has, or is gone
                        yield entry

        self._print_entries(moved())
        return Exit.FAILED if failed else Exit.DONE

    def _print_entries(self, entries: Iterable[Quarantined]) -> None:
        found = map(self._fields, entries)
        if self.as_json:
            for fields in found:
                self.streams.print_json(fields)
        else:
            rows = (_row(fields, "entry", "since", "path", "reason") for fields in found)
            self.streams.print_rows(_ENTRY_HEADER, rows)

    def _print_sessions(self, summaries: Iterable[SessionSummary], **more: bool) -> None:
        found = [converter.unstructure(summary) for summary in summaries]
        if self.as_json:
            for fields in found:
                self.streams.print_json({**fields, **more})
        else:
            columns = ("id", "updated_at", "message_count", "user_id", "project_id", "title")
            self.streams.print_rows(_SESSION_HEADER, [_row(fields, *columns) for fields in found])

    def _fields(self, entry: Quarantined) -> dict[str, Any]:
        since = converter.unstructure(entry.since)
        return {"entry": _name(entry), "path": self._place(entry.path), "reason": entry.reason, "since": since}

    def _place(self, path: Path) -> str:
        """Give a path from the base, as text, in which everything can be seen and is UTF-8."""
        try:
            return visible_line(path.relative_to(self.store.base_path).as_posix())
        except ValueError:  # of an entry whose reason is not what this library wrote
            return visible_line(str(path))

    def _is_named(self, path: Path, file: str) -> bool:
        return file == self._place(path) or os.path.normpath(self.store.base_path / file) == str(path)


def token(kind: ProblemKind) -> str:
    """Give a kind's name as one word."""
    return kind.value.replace(" ", "-")


def _asked(arguments: Namespace) -> dict[str, Any]:
    """Give which sessions are asked for, as the store takes it."""
    return {
        "user_id": arguments.user,
        "project_id": arguments.project,
        "updated_after": arguments.after,
        "updated_before": arguments.before,
        "limit": arguments.limit,
    }


def _name(entry: Quarantined) -> str:
    return entry.content.parent.name


def _row(fields: dict[str, Any], *keys: str) -> list[str]:
    """Make a row of a table: a timestamp to the second, and nothing for null."""
    texts = ("" if fields[key] is None else str(fields[key]) for key in keys)
    return [f"{text[:19]}Z" if key in {"since", "updated_at"} else text for key, text in zip(keys, texts, strict=True)]


def _page(session: Session) -> str:
    title = html.escape(f"Session {session.id}")
    return visible(_PAGE.format(title=title, body=session._repr_html_()))


def _open_for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # conversations are private
