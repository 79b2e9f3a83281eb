"""Progress: what long work tells of how far it is, by the protocol that `tqdm` made common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

_T = TypeVar("_T")

Progress = Callable[[Iterable[Any]], Iterable[Any]]
"""What wraps an iterable and gives the same items, telling somebody of each: such as ``tqdm.tqdm``."""


def over(items: list[_T], progress: Progress | None) -> Iterable[_T]:
    """Give the items, telling *progress* of each: of a list, whose length says how much there is to do."""
    return items if progress is None else progress(items)
