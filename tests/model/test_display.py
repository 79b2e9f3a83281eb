"""The seam between the model and rendering."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from oxios_state import Session, SessionList, SessionSummary, StateStore, Trajectory
from oxios_state.model.display import display
from oxios_state.model.summary import summarise

SUMMARY: SessionSummary = summarise(Session("ada", "s"))


class DerivedSession(Session):
    """A class of a user's own."""


@pytest.mark.parametrize("thing", [Session("ada"), SUMMARY, SessionList([SUMMARY]), Trajectory()], ids=type)
def test_print_and_a_notebook_show_the_text_and_html_forms(thing: Session | SessionSummary | Trajectory) -> None:
    assert display(thing, "text") == str(thing)
    assert display(thing, "html") == thing._repr_html_()


def test_a_store_is_displayed(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    assert display(store, "text") == str(store)
    assert display(store, "html") == store._repr_html_()


def test_a_subclass_is_displayed_as_its_base() -> None:
    assert DerivedSession("ada", "s").to_markdown().startswith("# `s`\n")


@pytest.mark.parametrize(("form", "name"), [("html", "HTML"), ("text", "text"), ("markdown", "Markdown")])
def test_an_unknown_type_is_refused(form: Literal["html", "markdown", "text"], name: str) -> None:
    with pytest.raises(TypeError, match=f"^a dict has no {name} form$"):
        display({}, form)


def test_only_a_session_has_a_markdown_form() -> None:
    with pytest.raises(TypeError, match=r"^a SessionSummary has no Markdown form$"):
        display(SUMMARY, "markdown")
