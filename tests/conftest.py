"""Fixtures that several modules ask for."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from oxios_state import files, jsontext, staging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


settings.register_profile("untimed", deadline=None)  # machines are noisy; what hangs is found below
settings.load_profile("untimed")


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


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A directory of a user without privileges, who the test runs as; not tmp_path, which other users cannot reach."""
    with tempfile.TemporaryDirectory() as directory:
        root = os.geteuid() == 0
        if root:
            os.chown(directory, 65534, -1)
            os.seteuid(65534)
        try:
            yield Path(directory)
        finally:
            if root:
                os.seteuid(0)
            for parent, _, _ in os.walk(directory):
                os.chmod(parent, 0o700)
                for name in os.listdir(parent):
                    path = os.path.join(parent, name)
                    if os.path.isdir(path) and not os.path.islink(path):
                        os.chmod(path, 0o700)
