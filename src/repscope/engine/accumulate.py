"""Sums that merge: HSIC of all pairs of layers from tiles of their Gram matrices, or from their moments.

Three accumulators take the same kind of stream and differ in what they see of it:

- :class:`BatchSums`: pairs of examples within a batch, the minibatch estimate of Nguyen, Raghu & Kornblith (2021);
- ``TileSums`` (in ``measures``, for two matrices too): all pairs of examples, one tile of the n × n Gram matrix at a
  time, exact;
- :class:`MomentSums`: the same exact value from products of features, for layers narrow enough.

The last two end in ``PairSums``, from which the biased and the unbiased estimator both follow. All sums are float64,
and any split of the work over batches, processes or machines adds up to the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from repscope.engine.products import times_transposed, to_numpy
from repscope.measures._arrays import Array
from repscope.measures._sums import CenteredSums, PairSums, hsic_normalizer
from repscope.measures._sums import Matrix as Matrix
from repscope.measures.kernels import Estimator


class BatchSums:
    """Mean over batches of the HSIC of each batch, for all pairs of layers.

    Numerators and denominators of CKA are averaged apart and divided last; with the unbiased estimator each batch's
    HSIC has the population value as its expectation, whatever the size of the batch.
    """

    def __init__(self, layers: int) -> None:
        self.sum = np.zeros((layers, layers))
        self.batches = 0
        self.examples = 0
        self.centered: list[CenteredSums] = []

    def update(self, centered_products: Matrix, diagonals: Matrix, estimator: Estimator) -> None:
        """Add one batch.

        Args:
            centered_products: ⟨K̃, L̃⟩ of its centred Gram matrices for each pair (L, L).
            diagonals: Their diagonals (L, b).
            estimator: By which they are centred.
        """
        b = diagonals.shape[1]
        self.sum += centered_products / hsic_normalizer(b, estimator)
        self.batches += 1
        self.examples += b
        squares = np.sum(diagonals**2, axis=1)
        self.centered.append(CenteredSums(b, np.sum(diagonals, axis=1), squares, np.diag(centered_products)))

    def merge(self, other: Self) -> None:
        """Add the batches that another process has seen."""
        self.sum += other.sum
        self.batches += other.batches
        self.examples += other.examples
        self.centered += other.centered

    def hsic(self) -> Matrix:
        """Mean HSIC of each pair (L, L)."""
        return self.sum / self.batches

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The sums as plain arrays, to be saved or sent."""
        return {
            "sum": self.sum,
            "counts": np.array([self.batches, self.examples]),
            "sizes": np.array([c.n for c in self.centered], dtype=np.int64),
            "centered": np.array([[c.traces, c.squared_diagonals, c.squared_norms] for c in self.centered]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> Self:
        """The inverse of :meth:`arrays`; both share their memory."""
        sums = cls(arrays["sum"].shape[0])
        sums.sum = arrays["sum"]
        sums.batches, sums.examples = (int(v) for v in arrays["counts"])
        sums.centered = [CenteredSums(int(n), *c) for n, c in zip(arrays["sizes"], arrays["centered"], strict=True)]
        return sums


STRIPE_ROWS = 512
"""Features of layers that are multiplied with those before them at a time, at least: enough for the matrix product."""


def stripes_of(widths: Sequence[int]) -> list[slice]:
    """Runs of whole layers of at least ``STRIPE_ROWS`` features; the last may be narrower."""
    stripes, start, stop = [], 0, 0
    for width in widths:
        stop += width
        if stop - start >= STRIPE_ROWS:
            stripes.append(slice(start, stop))
            start = stop
    return [*stripes, slice(start, stop)] if stop > start else stripes


def moment_entries(widths: Sequence[int]) -> tuple[int, int]:
    """Numbers that the moments of layers of these widths take, and those of their largest stripe."""
    sizes = [_stripe_size(rows) for rows in stripes_of(widths)]
    return sum(sizes), max(sizes)


def _stripe_size(rows: slice) -> int:
    return int((rows.stop - rows.start) * rows.stop)


class MomentSums:
    """Moments of the features of L layers, side by side in one matrix Z (n, P) with P = Σ p.

    The linear Gram matrices' sums follow from ZᵀZ, Σz, and the products of the squared lengths a (n, L) with Z and with
    each other, so one pass gives the exact value with memory P²/2 whatever n is. The features may be shifted by any
    vector that stays the same throughout.

    Of the symmetric ZᵀZ the half below the diagonal is kept, in stripes of whole layers: the rows of a stripe, and the
    columns up to its last one.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        self.widths = tuple(widths)
        total, layers = sum(widths), len(self.widths)
        self.n = 0
        self.stripes = stripes_of(self.widths)
        self.moments = np.zeros(sum(map(_stripe_size, self.stripes)))  # stripe by stripe, each by rows
        self.sums = np.zeros(total)
        self.square_moments = np.zeros((layers, total))
        self.square_products = np.zeros((layers, layers))
        self.square_sums = np.zeros(layers)

    def update(self, features: Array, squares: Array) -> None:
        """Add one batch.

        Args:
            features: Z (b, P), shifted, in double precision.
            squares: Squared lengths of each example in each layer (b, L).
        """
        self.n += features.shape[0]
        for rows, stripe in zip(self.stripes, self._stripes(), strict=True):
            left = features[:, rows].T
            right = left if rows.start == 0 else features[:, : rows.stop].T
            stripe += to_numpy(times_transposed(left, right))
        features, squares = to_numpy(features), to_numpy(squares)
        self.sums += features.sum(axis=0)
        self.square_moments += squares.T @ features
        self.square_products += squares.T @ squares
        self.square_sums += squares.sum(axis=0)

    def merge(self, other: Self) -> None:
        """Add the examples that another process has seen."""
        self.n += other.n
        for name in ("moments", "sums", "square_moments", "square_products", "square_sums"):
            getattr(self, name).__iadd__(getattr(other, name))

    def finish(self) -> PairSums:
        """The sums of all pairs of layers, after moving the origin to the mean."""
        n, mean = self.n, self.sums / self.n
        blocks = self._blocks()
        layers = len(blocks)
        products = np.empty((layers, layers))
        for i, rows in enumerate(blocks):
            for j, columns in enumerate(blocks[: i + 1]):
                moments = self._moments(rows, columns) - np.outer(self.sums[rows], mean[columns])
                products[i, j] = products[j, i] = np.vdot(moments, moments)
        diagonals, traces = self._squares_around(mean, blocks)
        return PairSums.around_the_mean(n, products, diagonals, traces)

    def _squares_around(self, mean: Matrix, blocks: list[slice]) -> tuple[Matrix, Matrix]:
        """Σ_i d_i d'_i (L, L) and Σ_i d_i (L,) with d_i = |z_i − mean|² = a_i − 2 z_i·mean + |mean|²."""
        layers = len(blocks)
        moment, squared = np.empty((layers, layers)), np.empty((layers, layers))
        length = np.array([mean[b] @ mean[b] for b in blocks])
        for j, columns in enumerate(blocks):
            squared[:, j] = self.square_moments[:, columns] @ mean[columns]  # Σ a_i (z'_i·mean')
            for i, rows in enumerate(blocks[j:], start=j):
                moment[i, j] = moment[j, i] = mean[rows] @ self._moments(rows, columns) @ mean[columns]
        sums = self.square_sums
        # Expanded product of the two quadratics, with Σ z_i·mean = n |mean|².
        diagonals = (
            self.square_products
            - 2 * (squared + squared.T)
            + 4 * moment
            + np.outer(sums, length)
            + np.outer(length, sums)
            - 3 * self.n * np.outer(length, length)
        )
        return diagonals, sums - self.n * length

    def whole(self) -> Matrix:
        """ZᵀZ (P, P) with both of its halves."""
        found = np.zeros((len(self.sums), len(self.sums)))
        for rows, stripe in zip(self.stripes, self._stripes(), strict=True):
            found[rows, : rows.stop] = stripe
            found[: rows.start, rows] = stripe[:, : rows.start].T
        return found

    def _stripes(self) -> list[Matrix]:
        """The stripes as matrices, which share the memory of the moments."""
        ends = np.cumsum([_stripe_size(rows) for rows in self.stripes])
        return [
            self.moments[int(end) - _stripe_size(rows) : int(end)].reshape(rows.stop - rows.start, rows.stop)
            for rows, end in zip(self.stripes, ends, strict=True)
        ]

    def _moments(self, rows: slice, columns: slice) -> Matrix:
        """The block of ZᵀZ for two layers, the first not before the second."""
        for stripe, values in zip(self.stripes, self._stripes(), strict=True):
            if rows.start < stripe.stop:
                return values[rows.start - stripe.start : rows.stop - stripe.start, columns]
        raise IndexError(rows)

    def _blocks(self) -> list[slice]:
        ends = np.cumsum(self.widths)
        return [slice(int(end - width), int(end)) for end, width in zip(ends, self.widths, strict=True)]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The sums as plain arrays, to be saved or sent."""
        names = ("moments", "sums", "square_moments", "square_products", "square_sums")
        return {"widths": np.array(self.widths), "n": np.array(self.n), **{k: getattr(self, k) for k in names}}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> Self:
        """The inverse of :meth:`arrays`; both share their memory."""
        sums = cls([])  # large arrays are not made to be thrown away
        sums.widths = tuple(int(w) for w in arrays["widths"])
        sums.stripes = stripes_of(sums.widths)
        sums.n = int(arrays["n"])
        for name in ("moments", "sums", "square_moments", "square_products", "square_sums"):
            setattr(sums, name, arrays[name])
        return sums
