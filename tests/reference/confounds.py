"""Confounds from their definitions: whole matrices, one entry, one unit, one pair of units at a time."""

from __future__ import annotations

import numpy as np


def centred_gram(x: np.ndarray) -> np.ndarray:
    n = len(x)
    h = np.eye(n) - np.ones((n, n)) / n
    return h @ x @ x.T @ h


def deconfounded_cka(x: np.ndarray, y: np.ndarray, z: np.ndarray, psd: bool) -> float:
    """Regress vec(K) on vec(K₀) and a constant by least squares; set negative eigenvalues to 0 one by one."""
    design = np.stack([np.ones(len(x) ** 2), centred_gram(z).ravel()], axis=1)
    remaining = []
    for a in (x, y):
        k = centred_gram(a)
        coefficients = np.linalg.lstsq(design, k.ravel(), rcond=None)[0]
        residual = k - (design @ coefficients).reshape(k.shape)
        if psd:
            values, vectors = np.linalg.eigh(residual)
            residual = sum(
                value * np.outer(vector, vector) for value, vector in zip(values, vectors.T, strict=True) if value > 0
            )
        remaining.append(residual)
    k, l = remaining  # noqa: E741
    return np.sum(k * l) / np.sqrt(np.sum(k * k) * np.sum(l * l))


def hsic1(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """HSIC₁ of two Gram matrices (Song et al. 2012, eq. 5)."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    ones = np.ones(n)
    total = np.trace(k @ l) + ones @ k @ ones * (ones @ l @ ones) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * ones @ k @ l @ ones) / (n * (n - 3))


def partial_correlation(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> float:
    """Of Gram matrices, by the formula for three correlations (Székely & Rizzo 2014, eq. 4.8)."""

    def cka(a: np.ndarray, b: np.ndarray) -> float:
        k, l = a @ a.T, b @ b.T  # noqa: E741
        return hsic1(k, l) / np.sqrt(hsic1(k, k) * hsic1(l, l))

    xy, xz, yz = cka(x, y), cka(x, z), cka(y, z)
    return (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))


def cka_of_populations(x: np.ndarray, y: np.ndarray) -> float:
    """Every pair of different units (Chun et al. 2025)."""

    def among(a: np.ndarray) -> float:
        p = a.shape[1]
        grams = [np.outer(a[:, i], a[:, i]) for i in range(p)]
        return sum(hsic1(grams[i], grams[j]) for i in range(p) for j in range(p) if i != j) / (p * (p - 1))

    both = np.mean([hsic1(np.outer(a, a), np.outer(b, b)) for a in x.T for b in y.T])
    return both / np.sqrt(among(x) * among(y))


def residual(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """What least squares on the features of z and a constant leave of each feature of x."""
    design = np.hstack([np.ones((len(z), 1)), z])
    return np.stack([column - design @ np.linalg.lstsq(design, column, rcond=None)[0] for column in x.T], axis=1)


def beside(gram, z):
    """The nearest symmetric matrix without a diagonal that maps 1 and the columns of z to zero, by its equations."""
    n = len(gram)
    span = np.column_stack([np.ones(n), z])
    equations = []
    for i in range(n):
        one = np.zeros((n, n))
        one[i, i] = 1
        equations.append(one.ravel())
        for vector in span.T:
            row = np.zeros((n, n))
            row[i] = vector
            equations.append(((row + row.T) / 2).ravel())
    equations = np.array(equations)
    found = np.linalg.lstsq(equations.T, gram.ravel(), rcond=1e-10)[0]
    return gram - (found @ equations).reshape(n, n)
