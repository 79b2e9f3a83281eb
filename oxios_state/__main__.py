"""``python -m oxios_state``: the command ``oxios-state``."""

from __future__ import annotations

import sys

from oxios_state.cli.main import main

sys.exit(main())
