"""Move sessions that are too old or too many to an archive: for a cron job.

python docs/examples/prune_daily.py PATH [--max-days N] [--max-sessions N] [--dry-run]

What went is printed. Where something could not be done, it says what on standard error
and exits with 1. The sessions of one project stay.
"""

from __future__ import annotations

import argparse
import logging
import sys

from oxios_state import PruneConfig, SessionSummary, StateError, StateStore


def is_pinned(summary: SessionSummary) -> bool:
    """Say whether a session stays, however old it is."""
    return summary.project_id == "handbook"


def main() -> int:
    """Prune the directory that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--max-days", type=float, default=90)
    parser.add_argument("--max-sessions", type=int, default=0)  # 0: any number
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")  # tells what files cannot be read
    store = StateStore(options.path, lock_timeout=300)
    rules = PruneConfig(options.max_sessions, ttl_hours=options.max_days * 24)
    try:
        gone = store.prune(
            rules, keep=is_pinned, archive="archive/sessions", dry_run=options.dry_run
        )
    except (OSError, StateError) as error:
        print(error, *getattr(error, "__notes__", []), sep="\n", file=sys.stderr)
        return 1
    for summary in gone:
        print(f"{summary.updated_at:%Y-%m-%d}  {summary.id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
