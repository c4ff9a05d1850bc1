"""Third-order sums of a Gram matrix: what the skewness of HSIC under permutations of the examples follows from."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from repscope.measures._arrays import Array
from repscope.measures.kernels import center_gram

THIRDS_EXAMPLES = 128
"""Examples that the sums are taken over, where there are more: a third-order sum of all would cost n³."""

FEWEST_EXAMPLES = 8
"""Below, third-order sums say nothing of other examples."""

Thirds: TypeAlias = "npt.NDArray[np.float64]"
"""Five means (5,) of the U-centred entries ã_ij and of the diagonal α_i of the centred matrix less its mean.

Of ã_ij ã_jk ã_ki over triples, ã_ij³ over pairs, α_i³ over examples, ã_ij α_i α_j and ã_ij² α_i over pairs, each over
the standard deviations of what it multiplies.
"""


def unknown_thirds() -> Thirds:
    """What stands for them where they are not known."""
    return np.full(5, np.nan)


def third_order(gram: npt.NDArray[np.float64]) -> Thirds:
    """Third-order sums of a Gram matrix (m, m), in any unit.

    NaN for fewer than :data:`FEWEST_EXAMPLES` examples, and where the entries do not vary. Those with the diagonal are
    0 where the diagonal does not vary, and without meaning for a matrix that was U-centred before.
    """
    m = gram.shape[0]
    if m < FEWEST_EXAMPLES:
        return unknown_thirds()
    pairs = m * (m - 1)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        a = center_gram(gram, "unbiased")
        size = np.max(np.abs(a))  # cubes of very large and small entries would leave the range
        a = a / size
        alpha = (np.diagonal(gram) - 2 * gram.mean(axis=0)) / size
        alpha = alpha - alpha.mean()
        squares = a * a
        sd = math.sqrt(squares.sum() / (m * (m - 3)))
        tau = math.sqrt(alpha @ alpha / (m - 1)) or math.inf
        found: Thirds = np.array(
            [
                np.vdot(a @ a, a) / (pairs * (m - 2)) / sd**3,
                np.vdot(squares, a) / pairs / sd**3,
                np.sum(alpha**3) * m / ((m - 1) * (m - 2)) / tau**3,
                alpha @ a @ alpha / pairs / (sd * tau**2),
                squares.sum(axis=0) @ alpha / pairs / (sd**2 * tau),
            ]
        )
    return found


def some_of(x: Array) -> Array:
    """At most :data:`THIRDS_EXAMPLES` of the examples (k, p), from all over."""
    return x[:: -(-x.shape[0] // THIRDS_EXAMPLES), :]
