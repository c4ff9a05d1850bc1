"""Third-order sums of a Gram matrix: what the skewness of HSIC under permutations of the examples follows from."""

from __future__ import annotations

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
"""Mean of ã_ij ã_jk ã_ki over triples and of ã_ij³ over pairs (2,), over the cubed standard deviation of ã_ij."""


def unknown_thirds() -> Thirds:
    """What stands for them where they are not known."""
    return np.full(2, np.nan)


def third_order(gram: npt.NDArray[np.float64]) -> Thirds:
    """Third-order sums of the U-centred entries ã of a Gram matrix (m, m), in any unit.

    NaN for fewer than :data:`FEWEST_EXAMPLES` examples, and where the entries do not vary.
    """
    m = gram.shape[0]
    if m < FEWEST_EXAMPLES:
        return unknown_thirds()
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        a = center_gram(gram, "unbiased")
        a = a / np.max(np.abs(a))  # cubes of very large and small entries would leave the range
        variance = np.vdot(a, a) / (m * (m - 3))
        triples = np.vdot(a @ a, a) / (m * (m - 1) * (m - 2))
        pairs = np.sum(a**3) / (m * (m - 1))
        found: Thirds = np.array([triples, pairs]) / variance**1.5
    return found


def some_of(x: Array) -> Array:
    """At most :data:`THIRDS_EXAMPLES` of the examples (k, p), from all over."""
    return x[:: -(-x.shape[0] // THIRDS_EXAMPLES), :]
