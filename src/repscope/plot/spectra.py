"""How the variance of each layer is spread over its principal components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.plot._figure import new_axes, quiet
from repscope.plot.depth import draw_by_depth
from repscope.plot.labels import literal

_DRAWN_POINTS = 60
"""Points of a line: on logarithmic axes more of them only make the file larger."""


def spectra(comparison: Comparison, ax: Axes | None = None, *, model: str | None = None) -> Axes:
    """Draw the share of the variance that each principal component holds, a line a layer, on logarithmic axes.

    A line that falls steeply is a layer whose representation a few directions dominate; CKA sees little else of it.

    Args:
        comparison: One that keeps spectra among its ``diagnostics``.
        ax: Where to draw; None makes a figure as wide as a column of a page.
        model: Whose layers; None: the first model of the rows.

    Returns:
        The axes, which hold a line for each layer that has a spectrum, in execution order, from dark to bright.

    Raises:
        InputError: There is no such model, or none of its layers has a spectrum.
    """
    wanted = comparison.row_models[0] if model is None else model
    if wanted not in comparison.models:
        known = ", ".join(map(repr, comparison.models))
        raise InputError(f"spectra: model must be one of the comparison's, {known}, got {wanted!r}.")
    found = _spectra_of(comparison, wanted)
    if not found:
        raise InputError(
            f"spectra: comparison must keep the spectra of {wanted!r} among its diagnostics, got none. "
            "Compare models or stored arrays with repscope.compare, which adds them."
        )
    ax = new_axes() if ax is None else ax
    lines = {}
    for layer, shares in found.items():
        index = np.unique(np.geomspace(1, len(shares), _DRAWN_POINTS).round().astype(int))
        lines[layer] = (index, shares[index - 1])
    ax.set(xscale="log", yscale="log", xlabel="principal component", ylabel="share of the variance")
    ax.set_title(literal(wanted), fontsize="medium")
    draw_by_depth(ax, lines)
    quiet(ax)
    return ax


def _spectra_of(comparison: Comparison, model: str) -> dict[str, np.ndarray]:
    """Positive shares of each layer's components, in execution order."""
    facts: Mapping[str, Mapping[str, Any]] = comparison.diagnostics.get(model, {})
    layers = dict.fromkeys(
        layer
        for layers, models in (
            (comparison.row_layers, comparison.row_models),
            (comparison.column_layers, comparison.column_models),
        )
        for layer, owner in zip(layers, models, strict=True)
        if owner == model
    )
    spectra = {layer: np.asarray(facts.get(layer, {}).get("spectrum", ()), dtype=np.float64) for layer in layers}
    positive = {layer: shares[shares > 0] for layer, shares in spectra.items()}
    return {layer: shares for layer, shares in positive.items() if shares.size}
