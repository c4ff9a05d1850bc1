"""Chance levels of measures that are scored pair by pair: those whose score is ⟨A, B⟩ of one matrix a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.engine.accumulate import Matrix
from repscope.engine.products import to_numpy
from repscope.inference.moments import DirectedSums, Null, directed_moments, product_null, smallest
from repscope.measures._arrays import Array
from repscope.measures._decomposition import Decomposition
from repscope.measures._sums import CenteredSums, hsic_normalizer
from repscope.measures._thirds import THIRDS_EXAMPLES, Thirds, third_order
from repscope.measures.cca import ridge_normalizer, shrinkage
from repscope.measures.hsic import HSICState, State, TiledState, gram_of
from repscope.measures.measure import ConfiguredMeasure
from repscope.measures.neighbors import Neighborhoods
from repscope.measures.regression import RegressionState, explained_shares, hat_weights

_ROWS = 4096
"""Rows of a basis that are made at a time."""


@dataclass(frozen=True)
class _Layer:
    """One layer's matrix A: its sums, its third-order sums, and its weights A = U diag(w) Uᵀ where it has some."""

    sums: CenteredSums
    thirds: Thirds
    weights: Matrix


def pair_null(
    measure: ConfiguredMeasure, states: Mapping[int, Any], rows: Sequence[int], columns: Sequence[int]
) -> Null | None:
    """Null of all pairs under permutations of the examples; None where no closed form is known.

    Args:
        measure: What the layers were prepared by.
        states: Prepared layers by index.
        rows: Indices of the first arguments.
        columns: Indices of the second arguments.
    """
    if measure.options.get("summary") == "mean" or measure.options.get("folds") is not None:
        return None
    if measure.id in ("cka", "hsic") or _unbiased_distances(measure):
        return _of_grams(measure, states, rows, columns)
    if measure.id == "mutual_knn":
        return _of_neighbors(states, rows, columns)
    if measure.id == "gulp":
        return _of_hat_matrices(measure, states, rows, columns)
    if measure.id not in _ROLES:
        return None
    first, second, normalizer = _ROLES[measure.id]
    x = {i: _weighted(*first(states[i], measure.options)) for i in dict.fromkeys(rows)}
    same = first is second
    y = {i: x[i] if same and i in x else _weighted(*second(states[i], measure.options)) for i in dict.fromkeys(columns)}
    left, right = [x[i] for i in rows], [y[i] for i in columns]
    factors = np.array([[normalizer(a.weights, b.weights, measure.options) for b in right] for a in left])
    return _null(left, right).divided(factors)


@dataclass(frozen=True)
class Factors:
    """A measure as ⟨A, B⟩ / norm of one matrix a layer.

    Attributes:
        x: Make A (n, n) of each row.
        y: Make B (n, n) of each column.
        norms: (rows, columns); NaN for constant layers.
    """

    x: Sequence[Callable[[], Array]]
    y: Sequence[Callable[[], Array]]
    norms: Matrix


def pair_factors(
    measure: ConfiguredMeasure, states: Mapping[int, Any], rows: Sequence[int], columns: Sequence[int]
) -> Factors | None:
    """The matrices whose inner products are the scores; None for measures of another form. Arguments as above."""
    if measure.options.get("summary") == "mean" or measure.options.get("folds") is not None:
        return None
    if measure.id in ("cka", "hsic") or _unbiased_distances(measure):
        grams = {i: _held(states[i]) for i in dict.fromkeys([*rows, *columns])}
        if measure.id != "hsic":
            roots = {i: np.nan if g.vanishes else float(g.self_product) ** 0.5 for i, g in grams.items()}
        else:
            roots = {i: hsic_normalizer(g.n, g.estimator) ** 0.5 / g.unit for i, g in grams.items()}
        norms = np.outer([roots[i] for i in rows], [roots[i] for i in columns])
        x, y = ([partial(gram_of, grams[i]) for i in side] for side in (rows, columns))
        return Factors(x, y, norms)
    if measure.id not in _ROLES:
        return None
    first, second, normalizer = _ROLES[measure.id]
    left, right = (
        [role(states[i], measure.options) for i in side] for role, side in ((first, rows), (second, columns))
    )
    norms = np.array([[normalizer(a, b, measure.options) for _, b in right] for _, a in left])
    x, y = ([partial(_matrix, *layer) for layer in side] for side in (left, right))
    return Factors(x, y, np.where(norms > 0, norms, np.nan))


def _matrix(state: Decomposition, weights: Matrix) -> Matrix:
    """A = U diag(w) Uᵀ (n, n)."""
    basis = to_numpy(_basis_rows(state, slice(None)))
    found: Matrix = (basis * weights) @ basis.T
    return found


def _unbiased_distances(measure: ConfiguredMeasure) -> bool:
    """Whether the score is CKA of U-centred distances; the biased form is a root, whose moments have no formula."""
    return measure.id == "distance_correlation" and measure.options["estimator"] == "unbiased"


def _held(state: State) -> HSICState:
    return state.held() if isinstance(state, TiledState) else state


def _null(x: Sequence[_Layer], y: Sequence[_Layer]) -> Null:
    return product_null(_stacked(x), _stacked(y), np.stack([a.thirds for a in x]), np.stack([b.thirds for b in y]))


def _stacked(layers: Sequence[_Layer]) -> CenteredSums:
    names = ("traces", "squared_diagonals", "squared_norms")
    return CenteredSums(layers[0].sums.n, *(np.array([getattr(a.sums, name) for a in layers]) for name in names))


# -- matrices from a decomposition -------------------------------------------------------------------------------------


def _projector(state: Decomposition, options: Mapping[str, Any]) -> tuple[Decomposition, Matrix]:
    """U Uᵀ, the projector onto a layer's column space."""
    return state, np.ones(state.rank)


def _design(state: RegressionState, options: Mapping[str, Any]) -> tuple[Decomposition, Matrix]:
    """The projector onto what a design explains; with a ridge, of each direction a share."""
    design = state.decomposition
    if design.rank == 0 or options["regularization"] == 0:
        return _projector(design, options)
    return design, to_numpy(explained_shares(design, options["regularization"]))


def _variances(state: Decomposition, options: Mapping[str, Any]) -> tuple[Decomposition, Matrix]:
    """XXᵀ / ‖X‖²."""
    return state, to_numpy(state.variance_shares)


def _target(state: RegressionState, options: Mapping[str, Any]) -> tuple[Decomposition, Matrix]:
    """XXᵀ / ‖X‖², of which regression explains a part."""
    return _variances(state.decomposition, options)


def _ridge_x(state: Decomposition, options: Mapping[str, Any]) -> tuple[Decomposition, Matrix]:
    return state, _shrunk(state, options["kappa_x"])


def _ridge_y(state: Decomposition, options: Mapping[str, Any]) -> tuple[Decomposition, Matrix]:
    return state, _shrunk(state, options["kappa_y"])


def _shrunk(state: Decomposition, kappa: float) -> Matrix:
    if state.rank == 0:
        return np.empty(0)
    found: Matrix = to_numpy(shrinkage(array_api_compat.array_namespace(state.left), state, kappa))
    return found


def _of_hat_matrices(
    measure: ConfiguredMeasure, states: Mapping[int, Decomposition], rows: Sequence[int], columns: Sequence[int]
) -> Null:
    """Null of ‖A − B‖², of which permutations change the product only."""
    layers = {i: _weighted(states[i], _hat(states[i], measure.options)) for i in dict.fromkeys([*rows, *columns])}
    left, right = [layers[i] for i in rows], [layers[i] for i in columns]
    x, y = (np.array([z.weights @ z.weights if z.weights.size else np.nan for z in side]) for side in (left, right))
    return _null(left, right).as_distances(x[:, None] + y[None, :])


def _hat(state: Decomposition, options: Mapping[str, Any]) -> Matrix:
    found: Matrix = to_numpy(hat_weights(state, options["regularization"]))
    return found


def _smaller_rank(a: Matrix, b: Matrix, options: Mapping[str, Any]) -> float:
    return min(a.size, b.size)


def _one(a: Matrix, b: Matrix, options: Mapping[str, Any]) -> float:
    return 1.0


def _larger_rank(a: Matrix, b: Matrix, options: Mapping[str, Any]) -> float:
    return max(a.size, b.size)


def _inverse_participation(a: Matrix, b: Matrix, options: Mapping[str, Any]) -> float:
    return float((a @ a) * (b @ b))


def _ridge(a: Matrix, b: Matrix, options: Mapping[str, Any]) -> float:
    return float(ridge_normalizer(np, a, b, options["normalizer"]))


_Role = Callable[[Any, Mapping[str, Any]], tuple[Decomposition, Matrix]]
_Normalizer = Callable[[Matrix, Matrix, Mapping[str, Any]], float]

_ROLES: Mapping[str, tuple[_Role, _Role, _Normalizer]] = {
    "cca": (_projector, _projector, _smaller_rank),
    "svcca": (_projector, _projector, _smaller_rank),
    "linear_regression": (_target, _design, _one),
    "ensd": (_variances, _variances, _inverse_participation),
    "eigenspace_overlap": (_projector, _projector, _larger_rank),
    "canonical_ridge": (_ridge_x, _ridge_y, _ridge),
}
"""Measures of the form ⟨A, B⟩ / norm: what A is, what B is, and the norm from the weights of both."""


def _weighted(state: Decomposition, weights: Matrix) -> _Layer:
    """The sums of A = U diag(w) Uᵀ (n, n)."""
    n = state.shape[0]
    diagonal = np.empty(n)
    for begin in range(0, n, _ROWS):
        rows = _basis_rows(state, slice(begin, begin + _ROWS))
        diagonal[begin : begin + _ROWS] = to_numpy(rows * rows) @ weights
    some = to_numpy(_basis_rows(state, slice(0, None, -(-n // THIRDS_EXAMPLES))))
    sums = CenteredSums(n, weights.sum(), diagonal @ diagonal, weights @ weights)
    return _Layer(sums, third_order((some * weights) @ some.T), weights)


def _basis_rows(state: Decomposition, rows: slice) -> Array:
    """Rows of U, without making all of it."""
    left = state.left[rows, :]
    return left if state.rotation is None else left @ state.rotation


# -- Gram matrices -----------------------------------------------------------------------------------------------------


def _of_grams(
    measure: ConfiguredMeasure, states: Mapping[int, HSICState], rows: Sequence[int], columns: Sequence[int]
) -> Null:
    layers = {i: _from_gram(_held(states[i])) for i in dict.fromkeys([*rows, *columns])}
    left, right = [layers[i] for i in rows], [layers[i] for i in columns]
    null = _null(left, right)
    if measure.id == "hsic":
        n, estimator = states[rows[0]].n, states[rows[0]].estimator
        return null.divided(np.full(null.mean.shape, float(hsic_normalizer(n, estimator))))
    norms = [np.sqrt([a.sums.squared_norms for a in side]) for side in (left, right)]
    return null.divided(np.outer(*norms))


def _from_gram(state: HSICState) -> _Layer:
    assert state.gram is not None  # other layers come from sums over tiles
    xp = array_api_compat.array_namespace(state.gram)
    diagonal = to_numpy(xp.linalg.diagonal(state.gram))
    step = -(-state.n // THIRDS_EXAMPLES)
    sums = CenteredSums(state.n, diagonal.sum(), diagonal @ diagonal, to_numpy(state.self_product))
    return _Layer(sums, third_order(to_numpy(state.gram[::step, ::step])), np.empty(0))


# -- neighbours --------------------------------------------------------------------------------------------------------


def _of_neighbors(states: Mapping[int, Neighborhoods], rows: Sequence[int], columns: Sequence[int]) -> Null:
    """Null of Σ_ij A_ij B_ij/(nk) with A_ij = 1 where j is one of the k nearest to i: its mean is k/(n − 1)."""
    sums = {i: _directed(to_numpy(states[i].nearest).astype(np.intp)) for i in dict.fromkeys([*rows, *columns])}
    n, k = states[rows[0]].nearest.shape
    mean, variance = directed_moments(_side(n, sums, rows), _side(n, sums, columns))
    return Null(mean, np.sqrt(variance), np.full_like(mean, np.nan), smallest([n])).divided(np.full_like(mean, n * k))


def _directed(nearest: npt.NDArray[np.integer]) -> tuple[float, ...]:
    """The sums of the matrix of ones at these neighbours (n, k), in the order of :class:`DirectedSums`."""
    n, k = nearest.shape
    into = np.bincount(nearest.ravel(), minlength=n).astype(np.float64)
    mutual = np.count_nonzero(nearest[nearest] == np.arange(n)[:, None, None])  # i among those nearest to its own
    return float(n * k), float(n * k), float(mutual), float(n * k * k), float(into @ into), float(n * k * k)


def _side(n: int, sums: Mapping[int, tuple[float, ...]], layers: Sequence[int]) -> DirectedSums:
    return DirectedSums(n, *np.array([sums[i] for i in layers]).T)
