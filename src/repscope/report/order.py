"""In which order layers stand on an axis, and which of them belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

_SEPARATORS = re.compile(r"[./]")


def by_similarity(values: npt.NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Rows and columns in an order that puts alike ones next to each other.

    The order is that of the first pair of singular vectors of the doubly centred scores (the first axis of an
    analysis of interactions): rows with a similar profile over the columns have similar coordinates, and the same
    axis orders the columns. Its direction is the one that agrees with the order given.

    Args:
        values: Scores, shape (rows, columns); what is not finite counts as the mean.

    Returns:
        Indices of the rows and of the columns, first to last.
    """
    finite = np.isfinite(values)
    filled = np.where(finite, values, values[finite].mean() if finite.any() else 0.0)
    centred = filled - filled.mean(axis=0) - filled.mean(axis=1, keepdims=True) + filled.mean()
    left, _, right = np.linalg.svd(centred, full_matrices=False)
    rows, columns = left[:, 0], right[0]
    if _slope(rows) + _slope(columns) < 0:
        rows, columns = -rows, -columns
    return _ranked(rows), _ranked(columns)


def _ranked(coordinates: npt.NDArray[np.float64]) -> list[int]:
    """Indices by coordinate; those that agree to nine digits, where rounding decides, in the order given."""
    return [int(i) for i in np.argsort(np.round(coordinates, 9), kind="stable")]


def _slope(coordinates: npt.NDArray[np.float64]) -> float:
    """How far coordinates rise from the first to the last, for the choice of a direction."""
    places = np.arange(coordinates.size) - (coordinates.size - 1) / 2
    return float(places @ coordinates)


def blocks(names: Sequence[str]) -> list[tuple[str, int]]:
    """Runs of layers that belong to one block of the network, by their dotted names.

    ``layer1.0.conv1`` and ``layer1.1.conv2`` are of the block ``layer1``; of ``encoder.layer.3.output``, whose first
    parts all layers have in common, it is ``encoder.layer.3``.

    Args:
        names: Layer names in execution order.

    Returns:
        Name of each block and the index of its first layer; empty where names show no blocks of several layers.
    """
    parts = [_SEPARATORS.split(name) for name in names]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        heads = [own[:depth] for own in parts]
        runs = [(".".join(head), len(list(run))) for head, run in groupby(heads)]
        if len(runs) == 1:
            continue
        if 2 * len(runs) > len(names) + 2:
            return []
        starts = np.cumsum([0, *(size for _, size in runs)]).tolist()
        return [(name, start) for (name, _), start in zip(runs, starts, strict=False)]
    return []
