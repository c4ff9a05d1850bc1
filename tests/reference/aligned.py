"""Cosines of rows after scipy's rotation, one row at a time."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import orthogonal_procrustes

from tests.reference.matching import padded


def aligned_cosine(x, y):
    """(1/n) Σ_i cos(x_i Q, y_i)."""
    x, y = padded(x, y)
    rotation, _ = orthogonal_procrustes(x, y)
    rows = zip(x @ rotation, y, strict=True)
    return math.fsum(float(a @ b / np.sqrt((a @ a) * (b @ b))) for a, b in rows) / len(x)
