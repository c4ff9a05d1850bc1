"""GULP from the covariances and their explicit inverses."""

from __future__ import annotations

import math

import numpy as np

from tests.reference.kernels import centered


def gulp(x, y, *, regularization=0.01):
    """Squared distance of Boix-Adserà et al. 2022, term by term; n must exceed the widths where λ = 0."""
    n = len(x)
    x, y = (math.sqrt(n) * z / math.sqrt(float(np.sum(z**2))) for z in (centered(x), centered(y)))
    a, b = (np.linalg.inv(z.T @ z / n + regularization * np.eye(z.shape[1])) for z in (x, y))
    s_x, s_y, s_xy = x.T @ x / n, y.T @ y / n, x.T @ y / n
    first = np.trace(a @ s_x @ a @ s_x)
    second = np.trace(b @ s_y @ b @ s_y)
    return float(first + second - 2 * np.trace(a @ s_xy @ b @ s_xy.T))
