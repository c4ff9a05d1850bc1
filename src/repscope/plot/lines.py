"""Lines with bands, and points in a plane."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from repscope.errors import InputError
from repscope.plot._figure import new_axes, quiet

_BAND_OPACITY = 0.2


def curve(
    values: Any,
    ax: Axes | None = None,
    *,
    x: Any = None,
    errors: Any = None,
    label: str = "",
    color: Any = None,
    style: str = "-",
    marker: str = "",
) -> Axes:
    """Draw one line over layers, widths or whatever ``x`` is, with a band of ± ``errors``.

    Args:
        values: Heights, shape (points,); NaN leaves a gap.
        ax: Where to draw; None makes a figure.
        x: Places, shape (points,); None counts from 1, as layers are counted.
        errors: Half width of the band, shape (points,); None draws none.
        label: For a legend.
        color: matplotlib colour of line and band; None takes the next of the axes.
        style: matplotlib line style.
        marker: matplotlib marker of the points.

    Returns:
        The axes, which hold the line and its band.

    Raises:
        InputError: The shapes differ or are not of one dimension.
    """
    values = np.asarray(values, dtype=np.float64)
    x = np.arange(1, values.size + 1) if x is None else np.asarray(x)
    errors = None if errors is None else np.asarray(errors, dtype=np.float64)
    if values.ndim != 1 or x.shape != values.shape or (errors is not None and errors.shape != values.shape):
        shapes = ", ".join(str(np.shape(given)) for given in (values, x, errors) if given is not None)
        raise InputError(f"curve: values, x and errors must have one shape (points,), got {shapes}.")
    ax = new_axes() if ax is None else ax
    (line,) = ax.plot(x, values, style, color=color, marker=marker, markersize=3.5, linewidth=1.4, label=label or None)
    if errors is not None and np.isfinite(errors).any():
        ax.fill_between(x, values - errors, values + errors, color=line.get_color(), alpha=_BAND_OPACITY, linewidth=0)
    quiet(ax)
    return ax


def points(
    x: Any,
    y: Any,
    ax: Axes | None = None,
    *,
    colors: Any = None,
    size: float = 3.0,
    label: str = "",
) -> Axes:
    """Draw points in a plane.

    Args:
        x: Abscissae, shape (n,).
        y: Ordinates, shape (n,).
        ax: Where to draw; None makes a figure.
        colors: One matplotlib colour, or one a point, such as :func:`hues` gives.
        size: Area of a point, in square points (1/72 inch).
        label: For a legend.

    Returns:
        The axes, which hold the points as one collection.

    Raises:
        InputError: The shapes differ or are not of one dimension.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"points: x and y must have one shape (n,), got {x.shape} and {y.shape}.")
    ax = new_axes(height=3.2) if ax is None else ax
    ax.scatter(x, y, c=colors, s=size, linewidths=0, label=label or None, rasterized=x.size > 2000)
    quiet(ax)
    return ax


def hues(x: Any, y: Any) -> np.ndarray:
    """Colours that tell places in a plane: the hue is the direction from the middle, the saturation the distance.

    Args:
        x: Abscissae, shape (n,).
        y: Ordinates, shape (n,).

    Returns:
        Red, green and blue, 0 to 1, shape (n, 3).
    """
    place = np.stack([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)])
    place = place - place.mean(axis=1, keepdims=True)
    spread = place.std(axis=1, keepdims=True)
    place = place / np.where(spread > 0, spread, 1.0)
    angle = np.arctan2(place[1], place[0]) / (2 * np.pi) % 1.0
    distance = np.clip(np.hypot(*place) / 2.0, 0.0, 1.0)  # two standard deviations are as colourful as it gets
    return np.array([colorsys.hsv_to_rgb(h, s, 0.9) for h, s in zip(angle, distance, strict=True)])
