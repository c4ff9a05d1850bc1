"""What public codes do for one pair of layers, written plainly: the measures beyond the 2019 paper's.

As in :mod:`benchmarks.plain`: the algorithm and the type of the input are theirs, the definition is ours, so that the
values can be compared. Where a code does part of the work once a layer, that part is a function of its own.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.plain import centered, doubly_centered, leading

Matrix = np.ndarray


# -- CKA and other inner products of Gram matrices -----------------------------------------------------------------


def hsic_song(k: Matrix, l: Matrix) -> float:  # noqa: E741
    """HSIC₁ of Song et al. 2012 by its three terms, as most codes have it; both diagonals are zero."""
    n = len(k)
    trace, third = float(np.sum(k * l)), float(k.sum(axis=0) @ l.sum(axis=0))
    total = float(k.sum()) * float(l.sum()) / ((n - 1) * (n - 2))
    return (trace + total - 2 * third / (n - 2)) / (n * (n - 3))


def without_diagonal(gram: Matrix) -> Matrix:
    gram = gram.copy()
    np.fill_diagonal(gram, 0.0)
    return gram


def linear_gram(x: Matrix) -> Matrix:
    x = centered(x)
    return without_diagonal(x @ x.T)


def cka_unbiased(x: Matrix, y: Matrix) -> float:
    k, l = linear_gram(x), linear_gram(y)  # noqa: E741
    return hsic_song(k, l) / math.sqrt(hsic_song(k, k) * hsic_song(l, l))


def hsic_unbiased(x: Matrix, y: Matrix) -> float:
    return hsic_song(linear_gram(x), linear_gram(y))


def rv2(x: Matrix, y: Matrix) -> float:
    k, l = linear_gram(x), linear_gram(y)  # noqa: E741
    return float(np.sum(k * l) / np.sqrt(np.sum(k * k) * np.sum(l * l)))


def distances(x: Matrix) -> Matrix:
    products = x @ x.T
    squares = np.diag(products)
    return np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * products, 0.0))


def distance_correlation(x: Matrix, y: Matrix) -> float:
    """ReSi: both matrices of distances centred, three inner products (biased); ``x``, ``y`` are distances."""
    a, b = doubly_centered(x), doubly_centered(y)
    return float(np.sqrt(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))))


def ensd(x: Matrix, y: Matrix) -> float:
    """Traces of products of the n × n Gram matrices."""
    k, l = doubly_centered(x @ x.T), doubly_centered(y @ y.T)  # noqa: E741
    return float(np.trace(k) * np.trace(l) * np.sum(k * l) / (np.sum(k * k) * np.sum(l * l)))


# -- from singular vectors -----------------------------------------------------------------------------------------


def canonical_ridge(x: Matrix, y: Matrix, kappa: float = 1.0) -> float:
    (u, s), (v, t) = leading(x, None), leading(y, None)
    a, b = s**2 / (s**2 + kappa), t**2 / (t**2 + kappa)
    product = a @ (u.T @ v) ** 2 @ b
    return float(product / math.sqrt(np.sum(a * a) * np.sum(b * b)))


def eigenspace_overlap(x: Matrix, y: Matrix) -> float:
    (u, _), (v, _) = leading(x, None), leading(y, None)
    return float(np.linalg.norm(u.T @ v) ** 2 / max(u.shape[1], v.shape[1]))


def gulp(x: Matrix, y: Matrix, ridge: float = 0.01) -> float:
    """The authors' code: explicit inverses of both covariances, and traces of products."""
    n = len(x)
    x, y = (math.sqrt(n) * z / np.linalg.norm(z) for z in (centered(x), centered(y)))
    s_x, s_y, s_xy = x.T @ x / n, y.T @ y / n, x.T @ y / n
    a, b = (np.linalg.inv(s + ridge * np.eye(len(s), dtype=s.dtype)) for s in (s_x, s_y))
    left, right = a @ s_x, b @ s_y
    return float(np.trace(left @ left) + np.trace(right @ right) - 2 * np.trace(a @ s_xy @ b @ s_xy.T))


def whitened(x: Matrix, alpha: float) -> Matrix:
    """netrep: partial whitening through the eigenvectors of XᵀX; once a layer."""
    x = centered(x)
    values, vectors = np.linalg.eigh(x.T @ x)
    return x @ (alpha * np.eye(len(values), dtype=x.dtype) + (1 - alpha) * (vectors / np.sqrt(values)) @ vectors.T)


def shape_angle(x: Matrix, y: Matrix) -> float:
    """netrep: the rotation from an SVD of XᵀY with its vectors, then the angle of the aligned matrices."""
    u, _, vt = np.linalg.svd(x.T @ y, full_matrices=False)
    cosine = np.sum((x @ u) * (y @ vt.T)) / (np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.arccos(np.clip(cosine, -1, 1)))


def aligned_cosine(x: Matrix, y: Matrix) -> float:
    """ReSi: rotate, then the mean cosine of the rows."""
    x, y = centered(x), centered(y)
    u, _, vt = np.linalg.svd(x.T @ y, full_matrices=False)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return float(np.mean(np.sum((x @ u) * (y @ vt.T), axis=1) / lengths))


# -- units ---------------------------------------------------------------------------------------------------------


def permutation_angle(x: Matrix, y: Matrix) -> float:
    """netrep's PermutationMetric: an assignment, then the angle of the permuted matrices."""
    from scipy.optimize import linear_sum_assignment

    x, y = centered(x), centered(y)
    rows, columns = linear_sum_assignment(x.T @ y, maximize=True)
    return float(np.arccos(np.sum(x[:, rows] * y[:, columns]) / (np.linalg.norm(x) * np.linalg.norm(y))))


def correlations(x: Matrix, y: Matrix) -> Matrix:
    """ReSi: numpy's correlation of all columns of both sides."""
    return np.corrcoef(x, y, rowvar=False)[: x.shape[1], x.shape[1] :]


def hard_matching(x: Matrix, y: Matrix) -> float:
    from scipy.optimize import linear_sum_assignment

    found = correlations(x, y)
    return float(found[linear_sum_assignment(found, maximize=True)].mean())


def best_matching(x: Matrix, y: Matrix) -> float:
    found = correlations(x, y)
    return float((found.max(axis=0).mean() + found.max(axis=1).mean()) / 2)


# -- neighbours ----------------------------------------------------------------------------------------------------


def cosines(x: Matrix) -> Matrix:
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


def neighbors(x: Matrix, k: int = 10) -> Matrix:
    """The Platonic Representation Hypothesis: the k largest cosines of each row; once a layer."""
    found = cosines(x)
    np.fill_diagonal(found, -np.inf)
    return np.argsort(-found, axis=1)[:, :k]


def mask(near: Matrix) -> Matrix:
    found = np.zeros((len(near), len(near)), dtype=bool)
    np.put_along_axis(found, near, True, axis=1)
    return found


def mutual_knn(x: Matrix, y: Matrix) -> float:
    return float((mask(x) & mask(y)).sum(axis=1).mean() / x.shape[1])


def jaccard_by_sets(x: Matrix, y: Matrix) -> float:
    """ReSi: Python's sets, an example at a time."""
    shares = [len(a & b) / len(a | b) for a, b in zip(map(set, x.tolist()), map(set, y.tolist()), strict=True)]
    return float(np.mean(shares))


def rank_similarity_by_sets(x: Matrix, y: Matrix) -> float:
    """ReSi: a dictionary of ranks for each example."""
    total = 0.0
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        left, right = ({j: r for r, j in enumerate(near, 1)} for near in (a, b))
        common = left.keys() & right.keys()
        if common:
            found = sum(2 / ((1 + abs(left[j] - right[j])) * (left[j] + right[j])) for j in common)
            total += found / sum(1 / r for r in range(1, len(common) + 1))
    return total / len(x)


def second_order_cosine(x: tuple[Matrix, Matrix], y: tuple[Matrix, Matrix]) -> float:
    """ReSi: of each example the cosine distances to the neighbours on either side."""
    total = 0.0
    for i, (a, b) in enumerate(zip(x[0], y[0], strict=True)):
        either = np.union1d(a, b)
        u, v = 1 - x[1][i, either], 1 - y[1][i, either]
        total += float(u @ v / (np.linalg.norm(u) * np.linalg.norm(v)))
    return total / len(x[0])


def cknna(x: tuple[Matrix, Matrix], y: tuple[Matrix, Matrix]) -> float:
    """The Platonic Representation Hypothesis: HSIC₁ of masked similarities, three times a pair."""

    def aligned(one: tuple[Matrix, Matrix], other: tuple[Matrix, Matrix]) -> float:
        both = mask(one[0]) & mask(other[0])
        k, l = both * one[1], both * other[1]  # noqa: E741
        n = len(k)
        third = float(k.sum(axis=0) @ l.sum(axis=1))
        total = float(k.sum()) * float(l.sum()) / ((n - 1) * (n - 2))
        return (float(np.sum(k * l.T)) + total - 2 * third / (n - 2)) / (n * (n - 3))

    return aligned(x, y) / math.sqrt(aligned(x, x) * aligned(y, y))


def with_cosines(x: Matrix) -> tuple[Matrix, Matrix]:
    """Neighbours and similarities; once a layer."""
    return neighbors(x), cosines(x)


def cycle_knn(x: Matrix, y: Matrix) -> float:
    """The Platonic Representation Hypothesis: neighbours of neighbours, an example at a time."""
    return float(np.mean([i in x[y[i]] for i in range(len(x))]))


# -- one number or spectrum a layer --------------------------------------------------------------------------------


def magnitude(x: Matrix) -> float:
    return float(np.linalg.norm(x.mean(axis=0)))


def concentricity(x: Matrix) -> float:
    mean = x.mean(axis=0)
    return float(np.mean(x @ mean / (np.linalg.norm(x, axis=1) * np.linalg.norm(mean))))


def uniformity(x: Matrix) -> float:
    from scipy.spatial.distance import cdist

    return float(np.log(np.exp(-2 * cdist(x, x, "sqeuclidean")).mean()))


def heat_trace(x: Matrix, k: int = 5) -> Matrix:
    """The exact trace that the authors' stochastic one estimates, of scikit-learn's graph."""
    from sklearn.neighbors import kneighbors_graph

    near = kneighbors_graph(x, k).toarray()
    near = np.maximum(near, near.T)
    degrees = np.sqrt(near.sum(axis=1))
    spectrum = np.linalg.eigvalsh(np.eye(len(x)) - near / degrees[:, None] / degrees[None, :])
    return np.exp(-np.outer(np.logspace(-1, 1, 256), spectrum)).mean(axis=1)


def imd(x: Matrix, y: Matrix) -> float:
    times = np.logspace(-1, 1, 256)
    return float(1e6 * np.max(np.exp(-2 * (times + 1 / times)) * np.abs(x - y)))
