"""List the sessions of a directory once, in a new process.

Prints the seconds of importing the library and of the call, as JSON. It imports only json, sys and time before the
library.
"""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    """List the sessions of the directory on the command line."""
    start = time.perf_counter()
    from oxios_state import StateStore

    imported = time.perf_counter()
    store = StateStore(sys.argv[1])
    listed = len(store.list_sessions())
    end = time.perf_counter()
    print(json.dumps({"import": imported - start, "call": end - imported, "listed": listed}))


if __name__ == "__main__":
    main()
