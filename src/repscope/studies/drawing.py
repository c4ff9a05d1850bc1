"""Figures in the layout of the paper: heat maps side by side, layer 1 at bottom left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from repscope.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
