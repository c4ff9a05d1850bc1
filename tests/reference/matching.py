"""Matchings of units on squares padded with zeros, by scipy's solver."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linear_sum_assignment, linprog

from tests.reference.kernels import centered


def padded(x, y):
    """Centred features, zeros beside those of the narrower side."""
    x, y = centered(x), centered(y)
    width = max(x.shape[1], y.shape[1])
    return tuple(np.pad(z, ((0, 0), (0, width - z.shape[1]))) for z in (x, y))


def permutation_procrustes(x, y, *, kind="angle"):
    """arccos or Euclidean distance after the permutation of largest ⟨X, YP⟩ (netrep's PermutationMetric)."""
    x, y = padded(x, y)
    rows, columns = linear_sum_assignment(np.array([[a @ b for b in y.T] for a in x.T]), maximize=True)
    x, y = x[:, rows], y[:, columns]
    if kind == "distance":
        return float(np.linalg.norm(x - y))
    return math.acos(float(np.sum(x * y)) / (np.linalg.norm(x) * np.linalg.norm(y)))


def correlations(x, y):
    """r of each unit of x with each of y, 0 for those that are constant."""
    x, y = centered(x), centered(y)
    result = np.zeros((x.shape[1], y.shape[1]))
    for i, a in enumerate(x.T):
        for j, b in enumerate(y.T):
            if a.any() and b.any():
                result[i, j] = a @ b / math.sqrt((a @ a) * (b @ b))
    return result


def correlation_matching(x, y, *, assignment="hard"):
    """Mean r over the best one-to-one matching, or over the best match of every unit, both ways (Li et al. 2015)."""
    r = correlations(x, y)
    if assignment == "hard":
        return float(r[linear_sum_assignment(r, maximize=True)].mean())
    return float(r.max(axis=1).mean() + r.max(axis=0).mean()) / 2


def soft_matching(x, y, *, kind="distance", mass=1.0):
    """The linear program over plans with row sums 1/p and column sums 1/q (Khosla & Williams 2024), or less."""
    if kind == "correlation":
        r = correlations(x, y)
        return float(np.sum(best_plan(-r, mass) * r)) / mass
    x, y = centered(x), centered(y)
    cost = np.array([[(a - b) @ (a - b) for b in y.T] for a in x.T])
    return math.sqrt(max(0.0, float(np.sum(best_plan(cost, mass) * cost)) / mass))


def best_plan(cost, mass):
    """P (p, q) of least Σ_ij P_ij cost_ij."""
    p, q = cost.shape
    sides = np.concatenate([np.kron(np.eye(p), np.ones((1, q))), np.kron(np.ones((1, p)), np.eye(q))])
    sums = np.concatenate([np.full(p, 1 / p), np.full(q, 1 / q)])
    total = {"A_eq": np.ones((1, p * q)), "b_eq": [mass], "A_ub": sides, "b_ub": sums}
    found = linprog(cost.ravel(), **({"A_eq": sides, "b_eq": sums} if mass == 1 else total))
    assert found.success
    return found.x.reshape(p, q)
