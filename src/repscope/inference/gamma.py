"""Tail of the Pearson type III distribution: a gamma distribution moved and stretched to three given moments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = "npt.NDArray[np.float64]"

_LARGE_SHAPE = 200.0
"""From here on two terms of the uniform expansion are right to eight digits (DLMF 8.12)."""

_NEAR_MEAN = 0.05
"""|η| up to which the expansion's coefficients are taken from their Taylor series; else they lose digits."""

_TERMS = 400


def pearson_upper_tail(z: Numbers, skewness: Numbers) -> Numbers:
    """P(Z ≥ z) for Z of mean 0, variance 1 and the given skewness, of Pearson's type III.

    With k = 4/γ², Z = (G − k)/√k for a gamma variable G of shape k where the skewness γ is positive, its mirror image
    where γ is negative, and the normal distribution where γ = 0.

    Args:
        z: Standardised values, any shape.
        skewness: γ, of a shape that broadcasts.

    Returns:
        Probabilities; NaN where either is NaN.
    """
    z, skewness = np.broadcast_arrays(np.asarray(z, dtype=np.float64), np.asarray(skewness, dtype=np.float64))
    found = np.full(z.shape, np.nan)
    known = ~(np.isnan(z) | np.isnan(skewness))
    normal = known & (np.abs(skewness) < 1e-6)
    found[normal] = 0.5 * _erfc(z[normal] / math.sqrt(2))
    skewed = known & ~normal
    shape = 4 / skewness[skewed] ** 2
    up = skewness[skewed] > 0
    lower, upper = gamma_tails(shape, shape + np.where(up, 1, -1) * z[skewed] * np.sqrt(shape))
    found[skewed] = np.where(up, upper, lower)
    return found


def gamma_tails(shape: Numbers, x: Numbers) -> tuple[Numbers, Numbers]:
    """P(G ≤ x) and P(G ≥ x) for gamma variables of these shapes and scale 1, each with its own relative accuracy.

    Args:
        shape: Shapes (m,), positive.
        x: Values (m,); negative ones count as 0.
    """
    x = np.maximum(x, 0.0)
    lower, upper = np.zeros_like(x), np.ones_like(x)
    positive = x > 0
    large = positive & (shape > _LARGE_SHAPE)
    small = positive & ~large & (x < shape + 1)
    rest = positive & ~large & ~small
    lower[large], upper[large] = _by_expansion(shape[large], x[large])
    lower[small] = _by_series(shape[small], x[small])
    upper[small] = 1 - lower[small]
    upper[rest] = _by_fraction(shape[rest], x[rest])
    lower[rest] = 1 - upper[rest]
    return lower, upper


def _by_series(a: Numbers, x: Numbers) -> Numbers:
    """P(a, x) = xᵃ e⁻ˣ / Γ(a + 1) · Σ_k x^k / ((a + 1) … (a + k)) (DLMF 8.7.1), for x < a + 1."""
    term = total = np.ones_like(x)
    for k in range(1, _TERMS):
        term = term * x / (a + k)
        total = total + term
        if not (term > 1e-16 * total).any():
            break
    return np.exp(a * np.log(x) - x - _lgamma(a + 1)) * total


def _by_fraction(a: Numbers, x: Numbers) -> Numbers:
    """Q(a, x) by its continued fraction (DLMF 8.9.2, evaluated by Lentz's method), for x ≥ a + 1."""
    b = x + 1 - a
    c, d = np.full_like(x, 1e300), 1 / b
    value = d
    for k in range(1, _TERMS):
        numerator = -k * (k - a)
        b = b + 2
        d = 1 / (numerator * d + b)
        c = b + numerator / c
        step = c * d
        value = value * step
        if not (np.abs(step - 1) > 1e-15).any():
            break
    return np.exp(a * np.log(x) - x - _lgamma(a)) * value


def _by_expansion(a: Numbers, x: Numbers) -> tuple[Numbers, Numbers]:
    """P and Q by Temme's uniform expansion for large a (DLMF 8.12.3, 8.12.4 and 8.12.7)."""
    mu = x / a - 1
    eta = np.sign(mu) * np.sqrt(np.maximum(2 * (mu - np.log1p(mu)), 0))
    near = np.abs(eta) < _NEAR_MEAN
    m, e = np.where(near, 1.0, mu), np.where(near, 1.0, eta)
    c0 = np.where(near, np.polyval([1 / 2835, 1 / 864, -2 / 135, 1 / 12, -1 / 3], eta), 1 / m - 1 / e)
    c1 = np.where(
        near,
        np.polyval([-77 / 77760, 1 / 378, -1 / 288, -1 / 540], eta),
        1 / e**3 - 1 / m**3 - 1 / m**2 - 1 / (12 * m),
    )
    rest = np.exp(-a * eta**2 / 2) / np.sqrt(2 * math.pi * a) * (c0 + c1 / a)
    root = eta * np.sqrt(a / 2)
    return 0.5 * _erfc(-root) - rest, 0.5 * _erfc(root) + rest


def _elementwise(function: Callable[[float], float]) -> Callable[[Numbers], Numbers]:
    plain = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(plain(x), dtype=np.float64)


_erfc, _lgamma = _elementwise(math.erfc), _elementwise(math.lgamma)
