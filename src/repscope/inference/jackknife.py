"""The jackknife: how far HSIC and CKA of all pairs of layers move when examples are left out.

Without the examples of a block g, every sum over pairs of examples loses what g has to do with: with K̃ the Gram matrix
without its diagonal d, its row sums r̃, and ρ_i = Σ_{k∈g} K̃_ik,

    Σ_ij K̃_ij L̃_ij   loses  2 Σ_{k∈g} Σ_j K̃_kj L̃_kj − Σ_{i,j∈g} K̃_ij L̃_ij
    r̃_i             becomes  r̃_i − ρ_i, for the i that are left

so that the values without each block, exact up to rounding, follow from one run over the Gram matrices, O(n²) for a
pair, or over the features of a linear kernel. Nothing is fitted again: the bandwidth of a radial kernel stays.

A bootstrap of the examples is no way to such an interval. It draws examples twice; the similarity of a copy with itself
then stands off the diagonal, which an unbiased estimator leaves out, and the bias is back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

import numpy as np

from repscope.engine.accumulate import Matrix
from repscope.errors import InputError
from repscope.inference.gram_forms import COLUMNS, GramForm, Outside, Run, gram
from repscope.measures._messages import is_whole
from repscope.measures._sums import PairSums
from repscope.measures.kernels import Estimator

FEWEST_REPLICATES = 8
"""Fewer replicates say too little about a variance."""

Intervals: TypeAlias = Literal["auto"] | bool | int
"""Whether standard errors are wanted, or the number of consecutive examples that are left out together."""

_STRIPE_BYTES = 1 << 25


def check_intervals(function: str, intervals: Any) -> Intervals:
    """Return ``intervals``, or say what is wrong with it.

    Raises:
        InputError: For anything but ``"auto"``, True, False and a positive whole number.
    """
    if isinstance(intervals, bool) or intervals == "auto":
        return intervals  # type: ignore[no-any-return]
    if intervals == "bootstrap":
        raise InputError(
            f"{function}: intervals must not come from a bootstrap of the examples, got 'bootstrap'. It draws examples "
            "twice, and the similarity of a copy with itself is counted as one of two examples: unrelated data with a "
            "true CKA of 0 get an interval far above it. Use intervals=True, the jackknife."
        )
    if is_whole(intervals) and intervals > 0:
        return int(intervals)
    raise InputError(
        f"{function}: intervals must be 'auto', True, False, or how many consecutive examples to leave out together, "
        f"got {intervals!r}."
    )


def no_intervals(n: int, size: int | None, *, whole: bool = True) -> str | None:
    """Why there are no standard errors of n examples left out ``size`` at a time; None where there are."""
    if not whole:
        return "the jackknife needs all examples in one process"
    if size is None:
        return "several examples come from one item, so none is independent; give intervals= their number"
    if n < FEWEST_REPLICATES * size:
        return f"a variance needs {FEWEST_REPLICATES} {'examples' if size == 1 else 'blocks'}, got {n // size}"
    return None


def standard_errors(
    form: GramForm,
    estimator: Estimator,
    *,
    normalised: bool,
    size: int = 1,
    keep: Callable[[Matrix], object] | None = None,
) -> tuple[Matrix, int]:
    """Jackknife standard errors (L, L) of CKA or HSIC (without units), and the number of replicates.

    Arguments as for :func:`values_without`; ``keep`` is given the replicates (B, L, L) as they come.
    """
    spread = Spread(_values(form.total, estimator, normalised=normalised))
    for replicates in values_without(form, estimator, normalised=normalised, size=size):
        spread.add(replicates)
        if keep is not None:
            keep(replicates)
    return spread.standard_errors(), spread.count


def _sums_without(form: GramForm, run: Run, outside: Outside) -> PairSums:
    """Sums over all examples but those of a block, for each of a run of blocks (leading axis B)."""
    total, examples, size = form.total, run.examples, run.size
    r, d = (x[:, examples].reshape(len(x), -1, size).transpose(1, 0, 2) for x in (form.rows, form.diagonal))
    own = outside.within.sum(axis=2)  # ρ_i (B, L, b) of i in the block

    def over_block(x: Matrix, y: Matrix) -> Matrix:
        return x @ y.swapaxes(1, 2)

    by_rows = outside.by_rows - over_block(own, r)
    rows = by_rows + by_rows.swapaxes(1, 2) + over_block(r, r) - (outside.sums - over_block(own, own))
    inside = gram(outside.within.reshape(*outside.within.shape[:2], -1))
    return PairSums(
        n=total.n - size,
        products=total.products - 2 * outside.both + inside,
        row_products=total.row_products - rows,
        row_diagonals=total.row_diagonals - over_block(r, d) - (outside.by_diagonals - over_block(own, d)),
        diagonals=total.diagonals - over_block(d, d),
        totals=total.totals - 2 * r.sum(axis=2) + own.sum(axis=2),
        traces=total.traces - d.sum(axis=2),
        magnitudes=total.magnitudes,
    )


def blocks_of(n: int, size: int) -> list[tuple[int, int]]:
    """Cut n examples into blocks of ``size``, or one more where they do not divide: (blocks, examples in each)."""
    count = n // size
    longer = n - count * size
    if longer > count:
        size, longer = size + longer // count, longer % count
    return [(c, s) for c, s in ((longer, size + 1), (count - longer, size)) if c]


def values_without(form: GramForm, estimator: Estimator, *, normalised: bool, size: int = 1) -> Iterator[Matrix]:
    """CKA (``normalised``) or HSIC (without units) of all pairs without each block: arrays (B, L, L), in order.

    NaN where CKA divides by a layer that does not vary without a block.

    Args:
        form: The layers.
        estimator: Of HSIC.
        normalised: Whether CKA, not HSIC, is meant.
        size: Examples in a block.
    """
    runs = _runs(form.total.n, size, len(form.rows))
    for run, outside in zip(runs, form.outside(runs), strict=True):
        yield _values(_sums_without(form, run, outside), estimator, normalised=normalised)


def _runs(n: int, size: int, layers: int) -> list[Run]:
    """Cut n examples into blocks, and these into runs whose entries with some examples take little memory."""
    together = max(1, min(256, _STRIPE_BYTES // (8 * layers * max(layers, COLUMNS))) // size)
    runs, start = [], 0
    for blocks, examples in blocks_of(n, size):
        end, step = start + blocks * examples, together * examples
        runs += [Run(slice(first, min(first + step, end)), examples) for first in range(start, end, step)]
        start = end
    return runs


def _values(sums: PairSums, estimator: Estimator, *, normalised: bool) -> Matrix:
    if not normalised:
        return sums.hsic(estimator)
    products = sums.centered_products(estimator)
    own = np.diagonal(products, axis1=-2, axis2=-1)
    roots = np.sqrt(np.where(own > 0, own, math.nan))
    found: Matrix = products / (roots[..., :, None] * roots[..., None, :])
    return found


class Spread:
    """Jackknife standard errors from replicates that come one run after another.

    Args:
        centre: The values (…) of all examples, near which the replicates lie.
    """

    def __init__(self, centre: Matrix) -> None:
        self.centre, self.count = centre, 0
        self.sum, self.squares = np.zeros_like(centre), np.zeros_like(centre)

    def add(self, replicates: Matrix) -> None:
        """Add values (B, …) without one block each."""
        apart = replicates - self.centre
        self.count += len(apart)
        self.sum += apart.sum(axis=0)
        self.squares += (apart**2).sum(axis=0)

    def standard_errors(self) -> Matrix:
        """√((G − 1)/G Σ_g (θ_g − θ̄)²) (…)."""
        g = self.count
        found: Matrix = np.sqrt((g - 1) / g * np.maximum(self.squares - self.sum**2 / g, 0.0))
        return found
