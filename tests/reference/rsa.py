"""Representational similarity analysis, pair by pair; scipy's coefficients, and covariances of pairs written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy import stats


def dissimilarity(x, i, j, rdm):
    """Of examples i and j."""
    a, b = x[i], x[j]
    if rdm == "correlation":
        return 1 - float(np.corrcoef(a, b)[0, 1])
    if rdm == "cosine":
        return 1 - float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))
    if rdm == "mahalanobis":
        centered = x - x.mean(axis=0)
        # Of the scatter, not the covariance: the factor n − 1 is the same for all pairs.
        inverse = np.linalg.pinv(centered.T @ centered, rcond=1e-12, hermitian=True)
        return float((a - b) @ inverse @ (a - b))
    squared = math.fsum((a - b) ** 2)
    return squared if rdm == "squared_euclidean" else math.sqrt(squared)


def covariance_of_pairs(n):
    """Of the differences of n independent examples, squared entry by entry (Diedrichsen et al. 2021, eq. 12)."""
    pairs = list(itertools.combinations(range(n), 2))
    contrasts = np.zeros((len(pairs), n))
    for row, (i, j) in enumerate(pairs):
        contrasts[row, i], contrasts[row, j] = 1, -1
    return (contrasts @ contrasts.T) ** 2


def rsa(x, y, *, rdm="correlation", compare="spearman"):
    """Compare the dissimilarities of all pairs of examples."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    pairs = list(itertools.combinations(range(len(x)), 2))
    a, b = (np.array([dissimilarity(z, i, j, rdm) for i, j in pairs]) for z in (x, y))
    m = len(pairs)
    if compare == "spearman":
        return float(stats.spearmanr(a, b).statistic)
    if compare == "pearson":
        return float(stats.pearsonr(a, b).statistic)
    if compare == "cosine":
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    if compare == "rho_a":
        return 12 * float(stats.rankdata(a) @ stats.rankdata(b)) / (m**3 - m) - 3 * (m + 1) / (m - 1)
    if compare == "tau_a":
        agreement = [np.sign(a[s] - a[t]) * np.sign(b[s] - b[t]) for s, t in itertools.combinations(range(m), 2)]
        return float(np.sum(agreement)) / (m * (m - 1) / 2)
    if compare == "corr_cov":
        a, b = a - a.mean(), b - b.mean()
    inverse = np.linalg.inv(covariance_of_pairs(len(x)))
    return float(a @ inverse @ b / math.sqrt(float(a @ inverse @ a) * float(b @ inverse @ b)))
