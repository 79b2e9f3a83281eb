"""The system calls of a program on one directory, as strace saw them."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
from pathlib import Path
from typing import NamedTuple


class UnknownCallError(Exception):
    """A system call on the store that the model does not know: its verdict would be worth nothing."""


class Call(NamedTuple):
    name: str
    arguments: str
    paths: list[str]  # each joined to the directory that it is relative to
    data: bytes  # the last string; of `writev`, all together
    descriptor: int  # the first; -1 without one
    result: int


_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)")
_TOKEN = re.compile(r'(?:(\d+|AT_FDCWD)<((?:\\x..)*)>)|"((?:\\x..)*)"(\.\.\.)?')
_WHOLE_SYSTEM = {"sync", "syncfs", "io_uring_setup", "io_uring_enter", "io_submit"}
HARMLESS = frozenset(
    {
        *("access", "faccessat", "faccessat2", "stat", "lstat", "fstat", "newfstatat", "statx", "statfs", "fstatfs"),
        *("readlink", "readlinkat", "getdents64", "getxattr", "lgetxattr", "pread64", "getcwd", "chdir", "fadvise64"),
        # Of a mode, nothing depends on whether it lasts; nor of a time: the file is read again.
        *("flock", "chmod", "fchmod", "fchmodat", "utimensat"),
    }
)
"""Calls that leave no trace on a disk, or none that matters here."""


def record(command: list[str], root: Path, marks: Path) -> list[Call]:
    """Run a program and give its successful calls on *root*; a write to *marks* is a call named ``mark``."""
    trace = marks.with_name("trace")
    strace = ["strace", "-f", "-y", "-xx", "-s", "20000", "-e", "abbrev=!writev", "-o", str(trace)]
    subprocess.run([*strace, *command], check=True, cwd="/")
    wanted = {name: "".join(f"\\x{byte:02x}" for byte in os.fsencode(name)) for name in (root, marks)}
    calls = []
    with trace.open() as lines:
        pids = set()
        for line in lines:
            match = _LINE.match(line)
            if wanted[marks] in line and " write(" in line:
                calls.append(Call("mark", "", [], b"", -1, 0))
            elif wanted[root] in line or (match and match[2] in _WHOLE_SYSTEM):
                if match is None:  # of two threads at once
                    raise UnknownCallError(line)
                if match[2] != "execve" and not match[4].startswith("-"):
                    pids.add(match[1])
                    calls.append(_parse(match))
        if len(pids) > 1:
            raise UnknownCallError(f"calls on the store by several threads or processes: {pids}")
    return calls


def _parse(match: re.Match[str]) -> Call:
    paths, data, descriptor, start = [], b"", -1, ""
    for token in _TOKEN.finditer(match[3]):
        if token[1]:
            start = _unescape(token[2]).decode()
            if token[1].isdigit() and descriptor < 0:
                descriptor = int(token[1])
        else:
            data = _unescape(token[3])
            paths.append(posixpath.normpath(posixpath.join(start, os.fsdecode(data))))
            if token[4] and match[2] not in {"read", "pread64"}:
                raise UnknownCallError(f"strace cut it short: {match[0][:200]}")
    result = int(match[4], 0) if match[4] != "?" else 0
    if match[2] == "writev":
        strings = [_unescape(token[3]) for token in _TOKEN.finditer(match[3]) if not token[1]]
        if len(strings) != int(match[3].rpartition(",")[2]):
            raise UnknownCallError(f"strace left pieces out: {match[0][:200]}")
        data, paths = b"".join(strings), []
    return Call(match[2], re.sub(_TOKEN, "_", match[3]), paths, data, descriptor, result)


def _unescape(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
