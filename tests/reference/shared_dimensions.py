"""Shared dimensions from Gram matrices and from explicit bases."""

from __future__ import annotations

import numpy as np

from tests.reference import kernels
from tests.reference.cca import orthonormal


def ensd(x, y):
    """Product of both participation ratios and of the normalised Gram matrices (Giaffar et al. 2024)."""
    k, l = (kernels.linear(kernels.centered(z)) for z in (x, y))  # noqa: E741

    def participation_ratio(m):
        return np.trace(m) ** 2 / np.trace(m @ m)

    aligned = np.trace((k / np.trace(k)) @ (l / np.trace(l)))
    return participation_ratio(k) * participation_ratio(l) * aligned


def eigenspace_overlap(x, y):
    """‖UᵀV‖² over the larger width, for features that are linearly independent (May et al. 2019), centred."""
    product = orthonormal(x).T @ orthonormal(y)
    return sum(float(entry) ** 2 for row in product for entry in row) / max(np.shape(x)[1], np.shape(y)[1])
