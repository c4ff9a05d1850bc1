"""The scores of a comparison with the examples of one side in other orders, from activations in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from repscope.errors import InputError
from repscope.inference.closed_form import pair_factors
from repscope.inference.moments import CONSTANT
from repscope.inference.permutation import bytes_needed, draw_orders, of_rows, permuted_products, permuted_scores
from repscope.measures.measure import ConfiguredMeasure
from repscope.opened import Opened
from repscope.prepared import PreparedLayers

_ROUNDING = 1e-12
"""Standard deviation over the width of a measure's range that rounding may bring forth by itself."""


def permuted_values(
    measure: ConfiguredMeasure,
    opened: Opened,
    axes: tuple[Sequence[int], Sequence[int]],
    prepared: PreparedLayers,
    permutations: int,
    seed: int,
) -> tuple[npt.NDArray[np.float64], bool]:
    """Scores of the examples as they are given, and of every order of those of the columns' layers.

    Args:
        measure: The measure.
        opened: The activations, in memory.
        axes: Indices of the layers on the rows and on the columns.
        prepared: Of the layers, or empty.
        permutations: How many orders are drawn.
        seed: For the drawing.

    Returns:
        The scores (1 + K, rows, columns), as given first, NaN where they are; and whether these are all orders.

    Raises:
        InputError: What the permutations need does not fit the memory.
    """
    rows, columns = axes
    n, needed = opened.source.n, bytes_needed(opened.source.n, len(rows), len(columns))
    if needed > opened.memory:
        raise InputError(
            f"permutation_test: the Gram matrices of {n} examples must fit the memory budget, got "
            f"{needed / 1e9:.1f} GB for {opened.memory / 1e9:.1f} GB. Use fewer examples or layers, or the "
            "p values of compare, which need no matrices."
        )
    states = prepared.of(measure, opened.source, sorted({*rows, *columns}))
    repeats = int(measure.options.get("repeats", 1))
    orders, complete = draw_orders(n // repeats, permutations, seed)
    factors = pair_factors(measure, states, rows, columns)
    orders = of_rows(np.concatenate([np.arange(n // repeats)[None], orders]), repeats)
    if factors is not None:
        found = permuted_products(factors, orders)
    else:
        found = permuted_scores(measure, states, opened.source.arrays, rows, columns, orders)
    # Scored as they are too, for the warnings; the numbers are those of the permutations, so that ties are exact.
    scored = prepared.scores(measure, opened.source, states, rows, columns)
    return np.where(np.isnan(scored), np.nan, _without_rounding(found, measure.facts.range)), complete


def _without_rounding(scores: npt.NDArray[np.float64], ends: tuple[float, float]) -> npt.NDArray[np.float64]:
    """The scores (1 + K, …) of every order, equal where no order moves them, as those of layers wider than n."""
    width = ends[1] - ends[0]
    room = CONSTANT * np.abs(scores.mean(axis=0))
    if math.isfinite(width):
        room = np.maximum(room, _ROUNDING * width)
    return np.where(scores.std(axis=0) <= room, scores[:1], scores)
