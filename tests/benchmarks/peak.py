"""The memory that one piece of work takes, in a process that did nothing before.

    python peak.py DIRECTORY (traced | resident) [SESSION]

Loads the session, or lists all, and prints the peak in bytes: as Python's allocators are traced, or by how much the
process grew while it worked. What an engine reserves and never touches is traced, but not resident.
"""

from __future__ import annotations

import re
import sys
import tracemalloc
from pathlib import Path

from oxios_state import StateStore


def resident() -> int:
    """The most memory that this process ever had. Linux tells it apart from its parent's, as getrusage does not."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    """Do the work that the command line names."""
    directory, measure, *session_ids = sys.argv[1:]
    store = StateStore(directory)
    store.load_session("warm")  # a small one, so that everything is imported
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
