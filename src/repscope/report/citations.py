"""BibTeX of the works that a comparison refers to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files

_ENTRY = re.compile(r"^@\w+\{(?P<key>[^,]+),.*?^\}$", re.MULTILINE | re.DOTALL)


def bibtex(references: Iterable[str]) -> str:
    """Entries for references such as ``"Song et al. 2012"``, each work once, and one for repscope itself.

    A reference is found by the family name it begins with and the year; what ``references.bib`` does not hold
    becomes a ``@misc`` with the text as it is.

    Args:
        references: In the words of the catalogue of measures.

    Returns:
        BibTeX, entries separated by empty lines.
    """
    known = entries()
    found = {key: known.get(key) or _misc(key, text) for text in references if text for key in [key_of(text)]}
    return "\n\n".join([*found.values(), known["repscope"]])


def entries() -> dict[str, str]:
    """All entries of ``references.bib`` by their keys."""
    text = (files("repscope.report") / "references.bib").read_text("utf-8")
    return {found["key"]: found[0] for found in _ENTRY.finditer(text)}


def key_of(reference: str) -> str:
    """The key of a reference: its first family name and its year, ``kornblith2019``."""
    name = re.match(r"[^\W\d_]+", reference.strip())
    year = re.search(r"\b(?:18|19|20)\d\d\b", reference)
    plain = name[0].lower().translate(str.maketrans("öäüåéèø", "oauaeeo")) if name else "reference"
    return plain + (year[0] if year else "")


def _misc(key: str, text: str) -> str:
    braceless = text.replace("{", "(").replace("}", ")")
    return f"@misc{{{key},\n  note = {{{braceless}}}\n}}"
