"""The Hilbert–Schmidt independence criterion (Gretton et al. 2005; eq. 3 of Kornblith et al. 2019).

Both estimators are inner products of two centred Gram matrices (see :func:`kernels.center_gram`), so a layer is
prepared once and every pair costs one product. For the linear kernel the same number follows from the features,
‖XᵀY‖_F², which is cheaper when the layers are narrower than the examples are many; the form is chosen by cost. The Gram
matrices of other kernels are computed in tiles where they are too large to be held.
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
    centered_gram,
    check_pair,
    differentiable,
    frobenius_squared,
    in_one_type,
    number,
    squared_lengths,
    widest_float,
)
from repscope.measures._tiles import TiledGram, pair_sums, tile, worth_tiling
from repscope.measures.kernels import (
    Estimator,
    KernelLike,
    Linear,
    as_kernel,
    center_gram,
    check_estimator,
    gram_matrix,
    minimum_examples,
    without_diagonal,
)

Form: TypeAlias = Literal["auto", "gram", "features"]

DIGITS_KEPT = 1e6
"""How many eps the unbiased feature form must leave of the product from which it subtracts the diagonal's share.

Where one example outweighs all others, or all are nearly equally far apart, little is left; then the same numbers are
computed in the widest float, and if that is not enough, from the Gram matrix, whose diagonal is left out exactly.
"""


@dataclass(frozen=True)
class TiledState:
    """One layer whose Gram matrix is too large to be held, ready to be paired with any other of the same estimator.

    Attributes:
        estimator: Which HSIC the pair will give.
        gram: Its entries, when they are asked for.
    """

    estimator: Estimator
    gram: TiledGram

    @property
    def n(self) -> int:
        """Number of examples."""
        return self.gram.n

    @property
    def unit(self) -> float:
        """HSIC is to be multiplied by this; no kernel that is computed in tiles has a unit."""
        return 1.0

    def held(self) -> HSICState:
        """The same with the whole Gram matrix, to be paired with a layer that has one."""
        everything = slice(0, self.n)
        return _from_gram(self.gram.block(everything, everything), 1.0, self.estimator)


@dataclass(frozen=True)
class HSICState:
    """One layer, ready to be paired with any other that was prepared with the same estimator.

    Attributes:
        estimator: Which HSIC the pair will give.
        n: Number of examples.
        features: Centred features (n, p) of a linear kernel, or None.
        squares: Squared lengths (n,) of these features, the diagonal of the Gram matrix, or None.
        gram: Centred Gram matrix (n, n), or None where the features stand for it.
        unit: HSIC is to be multiplied by this power of two (see ``center_and_scale``).
        self_product: ⟨K̃, K̃⟩ of this layer with itself, in the same unit.
        vanishes: The centred Gram matrix is zero up to rounding, so that nothing can be divided by ``self_product``.
    """

    estimator: Estimator
    n: int
    features: Array | None
    squares: Array | None
    gram: Array | None
    unit: float
    self_product: Array
    vanishes: bool


@dataclass(frozen=True)
class Products:
    """Inner products of the centred Gram matrices of two layers, without units.

    Attributes:
        both: ⟨K̃, L̃⟩.
        x: ⟨K̃, K̃⟩.
        y: ⟨L̃, L̃⟩.
        vanishing: Whether K̃ and L̃ are zero up to rounding.
    """

    both: Array
    x: Array
    y: Array
    vanishing: tuple[bool, bool]


State: TypeAlias = HSICState | TiledState


def prepare(
    x: Array, *, kernel: KernelLike = "linear", estimator: Estimator = "unbiased", form: Form = "auto"
) -> State:
    """Centre one checked representation (n, p); ``form="auto"`` keeps whichever of features and Gram is smaller."""
    kernel = as_kernel(kernel)
    if isinstance(kernel, Linear):
        return prepare_linear(x, estimator=estimator, form=form)
    if worth_tiling(kernel, x):
        return TiledState(estimator, tile(kernel, x))
    return _from_gram(gram_matrix(kernel, x), 1.0, estimator)


def prepare_linear(x: Array, *, estimator: Estimator = "unbiased", form: Form = "auto") -> HSICState:
    """As :func:`prepare`, for the linear kernel."""
    xp = array_api_compat.array_namespace(x)
    n, p = x.shape
    if form == "features" or (form == "auto" and p < n):
        features, scale = center_and_scale(xp, x)
        state = _from_features(features, scale * scale, estimator)
        if state is not None:
            return state
        wide = xp.astype(x, widest_float(xp, x), copy=False)
        if wide.dtype != x.dtype:
            return prepare_linear(wide, estimator=estimator, form=form)
    if differentiable(x):
        features, scale = center_and_scale(xp, x)
        gram = features @ features.T
    else:
        gram, scale = centered_gram(xp, x, x.dtype)
    return _from_gram(gram, scale * scale, estimator)


def _from_features(features: Array, unit: float, estimator: Estimator) -> HSICState | None:
    """State of a linear kernel in feature space, or None where cancellation would spoil the unbiased estimate."""
    xp = array_api_compat.array_namespace(features)
    full = frobenius_squared(xp, features.T @ features)
    vanishes = number(full) == 0.0
    if estimator == "biased" or vanishes:
        return HSICState(estimator, features.shape[0], features, None, None, unit, full, vanishes)
    squares = squared_lengths(features)
    product = full - _diagonal_share(xp, squares, squares)
    if number(product) < DIGITS_KEPT * float(xp.finfo(features.dtype).eps) * number(full):
        return None
    return HSICState(estimator, features.shape[0], features, squares, None, unit, product, False)


def _from_gram(gram: Array, unit: float, estimator: Estimator) -> HSICState:
    xp = array_api_compat.array_namespace(gram)
    centered = center_gram(gram, estimator)
    product = frobenius_squared(xp, centered)
    return HSICState(
        estimator, gram.shape[0], None, None, centered, unit, product, _gram_vanishes(xp, gram, product, estimator)
    )


def products(state_x: State, state_y: State) -> Products:
    """Everything that CKA of two prepared layers needs."""
    if isinstance(state_x, TiledState) and isinstance(state_y, TiledState):
        return _tiled_products(state_x, state_y)
    x, y = _held(state_x), _held(state_y)
    return Products(product(x, y), x.self_product, y.self_product, (x.vanishes, y.vanishes))


def product(state_x: State, state_y: State) -> Array:
    """⟨K̃, L̃⟩ of two prepared layers, without units: the numerator of CKA."""
    if isinstance(state_x, TiledState) and isinstance(state_y, TiledState):
        return _tiled_products(state_x, state_y).both
    state_x, state_y = _held(state_x), _held(state_y)
    xp = array_api_compat.array_namespace(state_x.self_product)
    x, y = state_x.features, state_y.features
    if x is None or y is None:
        return xp.sum(gram_of(state_x) * gram_of(state_y))
    x, y = in_one_type(xp, x, y)
    full = frobenius_squared(xp, x.T @ y)
    if state_x.squares is None or state_y.squares is None:
        return full
    k, l = (xp.astype(state.squares, full.dtype, copy=False) for state in (state_x, state_y))  # noqa: E741
    return full - _diagonal_share(xp, k, l)


def _held(state: State) -> HSICState:
    return state.held() if isinstance(state, TiledState) else state


def _tiled_products(state_x: TiledState, state_y: TiledState) -> Products:
    """The three products from one run over the tiles of both."""
    like = state_x.gram.features
    xp = array_api_compat.array_namespace(like)

    def scalar(value: float) -> Array:
        return xp.asarray(value, dtype=like.dtype, device=array_api_compat.device(like))

    if state_x.gram.undefined or state_y.gram.undefined:
        nothing = scalar(math.nan)
        return Products(nothing, nothing, nothing, (False, False))
    sums = pair_sums([state_x.gram, state_y.gram])
    found = sums.centered_products(state_x.estimator)
    cancelled = sums.vanishing(state_x.estimator, xp.finfo(like.dtype).bits // 8)
    x, y = (
        bool(gone) or math.sqrt(max(own, 0.0)) <= _rounding(xp, like.dtype, state.n, state.gram.offset)
        for gone, own, state in zip(cancelled, found.diagonal(), (state_x, state_y), strict=True)
    )
    return Products(scalar(found[0, 1]), scalar(found[0, 0]), scalar(found[1, 1]), (x, y))


def score(state_x: State, state_y: State) -> Array:
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
    kernel = as_kernel(kernel, "hsic")
    x, y = check_pair("hsic", x, y, minimum_examples=minimum_examples(estimator))
    return score(*prepare_pair(x, y, kernel=kernel, estimator=estimator))


def prepare_pair(x: Array, y: Array, *, kernel: KernelLike, estimator: Estimator) -> tuple[State, State]:
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


def gram_of(state: HSICState) -> Array:
    """The centred Gram matrix (n, n) of a prepared layer, without its unit."""
    if state.gram is not None:
        return state.gram
    assert state.features is not None
    return center_gram(state.features @ state.features.T, state.estimator)


def _diagonal_share(xp: Namespace, k: Array, l: Array) -> Array:  # noqa: E741
    """What U-centring takes from ‖XᵀY‖_F² = ⟨K, L⟩ of centred features; k, l (n,) are the diagonals of K and L."""
    n = k.shape[0]
    return n / (n - 2) * xp.sum(k * l) - xp.sum(k) * xp.sum(l) / ((n - 1) * (n - 2))


def _gram_vanishes(xp: Namespace, gram: Array, product: Array, estimator: Estimator) -> bool:
    used = without_diagonal(xp, gram) if estimator == "unbiased" else gram
    largest = max(number(xp.max(used)), -number(xp.min(used)))
    return math.sqrt(number(product)) <= _rounding(xp, gram.dtype, int(gram.shape[0]), largest)


def _rounding(xp: Namespace, dtype: object, n: int, largest: float) -> float:
    """Norm of what is left when a constant matrix (n, n) is centred: entries of a few eps times the largest."""
    return n * 4 * float(xp.finfo(dtype).eps) * abs(largest)
