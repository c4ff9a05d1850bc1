"""The angle between two Gram matrices, an entry at a time."""

from __future__ import annotations

import math

from tests.reference.kernels import centered, linear


def angular_cka(x, y):
    """arccos(Σ_ij K_ij L_ij / √(Σ K_ij² Σ L_ij²)) of centred features."""
    K, L = linear(centered(x)), linear(centered(y))
    n = len(K)

    def product(A, B):
        return math.fsum(A[i, j] * B[i, j] for i in range(n) for j in range(n))

    return math.acos(min(product(K, L) / math.sqrt(product(K, K) * product(L, L)), 1.0))
