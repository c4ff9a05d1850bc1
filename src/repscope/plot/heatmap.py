"""Heat maps of a comparison: layers by layers, layer 1 at bottom left."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar, make_axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import Bbox

from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.plot.labels import set_layer_ticks

Limits = Literal["range", "data"] | tuple[float, float]

UNDEFINED_COLOR = "#8fa3ad"  # a blue grey that magma does not contain
_BAR_WIDTH, _BAR_GAP = 0.13, 0.10  # of a colour bar, in inches
_FAR_LABEL = 0.2  # height of the model names between image and colour bar, in inches


def heatmap(
    comparison: Comparison,
    ax: Axes | None = None,
    *,
    cmap: str | Colormap | None = None,
    limits: Limits = "range",
    colorbar: bool = True,
    title: str | None = None,
    max_labels: int = 64,
    max_characters: int = 26,
) -> Axes:
    """Draw the scores as a heat map, the first layer of both models at bottom left.

    Bright is alike: magma for a similarity, reversed magma for a distance. Undefined scores (NaN) are grey
    and counted under the title; infinite ones take the colour of the nearest limit. Of many layers every
    k-th is named, k chosen from the size the axes have when they are drawn.

    Args:
        comparison: what to draw; ``(rows, columns)`` scores, rows upwards.
        ax: where to draw; None makes a figure, known to pyplot only if pyplot is in use already.
        cmap: matplotlib colour map.
        limits: scores at the ends of the colour map. ``"range"`` is the range of the measure, with two
            exceptions: an infinite end gives way to the data, and a negative lower end gives way to 0, or to
            the lowest score below it (unbiased CKA may reach -1, yet 0 means unrelated). ``"data"`` is the
            lowest and the highest score; a pair of numbers is taken as it is.
        colorbar: whether to draw one.
        title: text above; None is :attr:`Comparison.title`, "" nothing.
        max_labels: layer names at most on an axis.
        max_characters: longer layer names lose their middle.

    Returns:
        The axes, which hold the scores as their image.

    Raises:
        InputError: when ``limits`` is none of the above.
    """
    low, high = color_limits(comparison, limits)
    ax = _new_axes(comparison) if ax is None else ax
    image = _draw(comparison, ax, cmap, (low, high))
    _label(comparison, ax, max_labels, max_characters)
    undefined = int(np.isnan(comparison.values).sum())
    heading = comparison.title if title is None else title
    note = f"grey: undefined, {undefined} of {comparison.values.size}" if undefined else ""
    ax.set_title("\n".join(filter(None, (heading, note))), fontsize="medium")
    if colorbar:
        _colorbar(image, ax, comparison)
    return ax


def color_limits(comparison: Comparison, limits: Limits) -> tuple[float, float]:
    """The scores at the ends of the colour map, as :func:`heatmap` documents them."""
    finite = comparison.values[np.isfinite(comparison.values)]
    lowest, highest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if limits == "range":
        low, high = comparison.range
        low = max(low, min(0.0, lowest)) if low < 0 else low
        high = highest if np.isinf(high) else high
    elif limits == "data":
        low, high = lowest, highest
    elif isinstance(limits, tuple) and len(limits) == 2 and limits[0] < limits[1]:
        return float(limits[0]), float(limits[1])
    else:
        raise InputError(
            f"heatmap: limits must be 'range', 'data' or a pair (low, high) with low < high, got {limits!r}."
        )
    return (low, high) if low < high else (low, low + 1.0)  # equal scores have no range of their own


def grid(
    comparisons: Mapping[str, Comparison] | Sequence[Comparison],
    *,
    columns: int = 3,
    share_limits: bool = True,
    limits: Limits = "range",
    cmap: str | Colormap | None = None,
    title: str | None = None,
    panel_size: float = 2.9,
    max_labels: int = 64,
    max_characters: int = 16,
) -> Figure:
    """Draw heat maps side by side.

    Args:
        comparisons: what to draw, in reading order; the keys of a mapping are the titles of the panels.
        columns: panels in a row.
        share_limits: one colour scale and one colour bar for all panels, which spans the limits of each;
            False gives every panel its own, as in figure 2 of Kornblith et al. 2019.
        limits: as in :func:`heatmap`, found for each panel.
        cmap: matplotlib colour map.
        title: text above the whole figure.
        panel_size: width and height of a panel in inches.
        max_labels: layer names at most on an axis.
        max_characters: longer layer names lose their middle.

    Returns:
        The figure. Where all panels have the same layers, only the outer ones name them.

    Raises:
        InputError: when there is nothing to draw, or similarities and distances are to share a scale.
    """
    if isinstance(comparisons, Mapping):
        panels = list(comparisons.items())
    else:
        panels = [(comparison.label, comparison) for comparison in comparisons]
    if not panels or columns < 1:
        raise InputError(
            f"grid: comparisons must hold one or more and columns be at least 1, got {len(panels)} and {columns}."
        )
    everything = [comparison for _, comparison in panels]
    if share_limits and len({comparison.kind for comparison in everything}) > 1:
        raise InputError(
            "grid: comparisons must be all similarities or all distances to share one scale, got both. "
            "Pass share_limits=False."
        )
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    bars = 0.0 if share_limits else 0.6 * columns
    figure = _new_figure((panel_size * columns + bars + 0.9, panel_size * rows + 0.9))
    common = _common_limits(everything, limits) if share_limits else None
    same_layers = len({(c.row_layers, c.column_layers, c.row_models, c.column_models) for c in everything}) == 1
    axes = []
    for i, (heading, comparison) in enumerate(panels):
        ax = figure.add_subplot(rows, columns, i + 1)
        heatmap(
            comparison,
            ax,
            cmap=cmap,
            limits=limits if common is None else common,
            colorbar=not share_limits,
            title=heading,
            max_labels=max_labels,
            max_characters=max_characters,
        )
        if same_layers and i % columns:
            ax.tick_params(labelleft=False)
            ax.set_ylabel("")
        if same_layers and i + columns < len(panels):
            ax.tick_params(labelbottom=False)
            ax.set_xlabel("")
        axes.append(ax)
    if share_limits:
        label = everything[0].label if len({c.label for c in everything}) == 1 else everything[0].kind
        image = axes[0].images[0]
        figure.colorbar(image, ax=axes, label=label, shrink=0.8, aspect=30, pad=0.02)
    if title:
        figure.suptitle(title)
    return figure


def _common_limits(comparisons: Sequence[Comparison], limits: Limits) -> tuple[float, float]:
    ends = [color_limits(comparison, limits) for comparison in comparisons]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _draw(comparison: Comparison, ax: Axes, cmap: str | Colormap | None, limits: tuple[float, float]) -> AxesImage:
    default = "magma" if comparison.kind == "similarity" else "magma_r"
    colors = mpl.colormaps.get_cmap(default if cmap is None else cmap).with_extremes(bad=UNDEFINED_COLOR)
    values = comparison.values
    shown = np.where(np.isinf(values), np.clip(values, *limits), values)  # imshow paints infinities like NaN
    rows, columns = shown.shape
    return ax.imshow(
        shown,
        cmap=colors,
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        interpolation="nearest",
        aspect="equal" if max(rows, columns) <= 3 * min(rows, columns) else "auto",
    )


def _label(comparison: Comparison, ax: Axes, max_labels: int, max_characters: int) -> None:
    sides = (
        (ax.xaxis, comparison.column_layers, comparison.column_models),
        (ax.yaxis, comparison.row_layers, comparison.row_models),
    )
    for axis, layers, models in sides:
        set_layer_ticks(axis, layers, max_labels=max_labels, max_characters=max_characters)
        blocks = [(model, len(list(run))) for model, run in groupby(models)]
        if len(blocks) == 1:
            axis.set_label_text(models[0])
        else:
            _name_blocks(ax, axis.axis_name, blocks)


def _name_blocks(ax: Axes, which: str, blocks: list[tuple[str, int]]) -> None:
    """Separate the models on an axis by lines and name them on the far side, where no layer names stand."""
    ends = np.cumsum([size for _, size in blocks]) - 0.5
    line = ax.axvline if which == "x" else ax.axhline
    for end in ends[:-1]:
        line(end, color="white", linewidth=1.0)
    far = ax.secondary_xaxis("top") if which == "x" else ax.secondary_yaxis("right")
    centers = ends - np.array([size for _, size in blocks]) / 2
    names = [model for model, _ in blocks]
    if which == "x":
        far.set_xticks(centers, names)
    else:
        far.set_yticks(centers, names, rotation=270, va="center")
    far.tick_params(length=0, pad=3, labelsize=9)
    far.spines[:].set_visible(False)


def _colorbar(image: AxesImage, ax: Axes, comparison: Comparison) -> Colorbar:
    """A colour bar as high as the image, also where equal aspect makes the image smaller than its axes."""
    low, high = image.get_clim()
    defined = comparison.values[~np.isnan(comparison.values)]
    below, above = bool((defined < low).any()), bool((defined > high).any())
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
    bar_ax, _ = make_axes(ax, fraction=0.1, pad=0.02)
    bar_ax.set_box_aspect(None)
    gap = _BAR_GAP + (_FAR_LABEL if len(set(comparison.row_models)) > 1 else 0.0)

    def beside_image(_bar: object, _renderer: object) -> Bbox:
        ax.apply_aspect()
        box, width = ax.get_position(), ax.figure.bbox.width / ax.figure.dpi
        left = box.x1 + gap / width
        return Bbox.from_extents(left, box.y0, left + _BAR_WIDTH / width, box.y1)

    bar_ax.set_axes_locator(beside_image)
    bar = ax.figure.colorbar(image, cax=bar_ax, extend=extend, label=comparison.label)
    bar.outline.set_linewidth(0.6)
    bar.ax.tick_params(labelsize="small", width=0.6)
    return bar


def _new_axes(comparison: Comparison) -> Axes:
    """Axes of a size at which many layer names have room."""
    side = float(np.interp(max(comparison.values.shape), (10, 60, 200), (4.6, 7.5, 11.0)))
    return _new_figure((side * 1.25, side * 1.1)).add_subplot()


def _new_figure(size: tuple[float, float]) -> Figure:
    """A figure that pyplot knows only where it is in use: elsewhere nothing holds on to it."""
    if "matplotlib.pyplot" in sys.modules or "ipykernel" in sys.modules:
        import matplotlib.pyplot as plt

        return plt.figure(figsize=size, layout="constrained")
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
