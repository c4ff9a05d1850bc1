"""Layer names on an axis: as many as there is room for, short enough to read, and still told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.ticker import FuncFormatter, Locator

from repscope._words import shorten

LINE_PITCH = 1.2  # distance of two lines of text over the font size
CHARACTER = 0.62  # width of a character of the default font over the font size, on average, with a little to spare
_SMALL = 8.3  # points of matplotlib's "small"
_SMALLEST = 6.0  # points of a name that can still be read
_READABLE = 12  # characters that a name is not cut below
_BESIDE = 1.5  # an axis may have a name this much longer than itself


class LayerLocator(Locator):
    """Ticks at every k-th layer, with k chosen from the size the axis really has whenever it is drawn.

    Args:
        count: number of layers.
        pitch: distance in points that two labels need.
        max_labels: labels at most.
    """

    def __init__(self, count: int, pitch: float, max_labels: int) -> None:
        self.count, self.pitch, self.max_labels = count, pitch, max_labels

    def __call__(self) -> list[float]:
        """The layers in view that bear a label."""
        assert self.axis is not None  # matplotlib sets it with the locator
        low, high = sorted(self.axis.get_view_interval())
        return self.tick_values(low, high)

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Every k-th layer between two positions."""
        room = min(axis_length(self.axis) / self.pitch, self.max_labels)
        step = max(1, math.ceil((vmax - vmin) / max(room, 1.0)))
        return [float(layer) for layer in range(0, self.count, step) if vmin <= layer <= vmax]


def axis_length(axis: Any) -> float:
    """Length of a matplotlib axis on the page, in points."""
    settle(axis.axes)
    box = axis.axes.get_window_extent()
    pixels = box.width if axis.axis_name == "x" else box.height
    return float(pixels / axis.get_figure(root=True).dpi * 72)


def settle(ax: Axes) -> None:
    """Give the axes the place they are drawn at: a fixed aspect makes them smaller than their slot."""
    locator: Any = ax.get_axes_locator()
    ax.apply_aspect(None if locator is None else locator(ax, None))


def set_layer_ticks(axis: XAxis | YAxis, names: Sequence[str], *, max_labels: int, max_characters: int) -> str:
    """Label an axis whose position i is the i-th layer.

    Returns:
        The beginning of all names that the labels leave out, for the axis to mention; often empty.
    """
    length = axis_length(axis)
    size = float(np.clip(0.8 * length / len(names) / LINE_PITCH, 6.0, 9.0))  # the layout may take a fifth
    prefix = common_prefix(names) if max(map(len, names)) > max_characters else ""
    shown = shorten_all([name[len(prefix) :] for name in names], max_characters)
    pitch = size * LINE_PITCH
    if axis.axis_name == "x":
        widest = max(map(len, shown)) * CHARACTER * size + size
        upright = widest * min(len(names), max_labels) <= length
        pitch = widest if upright else pitch
        axis.set_tick_params(rotation=0 if upright else 90)
    axis.set_major_locator(LayerLocator(len(names), pitch, max_labels))
    texts = [literal(label) for label in shown]
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: texts[round(value)] if 0 <= round(value) < len(texts) else "")
    )
    axis.set_tick_params(labelsize=size, length=2.5, width=0.6, pad=2)
    return prefix


def set_group_names(far: XAxis | YAxis, axis: XAxis | YAxis, groups: Sequence[tuple[str, int]]) -> float:
    """Name runs of layers, each at the middle of its run, along an axis or, where there is no room, across it.

    Args:
        far: Where the names go.
        axis: The axis of the layers.
        groups: Name and number of layers of each run, in order.

    Returns:
        Inches that the names reach beyond the axis.
    """
    sizes = np.array([size for _, size in groups])
    names = [name for name, _ in groups]
    room = 0.8 * axis_length(axis) * sizes.min() / sizes.sum()  # points of the shortest; the layout may take a fifth
    fitting = int(room / (CHARACTER * _SMALLEST))
    along = fitting >= min(max(map(len, names)), _READABLE)
    shown = shorten_all(names, fitting if along else _READABLE)
    longest = max(map(len, shown))
    size = float(np.clip(room / (CHARACTER * longest if along else LINE_PITCH), _SMALLEST, 9.0))
    every = 1 if along else math.ceil(LINE_PITCH * size / room)
    far.set_ticks((sizes.cumsum() - sizes / 2 - 0.5)[::every], [literal(name) for name in shown][::every])
    horizontal = along == (axis.axis_name == "x")
    turned = 90 if axis.axis_name == "x" else 270
    far.set_tick_params(length=0, pad=3, labelsize=size, rotation=0 if horizontal else turned)
    for label in far.get_ticklabels(which="major"):
        if axis.axis_name == "y":
            label.set_verticalalignment("center")
    return float(3 + (LINE_PITCH if along else CHARACTER * longest) * size) / 72


def name_axis(axis: XAxis | YAxis, name: str) -> None:
    """Write a name beside an axis, without its middle where the figure would cut off its ends."""
    figure: Any = axis.get_figure(root=False)
    side = figure.bbox.width if axis.axis_name == "x" else figure.bbox.height
    length = min(_BESIDE * axis_length(axis), 0.8 * side / figure.dpi * 72)
    axis.set_label_text(literal(shorten(name, max(int(length / (CHARACTER * _SMALL)), _READABLE))), fontsize="small")


def literal(name: str) -> str:
    """A name as matplotlib shows it letter by letter: between dollar signs it would look for formulas."""
    return name.replace("$", r"\$")


def common_prefix(names: Sequence[str]) -> str:
    """The whole dotted parts that all names begin with: ``model.encoder.``."""
    parents = [name.split(".")[:-1] for name in names]
    shared = takewhile(lambda parts: len(set(parts)) == 1, zip(*parents, strict=False))
    return "".join(f"{parts[0]}." for parts in shared)


def shorten_all(names: Sequence[str], width: int) -> list[str]:
    """Names of at most ``width`` characters, their middle elided where most of them stay different.

    ``encoder.layer.3.attention.output`` and ``encoder.layer.4.attention.output`` differ in the middle; cut
    at a fixed place they would become the same label.
    """
    if all(len(name) <= width for name in names):
        return list(names)

    def cut(head: int) -> list[str]:
        return [shorten(name, width, head) for name in names]

    # The end of a layer's name says more than its beginning: of equally good cuts, one third from the left.
    heads = sorted(range(1, width - 1), key=lambda head: abs(head - width // 3)) or [0]
    return max((cut(head) for head in heads), key=lambda labels: len(set(labels)))
