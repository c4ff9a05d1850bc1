"""Measures of nearest neighbours, one example and one neighbour at a time."""

from __future__ import annotations

import math

import numpy as np


def distance(a, b, metric):
    """Cosine or Euclidean distance; parallel examples are at distance zero, not at what rounding leaves."""
    if metric == "euclidean":
        return math.dist(a, b)
    cosine = math.fsum(a * b) / math.sqrt(math.fsum(a * a) * math.fsum(b * b))
    return 0.0 if cosine > 1 - 1e-14 else 1.0 - cosine


def nearest(x, k, metric):
    """The k nearest other examples of each, nearest first; of equals the first one, so for data without ties."""
    x = np.asarray(x, dtype=np.float64)
    n = len(x)
    return [[j for _, j in sorted((distance(x[i], x[j], metric), j) for j in range(n) if j != i)[:k]] for i in range(n)]


def _mean(x, y, k, metric, agreement):
    return sum(agreement(a, b) for a, b in zip(nearest(x, k, metric), nearest(y, k, metric), strict=True)) / len(x)


def mutual_knn(x, y, *, k=10, metric="cosine"):
    """Share of common neighbours (Huh et al. 2024)."""
    return _mean(x, y, k, metric, lambda a, b: len(set(a) & set(b)) / k)


def jaccard_knn(x, y, *, k=10, metric="cosine"):
    """Intersection over union."""
    return _mean(x, y, k, metric, lambda a, b: len(set(a) & set(b)) / len(set(a) | set(b)))


def rank_similarity(x, y, *, k=10, metric="cosine"):
    """Wang et al. 2022, as in the survey of Klabunde et al. 2023."""

    def agreement(a, b):
        common = set(a) & set(b)
        if not common:
            return 0.0
        terms = 0.0
        for j in common:
            r, s = a.index(j) + 1, b.index(j) + 1
            terms += 2 / ((1 + abs(r - s)) * (r + s))
        return terms / sum(1 / r for r in range(1, len(common) + 1))

    return _mean(x, y, k, metric, agreement)


def second_order_cosine(x, y, *, k=10):
    """Cosine of the cosine distances to the neighbours on either side."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    total = 0.0
    for i, (a, b) in enumerate(zip(nearest(x, k, "cosine"), nearest(y, k, "cosine"), strict=True)):
        either = sorted(set(a) | set(b))
        u = np.array([distance(x[i], x[j], "cosine") for j in either])
        v = np.array([distance(y[i], y[j], "cosine") for j in either])
        if u.any() and v.any():
            total += float(u @ v) / (np.linalg.norm(u) * np.linalg.norm(v))
        else:
            total += float(not u.any() and not v.any())
    return total / len(x)


def cknna(x, y, *, k=10):
    """As in the code of Huh et al. 2024: Song's three terms on masked cosines, mask and all for each of three pairs."""

    def hsic(a, b, mask):
        n = len(a)
        a, b = ([[m[i][j] * (j in mask[i]) for j in range(n)] for i in range(n)] for m in (a, b))
        first = math.fsum(a[i][j] * b[j][i] for i in range(n) for j in range(n))
        second = math.fsum(sum(row) for row in a) * math.fsum(sum(row) for row in b)
        third = math.fsum(a[i][j] * b[j][m] for i in range(n) for j in range(n) for m in range(n))
        return (first + second / ((n - 1) * (n - 2)) - 2 * third / (n - 2)) / (n * (n - 3))

    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    near_x, near_y = nearest(x, k, "cosine"), nearest(y, k, "cosine")
    common = [set(a) & set(b) for a, b in zip(near_x, near_y, strict=True)]
    cosines = [[[1 - distance(a, b, "cosine") for b in z] for a in z] for z in (x, y)]
    own = [hsic(m, m, near) for m, near in zip(cosines, (near_x, near_y), strict=True)]
    return hsic(*cosines, common) / math.sqrt(own[0] * own[1])


def cycle_knn(x, y, *, k=10, metric="cosine"):
    """Share of examples found among the neighbours in x of their neighbours in y."""
    near_x, near_y = nearest(x, k, metric), nearest(y, k, metric)
    return sum(any(i in near_x[j] for j in near_y[i]) for i in range(len(near_x))) / len(near_x)
