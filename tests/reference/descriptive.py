"""Magnitude, concentricity and uniformity, one example at a time."""

from __future__ import annotations

import math

import numpy as np


def _mean(x):
    return [math.fsum(column) / len(x) for column in np.asarray(x, dtype=np.float64).T]


def _cosine(a, b):
    return math.fsum(u * v for u, v in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def magnitude_difference(x, y):
    """Of the lengths of the means."""
    return abs(math.hypot(*_mean(x)) - math.hypot(*_mean(y)))


def concentricity_difference(x, y):
    """Of the mean cosines with the means."""
    first, second = (math.fsum(_cosine(row, _mean(z)) for row in z.tolist()) / len(z) for z in (x, y))
    return abs(first - second)


def uniformity_difference(x, y):
    """Of the logs of the mean potentials exp(−2d²), an example with itself included."""
    first, second = (
        math.log(math.fsum(math.exp(-2 * math.dist(a, b) ** 2) for a in z for b in z) / len(z) ** 2) for z in (x, y)
    )
    return abs(first - second)
