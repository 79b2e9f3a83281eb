"""The command in processes of its own: broken pipes, interrupts, encodings and terminals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import tomllib
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oxios_state import AgentResponse, Session, StateStore, TrajectoryStepRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = "\x1b[2J\x07\x08\x7f\x9b31m\u202eevil\u2066\r\n\x1b]0;title\x07"
COMMAND = [sys.executable, "-m", "oxios_state"]
END = "-- end of a command --"
# Several commands in one process, because starting the interpreter takes longer than most commands.
COMMANDS = f"""
import json, sys
from oxios_state.cli.main import main
codes = []
for arguments in json.loads(sys.argv[1]):
    codes.append(main(arguments))
    print({END!r}, flush=True)
sys.exit(max(codes))
"""


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path, durable=False)


def save(store: StateStore, session_id: str, *, days: int = 0, title: str = "A title") -> None:
    session = Session("ada", session_id)
    session.set_metadata("title", title)
    session.created_at = session.updated_at = datetime.now(UTC) - timedelta(days=days)
    store.save_session(session)


def environment(store: StateStore, **variables: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not re.match("LC_|LANG|COLUMNS|PYTHON(IO|UTF8|UNBUF)", name)
    }
    return {**kept, "OXIOS_STATE_BASE": str(store.base_path), **variables}


def command_line(*commands: list[str]) -> list[str]:
    """Return the command line of a process that runs the commands."""
    if len(commands) == 1:
        return [*COMMAND, *commands[0]]
    return [sys.executable, "-c", COMMANDS, json.dumps(commands)]


def run(store: StateStore, *commands: list[str], **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run commands in a process without a terminal."""
    return subprocess.run(
        command_line(*commands),
        capture_output=True,
        check=False,
        env=environment(store, **variables),
        stdin=subprocess.DEVNULL,
    )


class Terminal:
    """A terminal with a process: its text, its keyboard and the exit code."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master, self.process, self.text = master, process, ""

    def wait_for(self, text: str) -> None:
        while text not in self.text:
            assert self._read(), f"the command ended before {text!r}: {self.text!r}"

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        while self._read():
            pass
        return self.process.wait()

    @property
    def lines(self) -> list[str]:
        return self.text.replace("\r\n", "\n").splitlines()

    def _read(self) -> bool:
        assert select.select([self._master], [], [], 30)[0], f"nothing for 30 s after {self.text!r}"
        with suppress(OSError):  # EIO: the process has ended
            if chunk := os.read(self._master, 65536):
                self.text += chunk.decode()
                return True
        return False


@contextmanager
def at_terminal(
    store: StateStore, *commands: list[str], columns: int = 80, stdout: int | None = None, **variables: str
) -> Iterator[Terminal]:
    """Run commands in a process at a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        command_line(*commands),
        stdin=slave,
        stdout=slave if stdout is None else stdout,
        stderr=slave,
        env=environment(store, **variables),
    ) as process:
        os.close(slave)
        try:
            yield Terminal(master, process)
        finally:
            process.kill()
            os.close(master)


def lines_at_terminal(store: StateStore, *commands: list[str], columns: int = 80, **variables: str) -> list[str]:
    """Return what a terminal shows of commands that need no answer."""
    with at_terminal(store, *commands, columns=columns, stdout=None, **variables) as terminal:
        terminal.end()
        return terminal.lines


def test_the_command_is_installed_with_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["oxios-state"].partition(":")
    assert callable(getattr(import_module(module), function))


def test_help_does_not_import_the_commands() -> None:
    code = "import sys; from oxios_state.cli.main import main; main(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1].split()
    assert "oxios_state.cli.main" in modules
    assert not {"oxios_state.cli.commands", "oxios_state.rendering.html"} & set(modules)


# Pipes.


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_a_broken_pipe_ends_the_command_silently(store: StateStore, variables: dict[str, str]) -> None:
    for number in range(40):
        save(store, f"s{number:02}", title="x" * 5000)
    with subprocess.Popen(
        command_line(["list"]), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(store, **variables)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"s")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["check", "--json"]])
def test_a_pipe_without_a_reader_ends_the_command_silently(store: StateStore, arguments: list[str]) -> None:
    save(store, "s")
    (store.base_path / "sessions/bad.json").write_text("{")
    reader, writer = os.pipe()
    os.close(reader)
    command = command_line(arguments)
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, env=environment(store))
    finally:
        os.close(writer)
    assert done.returncode == 141
    assert b"Error" not in done.stderr
    assert b"Exception" not in done.stderr


def test_head_gets_the_first_line_of_a_pipeline(store: StateStore) -> None:
    save(store, "s")
    script = '"$@" | head -1; "$@" | true'
    command = ["sh", "-c", script, "sh", *command_line(["list"])]
    done = subprocess.run(command, capture_output=True, check=True, env=environment(store))
    assert done.stdout.startswith(b"s\t")
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


def test_a_broken_standard_error_changes_nothing(store: StateStore) -> None:
    save(store, "good")
    (store.base_path / "sessions/bad.json").write_text("{")
    reader, writer = os.pipe()
    os.close(reader)
    command = command_line(["list"])
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writer, check=False, env=environment(store))
    finally:
        os.close(writer)
    assert done.returncode == 0
    assert done.stdout.startswith(b"good\t")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_a_full_disk_is_a_failure_with_one_line(store: StateStore) -> None:
    save(store, "s")
    with open("/dev/full", "w") as full:
        command = command_line(["list"])
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, env=environment(store))
    assert done.returncode == 3
    assert done.stderr == b"oxios-state: [Errno 28] No space left on device\n"


def test_commands_work_with_closed_streams(store: StateStore) -> None:
    save(store, "s", days=30)
    command = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command_line(["list"], ["check"], ["prune", "--defaults"])]
    assert subprocess.run(command, check=False, env=environment(store)).returncode == 0
    assert store.list_sessions() == []


# Interrupts.


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Restore the default handler of interrupts: a process that a shell runs in the background ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_a_question_with_130(store: StateStore) -> None:
    save(store, "s", days=30)
    with at_terminal(store, ["prune", "--defaults"]) as terminal:
        terminal.wait_for("[y/N] ")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
        assert "Traceback" not in terminal.text
    assert len(store.list_sessions()) == 1


def sleeps_at_a_full_pipe(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout is not None
    unread = struct.unpack("i", fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4)))[0]
    return unread >= 2**15 and "State:\tS" in Path(f"/proc/{process.pid}/status").read_text()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells whether a process sleeps")
def test_an_interrupt_ends_a_command_with_a_stalled_reader(store: StateStore) -> None:
    for number in range(40):
        save(store, f"s{number:02}", title="x" * 5000)
    with subprocess.Popen(
        command_line(["list"]), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(store)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # If the interrupt came just before the write that blocks, CPython would handle it only after that write.
        while not sleeps_at_a_full_pipe(process):
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == b""


# Encodings.


@pytest.mark.parametrize(
    ("variables", "title"),
    [
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, rb"caf\xe9 \u540d\U0001f600 (LC)"),
        ({"PYTHONIOENCODING": "ascii"}, rb"caf\xe9 \u540d\U0001f600 (LC)"),
        ({"PYTHONIOENCODING": "latin-1"}, b"caf\xe9 \\u540d\\U0001f600 (LC)"),
        ({"LANG": "C"}, "café 名😀 (LC)".encode()),
        ({"PYTHONUTF8": "1"}, "café 名😀 (LC)".encode()),
    ],
)
def test_unencodable_characters_are_escaped(store: StateStore, variables: dict[str, str], title: bytes) -> None:
    save(store, "s", title="café 名😀 (LC)")
    commands = [["list"], ["list", "--json"], ["show", "s"], ["show", "s", "--markdown"], ["show", "s", "--html", "-"]]
    done = run(store, *commands, ["show", "s", "--json"], **variables)
    assert (done.returncode, done.stderr) == (0, b"")
    listed, listed_as_json, *_ = done.stdout.split(END.encode())
    assert listed.rstrip(b"\n").endswith(b"\t" + title)
    assert json.loads(listed_as_json)["title"] == "café 名😀 (LC)"


def test_an_error_is_printed_in_any_encoding(store: StateStore) -> None:
    done = run(store, ["show", "名"], PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (1, b"oxios-state: there is no session \\u540d\n")


# Terminals.


def test_a_list_at_a_terminal_has_a_header_and_fits(store: StateStore) -> None:
    save(store, "first", title="A title that is much longer than what is left of a line of a terminal of 80 columns")
    save(store, "名前", days=1, title="Short")
    lines = lines_at_terminal(store, ["list"])
    assert lines[0] == "ID     UPDATED                    MSGS  USER  TITLE"
    assert re.fullmatch(r"first  \S{25}  0     ada   A title that is much longer tha\.\.\.", lines[1])
    assert len(lines[1]) <= 80
    assert re.fullmatch(r"名前   \S{25}  0     ada   Short", lines[2])  # each of the two characters is two columns wide


@pytest.mark.parametrize("columns", [12, 40, 0])
def test_a_narrow_terminal_gets_complete_ids(store: StateStore, columns: int) -> None:
    save(store, "0123456789", title="A title that is longer than a line")
    lines = lines_at_terminal(store, ["list"], columns=columns)
    assert lines[0].startswith("ID")
    assert lines[1].startswith("0123456789")
    assert max(map(len, lines)) <= max(columns or 80, 10)
    assert ("A title" in lines[1]) == (columns != 12)


def test_the_variable_columns_sets_the_width(store: StateStore) -> None:
    save(store, "s", title="A title that is longer than a line of some columns is")
    assert max(map(len, lines_at_terminal(store, ["list"], COLUMNS="50"))) == 50
    assert max(map(len, lines_at_terminal(store, ["list"], COLUMNS="odd"))) > 50


def test_no_control_character_reaches_a_terminal(store: StateStore) -> None:
    session = Session(HOSTILE, "s")
    session.add_user_message(HOSTILE)
    session.add_agent_response(AgentResponse(HOSTILE))
    session.extend_trajectory([TrajectoryStepRecord(HOSTILE, {HOSTILE: HOSTILE}, HOSTILE)])
    session.set_metadata("title", HOSTILE)
    session.set_metadata("project_id", HOSTILE)
    session.updated_at = datetime(2026, 1, 1, tzinfo=UTC)
    store.save_session(session)
    name = os.fsencode(store.base_path) + b"/sessions/\x1b\x9b\xc2\x9b\xe2\x80\xae"
    for extension in (b".json", b".md"):
        with suppress(OSError):  # a file system of UTF-8 names only
            os.close(os.open(name + extension, os.O_CREAT))
    commands = [
        *("list", "show s", "show s --markdown", "show s --html -", "show s --json", "show \x1b[2J", "search evil"),
        *("prune --defaults --dry-run", "check", "check --json", "quarantine move --all", "quarantine list", "\x1b[2J"),
    ]
    lines = lines_at_terminal(store, *map(str.split, commands))
    assert lines.count(END) == len(commands)
    text = re.sub("\r[^\r]*\r", "", "\n".join(lines))  # without progress lines
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


@pytest.mark.parametrize(
    ("answer", "code", "left"),
    [("y\n", 0, 1), ("n\n", 1, 3), ("\x04", 1, 3), ("\xff\n", 1, 3)],
)
def test_prune_asks_at_a_terminal(store: StateStore, answer: str, code: int, left: int) -> None:
    for number in range(3):
        save(store, f"s{number}", days=30 * number)
    with at_terminal(store, ["prune", "--defaults"]) as terminal:
        terminal.wait_for("Sessions to remove: 2 (2 older than 168 hours). Continue? [y/N] ")
        assert [line.split()[0] for line in terminal.lines[:3]] == ["ID", "s2", "s1"]
        terminal.type(answer)
        assert terminal.end() == code
        assert ("sessions removed: 2" if code == 0 else "no session was removed") in terminal.text
    assert len(store.list_sessions()) == left


def test_the_question_and_the_dry_run_count_the_sessions_by_rule(store: StateStore) -> None:
    for number in range(5):
        save(store, f"s{number}", days=30 * number)
    rules = ["prune", "--ttl-hours", "1000", "--max-sessions", "1"]
    numbers = "4 (3 older than 1000 hours, 1 beyond 1 sessions)"
    with at_terminal(store, [*rules, "--dry-run"], rules) as terminal:
        terminal.wait_for(f"Sessions to remove: {numbers}. Continue? [y/N] ")
        assert f"sessions to remove: {numbers}; none was removed" in terminal.text
        terminal.type("n\n")
        assert terminal.end() == 1


def test_prune_keeps_sessions_that_changed_since_the_question(store: StateStore) -> None:
    for name in ("asked", "saved"):
        save(store, name, days=30)
    with at_terminal(store, ["prune", "--ttl-hours", "168", "--archive", "archive"]) as terminal:
        terminal.wait_for("Sessions to move to archive: 2 (2 older than 168 hours). Continue? [y/N] ")
        save(store, "late", days=40)
        save(store, "saved", days=29)
        terminal.type("y\n")
        assert terminal.end() == 0
        assert "sessions removed: 1" in terminal.text
    assert {summary.id for summary in store.list_sessions()} == {"late", "saved"}
    assert store.list_category("archive") == ["asked"]


def test_prune_removes_the_confirmed_sessions_whatever_their_time(store: StateStore) -> None:
    for number in range(3):
        save(store, f"s{number}", days=-100 - number)  # ahead of the clock
    with at_terminal(store, ["prune", "--max-sessions", "1"]) as terminal:
        terminal.wait_for("Sessions to remove: 2 (2 beyond 1 sessions). Continue? [y/N] ")
        terminal.type("y\n")
        assert terminal.end() == 0
        assert "sessions removed: 2" in terminal.text
    assert [summary.id for summary in store.list_sessions()] == ["s2"]


def test_prune_does_not_ask_with_yes_or_without_sessions_to_remove(store: StateStore) -> None:
    save(store, "s", days=30)
    with at_terminal(store, ["prune", "--defaults", "--yes"], ["prune", "--defaults"]) as terminal:
        assert terminal.end() == 0
        assert "[y/N]" not in terminal.text
        assert re.findall("sessions removed: .", terminal.text) == ["sessions removed: 1", "sessions removed: 0"]


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 1)])
def test_discard_asks_at_a_terminal(store: StateStore, answer: str, code: int, left: int) -> None:
    (store.base_path / "c").mkdir(parents=True)
    (store.base_path / "c" / "x.json").write_text("{")
    entry = store.quarantine.add(store.check()[0])
    assert entry is not None
    with at_terminal(store, ["quarantine", "discard", entry.content.parent.name], columns=100) as terminal:
        terminal.wait_for("Files to remove from quarantine for good: 1. Continue? [y/N] ")
        terminal.type(answer)
        assert terminal.end() == code
        assert terminal.text.count("c/x.json") == 1
        assert ("no file was removed" in terminal.text) == (code == 1)
    assert len(store.quarantine) == left


def test_a_question_is_not_part_of_the_output(store: StateStore, tmp_path: Path) -> None:
    base = StateStore(tmp_path / "base", durable=False)
    save(base, "s", days=30)
    with (
        open(tmp_path / "output", "wb") as output,
        at_terminal(base, ["prune", "--ttl-hours", "0.5", "--json"], stdout=output.fileno()) as terminal,
    ):
        terminal.wait_for("Sessions to remove: 1 (1 older than 0.5 hours). Continue? [y/N] ")
        terminal.type("y\n")
        assert terminal.end() == 0
    assert [json.loads(line)["id"] for line in (tmp_path / "output").read_text().splitlines()] == ["s"]


def test_notes_are_printed_on_terminals_only(store: StateStore) -> None:
    save(store, "s")
    commands = [["check"], ["prune", "--defaults", "--dry-run"], ["quarantine", "list"]]
    assert lines_at_terminal(store, *commands) == [
        *("oxios-state: problems found: 0", END),
        *("oxios-state: sessions to remove: 0; none was removed", END),
        END,
    ]
    assert run(store, *commands).stderr == b""
