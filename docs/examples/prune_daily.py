"""Move sessions that are too old or too many to an archive, from a cron job.

python docs/examples/prune_daily.py PATH [--max-days N] [--max-sessions N] [--dry-run]

It keeps the sessions of one project, and prints the sessions that it moves. If
something fails, it prints the error to standard error and exits with 1.
"""

from __future__ import annotations

import argparse
import logging
import sys

from oxios_state import PruneConfig, SessionSummary, StateError, StateStore


def is_pinned(summary: SessionSummary) -> bool:
    """Return whether a session stays, whatever its age."""
    return summary.project_id == "handbook"


def main() -> int:
    """Prune the directory named on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--max-days", type=float, default=90)
    parser.add_argument("--max-sessions", type=int, default=0)  # 0: no limit
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")  # prints warnings about unreadable files
    store = StateStore(options.path, lock_timeout=300)
    rules = PruneConfig(
        max_sessions=options.max_sessions, ttl_hours=options.max_days * 24
    )
    try:
        moved = store.prune(
            rules, keep=is_pinned, archive="archive/sessions", dry_run=options.dry_run
        )
    except (OSError, StateError) as error:
        print(error, *getattr(error, "__notes__", []), sep="\n", file=sys.stderr)
        return 1
    for summary in moved:
        print(f"{summary.updated_at:%Y-%m-%d}  {summary.id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
