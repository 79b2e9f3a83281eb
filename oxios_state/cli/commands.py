"""The subcommands of ``oxios-state``: each calls the store and prints the result."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from oxios_state import ProblemKind, PruneConfig, SessionList, SessionSummary, StateError, StateStore, converter
from oxios_state.cli.console import Streams
from oxios_state.cli.vocabulary import Exit, kind_name
from oxios_state.errors import describe
from oxios_state.model import timestamps
from oxios_state.rendering import html
from oxios_state.rendering.escaping import visible, visible_line
from oxios_state.rendering.markup import escape
from oxios_state.sessions.retention import is_too_old

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from oxios_state import Finding, Quarantined, SearchHit, Session

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


@attrs.frozen
class Commands:
    """The subcommands, on one store.

    Attributes:
        store: The store.
        streams: The streams to print to and to ask on.
        as_json: Whether to print JSON, one object on each line.
    """

    store: StateStore
    streams: Streams
    as_json: bool

    def list_sessions(self, arguments: Namespace) -> Exit:
        """Print the sessions that match the filters, the latest first."""
        try:
            summaries = self.store.list_sessions(**_filters(arguments), progress=self.streams.progress("reading"))
        except ValueError as error:  # a time that is not understood
            return self._refuse(error)
        self._print_sessions(summaries)
        return Exit.DONE

    def search(self, arguments: Namespace) -> Exit:
        """Print the places of a text in the sessions that match the filters."""
        progress = self.streams.progress("searching")
        try:
            hits = self.store.search_sessions(arguments.text, **_filters(arguments), progress=progress)
        except ValueError as error:
            return self._refuse(error)
        first = next(hits, None)
        if first is None:
            return Exit.NO
        all_hits = chain((first,), hits)  # an iterator, so that each is printed as soon as it is found
        if self.as_json:
            for hit in all_hits:
                self._print_json({key: getattr(hit, key) for key in _HIT_FIELDS})
        else:
            rows = ([hit.session_id, _turn_number(hit), hit.where, hit.snippet] for hit in all_hits)
            self.streams.print_rows(_HIT_HEADER, rows)
        return Exit.DONE

    def show(self, arguments: Namespace) -> Exit:
        """Print one session, or write it to a file as an HTML page."""
        session = self.store.load_session(arguments.session)
        if session is None:
            self.streams.print_error(f"there is no session {arguments.session}")
            return Exit.NO
        if self.as_json:
            self._print_json(converter.unstructure(session))
        elif arguments.markdown:
            self.streams.print(session.to_markdown())
        elif arguments.html == "-":
            self.streams.print(_page(session))
        elif arguments.html:
            page = _page(session)
            with open(arguments.html, "w", encoding="utf-8", opener=_open_private) as file:
                file.write(page)
        else:
            self.streams.print(str(session))
        return Exit.DONE

    def prune(self, arguments: Namespace) -> Exit:
        """Remove the sessions that are too old or too many, or print which they are."""
        config, archive, now = arguments.config, arguments.archive, datetime.now(UTC)
        progress = self.streams.progress("pruning")
        if arguments.dry_run:
            due = self.store.prune(config, dry_run=True, archive=archive, now=now, progress=progress)
            self._print_sessions(due, removed=False)
            self.streams.print_note(f"sessions to remove: {_numbers(due, config, now)}; none was removed")
            return Exit.DONE
        listed = self.streams.can_ask and self.streams.stdout_is_terminal and not arguments.yes and not self.as_json
        confirmed = True

        def confirm(sessions: SessionList) -> bool:
            nonlocal confirmed
            if listed:
                self._print_sessions(sessions)
            goal = f"move to {archive}" if archive else "remove"
            confirmed = self.streams.confirm(f"Sessions to {goal}: {_numbers(sessions, config, now)}. Continue?")
            return confirmed

        asks = self.streams.can_ask and not arguments.yes
        question = confirm if asks else None
        removed = self.store.prune(config, archive=archive, now=now, confirm=question, progress=progress)
        if not confirmed:
            self.streams.print_note("no session was removed")
            return Exit.NO
        if not listed:
            self._print_sessions(removed, removed=True)
        self.streams.print_note(f"sessions removed: {len(removed)}")
        return Exit.DONE

    def check(self, arguments: Namespace) -> Exit:
        """Print the problems of the files; first what ``--probe`` and ``--sweep`` ask for."""
        findings = self.store.probe() if arguments.probe else []
        for finding in findings:
            self._print_finding(finding)
        for swept in self.store.sweep() if arguments.sweep else ():
            path = self._relative_path(swept)
            if self.as_json:
                self._print_json({"path": path, "removed": True})
            else:
                self.streams.print_line(f"{path}: removed, a temporary file without a writer")
        problems = self.store.check(progress=self.streams.progress("checking"))
        for problem in problems:
            path, kind, remedy = self._relative_path(problem.path), kind_name(problem.kind), problem.remedy
            if self.as_json:
                self._print_json({"path": path, "kind": kind, "reason": problem.reason, "remedy": remedy})
            else:
                self.streams.print_line(f"{path}: {kind}: {problem.reason} ({remedy})")
        number = len(problems) + sum(finding.holds is False for finding in findings)
        self.streams.print_note(f"problems found: {number}")
        return Exit.NO if number else Exit.DONE

    def list_quarantined(self, _: Namespace) -> Exit:
        """Print the entries of the quarantine, the oldest first."""
        self._print_entries(self.store.quarantine)
        return Exit.DONE

    def quarantine(self, arguments: Namespace) -> Exit:
        """Move files with problems into quarantine."""
        problems = self.store.check(progress=self.streams.progress("checking"))
        # A file whose name only other systems refuse is sound here: it is moved only if it is named.
        everything = {kind_name(kind) for kind in ProblemKind if kind is not ProblemKind.PORTABILITY}
        kinds = everything if arguments.all else set(arguments.kind)
        chosen = [problem for problem in problems if kind_name(problem.kind) in kinds]
        outcome = Exit.DONE
        for file in arguments.files:
            named = [problem for problem in problems if self._is_named(problem.path, file)]
            chosen += named
            if not named:
                self.streams.print_error(f"check found nothing wrong with {file}")
                outcome = Exit.NO
        return max(outcome, self._move(chosen, self.store.quarantine.add))

    def restore(self, arguments: Namespace) -> Exit:
        """Move files from quarantine back to their places."""
        chosen, outcome = self._entries(arguments.entries)

        def put_back(entry: Quarantined) -> Quarantined:
            self.store.quarantine.restore(entry)
            return entry

        return max(outcome, self._move(chosen, put_back))

    def discard(self, arguments: Namespace) -> Exit:
        """Remove files from quarantine for good."""
        chosen, outcome = self._entries(arguments.entries)
        asks = bool(chosen) and self.streams.can_ask and not arguments.yes
        listed = asks and self.streams.stdout_is_terminal and not self.as_json
        if listed:
            self._print_entries(chosen)
        if asks and not self.streams.confirm(f"Files to remove from quarantine for good: {len(chosen)}. Continue?"):
            self.streams.print_note("no file was removed")
            return Exit.NO

        def discard(entry: Quarantined) -> Quarantined | None:
            return entry if self.store.quarantine.discard(entry) and not listed else None

        return max(outcome, self._move(chosen, discard))

    def _entries(self, entry_names: Iterable[str]) -> tuple[list[Quarantined], Exit]:
        """Return the entries of these names; a name without an entry is an error, and ends the command with 1."""
        entries = {_entry_name(entry): entry for entry in self.store.quarantine}
        outcome = Exit.DONE
        chosen = []
        for name in dict.fromkeys(entry_names):
            if name in entries:
                chosen.append(entries[name])
            else:
                self.streams.print_error(f"there is no entry {name} in quarantine")
                outcome = Exit.NO
        return chosen, outcome

    def _print_finding(self, finding: Finding) -> None:
        remedy = ProblemKind.FILE_SYSTEM.remedy if finding.holds is False else None
        if self.as_json:
            self._print_json({**attrs.asdict(finding), "remedy": remedy})
        else:
            self.streams.print_line(f"{finding} ({remedy})" if remedy else str(finding))

    def _print_json(self, value: Any) -> None:
        """Print a JSON value as one line of visible ASCII characters."""
        # json escapes everything outside ASCII, but not DEL.
        self.streams.print_line(json.dumps(value).replace("\x7f", r"\u007f"))

    def _refuse(self, error: ValueError) -> Exit:
        self.streams.print_error(str(error))
        return Exit.USAGE

    def _move(self, chosen: Iterable[_T], move: Callable[[_T], Quarantined | None]) -> Exit:
        """Move each of the *chosen* and print its entry. A failure does not stop the others."""
        failed = []

        def moved() -> Iterator[Quarantined]:
            for item in chosen:
                try:
                    entry = move(item)
                except (StateError, OSError, ValueError) as error:  # ValueError: somebody may have edited an entry
                    self.streams.print_error(describe(error))
                    failed.append(item)
                else:
                    if entry is not None:  # None: the file was moved for another of its problems, or is gone
                        yield entry

        self._print_entries(moved())
        return Exit.FAILED if failed else Exit.DONE

    def _print_entries(self, entries: Iterable[Quarantined]) -> None:
        documents = map(self._entry_fields, entries)
        if self.as_json:
            for fields in documents:
                self._print_json(fields)
        else:
            rows = (_row(fields, "entry", "since", "path", "reason") for fields in documents)
            self.streams.print_rows(_ENTRY_HEADER, rows)

    def _print_sessions(self, summaries: Iterable[SessionSummary], **more: bool) -> None:
        documents = [converter.unstructure(summary) for summary in summaries]
        if self.as_json:
            for fields in documents:
                self._print_json({**fields, **more})
        else:
            columns = ("id", "updated_at", "message_count", "user_id", "project_id", "title")
            self.streams.print_rows(_SESSION_HEADER, [_row(fields, *columns) for fields in documents])

    def _entry_fields(self, entry: Quarantined) -> dict[str, Any]:
        since = converter.unstructure(entry.since)
        return {
            "entry": _entry_name(entry),
            "path": self._relative_path(entry.path),
            "reason": entry.reason,
            "since": since,
        }

    def _relative_path(self, path: Path) -> str:
        """Return a path relative to the base, as visible text without lone surrogates."""
        try:
            return visible_line(path.relative_to(self.store.base_path).as_posix())
        except ValueError:  # outside the base, in an entry that somebody edited
            return visible_line(str(path))

    def _is_named(self, path: Path, file: str) -> bool:
        return file == self._relative_path(path) or os.path.normpath(self.store.base_path / file) == str(path)


def _filters(arguments: Namespace) -> dict[str, Any]:
    """Return the filters of sessions as arguments for the store."""
    return {
        "user_id": arguments.user,
        "project_id": arguments.project,
        "updated_after": arguments.after,
        "updated_before": arguments.before,
        "limit": arguments.limit,
    }


def _turn_number(hit: SearchHit) -> str:
    """Return the number of a hit's turn, from 1, as in a transcript; an empty cell for the title."""
    return "" if hit.turn is None else str(hit.turn + 1)


def _numbers(sessions: SessionList, config: PruneConfig, now: datetime) -> str:
    """Return how many sessions a prune chose, and how many of them by which rule."""
    old = sum(is_too_old(summary, config, now) for summary in sessions)
    by_rule = {f"older than {config.ttl_hours:.15g} hours": old}
    by_rule[f"beyond {config.max_sessions} sessions"] = len(sessions) - old
    numbers = ", ".join(f"{number} {rule}" for rule, number in by_rule.items() if number)
    return f"{len(sessions)} ({numbers})" if numbers else "0"


def _entry_name(entry: Quarantined) -> str:
    return entry.content.parent.name


def _row(fields: dict[str, Any], *keys: str) -> list[str]:
    """Return a row of a table: timestamps in local time, and an empty cell for null."""
    texts = ("" if fields[key] is None else str(fields[key]) for key in keys)
    return [
        _local_time(text) if key in {"since", "updated_at"} else text for key, text in zip(keys, texts, strict=True)
    ]


def _local_time(timestamp: str) -> str:
    """Return a timestamp to the second in local time, as the filters understand times, with its offset."""
    moment = timestamps.parse(timestamp)
    # The system cannot convert the first and the last hours that a datetime can hold, and on Windows others.
    with suppress(ValueError, OverflowError, OSError):
        return moment.astimezone().isoformat(timespec="seconds")
    return f"{timestamp[:19]}Z"


def _page(session: Session) -> str:
    return visible(_PAGE.format(title=escape(f"Session {session.id}"), body=html.show(session)))


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # conversations are private
