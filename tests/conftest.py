"""Fixtures that several modules ask for."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from oxios_state import files, jsontext, staging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _deadline() -> Iterator[None]:
    """A test that hangs fails instead of stopping all."""
    if not hasattr(signal, "alarm"):
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("not done after 60 s"))
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The system calls as the modules that touch files see them: what is assigned here is called by these alone."""
    namespace = SimpleNamespace(**vars(os))
    for module in (files, staging):
        monkeypatch.setattr(module, "os", namespace)
    return namespace


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
