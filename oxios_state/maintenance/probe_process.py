"""Another process, for the probe: a Python that takes locks and reads files as it is told, and can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import ExitStack

PROGRAM = """\
import json, os, sys
sys.path[:] = json.loads(sys.stdin.readline())
from filelock import lock_descriptor

print("ready", flush=True)
opened = {}

def lock(path):
    return lock_descriptor(os.open(path, os.O_RDWR), blocking=False)

def begin(path):
    opened[path] = open(path, "rb", 0)
    return what(opened[path].read(1))

def go_on(path):
    return what(opened[path].read())

def read(path):
    with open(path, "rb") as file:
        return what(file.read())

def what(content):
    return sorted(map(chr, set(content)))

for line in sys.stdin:
    task, path = json.loads(line)
    try:
        answer = {"found": globals()[task](path)}
    except OSError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
"""
"""What it runs. Started on its own, the interpreter may know other packages: it gets the path of this one first."""


_END = getattr(os, "killpg", os.kill)  # Windows has no groups of processes
_AT_ONCE = getattr(signal, "SIGKILL", signal.SIGTERM)  # and there both are the same


class NotTriedError(Exception):
    """Something that cannot be tried here; says why."""


class OtherProcess:
    """Another process, which ends with the block that it is made in.

    Args:
        interpreter: The Python to run, or a script that runs it.
        stack: What ends it.
        program: What it runs.
        patience: How long it may take for all that it is asked, in seconds.

    Raises:
        NotTriedError: If it cannot be started, or does not come so far that it could be asked.
    """

    def __init__(self, interpreter: str, stack: ExitStack, *, program: str = PROGRAM, patience: float = 60.0) -> None:
        if not interpreter:
            raise NotTriedError("no Python is known that could be another process")
        command = [interpreter, "-P", "-c", program]
        options: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        options["creationflags"] = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows would open one
        try:
            # In a session of its own, all of which is killed: an interpreter may be a script that starts another.
            process: Any = subprocess.Popen(command, bufsize=0, start_new_session=True, **options)
        except OSError as error:
            raise NotTriedError(f"another process cannot be started: {error}") from error
        self._process = stack.enter_context(process)
        stack.callback(self._kill)
        timer = threading.Timer(patience, self._kill)
        timer.daemon = True
        timer.start()
        stack.callback(timer.cancel)
        self._say([str(entry) for entry in sys.path])
        for line in process.stdout:
            if line.strip() == b"ready":
                return
        said = process.stderr.read().decode(errors="replace").strip().splitlines()
        raise NotTriedError(": ".join(["another process does not start", interpreter, *said[-1:]]))

    def ask(self, task: str, path: str) -> Any:
        """Have it do something, and give what it found.

        Raises:
            OSError: If that failed there.
            NotTriedError: If it does not answer.
        """
        self._say([task, path])
        line = self._process.stdout.readline()
        try:
            answer = json.loads(line)
            if "error" not in answer:
                return answer["found"]
        except (ValueError, TypeError, KeyError):
            raise NotTriedError(f"another process does not answer: {self._process.args[0]}") from None
        raise OSError(answer["error"])

    def _say(self, what: Any) -> None:
        with suppress(OSError):  # it has ended: it does not answer
            self._process.stdin.write(json.dumps(what).encode() + b"\n")

    def kill(self) -> None:
        """End it as a crash would."""
        self._kill()
        self._process.wait()

    def _kill(self) -> None:
        if self._process.returncode is None:  # or its number may be another's by now
            with suppress(ProcessLookupError):
                _END(self._process.pid, _AT_ONCE)
