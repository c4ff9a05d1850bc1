"""Kernels and bandwidths, one entry of the Gram matrix at a time.

The references are transcriptions of the published formulas in float64, as slow and as plain as they can be. They share
no code with the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Entry = Callable[[np.ndarray, np.ndarray], float]


def centered(x):
    """Subtract the mean of each column."""
    x = np.asarray(x, dtype=np.float64)
    n, p = x.shape
    result = np.empty((n, p))
    for j in range(p):
        mean = math.fsum(x[:, j]) / n
        for i in range(n):
            result[i, j] = x[i, j] - mean
    return result


def gram(x, entry: Entry):
    """K_ij = k(x_i, x_j)."""
    n = len(x)
    return np.array([[entry(x[i], x[j]) for j in range(n)] for i in range(n)])


def linear(x):
    return gram(np.asarray(x, dtype=np.float64), lambda a, b: float(a @ b))


def polynomial(x, degree=3, constant=1.0, gamma=None):
    x = np.asarray(x, dtype=np.float64)
    gamma = 1 / x.shape[1] if gamma is None else gamma
    return gram(x, lambda a, b: (gamma * float(a @ b) + constant) ** degree)


def cosine(x):
    x = np.asarray(x, dtype=np.float64)
    return gram(x, lambda a, b: float(a @ b) / (math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))))


def squared_distances(x):
    return gram(np.asarray(x, dtype=np.float64), lambda a, b: float((a - b) @ (a - b)))


def bandwidth_squared(x, fraction, median="all"):
    """σ² = fraction² × median of the squared distances.

    ``"all"`` is the authors' notebook: the median over the full n × n matrix, zero diagonal included.
    """
    distances = squared_distances(x)
    if median == "off-diagonal":
        n = len(distances)
        distances = np.array([distances[i, j] for i in range(n) for j in range(n) if i != j])
    return fraction**2 * float(np.median(distances))


def rbf(x, fraction=0.4, median="all", sigma=None):
    variance = sigma**2 if sigma is not None else bandwidth_squared(x, fraction, median)
    x = np.asarray(x, dtype=np.float64)
    return gram(x, lambda a, b: math.exp(-float((a - b) @ (a - b)) / (2 * variance)))


def laplace(x, fraction=1.0, median="all", sigma=None):
    variance = sigma**2 if sigma is not None else bandwidth_squared(x, fraction, median)
    x = np.asarray(x, dtype=np.float64)
    return gram(x, lambda a, b: math.exp(-math.sqrt(float((a - b) @ (a - b)) / variance)))
