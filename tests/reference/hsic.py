"""HSIC and CKA from their definitions."""

from __future__ import annotations

import math

import numpy as np

from tests.reference import kernels


def biased(K, L):
    """tr(K H L H) / (n − 1)², eq. 3 of Kornblith et al. 2019 (Gretton et al. 2005), with H written out."""
    n = len(K)
    H = np.eye(n) - np.ones((n, n)) / n
    return float(np.trace(K @ H @ L @ H)) / (n - 1) ** 2


def biased_by_sums(K, L):
    """The same, as the mean of products of doubly centred entries."""
    n = len(K)
    total = 0.0
    for i in range(n):
        for j in range(n):
            k = K[i, j] - K[i].mean() - K[:, j].mean() + K.mean()
            total += k * L[i, j]
    return total / (n - 1) ** 2


def unbiased(K, L):
    """HSIC₁, eq. 5 of Song et al. 2012: the three terms over zero-diagonal matrices, by loops."""
    n = len(K)
    trace = sum(K[i, j] * L[j, i] for i in range(n) for j in range(n) if i != j)
    sum_k = sum(K[i, j] for i in range(n) for j in range(n) if i != j)
    sum_l = sum(L[i, j] for i in range(n) for j in range(n) if i != j)
    chain = 0.0
    for i in range(n):
        chain += sum(K[i, j] for j in range(n) if j != i) * sum(L[i, j] for j in range(n) if j != i)
    return (trace + sum_k * sum_l / ((n - 1) * (n - 2)) - 2 / (n - 2) * chain) / (n * (n - 3))


ESTIMATORS = {"biased": biased, "unbiased": unbiased}


def hsic(x, y, *, gram_x=None, gram_y=None, estimator="unbiased"):
    """HSIC of two representations; without Gram matrices, of the linear kernel on centred features."""
    K = kernels.linear(kernels.centered(x)) if gram_x is None else gram_x
    L = kernels.linear(kernels.centered(y)) if gram_y is None else gram_y
    return ESTIMATORS[estimator](K, L)


def cka(x, y, *, gram_x=None, gram_y=None, estimator="unbiased"):
    """HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)), eq. 4."""
    K = kernels.linear(kernels.centered(x)) if gram_x is None else gram_x
    L = kernels.linear(kernels.centered(y)) if gram_y is None else gram_y
    estimate = ESTIMATORS[estimator]
    return estimate(K, L) / math.sqrt(estimate(K, K) * estimate(L, L))
