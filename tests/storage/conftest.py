"""Fixtures of the tests of storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oxios_state.storage.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """The directories of an empty base, whose changes are not synced."""
    return Tree(tmp_path, durable=False)
