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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import array_api_compat
import numpy as np

from repscope.engine.accumulate import Matrix, MomentSums
from repscope.engine.partial import Partial, without_prefix
from repscope.engine.products import times_transposed, to_numpy
from repscope.engine.tiles import LayerTiles
from repscope.errors import InputError
from repscope.measures._arrays import Array, Namespace
from repscope.measures._messages import is_whole
from repscope.measures._sums import PairSums, TileSums
from repscope.measures.kernels import Estimator

COLUMNS = 1024
"""Examples that a run of blocks is paired with at a time."""

FEWEST_REPLICATES = 8
"""Fewer replicates say too little about a variance."""

Intervals: TypeAlias = Literal["auto"] | bool | int
"""Whether standard errors are wanted, or the number of consecutive examples that are left out together."""

_STRIPE_BYTES = 1 << 25

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
    inside = _gram(outside.within.reshape(*outside.within.shape[:2], -1))
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


def _gram(x: Matrix) -> Matrix:
    return x @ x.swapaxes(1, 2)


def _products(xp: Namespace, x: Array) -> Matrix:
    return np.asarray(to_numpy(xp.matmul(x, xp.permute_dims(x, (0, 2, 1)))))
