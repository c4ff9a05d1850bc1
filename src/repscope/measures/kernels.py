"""Kernels and the two ways of centring their Gram matrices.

A kernel is a frozen dataclass with a method ``gram(x) -> (n, n)``. Any callable that maps an (n, p) array to a
symmetric (n, n) array serves as a kernel too.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import array_api_compat
import numpy as np

from repscope.errors import DegenerateInputWarning, InputError
from repscope.measures._arrays import (
    Array,
    Namespace,
    center_and_scale,
    centered_gram,
    detached,
    differentiable,
    number,
    widest_float,
)
from repscope.measures._messages import check_choice, is_real, warn

Estimator: TypeAlias = Literal["unbiased", "biased"]


class Kernel(ABC):
    """A positive-semidefinite function of two examples, with the facts that the catalogue declares."""

    name: str
    translation_invariant: bool
    """Adding one vector to all examples changes nothing."""
    scale_invariant: bool
    """Multiplying all examples by one number changes nothing."""
    homogeneous: bool = False
    """Multiplying all examples by s multiplies the Gram matrix by s²; of the kernels here, only the linear one."""

    @abstractmethod
    def gram(self, x: Array) -> Array:
        """Gram matrix (n, n) of the examples in the rows of ``x`` (n, p), not centred."""


@dataclass(frozen=True)
class Linear(Kernel):
    """Dot product of centred features, ⟨x_i − x̄, x_j − x̄⟩ (§3 of Kornblith et al. 2019)."""

    name = "linear"
    translation_invariant = True
    scale_invariant = False
    homogeneous = True

    def gram(self, x: Array) -> Array:
        """Gram matrix (n, n) of the centred features, in units of x²."""
        xp = array_api_compat.array_namespace(x)
        features, scale = center_and_scale(xp, x)
        return (features @ features.T) * scale**2


BandwidthRule: TypeAlias = Literal["all", "off-diagonal"]


@dataclass(frozen=True, repr=False)
class _Radial(Kernel):
    """A function of the Euclidean distance over a bandwidth σ.

    Attributes:
        fraction: σ as a fraction of the median distance between examples.
        median: Over which entries of the n × n matrix of squared distances the median is taken: ``"all"``, with
            the zero diagonal, as the authors' published code does, or ``"off-diagonal"``.
        sigma: A fixed σ in units of the features instead; ``fraction`` and ``median`` are then not used.

    Gradients take the bandwidth as a constant: none flows through the median.
    """

    fraction: float = 1.0
    median: BandwidthRule = "all"
    sigma: float | None = None

    def __post_init__(self) -> None:
        title = type(self).__name__
        if not is_real(self.fraction) or not 0 < self.fraction < math.inf:
            raise InputError(
                f"{title}: fraction must be positive and finite, got {self.fraction!r}. Use 0.4, for example."
            )
        if self.sigma is not None and (not is_real(self.sigma) or not 0 < self.sigma < math.inf):
            raise InputError(
                f"{title}: sigma must be positive and finite, got {self.sigma!r}. Leave it out for the median rule."
            )
        check_choice(title, "median", self.median, ("all", "off-diagonal"))

    def __repr__(self) -> str:
        if self.sigma is not None:
            return f"{type(self).__name__}(sigma={self.sigma:g})"
        rule = "" if self.median == "all" else f", median={self.median!r}"
        return f"{type(self).__name__}({self.fraction:g}{rule})"

    @property
    def translation_invariant(self) -> bool:  # type: ignore[override]
        return True

    @property
    def scale_invariant(self) -> bool:  # type: ignore[override]
        return self.sigma is None

    def _squared_distances_and_bandwidth(self, xp: Namespace, x: Array) -> tuple[Array, float]:
        """Squared distances (n, n) and σ², in a common unit that keeps both near one."""
        if x.shape[1] <= x.shape[0] or differentiable(x):
            features, scale = center_and_scale(xp, x)
            squared = squared_distances(xp, features)
        else:
            gram, scale = centered_gram(xp, x, x.dtype)
            squared = distances_of_products(xp, gram)
        if self.sigma is not None:
            return squared, (self.sigma / scale) * (self.sigma / scale)
        return squared, self.fraction**2 * median_of_distances(xp, squared, self.median)

    def _degenerate(self, squared: Array) -> Array:
        self.warn_of_equal_examples()
        return squared * float("nan")

    def warn_of_equal_examples(self) -> None:
        """Say that no bandwidth follows from the data."""
        warn(
            f"{type(self).__name__}: the median distance between examples is 0 (at least half of the pairs are "
            "equal), so no bandwidth follows from it and the result is NaN. Remove duplicates or give sigma=.",
            DegenerateInputWarning,
        )


@dataclass(frozen=True, repr=False)
class RBF(_Radial):
    """Gaussian kernel exp(−‖x_i − x_j‖² / (2σ²)) with σ = fraction × median distance.

    The 2019 paper uses fractions 0.2, 0.4 and 0.8. σ² = fraction² × median of the *squared* distances over the whole
    matrix, zero diagonal included, as in the authors' notebook; ``median="off-diagonal"`` leaves the diagonal out.
    As the fraction grows, RBF CKA tends to linear CKA.

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(50, 5)
        >>> bool(RBF(0.4).gram(x)[0, 0] == 1.0)
        True
    """

    fraction: float = 0.4
    name = "rbf"

    def gram(self, x: Array) -> Array:
        """Gram matrix (n, n) with entries in (0, 1]."""
        xp = array_api_compat.array_namespace(x)
        squared, variance = self._squared_distances_and_bandwidth(xp, x)
        return self._degenerate(squared) if variance == 0.0 else self.entries(xp, squared, variance)

    def entries(self, xp: Namespace, squared: Array, variance: float) -> Array:
        """Entries from squared distances, which are used up, and σ² in their unit."""
        squared *= -0.5 / variance
        return xp.exp(squared)


@dataclass(frozen=True, repr=False)
class Laplace(_Radial):
    """Kernel exp(−‖x_i − x_j‖ / σ) with σ = fraction × median distance."""

    fraction: float = 1.0
    name = "laplace"

    def gram(self, x: Array) -> Array:
        """Gram matrix (n, n) with entries in (0, 1]."""
        xp = array_api_compat.array_namespace(x)
        # The square root magnifies rounding near zero: equal rows must come out at distance 0, not 3e-4.
        squared, variance = self._squared_distances_and_bandwidth(xp, xp.astype(x, widest_float(xp, x), copy=False))
        if variance == 0.0:
            return self._degenerate(squared)
        if not differentiable(squared):
            return self.entries(xp, squared, variance)
        # The root has no derivative at 0; there the kernel is 1 and its subgradient 0.
        apart = squared > 0
        distances = xp.sqrt(xp.where(apart, squared, xp.ones_like(squared)) / variance)
        return xp.exp(-xp.where(apart, distances, xp.zeros_like(squared)))

    def entries(self, xp: Namespace, squared: Array, variance: float) -> Array:
        """Entries from squared distances, which are used up, and σ² in their unit; no gradient at distance 0."""
        squared /= variance
        return xp.exp(-xp.sqrt(squared))


@dataclass(frozen=True)
class Polynomial(Kernel):
    """Kernel (γ⟨x_i, x_j⟩ + c)^degree on the features as they are, not centred.

    Attributes:
        degree: A whole number from 2.
        constant: c ≥ 0.
        gamma: γ; one over the number of features where None.
    """

    degree: int = 3
    constant: float = 1.0
    gamma: float | None = None

    name = "polynomial"
    translation_invariant = False
    scale_invariant = False

    def __post_init__(self) -> None:
        if not (is_real(self.degree) and self.degree >= 2 and self.degree % 1 == 0):
            raise InputError(
                f"Polynomial: degree must be a whole number from 2, got {self.degree!r}. Degree 1 is the linear kernel."
            )
        if not is_real(self.constant) or not 0 <= self.constant < math.inf:
            raise InputError(
                f"Polynomial: constant must be finite and not negative, got {self.constant!r}. Use 1, for example."
            )
        if self.gamma is not None and (not is_real(self.gamma) or not 0 < self.gamma < math.inf):
            raise InputError(
                f"Polynomial: gamma must be positive and finite, got {self.gamma!r}. Leave it out for 1/p."
            )

    def gram(self, x: Array) -> Array:
        """Gram matrix (n, n), computed in the widest float: nothing is centred before the power is taken."""
        xp = array_api_compat.array_namespace(x)
        x = xp.astype(x, widest_float(xp, x), copy=False)
        return self.entries(x @ x.T, x.shape[1])

    def entries(self, products: Array, width: int) -> Array:
        """Entries from the products of examples with ``width`` features."""
        gamma = 1.0 / width if self.gamma is None else self.gamma
        return (gamma * products + self.constant) ** self.degree


@dataclass(frozen=True)
class Cosine(Kernel):
    """Cosine of the angle between two examples, features not centred; not invariant to translation."""

    name = "cosine"
    translation_invariant = False
    scale_invariant = True

    def gram(self, x: Array) -> Array:
        """Gram matrix (n, n) with entries in [−1, 1], computed in the widest float."""
        x = self.normalized(x)
        return x @ x.T

    def normalized(self, x: Array) -> Array:
        """The examples (n, p) at unit length, in the widest float."""
        xp = array_api_compat.array_namespace(x)
        x = xp.astype(x, widest_float(xp, x), copy=False)
        lengths = xp.sqrt(xp.sum(x * x, axis=1, keepdims=True))  # (n, 1)
        if bool(xp.any(lengths == 0)):
            row = int(xp.argmin(lengths[:, 0]))
            raise InputError(
                f"Cosine: every row must be non-zero, got zeros in row {row}. "
                "Leave that example out, or use another kernel or metric."
            )
        return x / lengths


KernelLike: TypeAlias = str | Kernel | Callable[[Array], Array]

_BY_NAME: dict[str, Callable[[], Kernel]] = {
    "linear": Linear,
    "rbf": RBF,
    "laplace": Laplace,
    "polynomial": Polynomial,
    "cosine": Cosine,
}


@dataclass(frozen=True)
class _Custom(Kernel):
    """A user's callable; nothing is known of its invariances."""

    function: Callable[[Array], Array]

    name = "custom"
    translation_invariant = False
    scale_invariant = False

    def gram(self, x: Array) -> Array:
        return self.function(x)


def as_kernel(kernel: KernelLike, function: str = "measure") -> Kernel:
    """The kernel that a name, a kernel or a callable stands for; ``function`` is the caller's name, for messages."""
    if isinstance(kernel, Kernel):
        return kernel
    if isinstance(kernel, str) or not callable(kernel) or isinstance(kernel, type):
        check_choice(function, "kernel", kernel, _BY_NAME, other="or a kernel such as RBF(0.4), or a callable")
        return _BY_NAME[str(kernel)]()
    return _Custom(kernel)


def gram_matrix(kernel: Kernel, x: Array) -> Array:
    """Gram matrix (n, n) of one checked representation; a matrix that someone else computed is checked in turn."""
    gram = kernel.gram(x)
    if isinstance(kernel, Linear | _Radial | Polynomial | Cosine):
        return gram
    n = x.shape[0]
    xp = array_api_compat.array_namespace(x)
    try:
        same_library = array_api_compat.array_namespace(gram) is xp
    except TypeError:
        same_library = False
    if not same_library:
        raise InputError(
            f"kernel: {kernel!r} must return an array of the library it was given, got {type(gram).__name__}. "
            "Compute it with the methods and operators of its argument."
        )
    shape = tuple(gram.shape)
    if shape != (n, n):
        raise InputError(
            f"kernel: {kernel!r} must return a ({n}, {n}) array for {n} examples, got {shape}. "
            "Entry (i, j) compares example i with example j."
        )
    if not xp.isdtype(gram.dtype, "real floating"):
        gram = xp.astype(gram, widest_float(xp, x))
    largest = number(xp.max(xp.abs(gram)))
    if not math.isfinite(largest):
        raise InputError(f"kernel: {kernel!r} must return finite numbers, got {largest}. Scale the features first.")
    asymmetry = number(xp.max(xp.abs(gram - gram.T)))
    if asymmetry > math.sqrt(float(xp.finfo(gram.dtype).eps)) * largest:
        raise InputError(
            f"kernel: {kernel!r} must return a symmetric array, got entries (i, j) and (j, i) that differ by "
            f"{asymmetry:.3g}. Take the mean of the matrix and its transpose, for example."
        )
    return gram


def squared_distances(xp: Namespace, x: Array) -> Array:
    """Squared Euclidean distances (n, n) between the rows of centred ``x`` (n, p); exact zeros on the diagonal."""
    return distances_of_products(xp, x @ x.T)


def distances_of_products(xp: Namespace, products: Array) -> Array:
    """The same from the products (n, n) of all examples, which are used up."""
    # Squares from the same product: rounded alike, they cancel to zero where two examples coincide.
    squares = xp.linalg.diagonal(products)
    distances = squares[:, None] + squares[None, :]  # first, so that the result is symmetric to the last digit
    if isinstance(products, np.ndarray):
        products *= 2.0  # in place: fresh memory takes longer than the arithmetic
        distances -= products
        np.maximum(distances, 0.0, out=distances)
        np.fill_diagonal(distances, 0.0)
        return distances
    distances -= 2.0 * products
    distances = xp.where(distances > 0, distances, _zero(xp, distances))
    return without_diagonal(xp, distances)


def median_of_distances(xp: Namespace, squared: Array, rule: BandwidthRule) -> float:
    """Median of a symmetric (n, n) matrix of squared distances by one of the named rules, as a Python float.

    Sorted, the full matrix is n zeros of the diagonal and then every pair twice, so the pairs above the diagonal are
    enough.
    """
    n = squared.shape[0]
    return sum(order_statistics(xp, pairs_of(xp, detached(squared)), middle_ranks(n, rule))) / 2


def pairs_of(xp: Namespace, square: Array) -> Array:
    """The entries (m(m−1)/2,) above the diagonal of a matrix (m, m)."""
    index = xp.arange(square.shape[0], device=array_api_compat.device(square))
    return square[index[:, None] < index[None, :]]


def middle_ranks(n: int, rule: BandwidthRule) -> list[int]:
    """Places of the two middle entries among the sorted pairs; one that is left out is a zero of the diagonal."""
    zeros = n if rule == "all" else 0
    entries = n * (n - 1) + zeros
    middle = [(rank - zeros) // 2 for rank in ((entries - 1) // 2, entries // 2)]
    return [rank for rank in middle if rank >= 0]


def order_statistics(xp: Namespace, values: Array, ranks: list[int]) -> list[float]:
    """The entries at these places of the sorted ``values``, found without sorting where the library can."""
    if array_api_compat.is_numpy_array(values):
        values = np.partition(values, ranks) if ranks else values
        return [float(values[rank]) for rank in ranks]
    if array_api_compat.is_torch_array(values):
        found = {rank: number(values.kthvalue(rank + 1).values) for rank in set(ranks)}
        return [found[rank] for rank in ranks]
    values = xp.sort(values)
    return [number(values[rank]) for rank in ranks]


def without_diagonal(xp: Namespace, gram: Array) -> Array:
    """A copy of ``gram`` (n, n) with zeros on the diagonal."""
    index = xp.arange(gram.shape[0], device=array_api_compat.device(gram))
    return xp.where(index[:, None] == index[None, :], _zero(xp, gram), gram)


def _zero(xp: Namespace, like: Array) -> Array:
    """A zero () to be broadcast."""
    return xp.zeros((), dtype=like.dtype, device=array_api_compat.device(like))


def center_gram(gram: Array, estimator: Estimator) -> Array:
    """Centre a Gram matrix (n, n) so that HSIC becomes a plain inner product of two such matrices.

    ``"biased"``: H K H with H = I − 11ᵀ/n. ``"unbiased"``: U-centring (Székely & Rizzo 2014), which removes the
    diagonal and makes every row sum zero; then HSIC₁(K, L) = ⟨K̃, L̃⟩ / (n(n−3)) of Song et al. 2012.
    """
    xp = array_api_compat.array_namespace(gram)
    n = gram.shape[0]
    if estimator == "biased":
        means = xp.mean(gram, axis=0)
        means = means - xp.mean(means) / 2
        gram = gram - means[:, None]
        gram -= means[None, :]
        return gram
    gram = without_diagonal(xp, gram)
    means = xp.sum(gram, axis=0) / (n - 2)
    means = means - xp.sum(means) / (2 * (n - 1))
    gram -= means[:, None]
    gram -= means[None, :]
    return without_diagonal(xp, gram)


def check_estimator(function: str, estimator: str) -> Estimator:
    """Return ``estimator`` or say which ones exist."""
    check_choice(function, "estimator", estimator, ("unbiased", "biased"))
    return "unbiased" if estimator == "unbiased" else "biased"


def minimum_examples(estimator: Estimator) -> int:
    """Smallest n for which the estimator of HSIC is defined: n(n−3) must be positive."""
    return 4 if estimator == "unbiased" else 2
