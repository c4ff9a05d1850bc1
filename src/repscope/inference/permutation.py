"""Scores under permutations of the examples of one side, all layers by the same permutation, from prepared layers."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.engine.accumulate import Matrix
from repscope.engine.products import to_numpy
from repscope.engine.threads import cores, one_blas_thread, pool
from repscope.errors import RepscopeWarning
from repscope.inference.closed_form import Factors
from repscope.measures._arrays import Array
from repscope.measures._decomposition import Decomposition
from repscope.measures.cca import PWCCAState
from repscope.measures.hsic import HSICState
from repscope.measures.matching import Units
from repscope.measures.measure import ConfiguredMeasure, Unpaired
from repscope.measures.neighbors import Neighborhoods
from repscope.measures.regression import RegressionState
from repscope.measures.shape import ProcrustesState
from repscope.measures.stochastic import StochasticState
from repscope.measures.topology import Samples

Orders = npt.NDArray[np.intp]

SINGLE_FROM = 512
"""Examples from which on matrices are held in single precision: sums of so many entries keep six digits."""

_TOGETHER = 1 << 18
"""Entries of permuted matrices that are multiplied at once: they stay in a core's cache, where they are gathered."""

_OF_PAIRS = ("distances", "cosines")
"""Parts of prepared neighbours with one entry for each pair of examples."""


def draw_orders(n: int, permutations: int, seed: int) -> tuple[Orders, bool]:
    """Orders of n examples (K, n), and whether these are all there are: where n! is no more than asked for."""
    if n < 20 and math.factorial(n) <= permutations:
        return np.array(list(itertools.permutations(range(n))), dtype=np.intp), True
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(n) for _ in range(permutations)], dtype=np.intp), False


def of_rows(orders: Orders, repeats: int) -> Orders:
    """Orders of examples (K, n) as orders of their rows (K, n·r), those of one example one after the other."""
    return (orders[:, :, None] * repeats + np.arange(repeats)).reshape(len(orders), -1)


def bytes_needed(n: int, rows: int, columns: int) -> int:
    """Of the matrices that :func:`permuted_products` holds."""
    return (rows * n * (n + 1) // 2 + columns * n * n) * (4 if n >= SINGLE_FROM else 8)


def permuted_products(factors: Factors, orders: Orders) -> npt.NDArray[np.float64]:
    """⟨A, PBPᵀ⟩ / norm for each permutation and each pair of layers (K, L, M).

    The entries of all layers for one pair of examples lie side by side, so that one product serves all pairs of layers
    and several permutations. A row of the permuted matrices comes from one row of B: that is copied into the cache from
    end to end, and gathered there.
    """
    n, columns = orders.shape[1], len(factors.y)
    dtype = np.float32 if n >= SINGLE_FROM else np.float64
    i, j = np.triu_indices(n)
    doubled = np.where(i == j, 1.0, 2.0)
    x = np.empty((i.size, len(factors.x)), dtype=dtype)
    for k, make in enumerate(factors.x):
        x[:, k] = to_numpy(make())[i, j] * doubled
    y = np.empty((n, n, columns), dtype=dtype)
    for k, make in enumerate(factors.y):
        y[:, :, k] = to_numpy(make())
    found = np.empty((len(orders), x.shape[1], columns))
    together = min(max(1, _TOGETHER // (n * columns)), len(orders))

    def work(begin: int) -> None:
        found[begin : begin + together] = _products(x, y, orders[begin : begin + together])

    threads = min(cores(), -(-len(orders) // together))
    with one_blas_thread():
        list(pool(threads).map(work, range(0, len(orders), together)))
    return found / factors.norms


def _products(x: Matrix, y: Matrix, orders: Orders) -> npt.NDArray[np.float64]:
    """Σ_i≤j A_ij B_π(i)π(j) of a few permutations (k, L, M), from A (pairs i ≤ j, L) and B (n, n, M)."""
    n, columns, k = y.shape[1], y.shape[2], len(orders)
    places = np.ascontiguousarray(orders.T)  # (n, k)
    in_rows = places + np.arange(k) * n
    rows = np.empty((k, n * columns), dtype=y.dtype)
    gathered = np.empty((n, k, columns), dtype=y.dtype)
    total = np.zeros((x.shape[1], k * columns))
    begin = 0
    for i in range(n):
        np.take(y.reshape(n, -1), places[i], axis=0, out=rows, mode="clip")
        entries = gathered[: n - i]
        np.take(rows.reshape(-1, columns), in_rows[i:], axis=0, out=entries, mode="clip")
        total += x[begin : begin + n - i].T @ entries.reshape(n - i, -1)
        begin += n - i
    return total.reshape(-1, k, columns).transpose(1, 0, 2)


def permuted_scores(
    measure: ConfiguredMeasure,
    states: Mapping[int, Any],
    arrays: Sequence[Array],
    rows: Sequence[int],
    columns: Sequence[int],
    orders: Orders,
) -> npt.NDArray[np.float64]:
    """The score for each permutation and each pair of layers (K, L, M), of measures that are not ⟨A, B⟩.

    Args:
        measure: What the layers were prepared by.
        states: Prepared layers by index.
        arrays: The layers (n, p) themselves.
        rows: Indices of the first arguments.
        columns: Indices of the second arguments, whose examples are permuted.
        orders: (K, n).
    """
    found = np.empty((len(orders), len(rows), len(columns)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepscopeWarning)  # they were given for the layers as they are
        for k, order in enumerate(orders):
            moved = []
            for c in columns:
                state = permuted(states[c], order)
                moved.append(measure.prepare(_taken(arrays[c], order)) if state is None else state)
            found[k] = [[float(measure.score(states[r], state)) for state in moved] for r in rows]
    return found


def permuted(state: Any, order: npt.NDArray[np.intp]) -> Any:
    """A prepared layer with its examples in another order; None where it must be prepared anew."""
    if isinstance(state, Decomposition):
        return replace(state, left=_taken(state.left, order))
    if isinstance(state, PWCCAState | RegressionState):
        return replace(state, decomposition=permuted(state.decomposition, order))
    if isinstance(state, ProcrustesState | Units):
        return replace(state, features=_taken(state.features, order))
    if isinstance(state, HSICState):
        features, squares, gram = (None if z is None else _taken(z, order) for z in _by_example(state))
        return replace(state, features=features, squares=squares, gram=None if gram is None else _taken(gram.T, order))
    if isinstance(state, Unpaired):
        return state
    if isinstance(state, StochasticState):
        repeats = len(order) // state.means.shape[0]
        examples = order[::repeats] // repeats
        return replace(state, means=_taken(state.means, examples), deviations=_taken(state.deviations, examples))
    if isinstance(state, Samples) and state.whole:
        return replace(state, distances=tuple(matrix[np.ix_(order, order)] for matrix in state.distances))
    if isinstance(state, Neighborhoods):
        squares = {f.name: getattr(state, f.name) for f in fields(state) if f.name in _OF_PAIRS}
        moved = {name: _taken(_taken(square, order).T, order).T for name, square in squares.items()}
        return replace(state, nearest=_renamed(_taken(state.nearest, order), order), **moved)
    return None


def _renamed(indices: Array, order: npt.NDArray[np.intp]) -> Array:
    """Indices (n, k) of examples, as they are in another order."""
    xp = array_api_compat.array_namespace(indices)
    places = xp.asarray(np.argsort(order), dtype=indices.dtype, device=array_api_compat.device(indices))
    return xp.reshape(xp.take(places, xp.reshape(indices, (-1,))), indices.shape)


def _by_example(state: HSICState) -> tuple[Array | None, Array | None, Array | None]:
    return state.features, state.squares, state.gram


def _taken(x: Array, order: npt.NDArray[np.intp]) -> Array:
    xp = array_api_compat.array_namespace(x)
    return xp.take(x, xp.asarray(order, device=array_api_compat.device(x)), axis=0)


def order_statistic(scores: Matrix, alpha: float) -> Matrix:
    """The ⌈(1 − α)K⌉-th smallest of K scores (K, …), exceeded by chance with probability α at most."""
    rank = math.ceil((1 - alpha) * len(scores) - 1e-9)
    found: Matrix = np.sort(scores, axis=0)[max(rank, 1) - 1]
    return found
