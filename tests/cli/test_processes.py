"""The command line in processes of its own: pipes that break, interrupts, encodings, and terminals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
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


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path, durable=False)


def save(store: StateStore, session_id: str, *, days: int = 0, title: str = "A title") -> None:
    session = Session("ada", session_id)
    session.set_metadata("title", title)
    session.created_at = session.updated_at = datetime.now(UTC) - timedelta(days=days)
    store.save_session(session)


def environment(**more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not re.match("LC_|LANG|COLUMNS|PYTHON(IO|UTF8|UNBUF)", name)
    }
    return {**kept, **more}


def run(store: StateStore, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    command = [*COMMAND, "--base", str(store.base_path), *arguments]
    return subprocess.run(command, capture_output=True, check=False, env=environment(**more), stdin=subprocess.DEVNULL)


class AtTerminal:
    """A command at a terminal of some width: what it shows, what is typed, how it ends."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master, self.process, self.shown = master, process, ""

    def until(self, text: str) -> None:
        while text not in self.shown:
            assert self._read(), f"the command ended before {text!r}: {self.shown!r}"

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        while self._read():
            pass
        return self.process.wait()

    @property
    def lines(self) -> list[str]:
        return self.shown.replace("\r\n", "\n").splitlines()

    def _read(self) -> bool:
        with suppress(OSError):  # EIO: the command, which had the other side, is gone
            if found := os.read(self._master, 65536):
                self.shown += found.decode()
                return True
        return False


@contextmanager
def at_terminal(
    store: StateStore, *arguments: str, columns: int = 80, stdout: int | None = None, **more: str
) -> Iterator[AtTerminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [*COMMAND, "--base", str(store.base_path), *arguments]
    with subprocess.Popen(
        command, stdin=slave, stdout=slave if stdout is None else stdout, stderr=slave, env=environment(**more)
    ) as process:
        os.close(slave)
        try:
            yield AtTerminal(master, process)
        finally:
            process.kill()
            os.close(master)


def shown(store: StateStore, *arguments: str, columns: int = 80, **more: str) -> list[str]:
    with at_terminal(store, *arguments, columns=columns, stdout=None, **more) as terminal:
        terminal.end()
        return terminal.lines


def test_the_command_is_installed_with_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["oxios-state"].partition(":")
    assert callable(getattr(import_module(module), function))


# Pipes.


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_a_reader_that_had_enough_ends_the_command_silently(store: StateStore, variables: dict[str, str]) -> None:
    for number in range(40):
        save(store, f"s{number:02}", title="x" * 5000)
    command = [*COMMAND, "--base", str(store.base_path), "list"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**variables)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"s")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["check", "--json"]])
def test_a_reader_that_is_gone_before_the_little_output_comes_is_met_with_silence(
    store: StateStore, arguments: list[str]
) -> None:
    save(store, "s")
    (store.base_path / "sessions/bad.json").write_text("{")
    reader, writer = os.pipe()
    os.close(reader)
    command = [*COMMAND, "--base", str(store.base_path), *arguments]
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, env=environment())
    finally:
        os.close(writer)
    assert done.returncode == 141
    assert b"Error" not in done.stderr
    assert b"Exception" not in done.stderr


def test_a_shell_pipeline_gets_its_first_line_and_nothing_else(store: StateStore) -> None:
    save(store, "s")
    script = '"$@" | head -1; "$@" | true'
    command = ["sh", "-c", script, "sh", *COMMAND, "--base", str(store.base_path), "list"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.startswith(b"s\t")
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


def test_complaints_that_nobody_hears_change_nothing(store: StateStore) -> None:
    save(store, "good")
    (store.base_path / "sessions/bad.json").write_text("{")
    reader, writer = os.pipe()
    os.close(reader)
    command = [*COMMAND, "--base", str(store.base_path), "list"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writer, check=False)
    finally:
        os.close(writer)
    assert done.returncode == 0
    assert done.stdout.startswith(b"good\t")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_output_that_cannot_be_written_is_a_failure_with_one_line(store: StateStore) -> None:
    save(store, "s")
    with open("/dev/full", "w") as full:
        command = [*COMMAND, "--base", str(store.base_path), "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, env=environment())
    assert done.returncode == 3
    assert done.stderr == b"oxios-state: [Errno 28] No space left on device\n"


def test_closed_streams_are_no_reason_to_fail(store: StateStore) -> None:
    save(store, "s", days=30)
    for arguments in (["list"], ["check"], ["prune"]):
        command = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *COMMAND, "--base", str(store.base_path), *arguments]
        assert subprocess.run(command, check=False).returncode == 0
    assert store.list_sessions() == []


# Interrupts.


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What a shell runs in the background ignores interrupts, and so do its children, if nothing is done about it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_a_question_with_130_and_no_traceback(store: StateStore) -> None:
    save(store, "s", days=30)
    with at_terminal(store, "prune") as terminal:
        terminal.until("[y/N] ")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
        assert "Traceback" not in terminal.shown
    assert len(store.list_sessions()) == 1


def sleeps_in_a_full_pipe(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout is not None
    held = struct.unpack("i", fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4)))[0]
    return held >= 2**15 and "State:\tS" in Path(f"/proc/{process.pid}/status").read_text()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux alone says so whether a process sleeps")
def test_an_interrupt_ends_a_command_whose_reader_sleeps(store: StateStore) -> None:
    for number in range(40):
        save(store, f"s{number:02}", title="x" * 5000)
    command = [*COMMAND, "--base", str(store.base_path), "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # An interrupt in the microsecond before the write that sleeps is one that CPython notices after that write.
        while not sleeps_in_a_full_pipe(process):
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
def test_what_an_encoding_does_not_have_is_escaped(store: StateStore, variables: dict[str, str], title: bytes) -> None:
    save(store, "s", title="café 名😀 (LC)")
    done = run(store, "list", **variables)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.rstrip(b"\n").endswith(b"\t" + title)
    (found,) = map(json.loads, run(store, "list", "--json", **variables).stdout.splitlines())
    assert found["title"] == "café 名😀 (LC)"
    for form in ([], ["--markdown"], ["--html", "-"], ["--json"]):
        done = run(store, "show", "s", *form, **variables)
        assert (done.returncode, done.stderr) == (0, b"")


def test_an_error_is_told_in_any_encoding(store: StateStore) -> None:
    done = run(store, "show", "名", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (1, b"oxios-state: there is no session \\u540d\n")


# Terminals.


def test_a_list_at_a_terminal_has_a_header_and_columns_that_fit(store: StateStore) -> None:
    save(store, "first", title="A title that is much longer than what is left of a line of a terminal of 80 columns")
    save(store, "名前", days=1, title="Short")
    lines = shown(store, "list")
    assert lines[0] == "ID     UPDATED               MSGS  USER  TITLE"
    assert re.fullmatch(r"first  \S{20}  0     ada   A title that is much longer than wha\.\.\.", lines[1])
    assert len(lines[1]) <= 80
    assert re.fullmatch(r"名前   \S{20}  0     ada   Short", lines[2])  # each of the two is as wide as two letters


@pytest.mark.parametrize("columns", [1, 12, 24, 40, 60, 79, 0])
def test_a_narrow_terminal_gets_the_ids_whole_and_of_the_rest_what_fits(store: StateStore, columns: int) -> None:
    save(store, "0123456789", title="A title that is longer than a line")
    lines = shown(store, "list", columns=columns)
    assert lines[0].startswith("ID")
    assert lines[1].startswith("0123456789")
    assert max(map(len, lines)) <= max(columns or 80, 10)
    assert ("A title" in lines[1]) == (columns >= 24 or columns == 0)


def test_the_variable_columns_says_how_wide_a_terminal_is(store: StateStore) -> None:
    save(store, "s", title="A title that is longer than a line of some columns is")
    assert max(map(len, shown(store, "list", COLUMNS="50"))) == 50
    assert max(map(len, shown(store, "list", COLUMNS="odd"))) > 50


def test_nothing_that_moves_the_cursor_reaches_a_terminal(store: StateStore) -> None:
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
        with suppress(OSError):  # a file system that takes UTF-8 only
            os.close(os.open(name + extension, os.O_CREAT))
    commands = [
        "list",
        "show s",
        "show s --markdown",
        "show s --html -",
        "show s --json",
        "show \x1b[2J",
        "search evil",
    ]
    commands += ["prune --dry-run", "check", "check --json", "quarantine move --all", "quarantine list", "\x1b[2J"]
    for command in commands:
        text = "\n".join(shown(store, *command.split()))
        text = re.sub("\r[^\r]*\r", "", text)  # progress, and its end
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text), command


@pytest.mark.parametrize(
    ("answer", "code", "left"),
    [("y\n", 0, 1), ("YES\n", 0, 1), ("n\n", 1, 3), ("\n", 1, 3), ("\x04", 1, 3), ("\xff\n", 1, 3)],
)
def test_prune_asks_at_a_terminal(store: StateStore, answer: str, code: int, left: int) -> None:
    for number in range(3):
        save(store, f"s{number}", days=30 * number)
    with at_terminal(store, "prune") as terminal:
        terminal.until("Sessions to remove: 2. Go on? [y/N] ")
        assert [line.split()[0] for line in terminal.lines[:3]] == ["ID", "s2", "s1"]
        terminal.type(answer)
        assert terminal.end() == code
        assert ("sessions removed: 2" if code == 0 else "no session is removed") in terminal.shown
    assert len(store.list_sessions()) == left


def test_what_became_due_or_changed_since_the_question_stays(store: StateStore) -> None:
    for name in ("asked", "saved"):
        save(store, name, days=30)
    with at_terminal(store, "prune", "--archive", "archive") as terminal:
        terminal.until("Sessions to move to archive: 2. Go on? [y/N] ")
        save(store, "late", days=40)
        save(store, "saved", days=29)
        terminal.type("y\n")
        assert terminal.end() == 0
        assert "sessions removed: 1" in terminal.shown
    assert {summary.id for summary in store.list_sessions()} == {"late", "saved"}
    assert store.list_category("archive") == ["asked"]


def test_what_was_agreed_to_goes_whatever_its_time(store: StateStore) -> None:
    for number in range(3):
        save(store, f"s{number}", days=-100 - number)  # ahead of the clock
    with at_terminal(store, "prune", "--max-sessions", "1") as terminal:
        terminal.until("Sessions to remove: 2. Go on? [y/N] ")
        terminal.type("y\n")
        assert terminal.end() == 0
        assert "sessions removed: 2" in terminal.shown
    assert [summary.id for summary in store.list_sessions()] == ["s2"]


def test_prune_does_not_ask_when_told_so_or_when_there_is_nothing_to_ask(store: StateStore) -> None:
    for _ in range(2):
        with at_terminal(store, "prune", "--yes") as terminal:
            assert terminal.end() == 0
            assert "[y/N]" not in terminal.shown
        with at_terminal(store, "prune") as terminal:
            assert terminal.end() == 0
            assert "[y/N]" not in terminal.shown
            assert "sessions removed: 0" in terminal.shown
        save(store, "s", days=30)


def test_a_question_is_no_part_of_the_output(store: StateStore, tmp_path: Path) -> None:
    base = StateStore(tmp_path / "base", durable=False)
    save(base, "s", days=30)
    with open(tmp_path / "output", "wb") as output, at_terminal(base, "prune", "--json", stdout=output.fileno()) as one:
        one.until("Sessions to remove: 1. Go on? [y/N] ")
        one.type("y\n")
        assert one.end() == 0
    assert [json.loads(line)["id"] for line in (tmp_path / "output").read_text().splitlines()] == ["s"]


def test_notes_are_for_terminals_alone(store: StateStore) -> None:
    save(store, "s")
    assert shown(store, "check") == ["oxios-state: problems found: 0"]
    assert run(store, "check").stderr == b""
    assert shown(store, "prune", "--dry-run") == ["oxios-state: sessions to remove: 0; none is removed yet"]
    assert shown(store, "quarantine", "list") == []
