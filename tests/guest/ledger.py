"""Ledger of changes, each announced before and after: what a store may contain after a power cut."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

ABSENT = "-"


class Loss(NamedTuple):
    """A document that is not what it may be."""

    kind: str
    document: str
    there: str
    permitted: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}: {self.document} is {self.there}, and may be {' or '.join(self.permitted)}"


class Ledger:
    """The documents of one disk: what was acknowledged, and what was begun."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self._last: dict[str, str] = {}  # each document after its last acknowledged change
        self._begun: dict[str, dict[str, str]] = {}  # changes that are not acknowledged, by their words
        self._since: dict[str, set[str]] = defaultdict(set)  # each document's values: at the boot, and in changes since
        self._kept: set[str] = set()  # the documents that were on the disk, and not deleted since
        self._found: dict[str, str] = {}
        self._wrong: list[tuple[str, str]] = []

    def hear(self, line: str) -> None:
        """Take a line of the guest."""
        what, _, words = line.partition(" ")
        if what == "try":
            self._begun[words] = changes = _changes(words)
            for key, value in changes.items():
                self._since[key].add(value)
                if value == ABSENT:
                    self._kept.discard(key)
        elif what == "ack":
            self._last |= self._begun.pop(words)
            self.acknowledged += 1
        elif what == "settled":
            self._settle(self._last)
        elif what == "found":
            self._found |= _changes(words)
        elif what in {"wrong", "problem"}:
            self._wrong.append((what, words))

    def judge(self) -> Iterator[Loss]:
        """Yield the losses after the cut, and take the documents that were found as the new state."""
        found, last, begun = self._found, self._last, [*self._begun.values()]
        for key in sorted(found.keys() | last.keys() | {key for changes in begun for key in changes}):
            there = found.get(key, ABSENT)
            permitted = (last.get(key, ABSENT), *(changes[key] for changes in begun if key in changes))
            if there not in permitted:
                yield Loss(self._kind(key, there), key, there, permitted)
        for changes in begun:  # each moves at most one document from one place to another, or more by pairs
            for key in [key for key, value in changes.items() if value == ABSENT and last.get(key, ABSENT) != ABSENT]:
                places = [key, *(other for other, value in changes.items() if value == last[key])]
                if len(places) > 1 and not any(place in found for place in places):
                    yield Loss("lost on the way", key, ABSENT, (last[key],))
        for what, words in self._wrong:
            key = words.split(" ", 1)[-1]
            spoilt = what == "problem" and words.startswith("corrupt ") and found.get(key, "").startswith("bad")
            if not spoilt:  # the loss of a bad document is reported above
                yield Loss(what, words, "so", ("otherwise",))
        self._last, self._begun, self._found, self._wrong = dict(found), {}, {}, []
        self._settle(found)

    def _settle(self, there: dict[str, str]) -> None:
        """Take what is there for what the disk has."""
        self._kept = {key for key, value in there.items() if value != ABSENT}
        self._since = defaultdict(set, {key: {value} for key, value in there.items()})

    def _kind(self, key: str, there: str) -> str:
        if there in self._since[key]:
            return "undone"
        kind = "gone" if there == ABSENT else "torn"
        return kind if key in self._kept else f"{kind}, new"


def _changes(words: str) -> dict[str, str]:
    return dict(word.rsplit("=", 1) for word in words.split(" "))


def count(losses: list[Loss]) -> str:
    """Return the number of losses of each kind, in words."""
    return ", ".join(f"{number} {kind}" for kind, number in sorted(Counter(loss.kind for loss in losses).items()))
