"""The pages of the documentation and the snippets on them."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "_build" not in path.parts)

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^ *```$", flags=re.DOTALL | re.MULTILINE)


def snippets(text: str, language: str) -> list[str]:
    """The fenced blocks of one language, those inside lists too, without their indentation."""
    found = []
    for block in _BLOCK.finditer(text):
        if block["language"] == language:
            indent = len(block["indent"])
            found.append("".join(line[indent:] or "\n" for line in block["code"].splitlines(keepends=True)))
    return found


def promised(code: str) -> list[str]:
    """What the comments behind ``print`` say that it prints."""
    return re.findall(r"^ *print\(.*\)  # (.+)$", code, flags=re.MULTILINE)
