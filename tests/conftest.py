"""Fixtures that several modules ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oxios_state import jsontext

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(params=["orjson", "json"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The JSON engine that the test runs with."""
    name: str = request.param
    if name == "orjson":
        pytest.importorskip("orjson", reason="orjson, the optional extra `fast`, is not installed")
    else:
        nothing: Callable[[], None] = lambda: None  # noqa: E731  # as if orjson were not installed
        monkeypatch.setattr(jsontext, "_orjson", nothing)
    return name
