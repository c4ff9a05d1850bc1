"""What the page's script needs of a comparison, as plain data for JSON."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np

from repscope import _container
from repscope.comparison import Comparison
from repscope.report import order
from repscope.report.colors import diverging
from repscope.report.images import tiles
from repscope.report.overview import column_models, overview, row_models

INTERACTIVE_SCORES = 160_000
"""A comparison of more scores than this is drawn here, as an image; the browser gets the picture, not the numbers."""


def frame(comparison: Comparison, step: float | None = None, label: str | None = None) -> dict[str, Any]:
    """One comparison as the script reads it.

    Args:
        comparison: The comparison.
        step: Training step it belongs to.
        label: Name in the list of measures; None takes the comparison's.

    Returns:
        Text, numbers, lists and mappings; arrays are base64 of little-endian float64 (scores) and float32.
    """
    rows, columns = row_models(comparison), column_models(comparison)
    large = comparison.values.size > INTERACTIVE_SCORES
    return {
        "label": comparison.label if label is None else label,
        "name": comparison.label,
        "measure": comparison.measure,
        "step": step,
        "kind": comparison.kind,
        "range": list(comparison.range),
        "scale": list(comparison.scale),
        "diverging": diverging(comparison),
        "n": comparison.n,
        "rows": _axis(comparison, "row", rows),
        "columns": _axis(comparison, "column", columns),
        "arrays": {} if large else _arrays(comparison),
        "half_width": _half_width(comparison),
        "tiles": tiles(comparison) if large else None,
        "best": _best(comparison) if large else None,
        "orders": {} if large else _orders(comparison, rows, columns),
        "overview": overview(comparison),
        "diagnostics": comparison.diagnostics,
    }


def embedded(data: Any) -> str:
    """JSON that may stand inside a ``<script>`` of any encoding: no ``<``, ASCII only; NaN becomes null."""
    text = json.dumps(_container.portable(data), allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _half_width(comparison: Comparison) -> float | None:
    """Standard errors from a score to the ends of its 95 % interval: the same for all; None without any."""
    if comparison.standard_errors is None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        widths = (comparison.interval()[1] - comparison.values) / comparison.standard_errors
    known = widths[np.isfinite(widths)]
    return float(np.median(known)) if known.size else None


def _axis(comparison: Comparison, axis: str, models: list[str]) -> dict[str, Any]:
    layers: tuple[str, ...] = getattr(comparison, f"{axis}_layers")
    owners: tuple[str, ...] = getattr(comparison, f"{axis}_models")
    return {
        "models": models,
        "layers": list(layers),
        "owner": [models.index(owner) for owner in owners],
        "blocks": [order.blocks([name for name, own in zip(layers, owners, strict=True) if own == m]) for m in models],
    }


def _arrays(comparison: Comparison) -> dict[str, str]:
    return {
        name: base64.b64encode(array.astype("<f8" if name == "values" else "<f4").tobytes()).decode("ascii")
        for name, array in comparison.arrays.items()
    }


def _orders(comparison: Comparison, rows: list[str], columns: list[str]) -> dict[str, Any]:
    """For each two models, and for the whole, the order of layers by similarity."""
    found = {"*": order.by_similarity(comparison.values)}
    if len(rows) * len(columns) > 1:
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                found[f"{i},{j}"] = order.by_similarity(comparison.between(row, column).values)
    return found


def _best(comparison: Comparison) -> list[Any]:
    """Each row's best column, never itself, and its score, for the table of a comparison too large to send."""
    sides = [
        (getattr(comparison, f"{axis}_models"), getattr(comparison, f"{axis}_layers")) for axis in ("row", "column")
    ]
    if sides[0] == sides[1]:
        others = comparison.values.copy()
        np.fill_diagonal(others, np.nan)
        comparison = replace(comparison, values=others)
    return [
        [match.row_model, match.row, match.column_model, match.column, match.value if match.column else None]
        for match in comparison.best_match()
    ]
