"""Partial whitening by the singular value decomposition, one direction at a time, and scipy's rotation."""

from __future__ import annotations

import numpy as np

from tests.reference.kernels import centered
from tests.reference.shape import procrustes


def whitened(x, alpha):
    """X (α I + (1 − α)(XᵀX)^−½) for centred X; directions without variance stay as they are, at 0."""
    x = centered(x)
    left, singular, right = np.linalg.svd(x, full_matrices=False)
    result = np.zeros_like(x)
    for i, s in enumerate(singular):
        if s > 1e-10 * singular[0]:
            result += (alpha * s + (1 - alpha)) * np.outer(left[:, i], right[i])
    return result


def shape_distance(x, y, *, alpha=1.0):
    """The Procrustes angle of both sides after partial whitening (Williams et al. 2021)."""
    return procrustes(whitened(x, alpha), whitened(y, alpha), kind="angle")
