"""What importing this package costs, against importing its four dependencies: each in new interpreters, in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys

REPETITIONS = 30
DEPENDENCIES, PACKAGE = "attrs, cattrs, filelock, dateutil", "oxios_state"


def seconds(modules: str) -> float:
    """Time the import in an interpreter of its own."""
    code = f"import time; start = time.perf_counter(); import {modules}; print(time.perf_counter() - start)"
    return float(subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print the medians and their ratio."""
    pairs = [(seconds(DEPENDENCIES), seconds(PACKAGE)) for _ in range(REPETITIONS)]
    dependencies, package = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"import {DEPENDENCIES}: {dependencies * 1e3:6.1f} ms")
    print(f"import {PACKAGE}: {package * 1e3:6.1f} ms")
    print(f"ratio: {package / dependencies:.2f} (goal: at most 1.15), medians of {REPETITIONS} interleaved runs")


if __name__ == "__main__":
    main()
