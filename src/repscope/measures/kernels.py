"""Kernels and the two ways of centring their Gram matrices.

A kernel is a frozen dataclass with a method ``gram(x) -> (n, n)``. Any callable that maps an (n, p) array to a
symmetric (n, n) array serves as a kernel too.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import array_api_compat

from repscope.errors import DegenerateInputWarning, InputError
from repscope.measures._arrays import Array, Namespace, center_and_scale, number, widest_float

Estimator: TypeAlias = Literal["unbiased", "biased"]


class Kernel(ABC):
    """A positive-semidefinite function of two examples, with the facts that the catalogue declares."""

    name: str
    translation_invariant: bool
    """Adding one vector to all examples changes nothing."""
    scale_invariant: bool
    """Multiplying all examples by one number changes nothing."""
    homogeneous: bool = False
    """Multiplying all examples by s multiplies the Gram matrix by s²."""

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
    """

    fraction: float = 1.0
    median: BandwidthRule = "all"
    sigma: float | None = None

    def __post_init__(self) -> None:
        title = type(self).__name__
        if not self.fraction > 0:
            raise InputError(f"{title}: fraction must be positive, got {self.fraction}. Use 0.4, for example.")
        if self.sigma is not None and not self.sigma > 0:
            raise InputError(f"{title}: sigma must be positive, got {self.sigma}. Leave it out for the median rule.")
        if self.median not in ("all", "off-diagonal"):
            raise InputError(f"{title}: median must be 'all' or 'off-diagonal', got {self.median!r}.")

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
        features, scale = center_and_scale(xp, x)
        squared = squared_distances(xp, features)
        if self.sigma is not None:
            return squared, (self.sigma / scale) ** 2
        return squared, self.fraction**2 * median_of_distances(xp, squared, self.median)

    def _degenerate(self, xp: Namespace, squared: Array) -> Array:
        warnings.warn(
            f"{type(self).__name__}: the median distance between examples is 0 (at least half of the pairs are "
            "equal), so no bandwidth follows from it and the result is NaN. Remove duplicates or give sigma=.",
            DegenerateInputWarning,
            stacklevel=3,
        )
        return squared * float("nan")


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
        if variance == 0.0:
            return self._degenerate(xp, squared)
        return xp.exp(squared * (-0.5 / variance))


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
            return self._degenerate(xp, squared)
        return xp.exp(-xp.sqrt(squared / variance))


@dataclass(frozen=True)
class Polynomial(Kernel):
    """Kernel (γ⟨x_i, x_j⟩ + c)^degree on the features as they are, not centred.

    Attributes:
        degree: A whole number from 1.
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
        if self.degree < 1 or int(self.degree) != self.degree:
            raise InputError(f"Polynomial: degree must be a whole number from 1, got {self.degree}.")
        if self.constant < 0:
            raise InputError(f"Polynomial: constant must not be negative, got {self.constant}.")
        if self.gamma is not None and not self.gamma > 0:
            raise InputError(f"Polynomial: gamma must be positive, got {self.gamma}.")

    def gram(self, x: Array) -> Array:
        """Gram matrix (n, n), computed in the widest float: nothing is centred before the power is taken."""
        xp = array_api_compat.array_namespace(x)
        x = xp.astype(x, widest_float(xp, x), copy=False)
        gamma = 1.0 / x.shape[1] if self.gamma is None else self.gamma
        return (gamma * (x @ x.T) + self.constant) ** self.degree


@dataclass(frozen=True)
class Cosine(Kernel):
    """Cosine of the angle between two examples, features not centred; not invariant to translation."""

    name = "cosine"
    translation_invariant = False
    scale_invariant = True

    def gram(self, x: Array) -> Array:
        """Gram matrix (n, n) with entries in [−1, 1], computed in the widest float."""
        xp = array_api_compat.array_namespace(x)
        x = xp.astype(x, widest_float(xp, x), copy=False)
        lengths = xp.sqrt(xp.sum(x * x, axis=1, keepdims=True))  # (n, 1)
        if bool(xp.any(lengths == 0)):
            row = int(xp.argmin(lengths[:, 0]))
            raise InputError(
                f"Cosine: every row of x must be non-zero, got zeros in row {row}. "
                "Leave that example out, or use another kernel."
            )
        x = x / lengths
        return x @ x.T


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
        n = x.shape[0]
        gram = self.function(x)
        shape = tuple(getattr(gram, "shape", ()))
        if shape != (n, n):
            raise InputError(f"kernel: the callable must return a ({n}, {n}) array for {n} examples, got {shape}.")
        return gram


def as_kernel(kernel: KernelLike) -> Kernel:
    """The kernel that a name, a kernel or a callable stands for."""
    if isinstance(kernel, Kernel):
        return kernel
    if isinstance(kernel, str):
        if kernel not in _BY_NAME:
            raise InputError(f"kernel: must be one of {', '.join(_BY_NAME)}, a Kernel or a callable, got {kernel!r}.")
        return _BY_NAME[kernel]()
    if callable(kernel):
        return _Custom(kernel)
    raise InputError(f"kernel: must be a name, a Kernel or a callable, got {type(kernel).__name__}.")


def squared_distances(xp: Namespace, x: Array) -> Array:
    """Squared Euclidean distances (n, n) between the rows of centred ``x`` (n, p); exact zeros on the diagonal."""
    squares = xp.sum(x * x, axis=1)
    distances = squares[:, None] + squares[None, :]
    distances -= 2.0 * (x @ x.T)
    # Rounding can leave −1e-16 where two examples coincide.
    distances = xp.where(distances > 0, distances, xp.zeros_like(distances))
    return without_diagonal(xp, distances)


def median_of_distances(xp: Namespace, squared: Array, rule: BandwidthRule) -> float:
    """Median of a symmetric (n, n) matrix of squared distances by one of the named rules, as a Python float."""
    n = squared.shape[0]
    if rule == "off-diagonal":
        values = xp.sort(xp.reshape(squared, (-1,)))[n:]  # the n smallest are the diagonal, or equal to it
    else:
        values = xp.sort(xp.reshape(squared, (-1,)))
    middle = values.shape[0] // 2
    if values.shape[0] % 2 == 1:
        return number(values[middle])
    return (number(values[middle - 1]) + number(values[middle])) / 2


def without_diagonal(xp: Namespace, gram: Array) -> Array:
    """A copy of ``gram`` (n, n) with zeros on the diagonal."""
    n = gram.shape[0]
    index = xp.arange(n, device=array_api_compat.device(gram))
    return xp.where(index[:, None] == index[None, :], xp.zeros_like(gram), gram)


def center_gram(gram: Array, estimator: Estimator) -> Array:
    """Centre a Gram matrix (n, n) so that HSIC becomes a plain inner product of two such matrices.

    ``"biased"``: H K H with H = I − 11ᵀ/n. ``"unbiased"``: U-centring (Székely & Rizzo 2014), which removes the
    diagonal and makes every row sum zero; then HSIC₁(K, L) = ⟨K̃, L̃⟩ / (n(n−3)) (measured against Song et al. 2012).
    """
    xp = array_api_compat.array_namespace(gram)
    n = gram.shape[0]
    if estimator == "biased":
        means = xp.mean(gram, axis=0)
        means = means - xp.mean(means) / 2
        return gram - means[:, None] - means[None, :]
    gram = without_diagonal(xp, gram)
    means = xp.sum(gram, axis=0) / (n - 2)
    means = means - xp.sum(means) / (2 * (n - 1))
    return without_diagonal(xp, gram - means[:, None] - means[None, :])


def check_estimator(function: str, estimator: str) -> Estimator:
    """Return ``estimator`` or say which ones exist."""
    if estimator == "unbiased":
        return "unbiased"
    if estimator == "biased":
        return "biased"
    raise InputError(f"{function}: estimator must be 'unbiased' or 'biased', got {estimator!r}.")


def minimum_examples(estimator: Estimator) -> int:
    """Smallest n for which the estimator of HSIC is defined: n(n−3) must be positive."""
    return 4 if estimator == "unbiased" else 2
