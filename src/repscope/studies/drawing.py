"""Figures in the layout of the paper: heat maps side by side, layer 1 at bottom left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from repscope.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def panel(values: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str] | None = None) -> Comparison:
    """A layer × layer matrix that stands for no two networks, as a comparison that can be drawn.

    Args:
        values: Similarities (rows, columns).
        rows: Names of the layers.
        columns: The same; None: those of the rows.
    """
    columns = rows if columns is None else columns
    return Comparison(
        values=values,
        row_layers=tuple(rows),
        column_layers=tuple(columns),
        measure="cka",
        row_models=("layer",) * len(rows),
        column_models=("layer",) * len(columns),
    )


def as_drawn(index: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores s(row, column) as the paper draws them: R² is of predicting the layer on the x axis from that on the y."""
    return values.T if index == "linear-regression" else values


def maps(
    panels: Mapping[str, Comparison],
    *,
    columns: int,
    shared: tuple[float, float] | None = None,
    paths: bool = False,
    panel_size: float = 2.4,
) -> Figure:
    """Draw heat maps side by side.

    Args:
        panels: Title to comparison, in reading order.
        columns: Maps in a row.
        shared: Ends of one colour scale for all; None gives each its own, from its lowest to its highest score.
        paths: Mark for each row layer the column that matches it best.
        panel_size: Width and height of a map, in inches.
    """
    from repscope.plot import grid, match_path

    figure = grid(
        panels,
        columns=columns,
        share_limits=shared is not None,
        limits="data" if shared is None else shared,
        title="",
        panel_size=panel_size,
        max_labels=20,
    )
    if paths:
        images = [ax for ax in figure.axes if ax.images]
        for ax, comparison in zip(images, panels.values(), strict=True):
            match_path(comparison, ax)
    return figure
