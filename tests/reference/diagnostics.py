"""Facts of one representation from their definitions: whole Gram matrices, every example, every pair."""

from __future__ import annotations

import numpy as np


def centred_gram(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    centred = x - x.mean(axis=0)
    return centred @ centred.T


def participation_ratio(x: np.ndarray) -> float:
    k = centred_gram(x)
    return np.trace(k) ** 2 / np.sum(k * k)


def first_component_share(x: np.ndarray) -> float:
    variances = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    return variances[0] / variances.sum()


def spectrum(x: np.ndarray) -> np.ndarray:
    variances = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    return variances / variances.sum()


def dominant_share(x: np.ndarray, count: int) -> float:
    """Share of tr(Kc²) that vanishes without the ``count`` examples farthest from the mean of the others."""
    distances = [np.sum((x[i] - np.delete(x, i, axis=0).mean(axis=0)) ** 2) for i in range(len(x))]
    rest = np.delete(x, np.argsort(distances)[len(x) - count :], axis=0)
    k, without = centred_gram(x), centred_gram(rest)
    return 1 - np.sum(without * without) / np.sum(k * k)


def best_split(x: np.ndarray) -> tuple[float, float]:
    """Of the two groups along the first component: the smaller's share of the examples, the variance between them."""
    centred = x - x.mean(axis=0)
    t = np.sort(centred @ np.linalg.svd(centred, full_matrices=False)[2][0])
    n, best = len(t), (0.0, 0.0)
    for cut in range(1, n):
        within = np.sum((t[:cut] - t[:cut].mean()) ** 2) + np.sum((t[cut:] - t[cut:].mean()) ** 2)
        between = 1 - within / np.sum((t - t.mean()) ** 2)
        best = max(best, (between, min(cut, n - cut) / n))
    return best[1], best[0]


def largest_activation(x: np.ndarray) -> float:
    """Largest distance of an activation from the median of the features' means, over that of a typical feature."""
    typical = np.median([np.mean(column) for column in x.T])
    usual = [np.sqrt(np.mean((column - typical) ** 2)) for column in x.T if np.std(column) > 0]
    return max(abs(value - typical) for row in x for value in row) / np.median(usual)


def repeated_examples(x: np.ndarray) -> int:
    return len(x) - len({row.tobytes() for row in np.ascontiguousarray(x)})


def translated_cka(x: np.ndarray, rows: np.ndarray, distance: float) -> float:
    """Biased linear CKA of x with itself after these rows were moved along a direction of their own."""
    extra = np.zeros((len(x), 1))
    extra[rows] = distance
    k, m = centred_gram(x), centred_gram(np.hstack([x, extra]))
    return np.sum(k * m) / np.sqrt(np.sum(k * k) * np.sum(m * m))
