"""The subcommands: their output, their effects and their exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import oxios_state
from oxios_state import AgentResponse, Finding, ProblemKind, PruneConfig, Session, StateStore
from oxios_state.cli import console
from oxios_state.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
HOSTILE = "\x1b[2J\x07\x08\x7f\x9b31m\u202eevil\u2066\r"
VISIBLE = "␛[2J␇␈␡\\u009b31m\\u202eevil\\u2066␍"

BAD = "line 1, column 2: Expecting property name enclosed in double quotes"
DEVICE = "the name is the name of a device on Windows"


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OXIOS_STATE_BASE", str(tmp_path))


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path, durable=False, lock_timeout=0.1)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A function that runs the command, and returns its exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        return code, *capsys.readouterr()

    return run


Run = Any  # the type of the fixture


def save(store: StateStore, session_id: str, *, days: int = 0, said: str = "Hello", title: str | None = None) -> None:
    """Save a session that was last changed some days ago."""
    session = Session("ada", session_id)
    session.add_user_message(said)
    session.add_agent_response(AgentResponse("Done"))
    if title is not None:
        session.set_metadata("title", title)
    session.created_at = session.updated_at = datetime.now(UTC) - timedelta(days=days)
    store.save_session(session)


def objects(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


# The base directory.


def test_the_base_option_overrides_the_environment(store: StateStore, run: Run, tmp_path: Path) -> None:
    save(store, "here")
    other = tmp_path / "other"
    save(StateStore(other, durable=False), "there")
    assert run("list")[1].startswith("here\t")
    assert run("--base", str(other), "list")[1].startswith("there\t")
    assert run("list", "--base", str(other))[1].startswith("there\t")
    assert run("quarantine", "--base", str(other), "list")[0] == 0


def test_the_base_may_begin_with_a_tilde(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert run("list", "--base", "~") == (0, "", "")


@pytest.mark.parametrize("options", [[], ["--base", ""]])
def test_a_missing_base_is_wrong_usage(options: list[str], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OXIOS_STATE_BASE", "/" if options else "")
    code, output, errors = run(*options, "list")
    assert (code, output) == (2, "")
    assert "no directory given: use --base, or set OXIOS_STATE_BASE" in errors


def test_a_base_that_does_not_exist_is_not_created(run: Run, tmp_path: Path) -> None:
    code, output, errors = run("list", "--base", str(tmp_path / "missing"))
    assert (code, output) == (2, "")
    assert f"cannot use the base directory: No such file or directory: {tmp_path / 'missing'}" in errors
    assert os.listdir(tmp_path) == []


def test_a_base_that_is_a_link_to_a_missing_directory_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "base").symlink_to(tmp_path / "missing")
    code, _, errors = run("list", "--base", str(tmp_path / "base"))
    assert code == 2
    assert f"cannot use the base directory: a symbolic link to a missing directory, {tmp_path / 'missing'}" in errors


def test_a_base_that_is_a_file_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, errors = run("list", "--base", str(tmp_path / "file"))
    assert code == 2
    assert "not a directory" in errors


# Usage.


def test_the_help_explains_the_exit_codes(run: Run) -> None:
    code, output, errors = run("--help")
    assert (code, errors) == (0, "")
    for name in ("list", "show", "search", "prune", "check", "quarantine"):
        assert f"\n    {name} " in output
    assert "exit codes:\n  0 " in output
    assert output.isascii()


@pytest.mark.parametrize(
    "command", ["list", "show", "search", "prune", "check", "quarantine list", "quarantine move", "quarantine restore"]
)
def test_every_subcommand_has_help_and_a_json_option(command: str, run: Run) -> None:
    code, output, _ = run(*command.split(), "--help")
    assert code == 0
    assert "--json" in output
    assert "--base" in output


def test_the_help_of_prune_suggests_a_dry_run(run: Run) -> None:
    assert "First look with --dry-run." in " ".join(run("prune", "--help")[1].split())


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version") == (0, f"oxios-state {oxios_state.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["quarantine"],
        ["quarantine", "move"],
        ["quarantine", "move", "--all", "x"],
        ["quarantine", "move", "--kind", "odd"],
        ["quarantine", "restore"],
        ["show"],
        ["show", "x", "--json", "--markdown"],
        ["prune"],
        ["prune", "--dry-run"],
        ["prune", "--yes"],
        ["prune", "--defaults", "--ttl-hours", "1"],
        ["prune", "--defaults", "--max-sessions", "0"],
        ["prune", "--max-sessions", "-1"],
        ["prune", "--max-sessions", "1.5"],
        ["prune", "--ttl-hours", "nan"],
        ["prune", "--ttl-hours", "soon"],
        ["list", "--odd"],
        ["list", "--limit", "one"],
        ["search"],
        ["show", "--odd"],
        ["list", "-x"],
        ["list", "--user=--"],
        ["list", "--limit=--"],
        ["list", "--us=--"],
        ["--base=--", "list"],
        ["prune", "--max-sessions=--"],
        ["quarantine", "move", "--kind=--"],
    ],
)
def test_wrong_usage_ends_with_2_and_prints_the_usage(arguments: list[str], run: Run) -> None:
    code, output, errors = run(*arguments)
    assert (code, output) == (2, "")
    assert errors.startswith("usage: oxios-state")


@pytest.mark.parametrize(
    ("session_id", "arguments"),
    [
        ("-x", ["-x"]),
        ("-x", ["--", "-x"]),
        ("-", ["-"]),
        ("--odd", ["--", "--odd"]),
        ("-h1", ["--", "-h1"]),
        ("--", ["--", "--"]),
        ("--user=--", ["--", "--user=--"]),
    ],
)
def test_an_argument_may_begin_with_hyphens(session_id: str, arguments: list[str], store: StateStore, run: Run) -> None:
    store.save_session(Session(session_id, session_id, metadata={"title": session_id}))
    assert json.loads(run("show", "--json", *arguments)[1])["id"] == session_id
    assert [hit["snippet"] for hit in objects(run("search", "--json", *arguments)[1])] == [session_id]


@pytest.mark.parametrize("options", [["--user", "-x"], ["--user=-x"]])
def test_the_value_of_an_option_may_begin_with_a_hyphen(options: list[str], store: StateStore, run: Run) -> None:
    store.save_session(Session("-x", "s"))
    assert [summary["id"] for summary in objects(run("list", "--json", *options)[1])] == ["s"]


def test_the_help_explains_arguments_that_begin_with_hyphens(run: Run) -> None:
    assert "put -- before it (oxios-state show -- --odd)" in run("--help")[1]


def test_wrong_arguments_are_printed_without_control_characters(run: Run) -> None:
    code, _, errors = run("list", "--odd" + HOSTILE)
    assert code == 2
    assert VISIBLE in errors
    assert all(character.isprintable() or character == "\n" for character in errors)


# Listing.


def test_list_prints_tab_separated_rows_latest_first(store: StateStore, run: Run) -> None:
    save(store, "old", days=2)
    save(store, "new", days=1)
    code, output, errors = run("list")
    assert (code, errors) == (0, "")
    rows = [line.split("\t") for line in output.splitlines()]
    assert [[row[0], *row[2:]] for row in rows] == [["new", "1", "ada", "", "Hello"], ["old", "1", "ada", "", "Hello"]]
    assert rows[0][1] == store.list_sessions()[0].updated_at.astimezone().isoformat(timespec="seconds")


def test_tables_show_local_times_with_their_offset(
    store: StateStore, run: Run, set_time_zone: Callable[[str], None]
) -> None:
    for name, moment in (
        ("winter", datetime(2026, 3, 29, 0, 59, 59, 999999, UTC)),
        ("summer", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("first", datetime(1, 1, 1, tzinfo=UTC)),
        ("last", datetime(9999, 12, 31, 23, 30, tzinfo=UTC)),
    ):
        store.save_session(Session("ada", name, created_at=moment))
    set_time_zone("CET-1CEST,M3.5.0,M10.5.0/3")
    assert [line.split("\t")[:2] for line in run("list")[1].splitlines()] == [
        ["last", "9999-12-31T23:30:00Z"],  # in local time it would be in the year 10000
        ["summer", "2026-03-29T03:00:00+02:00"],
        ["winter", "2026-03-29T01:59:59+01:00"],
        ["first", "0001-01-01T01:00:00+01:00"],
    ]
    listed = run("list", "--after", "2026-03-29 02:30")[1]
    assert [line.split("\t")[0] for line in listed.splitlines()] == ["last", "summer"]
    assert objects(run("list", "--json")[1])[1]["updated_at"] == "2026-03-29T01:00:00Z"
    code, output, errors = run("list", "--after", "2026-10-25 02:30")
    assert (code, output) == (2, "")
    assert "write 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00" in errors


def test_the_quarantine_shows_local_times_with_their_offset(
    broken: StateStore, run: Run, set_time_zone: Callable[[str], None]
) -> None:
    set_time_zone("CET-1CET-1")
    (moved,) = objects(run("quarantine", "move", "sessions/bad.json", "--json")[1])
    assert moved["since"].endswith("Z")
    since = datetime.fromisoformat(run("quarantine", "list")[1].split("\t")[1])
    assert since.utcoffset() == timedelta(hours=1)
    assert since == datetime.fromisoformat(moved["since"]).replace(microsecond=0)


def test_list_of_an_empty_base_prints_nothing(run: Run, tmp_path: Path) -> None:
    assert run("list") == (0, "", "")
    assert run("list", "--json") == (0, "", "")
    assert os.listdir(tmp_path) == []


def test_list_as_json_has_the_fields_of_a_summary(store: StateStore, run: Run) -> None:
    session = Session("ada", "s", created_at=NOW)
    session.set_metadata("project_id", "p")
    session.active_seed_id = "seed"
    session.updated_at = NOW + timedelta(microseconds=1)
    store.save_session(session)
    code, output, _ = run("list", "--json")
    assert code == 0
    assert objects(output) == [
        {
            "id": "s",
            "user_id": "ada",
            "message_count": 0,
            "active_seed_id": "seed",
            "project_id": "p",
            "title": None,
            "created_at": "2026-03-01T08:00:00Z",
            "updated_at": "2026-03-01T08:00:00.000001Z",
        }
    ]


def test_list_warns_about_an_unreadable_file(store: StateStore, run: Run) -> None:
    save(store, "good")
    (store.base_path / "sessions/bad.json").write_text('{"\x1b": }')
    code, output, errors = run("list")
    assert code == 0
    assert output.startswith("good\t")
    assert output.count("\n") == 1
    assert errors.startswith("oxios-state: warning: left out of the list of sessions: ")
    assert "bad.json: line 1, column " in errors
    assert errors.count("\n") == 1


def test_control_characters_are_escaped_within_a_cell(store: StateStore, run: Run) -> None:
    save(store, "s", title=f"one\ntwo\tthree{HOSTILE}")
    _, output, _ = run("list")
    assert output.endswith(f"\tone␊two␉three{VISIBLE}\n")
    (summary,) = objects(run("list", "--json")[1])
    assert summary["title"] == f"one\ntwo\tthree{HOSTILE}"


def test_list_filters_sessions(store: StateStore, run: Run) -> None:
    for name, user, project, day in (("a", "ada", "p", 1), ("b", "ada", "q", 2), ("c", "bob", "p", 3)):
        session = Session(user, name, created_at=NOW + timedelta(days=day))
        session.metadata["project_id"] = project
        store.save_session(session)

    def listed(*arguments: str) -> list[str]:
        return [summary["id"] for summary in objects(run("list", "--json", *arguments)[1])]

    assert listed() == ["c", "b", "a"]
    assert listed("--user", "ada") == ["b", "a"]
    assert listed("--project", "p") == ["c", "a"]
    assert listed("--after", "2026-03-03T08:00:00Z") == ["c", "b"]
    assert listed("--before", "2026-03-03T08:00:00Z") == ["a"]
    assert listed("--after", "2 March 2026 07:00 +00:00", "--before", "2026-03-04T07:00:00+00:00") == ["b", "a"]
    assert listed("--limit", "1") == ["c"]
    assert listed("--user", "ada", "--limit", "1") == ["b"]


@pytest.mark.parametrize("command", [["list"], ["search", "x"]])
@pytest.mark.parametrize("option", [["--after", "yesterday"], ["--before", "5/6/2026"], ["--limit", "-1"]])
def test_an_invalid_filter_ends_with_2(command: list[str], option: list[str], run: Run) -> None:
    code, output, errors = run(*command, *option)
    assert (code, output) == (2, "")
    assert errors.startswith("oxios-state: ")
    assert errors.count("\n") == 1


# Searching.


def test_search_prints_the_places_of_a_text(store: StateStore, run: Run) -> None:
    save(store, "new", said="Say hello\tto her")
    save(store, "old", days=2, said="Hello")
    code, output, errors = run("search", "HELLO")
    assert (code, errors) == (0, "")
    assert [line.split("\t") for line in output.splitlines()] == [
        ["new", "1", "message", "Say hello to her"],
        ["old", "1", "message", "Hello"],
    ]
    assert objects(run("search", "hello", "--json", "--limit", "1")[1]) == [
        {"session_id": "new", "turn": 0, "where": "message", "index": 0, "snippet": "Say hello to her"}
    ]
    assert run("search", "hello", "--before", "1 March 2020") == (1, "", "")


def test_search_prints_a_match_in_the_title_without_a_turn(store: StateStore, run: Run) -> None:
    save(store, "s", title="Café")
    assert run("search", "cafe\u0301") == (0, "s\t\ttitle\tCafé\n", "")
    assert objects(run("search", "cafe\u0301", "--json")[1]) == [
        {"session_id": "s", "turn": None, "where": "title", "index": None, "snippet": "Café"}
    ]


def test_an_error_without_errno_is_printed_with_its_type(
    store: StateStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ProgramError(OSError):
        pass

    def fail(*_: object, **__: object) -> None:
        raise ProgramError("out of order")

    monkeypatch.setattr(StateStore, "list_sessions", fail)
    assert run("list") == (3, "", "oxios-state: ProgramError: out of order\n")


def test_search_without_a_match_ends_with_1(store: StateStore, run: Run) -> None:
    save(store, "s")
    assert run("search", "goodbye") == (1, "", "")
    code, _, errors = run("search", "")
    assert (code, errors) == (2, "oxios-state: the text to search for is empty\n")


# Showing.


def test_show_as_json_is_the_document(store: StateStore, run: Run) -> None:
    source = Path(__file__).parents[2] / "docs/sample_state/sessions/typical.json"
    shutil.copytree(source.parent, store.base_path / "sessions")
    code, output, errors = run("show", "typical", "--json")
    assert (code, errors) == (0, "")
    assert json.loads(output) == json.loads(source.read_text())
    assert output.count("\n") == 1


def test_json_is_ascii_without_control_characters(store: StateStore, run: Run) -> None:
    save(store, "s", said=HOSTILE + "é\u2028")
    _, output, _ = run("show", "s", "--json")
    assert output.rstrip("\n").isprintable()
    assert output.isascii()
    assert json.loads(output)["user_messages"][0]["content"] == HOSTILE + "é\u2028"


def test_show_prints_the_text_form(store: StateStore, run: Run) -> None:
    save(store, "s", said="List the files")
    code, output, errors = run("show", "s")
    assert (code, errors) == (0, "")
    assert output == f"{store.load_session('s')}\n"


def test_show_as_markdown_is_the_transcript(store: StateStore, run: Run) -> None:
    save(store, "s", said="List the files")
    session = store.load_session("s")
    assert session is not None
    assert run("show", "s", "--markdown") == (0, session.to_markdown().rstrip("\n") + "\n", "")


@pytest.mark.parametrize("form", [[], ["--markdown"], ["--html", "-"]])
def test_no_form_of_a_session_has_control_characters(form: list[str], store: StateStore, run: Run) -> None:
    session = Session(HOSTILE, "s")
    session.add_user_message(HOSTILE)
    session.add_agent_response(AgentResponse(HOSTILE))
    session.extend_trajectory([oxios_state.TrajectoryStepRecord(HOSTILE, {HOSTILE: HOSTILE}, HOSTILE)])
    session.set_metadata("title", HOSTILE)
    store.save_session(session)
    code, output, _ = run("show", "s", *form)
    assert code == 0
    assert "evil" in output
    assert not set(output) & (set(HOSTILE) - set("evil[231mJ"))


def test_show_writes_a_complete_page_that_only_its_owner_can_read(store: StateStore, run: Run, tmp_path: Path) -> None:
    save(store, "a<b>&c", said="List the files")
    page = tmp_path / "page.html"
    assert run("show", "a<b>&c", "--html", str(page)) == (0, "", "")
    text = page.read_text("utf-8")
    assert text.startswith("<!DOCTYPE html>\n<html>\n<head>\n<meta charset")
    assert "<title>Session a&lt;b&gt;&amp;c</title>" in text
    assert "List the files" in text
    assert text.endswith("</body>\n</html>\n")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert run("show", "a<b>&c", "--html", "-") == (0, text, "")


def test_a_page_cannot_run_or_load_anything(store: StateStore, run: Run) -> None:
    save(store, "s", said="<script>1</script><img src='https://example.org/x.png'>")
    _, text, _ = run("show", "s", "--html", "-")
    policy = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text.partition("<body")[0])
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert not re.search(r"<(?:script|img)", text)


def test_a_page_that_cannot_be_written_is_a_failure(store: StateStore, run: Run, tmp_path: Path) -> None:
    save(store, "s")
    code, _, errors = run("show", "s", "--html", str(tmp_path / "missing" / "page.html"))
    assert code == 3
    assert "No such file or directory" in errors


def test_show_of_a_missing_session_ends_with_1(run: Run) -> None:
    assert run("show", "nobody") == (1, "", "oxios-state: there is no session nobody\n")


def test_show_of_an_unreadable_session_ends_with_3(store: StateStore, run: Run) -> None:
    save(store, "s")
    (store.base_path / "sessions/s.json").write_text("{")
    code, output, errors = run("show", "s")
    assert (code, output) == (3, "")
    assert "s.json: line 1, column 2: " in errors


def test_show_of_a_forbidden_id_ends_with_3(run: Run) -> None:
    code, output, errors = run("show", f"../{HOSTILE}")
    assert (code, output) == (3, "")
    assert errors.rstrip("\n").isprintable()


# Pruning.


@pytest.fixture
def store_of_three(store: StateStore) -> StateStore:
    save(store, "new")
    save(store, "old", days=30)
    save(store, "older", days=60)
    return store


def ids(store: StateStore) -> list[str]:
    return [summary.id for summary in store.list_sessions()]


def test_a_dry_run_removes_nothing(store_of_three: StateStore, run: Run) -> None:
    code, output, errors = run("prune", "--defaults", "--dry-run")
    assert (code, errors) == (0, "")
    assert [line.split("\t")[0] for line in output.splitlines()] == ["older", "old"]
    assert [
        (summary["id"], summary["removed"])
        for summary in objects(run("prune", "--ttl-hours", "168", "--dry-run", "--json")[1])
    ] == [
        ("older", False),
        ("old", False),
    ]
    assert ids(store_of_three) == ["new", "old", "older"]


def test_prune_does_not_ask_outside_a_terminal(store_of_three: StateStore, run: Run) -> None:
    code, output, errors = run("prune", "--defaults", "--json")
    assert (code, errors) == (0, "")
    assert [(summary["id"], summary["removed"]) for summary in objects(output)] == [("older", True), ("old", True)]
    assert ids(store_of_three) == ["new"]


def test_prune_follows_its_options(store_of_three: StateStore, run: Run) -> None:
    assert run("prune", "--max-sessions", "0", "--ttl-hours", "0")[1] == ""
    assert run("prune", "--max-sessions", "2")[1].startswith("older\t")
    assert run("prune", "--ttl-hours", "700.5")[1].startswith("old\t")
    assert ids(store_of_three) == ["new"]


def test_prune_without_a_rule_removes_nothing(store_of_three: StateStore, run: Run) -> None:
    code, output, errors = run("prune")
    assert (code, output) == (2, "")
    assert errors.startswith("usage: oxios-state prune ")
    assert "no rule given: use --max-sessions N, --ttl-hours H or both, or --defaults" in errors
    assert ids(store_of_three) == ["new", "old", "older"]


def test_prune_follows_only_the_rule_that_is_named(store_of_three: StateStore, run: Run) -> None:
    assert run("prune", "--max-sessions", "3") == (0, "", "")
    for number in range(101):
        save(store_of_three, f"s{number}")
    assert run("prune", "--ttl-hours", "2000") == (0, "", "")
    assert len(run("prune", "--defaults")[1].splitlines()) == 4


def test_the_default_rules_are_those_of_the_library(run: Run) -> None:
    rules = f"both default rules: {PruneConfig().max_sessions} sessions and {PruneConfig().ttl_hours} hours"
    assert rules in " ".join(run("prune", "--help")[1].split())


def test_prune_archives_sessions(store_of_three: StateStore, run: Run) -> None:
    assert run("prune", "--defaults", "--archive", "archive/sessions")[0] == 0
    assert store_of_three.list_category("archive/sessions") == ["old", "older"]
    code, _, errors = run("prune", "--defaults", "--archive", "sessions")
    assert code == 3
    assert "their own category" in errors


def test_a_failed_prune_prints_how_many_were_removed(store_of_three: StateStore, run: Run) -> None:
    old = store_of_three.base_path / "sessions/old.json"
    old.rename(store_of_three.base_path / "elsewhere.json")
    old.symlink_to(store_of_three.base_path / "elsewhere.json")
    code, _, errors = run("prune", "--defaults", "--archive", "archive")
    assert code == 3
    assert "a symbolic link is not archived" in errors
    assert errors.endswith("1 sessions were removed, 1 could not be\n")


# Checking and quarantine.


@pytest.fixture
def broken(store: StateStore) -> StateStore:
    save(store, "good")
    (store.base_path / "sessions/bad.json").write_text("{")
    (store.base_path / "sessions/con.md").write_text("")
    return store


def test_check_prints_a_line_for_each_problem_and_ends_with_1(broken: StateStore, run: Run) -> None:
    code, output, errors = run("check")
    assert (code, errors) == (1, "")
    assert sorted(output.splitlines()) == [
        f"sessions/bad.json: corrupt: {BAD} (mend it by hand, or quarantine it)",
        f"sessions/con.md: portability: {DEVICE} ({ProblemKind.PORTABILITY.remedy})",
    ]


def test_check_as_json_has_the_fields_of_a_problem(broken: StateStore, run: Run) -> None:
    code, output, _ = run("check", "--json")
    assert code == 1
    (problem,) = (problem for problem in objects(output) if problem["kind"] == "corrupt")
    assert problem == {
        "path": "sessions/bad.json",
        "kind": "corrupt",
        "reason": BAD,
        "remedy": "mend it by hand, or quarantine it",
    }


def test_check_without_problems_ends_with_0(store: StateStore, run: Run) -> None:
    save(store, "good")
    assert run("check") == (0, "", "")


def test_check_removes_the_temporary_files_of_dead_writers_on_request(broken: StateStore, run: Run) -> None:
    orphan = broken.base_path / "sessions/.oxios_state.0123456789abcdef.tmp"
    orphan.touch()
    assert f"{orphan.name}: orphan: a temporary file without a writer (sweep() or oxios-state check --sweep" in run(
        "check"
    )[1].replace("sessions/", "")
    assert orphan.exists()
    code, output, errors = run("check", "--sweep")
    assert (code, errors, orphan.exists()) == (1, "", False)
    assert output.splitlines()[0] == f"sessions/{orphan.name}: removed, a temporary file without a writer"
    assert len(output.splitlines()) == 3
    orphan.touch()
    assert objects(run("check", "--sweep", "--json")[1])[0] == {"path": f"sessions/{orphan.name}", "removed": True}
    assert {path.name for path in (broken.base_path / "sessions").iterdir()} == {"good.json", "bad.json", "con.md"}


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """The findings of a probe that takes no time."""
    findings = [
        Finding("locks", holds=True, detail="good"),
        Finding("names", holds=False, detail="b\x1bad"),
        Finding("mount", holds=None, detail="untold"),
    ]
    monkeypatch.setattr(StateStore, "probe", lambda _: findings)
    return findings


REMEDY = ProblemKind.FILE_SYSTEM.remedy


def test_check_prints_the_findings_of_the_probe_first(broken: StateStore, probed: list[Finding], run: Run) -> None:
    code, output, errors = run("check", "--probe")
    assert (code, errors) == (1, "")
    lines = output.splitlines()
    assert lines[:3] == ["locks: yes, good", f"names: no, b␛ad ({REMEDY})", "mount: note, untold"]
    assert len(lines) == 5


def test_check_as_json_has_the_fields_of_a_finding(store: StateStore, probed: list[Finding], run: Run) -> None:
    code, output, _ = run("check", "--probe", "--json")
    assert code == 1
    assert objects(output) == [
        {"what": "locks", "holds": True, "detail": "good", "remedy": None},
        {"what": "names", "holds": False, "detail": "b\x1bad", "remedy": REMEDY},
        {"what": "mount", "holds": None, "detail": "untold", "remedy": None},
    ]
    probed.pop(1)
    assert run("check", "--probe")[0] == 0


def test_check_probes_only_on_request(store: StateStore, run: Run) -> None:
    assert run("check") == (0, "", "")
    assert os.listdir(store.base_path) == []
    assert run("check", "--probe")[1].startswith("locks between processes: yes, ")


def test_a_file_is_quarantined_and_restored_by_its_printed_name(broken: StateStore, run: Run) -> None:
    code, output, errors = run("quarantine", "move", "sessions/bad.json")
    assert (code, errors) == (0, "")
    entry, _, place, reason = output.split("\t")
    assert (place, reason) == ("sessions/bad.json", f"{BAD}\n")
    assert not (broken.base_path / place).exists()
    assert run("quarantine", "list") == (0, output, "")
    assert run("quarantine", "restore", entry) == (0, output, "")
    assert (broken.base_path / place).read_text() == "{"
    assert run("quarantine", "list") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "moved"),
    [
        (["--all"], ["sessions/bad.json"]),  # a file that is sound on this system stays
        (["--kind", "corrupt"], ["sessions/bad.json"]),
        (["--kind", "orphan"], []),
        (["--kind", "corrupt", "--kind", "portability"], ["sessions/bad.json", "sessions/con.md"]),
        (["sessions/con.md", "sessions/bad.json"], ["sessions/bad.json", "sessions/con.md"]),
    ],
)
def test_quarantine_moves_the_selected_files(
    arguments: list[str], moved: list[str], broken: StateStore, run: Run
) -> None:
    code, output, _ = run("quarantine", "move", "--json", *arguments)
    assert code == 0
    assert sorted(entry["path"] for entry in objects(output)) == moved
    assert len(broken.check()) == 2 - len(moved)


def test_an_entry_as_json_has_its_path_reason_and_time(broken: StateStore, run: Run) -> None:
    (moved,) = objects(run("quarantine", "move", "--json", str(broken.base_path / "sessions/bad.json"))[1])
    (listed,) = objects(run("quarantine", "list", "--json")[1])
    (entry,) = broken.quarantine
    assert listed == moved
    assert moved == {
        "entry": entry.content.parent.name,
        "path": "sessions/bad.json",
        "reason": entry.reason,
        "since": entry.since.isoformat().replace("+00:00", "Z"),
    }
    assert objects(run("quarantine", "restore", "--json", moved["entry"])[1]) == [moved]


def test_a_sound_file_is_not_quarantined(broken: StateStore, run: Run) -> None:
    code, output, errors = run("quarantine", "move", "sessions/good.json", "sessions/bad.json", "none")
    assert code == 1
    assert "\tsessions/bad.json\t" in output
    assert errors == (
        "oxios-state: check found nothing wrong with sessions/good.json\n"
        "oxios-state: check found nothing wrong with none\n"
    )
    assert ids(broken) == ["good"]


def test_a_file_with_two_problems_is_quarantined_once(store: StateStore, run: Run) -> None:
    save(store, "good")
    (store.base_path / "sessions/con.json").write_text("{")
    assert len(store.check()) == 2
    code, output, errors = run("quarantine", "move", "--all")
    assert (code, output.count("\n"), errors) == (0, 1, "")


def test_a_file_with_an_invisible_name_is_quarantined_by_its_printed_name(store: StateStore, run: Run) -> None:
    save(store, "good")
    name = os.fsencode(store.base_path) + b"/sessions/\x1b\xff\xe2\x80\xae.json"
    try:
        os.close(os.open(name, os.O_CREAT))
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    code, output, _ = run("check")
    assert code == 1
    place = output.partition(": ")[0]
    assert output.replace("\n", "").isprintable()
    code, output, errors = run("quarantine", "move", place)
    assert (code, errors) == (0, "")
    assert f"\t{place}\t" in output
    assert not os.path.lexists(name)
    assert run("quarantine", "restore", output.split()[0])[0] == 0
    assert os.path.lexists(name)


def test_restore_ends_with_1_for_a_missing_entry_and_3_for_an_occupied_path(broken: StateStore, run: Run) -> None:
    entry = run("quarantine", "move", "sessions/bad.json")[1].split()[0]
    assert run("quarantine", "restore", "none") == (1, "", "oxios-state: there is no entry none in quarantine\n")
    (broken.base_path / "sessions/bad.json").write_text("another")
    code, output, errors = run("quarantine", "restore", "none", entry)
    assert (code, output) == (3, "")
    assert "File exists" in errors


def test_discard_removes_files_from_quarantine_for_good(broken: StateStore, run: Run) -> None:
    output = run("quarantine", "move", "sessions/bad.json")[1]
    entry = output.split()[0]
    assert run("quarantine", "discard", "none") == (1, "", "oxios-state: there is no entry none in quarantine\n")
    assert run("quarantine", "discard", entry, entry) == (0, output, "")
    assert run("quarantine", "list") == (0, "", "")
    assert run("quarantine", "discard", "--yes", entry)[0] == 1


def test_an_entry_with_a_forged_path_is_not_restored(broken: StateStore, run: Run) -> None:
    entry = run("quarantine", "move", "sessions/bad.json")[1].split()[0]
    reason = broken.base_path / ".oxios_state/quarantine" / entry / "reason.json"
    reason.write_text(reason.read_text().replace("sessions/bad.json", "/etc/passwd"))
    assert "\t/etc/passwd\t" in run("quarantine", "list")[1]
    code, _, errors = run("quarantine", "restore", entry)
    assert code == 3
    assert "not a document of" in errors


def test_reading_commands_write_only_to_the_librarys_own_directory(broken: StateStore, run: Run) -> None:
    def state() -> dict[Path, tuple[int, bytes]]:
        files = (path for path in broken.base_path.rglob("*") if path.is_file() and ".oxios_state" not in path.parts)
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = state()
    for command in ("list", "show good", "search o", "prune --defaults --dry-run", "check", "quarantine list"):
        assert run(*command.split())[0] < 3
    assert state() == before


@pytest.mark.parametrize(
    ("command", "activity"),
    [
        ("list", "reading"),
        ("search o", "searching"),
        ("prune --defaults --dry-run", "pruning"),
        ("prune --defaults", "pruning"),
        ("check", "checking"),
        ("quarantine move --all", "checking"),
    ],
)
def test_long_work_displays_progress(
    command: str, activity: str, store_of_three: StateStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(errors, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setattr(console, "_PROGRESS_DELAY", 0)
    run(*command.split())
    assert re.search(f"\r{activity}: [1-4] of [1-4]\r {{10,}}\r", errors.getvalue())
