"""Progress of long work, by the protocol that ``tqdm`` made common: a callable that wraps an iterable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

_T = TypeVar("_T")

Progress = Callable[[Iterable[Any]], Iterable[Any]]
"""A callable that wraps an iterable and yields the same items, such as ``tqdm.tqdm``."""


def over(items: list[_T], progress: Progress | None) -> Iterable[_T]:
    """Iterate over *items* through *progress*, which receives a list and so knows how much there is to do."""
    return items if progress is None else progress(items)
