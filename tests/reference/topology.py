"""RTD by reduction of the boundary matrix of every triangle, with bits of whole numbers for its columns."""

from __future__ import annotations

import itertools
import math

import numpy as np


def distances(x):
    """Euclidean distances over their quantile."""
    x = np.asarray(x, dtype=np.float64)
    found = np.array([[math.dist(a, b) for b in x] for a in x])
    return found / np.quantile(found, 0.9)


def bars(matrix):
    """(birth, death) of the classes of dimension 1 of the Rips filtration, over the field of two elements."""
    n = len(matrix)
    edges = sorted(itertools.combinations(range(n), 2), key=lambda e: matrix[e])
    place = {edge: k for k, edge in enumerate(edges)}

    def sides(triangle):
        return [place[edge] for edge in itertools.combinations(triangle, 2)]

    reduced: dict[int, int] = {}
    found = []
    for triangle in sorted(itertools.combinations(range(n), 3), key=lambda t: max(sides(t))):
        column = sum(1 << side for side in sides(triangle))
        while column and (lowest := column.bit_length() - 1) in reduced:
            column ^= reduced[lowest]
        if column:
            reduced[column.bit_length() - 1] = column
            found.append((matrix[edges[column.bit_length() - 1]], matrix[edges[max(sides(triangle))]]))
    return found


def rtd(x, y, *, batch=500, trials=10, sample_seed=0):
    """Mean of both directions and of the samples (Barannikov et al. 2022 and their code)."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    n = len(x)
    samples = [np.arange(n)]
    if n > batch:
        rng = np.random.default_rng(sample_seed)
        samples = [np.sort(rng.choice(n, size=batch, replace=False)) for _ in range(trials)]
    total = 0.0
    for sample in samples:
        r, s = distances(x[sample]), distances(y[sample])
        for first, second in ((r, s), (s, r)):
            joined = np.block([[np.zeros_like(first), first.T], [first, np.minimum(first, second)]])
            total += math.fsum(death - birth for birth, death in bars(joined))
    return total / 2 / len(samples)
