"""Student's t distribution, whose tails and quantiles the core needs without scipy."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

_TERMS = 2000
"""Of the continued fraction at most; it takes about √ν."""

_normal_tails = np.frompyfunc(lambda t: math.erfc(t / math.sqrt(2)), 1, 1)


def student_tails(t: npt.ArrayLike, freedom: float) -> npt.NDArray[np.float64]:
    """P(|T| ≥ |t|) for Student's T with ν degrees of freedom: both tails, with a relative accuracy of their own.

    I_x(ν/2, 1/2) of x = ν/(ν + t²), the regularised incomplete beta function, by its continued fraction (DLMF 8.17.22).

    Args:
        t: Any shape; NaN stays NaN.
        freedom: Degrees of freedom ν, above 0; the normal distribution's tails for infinitely many.
    """
    if math.isinf(freedom):
        return np.asarray(_normal_tails(np.abs(np.asarray(t, dtype=np.float64))), dtype=np.float64)
    square = np.asarray(t, dtype=np.float64) ** 2 / freedom  # t²/ν = (1 − x)/x
    a, b = freedom / 2, 0.5
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    with np.errstate(all="ignore"):
        x, rest = 1 / (1 + square), square / (1 + square)
        power = np.exp(front - a * np.log1p(square) + b * np.log(rest))
        far = x < (a + 1) / (a + b + 2)
        found = np.where(far, power * _fraction(a, b, x) / a, 1 - power * _fraction(b, a, rest) / b)
    found = np.where(square == 0, 1.0, found)
    return np.where(np.isinf(square), 0.0, found)


def student_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t distribution, by Newton's method from the normal quantile, which lies on its near side.

    Args:
        probability: Above 0, below 1.
        freedom: Degrees of freedom ν, above 0; the normal quantile for infinitely many.
    """
    t = NormalDist().inv_cdf(probability)
    if math.isinf(freedom) or t == 0.0:
        return t
    both = 2 * min(probability, 1 - probability)
    t, sign = abs(t), math.copysign(1.0, t)
    log_norm = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    for _ in range(200):
        density = math.exp(log_norm - (freedom + 1) / 2 * math.log1p(t * t / freedom))
        step = (float(student_tails(t, freedom)) - both) / (2 * density)
        t += step
        if abs(step) <= 1e-13 * t:
            break
    return sign * t


def _fraction(a: float, b: float, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The continued fraction of the incomplete beta function by Lentz's method, where x ≤ (a + 1)/(a + b + 2)."""
    x = np.where(x <= (a + 1) / (a + b + 2), x, 0.0)  # the others are found from the other end
    c, d = np.ones_like(x), 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d)
            c = 1 + term / c
            value = value * d * c
        if not (np.abs(d * c - 1) > 1e-15).any():
            break
    return value
