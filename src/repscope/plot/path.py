"""Where each layer finds its counterpart, drawn over a heat map."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from repscope._pairs import check_one_pair
from repscope.comparison import Comparison
from repscope.plot.heatmap import heatmap


def match_path(comparison: Comparison, ax: Axes | None = None, *, color: str = "white") -> Axes:
    """Mark for each row layer the column that matches it best, and join the marks.

    Args:
        comparison: One model's layers (rows) against another's (columns).
        ax: Axes that hold the heat map of this comparison; None draws one.
        color: Of marks and line.

    Returns:
        The axes, which hold the path as their last line. Rows whose scores are all NaN are left out of it.

    Raises:
        InputError: An axis holds several models.
    """
    check_one_pair("match_path", comparison)
    ax = heatmap(comparison) if ax is None else ax
    places = [
        (comparison.column_layers.index(match.column), row)
        for row, match in enumerate(comparison.best_match())
        if match.column is not None
    ]
    columns, rows = np.array(places, dtype=np.float64).reshape(-1, 2).T
    limits = ax.get_xlim(), ax.get_ylim()
    ax.plot(columns, rows, color=color, marker="o", markersize=3.0, linewidth=0.9, markeredgecolor="black")
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])
    return ax
