"""The Hilbert–Schmidt independence criterion (Gretton et al. 2005; eq. 3 of Kornblith et al. 2019).

Both estimators are inner products of two centred Gram matrices (see :func:`kernels.center_gram`), so a layer is
prepared once and every pair costs one product. For the linear kernel the same number follows from the features,
‖XᵀY‖_F², which is cheaper when the layers are narrower than the examples are many; the form is chosen by cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import array_api_compat

from repscope.measures._arrays import (
    Array,
    Namespace,
    center_and_scale,
    check_pair,
    frobenius_squared,
    number,
)
from repscope.measures.kernels import (
    Estimator,
    KernelLike,
    Linear,
    as_kernel,
    center_gram,
    check_estimator,
    minimum_examples,
    without_diagonal,
)

Form: TypeAlias = Literal["auto", "gram", "features"]


@dataclass(frozen=True)
class HSICState:
    """One layer, ready to be paired with any other that was prepared with the same estimator.

    Attributes:
        estimator: Which HSIC the pair will give.
        n: Number of examples.
        features: Centred features (n, p) of a linear kernel, or None.
        gram: Centred Gram matrix (n, n), or None where the features stand for it.
        unit: HSIC is to be multiplied by this power of two (see ``center_and_scale``).
        self_product: ⟨K̃, K̃⟩ of this layer with itself, in the same unit.
        vanishes: The centred Gram matrix is zero up to rounding: the layer is constant.
    """

    estimator: Estimator
    n: int
    features: Array | None
    gram: Array | None
    unit: float
    self_product: Array
    vanishes: bool


def prepare(
    x: Array, *, kernel: KernelLike = "linear", estimator: Estimator = "unbiased", form: Form = "auto"
) -> HSICState:
    """Centre one checked representation (n, p); ``form="auto"`` keeps whichever of features and Gram is smaller."""
    xp = array_api_compat.array_namespace(x)
    kernel = as_kernel(kernel)
    n, p = x.shape
    if isinstance(kernel, Linear):
        features, scale = center_and_scale(xp, x)
        if form == "features" or (form == "auto" and p < n):
            product = _features_product(xp, features, features, estimator)
            vanishes = _features_vanish(xp, features, estimator)
            return HSICState(estimator, n, features, None, scale**2, product, vanishes)
        gram, unit = features @ features.T, scale**2
    else:
        gram, unit = kernel.gram(x), 1.0
    centered = center_gram(gram, estimator)
    product = frobenius_squared(xp, centered)
    return HSICState(estimator, n, None, centered, unit, product, _gram_vanishes(xp, gram, product, estimator))


def product(state_x: HSICState, state_y: HSICState) -> Array:
    """⟨K̃, L̃⟩ of two prepared layers, without units: the numerator of CKA."""
    xp = array_api_compat.array_namespace(state_x.self_product)
    if state_x.features is not None and state_y.features is not None:
        return _features_product(xp, state_x.features, state_y.features, state_x.estimator)
    return xp.sum(_gram_of(state_x) * _gram_of(state_y))


def score(state_x: HSICState, state_y: HSICState) -> Array:
    """HSIC of two prepared layers."""
    n = state_x.n
    normalizer = n * (n - 3) if state_x.estimator == "unbiased" else (n - 1) ** 2
    return product(state_x, state_y) * (state_x.unit * state_y.unit) / normalizer


def hsic(x: Array, y: Array, *, kernel: KernelLike = "linear", estimator: Estimator = "unbiased") -> Array:
    """Hilbert–Schmidt independence criterion of two representations of the same examples.

    Biased: tr(K H L H) / (n − 1)², eq. 3 of the 2019 paper (Gretton et al. 2005). Unbiased: HSIC₁ of Song et al.
    (2012), ⟨K̃, L̃⟩ / (n(n − 3)) with U-centred Gram matrices; its expectation is 0 for independent data, so it may be
    slightly negative. With the linear kernel the biased value is ‖cov(X, Y)‖_F².

    Range: [0, ∞) biased; unbiased may be below 0. Not normalised: invariant to orthogonal maps and translation, not
    to scaling. :func:`cka` is the normalised form.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples, same array library and device.
        kernel: ``"linear"``, ``"rbf"``, ``"laplace"``, ``"polynomial"``, ``"cosine"``, a kernel such as
            ``RBF(0.4)``, or a callable (n, p) → (n, n).
        estimator: ``"unbiased"`` (needs n ≥ 4) or ``"biased"``.

    Returns:
        A scalar of the caller's library, in units of x²y² for the linear kernel. Torch gradients flow through it.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    References:
        Kornblith et al. 2019, eq. 3; Song et al. 2012, eq. 5; Székely & Rizzo 2014 (U-centring).

    Example:
        >>> import numpy as np
        >>> x = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
        >>> float(hsic(x, 2 * x, estimator="biased"))  # (Σ xy / (n − 1))² = (20 / 4)²
        25.0
    """
    check_estimator("hsic", estimator)
    x, y = check_pair("hsic", x, y, minimum_examples=minimum_examples(estimator))
    return score(*prepare_pair(x, y, kernel=kernel, estimator=estimator))


def prepare_pair(x: Array, y: Array, *, kernel: KernelLike, estimator: Estimator) -> tuple[HSICState, HSICState]:
    """Prepare two layers for each other in the cheaper form."""
    form = cheaper_form(x.shape[0], x.shape[1], y.shape[1])
    return (
        prepare(x, kernel=kernel, estimator=estimator, form=form),
        prepare(y, kernel=kernel, estimator=estimator, form=form),
    )


def cheaper_form(n: int, p: int, q: int) -> Form:
    """Form of linear HSIC and CKA with the fewer multiplications: three products of features, or two Gram matrices."""
    feature_cost = n * (p * q + p * p / 2 + q * q / 2)
    gram_cost = n * n * (p + q) / 2 + 3 * n * n
    return "features" if feature_cost <= gram_cost else "gram"


def _gram_of(state: HSICState) -> Array:
    if state.gram is not None:
        return state.gram
    assert state.features is not None
    return center_gram(state.features @ state.features.T, state.estimator)


def _features_product(xp: Namespace, x: Array, y: Array, estimator: Estimator) -> Array:
    """⟨K̃, L̃⟩ from centred features (n, p), (n, q): ‖XᵀY‖_F², less the diagonal's share when unbiased."""
    n = x.shape[0]
    product = frobenius_squared(xp, x.T @ y)
    if estimator == "biased":
        return product
    x_squares, y_squares = xp.sum(x * x, axis=1), xp.sum(y * y, axis=1)
    return (
        product
        - n / (n - 2) * xp.sum(x_squares * y_squares)
        + xp.sum(x_squares) * xp.sum(y_squares) / ((n - 1) * (n - 2))
    )


def _gram_vanishes(xp: Namespace, gram: Array, product: Array, estimator: Estimator) -> bool:
    # Centring a constant matrix leaves rounding: entries of a few eps times the largest entry centred.
    used = without_diagonal(xp, gram) if estimator == "unbiased" else gram
    rounding = 4 * float(xp.finfo(gram.dtype).eps) * number(xp.max(xp.abs(used)))
    return math.sqrt(max(number(product), 0.0)) <= gram.shape[0] * rounding


def _features_vanish(xp: Namespace, features: Array, estimator: Estimator) -> bool:
    largest = number(xp.max(xp.abs(features)))
    if largest == 0.0:
        return True
    if estimator == "biased" or features.shape[0] > 8:
        return False
    # With very few examples the points may all be equally far apart, which U-centring maps to zero.
    gram = features @ features.T
    centered = center_gram(gram, estimator)
    return _gram_vanishes(xp, gram, frobenius_squared(xp, centered), estimator)
