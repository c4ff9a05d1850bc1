"""The exact value of the whole data set: all pairs of examples, tile by tile, or products of features.

Tiles: a block of rows is held, and every later batch is multiplied with it as it comes by; then the stream starts again
behind that block. Memory does not grow with the number of examples, but for two vectors of length n for each layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import array_api_compat
import numpy as np

from repscope.engine.accumulate import Matrix, MomentSums, PairSums, TileSums
from repscope.engine.bandwidth import fit_bandwidths
from repscope.engine.partial import Checkpoint, Partial, Shard, merge, with_prefix, without_prefix
from repscope.engine.products import Precision, native, times_transposed, to_numpy
from repscope.engine.stream import TILE_ROWS, Source, check_finite, fit_layers, stacked_products
from repscope.engine.tiles import LayerTiles
from repscope.measures._arrays import Array, widest_float
from repscope.measures.kernels import RBF, Kernel, Laplace

_ALL = Shard()


def moment_sums(source: Source, kernel: Kernel) -> tuple[PairSums, Matrix]:
    """Exact sums from products of features in one process: the sums, and HSIC's unit factor for each layer (L,)."""
    return finish_moments([accumulate_moments(source, kernel)])


def accumulate_moments(
    source: Source,
    kernel: Kernel,
    *,
    shard: Shard = _ALL,
    resume: Partial | None = None,
    checkpoint: Checkpoint | None = None,
) -> Partial:
    """Add up the moments of one share of the batches; linear kernel only. Arguments as for ``accumulate_batches``."""
    visitor = _MomentVisitor(source, kernel, shard, resume, checkpoint)
    source.stream(visitor, start=shard.index + visitor.done * shard.count, step=shard.count)
    return visitor.partial(complete=True)


def finish_moments(partials: Sequence[Partial]) -> tuple[PairSums, Matrix]:
    """Merge the shares of the work: the sums, and HSIC's unit factor for each layer (L,)."""
    first = partials[0].arrays
    sums = MomentSums([int(w) for w in first["sums.widths"]])
    merge(partials, lambda arrays: sums.merge(MomentSums.from_arrays(without_prefix("sums.", arrays))))
    return sums.finish(), first["units"]


class _MomentVisitor:
    def __init__(
        self, source: Source, kernel: Kernel, shard: Shard, resume: Partial | None, checkpoint: Checkpoint | None
    ) -> None:
        self.names, self.shard, self.checkpoint = source.names, shard, checkpoint
        self.sums, self.done = MomentSums(source.widths), 0
        self.tiles = fit_layers(source, kernel)
        self.features: list[Array] = []
        if resume is not None:
            self.done = resume.done
            self.sums = MomentSums.from_arrays(without_prefix("sums.", resume.arrays))

    def layer(self, index: int, x: Array) -> None:
        x = native(x)
        check_finite(x, self.names[index], self.shard.index + self.done * self.shard.count)
        # The unbiased estimate is the product of moments less the diagonal's share; where one example outweighs all
        # others, nearly all of it is subtracted, and only double precision leaves something.
        xp = array_api_compat.array_namespace(x)
        self.features.append(xp.astype(self.tiles[index].features(x), widest_float(xp, x), copy=False))

    def end(self, rows: slice) -> None:
        xp = array_api_compat.array_namespace(*self.features)
        together = xp.concat(self.features, axis=1)  # (b, P)
        squares = xp.stack([xp.sum(f * f, axis=1) for f in self.features], axis=1)  # (b, L)
        self.features = []
        columns = together.T
        moments = to_numpy(times_transposed(columns, columns))
        self.sums.update(moments, to_numpy(together), to_numpy(squares))
        self.done += 1
        if self.checkpoint is not None:
            self.checkpoint(self.partial(complete=False))

    def partial(self, *, complete: bool) -> Partial:
        units = np.array([tiles.unit for tiles in self.tiles])
        arrays = {**with_prefix("sums.", self.sums.arrays()), "units": units}
        return Partial("moments", self.shard, self.done, complete, arrays)


def tile_sums(
    source: Source, kernel: Kernel, *, held_batches: int, bandwidth_examples: int, seed: int
) -> tuple[PairSums, Matrix]:
    """Exact sums over all tiles in one process: the sums, and HSIC's unit factor for each layer (L,)."""
    partial = accumulate_tiles(
        source, kernel, held_batches=held_batches, bandwidth_examples=bandwidth_examples, seed=seed
    )
    return finish_tiles([partial])


def accumulate_tiles(
    source: Source,
    kernel: Kernel,
    *,
    held_batches: int,
    bandwidth_examples: int,
    seed: int,
    shard: Shard = _ALL,
    resume: Partial | None = None,
    checkpoint: Checkpoint | None = None,
    precision: Precision = "auto",
) -> Partial:
    """Add up the tiles of one share of the blocks of rows.

    Args:
        source: Activations; streamed once per block of held batches, each time from that block on.
        kernel: Any kernel that works in tiles.
        held_batches: Batches held in memory at a time.
        bandwidth_examples: Examples whose distances give the median of a radial kernel (all, where n is no more).
        seed: For the choice of those examples.
        shard: Which blocks: every ``shard.count``-th, from ``shard.index`` on.
        resume: What an earlier run of the same share has added up.
        checkpoint: Called after every block.
        precision: Of the products of activations.
    """
    radial = isinstance(kernel, RBF | Laplace)
    tiles = (
        fit_bandwidths(source, kernel, bandwidth_examples, seed, precision)
        if radial
        else fit_layers(source, kernel, precision)
    )
    units = np.array([t.unit for t in tiles])
    sums, done = TileSums(len(tiles)), 0
    if resume is not None:
        sums, done = TileSums.from_arrays(without_prefix("sums.", resume.arrays)), resume.done

    def partial(*, complete: bool) -> Partial:
        return Partial("tiles", shard, done, complete, {**with_prefix("sums.", sums.arrays()), "units": units})

    while True:
        block = shard.index + done * shard.count
        visitor = _BlockVisitor(source, tiles, sums, held_batches)
        source.stream(visitor, start=block * held_batches)
        visitor.finish()
        done += 1
        if visitor.batches <= held_batches * shard.count:
            return partial(complete=True)
        if checkpoint is not None:
            checkpoint(partial(complete=False))


def finish_tiles(partials: Sequence[Partial]) -> tuple[PairSums, Matrix]:
    """Merge the shares of the work: the sums, and HSIC's unit factor for each layer (L,)."""
    first = partials[0].arrays
    sums = TileSums(len(first["units"]))
    merge(partials, lambda arrays: sums.merge(TileSums.from_arrays(without_prefix("sums.", arrays))))
    return sums.finish(), first["units"]


class _BlockVisitor:
    """Holds the first batches of a pass and multiplies every later batch with them as it comes by."""

    def __init__(self, source: Source, tiles: Sequence[LayerTiles], sums: TileSums, held_batches: int) -> None:
        self.names, self.tiles, self.sums = source.names, tiles, sums
        self.to_hold = held_batches
        self.parts: list[list[Array]] = [[] for _ in tiles]
        self.held: list[Array] = []
        self.blocks: list[Array] = [None] * len(tiles)
        self.rows: slice | None = None
        self.batches = 0

    def layer(self, index: int, x: Array) -> None:
        x = native(x)
        check_finite(x, self.names[index], self.batches)
        features = self.tiles[index].features(x)
        if self.held:
            self.blocks[index] = self.tiles[index].block(self.held[index], features)
        else:
            self.parts[index].append(features)

    def end(self, rows: slice) -> None:
        self.batches += 1
        if self.held:
            assert self.rows is not None
            _add_block(self.sums, self.rows, rows, self.blocks)
            return
        self.rows = rows if self.rows is None else slice(self.rows.start, rows.stop)
        if self.batches == self.to_hold:
            self.finish()

    def finish(self) -> None:
        """Join the held batches and add the tiles among them; also where the stream ended before there were enough."""
        if self.held or self.rows is None:
            return
        for index, parts in enumerate(self.parts):
            self.parts[index] = []  # one layer at a time is held twice
            self.held.append(parts[0] if len(parts) == 1 else _joined(parts))
        first, stop = self.rows.start, self.rows.stop
        chunks = [slice(i, min(i + TILE_ROWS, stop - first)) for i in range(0, stop - first, TILE_ROWS)]
        for i, rows in enumerate(chunks):
            for columns in chunks[i:]:
                self._add_held(rows, columns, first)

    def _add_held(self, rows: slice, columns: slice, first: int) -> None:
        blocks = []
        for features, tiles in zip(self.held, self.tiles, strict=True):
            left = features[rows, :]
            blocks.append(tiles.block(left, left if rows == columns else features[columns, :]))
        global_rows, global_columns = (slice(s.start + first, s.stop + first) for s in (rows, columns))
        if rows == columns:
            _add_diagonal(self.sums, global_rows, blocks)
        else:
            _add_block(self.sums, global_rows, global_columns, blocks)


def _joined(parts: list[Array]) -> Array:
    return array_api_compat.array_namespace(parts[0]).concat(parts, axis=0)


def _add_block(sums: TileSums, rows: slice, columns: slice, blocks: list[Array]) -> None:
    xp = array_api_compat.array_namespace(*blocks)
    row_sums = np.stack([to_numpy(xp.sum(b, axis=1, dtype=xp.float64)) for b in blocks])
    column_sums = np.stack([to_numpy(xp.sum(b, axis=0, dtype=xp.float64)) for b in blocks])
    stack = xp.stack([xp.reshape(b, (-1,)) for b in blocks])
    sums.update_block(rows, columns, stacked_products(stack), row_sums, column_sums)


def _add_diagonal(sums: TileSums, rows: slice, blocks: list[Array]) -> None:
    xp = array_api_compat.array_namespace(*blocks)
    diagonals = np.stack([to_numpy(xp.linalg.diagonal(b)) for b in blocks])
    row_sums = np.stack([to_numpy(xp.sum(b, axis=1, dtype=xp.float64)) for b in blocks]) - diagonals
    flat = xp.asarray(_strict_triangle(blocks[0].shape[0]), device=array_api_compat.device(blocks[0]))
    stack = xp.stack([xp.take(xp.reshape(b, (-1,)), flat, axis=0) for b in blocks])
    sums.update_diagonal(rows, 2 * stacked_products(stack), row_sums, diagonals)


@lru_cache(maxsize=4)
def _strict_triangle(m: int) -> Any:
    """Flat indices of the entries above the diagonal of a matrix (m, m)."""
    rows, columns = np.triu_indices(m, k=1)
    return rows * m + columns
