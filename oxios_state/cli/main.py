"""The command ``oxios-state``: its arguments and its exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import re
import stat
import sys
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NoReturn

from oxios_state import ProblemKind, PruneConfig, StateError, StateStore, __version__
from oxios_state.cli.console import Streams
from oxios_state.cli.vocabulary import Exit, kind_name
from oxios_state.errors import describe
from oxios_state.rendering.escaping import visible_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_BASE = "OXIOS_STATE_BASE"
_EPILOG = """\
exit codes:
  0    done; for check: no problems
  1    the answer is no: there is no such session, match,
       entry or file; check found problems; prune or discard
       was not confirmed
  2    wrong usage, or the base is not a directory
  3    failed: a file that cannot be read, a lock that is
       not free in time, an error of the system
  130  interrupted
  141  the reader of the output stopped reading

Times are local times with their offset. With --json each line is
a JSON object; timestamps are RFC 3339 in UTC.
An ID or a text that begins with -h or -- looks like an option:
put -- before it (oxios-state show -- --odd), or after an option
write it with = (--user=--odd).
A file that cannot be read is left out of a list, with a warning
on standard error; check prints what is wrong with it.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments; those of the process by default.

    Returns:
        The exit code.
    """
    streams = Streams(sys.stdin, sys.stdout, sys.stderr)
    code: int
    try:
        with _warnings_printed(streams):
            code = _run(argv, streams)
            streams.flush()
    except BrokenPipeError:
        code = Exit.BROKEN_PIPE
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except (StateError, OSError) as error:
        streams.print_error(describe(error))
        code = Exit.FAILED
    streams.close(at_once=code == Exit.INTERRUPTED)
    return code


def _run(argv: Sequence[str] | None, streams: Streams) -> int:
    parser = _parser()
    try:
        _refuse_two_hyphens(parser, sys.argv[1:] if argv is None else argv)
        arguments = parser.parse_args(argv)
        if arguments.run == "prune":
            arguments.config = _rules(arguments)
        base = _base(parser, arguments.base)
    except SystemExit as end:  # help, the version, or wrong usage
        return int(end.code or 0)
    # Late, because the commands import all that reads, writes and displays sessions, and --help needs none of it.
    from oxios_state.cli.commands import Commands

    commands = Commands(StateStore(base), streams, arguments.json)
    run: Callable[[argparse.Namespace], Exit] = getattr(commands, arguments.run)
    return run(arguments)


def _refuse_two_hyphens(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Refuse ``--option=--``, for which argparse raises a ValueError on CPython 3.11 and 3.12."""
    for argument in takewhile(lambda argument: argument != "--", argv):
        option, _, value = argument.partition("=")
        if option.startswith("--") and value == "--":
            parser.error(f"argument {option}: -- is not allowed as a value")


def _base(parser: argparse.ArgumentParser, option: str | None) -> str:
    base = os.environ.get(_BASE, "") if option is None else option
    if not base:
        parser.error(f"no directory given: use --base, or set {_BASE}")
    base = os.path.expanduser(base)
    try:
        if not stat.S_ISDIR(os.stat(base).st_mode):
            parser.error(f"not a directory: {base}")
    except OSError as error:
        reason = (
            f"a symbolic link to a missing directory, {os.readlink(base)}" if os.path.islink(base) else error.strerror
        )
        parser.error(f"cannot use the base directory: {reason}: {base}")
    return base


@contextmanager
def _warnings_printed(streams: Streams) -> Iterator[None]:
    """Print the warnings that the library logs in the block as lines on standard error."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            streams.print_error(f"{record.levelname.lower()}: {record.getMessage()}")

    log, handler = logging.getLogger("oxios_state"), Handler(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.color = False  # new in CPython 3.14; without it, the output is the same on every Python
        # argparse takes a negative number for an argument. So is -x, because no option but -h has one hyphen.
        self._negative_number_matcher = re.compile("-[^-h]")

    def error(self, message: str) -> NoReturn:
        # Wrong arguments may contain any characters, and argparse would print some of them unescaped.
        super().error(visible_line(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="oxios-state",
        description="Inspect, prune and repair a directory of Oxios state.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    _add_base(parser, None)
    subcommands = parser.add_subparsers(metavar="COMMAND", required=True)

    _add_filters(_add(subcommands, "list", "list_sessions", "print the sessions, the latest first"), "sessions")

    command = _add(subcommands, "show", "show", "print a session")
    command.add_argument("session", metavar="ID", help="the id of the session")
    form = command.add_mutually_exclusive_group()
    _add_json(form)
    form.add_argument("--markdown", action="store_true", help="print it as Markdown")
    form.add_argument("--html", metavar="FILE", help="write it as an HTML page; - is standard output")

    command = _add(
        subcommands, "search", "search", "print the places of a text in titles, messages, responses and tool calls"
    )
    command.add_argument("text", metavar="TEXT", help="the text; case does not matter")
    _add_filters(command, "places")

    _add_prune(subcommands)
    command = _add(subcommands, "check", "check", "print what is wrong with the files, and what can be done")
    command.add_argument(
        "--probe", action="store_true", help="first try what the directory supports: locks, syncs, names"
    )
    command.add_argument("--sweep", action="store_true", help="first remove the temporary files of dead writers")
    _add_quarantine(subcommands)
    return parser


def _add_filters(command: argparse.ArgumentParser, results: str) -> None:
    command.add_argument("--user", metavar="ID", help="only sessions of this user")
    command.add_argument("--project", metavar="ID", help="only sessions of this project")
    command.add_argument(
        "--after",
        metavar="TIME",
        help="only sessions last changed at this time or later: 2026-03-01, 2026-03-01T08:00:00Z, '1 March 2026'; "
        "without an offset, in local time",
    )
    command.add_argument("--before", metavar="TIME", help="only sessions last changed before this time")
    command.add_argument("--limit", metavar="N", type=int, help=f"at most N {results}, the latest first")


def _add_prune(subcommands: Any) -> None:
    command = _add(
        subcommands,
        "prune",
        "prune",
        "remove the sessions that are too old or too many",
        "Name a rule: --max-sessions, --ttl-hours or both. A rule that you do not name is off. "
        "First look with --dry-run. At a terminal, prune asks before it removes; elsewhere it does not.",
    )
    command.set_defaults(refuse=command.error)
    command.add_argument("--dry-run", action="store_true", help="print what would be removed, and remove nothing")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.add_argument(
        "--max-sessions", type=_max_sessions, metavar="N", help="how many sessions stay, the latest; 0: any number"
    )
    command.add_argument(
        "--ttl-hours",
        type=_ttl_hours,
        metavar="H",
        help="how long a session stays after its last change; 0: for ever",
    )
    defaults = PruneConfig()
    command.add_argument(
        "--defaults",
        action="store_true",
        help=f"both default rules: {defaults.max_sessions} sessions and {defaults.ttl_hours} hours",
    )
    command.add_argument("--archive", metavar="CATEGORY", help="move the sessions there instead of deleting them")


def _add_quarantine(subcommands: Any) -> None:
    quarantine = subcommands.add_parser("quarantine", help="move files out of the way, and back, or discard them")
    _add_base(quarantine, argparse.SUPPRESS)
    actions = quarantine.add_subparsers(metavar="ACTION", required=True)
    _add(actions, "list", "list_quarantined", "print the entries of the quarantine, the oldest first")

    command = _add(actions, "move", "quarantine", "move files that check finds into quarantine; nothing is lost")
    selection = command.add_mutually_exclusive_group(required=True)
    selection.add_argument("files", nargs="*", default=[], metavar="FILE", help="a file, as check prints it")
    selection.add_argument("--all", action="store_true", help="everything that check finds, except portability")
    kinds = sorted(kind_name(kind) for kind in ProblemKind if kind is not ProblemKind.FILE_SYSTEM)  # it has no file
    selection.add_argument(
        "--kind",
        action="append",
        choices=kinds,
        default=[],
        metavar="KIND",
        help=f"all files of this kind; may be repeated: {', '.join(kinds)}",
    )

    restore = _add(actions, "restore", "restore", "move files from quarantine back to their places")
    discard = _add(
        *(actions, "discard", "discard", "remove files from quarantine for good"),
        "At a terminal, it asks first; elsewhere it does not.",
    )
    discard.add_argument("--yes", action="store_true", help="do not ask")
    for command in (restore, discard):
        command.add_argument("entries", nargs="+", metavar="ENTRY", help="an entry, as quarantine list prints it")


def _add(subcommands: Any, name: str, run: str, summary: str, details: str = "") -> argparse.ArgumentParser:
    """Add a subcommand that runs the method *run* of `Commands`."""
    command: argparse.ArgumentParser = subcommands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}. {details}".strip()
    )
    command.set_defaults(run=run)
    _add_base(command, argparse.SUPPRESS)  # suppressed, so that a --base before the subcommand stays
    if run != "show":  # there, --json excludes other options
        _add_json(command)
    return command


def _add_base(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--base", metavar="DIRECTORY", default=default, help=f"the directory of the state (default: ${_BASE})"
    )


def _add_json(parser: Any) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, an object on each line")


def _rules(arguments: argparse.Namespace) -> PruneConfig:
    """Return the rules that the arguments of ``prune`` name."""
    rules = {"max_sessions": arguments.max_sessions, "ttl_hours": arguments.ttl_hours}
    named = {name: value for name, value in rules.items() if value is not None}
    if named and arguments.defaults:
        arguments.refuse("--defaults has both rules: use it without --max-sessions and --ttl-hours")
    if not named and not arguments.defaults:
        arguments.refuse("no rule given: use --max-sessions N, --ttl-hours H or both, or --defaults")
    return PruneConfig(**named)


def _max_sessions(text: str) -> int:
    try:
        return PruneConfig(max_sessions=int(text)).max_sessions
    except ValueError:
        raise argparse.ArgumentTypeError("must be a whole number, 0 or greater") from None


def _ttl_hours(text: str) -> float:
    try:
        return PruneConfig(ttl_hours=float(text)).ttl_hours
    except ValueError:
        raise argparse.ArgumentTypeError("must be a number, 0 or greater") from None
