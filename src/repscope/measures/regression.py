"""Linear regression: how much of one representation a linear map of the other explains (eq. 5).

With a ridge, and judged on examples that it was not fitted to, where that is wished. Ridge regression on Y = U S Vᵀ
shrinks predictions along u_i by a_i = s_i² / (s_i² + κ), so one decomposition serves every ridge. And R² stays the same
when either side is rotated, so U S stands for a layer, however wide, in all folds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import array_api_compat
import numpy as np

from repscope.errors import InputError, RankWarning
from repscope.measures._arrays import (
    Array,
    Namespace,
    center_and_scale,
    check_pair,
    detached,
    differentiable,
    frobenius_squared,
    undefined,
    widest_float,
)
from repscope.measures._decomposition import Decomposition, decompose, overlap
from repscope.measures._messages import is_real, is_whole, warn


@dataclass(frozen=True)
class Split:
    """One fold: a design fitted to the other examples.

    Attributes:
        inside: Indices of the examples that it is fitted to.
        outside: Indices (m,) of those that are predicted.
        design: The decomposition of those inside.
        coordinates: Of those outside in its basis (m, r), so that predictions are coordinates · diag(a) · Uᵀ · target.
    """

    inside: Array
    outside: Array
    design: Decomposition
    coordinates: Array


@dataclass(frozen=True)
class RegressionState:
    """One layer in both of its roles.

    Attributes:
        decomposition: X = U S Vᵀ: U is the design's orthonormal basis, U S stands for the target.
        features: The centred features (n, p) where gradients are recorded, else None.
        folds: Into how many parts the examples are divided, or None: R² in the sample.
        seed: For the division.
    """

    decomposition: Decomposition
    features: Array | None
    folds: int | None = None
    seed: int = 0

    @cached_property
    def values(self) -> Array:
        """U S (n, r), the centred layer but for a rotation of its columns and a unit."""
        return self.decomposition.basis * self.decomposition.singular_values

    @cached_property
    def splits(self) -> tuple[Split, ...]:
        """The layer as a design, fitted without each fold in turn."""
        assert self.folds is not None
        xp = array_api_compat.array_namespace(self.values)
        device = array_api_compat.device(self.values)
        splits = []
        for part in fold_indices(self.values.shape[0], self.folds, self.seed):
            rest = np.setdiff1d(np.arange(self.values.shape[0]), part)
            outside, inside = xp.asarray(part, device=device), xp.asarray(rest, device=device)
            fitted = xp.take(self.values, inside, axis=0)
            design = decompose(fitted)
            right = design.coordinates(fitted).T / design.singular_values**2  # V S⁻¹ over the scale (p, r)
            centered = (xp.take(self.values, outside, axis=0) - xp.mean(fitted, axis=0)) / design.scale
            splits.append(Split(inside, outside, design, centered @ right))
        return tuple(splits)


def fold_indices(n: int, folds: int, seed: int) -> list[np.ndarray]:
    """The examples in an order drawn with this seed, in ``folds`` runs whose lengths differ by one at most."""
    return [np.sort(part) for part in np.array_split(np.random.default_rng(seed).permutation(n), folds)]


def check_options(options: Mapping[str, Any]) -> int:
    """Refuse options that mean nothing; return the smallest number of examples."""
    regularization, folds, seed = options["regularization"], options["folds"], options["fold_seed"]
    if not is_real(regularization) or not 0 <= regularization < math.inf:
        raise InputError(
            f"linear_regression: regularization must be finite and not negative, got {regularization!r}. "
            "Use 0 for least squares, or 0.01, for example."
        )
    if folds is not None and (not is_whole(folds) or folds < 2):
        raise InputError(
            f"linear_regression: folds must be a whole number from 2, or None, got {folds!r}. "
            "Use 5, for example, or leave it out for R² in the sample."
        )
    if not is_whole(seed) or seed < 0:
        raise InputError(
            f"linear_regression: fold_seed must be a whole number from 0, got {seed!r}. Leave it out for 0."
        )
    return 2 if folds is None else max(folds, 4)


def prepare(
    x: Array, *, folds: int | None = None, fold_seed: int = 0, decomposition: Decomposition | None = None
) -> RegressionState:
    """Decompose one checked representation (n, p)."""
    features = None
    if differentiable(x) and folds is None:
        xp = array_api_compat.array_namespace(x)
        features, _ = center_and_scale(xp, xp.astype(x, widest_float(xp, x), copy=False))
    return RegressionState(decompose(x) if decomposition is None else decomposition, features, folds, fold_seed)


def score(state_x: RegressionState, state_y: RegressionState, *, regularization: float = 0.0) -> Array:
    """R² of predicting the first prepared layer from the second."""
    x, y = state_x.decomposition, state_y.decomposition
    xp = array_api_compat.array_namespace(x.left)
    if x.rank == 0:
        return undefined(
            "linear_regression", "all rows of x are equal, there is nothing to predict (0/0).", x.singular_values
        )
    if y.rank == 0:
        return undefined(
            "linear_regression", "all rows of y are equal, there is nothing to predict from.", x.singular_values
        )
    if state_y.folds is not None:
        return _cross_validated(xp, state_x.values, state_y.splits, regularization)
    energy = frobenius_squared(xp, x.singular_values)
    if regularization:
        explained = xp.sqrt(explained_shares(y, regularization))
        return frobenius_squared(xp, explained[:, None] * overlap(y, x) * x.singular_values) / energy
    n, q = y.shape
    if y.full:
        warn(
            f"linear_regression: n = {n} examples are too few for q = {q} features of y (rank {y.rank}): any x is "
            "predicted perfectly (Theorem 1 of Kornblith et al. 2019). Use more examples, folds, or cka.",
            RankWarning,
        )
    if state_x.features is not None or state_y.features is not None:
        return _differentiable_score(state_x, state_y)
    if y.full:
        return energy / energy  # the design spans every direction: the product would come to the same
    # U S is as good a target as x itself, from which it differs by a rotation of the columns.
    return frobenius_squared(xp, overlap(y, x) * x.singular_values) / energy


def hat_weights(design: Decomposition, regularization: float) -> Array:
    """Eigenvalues λ_i / (λ_i + λ) (r,) of the hat matrix, for a design whose variances λ_i sum to 1."""
    variances = design.variance_shares
    return variances / (variances + regularization)


def explained_shares(design: Decomposition, regularization: float) -> Array:
    """Of a target along each direction of the design (r,) the share explained in the sample: 1 − (1 − a)²."""
    weights = hat_weights(design, regularization)
    return weights * (2.0 - weights)


def _cross_validated(xp: Namespace, target: Array, splits: tuple[Split, ...], regularization: float) -> Array:
    """1 − Σ‖x_i − x̂_i‖² / Σ‖x_i − x̄‖², prediction and mean from the examples outside the fold of i."""
    residual = total = xp.sum(target[:, :0])
    for split in splits:
        fitted = xp.take(target, split.inside, axis=0)
        mean = xp.mean(fitted, axis=0)
        asked = xp.take(target, split.outside, axis=0) - mean
        weights = hat_weights(split.design, regularization)
        predicted = (split.coordinates * weights) @ (split.design.basis.T @ (fitted - mean))
        residual = residual + frobenius_squared(xp, asked - predicted)
        total = total + frobenius_squared(xp, asked)
    return 1.0 - residual / total


def _differentiable_score(state_x: RegressionState, state_y: RegressionState) -> Array:
    """R² as 1 − ‖X − Y B‖²/‖X‖² with the optimal B held fixed.

    B minimises the residual, so its own derivative drops out (envelope theorem): the gradient is exact, and it is
    finite where a derivative through a factorisation would not be.
    """
    y = state_y.decomposition
    xp = array_api_compat.array_namespace(y.basis)
    design = _values(state_y)
    target = _values(state_x)
    singular = xp.sqrt(xp.sum((y.basis.T @ detached(design)) ** 2, axis=1))  # S in the units of the design
    right = (y.basis.T @ detached(design)) / singular[:, None]  # Vᵀ (r, q)
    coefficients = right.T @ ((y.basis.T @ detached(target)) / singular[:, None])  # (q, p)
    residual = target - design @ coefficients
    return 1.0 - frobenius_squared(xp, residual) / frobenius_squared(xp, target)


def _values(state: RegressionState) -> Array:
    return state.values if state.features is None else state.features


def linear_regression(
    x: Array, y: Array, *, regularization: float = 0.0, folds: int | None = None, fold_seed: int = 0
) -> Array:
    """Share of the variance of x that a linear map of y explains, R².

    R²_LR = 1 − min_B ‖X − YB‖_F² / ‖X‖_F² = ‖Q_YᵀX‖_F² / ‖X‖_F², eq. 5: **x is the target, y the design**. With a
    ridge, B minimises ‖X − YB‖_F² + λ‖Y‖_F²‖B‖_F² instead. With ``folds``, the examples are divided at random, each is
    predicted by a fit to all other folds, and R² is 1 − Σ_i ‖x_i − x̂_i‖² / Σ_i ‖x_i − x̄_i‖² with the mean x̄_i of the
    examples of that fit: 0 is what predicting the mean would give.

    Range: [0, 1] in the sample, (−∞, 1] with folds. Independent data give q / (n − 1) on average in the sample without
    a ridge. Not symmetric; the paper's tables symmetrise it as s(x, y) + s(y, x). Not a metric. Invariances: any
    invertible linear map of y without a ridge, with one orthogonal maps and isotropic scaling; orthogonal maps and
    isotropic scaling of x; translation of both.

    Args:
        x: Target representation (n, p).
        y: Design representation (n, q).
        regularization: λ, from 0, in units of the sum of squares of the centred design. Layers that were prepared serve
            any number of values, the ridge path.
        folds: Into how many parts the examples are divided, from 2 to n (each example by itself); None: R² in the
            sample.
        fold_seed: For the division, the same for every layer and call.

    Returns:
        A scalar of the caller's library; NaN with a warning where x or y is constant. Torch gradients flow through it
        in the sample without a ridge.

    Raises:
        InputError: For arrays that do not match, options that mean nothing, too few examples, or NaN and infinity.

    Warns:
        RankWarning: Where y has n − 1 independent columns, so that anything is predicted perfectly; not with a ridge or
            folds.

    References:
        Kornblith et al. 2019, eq. 5 and App. C.1; Hoerl & Kennard 1970 (ridge); Stone 1974 (cross-validation).

    Example:
        >>> import numpy as np
        >>> y = np.random.RandomState(0).randn(30, 3)
        >>> round(float(linear_regression(y[:, :1] + y[:, 1:2], y)), 6)
        1.0
    """
    fewest = check_options({"regularization": regularization, "folds": folds, "fold_seed": fold_seed})
    x, y = check_pair("linear_regression", x, y, minimum_examples=fewest, as_stored=True)
    states = [prepare(z, folds=folds, fold_seed=fold_seed) for z in (x, y)]
    return score(states[0], states[1], regularization=regularization)
