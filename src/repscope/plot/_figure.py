"""New figures."""

from __future__ import annotations

import sys
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def new_figure(size: tuple[float, float], layout: Literal["constrained", "compressed"] = "constrained") -> Figure:
    """A figure that pyplot knows only where it is in use: elsewhere nothing holds on to it."""
    if "matplotlib.pyplot" in sys.modules or "ipykernel" in sys.modules:
        import matplotlib.pyplot as plt

        return plt.figure(figsize=size, layout=layout)
    figure = Figure(figsize=size, layout=layout)
    FigureCanvasAgg(figure)
    return figure


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
