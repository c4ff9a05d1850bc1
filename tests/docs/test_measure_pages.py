"""Each measure has a page, and the page says what a reader needs."""

from __future__ import annotations

import pytest

from repscope.measures.catalog import CATALOG
from tests.docs.pages import DOCS, snippets

SECTIONS = ("Definition", "Which convention", "Pitfalls", "In other packages", "Reference")


def test_the_pages_are_those_of_the_catalogue():
    pages = {path.stem for path in (DOCS / "measures").glob("*.md")}
    assert pages - {"index"} == set(CATALOG)


@pytest.mark.parametrize("name", CATALOG)
def test_a_page_has_facts_sections_an_example_and_the_function(name):
    text = (DOCS / "measures" / f"{name}.md").read_text(encoding="utf-8")
    assert f"```{{measure}} {name}\n```" in text
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(SECTIONS)
    assert f".. autofunction:: repscope.{name}\n" in text
    assert any(f"{name}(" in code or f"= repscope.{name}\n" in code for code in snippets(text, "python"))
