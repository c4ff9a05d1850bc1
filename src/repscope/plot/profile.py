"""Layer by layer: how alike is each layer of one model to the same layer of another?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from repscope._pairs import Floats, mean_of_defined, model_pairs, same_layers
from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.plot._figure import COLUMN, PAGE, lowest, new_axes, quiet
from repscope.plot.labels import literal, set_layer_ticks
from repscope.plot.lines import curve

CHANCE_COLOR = "0.45"
CEILING_COLOR, FLOOR_COLOR = "#4f8f6b", "#8a6d4b"  # a green and a brown of one brightness
_FLOOR_STYLES = (":", "-.", (0, (1, 3)))
_BAND_OPACITY = 0.2
_ONE_COLUMN = 24  # layers that have room in a figure as wide as one column of a page
_MARKED = 50  # layers whose points can be told apart


def same_layer(
    comparison: Comparison,
    ax: Axes | None = None,
    *,
    confidence: float = 0.95,
    chance: bool = True,
    ceiling: tuple[Any, Any] | None = None,
    floors: Mapping[str, Any] | None = None,
    label: str = "",
    color: Any = None,
    max_labels: int = 64,
    max_characters: int = 26,
) -> Axes:
    """Draw the score of each layer with the same layer of the other model, over depth.

    Layers are the same where they bear one name; where no names agree, where they stand at one place. Of several
    models the line is the mean over all pairs of different models.

    The band says how certain a score is, or how much pairs differ: of one pair of models :meth:`Comparison.interval`
    at ``confidence``, if the comparison has standard errors; of several pairs, from the lowest to the highest. Where
    the comparison knows the null, chance is a dashed line, and the values that chance exceeds with probability
    1 − ``confidence`` begin above the grey.

    Args:
        comparison: What to draw.
        ax: Where to draw; None makes a figure as wide as a column of a page or, for many layers, as two.
        confidence: Coverage of the interval, in (0, 1).
        chance: Whether to draw the null, where it is known.
        ceiling: Mean and standard deviation of each layer's score with other seeds, each (layers,), for a line with
            a band; NaN leaves the band out. :func:`repscope.baselines` finds both, and draws them.
        floors: Name to the scores of each layer with what has learned nothing (layers,), for dotted lines.
        label: Of the line, for a legend.
        color: matplotlib colour of line and band; None takes the next of the axes.
        max_labels: Layer names at most on the axis.
        max_characters: Longer layer names lose their middle.

    Returns:
        The axes, which hold the line first, at x = 0, 1, … for the layers in execution order.

    Raises:
        InputError: The models have neither layer names nor the number of layers in common, ``confidence`` is outside
            (0, 1), or a ceiling or floor is not one number a layer.
    """
    if not 0 < confidence < 1:
        raise InputError(f"same_layer: confidence must lie between 0 and 1, got {confidence}. The usual one is 0.95.")
    found = same_layers(comparison, model_pairs(comparison), "same_layer", level=confidence)
    ax = new_axes(*((COLUMN, 2.6) if len(found.layers) <= _ONE_COLUMN else (PAGE, 3.2))) if ax is None else ax
    x = np.arange(len(found.layers))
    mean = mean_of_defined(found.values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a layer undefined in all pairs is a gap in the line
        worst, best = np.nanmin(found.values, axis=0), np.nanmax(found.values, axis=0)
    if len(found.models) > 1:
        line = _line(ax, x, mean, label, color)
        ax.fill_between(x, worst, best, color=line, alpha=_BAND_OPACITY, linewidth=0)
    elif "high" in found.statistics:
        _line(ax, x, mean, label, color, found.statistics["high"][0] - mean)
    else:
        _line(ax, x, mean, label, color)
    if chance and "null_mean" in found.statistics:
        _draw_chance(ax, x, found.statistics, confidence, comparison.kind)
    drawn = [worst, *_draw_baselines(ax, x, ceiling, floors or {})]
    prefix = set_layer_ticks(ax.xaxis, found.layers, max_labels=max_labels, max_characters=max_characters)
    ax.set_xlim(-0.5, len(x) - 0.5)
    ax.set(xlabel=literal(f"layer ({prefix}*)") if prefix else "layer", ylabel=comparison.label)
    size = ax.xaxis.get_tick_params()["labelsize"]  # chosen for the room
    quiet(ax)
    ax.tick_params(axis="x", labelsize=size)
    low, high = comparison.range
    if comparison.kind == "similarity" and np.isfinite(high):
        ax.set_ylim(lowest(*drawn) - 0.02 * high, 1.02 * high)
    elif low == 0:
        ax.set_ylim(bottom=0.0)
    return ax


def _line(ax: Axes, x: np.ndarray, values: Floats, label: str, color: Any, errors: Floats | None = None) -> Any:
    curve(values, ax, x=x, errors=errors, label=label, color=color, marker="o" if len(x) <= _MARKED else "")
    return ax.lines[-1].get_color()


def _draw_chance(ax: Axes, x: np.ndarray, statistics: dict[str, Floats], confidence: float, kind: str) -> None:
    level = mean_of_defined(statistics["null_mean"])
    if "null_sd" in statistics:
        side = 1 if kind == "similarity" else -1
        reach = side * NormalDist().inv_cdf(confidence) * mean_of_defined(statistics["null_sd"])
        ax.fill_between(x, level, level + reach, color=CHANCE_COLOR, alpha=_BAND_OPACITY, linewidth=0)
    ax.plot(x, level, "--", color=CHANCE_COLOR, linewidth=1.0, label="chance")


def _draw_baselines(
    ax: Axes, x: np.ndarray, ceiling: tuple[Any, Any] | None, floors: Mapping[str, Any]
) -> list[Floats]:
    """Draw what the scores lie between; returns the heights."""
    given = {} if ceiling is None else {"ceiling": ceiling[0], "ceiling (sd)": ceiling[1]}
    heights = {name: np.asarray(values, dtype=np.float64) for name, values in {**given, **floors}.items()}
    for name, values in heights.items():
        if values.shape != x.shape:
            raise InputError(
                f"same_layer: {name} must be one number for each of the {len(x)} layers, got {values.shape}. Take it "
                "from repscope.baselines."
            )
    if ceiling is not None:
        mean, sd = heights["ceiling"], heights.pop("ceiling (sd)")
        curve(mean, ax, x=x, errors=sd, label="ceiling: other seeds", color=CEILING_COLOR, style="--")
    for number, name in enumerate(floors):
        style = _FLOOR_STYLES[number % len(_FLOOR_STYLES)]
        ax.plot(x, heights[name], linestyle=style, color=FLOOR_COLOR, linewidth=1.2, label=f"floor: {name}")
    return list(heights.values())
