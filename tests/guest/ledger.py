"""The states that documents may have after a power cut, by what the guest announced before and after each change."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

ABSENT = "-"


class Loss(NamedTuple):
    """A document that is in none of its permitted states."""

    kind: str
    document: str
    content: str
    permitted: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}: {self.document} is {self.content}, and may be {' or '.join(self.permitted)}"


class Ledger:
    """The documents of one disk: their acknowledged states, and the changes that had begun."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self._last: dict[str, str] = {}  # the state that the last acknowledged change gave each document
        self._begun: dict[str, dict[str, str]] = {}  # changes without an acknowledgement, by their words
        self._since: dict[str, set[str]] = defaultdict(set)  # states at the boot, and begun since
        self._kept: set[str] = set()  # documents that were on the disk, and have not been deleted since
        self._on_disk: dict[str, str] = {}
        self._wrong: list[tuple[str, str]] = []

    def hear(self, line: str) -> None:
        """Take in a line from the guest."""
        event, _, words = line.partition(" ")
        if event == "try":
            self._begun[words] = changes = _changes(words)
            for key, value in changes.items():
                self._since[key].add(value)
                if value == ABSENT:
                    self._kept.discard(key)
        elif event == "ack":
            self._last |= self._begun.pop(words)
            self.acknowledged += 1
        elif event == "settled":
            self._settle(self._last)
        elif event == "found":
            self._on_disk |= _changes(words)
        elif event in {"wrong", "problem"}:
            self._wrong.append((event, words))

    def judge(self) -> Iterator[Loss]:
        """Yield each document whose state after the cut is not permitted, then start afresh from the states found."""
        on_disk, last, begun = self._on_disk, self._last, [*self._begun.values()]
        for key in sorted(on_disk.keys() | last.keys() | {key for changes in begun for key in changes}):
            content = on_disk.get(key, ABSENT)
            permitted = (last.get(key, ABSENT), *(changes[key] for changes in begun if key in changes))
            if content not in permitted:
                yield Loss(self._kind(key, content), key, content, permitted)
        for changes in begun:  # each change moves at most one document, or several in pairs
            for key in [key for key, value in changes.items() if value == ABSENT and last.get(key, ABSENT) != ABSENT]:
                places = [key, *(other for other, value in changes.items() if value == last[key])]
                if len(places) > 1 and not any(place in on_disk for place in places):
                    yield Loss("lost on the way", key, ABSENT, (last[key],))
        for event, words in self._wrong:
            key = words.split(" ", 1)[-1]
            is_spoilt = event == "problem" and words.startswith("corrupt ") and on_disk.get(key, "").startswith("bad")
            if not is_spoilt:  # a spoilt document that is not permitted was reported above
                yield Loss(event, words, "so", ("otherwise",))
        self._last, self._begun, self._on_disk, self._wrong = dict(on_disk), {}, {}, []
        self._settle(on_disk)

    def _settle(self, contents: dict[str, str]) -> None:
        """Take these states as those on the disk."""
        self._kept = {key for key, value in contents.items() if value != ABSENT}
        self._since = defaultdict(set, {key: {value} for key, value in contents.items()})

    def _kind(self, key: str, content: str) -> str:
        if content in self._since[key]:
            return "undone"
        kind = "gone" if content == ABSENT else "torn"
        return kind if key in self._kept else f"{kind}, new"


def _changes(words: str) -> dict[str, str]:
    return dict(word.rsplit("=", 1) for word in words.split(" "))


def count(losses: list[Loss]) -> str:
    """Return the number of losses of each kind, as text."""
    return ", ".join(f"{number} {kind}" for kind, number in sorted(Counter(loss.kind for loss in losses).items()))
