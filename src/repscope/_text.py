"""A comparison as text, for ``print`` and the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repscope._words import shorten

if TYPE_CHECKING:
    from repscope.comparison import Comparison

PRINTED_LAYERS = 12
"""Rows and columns up to which the scores themselves are shown."""


def line(comparison: Comparison) -> str:
    """What was compared, and the span of the scores."""
    rows, columns = comparison.values.shape
    defined = comparison.values[~np.isnan(comparison.values)]
    span = f"values {defined.min():.4g} to {defined.max():.4g}" if defined.size else "no defined value"
    parts = [comparison.title, f"{rows}×{columns} layers", span]
    if defined.size < comparison.values.size:
        parts.append(f"{comparison.values.size - defined.size} NaN")
    if comparison.n is not None:
        parts.append(f"n={comparison.n}")
    if comparison.warnings:
        parts.append(f"{len(comparison.warnings)} warning{'s' if len(comparison.warnings) > 1 else ''}")
    return f"Comparison({', '.join(parts)})"


def lines(comparison: Comparison) -> str:
    """The line, the warnings, and the scores where there are few."""
    found = [line(comparison), *(f"  warning: {text}" for text in comparison.warnings)]
    if max(comparison.values.shape) <= PRINTED_LAYERS:
        names = [shorten(name, 24) for name in comparison.row_layers]
        heads = [shorten(name, 9) for name in comparison.column_layers]
        left = max(map(len, names))
        found.append("  " + " " * left + "".join(f" {head:>9}" for head in heads))
        for name, scores in zip(names, comparison.values, strict=True):
            found.append(f"  {name:<{left}}" + "".join(f" {score:>9.3g}" for score in scores))
    return "\n".join(found)
