"""The main job in one script: sessions, a transaction, a note, a typed configuration, and pruning.

    python docs/quickstart.py          on a copy of the files that a kernel wrote, beside this script
    python docs/quickstart.py PATH     on your own state directory

On your own directory it adds one session and two documents, all called "quickstart", and changes nothing else: it only
says what pruning would move.
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
    """A configuration of your own: any attrs class."""

    model: str
    max_tokens: int
    tools: set[str]
    since: datetime


def main() -> None:
    """Do the main job on the directory that the command line names, else on a copy of the sample."""
    if len(sys.argv) > 1:
        work(StateStore(sys.argv[1]), own=True)
        return
    with tempfile.TemporaryDirectory() as directory:
        work(StateStore(shutil.copytree(SAMPLE, Path(directory, "state"))), own=False)


def work(store: StateStore, *, own: bool) -> None:
    """Do the main job on *store*; with *own*, which is the reader's, only look at what pruning would do."""
    heading(f"Sessions in {store.base_path}")
    for summary in store.list_sessions():
        title = repr(summary.title) if summary.title else "(no title)"  # escaped: it is what somebody typed
        print(f"  {summary.updated_at:%Y-%m-%d %H:%M}  {summary.message_count:3} messages  {summary.id:20.20}  {title}")

    heading("The latest of them")
    for summary in store.list_sessions()[:1]:
        session = store.load_session(summary.id)
        if session is not None:
            show(session)

    heading("A turn, appended in a transaction")
    store.get_or_create_session("quickstart", "quickstart")
    with store.edit_session("quickstart") as session:  # locked, loaded; saved when the block ends, if it ends well
        session.add_user_message("How many files are there?")
        session.extend_trajectory([TrajectoryStepRecord("bash", {"cmd": "ls | wc -l"}, "3", duration_ms=12)])
        session.add_agent_response(AgentResponse("There are 3.", session_id=session.id))
    show(session)

    heading("A note and a typed configuration")
    store.save_markdown("memory/knowledge", "quickstart", "# Quickstart\n\nIt worked.\n")
    print("  note:         ", store.list_category("memory/knowledge"))
    config = AgentConfig("a-model", 4096, {"read", "bash"}, session.created_at)
    store.save_json("config", "quickstart", config)
    loaded = store.load_json("config", "quickstart", AgentConfig)
    print("  configuration:", loaded)
    print("  unchanged:    ", loaded == config)

    heading("Pruning, behind a throttle")
    throttle = PruneThrottle(cooldown=3600)  # shared by all workers: one of them prunes, once an hour
    for worker in ("first", "second"):
        if not throttle.should_prune():
            print(f"  the {worker} worker leaves it for an hour")
            continue
        moved = store.prune(PruneConfig(max_sessions=7, ttl_hours=0), archive="archive/sessions", dry_run=own)
        print(f"  the {worker} worker {'would move' if own else 'moved'} {len(moved)} sessions to the archive:")
        for summary in moved:
            print(f"    {summary.updated_at:%Y-%m-%d %H:%M}  {summary.id}")


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def show(session: Session) -> None:
    """Print a session."""
    print(f"  {session.id} of {session.user_id}, {session.exchange_count} exchanges")
    for message, response in zip(session.user_messages, session.agent_responses, strict=False):
        print(f"    user:  {message.content!r:.90}\n    agent: {response.content!r:.90}")
    for step in session.trajectory:
        print(f"    {step.tool_name} {step.tool_args} -> {step.output_summary!r} ({step.duration_ms} ms)")


if __name__ == "__main__":
    main()
