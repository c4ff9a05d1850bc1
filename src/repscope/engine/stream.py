"""Passes over a stream of activations: who sees them, and in which order the tiles are made.

A :class:`Source` calls a :class:`Visitor` for every layer of every batch, at the moment the activation exists; nothing
but what the visitor keeps outlives the call. One algorithm serves arrays in memory, stored activations and models: a
block of rows is held, and every later batch is multiplied with it as it comes by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import array_api_compat
import numpy as np

from repscope.engine.accumulate import BatchSums, Matrix, MomentSums, PairSums, TileSums
from repscope.engine.drift import DriftStatistic
from repscope.engine.products import native, times_transposed, to_numpy
from repscope.engine.tiles import LayerTiles
from repscope.errors import InputError
from repscope.measures._arrays import Array, center
from repscope.measures.kernels import (
    RBF,
    Estimator,
    Kernel,
    Laplace,
    center_gram,
    median_of_distances,
    squared_distances,
)

TILE_ROWS = 1024
"""Rows of the tiles inside a held block: large enough for the matrix product, small enough for the cache of results."""

_PRODUCT_CHUNK = 1 << 18
"""Entries of a tile multiplied at once; single precision sums of more lose digits, double precision adds the chunks."""


class Visitor(Protocol):
    """What a source calls."""

    def layer(self, index: int, x: Array) -> None:
        """One layer's activations (b, p) of the current batch, valid during the call only."""

    def end(self, rows: slice) -> None:
        """The batch is over; it held these examples of the data set."""


class Source(Protocol):
    """Activations of L layers, batch by batch, repeatable in the same order."""

    @property
    def names(self) -> Sequence[str]:
        """Layer names for messages (L,)."""

    @property
    def widths(self) -> Sequence[int]:
        """Features of each layer (L,)."""

    @property
    def n(self) -> int:
        """Number of examples; may cost a pass over the data without a forward pass."""

    def stream(self, visitor: Visitor, *, start: int = 0) -> None:
        """Run through the batches from number ``start`` on."""


class ArraySource:
    """Representations in memory (or memory-mapped), one array (n, p) per layer, handed out in slices."""

    def __init__(self, arrays: Sequence[Array], names: Sequence[str], *, batch_size: int = TILE_ROWS) -> None:
        self.arrays = list(arrays)
        self.names = tuple(names)
        self.batch_size = batch_size

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each layer."""
        return tuple(int(x.shape[1]) for x in self.arrays)

    @property
    def n(self) -> int:
        """Number of examples."""
        return int(self.arrays[0].shape[0])

    def slices(self) -> list[slice]:
        """Rows of each batch; a remainder of less than half a batch is folded into the one before."""
        n, b = self.n, self.batch_size
        starts = list(range(0, n, b))
        if len(starts) > 1 and n - starts[-1] < b / 2:
            starts.pop()
        return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], n], strict=True)]

    def stream(self, visitor: Visitor, *, start: int = 0) -> None:
        """Run through the slices from number ``start`` on."""
        for rows in self.slices()[start:]:
            for index, x in enumerate(self.arrays):
                visitor.layer(index, x[rows, :])
            visitor.end(rows)


def batch_sums(source: Source, kernel: Kernel, estimator: Estimator) -> tuple[BatchSums, Matrix, list[str]]:
    """The minibatch estimate in one pass.

    Returns:
        The sums, HSIC's unit factor for each layer (L,), and the layers whose examples come in an order.
    """
    visitor = _BatchVisitor(source, kernel, estimator)
    source.stream(visitor)
    return visitor.sums, np.array([t.unit if t else 1.0 for t in visitor.scales]), visitor.ordered()


class _BatchVisitor:
    """Centred Gram matrix of each batch, upper triangles stacked, one product for all pairs."""

    def __init__(self, source: Source, kernel: Kernel, estimator: Estimator) -> None:
        layers = len(source.widths)
        self.names = source.names
        self.kernel, self.estimator = kernel, estimator
        self.sums = BatchSums(layers)
        self.scales: list[LayerTiles | None] = [None] * layers
        self.drift = [DriftStatistic() for _ in range(layers)]
        self.triangles: list[Array] = [None] * layers
        self.batch = 0

    def layer(self, index: int, x: Array) -> None:
        x = native(x)
        b = x.shape[0]
        xp = array_api_compat.array_namespace(x)
        _check_finite(xp, x, self.names[index], self.batch)
        self.drift[index].update(x)
        if self.kernel.homogeneous:
            scale = self.scales[index] = self.scales[index] or LayerTiles.fit(self.kernel, x)
            features = center(xp, x) / scale.scale
            gram = times_transposed(features, features)
        else:
            gram = self.kernel.gram(x)
        gram = center_gram(gram, self.estimator)
        self.triangles[index] = _weighted_triangle(xp, gram, b)

    def end(self, rows: slice) -> None:
        xp = array_api_compat.array_namespace(self.triangles[0])
        products = stacked_products(xp.stack(self.triangles))
        self.sums.update(products, rows.stop - rows.start, self.estimator)
        self.triangles = [None] * len(self.triangles)
        self.batch += 1

    def ordered(self) -> list[str]:
        return [name for name, drift in zip(self.names, self.drift, strict=True) if drift.ordered]


def _weighted_triangle(xp: Any, gram: Array, b: int) -> Array:
    """Upper triangle of a symmetric matrix (b, b), weighted so that products of two triangles are full products."""
    rows, columns = np.triu_indices(b)
    flat = xp.asarray(rows * b + columns, device=array_api_compat.device(gram))
    weights = xp.asarray(np.where(rows == columns, 1.0, np.sqrt(2.0)), device=array_api_compat.device(gram))
    return xp.take(xp.reshape(gram, (-1,)), flat, axis=0) * xp.astype(weights, gram.dtype)


def moment_sums(source: Source, kernel: Kernel) -> tuple[PairSums, Matrix]:
    """Exact sums from products of features, in one pass; linear kernel only."""
    visitor = _MomentVisitor(source, kernel)
    source.stream(visitor)
    return visitor.sums.finish(), np.array([t.unit for t in visitor.tiles if t])


class _MomentVisitor:
    def __init__(self, source: Source, kernel: Kernel) -> None:
        self.names, self.kernel = source.names, kernel
        self.sums = MomentSums(source.widths)
        self.tiles: list[LayerTiles | None] = [None] * len(source.widths)
        self.features: list[Array] = []
        self.batch = 0

    def layer(self, index: int, x: Array) -> None:
        x = native(x)
        _check_finite(array_api_compat.array_namespace(x), x, self.names[index], self.batch)
        tiles = self.tiles[index] = self.tiles[index] or LayerTiles.fit(self.kernel, x)
        self.features.append(tiles.features(x))

    def end(self, rows: slice) -> None:
        xp = array_api_compat.array_namespace(*self.features)
        together = xp.concat(self.features, axis=1)  # (b, P)
        squares = xp.stack([xp.sum(f * f, axis=1) for f in self.features], axis=1)  # (b, L)
        moments = to_numpy(times_transposed(together.T, together.T))
        self.sums.update(moments, to_numpy(together), to_numpy(squares))
        self.features = []
        self.batch += 1


def tile_sums(
    source: Source, kernel: Kernel, *, held_batches: int, bandwidth_examples: int, seed: int
) -> tuple[PairSums, Matrix]:
    """Exact sums over all tiles of the n × n Gram matrices.

    Args:
        source: Activations; streamed once per block of held batches, each time from that block on.
        kernel: Any kernel that works in tiles.
        held_batches: Batches held in memory at a time.
        bandwidth_examples: Examples whose distances give the median of a radial kernel (all, where n is no more).
        seed: For the choice of those examples.

    Returns:
        The sums, and HSIC's unit factor for each layer (L,).
    """
    tiles: list[LayerTiles | None] = [None] * len(source.widths)
    if isinstance(kernel, RBF | Laplace):
        tiles = list(_fit_bandwidths(source, kernel, bandwidth_examples, seed))
    sums = TileSums(len(tiles))
    start, left = 0, held_batches + 1
    while left > held_batches:
        visitor = _BlockVisitor(source, kernel, tiles, sums, held_batches)
        source.stream(visitor, start=start)
        visitor.finish()
        start, left = start + held_batches, visitor.batches
    return sums.finish(), np.array([t.unit for t in tiles if t])


class _BlockVisitor:
    """Holds the first batches of a pass and multiplies every later batch with them as it comes by."""

    def __init__(
        self, source: Source, kernel: Kernel, tiles: list[LayerTiles | None], sums: TileSums, held_batches: int
    ) -> None:
        self.names, self.kernel, self.tiles, self.sums = source.names, kernel, tiles, sums
        self.to_hold = held_batches
        self.held: list[list[Array]] = [[] for _ in tiles]
        self.blocks: list[Array] = [None] * len(tiles)
        self.rows: slice | None = None
        self.batches = 0
        self.closed = False

    def layer(self, index: int, x: Array) -> None:
        x = native(x)
        _check_finite(array_api_compat.array_namespace(x), x, self.names[index], self.batches)
        tiles = self.tiles[index] = self.tiles[index] or LayerTiles.fit(self.kernel, x)
        features = tiles.features(x)
        if self.batches < self.to_hold:
            self.held[index].append(features)
        else:
            self.blocks[index] = tiles.block(self.held[index][0], features)

    def end(self, rows: slice) -> None:
        self.batches += 1
        if self.batches <= self.to_hold:
            self.rows = rows if self.rows is None else slice(self.rows.start, rows.stop)
            if self.batches == self.to_hold:
                self.finish()
            return
        assert self.rows is not None
        _add_block(self.sums, self.rows, rows, self.blocks)

    def finish(self) -> None:
        """Join the held batches and add the tiles among them; called once more where the stream was shorter."""
        if self.closed or self.rows is None:
            return
        self.closed = True
        for index, parts in enumerate(self.held):
            xp = array_api_compat.array_namespace(parts[0])
            self.held[index] = [xp.concat(parts, axis=0) if len(parts) > 1 else parts[0]]
        first, stop = self.rows.start, self.rows.stop
        chunks = [slice(i, min(i + TILE_ROWS, stop - first)) for i in range(0, stop - first, TILE_ROWS)]
        for i, rows in enumerate(chunks):
            for columns in chunks[i:]:
                self._add_held(rows, columns, first)

    def _add_held(self, rows: slice, columns: slice, first: int) -> None:
        blocks = []
        for (features,), tiles in zip(self.held, self.tiles, strict=True):
            assert tiles is not None
            left = features[rows, :]
            blocks.append(tiles.block(left, left if rows == columns else features[columns, :]))
        global_rows, global_columns = (slice(s.start + first, s.stop + first) for s in (rows, columns))
        if rows == columns:
            _add_diagonal(self.sums, global_rows, blocks)
        else:
            _add_block(self.sums, global_rows, global_columns, blocks)


def _add_block(sums: TileSums, rows: slice, columns: slice, blocks: Sequence[Array]) -> None:
    xp = array_api_compat.array_namespace(*blocks)
    row_sums = np.stack([to_numpy(xp.sum(b, axis=1, dtype=xp.float64)) for b in blocks])
    column_sums = np.stack([to_numpy(xp.sum(b, axis=0, dtype=xp.float64)) for b in blocks])
    stack = xp.stack([xp.reshape(b, (-1,)) for b in blocks])
    sums.update_block(rows, columns, stacked_products(stack), row_sums, column_sums)


def _add_diagonal(sums: TileSums, rows: slice, blocks: Sequence[Array]) -> None:
    xp = array_api_compat.array_namespace(*blocks)
    diagonals, triangles, row_sums = [], [], []
    for block in blocks:
        m = block.shape[0]
        diagonal = xp.linalg.diagonal(block)
        row_sums.append(to_numpy(xp.sum(block, axis=1, dtype=xp.float64)) - to_numpy(diagonal))
        diagonals.append(to_numpy(diagonal))
        triangles.append(_strict_triangle(xp, block, m))
    products = 2 * stacked_products(xp.stack(triangles))
    sums.update_diagonal(rows, products, np.stack(row_sums), np.stack(diagonals))


def _strict_triangle(xp: Any, block: Array, m: int) -> Array:
    rows, columns = np.triu_indices(m, k=1)
    return xp.take(
        xp.reshape(block, (-1,)), xp.asarray(rows * m + columns, device=array_api_compat.device(block)), axis=0
    )


def stacked_products(stack: Array) -> Matrix:
    """S Sᵀ (L, L) in float64 for a stack of flattened tiles S (L, m), chunk by chunk."""
    layers, entries = stack.shape
    total = np.zeros((layers, layers))
    for begin in range(0, entries, _PRODUCT_CHUNK):
        part = stack[:, begin : begin + _PRODUCT_CHUNK]
        total += to_numpy(times_transposed(part, part))
    return total


def _check_finite(xp: Any, x: Array, name: str, batch: int) -> None:
    total = float(xp.sum(x, dtype=xp.float64))
    if np.isfinite(total):
        return
    raise InputError(
        f"compare: the activations of layer {name!r} must be finite, got {'NaN' if np.isnan(total) else 'infinity'} "
        f"in batch {batch}. Look at the model's weights and inputs, or leave this layer out."
    )


def _fit_bandwidths(source: Source, kernel: RBF | Laplace, examples: int, seed: int) -> list[LayerTiles]:
    """Bandwidth and offset of a radial kernel for every layer, from one pass that keeps a sample of the examples."""
    n = source.n
    chosen = np.arange(n)
    if n > examples:
        chosen = np.sort(np.random.default_rng(seed).choice(n, size=examples, replace=False))
    visitor = _SampleVisitor(source, kernel, chosen)
    source.stream(visitor)
    fitted = []
    for tiles, parts in zip(visitor.tiles, visitor.parts, strict=True):
        assert tiles is not None
        xp = array_api_compat.array_namespace(*parts)
        squared = squared_distances(xp, xp.concat(parts, axis=0))
        if kernel.sigma is not None:
            tiles.variance = (kernel.sigma / tiles.scale) ** 2
        else:
            tiles.variance = kernel.fraction**2 * _median(xp, squared, kernel, n)
        if tiles.variance > 0:
            ratio = squared / tiles.variance
            typical = xp.exp(-0.5 * ratio) if isinstance(kernel, RBF) else xp.exp(-xp.sqrt(ratio))
            tiles.offset = float(xp.mean(typical))
        else:
            tiles.variance = float("nan")
        fitted.append(tiles)
    return fitted


def _median(xp: Any, squared: Array, kernel: RBF | Laplace, n: int) -> float:
    """Median distance of all n examples from those of a sample."""
    m = squared.shape[0]
    if m == n or kernel.median == "off-diagonal":
        return median_of_distances(xp, squared, kernel.median)
    # The zero diagonal takes a share 1/n of all n² entries; in the sample it would take 1/m.
    pairs = np.sort(to_numpy(squared)[np.triu_indices(m, k=1)])
    return float(np.quantile(pairs, (n / 2 - 1) / (n - 1)))


class _SampleVisitor:
    """Keeps the features of some examples."""

    def __init__(self, source: Source, kernel: Kernel, chosen: Any) -> None:
        self.kernel, self.chosen = kernel, chosen
        self.tiles: list[LayerTiles | None] = [None] * len(source.widths)
        self.parts: list[list[Array]] = [[] for _ in source.widths]
        self.position = 0

    def layer(self, index: int, x: Array) -> None:
        x = native(x)
        tiles = self.tiles[index] = self.tiles[index] or LayerTiles.fit(self.kernel, x)
        begin, end = np.searchsorted(self.chosen, [self.position, self.position + x.shape[0]])
        if begin < end:
            xp = array_api_compat.array_namespace(x)
            rows = xp.asarray(self.chosen[begin:end] - self.position, device=array_api_compat.device(x))
            self.parts[index].append(tiles.features(xp.take(x, rows, axis=0)))

    def end(self, rows: slice) -> None:
        self.position = rows.stop
