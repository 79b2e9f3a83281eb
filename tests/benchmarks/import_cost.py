"""Cost of importing this package, relative to importing its four dependencies, each in a new interpreter, in turn.

Both are imported from compiled files in a cache of their own, since some environments forbid Python to write them.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

REPETITIONS = 30
GOAL = 0.6
DEPENDENCIES, PACKAGE = "attrs, cattrs, filelock, dateutil", "oxios_state"


def seconds(modules: str, environment: dict[str, str]) -> float:
    """Return the seconds that an import takes in an interpreter of its own."""
    code = f"import time; start = time.perf_counter(); import {modules}; print(time.perf_counter() - start)"
    command = [sys.executable, "-P", "-c", code]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def main() -> int:
    """Print the medians and their ratio; return 1 if the ratio misses the goal."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        for modules in (DEPENDENCIES, PACKAGE):
            seconds(modules, environment)  # the first import compiles the modules
        pairs = [(seconds(DEPENDENCIES, environment), seconds(PACKAGE, environment)) for _ in range(REPETITIONS)]
    dependencies, package = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = package / dependencies
    print(f"import {DEPENDENCIES}: {dependencies * 1e3:6.1f} ms")
    print(f"import {PACKAGE}: {package * 1e3:6.1f} ms")
    print(f"ratio: {ratio:.2f} (goal: at most {GOAL}), medians of {REPETITIONS} interleaved runs")
    return int(ratio > GOAL)


if __name__ == "__main__":
    sys.exit(main())
