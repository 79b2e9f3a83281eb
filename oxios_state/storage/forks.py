"""Resetting state in forked children: a lock that a thread of the parent holds is never released in the child."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_resets: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()


def reset_in_children(owner: _T, reset: Callable[[_T], None]) -> None:
    """Call *reset* with *owner* in each forked child, before it has threads, for as long as *owner* lives."""
    _resets[owner] = reset


def _reset_all() -> None:
    for owner, reset in list(_resets.items()):
        reset(owner)


at_fork = getattr(os, "register_at_fork", lambda **_: None)  # Windows has no fork
at_fork(after_in_child=_reset_all)
