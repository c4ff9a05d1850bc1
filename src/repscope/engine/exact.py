"""The exact value of the whole data set: all pairs of examples, tile by tile, or products of features.

Tiles: a block of rows is held, and every later batch is multiplied with it as it comes by; then the stream starts again
behind that block. Memory does not grow with the number of examples, but for two vectors of length n for each layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import array_api_compat
import numpy as np

from repscope.engine.accumulate import Matrix, MomentSums
from repscope.engine.bandwidth import fit_bandwidths
from repscope.engine.partial import Checkpoint, Partial, Shard, merge, with_prefix, without_prefix
from repscope.engine.products import Precision, native, to_numpy
from repscope.engine.stream import Fitting, Source, check_finite, fit_layers, stacked_products
from repscope.engine.tiles import LayerTiles
from repscope.measures._arrays import Array, widest_float
from repscope.measures._sums import PairSums, TileSums
from repscope.measures.kernels import RBF, Kernel, Laplace

HELD_TILE_ROWS = 512
"""Rows of the tiles into which a held block is cut, where memory allows it; more, where a batch is larger."""

MOMENT_ROWS = 1024
"""Examples of a batch that are brought to double precision and multiplied at a time."""

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
    visitor = MomentVisitor(source, kernel, shard, resume, checkpoint)
    source.stream(visitor, start=shard.index + visitor.done * shard.count, step=shard.count)
    return visitor.partial(complete=True)


def finish_moments(partials: Sequence[Partial]) -> tuple[PairSums, Matrix]:
    """Merge the shares of the work: the sums, and HSIC's unit factor for each layer (L,)."""
    first = partials[0].arrays
    sums = MomentSums([int(w) for w in first["sums.widths"]])
    merge(partials, lambda arrays: sums.merge(MomentSums.from_arrays(without_prefix("sums.", arrays))))
    return sums.finish(), first["units"]


class MomentVisitor:
    """Products of the features of all layers; arguments as for :func:`accumulate_moments`."""

    def __init__(
        self,
        source: Source,
        kernel: Kernel,
        shard: Shard = _ALL,
        resume: Partial | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.names, self.shard, self.checkpoint = source.names, shard, checkpoint
        self.sums, self.done = MomentSums(source.widths), 0
        from_start = shard.index == 0 and resume is None
        self.fitting = Fitting(source, kernel, sees_first_batch=from_start)
        self.features: list[Array] = []
        if resume is not None:
            self.done = resume.done
            self.sums = MomentSums.from_arrays(without_prefix("sums.", resume.arrays))

    def layer(self, index: int, x: Array) -> None:
        """Prepare one layer."""
        x = native(x)
        check_finite(x, self.names[index], self.shard.index + self.done * self.shard.count)
        self.features.append(self.fitting.of(index, x).features(x))

    def end(self, rows: slice) -> None:
        """Add the batch to the sums."""
        xp = array_api_compat.array_namespace(*self.features)
        # The unbiased estimate is the product of moments less the diagonal's share; where one example outweighs all
        # others, nearly all of it is subtracted, and only double precision leaves something.
        double = widest_float(xp, self.features[0])
        examples = self.features[0].shape[0]
        for start in range(0, examples, MOMENT_ROWS):
            some = slice(start, start + MOMENT_ROWS)
            together = xp.concat([xp.astype(f[some, :], double, copy=False) for f in self.features], axis=1)  # (b, P)
            ends = np.cumsum(self.sums.widths).tolist()
            layers = [together[:, end - width : end] for width, end in zip(self.sums.widths, ends, strict=True)]
            squares = xp.stack([xp.sum(z * z, axis=1) for z in layers], axis=1)  # (b, L)
            self.sums.update(together, squares)
        self.features = []
        self.done += 1
        if self.checkpoint is not None:
            self.checkpoint(self.partial(complete=False))

    def partial(self, *, complete: bool) -> Partial:
        """What has been added up so far."""
        tiles = self.fitting.layers()
        arrays = {**with_prefix("sums.", self.sums.arrays()), **constants(tiles)}
        return Partial("moments", self.shard, self.done, complete, arrays)


def tile_sums(
    source: Source,
    kernel: Kernel,
    *,
    held_batches: int,
    tile_rows: int = HELD_TILE_ROWS,
    bandwidth_examples: int,
    seed: int,
) -> tuple[PairSums, Matrix]:
    """Exact sums over all tiles in one process: the sums, and HSIC's unit factor for each layer (L,)."""
    partial = accumulate_tiles(
        source,
        kernel,
        held_batches=held_batches,
        tile_rows=tile_rows,
        bandwidth_examples=bandwidth_examples,
        seed=seed,
    )
    return finish_tiles([partial])


def accumulate_tiles(
    source: Source,
    kernel: Kernel,
    *,
    held_batches: int,
    tile_rows: int = HELD_TILE_ROWS,
    bandwidth_examples: int,
    seed: int,
    shard: Shard = _ALL,
    resume: Partial | None = None,
    checkpoint: Checkpoint | None = None,
    precision: Precision = "auto",
    tiles: Sequence[LayerTiles] | None = None,
) -> Partial:
    """Add up the tiles of one share of the blocks of rows.

    Args:
        source: Activations; streamed once per block of held batches, each time from that block on.
        kernel: Any kernel that works in tiles.
        held_batches: Batches held in memory at a time.
        tile_rows: Rows of the tiles into which they are cut; at least those of a batch.
        bandwidth_examples: Examples whose distances give the median of a radial kernel (all, where n is no more).
        seed: For the choice of those examples.
        shard: Which blocks: every ``shard.count``-th, from ``shard.index`` on.
        resume: What an earlier run of the same share has added up.
        checkpoint: Called after every block.
        precision: Of the products of activations.
        tiles: What :func:`layer_tiles` gives, where that is known.
    """
    tiles = tiles or layer_tiles(source, kernel, bandwidth_examples, seed, precision)
    sums, done = TileSums(len(tiles)), 0
    if resume is not None:
        sums, done = TileSums.from_arrays(without_prefix("sums.", resume.arrays)), resume.done

    def partial(*, complete: bool) -> Partial:
        return Partial("tiles", shard, done, complete, {**with_prefix("sums.", sums.arrays()), **constants(tiles)})

    while True:
        block = shard.index + done * shard.count
        visitor = _BlockVisitor(source, tiles, sums, held_batches, tile_rows, block * held_batches)
        source.stream(visitor, start=block * held_batches)
        visitor.finish()
        done += 1
        if visitor.batches <= held_batches * shard.count:
            return partial(complete=True)
        if checkpoint is not None:
            checkpoint(partial(complete=False))


def layer_tiles(
    source: Source, kernel: Kernel, bandwidth_examples: int, seed: int, precision: Precision
) -> list[LayerTiles]:
    """Shift, scale and bandwidth of every layer; arguments as for :func:`accumulate_tiles`."""
    if isinstance(kernel, RBF | Laplace):
        return fit_bandwidths(source, kernel, bandwidth_examples, seed, precision)
    return fit_layers(source, kernel, precision)


def finish_tiles(partials: Sequence[Partial]) -> tuple[PairSums, Matrix]:
    """Merge the shares of the work: the sums, and HSIC's unit factor for each layer (L,)."""
    first = partials[0].arrays
    sums = TileSums(len(first["units"]))
    merge(partials, lambda arrays: sums.merge(TileSums.from_arrays(without_prefix("sums.", arrays))))
    return sums.finish(), first["units"]


def constants(tiles: Sequence[LayerTiles]) -> dict[str, Matrix]:
    """What is fixed for each layer before the stream, beside the sums of a partial result."""
    return {"units": np.array([t.unit for t in tiles]), "thirds": np.array([t.thirds for t in tiles])}


class _BlockVisitor:
    """Holds the first batches of a pass and multiplies every later batch with them as it comes by."""

    def __init__(
        self,
        source: Source,
        tiles: Sequence[LayerTiles],
        sums: TileSums,
        held_batches: int,
        tile_rows: int,
        first_batch: int,
    ) -> None:
        self.names, self.tiles, self.sums = source.names, tiles, sums
        self.to_hold, self.tile_rows, self.first_batch = held_batches, tile_rows, first_batch
        self.parts: list[list[Array]] = [[] for _ in tiles]
        self.held: list[Array] = []
        self.current: list[Array] = []
        self.spare: list[Array] = []  # those of the batch before
        self.rows: slice | None = None
        self.chunks: list[slice] = []
        self.batches = 0

    def layer(self, index: int, x: Array) -> None:
        x = native(x)
        check_finite(x, self.names[index], self.first_batch + self.batches)
        if self.held:
            self.current.append(self.tiles[index].features(x, self.spare[index] if self.spare else None))
        else:
            self.parts[index].append(self.tiles[index].features(x))

    def end(self, rows: slice) -> None:
        self.batches += 1
        if not self.held:
            self.rows = rows if self.rows is None else slice(self.rows.start, rows.stop)
            if self.batches == 1:
                self.tile_rows = max(rows.stop - rows.start, self.tile_rows)
            if self.batches == self.to_hold:
                self.finish()
            return
        assert self.rows is not None
        for held in self.chunks:
            blocks = (
                tiles.block(left[held, :], right)
                for tiles, left, right in zip(self.tiles, self.held, self.current, strict=True)
            )
            _add_block(self.sums, _moved(held, self.rows.start), rows, blocks)
        self.spare, self.current = self.current, []

    def finish(self) -> None:
        """Join the held batches and add the tiles among them; also where the stream ended before there were enough."""
        if self.held or self.rows is None:
            return
        for index, parts in enumerate(self.parts):
            self.parts[index] = []  # one layer at a time is held twice
            self.held.append(parts[0] if len(parts) == 1 else _joined(parts))
        count = self.rows.stop - self.rows.start
        self.chunks = [slice(i, min(i + self.tile_rows, count)) for i in range(0, count, self.tile_rows)]
        for i, rows in enumerate(self.chunks):
            for columns in self.chunks[i:]:
                self._add_held(rows, columns)

    def _add_held(self, rows: slice, columns: slice) -> None:
        assert self.rows is not None
        diagonal = rows == columns

        def block(tiles: LayerTiles, features: Array) -> Array:
            left = features[rows, :]
            return tiles.block(left, left if diagonal else features[columns, :])

        blocks = (block(tiles, features) for tiles, features in zip(self.tiles, self.held, strict=True))
        global_rows, global_columns = _moved(rows, self.rows.start), _moved(columns, self.rows.start)
        if diagonal:
            _add_diagonal(self.sums, global_rows, blocks)
        else:
            _add_block(self.sums, global_rows, global_columns, blocks)


def _moved(rows: slice, by: int) -> slice:
    return slice(rows.start + by, rows.stop + by)


def _joined(parts: list[Array]) -> Array:
    return array_api_compat.array_namespace(parts[0]).concat(parts, axis=0)


def _add_block(sums: TileSums, rows: slice, columns: slice, blocks: Iterator[Array]) -> None:
    """Add a tile off the diagonal, given block by block for each layer."""
    stack: Array = None
    row_sums, column_sums = [], []
    for index, block in enumerate(blocks):
        xp = array_api_compat.array_namespace(block)
        row_sums.append(to_numpy(xp.sum(block, axis=1, dtype=widest_float(xp, block))))
        column_sums.append(to_numpy(xp.sum(block, axis=0, dtype=widest_float(xp, block))))
        stack = _stacked(stack, index, xp.reshape(block, (-1,)), sums.layers)
    sums.update_block(rows, columns, stacked_products(stack), np.stack(row_sums), np.stack(column_sums))


def _add_diagonal(sums: TileSums, rows: slice, blocks: Iterator[Array]) -> None:
    """Add a tile on the diagonal, given block by block for each layer."""
    stack: Array = None
    diagonals, row_sums = [], []
    for index, block in enumerate(blocks):
        xp = array_api_compat.array_namespace(block)
        diagonals.append(to_numpy(xp.linalg.diagonal(block)))
        row_sums.append(to_numpy(xp.sum(block, axis=1, dtype=widest_float(xp, block))) - diagonals[-1])
        flat = xp.asarray(_strict_triangle(block.shape[0]), device=array_api_compat.device(block))
        stack = _stacked(stack, index, xp.take(xp.reshape(block, (-1,)), flat, axis=0), sums.layers)
    sums.update_diagonal(rows, 2 * stacked_products(stack), np.stack(row_sums), np.stack(diagonals))


def _stacked(stack: Array, index: int, entries: Array, layers: int) -> Array:
    """Put the entries of one layer's tile into the stack (L, m) of all, which the first one makes."""
    if stack is None:
        xp = array_api_compat.array_namespace(entries)
        shape = (layers, entries.shape[0])
        stack = xp.empty(shape, dtype=entries.dtype, device=array_api_compat.device(entries))
    stack[index, :] = entries
    return stack


@lru_cache(maxsize=4)
def _strict_triangle(m: int) -> Any:
    """Flat indices of the entries above the diagonal of a matrix (m, m)."""
    rows, columns = np.triu_indices(m, k=1)
    return rows * m + columns
