"""What a forked child makes anew: a lock that a thread of its parent holds is held in the child for ever."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_owners: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()


def in_children(owner: _T, start_afresh: Callable[[_T], None]) -> None:
    """Have *start_afresh* called with *owner* in each forked child, before that has threads, while *owner* lives."""
    _owners[owner] = start_afresh


def _start_afresh() -> None:
    for owner, start_afresh in list(_owners.items()):
        start_afresh(owner)


at_fork = getattr(os, "register_at_fork", lambda **_: None)  # Windows has no fork
at_fork(after_in_child=_start_afresh)
