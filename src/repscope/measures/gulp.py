"""GULP (Boix-Adserà et al. 2022): how far apart can the predictions be that ridge regression makes from two layers?

With eigenvalues λ_i of the covariance of a layer of unit variance, ridge regression shrinks what it predicts along the
i-th principal direction u_i of the examples by a_i = λ_i / (λ_i + λ). So the distance is that of two hat matrices,
‖Σ_i a_i u_i u_iᵀ − Σ_j b_j v_j v_jᵀ‖_F, and follows from the decompositions of both layers.
"""

from __future__ import annotations

import math

import array_api_compat

from repscope.errors import InputError
from repscope.measures._arrays import Array, check_pair
from repscope.measures._decomposition import Decomposition, decompose, nothing_left, overlap
from repscope.measures._messages import is_real
from repscope.measures.cca import warn_if_forced
from repscope.measures.regression import hat_weights


def check_regularization(regularization: float) -> None:
    """Refuse a negative or infinite ridge."""
    if not is_real(regularization) or not 0 <= regularization < math.inf:
        raise InputError(
            f"gulp: regularization must be finite and not negative, got {regularization!r}. Use 0.01, for example."
        )


def score(state_x: Decomposition, state_y: Decomposition, *, regularization: float = 0.01) -> Array:
    """Squared GULP distance of two prepared layers."""
    if (nothing := nothing_left("gulp", state_x, state_y)) is not None:
        return nothing
    if regularization == 0:
        warn_if_forced("gulp", state_x, state_y)
    xp = array_api_compat.array_namespace(state_x.left)
    a, b = hat_weights(state_x, regularization), hat_weights(state_y, regularization)
    squared = xp.sum(a * a) + xp.sum(b * b) - 2.0 * xp.sum(a[:, None] * overlap(state_x, state_y) ** 2 * b[None, :])
    # Never negative but by rounding, of which the user's root would make NaN.
    return (squared + xp.abs(squared)) / 2.0


def gulp(x: Array, y: Array, *, regularization: float = 0.01) -> Array:
    """Squared GULP distance: how far apart predictions by ridge regression from x and from y can be.

    tr(A_x S_x A_x S_x) + tr(A_y S_y A_y S_y) − 2 tr(A_x S_xy A_y S_yx) with A = (S + λI)⁻¹ and S the covariances of
    centred layers whose variances sum to 1 (‖X‖_F = √n, S = XᵀX/n). This is **the square** of the distance of the
    paper, as its code and its tables have it; the root is a metric. It is the mean over the examples of the largest
    squared gap that both predictions of one target can have there, over all targets of mean square 1.

    Limits: λ = 0 gives p + q − 2 Σρ² with the canonical correlations ρ (p and q are ranks). For large λ it tends to
    ‖K − L‖² / λ², the distance of Gram matrices of trace 1, whose inner product is that of linear CKA.

    Range: [0, ∞), at most the sum of both ranks. Symmetric. Not a metric, its root is one. Invariances: orthogonal
    maps, isotropic scaling and translation of either side; any invertible linear map where λ = 0.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        regularization: λ, from 0, in units of the whole variance of a layer, which is 1. Layers that were prepared
            serve any number of values.

    Returns:
        A scalar of the caller's library; NaN with a warning where a representation is constant.

    Raises:
        InputError: For arrays that do not match, a negative λ, too few examples, or NaN and infinity.

    Warns:
        RankWarning: For λ = 0 where n ≤ rank x + rank y: common directions are forced.

    References:
        Boix-Adserà, Lawrence, Stepaniants & Rigollet 2022, GULP: a prediction-based metric between representations.

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(50, 3)
        >>> round(float(gulp(x, 2 * x[:, ::-1])), 12)
        0.0
    """
    check_regularization(regularization)
    x, y = check_pair("gulp", x, y, as_stored=True)
    return score(decompose(x), decompose(y), regularization=regularization)
