"""IMD from the graph edge by edge and the exact spectrum of its normalised Laplacian."""

from __future__ import annotations

import math

import numpy as np

from tests.reference.neighbors import nearest


def imd(x, y, *, k=5):
    """10⁶ max_t exp(−2(t + 1/t)) |h_x(t) − h_y(t)| (Tsitsulin et al. 2020 and its code)."""
    h_x, h_y = (_trace(nearest(z, k, "euclidean")) for z in (x, y))
    times = np.logspace(-1, 1, 256)
    return 1e6 * max(math.exp(-2 * (t + 1 / t)) * abs(h_x(t) - h_y(t)) for t in times)


def _trace(near):
    n = len(near)
    joined = [[j for j in range(n) if j in near[i] or i in near[j]] for i in range(n)]
    laplacian = np.eye(n)
    for i in range(n):
        for j in joined[i]:
            laplacian[i, j] -= 1 / math.sqrt(len(joined[i]) * len(joined[j]))
    spectrum = np.linalg.eigvalsh(laplacian)
    return lambda t: math.fsum(math.exp(-t * value) for value in spectrum) / n
