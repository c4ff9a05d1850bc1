"""Lines that tell the depth of their layer: the first dark, the last bright."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize

from repscope.plot.labels import literal, set_layer_ticks

_BRIGHTEST = 0.85
"""Of magma; above, a line is lost on white paper."""


def draw_by_depth(
    ax: Axes,
    lines: Mapping[str, tuple[Any, Any]],
    *,
    marker: str = "",
    max_labels: int = 64,
    max_characters: int = 14,
) -> None:
    """Draw one line a layer, in execution order, and beside them a bar that names the colours' layers.

    Args:
        ax: Where to draw.
        lines: Layer name to places and heights, each (points,).
        marker: matplotlib marker of the points; a line of one point has one in any case.
        max_labels: Layer names at most beside the bar.
        max_characters: Longer layer names lose their middle.
    """
    colors = mpl.colormaps["magma"](np.linspace(0, _BRIGHTEST, len(lines)))
    for color, (x, y) in zip(colors, lines.values(), strict=True):
        ax.plot(x, y, color=color, linewidth=1.1, marker=marker if len(x) > 1 else "o", markersize=3.0)
    depth = ScalarMappable(Normalize(-0.5, len(lines) - 0.5), ListedColormap(colors))
    bar = ax.figure.colorbar(depth, ax=ax, fraction=0.05, pad=0.02)
    bar.outline.set_linewidth(0.6)
    prefix = set_layer_ticks(bar.ax.yaxis, list(lines), max_labels=max_labels, max_characters=max_characters)
    if prefix:
        bar.set_label(literal(f"{prefix}*"), fontsize="small")
