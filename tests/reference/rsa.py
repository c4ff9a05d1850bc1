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


def noise_covariance(trials, kept, noise):
    """Of the residuals of these repeats of the trials (n, r, p); shrunk as rsatoolbox's ``shrinkage_eye`` does."""
    n, _, p = trials.shape
    residuals = [trials[i, a] - trials[i, kept].mean(axis=0) for i in range(n) for a in kept]
    freedom, m = n * (len(kept) - 1), len(residuals)
    products = [np.outer(e, e) for e in residuals]
    sample = sum(products) / freedom
    if noise == "identity":
        return np.eye(p)
    if noise == "diagonal":
        return np.diag(np.diag(sample))
    mean = sum(products) / m
    error = sum(np.sum((product - mean) ** 2) for product in products) / m**2
    target = np.trace(sample) / p * np.eye(p)
    distance = np.sum((sample - target) ** 2)
    share = min(error, distance) / distance if distance else 1.0
    return share * target + (1 - share) * sample


def crossnobis(x, *, repeats, noise="shrunk"):
    """The contrast of Walther et al. 2016, pair by pair, each repeat left out in turn."""
    trials = np.asarray(x, dtype=np.float64).reshape(-1, repeats, x.shape[1])
    result = np.zeros((len(trials),) * 2)
    for i, j in itertools.permutations(range(len(trials)), 2):
        for fold in range(repeats):
            kept = [a for a in range(repeats) if a != fold]
            covariance = noise_covariance(trials, kept, noise) if isinstance(noise, str) else noise
            left = trials[i, fold] - trials[j, fold]
            right = trials[i, kept].mean(axis=0) - trials[j, kept].mean(axis=0)
            result[i, j] += float(left @ np.linalg.inv(covariance) @ right) / repeats
    return result


def noise_normalized(x, repeats, noise):
    """Squared distances of mean patterns in units of the noise."""
    trials = x.reshape(-1, repeats, x.shape[1])
    inverse = np.linalg.inv(noise_covariance(trials, list(range(repeats)), noise))
    means = trials.mean(axis=1)
    return np.array([[float((a - b) @ inverse @ (a - b)) for b in means] for a in means])


def rdm_of(x, rdm, repeats, noise):
    """All dissimilarities (n, n)."""
    if rdm == "crossnobis":
        return crossnobis(x, repeats=repeats, noise=noise)
    if rdm == "mahalanobis" and repeats > 1:
        return noise_normalized(x, repeats, noise)
    means = x.reshape(-1, repeats, x.shape[1]).mean(axis=1)
    n = len(means)
    return np.array([[dissimilarity(means, i, j, rdm) if i != j else 0.0 for j in range(n)] for i in range(n)])


def rsa(x, y, *, rdm="correlation", compare="spearman", repeats=1, noise="shrunk"):
    """Compare the dissimilarities of all pairs of examples."""
    first, second = (rdm_of(np.asarray(z, dtype=np.float64), rdm, repeats, noise) for z in (x, y))
    return compared(first, second, compare)


def compared(first, second, compare):
    """Compare two dissimilarity matrices (n, n)."""
    pairs = list(itertools.combinations(range(len(first)), 2))
    a, b = (np.array([matrix[i, j] for i, j in pairs]) for matrix in (first, second))
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
    inverse = np.linalg.inv(covariance_of_pairs(len(first)))
    return float(a @ inverse @ b / math.sqrt(float(a @ inverse @ a) * float(b @ inverse @ b)))
