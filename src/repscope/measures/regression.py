"""Linear regression: how much of one representation a linear map of the other explains (eq. 5)."""

from __future__ import annotations

from dataclasses import dataclass

import array_api_compat

from repscope.errors import RankWarning
from repscope.measures._arrays import (
    Array,
    center_and_scale,
    check_pair,
    detached,
    differentiable,
    frobenius_squared,
    undefined,
    widest_float,
)
from repscope.measures._decomposition import Decomposition, decompose, overlap
from repscope.measures._messages import warn


@dataclass(frozen=True)
class RegressionState:
    """One layer in both of its roles.

    Attributes:
        decomposition: X = U S Vᵀ: U is the design's orthonormal basis, U S stands for the target.
        features: The centred features (n, p) where gradients are recorded, else None.
    """

    decomposition: Decomposition
    features: Array | None


def prepare(x: Array, *, decomposition: Decomposition | None = None) -> RegressionState:
    """Decompose one checked representation (n, p)."""
    features = None
    if differentiable(x):
        xp = array_api_compat.array_namespace(x)
        features, _ = center_and_scale(xp, xp.astype(x, widest_float(xp, x), copy=False))
    return RegressionState(decompose(x) if decomposition is None else decomposition, features)


def score(state_x: RegressionState, state_y: RegressionState) -> Array:
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
    n, q = y.shape
    if y.full:
        warn(
            f"linear_regression: n = {n} examples are too few for q = {q} features of y (rank {y.rank}): any x is "
            "predicted perfectly (Theorem 1 of Kornblith et al. 2019). Use more examples, or cka.",
            RankWarning,
        )
    if state_x.features is not None or state_y.features is not None:
        return _differentiable_score(state_x, state_y)
    energy = frobenius_squared(xp, x.singular_values)
    if y.full:
        return energy / energy  # the design spans every direction: the product would come to the same
    # U S is as good a target as x itself, from which it differs by a rotation of the columns.
    return frobenius_squared(xp, overlap(y, x) * x.singular_values) / energy


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
    if state.features is not None:
        return state.features
    return state.decomposition.basis * state.decomposition.singular_values


def linear_regression(x: Array, y: Array) -> Array:
    """Share of the variance of x that a linear map of y explains, R² (in-sample).

    R²_LR = 1 − min_B ‖X − YB‖_F² / ‖X‖_F² = ‖Q_YᵀX‖_F² / ‖X‖_F², eq. 5: **x is the target, y the design**.

    Range: [0, 1]. Independent data give q / (n − 1) on average. Not symmetric; the paper's tables symmetrise it as
    s(x, y) + s(y, x). Invariances: any invertible linear map of y; orthogonal maps and isotropic scaling of x;
    translation of both.

    Args:
        x: Target representation (n, p).
        y: Design representation (n, q).

    Returns:
        A scalar of the caller's library; NaN with a warning where x or y is constant. Torch gradients flow through it.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    Warns:
        RankWarning: Where y has n − 1 independent columns, so that anything is predicted perfectly.

    References:
        Kornblith et al. 2019, eq. 5 and App. C.1.

    Example:
        >>> import numpy as np
        >>> y = np.random.RandomState(0).randn(30, 3)
        >>> round(float(linear_regression(y[:, :1] + y[:, 1:2], y)), 6)
        1.0
    """
    x, y = check_pair("linear_regression", x, y)
    return score(prepare(x), prepare(y))
