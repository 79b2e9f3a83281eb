"""The other process of a probe: a Python that takes locks and reads files on request, and can be killed."""

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
readers = {}

def lock(path):
    return lock_descriptor(os.open(path, os.O_RDWR), blocking=False)

def read_start(path):
    readers[path] = open(path, "rb", 0)
    return characters(readers[path].read(1))

def read_rest(path):
    return characters(readers[path].read())

def read(path):
    with open(path, "rb") as file:
        return characters(file.read())

def characters(content):
    return sorted(map(chr, set(content)))

for line in sys.stdin:
    task, path = json.loads(line)
    try:
        answer = {"result": globals()[task](path)}
    except OSError as error:
        answer = {"error": [error.errno, error.strerror or f"{type(error).__name__}: {error}"]}
    print(json.dumps(answer), flush=True)
"""
"""The program. It first receives the `sys.path` of this process, as its interpreter may find other packages."""

_END = getattr(os, "killpg", os.kill)  # Windows has no process groups
_SIGNAL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows SIGTERM is as strong


class NotTriedError(Exception):
    """The reason why something cannot be tried here."""


class OtherProcess:
    """Another process, which is killed when the stack unwinds.

    Args:
        interpreter: The Python to run, or a script that starts one.
        stack: Unwinds at the end of the probe.
        program: The program to run.
        timeout: How long the process may run, in seconds; then it is killed.

    Raises:
        NotTriedError: If it cannot be started, or ends before it accepts requests.
    """

    def __init__(self, interpreter: str, stack: ExitStack, *, program: str, timeout: float) -> None:
        if not interpreter:
            raise NotTriedError("no Python interpreter is known that could run another process")
        command = [interpreter, "-P", "-c", program]
        options: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        options["creationflags"] = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows would open one
        try:
            # In a session of its own, which is killed as a whole: the interpreter may be a script that starts another.
            process: Any = subprocess.Popen(command, bufsize=0, start_new_session=True, **options)
        except OSError as error:
            raise NotTriedError(f"another process cannot be started: {error}") from error
        self._process = stack.enter_context(process)
        stack.callback(self._kill)
        timer = threading.Timer(timeout, self._kill)
        timer.daemon = True
        timer.start()
        stack.callback(timer.cancel)
        self._send([str(entry) for entry in sys.path])
        for line in process.stdout:
            if line.strip() == b"ready":
                return
        errors = process.stderr.read().decode(errors="replace").strip().splitlines()
        raise NotTriedError(": ".join(["another process does not start", interpreter, *errors[-1:]]))

    def call(self, task: str, path: str) -> Any:
        """Run a function of the program on a file, and return its result.

        Raises:
            OSError: If the function raised one.
            NotTriedError: If there is no answer.
        """
        self._send([task, path])
        line = self._process.stdout.readline()
        try:
            answer = json.loads(line)
            if "error" not in answer:
                return answer["result"]
        except (ValueError, TypeError, KeyError):
            raise NotTriedError(f"another process does not answer: {self._process.args[0]}") from None
        raise OSError(*answer["error"])

    def _send(self, message: list[str]) -> None:
        with suppress(OSError):  # the process has ended, and will not answer
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def kill(self) -> None:
        """Kill the process, as a crash would, and wait for its end."""
        self._kill()
        self._process.wait()

    def _kill(self) -> None:
        if self._process.returncode is None:  # else another process may have its number by now
            with suppress(ProcessLookupError):
                _END(self._process.pid, _SIGNAL)
