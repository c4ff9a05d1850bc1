"""Stochastic shape distance by matrix roots, pair by pair, and the best of many random starts."""

from __future__ import annotations

import math

import numpy as np

from tests.reference.kernels import centered


def gaussians(x, repeats):
    """Centred means (n, p) and covariances (n, p, p) of the repeats; none of a single one."""
    x = np.asarray(x, dtype=np.float64)
    trials = x.reshape(-1, repeats, x.shape[1])
    means = centered(trials.mean(axis=1))
    p = x.shape[1]
    if repeats == 1:
        return means, np.zeros((len(means), p, p))
    return means, np.array([np.cov(z, rowvar=False).reshape(p, p) for z in trials])


def padded(means, covariances, width):
    """Features of zeros up to this width."""
    more = width - means.shape[1]
    return np.pad(means, ((0, 0), (0, more))), np.pad(covariances, ((0, 0), (0, more), (0, more)))


def root(covariance):
    """The symmetric square root; of an eigenvalue that is rounding, 1e-16, it would be 1e-8."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.where(values > 1e-13 * values[-1], values, 0.0))) @ vectors.T


def bures(first, second):
    """B² of two covariances: tr (S^½ T S^½)^½ is the sum of the singular values of S^½ T^½."""
    return float(np.trace(first) + np.trace(second) - 2 * np.linalg.norm(root(first) @ root(second), "nuc"))


def objective(x, y, rotation, alpha):
    """The mean over the examples for one rotation of y."""
    total = 0.0
    for mean, covariance, other, second in zip(*x, *y, strict=True):
        total += alpha * np.sum((mean - rotation @ other) ** 2)
        total += (2 - alpha) * bures(covariance, rotation @ second @ rotation.T)
    return total / len(x[0])


def rotation_of(product):
    """The rotation that fits best: R of largest tr(Rᵀ product), of one or of several."""
    left, _, right = np.linalg.svd(product)
    return left @ right


def alternated(x, y, rotation, alpha, steps=10_000):
    """Duong et al. 2023, as netrep: rotate each root of a covariance, then all of them together."""
    roots_x, roots_y = (np.array([root(s) for s in side[1]]) for side in (x, y))
    for _ in range(steps):
        inner = rotation_of(roots_x @ rotation @ roots_y)
        product = alpha * x[0].T @ y[0] + (2 - alpha) * np.sum(roots_x @ inner @ roots_y, axis=0)
        before, rotation = rotation, rotation_of(product)
        if np.max(np.abs(rotation - before)) < 1e-12:
            break
    return rotation


def gaussian_shape_distance(x, y, *, alpha=1.0, starts=30):
    """The least distance from several starts, of (means, covariances) on either side."""
    width = max(x[0].shape[1], y[0].shape[1])
    x, y = padded(*x, width), padded(*y, width)
    rng = np.random.default_rng(0)
    first = [rotation_of(x[0].T @ y[0])]
    first += [np.linalg.qr(rng.normal(size=(width, width)))[0] for _ in range(starts)]
    return math.sqrt(max(0.0, min(objective(x, y, alternated(x, y, r, alpha), alpha) for r in first)))


def stochastic_shape_distance(x, y, *, repeats=1, alpha=1.0, starts=None):
    """Of representations with repeats; ``starts`` is for the fast form only, here they are random ones."""
    tried = 0 if repeats == 1 or alpha == 2 else 30
    return gaussian_shape_distance(gaussians(x, repeats), gaussians(y, repeats), alpha=alpha, starts=tried)
