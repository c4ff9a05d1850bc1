"""Words of messages and tables: the nearest of the names known, a long name in little room, what an exception says."""

from __future__ import annotations

import difflib
from collections.abc import Collection

_LISTED = 8
"""Names that a message lists at most."""

_NEAREST = 3
"""Names that a message proposes at most."""


def did_you_mean(value: object, known: Collection[str]) -> str:
    """A sentence that proposes the nearest of the names known, or nothing where none is near.

    Of several that are equally near it proposes up to three.
    """
    word = str(value)
    near = difflib.get_close_matches(word, dict.fromkeys(known), n=_NEAREST, cutoff=0.5)
    likeness = [difflib.SequenceMatcher(None, name, word).ratio() for name in near]
    best = [name for name, ratio in zip(near, likeness, strict=True) if ratio == likeness[0]]
    return f" Did you mean {' or '.join(map(repr, best))}?" if best else ""


def nearest_or_all(value: object, known: Collection[str]) -> str:
    """A sentence that proposes the nearest of the names known, or says which there are."""
    names = [repr(name) for name in dict.fromkeys(known)]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return did_you_mean(value, known) or f" There are: {', '.join(names[:_LISTED])}{more}."


def shorten(name: str, width: int, head: int | None = None) -> str:
    """A name of at most ``width`` characters: without its middle where it is too long.

    Args:
        name: The name.
        width: Characters that there is room for.
        head: Characters of the beginning that stay; None: a third, as the end of a layer's name says more.
    """
    if len(name) <= width:
        return name
    head = width // 3 if head is None else head
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, without its full stop; of an empty one the kind of exception."""
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)
