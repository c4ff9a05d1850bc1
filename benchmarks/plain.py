"""The algorithms that public codes run on two matrices, written plainly and in the type of the input, as there.

Each function names the family of code that works this way. None of them guards its input or its precision: they are
what a measurement of speed should be beside.
"""

from __future__ import annotations

import numpy as np

Matrix = np.ndarray


def centered(x: Matrix) -> Matrix:
    return x - x.mean(axis=0)


def cka_of_features(x: Matrix, y: Matrix) -> float:
    """Notebook of the 2019 paper, anatome: three products of features (biased)."""
    x, y = centered(x), centered(y)
    return float(np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def doubly_centered(gram: Matrix) -> Matrix:
    means = gram.mean(axis=0)
    return gram - means[:, None] - means[None, :] + means.mean()


def cka_of_grams(k: Matrix, l: Matrix) -> float:  # noqa: E741
    """Most codes: both n × n Gram matrices centred, then three inner products (biased)."""
    k, l = doubly_centered(k), doubly_centered(l)  # noqa: E741
    return float(np.sum(k * l) / np.sqrt(np.sum(k * k) * np.sum(l * l)))


def linear_cka_of_grams(x: Matrix, y: Matrix) -> float:
    return cka_of_grams(x @ x.T, y @ y.T)


def rbf_gram(x: Matrix, fraction: float) -> Matrix:
    """Notebook of the 2019 paper: the median over all n² squared distances."""
    products = x @ x.T
    squares = np.diag(products)
    distances = squares[:, None] + squares[None, :] - 2 * products
    return np.exp(-distances / (2 * fraction**2 * np.median(distances)))


def rbf_cka(x: Matrix, y: Matrix, fraction: float = 0.5) -> float:
    return cka_of_grams(rbf_gram(x, fraction), rbf_gram(y, fraction))


def leading(x: Matrix, share: float | None) -> tuple[Matrix, Matrix]:
    """Left singular vectors and singular values, up to a share of the variance."""
    u, s, _ = np.linalg.svd(centered(x), full_matrices=False)
    if share is None:
        kept = int(np.count_nonzero(s > s[0] * 1e-6))
    else:
        kept = int(np.searchsorted(np.cumsum(s**2), share * np.sum(s**2))) + 1
    return u[:, :kept], s[:kept]


def cca_by_svd(x: Matrix, y: Matrix, share: float | None = None) -> float:
    """anatome, repsim: an SVD of each matrix, then one of the product of the left vectors."""
    (u, _), (v, _) = leading(x, share), leading(y, share)
    return float(np.mean(np.linalg.svd(u.T @ v, compute_uv=False) ** 2))


def svcca_by_svd(x: Matrix, y: Matrix) -> float:
    return cca_by_svd(x, y, 0.99)


def pwcca_by_svd(x: Matrix, y: Matrix) -> float:
    (u, _), (v, _) = leading(x, None), leading(y, None)
    left, rho, _ = np.linalg.svd(u.T @ v, full_matrices=False)
    weights = np.abs((u @ left).T @ centered(x)).sum(axis=1)
    return float(np.sum(weights * rho) / np.sum(weights))


def regression_by_qr(x: Matrix, y: Matrix) -> float:
    """Notebook of the 2019 paper: QR of the design."""
    x, y = centered(x), centered(y)
    q, _ = np.linalg.qr(y)
    return float(np.linalg.norm(q.T @ x) ** 2 / np.linalg.norm(x) ** 2)


def inverse_root(covariance: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors / np.sqrt(values)) @ vectors.T


def whitened_product(x: Matrix, y: Matrix) -> tuple[Matrix, Matrix]:
    """The svcca package: one covariance of all columns in double precision, inverse roots of its two blocks."""
    p = x.shape[1]
    covariance = np.cov(np.concatenate([x, y], axis=1), rowvar=False, dtype=np.float64)
    root = inverse_root(covariance[:p, :p])
    return root, root @ covariance[:p, p:] @ inverse_root(covariance[p:, p:])


def cca_by_covariance(x: Matrix, y: Matrix) -> float:
    return float(np.mean(np.linalg.svd(whitened_product(x, y)[1])[1] ** 2))


def svcca_by_covariance(x: Matrix, y: Matrix) -> float:
    """The svcca package's tutorial: SVD of each matrix, then CCA of what is kept."""
    (u, s), (v, t) = leading(x, 0.99), leading(y, 0.99)
    return cca_by_covariance(u * s, v * t)


def pwcca_by_covariance(x: Matrix, y: Matrix) -> float:
    root, product = whitened_product(x, y)
    left, rho, _ = np.linalg.svd(product, full_matrices=False)
    weights = np.abs((centered(x) @ (root @ left)).T @ centered(x)).sum(axis=1)
    return float(np.sum(weights * rho) / np.sum(weights))


def procrustes_by_product(x: Matrix, y: Matrix) -> float:
    """netrep, anatome: the nuclear norm of XᵀY (p × q)."""
    x, y = centered(x), centered(y)
    return float(np.linalg.norm(x.T @ y, "nuc") / (np.linalg.norm(x) * np.linalg.norm(y)))
