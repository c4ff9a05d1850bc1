"""Distance correlation and the modified RV coefficient, entry by entry."""

from __future__ import annotations

import math

import numpy as np

from tests.reference import hsic, kernels


def distances(x):
    """‖x_i − x_j‖."""
    return kernels.gram(np.asarray(x, dtype=np.float64), math.dist)


def distance_correlation(x, y, *, estimator="unbiased"):
    """Székely et al. 2007 with the root, or the bias-corrected square of Székely & Rizzo 2014.

    By the loops for HSIC: the signs of two negative distances cancel, and so do those of the centring.
    """
    a, b = distances(x), distances(y)
    estimate = hsic.ESTIMATORS[estimator]
    squared = estimate(a, b) / math.sqrt(estimate(a, a) * estimate(b, b))
    return math.sqrt(max(squared, 0.0)) if estimator == "biased" else squared


def rv2(x, y):
    """Cosine of two Gram matrices, diagonals left out (Smilde et al. 2009)."""
    k, l = kernels.linear(kernels.centered(x)), kernels.linear(kernels.centered(y))  # noqa: E741
    pairs = [(i, j) for i in range(len(k)) for j in range(len(k)) if i != j]
    product = math.fsum(k[i, j] * l[i, j] for i, j in pairs)
    return product / math.sqrt(math.fsum(k[p] ** 2 for p in pairs) * math.fsum(l[p] ** 2 for p in pairs))
