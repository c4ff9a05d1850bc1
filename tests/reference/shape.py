"""Orthogonal Procrustes by scipy's solver for the rotation."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import orthogonal_procrustes

from tests.reference.kernels import centered


def procrustes(x, y, *, kind="angle"):
    """min over rotations Q of ‖X Q − Y‖_F and its normalised forms (App. D.2), zeros padding the narrower side."""
    x, y = centered(x), centered(y)
    width = max(x.shape[1], y.shape[1])
    x = np.pad(x, ((0, 0), (0, width - x.shape[1])))
    y = np.pad(y, ((0, 0), (0, width - y.shape[1])))
    if kind == "distance":
        rotation, _ = orthogonal_procrustes(x, y)
        return float(np.linalg.norm(x @ rotation - y))
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    rotation, _ = orthogonal_procrustes(x, y)
    fit = float(np.trace((x @ rotation).T @ y))
    if kind == "cosine":
        return fit
    if kind == "squared":
        return float(np.linalg.norm(x @ rotation - y)) ** 2
    return math.acos(min(fit, 1.0))
