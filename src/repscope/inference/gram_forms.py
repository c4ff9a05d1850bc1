"""Gram matrices of all pairs of layers, asked for what some examples have to do with all others.

With K̃ a Gram matrix without its diagonal d, r̃ its row sums, and g a block of examples, the jackknife needs
ρ_i = Σ_{k∈g} K̃_ik of every example i, and sums of products of these. They come from the entries, O(n²) for a pair of
layers, or for a linear kernel from the features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import array_api_compat
import numpy as np

from repscope.engine.accumulate import Matrix, MomentSums
from repscope.engine.partial import Partial, without_prefix
from repscope.engine.products import times_transposed, to_numpy
from repscope.engine.tiles import LayerTiles
from repscope.measures._arrays import Array, Namespace
from repscope.measures._sums import PairSums, TileSums

COLUMNS = 1024
"""Examples that a run of blocks is paired with at a time."""

_HELD_BYTES = 1 << 25
"""Most memory for the sums of all blocks, so that no entry is computed twice."""


@dataclass(frozen=True)
class Outside:
    """What a run of B blocks of one size has to do with the examples of all L layers.

    Attributes:
        both: Σ_{k∈g} Σ_j K̃_kj L̃_kj (B, L, L).
        within: K̃_ij of i, j in the block (B, L, b, b).
        sums: Σ_i ρ_i ρ'_i over all examples (B, L, L).
        by_rows: Σ_i ρ_i r̃'_i over all examples (B, L, L).
        by_diagonals: Σ_i ρ_i d'_i over all examples (B, L, L).
    """

    both: Matrix
    within: Matrix
    sums: Matrix
    by_rows: Matrix
    by_diagonals: Matrix


@dataclass(frozen=True)
class Run:
    """Some blocks of one size that follow each other.

    Attributes:
        examples: Of all of them.
        size: Examples in each.
    """

    examples: slice
    size: int

    @property
    def blocks(self) -> int:
        """How many."""
        examples: int = self.examples.stop - self.examples.start
        return examples // self.size


class GramForm(Protocol):
    """L layers whose Gram matrices can be asked for what some examples have to do with all."""

    @property
    def total(self) -> PairSums:
        """Sums over all examples."""

    @property
    def rows(self) -> Matrix:
        """r̃ (L, n)."""

    @property
    def diagonal(self) -> Matrix:
        """D (L, n)."""

    def outside(self, runs: Sequence[Run]) -> Iterator[Outside]:
        """Of runs that follow each other, from the first example to the last."""


class EntryForm:
    """Gram matrices whose entries are computed when they are asked for.

    Args:
        layers: Of each layer how activations become entries, and its activations (n, p).
        sums: Over all tiles of these Gram matrices.
    """

    def __init__(self, layers: Sequence[tuple[LayerTiles, Array]], sums: TileSums) -> None:
        self.layers = [(tiles, tiles.features(x)) for tiles, x in layers]
        self.total = sums.finish()
        self.rows, self.diagonal = sums.rows, sums.diagonal

    def outside(self, runs: Sequence[Run]) -> Iterator[Outside]:
        """Of runs that follow each other, from the first example to the last.

        What a run has to do with a later one is, mirrored, what the later one has to do with it. So where the sums of
        all runs can be held, each entry is computed once.
        """
        layers = len(self.layers)
        once = sum(run.blocks for run in runs) * _Sums.bytes_of_a_block(layers) <= _HELD_BYTES
        sums = {index: _Sums(run, layers) for index, run in enumerate(runs)} if once else {}
        for index, run in enumerate(runs):
            own = sums.pop(index, None) or _Sums(run, layers)
            for columns, others in _chunks(runs, index if once else 0):
                stripe = self._entries(run.examples, columns)
                own.add(stripe, self._known(columns))
                for other in (j for j in others if once and j > index):
                    first, last = runs[other].examples.start - columns.start, runs[other].examples.stop - columns.start
                    mirrored = stripe[:, :, first:last]
                    mirrored = array_api_compat.array_namespace(stripe).permute_dims(mirrored, (0, 2, 1))
                    sums[other].add(mirrored, self._known(run.examples))
            yield own.finish(self._within(run))

    def _known(self, examples: slice) -> Matrix:
        """r̃ and d of some examples (2L, |J|)."""
        return np.concatenate([self.rows[:, examples], self.diagonal[:, examples]])

    def _within(self, run: Run) -> Matrix:
        """K̃ among the examples of each block (B, L, b, b)."""
        within = np.zeros((run.blocks, len(self.layers), run.size, run.size))
        for block in range(run.blocks if run.size > 1 else 0):
            begin = run.examples.start + block * run.size
            same = slice(begin, begin + run.size)
            within[block] = to_numpy(self._entries(same, same))
        return within

    def _entries(self, rows: slice, columns: slice) -> Array:
        """K̃ (L, rows, columns)."""
        blocks = [tiles.block(features[rows, :], features[columns, :]) for tiles, features in self.layers]
        xp = array_api_compat.array_namespace(*blocks)
        first, last = max(rows.start, columns.start), min(rows.stop, columns.stop)
        entries = xp.stack(blocks)
        if first < last:
            square = entries[:, first - rows.start : last - rows.start, first - columns.start : last - columns.start]
            square *= 1 - xp.eye(last - first, dtype=entries.dtype, device=array_api_compat.device(entries))
        return entries


class _Sums:
    """The sums of :class:`Outside` for the B blocks of a run, over the examples that came by so far."""

    def __init__(self, run: Run, layers: int) -> None:
        self.run, self.layers = run, layers
        self.both = np.zeros((run.blocks, layers, layers))
        self.sums = np.zeros((run.blocks, layers, layers)) if run.size > 1 else self.both
        self.beside = np.zeros((run.blocks, layers, 2 * layers))

    @staticmethod
    def bytes_of_a_block(layers: int) -> int:
        """How much memory the sums of a block take."""
        return 8 * 4 * layers**2

    def add(self, stripe: Array, known: Matrix) -> None:
        """Add K̃ (L, run, J) of examples J, whose row sums and diagonals are ``known`` (2L, |J|)."""
        xp, blocks = array_api_compat.array_namespace(stripe), self.run.blocks
        stripe = xp.reshape(stripe, (self.layers, blocks, self.run.size, -1))
        self.both += _products(xp, xp.reshape(xp.permute_dims(stripe, (1, 0, 2, 3)), (blocks, self.layers, -1)))
        rho = xp.permute_dims(xp.sum(stripe, axis=2), (1, 0, 2))
        if self.run.size > 1:
            self.sums += _products(xp, rho)
        beside = xp.astype(xp.asarray(known, device=array_api_compat.device(rho)), rho.dtype)
        self.beside += to_numpy(xp.matmul(rho, beside.T))

    def finish(self, within: Matrix) -> Outside:
        """All together, once all examples came by."""
        return Outside(self.both, within, self.sums, self.beside[..., : self.layers], self.beside[..., self.layers :])


def _chunks(runs: Sequence[Run], first: int) -> Iterator[tuple[slice, range]]:
    """Cut the examples of the runs from ``first`` on into chunks of whole runs: the examples, and which runs."""
    begin = first
    for index in range(first, len(runs)):
        start, stop = runs[begin].examples.start, runs[index].examples.stop
        if index + 1 == len(runs) or runs[index + 1].examples.stop - start > COLUMNS:
            yield slice(start, stop), range(begin, index + 1)
            begin = index + 1


class FeatureForm:
    """Linear Gram matrices from features, the layers side by side; around the mean each of their rows sums to zero.

    Args:
        layers: Of each layer how activations become features, and its activations (n, p).
        sums: Moments of these features.
    """

    def __init__(self, layers: Sequence[tuple[LayerTiles, Array]], sums: MomentSums) -> None:
        self.layers, n = layers, sums.n
        self.mean = sums.sums / n
        self.starts = np.cumsum([0, *sums.widths])[:-1]
        self.moments = sums.whole()
        products = np.empty((len(layers), len(layers)))
        for index, rows in enumerate(self._columns()):
            part = self.moments[rows]
            part -= np.outer(sums.sums[rows], self.mean)
            products[index] = np.add.reduceat(np.einsum("ij,ij->j", part, part), self.starts)
        chunks = [slice(start, min(start + COLUMNS, n)) for start in range(0, n, COLUMNS)]
        self.diagonal = np.empty((len(layers), n))
        self.lengths = np.zeros((len(layers), len(self.mean)))  # Σ_j d_j z_j (L, P)
        for rows in chunks:
            z = self._centered(rows)
            self.diagonal[:, rows] = np.add.reduceat(z * z, self.starts, axis=1).T
            self.lengths += self.diagonal[:, rows] @ z
        self.rows = -self.diagonal
        squares, traces = self.diagonal @ self.diagonal.T, self.diagonal.sum(axis=1)
        self.total = PairSums.around_the_mean(n, products, squares, traces)

    def _centered(self, examples: slice) -> Matrix:
        """Z (|I|, P) around the mean."""
        parts = [to_numpy(tiles.features(x[examples, :])) for tiles, x in self.layers]
        found: Matrix = np.concatenate(parts, axis=1) - self.mean
        return found

    def outside(self, runs: Sequence[Run]) -> Iterator[Outside]:
        """Of runs that follow each other."""
        return (self._outside(run.examples, run.size) for run in runs)

    def _outside(self, examples: slice, size: int) -> Outside:
        x, layers = self._centered(examples), len(self.starts)
        d = self.diagonal[:, examples].T.reshape(-1, size, layers)  # (B, b, L)
        squares = np.einsum("kil,kim->klm", d, d)
        full = self._quadratic(x)
        both = full.reshape(-1, size, layers, layers).sum(axis=1) - squares
        moved = x.reshape(-1, size, x.shape[1])
        within = np.zeros((len(d), layers, size, size))
        for index, columns in enumerate(self._columns() if size > 1 else ()):
            part = moved[:, :, columns]
            within[:, index] = part @ part.swapaxes(1, 2)
        within[..., range(size), range(size)] = 0
        together = moved.sum(axis=1)  # Σ_{k∈g} z_k (B, P)
        # The sums over ZZᵀ, which has its diagonal: ρ_i gets d_i more for each i of the block.
        own = within.sum(axis=2).transpose(0, 2, 1)  # ρ_i (B, b, L) of i in the block
        mixed = np.einsum("kil,kim->klm", own, d)
        quadratic = full if size == 1 else self._quadratic(together)
        sums = quadratic - mixed - mixed.swapaxes(1, 2) - squares
        weighted = np.add.reduceat(together[:, None, :] * self.lengths, self.starts, axis=2)  # (B, L of d, L of ρ)
        by_diagonals = weighted.swapaxes(1, 2) - squares
        return Outside(both, within, sums, -by_diagonals, by_diagonals)

    def _quadratic(self, x: Matrix) -> Matrix:
        """z_l ᵀ (Z_lᵀ Z_m) z_m (k, L, L) of vectors (k, P)."""
        found = np.empty((len(x), len(self.starts), len(self.starts)))
        for index, columns in enumerate(self._columns()):
            start = columns.start  # the other half is its mirror image
            products = times_transposed(x[:, columns], self.moments[start:, columns])
            products *= x[:, start:]
            found[:, index, index:] = np.add.reduceat(products, self.starts[index:] - start, axis=1)
            found[:, index:, index] = found[:, index, index:]
        return found

    def _columns(self) -> list[slice]:
        ends = [*self.starts[1:], len(self.mean)]
        return [slice(int(start), int(stop)) for start, stop in zip(self.starts, ends, strict=True)]


def form_of(layers: Sequence[tuple[LayerTiles, Array]], partial: Partial) -> GramForm:
    """The layers whose exact sums over all examples a complete partial result holds.

    Args:
        layers: Of each layer how activations become entries or features, and its activations (n, p).
        partial: Sums over tiles or moments, that were added up by the same rules.
    """
    arrays = without_prefix("sums.", partial.arrays)
    if partial.route == "moments":
        return FeatureForm(layers, MomentSums.from_arrays(arrays))
    return EntryForm(layers, TileSums.from_arrays(arrays))


def gram(x: Matrix) -> Matrix:
    """X Xᵀ (…, L, L) of X (…, L, b)."""
    return x @ x.swapaxes(1, 2)


def _products(xp: Namespace, x: Array) -> Matrix:
    return np.asarray(to_numpy(xp.matmul(x, xp.permute_dims(x, (0, 2, 1)))))
