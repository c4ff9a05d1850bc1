"""Linear regression by least squares, one target column at a time."""

from __future__ import annotations

import numpy as np

from tests.reference.kernels import centered


def linear_regression(x, y, *, regularization=0.0, folds=None, fold_seed=0):
    """R² = 1 − ‖X − Y B‖² / ‖X‖² (eq. 5): x is predicted from y, by a fit to the same or to the other examples."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    everything = list(range(len(x)))
    parts = (
        [everything] if folds is None else np.array_split(np.random.default_rng(fold_seed).permutation(len(x)), folds)
    )
    residual = total = 0.0
    for part in parts:
        fitted = everything if folds is None else [i for i in everything if i not in part]
        mean_x, mean_y = x[fitted].mean(axis=0), y[fitted].mean(axis=0)
        design = centered(y[fitted])
        for j in range(x.shape[1]):
            coefficients = ridge(design, x[fitted, j] - mean_x[j], regularization)
            for i in part:
                residual += float(x[i, j] - mean_x[j] - (y[i] - mean_y) @ coefficients) ** 2
                total += float(x[i, j] - mean_x[j]) ** 2
    return 1 - residual / total


def ridge(design, target, regularization):
    """min_b ‖t − Y b‖² + λ‖Y‖²‖b‖², as least squares on the design with √(λ‖Y‖²) I below it."""
    q = design.shape[1]
    below = np.sqrt(regularization * np.sum(design**2)) * np.eye(q)
    return np.linalg.lstsq(np.vstack([design, below]), np.append(target, np.zeros(q)), rcond=None)[0]
