"""The start and the end of each guest program: it is a kernel's first process, and must mount and stop everything.

As a program of its own it shows that a guest boots and has the library.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import termios
import time
import traceback
from collections.abc import Callable
from pathlib import Path

MARK = b":: "  # as in machine.py
MOUNTS = {"/proc": "proc", "/sys": "sysfs", "/tmp": "tmpfs", "/run": "tmpfs"}


def run(main: Callable[[list[str]], object]) -> None:
    """Mount what is wanted, run a program on the arguments, and power off."""
    say("booted")
    try:
        for place, kind in MOUNTS.items():
            do("mount", "-t", kind, kind, place)
        main(sys.argv[1:])
        say("done")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        termios.tcdrain(1)
        Path("/proc/sysrq-trigger").write_text("o")
        while True:  # the kernel would panic if this ended first
            time.sleep(1)


def do(*command: str) -> str:
    """Run a program and give what it printed; what it prints to stderr is on the console."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def say(line: str) -> None:
    """Send a line to the host; when this returns, the host has it."""
    os.write(1, MARK + line.encode() + b"\n")
    termios.tcdrain(1)


def main(_: list[str]) -> None:
    """Report the versions of the library, of Python and of the kernel."""
    import oxios_state

    say(f"oxios_state {oxios_state.__version__}, Python {platform.python_version()}, Linux {platform.release()}")


if __name__ == "__main__":
    run(main)
