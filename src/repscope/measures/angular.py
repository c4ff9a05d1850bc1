"""CKA as an angle between Gram matrices, which makes it a metric (Williams et al. 2021)."""

from __future__ import annotations

import array_api_compat

from repscope.measures import hsic
from repscope.measures._arrays import (
    Array,
    Namespace,
    check_pair,
    differentiable,
    frobenius_squared,
    in_one_type,
    number,
    undefined,
)
from repscope.measures.shape import near_one


def prepare(x: Array) -> hsic.HSICState:
    """Centre one checked representation (n, p); its features or its Gram matrix, whichever is smaller."""
    return hsic.prepare_linear(x, estimator="biased")


def score(state_x: hsic.HSICState, state_y: hsic.HSICState) -> Array:
    """Angle between the Gram matrices of two prepared layers."""
    products = hsic.products(state_x, state_y)
    for name, vanishes in zip(("x", "y"), products.vanishing, strict=True):
        if vanishes:
            return undefined("angular_cka", f"all rows of {name} are equal (0/0).", products.both)
    xp = array_api_compat.array_namespace(products.both)
    cosine = products.both / (xp.sqrt(products.x) * xp.sqrt(products.y))
    if number(cosine) < near_one(xp, cosine.dtype):
        return xp.acos(cosine)
    # The arc cosine loses half of the digits near 0; the half-angle form of the matrices themselves does not.
    k, l = _coordinates(xp, state_x, state_y)  # noqa: E741
    k, l = k / xp.sqrt(products.x), l / xp.sqrt(products.y)  # noqa: E741
    difference, total = frobenius_squared(xp, k - l), frobenius_squared(xp, k + l)
    return 2.0 * xp.atan2(xp.sqrt(difference), xp.sqrt(total))


def _coordinates(xp: Namespace, state_x: hsic.HSICState, state_y: hsic.HSICState) -> tuple[Array, Array]:
    """The Gram matrices of both layers, in an orthonormal basis of what they span where that is smaller."""
    x, y = state_x.features, state_y.features
    if x is None or y is None or x.shape[1] + y.shape[1] >= x.shape[0] or differentiable(x) or differentiable(y):
        return hsic.gram_of(state_x), hsic.gram_of(state_y)
    x, y = in_one_type(xp, x, y)
    triangle = xp.linalg.qr(xp.concat([x, y], axis=1))[1]  # [X Y] = Q R, XXᵀ = Q R_x R_xᵀ Qᵀ
    x, y = triangle[:, : x.shape[1]], triangle[:, x.shape[1] :]
    return x @ x.T, y @ y.T


def angular_cka(x: Array, y: Array) -> Array:
    """Angular CKA: the angle between the centred Gram matrices of two representations, a metric.

    θ = arccos(⟨K, L⟩ / (‖K‖ ‖L‖)) with K = XXᵀ and L = YYᵀ of centred columns: the arc cosine of linear CKA, of the
    biased estimate, as in the 2019 paper. Near 0, where an arc cosine loses half of the digits, it is computed as
    2 atan2(‖K̂ − L̂‖, ‖K̂ + L̂‖) of the matrices of unit norm.

    Range: [0, π/2]; 0 means equal up to rotation, scale and translation. Invariances: orthogonal maps, isotropic
    scaling and translation. Symmetric, and a metric: it obeys the triangle inequality, so layers can be clustered,
    embedded and searched by it. Like biased CKA it takes unrelated layers for alike where features outnumber examples;
    the arc cosine of the unbiased estimate is an angle too (of U-centred matrices, chance at π/2).

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where a representation is constant. Torch gradients
        flow through it, except at an angle of 0.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    References:
        Williams et al. 2021; Kornblith et al. 2019, eq. 4 (CKA).

    Example:
        >>> import numpy as np
        >>> np.random.seed(0)
        >>> x, y = np.random.uniform(size=(30, 25)), np.random.uniform(size=(30, 25))
        >>> round(float(angular_cka(x, y)), 10)
        1.0594603938
    """
    x, y = check_pair("angular_cka", x, y)
    form = hsic.cheaper_form(x.shape[0], x.shape[1], y.shape[1])
    return score(*(hsic.prepare_linear(z, estimator="biased", form=form) for z in (x, y)))
