"""Layers and models by name or glob."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from repscope._words import nearest_or_all
from repscope.errors import InputError


def chosen(axis: str, patterns: str | Sequence[str] | None, layers: tuple[str, ...]) -> list[int]:
    """Places of the layers that bear a name or fit a glob."""
    if patterns is None:
        return list(range(len(layers)))
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    if not wanted:
        raise InputError(
            f"Comparison.select: {axis} must be one layer name or more, got none. Pass None to keep every layer."
        )
    picked: set[int] = set()
    for pattern in wanted:
        # A name such as "blocks[0]" reads as a glob too, for another layer: what is a name is taken as one.
        fits = {i for i, layer in enumerate(layers) if layer == pattern}
        fits = fits or {i for i, layer in enumerate(layers) if fnmatch.fnmatchcase(layer, pattern)}
        if not fits:
            raise InputError(unknown("Comparison.select", axis, "fit a layer", pattern, layers))
        picked |= fits
    return sorted(picked)


def unknown(function: str, argument: str, duty: str, got: str, known: Sequence[str]) -> str:
    """The message about a name that is not among those known, with the nearest of them."""
    return f"{function}: {argument} must {duty}, got {got!r}.{nearest_or_all(got, known)}"
