"""The memory that one call takes in a new process.

    python peak.py DIRECTORY (traced | resident) [SESSION]

Loads the session, or lists all, and prints the peak in bytes: as traced in Python's allocators, or as the growth of the
process during the call. Memory that an engine reserves and never touches is traced, but not resident.
"""

from __future__ import annotations

import re
import sys
import tracemalloc
from pathlib import Path

from oxios_state import StateStore


def resident() -> int:
    """Return this process's peak memory. Linux keeps it apart from the parent's; getrusage does not."""
    match = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


def main() -> None:
    """Make the call that the command line names."""
    directory, measure, *session_ids = sys.argv[1:]
    store = StateStore(directory)
    store.load_session("warm")  # a small session, to import every module
    if measure == "traced":
        tracemalloc.start()
    before = resident()
    if session_ids:
        assert store.load_session(session_ids[0]) is not None
    else:
        store.list_sessions()
    print(tracemalloc.get_traced_memory()[1] if measure == "traced" else resident() - before)


if __name__ == "__main__":
    main()
