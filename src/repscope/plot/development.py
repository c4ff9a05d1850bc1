"""How similarity develops: over the steps of a training, and over the number of examples it is measured on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from repscope._pairs import SameLayer, mean_of_defined, model_pairs, same_layers
from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.plot._figure import lowest, new_axes, quiet
from repscope.plot.depth import draw_by_depth
from repscope.plot.labels import literal
from repscope.plot.profile import CHANCE_COLOR

_NUMBER = re.compile(r"(\d{1,3}(?:,\d{3})+(?!\d)|\d+(?:\.\d+)?(?:[eE]\+?\d+)?)([kM](?![^\W_]))?")
_TIMES = {"": 1.0, "k": 1e3, "M": 1e6}


def training(
    comparison: Comparison,
    ax: Axes | None = None,
    *,
    reference: str | None = None,
    steps: Sequence[float] | None = None,
) -> Axes:
    """Draw how each layer comes to be like itself at the end of the training: a line a layer, over the checkpoints.

    Layers that reach their final representation early have lines that rise first; in most networks these are the
    first layers (Raghu et al. 2017).

    Args:
        comparison: One whose models are checkpoints of one training, in their order, compared with each other or
            with one reference: ``compare({"step 0": ..., "step 100": ...}, data=...)``.
        ax: Where to draw; None makes a figure as wide as a column of a page.
        reference: The model that the others are held against; None: the last one.
        steps: Where each checkpoint but the reference stands on the axis; None: the last number in its name, such as
            ``1000``, ``1,000``, ``1e3`` or ``1k``; its place in the order where a name has none or two have the same.

    Returns:
        The axes, which hold a line for each layer in execution order, from dark to bright.

    Raises:
        InputError: There is no such model, there are no checkpoints beside it, or ``steps`` are not one for each.
    """
    columns = list(dict.fromkeys(comparison.column_models))
    wanted = columns[-1] if reference is None else reference
    if wanted not in columns:
        known = ", ".join(map(repr, columns))
        raise InputError(f"training: reference must be a model of the columns, {known}, got {wanted!r}.")
    checkpoints = [model for model in dict.fromkeys(comparison.row_models) if model != wanted]
    if not checkpoints:
        raise InputError(
            f"training: comparison must hold checkpoints beside the reference {wanted!r}, got none. "
            'Compare them all at once: repscope.compare({"step 0": ..., "step 100": ...}, data=...).'
        )
    x = _steps(checkpoints) if steps is None else np.asarray(steps, dtype=np.float64)
    if x.shape != (len(checkpoints),):
        raise InputError(
            f"training: steps must be one number for each of the {len(checkpoints)} checkpoints, got {x.shape}."
        )
    found = same_layers(comparison, [(checkpoint, wanted) for checkpoint in checkpoints], "training")
    ax = new_axes() if ax is None else ax
    draw_by_depth(ax, {layer: (x, found.values[:, i]) for i, layer in enumerate(found.layers)}, marker="o")
    ax.set(xlabel="training step", ylabel=f"{comparison.label}\nwith {literal(wanted)}")
    _finish(ax, comparison, [found])
    return ax


def sample_size(comparisons: Sequence[Comparison], ax: Axes | None = None) -> Axes:
    """Draw the score of each layer with the same layer of the other model, over the number of examples.

    A score that still falls or rises at the right end is not the score of the networks but of the sample: take more
    examples, or the unbiased estimator. Where the null is known, chance is a dashed line: the mean over the layers.

    Args:
        comparisons: The same comparison on different numbers of examples, in any order.
        ax: Where to draw; None makes a figure as wide as a column of a page.

    Returns:
        The axes, which hold a line for each layer in execution order, from dark to bright, then chance.

    Raises:
        InputError: There are none, they differ in measure or layers, or one does not know its number of examples.
    """
    given = list(comparisons)
    if not given or any(one.n is None for one in given):
        raise InputError(
            f"sample_size: comparisons must be one or more that know their number of examples n, got {len(given)}."
        )
    first = given[0]
    kinds = {(one.label, one.row_layers, one.column_layers, one.row_models, one.column_models) for one in given}
    if len(kinds) > 1:
        raise InputError("sample_size: comparisons must differ in the number of examples only, got other layers too.")
    ordered = sorted(given, key=lambda one: one.n or 0)
    n = np.array([one.n for one in ordered], dtype=np.float64)
    found = [same_layers(one, model_pairs(one), "sample_size") for one in ordered]
    ax = new_axes() if ax is None else ax
    heights = np.array([one.values.mean(axis=0) for one in found])  # (comparisons, layers)
    draw_by_depth(ax, {layer: (n, heights[:, i]) for i, layer in enumerate(found[0].layers)}, marker="o")
    if all("null_mean" in one.statistics for one in found):
        level = np.array([mean_of_defined(one.statistics["null_mean"].ravel()) for one in found])
        if np.isfinite(level).any():
            ax.plot(n, level, "--", color=CHANCE_COLOR, linewidth=1.0, label="chance")
            ax.legend(fontsize="x-small", frameon=False)
    ax.set(xscale="log", xlabel="examples", ylabel=first.label)
    ax.set_xticks(n, [f"{count:,.0f}" for count in n])
    ax.minorticks_off()
    _finish(ax, first, found)
    return ax


def _steps(names: Sequence[str]) -> Any:
    found = [_NUMBER.findall(name) for name in names]
    if all(found):
        steps = [float(digits.replace(",", "")) * _TIMES[suffix] for digits, suffix in (each[-1] for each in found)]
        if len(set(steps)) == len(steps):
            return np.array(steps)
    return np.arange(len(names), dtype=np.float64)


def _finish(ax: Axes, comparison: Comparison, found: Sequence[SameLayer]) -> None:
    quiet(ax)
    if comparison.kind == "similarity" and np.isfinite(comparison.range[1]):
        ax.set_ylim(lowest(*(one.values for one in found)) - 0.02, comparison.range[1] + 0.02)
