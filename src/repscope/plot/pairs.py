"""The pairs of models in a comparison, and the layers that two of them share."""

from __future__ import annotations

from dataclasses import dataclass

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


def same_layers(comparison: Comparison, pairs: list[tuple[str, str]], function: str) -> SameLayer:
    """The scores of layers that bear one name or, where no names agree, stand at one place.

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
    arrays = {
        name: np.array([b.arrays[name][rows, columns] for b, (rows, columns) in zip(blocks, places, strict=True)])
        for name in comparison.arrays
    }
    return SameLayer(tuple(layers), tuple(pairs), arrays.pop("values"), arrays)
