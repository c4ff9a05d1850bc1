"""A browser for the report, and the pages that the tests look at."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field

import pytest


@dataclass
class Seen:
    """What a page did that it should not: messages on the console, exceptions, requests."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, without a window; the tests that need one are skipped where it is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no browser: Playwright is not installed")
    place = os.environ.get("REPSCOPE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if place is None:
        pytest.skip("no browser: install Debian's chromium, or name one in REPSCOPE_CHROMIUM")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def visit(browser):
    """Open a page and wait for its charts; at the end, it must not have complained or asked for anything."""
    contexts = []
    seen = Seen()

    def open_page(path, *, scheme="light"):
        context = browser.new_context(
            viewport={"width": 1360, "height": 900}, color_scheme=scheme, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: seen.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))] == []
