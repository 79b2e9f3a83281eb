"""Whether threads ran at the same time: a torture's report says so, as its figures depend on it."""

from __future__ import annotations

import sys
import sysconfig


def state() -> str:
    """Return whether there is a GIL, in words.

    Raises:
        RuntimeError: If it is on in a build that can do without: an extension, or the environment, has switched it on.
    """
    is_on = getattr(sys, "_is_gil_enabled", lambda: True)()
    if is_on and sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise RuntimeError("this CPython is free-threaded, but its GIL is on")
    return f"CPython {sys.version.split()[0]} {'with' if is_on else 'without'} the GIL"
