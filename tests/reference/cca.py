"""Canonical correlations by explicit inverse square roots, and the measures built on them."""

from __future__ import annotations

import math

import numpy as np

from tests.reference.kernels import centered


def inverse_square_root(matrix):
    """M^{-1/2} of a symmetric positive-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    result = np.zeros_like(matrix)
    for value, vector in zip(values, vectors.T, strict=True):
        result += np.outer(vector, vector) / math.sqrt(value)
    return result


def orthonormal(x):
    """Q_X = X (XᵀX)^{-1/2} (§4), for centred columns that are linearly independent."""
    x = centered(x)
    return x @ inverse_square_root(x.T @ x)


def correlations(x, y):
    """ρ_i: square roots of the eigenvalues of (XᵀX)^{-1/2} XᵀY (YᵀY)^{-1} YᵀX (XᵀX)^{-1/2}, descending."""
    x, y = centered(x), centered(y)
    if x.shape[1] > y.shape[1]:
        x, y = y, x
    root = inverse_square_root(x.T @ x)
    middle = root @ x.T @ y @ np.linalg.inv(y.T @ y) @ y.T @ x @ root
    return np.sqrt(np.clip(np.linalg.eigvalsh((middle + middle.T) / 2)[::-1], 0, None))


def cca(x, y, *, summary="r2"):
    """Eq. 7 and eq. 8."""
    rho = correlations(x, y)
    fewest = min(np.shape(x)[1], np.shape(y)[1])
    return sum(r**2 for r in rho) / fewest if summary == "r2" else sum(rho) / fewest


def principal_components(x, variance):
    """X V of the leading components: the fewest whose share of Σs² reaches ``variance``."""
    x = centered(x)
    values, vectors = np.linalg.eigh(x.T @ x)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept, reached = 0, 0.0
    while reached < variance * sum(values) and kept < len(values):
        reached += values[kept]
        kept += 1
    return x @ vectors[:, :kept]


def svcca(x, y, *, variance=0.99, summary="r2"):
    """CCA of the leading principal components (Table 1)."""
    return cca(principal_components(x, variance), principal_components(y, variance), summary=summary)


def pwcca(x, y):
    """Eq. 9 as printed: α_i = Σ_j |⟨h_i, x_j⟩| with h_i = X w_i the canonical variables of x at unit length."""
    x_centered = centered(x)
    q_x, q_y = orthonormal(x), orthonormal(y)
    left, rho, _ = np.linalg.svd(q_x.T @ q_y)
    numerator = denominator = 0.0
    for i in range(len(rho)):
        h = q_x @ left[:, i]
        assert abs(h @ h - 1) < 1e-9
        alpha = sum(abs(float(h @ x_centered[:, j])) for j in range(x_centered.shape[1]))
        numerator += alpha * rho[i]
        denominator += alpha
    return numerator / denominator


def canonical_ridge(x, y, *, kappa_x=1.0, kappa_y=1.0, normalizer="full"):
    """Eq. 22 over eq. 25 ("matched"), 26 ("truncated") or 27 ("full"), by double sums."""
    u, s, _ = np.linalg.svd(centered(x), full_matrices=False)
    v, t, _ = np.linalg.svd(centered(y), full_matrices=False)
    a = [_shrunk(value**2, kappa_x, s[0] ** 2) for value in s]
    b = [_shrunk(value**2, kappa_y, t[0] ** 2) for value in t]
    total = 0.0
    for i in range(len(a)):
        for j in range(len(b)):
            total += a[i] * b[j] * float(u[:, i] @ v[:, j]) ** 2
    fewest = min(len(a), len(b))
    if normalizer == "matched":
        return total / sum(a[i] * b[i] for i in range(fewest))
    if normalizer == "truncated":
        a, b = a[:fewest], b[:fewest]
    return total / (math.sqrt(sum(value**2 for value in a)) * math.sqrt(sum(value**2 for value in b)))


def _shrunk(eigenvalue, kappa, largest):
    """λ/(λ + κ); as κ grows this tends to λ/κ, whose constant factor every normaliser cancels."""
    if math.isinf(kappa):
        return eigenvalue / largest
    return eigenvalue / (eigenvalue + kappa)
