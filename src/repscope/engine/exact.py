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

from repscope._rows import Rows
from repscope.engine.accumulate import Matrix, MomentSums
from repscope.engine.bandwidth import fit_bandwidths, fit_bandwidths_together
from repscope.engine.partial import Checkpoint, Partial, Shard, merge, with_prefix, without_prefix
from repscope.engine.products import Precision, native, to_numpy
from repscope.engine.sample import StreamSample
from repscope.engine.stream import Fitting, Source, check_finite, fit_layers, stacked_products
from repscope.engine.tiles import LayerTiles, SharedTiles
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
    shares: list[MomentSums] = []
    merge(partials, lambda arrays: shares.append(MomentSums.from_arrays(without_prefix("sums.", arrays))))
    if len(shares) == 1:  # which may be all that fits the memory
        return shares[0].finish(), first["units"]
    sums = MomentSums(shares[0].widths)
    for share in shares:
        sums.merge(share)
    return sums.finish(), first["units"]


def moment_thirds(partials: Sequence[Partial]) -> Matrix:
    """Third-order sums (L, 5) from examples of all shares; of arrays, as they were taken before."""
    samples = [without_prefix("sample.", partial.arrays) for partial in partials]
    if not all(samples):
        thirds: Matrix = partials[0].arrays["thirds"]
        return thirds
    first, *others = map(StreamSample.from_arrays, samples)
    for other in others:
        first.merge(other)
    return first.thirds()


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
        # Arrays show examples from all over; a stream shows its first batch, which may be of one class.
        self.sample = StreamSample(source.widths) if source.peeks_at_first_batch else None
        self.fitting = Fitting(source, kernel, sees_first_batch=from_start, thirds=self.sample is None)
        self.features: list[Array] = []
        if resume is not None:
            self.done = resume.done
            if self.sample is not None:
                self.sample = StreamSample.from_arrays(without_prefix("sample.", resume.arrays))
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
        if self.sample is not None:
            self.sample.add(self.shard.index + self.done * self.shard.count, self.features)
        self.features = []
        self.done += 1
        if self.checkpoint is not None:
            self.checkpoint(lambda: self.partial(complete=False))

    def partial(self, *, complete: bool) -> Partial:
        """What has been added up so far."""
        tiles = self.fitting.layers()
        sample = {} if self.sample is None else with_prefix("sample.", self.sample.arrays())
        arrays = {**with_prefix("sums.", self.sums.arrays()), **sample, **constants(tiles)}
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
    shared = [SharedTiles([one]) for one in tiles]
    sums, done = TileSums(len(tiles)), 0
    if resume is not None:
        sums, done = TileSums.from_arrays(without_prefix("sums.", resume.arrays)), resume.done

    def partial(*, complete: bool) -> Partial:
        return Partial("tiles", shard, done, complete, {**with_prefix("sums.", sums.arrays()), **constants(tiles)})

    while True:
        block = shard.index + done * shard.count
        visitor = _BlockVisitor(source, shared, [sums], held_batches, tile_rows, block * held_batches)
        source.stream(visitor, start=block * held_batches)
        visitor.finish()
        done += 1
        if visitor.batches <= held_batches * shard.count:
            return partial(complete=True)
        if checkpoint is not None:
            checkpoint(lambda: partial(complete=False))


def accumulate_tiles_together(
    source: Source, fitted: Sequence[Sequence[LayerTiles]], *, held_batches: int, tile_rows: int
) -> list[Partial]:
    """Add up all tiles by several kernels at once, which share the passes and the products of features.

    Args:
        source: As for :func:`accumulate_tiles`.
        fitted: For each kernel what :func:`layer_tiles_together` gives.
        held_batches: As for :func:`accumulate_tiles`.
        tile_rows: As for :func:`accumulate_tiles`.

    Returns:
        What :func:`accumulate_tiles` gives by each kernel.
    """
    shared = [SharedTiles(of_layer) for of_layer in zip(*fitted, strict=True)]
    sums = [TileSums(len(shared)) for _ in fitted]
    first = 0
    while True:
        visitor = _BlockVisitor(source, shared, sums, held_batches, tile_rows, first)
        source.stream(visitor, start=first)
        visitor.finish()
        first += held_batches
        if visitor.batches <= held_batches:
            break
    return [
        Partial("tiles", _ALL, first // held_batches, True, {**with_prefix("sums.", s.arrays()), **constants(tiles)})
        for s, tiles in zip(sums, fitted, strict=True)
    ]


def layer_tiles_together(
    source: Source, kernels: Sequence[Kernel], bandwidth_examples: int, seed: int, precision: Precision
) -> list[list[LayerTiles]]:
    """The same as :func:`layer_tiles` by several kernels that share features, one of them radial, from one sample."""
    return fit_bandwidths_together(source, kernels, bandwidth_examples, seed, precision)


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
        tiles: Sequence[SharedTiles],
        sums: Sequence[TileSums],
        held_batches: int,
        tile_rows: int,
        first_batch: int,
    ) -> None:
        self.names, self.tiles, self.sums = source.names, tiles, sums
        self.to_hold, self.tile_rows, self.first_batch = held_batches, tile_rows, first_batch
        self.holding: list[Rows] = []
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
            return
        if index == len(self.holding):
            self.holding.append(Rows(self.to_hold * x.shape[0]))
        rows = self.holding[index]
        rows.append(self.tiles[index].features(x, rows.room(x)))

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
                tiles.blocks(left[held, :], right)
                for tiles, left, right in zip(self.tiles, self.held, self.current, strict=True)
            )
            _add_block(self.sums, _moved(held, self.rows.start), rows, blocks)
        self.spare, self.current = self.current, []

    def finish(self) -> None:
        """Add the tiles among the held batches; also where the stream ended before there were enough."""
        if self.held or self.rows is None:
            return
        self.held = [rows.take() for rows in self.holding]
        count = self.rows.stop - self.rows.start
        self.chunks = [slice(i, min(i + self.tile_rows, count)) for i in range(0, count, self.tile_rows)]
        for i, rows in enumerate(self.chunks):
            for columns in self.chunks[i:]:
                self._add_held(rows, columns)

    def _add_held(self, rows: slice, columns: slice) -> None:
        assert self.rows is not None
        diagonal = rows == columns

        def blocks_of(tiles: SharedTiles, features: Array) -> Iterator[Array]:
            left = features[rows, :]
            return tiles.blocks(left, left if diagonal else features[columns, :])

        blocks = (blocks_of(tiles, features) for tiles, features in zip(self.tiles, self.held, strict=True))
        global_rows, global_columns = _moved(rows, self.rows.start), _moved(columns, self.rows.start)
        if diagonal:
            _add_diagonal(self.sums, global_rows, blocks)
        else:
            _add_block(self.sums, global_rows, global_columns, blocks)


def _moved(rows: slice, by: int) -> slice:
    return slice(rows.start + by, rows.stop + by)


def _add_block(sums: Sequence[TileSums], rows: slice, columns: slice, blocks: Iterator[Iterator[Array]]) -> None:
    """Add a tile off the diagonal, given block by block for each layer, and for each layer by each kernel."""
    stacks = [_Stack(s.layers) for s in sums]
    for of_layer in blocks:
        for stack, block in zip(stacks, of_layer, strict=True):
            xp = array_api_compat.array_namespace(block)
            stack.row_sums.append(to_numpy(xp.sum(block, axis=1, dtype=widest_float(xp, block))))
            stack.beside.append(to_numpy(xp.sum(block, axis=0, dtype=widest_float(xp, block))))
            stack.add(xp.reshape(block, (-1,)))
    for s, stack in zip(sums, stacks, strict=True):
        s.update_block(rows, columns, stack.products(), np.stack(stack.row_sums), np.stack(stack.beside))


def _add_diagonal(sums: Sequence[TileSums], rows: slice, blocks: Iterator[Iterator[Array]]) -> None:
    """Add a tile on the diagonal, given in the same way."""
    stacks = [_Stack(s.layers) for s in sums]
    for of_layer in blocks:
        for stack, block in zip(stacks, of_layer, strict=True):
            xp = array_api_compat.array_namespace(block)
            diagonal = to_numpy(xp.linalg.diagonal(block))
            stack.row_sums.append(to_numpy(xp.sum(block, axis=1, dtype=widest_float(xp, block))) - diagonal)
            stack.beside.append(diagonal)
            flat = xp.asarray(_strict_triangle(block.shape[0]), device=array_api_compat.device(block))
            stack.add(xp.take(xp.reshape(block, (-1,)), flat, axis=0))
    for s, stack in zip(sums, stacks, strict=True):
        s.update_diagonal(rows, 2 * stack.products(), np.stack(stack.row_sums), np.stack(stack.beside))


class _Stack:
    """The entries of one tile of all layers by one kernel.

    Attributes:
        row_sums: Of each layer.
        beside: Of each layer the column sums, or the diagonal.
    """

    def __init__(self, layers: int) -> None:
        self.layers = layers
        self.entries: Array = None
        self.row_sums: list[Matrix] = []
        self.beside: list[Matrix] = []
        self.filled = 0

    def add(self, entries: Array) -> None:
        """Put those of the next layer (m,) into the stack (L, m), which the first one makes."""
        if self.entries is None:
            xp = array_api_compat.array_namespace(entries)
            shape = (self.layers, entries.shape[0])
            self.entries = xp.empty(shape, dtype=entries.dtype, device=array_api_compat.device(entries))
        self.entries[self.filled, :] = entries
        self.filled += 1

    def products(self) -> Matrix:
        """Of all pairs of layers (L, L); the entries are given away."""
        entries, self.entries = self.entries, None
        return stacked_products(entries)


@lru_cache(maxsize=4)
def _strict_triangle(m: int) -> Any:
    """Flat indices of the entries above the diagonal of a matrix (m, m)."""
    rows, columns = np.triu_indices(m, k=1)
    return rows * m + columns
