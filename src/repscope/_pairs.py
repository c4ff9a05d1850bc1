"""The pairs of models in a comparison, and the layers that two of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repscope.comparison import Comparison
from repscope.errors import InputError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SameLayer:
    """Each layer of one model against the same layer of another, for all pairs of models.

    Attributes:
        layers: Their names, in execution order.
        models: Row and column model of each pair.
        values: Scores (pairs, layers).
        statistics: What else is known of the scores, by name, each (pairs, layers).
    """

    layers: tuple[str, ...]
    models: tuple[tuple[str, str], ...]
    values: Floats
    statistics: dict[str, Floats]


def mean_of_defined(values: Floats) -> Any:
    """The mean over the first axis of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(values)
    counts = defined.sum(axis=0)
    return np.where(defined, values, 0.0).sum(axis=0) / np.where(counts == 0, np.nan, counts)


def check_one_pair(function: str, comparison: Comparison) -> None:
    """Refuse a comparison with several models on an axis, where a layer's name alone does not tell which is meant.

    Raises:
        InputError: An axis holds several models.
    """
    for axis, models in (("rows", comparison.row_models), ("columns", comparison.column_models)):
        if len(set(models)) > 1:
            raise InputError(
                f"{function}: comparison must have one model on its {axis}, got {len(set(models))}. "
                "Take one block with Comparison.between(row_model, column_model)."
            )


def model_pairs(comparison: Comparison) -> list[tuple[str, str]]:
    """Row and column model of each block: of two that hold the same scores the first, of a model with itself none.

    Where there is but one model on both axes, the block of this model with itself.
    """
    rows, columns = (tuple(dict.fromkeys(names)) for names in (comparison.row_models, comparison.column_models))
    pairs: list[tuple[str, str]] = []
    for row in rows:
        for column in columns:
            mirrored = comparison.symmetric and (column, row) in pairs
            if row != column and not mirrored:
                pairs.append((row, column))
    return pairs or [(rows[0], columns[0])]


def same_layers(
    comparison: Comparison, pairs: list[tuple[str, str]], function: str, *, level: float | None = None
) -> SameLayer:
    """The scores of layers that bear one name or, where no names agree, stand at one place.

    Args:
        comparison: The scores.
        pairs: Row and column model of each block.
        function: The caller's name, for the message.
        level: Of the interval, whose ends become the statistics ``"low"`` and ``"high"`` where there are standard
            errors; None: no interval.

    Raises:
        InputError: The models have neither a layer name nor the number of layers in common.
    """
    blocks = [comparison.between(*pair) for pair in pairs]
    names = [set(block.row_layers) & set(block.column_layers) for block in blocks]
    layers = [name for name in blocks[0].row_layers if all(name in shared for shared in names)]
    if layers:
        places = [([b.row_layers.index(n) for n in layers], [b.column_layers.index(n) for n in layers]) for b in blocks]
    else:
        counts = sorted({count for block in blocks for count in block.values.shape})
        if len(counts) > 1:
            raise InputError(
                f"{function}: comparison must hold models whose layers agree in name or in number, got "
                f"{' and '.join(map(str, counts))} layers of other names. Draw match_path or correspondence instead."
            )
        layers = list(blocks[0].row_layers)
        places = [(list(range(len(layers))),) * 2 for _ in blocks]
    known = [b.arrays for b in blocks]
    if level is not None and comparison.standard_errors is not None:
        ends = [b.interval(level) for b in blocks]
        known = [{**arrays, "low": low, "high": high} for arrays, (low, high) in zip(known, ends, strict=True)]
    arrays = {
        name: np.array([one[name][rows, columns] for one, (rows, columns) in zip(known, places, strict=True)])
        for name in known[0]
    }
    return SameLayer(tuple(layers), tuple(pairs), arrays.pop("values"), arrays)
