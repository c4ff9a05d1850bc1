"""Gram matrices too large to be held: entries between two sets of examples, and what HSIC needs of all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import array_api_compat
import numpy as np

from repscope.measures._arrays import (
    Array,
    Namespace,
    center_and_scale,
    differentiable,
    number,
    squared_lengths,
    widest_float,
)
from repscope.measures._selection import select
from repscope.measures._sums import Matrix, PairSums, TileSums
from repscope.measures.kernels import (
    RBF,
    Cosine,
    Kernel,
    Laplace,
    Linear,
    Polynomial,
    middle_ranks,
    pairs_of,
    without_diagonal,
)

WHOLE_BYTES = 1 << 26
"""A Gram matrix of more bytes is never held; up to here tiles would only compute the distances twice."""

TILE_ROWS = 1024

_SAMPLE = 1024
"""Examples whose distances say where the median is to be sought, and whose entries are typical."""


@dataclass(frozen=True)
class TiledGram:
    """A Gram matrix whose entries are computed when they are asked for.

    HSIC does not change when one number is subtracted from all entries; the accuracy of sums does.

    Attributes:
        kernel: RBF, Laplace, polynomial or cosine.
        features: (n, p) as the kernel multiplies them.
        squares: Squared lengths (n,) of the features of a radial kernel, else None.
        variance: σ² of a radial kernel, in units of the squares; NaN where the median distance is 0.
        offset: A typical entry, subtracted from all.
        tile_rows: Rows and columns of a tile.
    """

    kernel: Kernel
    features: Array
    squares: Array | None
    variance: float = 1.0
    offset: float = 0.0
    tile_rows: int = TILE_ROWS

    @property
    def n(self) -> int:
        """Number of examples."""
        return int(self.features.shape[0])

    @property
    def undefined(self) -> bool:
        """Whether no bandwidth follows from the distances."""
        return math.isnan(self.variance)

    def block(self, rows: slice, columns: slice) -> Array:
        """Entries (|I|, |J|) less the offset."""
        left, right = self.features[rows, :], self.features[columns, :]
        products = left @ right.T
        if self.squares is None:
            entries = entries_of_products(self.kernel, products, self.features.shape[1])
        else:
            # A root magnifies what rounding leaves of zeros, and a median of zeros is a case of its own; an exponential
            # of them is 1 either way.
            share = 0.0 if isinstance(self.kernel, RBF) else resolution(self.features)
            entries = entries_of_distances(self.kernel, self._squared(products, rows, columns, share), self.variance)
        entries -= self.offset
        return entries

    def squared_distances(self) -> Iterator[Array]:
        """Squared distance of every pair of examples, each once."""
        for rows, columns in tiles(self.n, self.tile_rows):
            products = self.features[rows, :] @ self.features[columns, :].T
            squared = self._squared(products, rows, columns, resolution(self.features))
            yield pairs_of(array_api_compat.array_namespace(squared), squared) if rows == columns else squared

    def _squared(self, products: Array, rows: slice, columns: slice, share: float) -> Array:
        assert self.squares is not None
        xp = array_api_compat.array_namespace(products)
        squared = squared_distances_between(xp, products, self.squares[rows], self.squares[columns], share)
        return without_diagonal(xp, squared) if rows == columns else squared


def worth_tiling(kernel: Kernel, x: Array) -> bool:
    """Whether the Gram matrix of a checked representation (n, p) is too large to be held, and can be tiled."""
    xp = array_api_compat.array_namespace(x)
    dtype = x.dtype if isinstance(kernel, RBF) else widest_float(xp, x)
    size = x.shape[0] ** 2 * xp.finfo(dtype).bits // 8
    return tileable(kernel) and not kernel.homogeneous and size > WHOLE_BYTES and not differentiable(x)


def tile(kernel: Kernel, x: Array, *, tile_rows: int = TILE_ROWS) -> TiledGram:
    """Prepare one checked representation (n, p): features, exact bandwidth and a typical entry."""
    xp = array_api_compat.array_namespace(x)
    if isinstance(kernel, Cosine):
        return _offset(xp, TiledGram(kernel, kernel.normalized(x), None, tile_rows=tile_rows))
    if not isinstance(kernel, RBF):
        x = xp.astype(x, widest_float(xp, x), copy=False)
    if not isinstance(kernel, RBF | Laplace):
        return _offset(xp, TiledGram(kernel, x, None, tile_rows=tile_rows))
    features, scale = center_and_scale(xp, x)
    found = TiledGram(kernel, features, squared_lengths(features), tile_rows=tile_rows)
    variance = (kernel.sigma / scale) ** 2 if kernel.sigma is not None else _median_rule(xp, found, kernel)
    if variance == 0.0:
        kernel.warn_of_equal_examples()
        variance = math.nan
    return _offset(xp, replace(found, variance=variance))


def _median_rule(xp: Namespace, gram: TiledGram, kernel: RBF | Laplace) -> float:
    n = gram.n
    pool = xp.concat([xp.reshape(block, (-1,)) for block in _sample(gram).squared_distances()])
    values = select(xp, gram.squared_distances, middle_ranks(n, kernel.median), pool, n * (n - 1) // 2)
    return kernel.fraction**2 * sum(values) / 2


def _offset(xp: Namespace, gram: TiledGram) -> TiledGram:
    if gram.undefined:
        return gram
    sample = _sample(gram)
    everything = slice(0, sample.n)
    # Without the diagonal: where the kernel is narrow, its ones are far from all other entries.
    typical = number(xp.mean(pairs_of(xp, sample.block(everything, everything))))
    return replace(gram, offset=typical)


def _sample(gram: TiledGram) -> TiledGram:
    """The same of examples from all over."""
    step = -(-gram.n // _SAMPLE)
    squares = None if gram.squares is None else gram.squares[::step]
    return replace(gram, features=gram.features[::step, :], squares=squares)


def tiles(n: int, rows: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the tiles on and above the diagonal of an n × n matrix."""
    chunks = [slice(start, min(start + rows, n)) for start in range(0, n, rows)]
    for i, left in enumerate(chunks):
        for right in chunks[i:]:
            yield left, right


def pair_sums(grams: Sequence[TiledGram]) -> PairSums:
    """What HSIC of every pair of these needs, from one run over their tiles; float64 across tiles."""
    sums = TileSums(len(grams), grams[0].n)
    for rows, columns in tiles(grams[0].n, grams[0].tile_rows):
        blocks = [gram.block(rows, columns) for gram in grams]
        xp = array_api_compat.array_namespace(*blocks)
        if rows == columns:
            diagonals = np.array([_numbers(xp.linalg.diagonal(block)) for block in blocks])
            blocks = [without_diagonal(xp, block) for block in blocks]
            sums.update_diagonal(rows, _products(xp, blocks), _row_sums(xp, blocks), diagonals)
        else:
            transposed = [block.T for block in blocks]
            sums.update_block(rows, columns, _products(xp, blocks), _row_sums(xp, blocks), _row_sums(xp, transposed))
    return sums.finish()


def _products(xp: Namespace, blocks: Sequence[Array]) -> Matrix:
    """Σ_ij K_ij L_ij of each pair of tiles (L, L); a row of a tile is short enough for its own type."""
    found = np.empty((len(blocks), len(blocks)))
    for i, k in enumerate(blocks):
        for j, l in enumerate(blocks[: i + 1]):  # noqa: E741
            found[i, j] = found[j, i] = _numbers(xp.vecdot(k, xp.astype(l, k.dtype, copy=False))).sum()
    return found


def _row_sums(xp: Namespace, blocks: Sequence[Array]) -> Matrix:
    """Row sums of the tiles (L, m), as products: they use every thread."""
    device = array_api_compat.device(blocks[0])
    return np.array([_numbers(k @ xp.ones(k.shape[1], dtype=k.dtype, device=device)) for k in blocks])


def _numbers(x: Array) -> Matrix:
    return np.asarray(x.cpu() if array_api_compat.is_torch_array(x) else x, dtype=np.float64)


def tileable(kernel: Kernel) -> bool:
    """Whether entries of the Gram matrix can be computed between two sets of examples apart."""
    return isinstance(kernel, Linear | RBF | Laplace | Polynomial | Cosine)


def entries_of_products(kernel: Kernel, products: Array, width: int) -> Array:
    """Entries of K between two sets of examples, from their products; linear, cosine and polynomial kernel."""
    return kernel.entries(products, width) if isinstance(kernel, Polynomial) else products


def entries_of_distances(kernel: Kernel, squared: Array, variance: float) -> Array:
    """Entries of a radial K between two sets of examples, from their squared distances, which are used up."""
    assert isinstance(kernel, RBF | Laplace)
    return kernel.entries(array_api_compat.array_namespace(squared), squared, variance)


def squared_distances_between(
    xp: Namespace, products: Array, left_squares: Array, right_squares: Array, share: float = 0.0
) -> Array:
    """Squared Euclidean distances (|I|, |J|) from the products of examples, which are used up, and squared lengths.

    Args:
        xp: Namespace of the arrays.
        products: ⟨x_i, x_j⟩ (|I|, |J|).
        left_squares: |x_i|² (|I|,).
        right_squares: |x_j|² (|J|,).
        share: What is below this share of |x_i|² + |x_j|² counts as zero; see :func:`resolution`.
    """
    products *= -2.0
    if share == 0.0:
        products += left_squares[:, None]
        products += right_squares[None, :]
        return xp.clip(products, min=0.0)
    lengths = left_squares[:, None] + right_squares[None, :]
    products += lengths
    lengths *= share
    return xp.where(products <= lengths, xp.zeros_like(products[:1, :1]), products)


def resolution(features: Array) -> float:
    """Share of their squared lengths that rounding may leave of the squared distance between equal examples (n, p).

    Products and squares are summed in different orders; a sum of p terms carries √p roundings or so.
    """
    xp = array_api_compat.array_namespace(features)
    return float(xp.finfo(features.dtype).eps) * max(4.0, math.sqrt(features.shape[1]))
