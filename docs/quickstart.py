"""List sessions, add a turn in a transaction, save a note and a typed configuration, and prune.

    python docs/quickstart.py          works on a copy of sample files that an Oxios kernel wrote
    python docs/quickstart.py PATH     works on your own state directory

In your own directory, the script saves one session and two documents, all called "quickstart". It changes nothing else:
there, it only prints which sessions pruning would move.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import attrs

from oxios_state import AgentResponse, PruneConfig, PruneThrottle, Session, StateStore, TrajectoryStepRecord

SAMPLE = Path(__file__).parent / "sample_state"


@attrs.define
class AgentConfig:
    """An example of your own configuration: any attrs class will do."""

    model: str
    max_tokens: int
    tools: set[str]
    since: datetime


def main() -> None:
    """Run on the directory named on the command line, or else on a copy of the sample files."""
    if len(sys.argv) > 1:
        work(StateStore(sys.argv[1]), own=True)
        return
    with tempfile.TemporaryDirectory() as directory:
        work(StateStore(shutil.copytree(SAMPLE, Path(directory, "state"))), own=False)


def work(store: StateStore, *, own: bool) -> None:
    """Run all steps on *store*; if it is the reader's *own*, do not really prune."""
    heading(f"Sessions in {store.base_path}")
    for summary in store.list_sessions():
        title = repr(summary.title) if summary.title else "(no title)"  # repr: a title may contain control characters
        print(f"  {summary.updated_at:%Y-%m-%d %H:%M}  {summary.message_count:3} messages  {summary.id:20.20}  {title}")

    heading("The latest session")
    for summary in store.list_sessions()[:1]:
        session = store.load_session(summary.id)
        if session is not None:
            show(session)

    heading("Add a turn in a transaction")
    store.get_or_create_session("quickstart", "quickstart")
    with store.edit_session("quickstart") as session:  # locks and loads; saves unless the block raises
        session.add_user_message("How many files are there?")
        session.extend_trajectory([TrajectoryStepRecord("bash", {"cmd": "ls | wc -l"}, "3", duration_ms=12)])
        session.add_agent_response(AgentResponse("There are 3.", session_id=session.id))
    show(session)

    heading("Save a note and a typed configuration")
    store.save_markdown("memory/knowledge", "quickstart", "# Quickstart\n\nIt worked.\n")
    print("  note:         ", store.list_category("memory/knowledge"))
    config = AgentConfig("a-model", 4096, {"read", "bash"}, session.created_at)
    store.save_json("config", "quickstart", config)
    loaded = store.load_json("config", "quickstart", AgentConfig)
    print("  configuration:", loaded)
    print("  unchanged:    ", loaded == config)

    heading("Prune, at most once an hour")
    throttle = PruneThrottle(cooldown=3600)  # shared by all workers
    for worker in ("first", "second"):
        if not throttle.should_prune():
            print(f"  the {worker} worker does not prune: the last prune is less than an hour ago")
            continue
        moved = store.prune(PruneConfig(max_sessions=7, ttl_hours=0), archive="archive/sessions", dry_run=own)
        print(f"  the {worker} worker {'would move' if own else 'moved'} {len(moved)} sessions to the archive:")
        for summary in moved:
            print(f"    {summary.updated_at:%Y-%m-%d %H:%M}  {summary.id}")


def heading(text: str) -> None:
    """Print an underlined heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def show(session: Session) -> None:
    """Print a session's messages, responses and tool calls."""
    print(f"  {session.id} of {session.user_id}, exchanges: {session.exchange_count}")
    for message, response in zip(session.user_messages, session.agent_responses, strict=False):
        print(f"    user:  {message.content!r:.90}\n    agent: {response.content!r:.90}")
    for step in session.trajectory:
        print(f"    {step.tool_name} {step.tool_args} -> {step.output_summary!r} ({step.duration_ms} ms)")


if __name__ == "__main__":
    main()
