"""A page that loads anything from another place fails the build: the site must open without a network."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

LOADING = {
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("link", "href"),
    ("object", "data"),
}
"""Attributes whose address a browser fetches by itself; those of ``a`` wait for a click."""

NOT_FETCHED = {"canonical", "alternate", "author", "license", "search", "index", "next", "prev"}
"""Relations of ``link`` that only tell."""


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "link" and named.get("rel") in NOT_FETCHED:
            return
        for name, value in attrs:
            if (tag, name) in LOADING and value and value.split(":")[0].lower() in ("http", "https", ""):
                self.found.append(value)
            if (tag, name) in LOADING and value and value.startswith("//"):
                self.found.append(value)


def addresses_loaded(html: str) -> list[str]:
    """Addresses of other places that a browser would fetch to show this page."""
    parser = _Loads()
    parser.feed(html)
    return parser.found


def check(app: Sphinx, error: Exception | None) -> None:
    """Warn, which is an error in ``make docs``, about every such address on the built site."""
    if error is not None or app.builder.format != "html":
        return
    for page in sorted(Path(app.outdir).rglob("*.html")):
        for address in addresses_loaded(page.read_text(encoding="utf-8")):
            logging.getLogger(__name__).warning("%s loads %s", page.relative_to(app.outdir), address)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
