"""Two columns of layers, joined where they match best."""

from __future__ import annotations

from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from repscope._pairs import check_one_pair
from repscope.comparison import Comparison
from repscope.plot._figure import COLUMN, new_axes
from repscope.plot.heatmap import color_limits
from repscope.plot.labels import axis_length, name_axis, set_layer_ticks

MUTUAL_COLOR, ONE_SIDED_COLOR = mpl.colormaps["magma"](0.35), "0.7"
_THICKEST = 3.0  # points
_THINNEST = 0.15  # of the thickest


def correspondence(
    comparison: Comparison,
    ax: Axes | None = None,
    *,
    max_labels: int = 64,
    max_characters: int = 20,
) -> Axes:
    """Draw the layers of two models side by side, each joined to its best match; the first layers at the bottom.

    A link is the thicker the more alike its layers are (from the worse to the better end of the colours of
    :func:`heatmap`). Coloured links are mutual: each of the two layers is the best match of the other. Grey ones are
    best from one side only. Parallel links mean that depth corresponds; a fan means that many layers of one model are
    like one of the other.

    Args:
        comparison: One model's layers (rows, left) against another's (columns, right).
        ax: Where to draw; None makes a figure as wide as a column of a page.
        max_labels: Layer names at most on a side.
        max_characters: Longer layer names lose their middle.

    Returns:
        The axes, which hold the one-sided links and then the mutual ones as a collection each. The right side
        is a twin of them.

    Raises:
        InputError: An axis holds several models.
    """
    check_one_pair("correspondence", comparison)
    rows, columns = comparison.values.shape
    if ax is None:
        ax = new_axes(COLUMN, float(np.interp(max(rows, columns), (4, 40), (2.2, 6.0))))
    thickest = min(_THICKEST, 0.6 * axis_length(ax.yaxis) / max(rows, columns))
    forth, back = _matches(comparison, "rows"), _matches(comparison, "columns")
    for links, color in (((forth ^ back), ONE_SIDED_COLOR), (forth & back, MUTUAL_COLOR)):
        ordered = sorted(links)
        scores = np.array([comparison.values[i, j] for i, j in ordered])
        collection = LineCollection(
            [[(0.0, (i + 0.5) / rows), (1.0, (j + 0.5) / columns)] for i, j in ordered],
            linewidths=_thickness(comparison, scores, thickest),
            colors=[color],
            capstyle="butt",
            transform=ax.transAxes,
        )
        ax.add_collection(collection, autolim=False)
    sides = (
        (ax, comparison.row_layers, comparison.row_models[0]),
        (ax.twinx(), comparison.column_layers, comparison.column_models[0]),
    )
    for side, layers, model in sides:
        side.set(xlim=(0, 1), ylim=(-0.5, len(layers) - 0.5), xticks=[])
        side.spines[["top", "bottom"]].set_visible(False)
        prefix = set_layer_ticks(side.yaxis, layers, max_labels=max_labels, max_characters=max_characters)
        name_axis(side.yaxis, f"{model}: {prefix}*" if prefix else model)
    ax.set_title(comparison.label, fontsize="medium")
    return ax


def _matches(comparison: Comparison, axis: Literal["rows", "columns"]) -> set[tuple[int, int]]:
    """Row and column of the best match of each layer on an axis that has one."""
    return {
        (comparison.row_layers.index(match.row), comparison.column_layers.index(match.column))
        for match in comparison.best_match(axis)
        if match.row is not None and match.column is not None
    }


def _thickness(comparison: Comparison, scores: np.ndarray, thickest: float) -> np.ndarray:
    """Points, from the worse to the better end of the colour scale."""
    low, high = color_limits(comparison, "range")
    share = np.clip((scores - low) / (high - low), 0.0, 1.0)
    if comparison.kind == "distance":
        share = 1.0 - share
    thickness: np.ndarray = thickest * (_THINNEST + (1 - _THINNEST) * share)
    return thickness
