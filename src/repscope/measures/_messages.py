"""What the measures say when something is wrong: one form for refused words, one place that warnings point at."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection

from repscope._words import did_you_mean as did_you_mean
from repscope.errors import InputError, RepscopeWarning


def check_choice(function: str, argument: str, value: object, known: Collection[str], *, other: str = "") -> None:
    """Refuse a word that is not among those known, and propose the nearest.

    Args:
        function: The caller's public name.
        argument: Its argument.
        value: What was given.
        known: The words that exist.
        other: What else is accepted, such as ``"or a callable"``.
    """
    if isinstance(value, str) and value in known:
        return
    words = ", ".join(repr(word) for word in known) + (f" {other}" if other else "")
    raise InputError(f"{function}: {argument} must be one of {words}, got {value!r}.{did_you_mean(value, known)}")


def warn(message: str, category: type[RepscopeWarning]) -> None:
    """Warn, pointing at the line outside this package that made the call."""
    frame, depth = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "repscope":
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)
