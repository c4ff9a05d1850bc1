"""Dependence between two representations, other than by a kernel of dot products.

Distance correlation is CKA with the (negative) Euclidean distance in the place of a kernel (Sejdinovic et al. 2013), so
it shares the centring, the estimators and the degenerate cases of :mod:`hsic`.
"""

from __future__ import annotations

from dataclasses import dataclass

import array_api_compat

from repscope.measures import hsic
from repscope.measures._arrays import (
    Array,
    center_and_scale,
    check_pair,
    differentiable,
    frobenius_squared,
    number,
    undefined,
    widest_float,
)
from repscope.measures.kernels import (
    Estimator,
    Kernel,
    check_estimator,
    minimum_examples,
    squared_distances,
    without_diagonal,
)


@dataclass(frozen=True)
class NegativeDistance(Kernel):
    """−‖x_i − x_j‖, positive semidefinite once it is centred, in a unit near the size of the features."""

    name = "negative distance"
    translation_invariant = True
    scale_invariant = False

    def gram(self, x: Array) -> Array:
        """Negative distances (n, n), in the widest float: a root magnifies what rounding leaves of zeros."""
        xp = array_api_compat.array_namespace(x)
        squared = squared_distances(xp, center_and_scale(xp, xp.astype(x, widest_float(xp, x), copy=False))[0])
        if not differentiable(squared):
            return -xp.sqrt(squared)
        # The root has no derivative at 0; its subgradient there is 0.
        apart = squared > 0
        distances = xp.sqrt(xp.where(apart, squared, xp.ones_like(squared)))
        return -xp.where(apart, distances, xp.zeros_like(squared))


@dataclass(frozen=True)
class MaskedGram:
    """One layer for the modified RV coefficient.

    Attributes:
        gram: Gram matrix (n, n) of the centred features, zeros on the diagonal.
        square: Sum of its squared entries.
        vanishes: All of them are zero up to rounding.
    """

    gram: Array
    square: Array
    vanishes: bool


def prepare(x: Array, *, estimator: Estimator = "unbiased") -> hsic.State:
    """Centre the distances of one checked representation (n, p)."""
    return hsic.prepare(x, kernel=NegativeDistance(), estimator=estimator)


def score(state_x: hsic.State, state_y: hsic.State) -> Array:
    """Distance correlation of two prepared layers; squared where it is unbiased."""
    estimator = state_x.estimator
    products = hsic.products(state_x, state_y)
    for name, vanishes in zip(("x", "y"), products.vanishing, strict=True):
        if vanishes:
            alike = f"all rows of {name} are equal" + (", or equally far apart" if estimator == "unbiased" else "")
            return undefined("distance_correlation", f"{alike} (0/0).", products.both)
    xp = array_api_compat.array_namespace(products.both)
    squared = products.both / (xp.sqrt(products.x) * xp.sqrt(products.y))
    if estimator == "unbiased":
        return squared
    # Never negative but by rounding, of which the root would make NaN.
    return xp.sqrt(xp.where(squared > 0, squared, xp.zeros_like(squared)))


def prepare_rv2(x: Array) -> MaskedGram:
    """Gram matrix without its diagonal."""
    xp = array_api_compat.array_namespace(x)
    features, _ = center_and_scale(xp, x)
    full = features @ features.T
    gram = without_diagonal(xp, full)
    return MaskedGram(gram, frobenius_squared(xp, gram), number(xp.max(xp.abs(full))) == 0.0)


def score_rv2(state_x: MaskedGram, state_y: MaskedGram) -> Array:
    """Cosine of two Gram matrices without their diagonals."""
    for name, state in (("x", state_x), ("y", state_y)):
        if state.vanishes:
            return undefined("rv2", f"all rows of {name} are equal (0/0).", state.square)
    xp = array_api_compat.array_namespace(state_x.gram)
    return xp.sum(state_x.gram * state_y.gram) / (xp.sqrt(state_x.square) * xp.sqrt(state_y.square))


def distance_correlation(x: Array, y: Array, *, estimator: Estimator = "unbiased") -> Array:
    """Distance correlation of two representations of the same examples: 0 in the population for independence only.

    From centred matrices A and B of the Euclidean distances between examples, by the named definition:

    - ``"unbiased"`` (default): ⟨A, B⟩ / (‖A‖ ‖B‖) of U-centred distances, Székely & Rizzo 2014, an estimate of the
      *squared* distance correlation that is 0 on average for unrelated data and may be negative.
    - ``"biased"``: √(⟨A, B⟩ / (‖A‖ ‖B‖)) of doubly centred distances, Székely et al. 2007, with the root;
      far above 0 for unrelated wide layers.

    Other packages return either of these or the biased one without the root, under the same name.

    Range: [−1, 1] unbiased, [0, 1] biased. Invariances: orthogonal maps, isotropic scaling and translation. Symmetric.
    Not a metric.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        estimator: ``"unbiased"`` (needs n ≥ 4) or ``"biased"``.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where a representation is constant. Torch gradients flow
        through it.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    References:
        Székely, Rizzo & Bakirov 2007; Székely & Rizzo 2014; Sejdinovic et al. 2013 (the tie to HSIC).

    Example:
        >>> import numpy as np
        >>> np.random.seed(0)
        >>> x, y = np.random.uniform(size=(30, 25)), np.random.uniform(size=(30, 25))
        >>> round(float(distance_correlation(x, y, estimator="biased")), 7)
        0.8852697
    """
    check_estimator("distance_correlation", estimator)
    x, y = check_pair("distance_correlation", x, y, minimum_examples=minimum_examples(estimator))
    return score(prepare(x, estimator=estimator), prepare(y, estimator=estimator))


def rv2(x: Array, y: Array) -> Array:
    """Modified RV coefficient: the cosine of two Gram matrices without their diagonals.

    ⟨K, L⟩ / (‖K‖ ‖L‖) over the pairs i ≠ j of centred features' products. Leaving the diagonal out takes away most of
    the bias of the RV coefficient (which is biased linear CKA), not all of it: the rows are not centred again. Some
    packages call this number unbiased CKA; ``cka(x, y)`` is a different one.

    Range: [−1, 1]. Invariances: orthogonal maps, isotropic scaling and translation. Symmetric. Not a metric; its arc
    cosine is one.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where a representation is constant. Torch gradients flow
        through it.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    References:
        Smilde et al. 2009.

    Example:
        >>> import numpy as np
        >>> np.random.seed(0)
        >>> x, y = np.random.uniform(size=(30, 25)), np.random.uniform(size=(30, 25))
        >>> round(float(rv2(x, y)), 5)
        0.05334
    """
    x, y = check_pair("rv2", x, y)
    return score_rv2(prepare_rv2(x), prepare_rv2(y))
