"""Heat maps of a comparison: layers by layers, layer 1 at bottom left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import Bbox

from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.plot._figure import COLUMN, PAGE, lay_out, new_figure
from repscope.plot.labels import name_axis, set_group_names, set_layer_ticks, settle

Limits = Literal["range", "data"] | tuple[float, float]

UNDEFINED_COLOR = "#8fa3ad"  # a blue grey that magma does not contain
CHANCE_COLOR = "#8a8a8a"  # a neutral grey
_CHANCE_VEIL = 0.7  # how much of it lies over a score
_BAR_WIDTH, _BAR_GAP = 0.12, 0.08  # of a colour bar, in inches
_ONE_COLUMN = 14  # layers that can be named in a figure as wide as one column of a page


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
    chance: bool = True,
) -> Axes:
    """Draw the scores as a heat map, the first layer of both models at bottom left.

    Bright is alike: magma for a similarity, reversed magma for a distance. Undefined scores (NaN) are grey
    and counted under the title; infinite ones take the colour of the nearest limit. Of many layers every
    k-th is named, k chosen from the size the axes have when they are drawn.

    Scores that chance alone explains (:attr:`Comparison.within_chance`) are greyed, and a mark left of the colour
    bar stands at the mean of the null, or spans its means where pairs of layers differ in it.

    Args:
        comparison: what to draw; ``(rows, columns)`` scores, rows upwards.
        ax: where to draw; None makes a figure, known to pyplot only if pyplot is in use already.
        cmap: matplotlib colour map.
        limits: scores at the ends of the colour map. ``"range"`` is the range of the measure as far as it means
            something, :attr:`Comparison.scale`; ``"data"`` is the lowest and the highest score; a pair of
            numbers is taken as it is.
        colorbar: whether to draw one.
        title: text above; None is :attr:`Comparison.label` (the models stand at the axes), "" nothing. With
            a title of your own the colour bar names the measure.
        max_labels: layer names at most on an axis.
        max_characters: longer layer names lose their middle.
        chance: whether to show what chance explains, where the comparison says it.

    Returns:
        The axes, which hold the scores as their image.

    Raises:
        InputError: when ``limits`` is none of the above.
    """
    ends = color_limits(comparison, limits)
    own = ax is None
    ax = _new_axes(comparison) if ax is None else ax
    image = _draw(comparison, ax, cmap, ends, chance)
    beside = _label(comparison, ax, max_labels, max_characters)
    _head(comparison, ax, comparison.label if title is None else title, chance)
    if colorbar:
        bar = _colorbar(image, ax, comparison, comparison.kind if title is None else comparison.label, beside)
        if chance:
            _mark_chance(bar, [comparison])
    if own:
        lay_out(ax.figure)
    return ax


def color_limits(comparison: Comparison, limits: Limits) -> tuple[float, float]:
    """The scores at the ends of the colour map, as :func:`heatmap` documents them."""
    if limits == "range":
        return comparison.scale
    if limits == "data":
        finite = comparison.values[np.isfinite(comparison.values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        return (low, high) if low < high else (low, low + 1.0)  # equal scores have no range of their own
    if isinstance(limits, tuple | list) and len(limits) == 2 and -np.inf < limits[0] < limits[1] < np.inf:
        return float(limits[0]), float(limits[1])
    raise InputError(
        f"heatmap: limits must be 'range', 'data' or two finite numbers (low, high), low < high, got {limits!r}."
    )


def grid(
    comparisons: Mapping[str, Comparison] | Sequence[Comparison],
    *,
    columns: int = 3,
    share_limits: bool = True,
    limits: Limits = "range",
    cmap: str | Colormap | None = None,
    title: str | None = None,
    panel_size: float = 2.4,
    width: float | None = None,
    max_labels: int = 64,
    max_characters: int = 16,
    chance: bool = True,
) -> Figure:
    """Draw heat maps side by side.

    Args:
        comparisons: what to draw, in reading order; the keys of a mapping are the titles of the panels.
        columns: panels in a row.
        share_limits: one colour scale and one colour bar for all panels, which spans the limits of each;
            False gives every panel its own, as in figure 2 of Kornblith et al. 2019.
        limits: as in :func:`heatmap`, found for each panel.
        cmap: matplotlib colour map.
        title: text above the figure; None is the measure where all panels have it in common and no
            shared colour bar names it, "" nothing.
        panel_size: width and height of an image in inches.
        width: inches of the whole figure, such as ``plot.PAGE``; given, it decides the size of the images.
        max_labels: layer names at most on an axis.
        max_characters: longer layer names lose their middle.
        chance: whether to show what chance explains, as in :func:`heatmap`.

    Returns:
        The figure. Where all panels have the same layers, only the outer ones name them.

    Raises:
        InputError: when there is nothing to draw, or similarities and distances are to share a scale.
    """
    if isinstance(comparisons, Mapping):
        headings, panels = list(comparisons), list(comparisons.values())
    else:
        headings, panels = [comparison.label for comparison in comparisons], list(comparisons)
    if not panels or columns < 1:
        raise InputError(
            f"grid: comparisons must hold one or more and columns be at least 1, got {len(panels)} and {columns}."
        )
    if share_limits and len({comparison.kind for comparison in panels}) > 1:
        raise InputError(
            "grid: comparisons must be all similarities or all distances to share one scale, got both. "
            "Pass share_limits=False."
        )
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    ends = [color_limits(comparison, limits) for comparison in panels]
    if share_limits:
        ends = [(min(low for low, _ in ends), max(high for _, high in ends))] * len(panels)
    outer_only = len({(c.row_layers, c.column_layers, c.row_models, c.column_models) for c in panels}) == 1
    sides = {"bars": not share_limits, "names": not outer_only}
    if width is not None:
        panel_size += (width - _grid_size(rows, columns, panel_size, **sides)[0]) / columns
        if panel_size <= 0:
            raise InputError(f"grid: width must leave room for {columns} columns and their names, got {width} inches.")
    figure = new_figure(_grid_size(rows, columns, panel_size, **sides), "compressed")
    axes, images = [], []
    for i, (heading, comparison) in enumerate(zip(headings, panels, strict=True)):
        ax = figure.add_subplot(rows, columns, i + 1)
        image = _draw(comparison, ax, cmap, ends[i], chance)
        beside = _label(comparison, ax, max_labels, max_characters)
        _head(comparison, ax, heading, chance)
        if outer_only:
            _keep_outer_labels(ax, left=i % columns == 0, bottom=i + columns >= len(panels))
            ax.xaxis.set_in_layout(i >= (rows - 1) * columns)  # else below is an empty place, room enough
        if not share_limits:
            bar = _colorbar(image, ax, comparison, "", beside)  # the title of the panel names the measure
            if chance:
                _mark_chance(bar, [comparison])
        axes.append(ax)
        images.append(image)
    measures = {comparison.label for comparison in panels}
    measure = panels[0].label if len(measures) == 1 else ""
    if share_limits:
        length = min(rows, 2)  # of the colour bar, in panels
        bar = figure.colorbar(
            images[0],
            ax=axes,
            shrink=length / rows,
            aspect=length * panel_size / _BAR_WIDTH,
            pad=0.02,
            extend=_extend(panels, *ends[0]),
        )
        bar.set_label(measure or panels[0].kind)
        bar.outline.set_linewidth(0.6)
        if chance:
            _mark_chance(bar, panels)
    if title is None and not share_limits:
        title = measure
    if title:
        figure.suptitle(title)
    return figure


def _grid_size(rows: int, columns: int, panel_size: float, *, bars: bool, names: bool) -> tuple[float, float]:
    """Inches of a figure that leaves each image about ``panel_size``."""
    width = columns * (panel_size + 0.2 + 0.55 * bars + 1.2 * names) + 1.2 * (not names) + 0.7 * (not bars)
    height = rows * (panel_size + 0.35 + 1.2 * names) + 1.2 * (not names)
    return width, height + 0.4


def _keep_outer_labels(ax: Axes, *, left: bool, bottom: bool) -> None:
    ax.tick_params(labelleft=left, labelbottom=bottom)
    if not left:
        ax.set_ylabel("")
    if not bottom:
        ax.set_xlabel("")


def _draw(
    comparison: Comparison, ax: Axes, cmap: str | Colormap | None, limits: tuple[float, float], chance: bool
) -> AxesImage:
    default = "magma" if comparison.kind == "similarity" else "magma_r"
    colors = mpl.colormaps.get_cmap(default if cmap is None else cmap).with_extremes(bad=UNDEFINED_COLOR)
    values = comparison.values
    shown = np.where(np.isinf(values), np.clip(values, *limits), values)  # imshow paints infinities like NaN
    rows, columns = shown.shape
    same: dict[str, Any] = {
        "origin": "lower",
        "interpolation": "nearest",
        "aspect": _shape(comparison) * columns / rows,
    }
    image = ax.imshow(shown, cmap=colors, vmin=limits[0], vmax=limits[1], **same)
    within = comparison.within_chance
    if chance and within is not None and within.any():
        grey = np.broadcast_to(mpl.colors.to_rgba(CHANCE_COLOR, _CHANCE_VEIL), (rows, columns, 4)).copy()
        grey[~within, 3] = 0.0
        ax.imshow(grey, **same)
    return image


def _shape(comparison: Comparison) -> float:
    """Height over width of the image: square cells, unless that makes a strip."""
    rows, columns = comparison.values.shape
    return float(np.clip(rows / columns, 1 / 3, 3))


def _head(comparison: Comparison, ax: Axes, title: str, chance: bool) -> None:
    undefined, size = int(np.isnan(comparison.values).sum()), comparison.values.size
    within = comparison.within_chance
    explained = int(within.sum()) if chance and within is not None else 0
    notes = [
        f"grey: undefined, {undefined} of {size}" if undefined else "",
        f"greyed: within chance, {explained} of {size}" if explained else "",
    ]
    ax.set_title("\n".join(filter(None, (title, *notes))), fontsize="medium")


def _label(comparison: Comparison, ax: Axes, max_labels: int, max_characters: int) -> float:
    """Name layers and models; returns the inches that names take on the right of the image."""
    beside = 0.0
    sides = (
        (ax.xaxis, comparison.column_layers, comparison.column_models),
        (ax.yaxis, comparison.row_layers, comparison.row_models),
    )
    for axis, layers, models in sides:
        prefix = set_layer_ticks(axis, layers, max_labels=max_labels, max_characters=max_characters)
        rest = f"{prefix}*" if prefix else ""
        blocks = [(model, len(list(run))) for model, run in groupby(models)]
        if len(blocks) == 1:
            name_axis(axis, f"{models[0]}: {rest}" if rest else models[0])
        else:
            name_axis(axis, rest)
            depth = _name_blocks(ax, axis.axis_name, blocks)
            beside = depth if axis.axis_name == "y" else beside
    return beside


def _name_blocks(ax: Axes, which: str, blocks: list[tuple[str, int]]) -> float:
    """Separate the models on an axis by lines and name them on the far side, where no layer names stand.

    Returns:
        Inches that the names reach beyond the image.
    """
    ends = np.cumsum([size for _, size in blocks]) - 0.5
    line = ax.axvline if which == "x" else ax.axhline
    for end in ends[:-1]:
        line(end, color="white", linewidth=1.0)
    far = ax.secondary_xaxis("top") if which == "x" else ax.secondary_yaxis("right")
    far.spines[:].set_visible(False)
    axis = far.xaxis if which == "x" else far.yaxis
    return set_group_names(axis, ax.xaxis if which == "x" else ax.yaxis, blocks)


def _mark_chance(bar: Colorbar, comparisons: Sequence[Comparison]) -> None:
    """Mark the mean of the null, or the span of its means, on the left of a colour bar."""
    known = [c.null_mean for c in comparisons if c.null_mean is not None]
    means = np.concatenate([mean[np.isfinite(mean)] for mean in known]) if known else np.empty(0)
    if not means.size:
        return
    bottom, top = bar.ax.get_ylim()
    low, high = (float(min(max(end, bottom), top)) for end in (means.min(), means.max()))
    beside = bar.ax.get_yaxis_transform()
    mark: dict[str, Any] = {"color": CHANCE_COLOR, "clip_on": False, "transform": beside, "zorder": 3}
    bar.ax.plot([-0.28, -0.28], [low, high], linewidth=1.6, solid_capstyle="butt", **mark)
    bar.ax.plot([-0.28], [(low + high) / 2], marker=">", markersize=4, label="mean of the null", **mark)


def _extend(comparisons: Sequence[Comparison], low: float, high: float) -> str:
    """At which ends of a colour bar scores lie beyond it."""
    rounding = 1e-9 * (high - low)  # CKA of a layer with itself may come out as 1 + 2e-16
    below = any(bool((c.values < low - rounding).any()) for c in comparisons)
    above = any(bool((c.values > high + rounding).any()) for c in comparisons)
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")


def _colorbar(image: AxesImage, ax: Axes, comparison: Comparison, label: str, beside: float) -> Colorbar:
    """A colour bar as high as the image, also where equal aspect makes the image smaller than its axes.

    Between the two is room for names of so many inches.
    """
    extend = _extend([comparison], *image.get_clim())
    figure = ax.figure
    if figure.get_layout_engine() is None:  # nothing would make room beside the axes: take it from them
        inches = ax.get_window_extent().width / figure.dpi
        bar = figure.colorbar(image, ax=ax, extend=extend, label=label, fraction=0.046, pad=0.04 + beside / inches)
    else:
        gap = _BAR_GAP + beside

        def beside_image(_bar: object, _renderer: object) -> Bbox:
            settle(ax)
            box, width = ax.get_position(), figure.bbox.width / figure.dpi
            left = box.x1 + gap / width
            return Bbox.from_extents(left, box.y0, left + _BAR_WIDTH / width, box.y1)

        bar_ax = ax.inset_axes((1.02, 0, 0.03, 1))
        bar_ax.set_axes_locator(beside_image)
        bar = figure.colorbar(image, cax=bar_ax, extend=extend, label=label)
    bar.outline.set_linewidth(0.6)
    bar.ax.yaxis.label.set_fontsize("small")
    bar.ax.tick_params(labelsize="small", width=0.6)
    return bar


def _new_axes(comparison: Comparison) -> Axes:
    """Axes on a figure as wide as one column of a page or, for many layers, as two."""
    width = COLUMN if max(comparison.values.shape) <= _ONE_COLUMN else PAGE
    names, bar = 0.30 * width, 0.7  # inches beside the image: the layers' names, and the colour bar with its label
    shape = _shape(comparison)
    image = (width - names - bar) * min(1.0, 1 / shape)
    return new_figure((width, image * shape + names + 0.35)).add_subplot()
