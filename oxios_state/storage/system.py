"""The operating system: which one it is, and the flags that it needs to open files safely."""

from __future__ import annotations

import os
import sys

WINDOWS = sys.platform == "win32"

BINARY = getattr(os, "O_BINARY", 0)  # Windows only. Python itself keeps descriptors from child processes
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO would wait for its other end
DIRECTORY = os.O_RDONLY | BINARY | getattr(os, "O_DIRECTORY", 0)
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY
READ = os.O_RDONLY | BINARY | NO_WAIT
