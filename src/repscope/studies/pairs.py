"""Averages over pairs of networks, with the jackknife over networks."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from repscope.comparison import Comparison
from repscope.errors import InputError


@dataclass(frozen=True)
class PairMean:
    """A mean layer × layer matrix.

    Attributes:
        comparison: The mean, one group of networks on the rows, the other on the columns.
        errors: Jackknife standard error of each entry over networks, shape of the matrix; NaN with too few of them.
        pairs: Number of pairs of networks in the mean.
    """

    comparison: Comparison
    errors: NDArray[np.float64]
    pairs: int

    @property
    def values(self) -> NDArray[np.float64]:
        """The mean matrix (layers of the row group, layers of the column group)."""
        return self.comparison.values

    @property
    def same_layer(self) -> NDArray[np.float64]:
        """Similarity of layers at the same place."""
        return np.diagonal(self.values)

    @property
    def same_layer_errors(self) -> NDArray[np.float64]:
        """Standard errors of :attr:`same_layer`."""
        return np.diagonal(self.errors)


def mean_over_pairs(
    comparison: Comparison,
    rows: Sequence[str],
    columns: Sequence[str] | None = None,
    *,
    names: tuple[str, str] = ("network a", "network b"),
    pairs: Callable[[str, str], object] = operator.ne,
) -> PairMean:
    """Average the blocks of a comparison over pairs of networks.

    The jackknife leaves out one network at a time with all of its pairs; for two different groups the variances that
    come from each of them add up: Σ_groups (m − 1)/m · Σₖ (θₖ − θ̄)².

    Args:
        comparison: All networks with all.
        rows: Networks on the rows, which have the same layers.
        columns: Networks on the columns; None: those on the rows.
        names: What the two sides of the mean are called.
        pairs: Which pairs of names belong to the mean; ``operator.eq`` takes each network with itself.

    Returns:
        The mean over these ordered pairs.

    Raises:
        InputError: There is no such pair.
    """
    columns = rows if columns is None else columns
    # Own blocks are not part of a mean over pairs of different networks, and may hold NaN.
    blocks = np.stack([[comparison.between(a, b).values for b in columns] for a in rows])  # (a, b, L, M)
    chosen = np.array([[bool(pairs(a, b)) for b in columns] for a in rows])
    if not chosen.any():
        raise InputError(
            f"mean_over_pairs: rows and columns must hold a pair to be averaged, got {list(rows)} and {list(columns)}. "
            "Train more networks."
        )
    groups = [set(rows)] if set(rows) == set(columns) else [set(rows), set(columns)]
    variance = np.zeros(blocks.shape[2:])
    for group in groups:
        partial = []
        for left_out in sorted(group):
            kept = chosen & np.array([[left_out not in (a, b) for b in columns] for a in rows])
            partial.append(blocks[kept].mean(axis=0) if kept.any() else np.full(blocks.shape[2:], math.nan))
        found = np.array(partial)
        m = len(found)
        variance += (m - 1) / m * np.sum((found - found.mean(axis=0)) ** 2, axis=0) if m > 1 else math.nan
    block = comparison.between(rows[0], columns[0])
    mean = replace(
        block,
        values=blocks[chosen].mean(axis=0),
        row_models=(names[0],) * len(block.row_layers),
        column_models=(names[1],) * len(block.column_layers),
        details={**block.details, "averaged over": f"{int(chosen.sum())} pairs of networks"},
    )
    return PairMean(mean, np.sqrt(variance), int(chosen.sum()))


def rank_correlation(x: Sequence[float] | NDArray[np.float64], y: Sequence[float] | NDArray[np.float64]) -> float:
    """Spearman's rank correlation; NaN where one side is constant.

    Args:
        x: Numbers, shape (n,).
        y: Numbers, shape (n,).
    """
    ranks = [_ranks(np.asarray(side, dtype=np.float64)) for side in (x, y)]
    centred = [side - side.mean() for side in ranks]
    norm = math.sqrt(float(centred[0] @ centred[0]) * float(centred[1] @ centred[1]))
    return float(centred[0] @ centred[1]) / norm if norm > 0 else math.nan


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0, equal values with the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts + 1) / 2)[place]
    return ranks
