"""New figures, of the widths that journals print."""

from __future__ import annotations

import sys
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLUMN, PAGE = 3.5, 7.2
"""Inches of one and of two columns of a journal page: 89 and 183 mm."""


def new_figure(size: tuple[float, float], layout: Literal["constrained", "compressed"] = "constrained") -> Figure:
    """A figure that pyplot knows only where it is in use: elsewhere nothing holds on to it."""
    if "matplotlib.pyplot" in sys.modules or "ipykernel" in sys.modules:
        import matplotlib.pyplot as plt

        return plt.figure(figsize=size, layout=layout)
    figure = Figure(figsize=size, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def lay_out(figure: Any) -> None:
    """Lay a figure out once before it is drawn: with an image of fixed aspect the first layout cuts off its names."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


def forget(figure: Figure) -> None:
    """Take a figure that is not to be shown out of pyplot, which would keep it open and show it in a notebook."""
    if "matplotlib.pyplot" in sys.modules:
        import matplotlib.pyplot as plt

        plt.close(figure)


def new_axes(width: float = COLUMN, height: float = 2.6) -> Axes:
    """Axes alone on a new figure of the given inches."""
    return new_figure((width, height)).add_subplot()


def quiet(ax: Axes) -> None:
    """Take away the frame's upper and right side and let its numbers be small."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize="small", width=0.6, length=2.5)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_fontsize("small")


def lowest(*heights: Any) -> float:
    """The lowest of 0 and all heights that are finite, for the lower end of an axis."""
    known = np.concatenate([np.ravel(np.asarray(one, dtype=np.float64)) for one in heights])
    return float(np.min(known, initial=0.0, where=np.isfinite(known)))


def panels(rows: int, columns: int, *, size: tuple[float, float] = (3.6, 2.8), title: str = "") -> list[Axes]:
    """Empty axes in rows and columns on one new figure, in reading order.

    Args:
        rows: Rows of axes.
        columns: Axes in a row.
        size: Width and height of one, in inches, its labels included.
        title: Text above the figure.
    """
    figure = new_figure((columns * size[0], rows * size[1] + (0.3 if title else 0.0)))
    if title:
        figure.suptitle(title)
    return [figure.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
