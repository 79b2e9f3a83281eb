"""Revisions: whether a file still has the content that it had."""

from __future__ import annotations

import copy

import pytest

from oxios_state.model.revision import Revision

IDENTITY = (1, 2, 3, 4, 5)


def test_a_revision_matches_its_content_only() -> None:
    for revision in (Revision(IDENTITY, (b"ab", b"c")), Revision(None, (), Revision(None, (b"abc",)).digest)):
        assert revision.matches(b"abc")
        assert not revision.matches(b"ab")
        assert not revision.matches(b"")


@pytest.mark.parametrize("content", [b"", b"abc"])
def test_without_text_a_digest_is_kept_where_the_identity_cannot_be_trusted(content: bytes) -> None:
    revision = Revision(None, (content,), category="archive").without_text()
    assert (revision.text, revision.category) == ((), "archive")
    assert revision.matches(content)
    assert not revision.matches(b"abcd")
    assert not Revision(IDENTITY, (content,)).without_text().matches(content)


def test_a_copy_of_a_revision_is_the_same_object() -> None:
    revision = Revision(IDENTITY, (b"abc",))
    assert copy.copy(revision) is copy.deepcopy(revision) is revision


def test_the_repr_of_a_revision_has_no_content() -> None:
    assert repr(Revision(IDENTITY, (b"abc",))) == "Revision((1, 2, 3, 4, 5))"
