"""A file's content at one moment: what a session was loaded from or last saved as, to notice a change by others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxios_state.model.values import SESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

Identity = tuple[int, int, int, int, int]
"""Device, inode, size in bytes, modification time and change time in nanoseconds."""


class Revision:
    """The content of a file at one moment, to be compared with its later content. Immutable.

    Args:
        identity: The file's identity at that moment, if it can be trusted; else None.
        text: The content, in pieces; empty if it was not kept.
        digest: A digest of the content, if the content was not kept.
        category: The category of the document.
    """

    __slots__ = ("_digest", "category", "identity", "text")

    def __init__(
        self,
        identity: Identity | None,
        text: Iterable[bytes] = (),
        digest: bytes | None = None,
        category: str = SESSIONS,
    ) -> None:
        self.identity = identity
        self.text = text
        self.category = category
        self._digest = digest

    def __repr__(self) -> str:
        return f"Revision({self.identity})"

    def __copy__(self) -> Revision:
        return self

    def __deepcopy__(self, _: object) -> Revision:
        return self

    @property
    def digest(self) -> bytes:
        """A digest of the content: equal for equal bytes, and practically only for these."""
        if self._digest is None:
            self._digest = _digest(self.text)
        return self._digest

    def without_text(self) -> Revision:
        """Return this revision without its content; the digest is kept only where the identity cannot be trusted."""
        return Revision(self.identity, (), self.digest if self.identity is None else b"", self.category)

    def matches(self, raw: bytes) -> bool:
        """Return whether *raw* is the content of this revision."""
        if self._digest is None:
            return b"".join(self.text) == raw
        return _digest((raw,)) == self._digest


def _digest(pieces: Iterable[bytes]) -> bytes:
    from hashlib import blake2b  # loads OpenSSL, 4 ms, and most programs need no digest

    total = blake2b(digest_size=16)
    for piece in pieces:
        total.update(piece)
    return total.digest()
