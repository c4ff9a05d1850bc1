"""Matchings of units on squares padded with zeros, by scipy's solver."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linear_sum_assignment

from tests.reference.kernels import centered


def padded(x, y):
    """Centred features, zeros beside those of the narrower side."""
    x, y = centered(x), centered(y)
    width = max(x.shape[1], y.shape[1])
    return tuple(np.pad(z, ((0, 0), (0, width - z.shape[1]))) for z in (x, y))


def permutation_procrustes(x, y, *, kind="angle"):
    """arccos or Euclidean distance after the permutation of largest ⟨X, YP⟩ (netrep's PermutationMetric)."""
    x, y = padded(x, y)
    rows, columns = linear_sum_assignment(np.array([[a @ b for b in y.T] for a in x.T]), maximize=True)
    x, y = x[:, rows], y[:, columns]
    if kind == "distance":
        return float(np.linalg.norm(x - y))
    return math.acos(float(np.sum(x * y)) / (np.linalg.norm(x) * np.linalg.norm(y)))
