"""Bars in docstrings are bars, as in |x|; reStructuredText takes what stands between two for a substitution."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_LITERAL = re.compile(r"(``.*?``)")


def plain(line: str) -> str:
    """A line of a docstring with its bars escaped, but for those in literals and in examples."""
    if line.lstrip().startswith((">>>", "...", ".. ", "|")):
        return line
    parts = _LITERAL.split(line)
    return "".join(part if part.startswith("``") else re.sub(r"(?<!\\)\|", r"\|", part) for part in parts)


def escape(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Called by autodoc for every docstring, which is changed in place."""
    lines[:] = map(plain, lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", escape)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
