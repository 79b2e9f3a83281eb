"""State of the GIL, for a torture's report: it shows whether threads could run at the same time."""

from __future__ import annotations

import sys
import sysconfig


def state() -> str:
    """Return the interpreter's version and whether it runs with the GIL.

    Raises:
        RuntimeError: If the GIL is on in a free-threaded build: an extension, or the environment, has switched it on.
    """
    is_on = getattr(sys, "_is_gil_enabled", lambda: True)()
    if is_on and sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise RuntimeError("this CPython is free-threaded, but its GIL is on")
    return f"CPython {sys.version.split()[0]} {'with' if is_on else 'without'} the GIL"
