"""Revisions: a file's content at one moment, compared with what the file contains later."""

from __future__ import annotations

import copy

import pytest

from oxios_state.model.revision import Identity, Revision

IDENTITY: Identity = (1, 2, 3, 4, 5)


@pytest.mark.parametrize("pieces", [[b"ab", b"c"], (b"abc",), [b"", b"a", b"bc"]])
def test_a_revision_matches_its_content_only(pieces: list[bytes]) -> None:
    revision = Revision(None, pieces)
    for same in (revision, Revision(None, (), revision.digest), revision.without_text()):
        assert same.matches(b"abc")
        assert not same.matches(b"abd")
        assert not same.matches(b"")


def test_the_digest_is_that_of_the_bytes_however_they_are_cut() -> None:
    assert Revision(None, [b"ab", b"c"]).digest == Revision(None, [b"abc"]).digest
    assert Revision(None, [b"abc"]).digest != Revision(None, [b"abd"]).digest


def test_a_revision_without_its_text_keeps_a_digest_only_where_the_identity_is_not_trusted() -> None:
    trusted, untrusted = (
        Revision(identity, [b"abc"], category="archive").without_text() for identity in (IDENTITY, None)
    )
    assert (trusted.identity, trusted.text, trusted.digest, trusted.category) == (IDENTITY, (), b"", "archive")
    assert (untrusted.identity, untrusted.text, untrusted.category) == (None, (), "archive")
    assert untrusted.digest == Revision(None, [b"abc"]).digest


def test_a_revision_is_immutable_and_so_its_own_copy() -> None:
    revision = Revision(IDENTITY, [b"abc"])
    assert copy.copy(revision) is copy.deepcopy(revision) is revision
    assert repr(revision) == "Revision((1, 2, 3, 4, 5))"
