"""Warnings about files: once for each state of the file."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from oxios_state.maintenance.reports import Reports

if TYPE_CHECKING:
    import pytest


def test_a_warning_is_logged_once_for_each_file_and_state(caplog: pytest.LogCaptureFixture) -> None:
    reports = Reports()
    for name, state in [("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1)]:
        reports.warn(name, state, "left out: %s", f"{name}{state}")
    assert caplog.messages == ["left out: a1", "left out: b1", "left out: a2"]


def test_a_file_that_is_mended_and_spoilt_again_is_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    reports = Reports()
    for bad in ({("a", 1)}, {("a", 1)}, set(), {("a", 1)}):
        reports.keep(bad)
        for name, state in bad:
            reports.warn(name, state, "left out: %s", name)
    assert len(caplog.messages) == 2


def test_one_of_many_threads_logs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    reports = Reports()
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        for state in range(100):
            reports.warn("a", state, "left out: %s", state)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caplog.messages) == 100
