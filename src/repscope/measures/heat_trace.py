"""IMD (Tsitsulin et al. 2020): do heat kernels on two representations' graphs of neighbours decay alike?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import array_api_compat

from repscope.errors import InputError
from repscope.measures import neighbors
from repscope.measures._arrays import Array, Namespace, check_pair, undefined, widest_float
from repscope.measures.measure import Unpaired

MOST_EXAMPLES = 5000
"""The spectrum of the graph is computed exactly, from a matrix (n, n)."""

FACTOR = 1e6
"""By which the authors' code multiplies."""

_STEPS = 256
"""Times t from 0.1 to 10, evenly spaced in their logarithm, as in the authors' code."""


@dataclass(frozen=True)
class HeatTrace(Unpaired):
    """The heat kernel trace of one layer's graph.

    Attributes:
        values: (1/n) Σ_i exp(−t λ_i) for each time t (256,).
        alike: All examples are equal.
    """

    values: Array
    alike: bool


def check_options(options: Mapping[str, Any]) -> int:
    """Refuse options that mean nothing; return the smallest number of examples."""
    return neighbors.check_options("imd", options)


def prepare(x: Array, *, k: int = 5) -> HeatTrace:
    """Heat kernel trace of one checked representation (n, p)."""
    n = x.shape[0]
    if n > MOST_EXAMPLES:
        raise InputError(
            f"imd: x and y must have at most {MOST_EXAMPLES} rows (examples), for the exact spectrum of a graph of all "
            f"of them, got {n}. Compare a sample of the examples."
        )
    state = neighbors.prepare(x, k=k, metric="euclidean")
    xp = array_api_compat.array_namespace(state.nearest)
    near = state.near
    edges = xp.astype(near | near.T, widest_float(xp, state.nearest))
    weights = 1.0 / xp.sqrt(xp.sum(edges, axis=1))
    # The normalised Laplacian is the identity less this, whose spectrum therefore lies from −1 to 1.
    spectrum = 1.0 - xp.linalg.eigvalsh(weights[:, None] * edges * weights[None, :])
    return HeatTrace(xp.mean(xp.exp(-_times(xp, spectrum)[:, None] * spectrum[None, :]), axis=1), state.alike)


def _times(xp: Namespace, like: Array) -> Array:
    return 10.0 ** xp.linspace(-1.0, 1.0, _STEPS, dtype=like.dtype, device=array_api_compat.device(like))


def score(state_x: HeatTrace, state_y: HeatTrace) -> Array:
    """IMD of two prepared layers."""
    for name, state in (("x", state_x), ("y", state_y)):
        if state.alike:
            return undefined("imd", f"all rows of {name} are equal, so none has a nearest neighbour.", state.values)
    xp = array_api_compat.array_namespace(state_x.values)
    times = _times(xp, state_x.values)
    return FACTOR * xp.max(xp.exp(-2.0 * (times + 1.0 / times)) * xp.abs(state_x.values - state_y.values))


def largest() -> float:
    """The upper end of the range: traces that differ by all there is, at t = 1."""
    return FACTOR * math.exp(-4.0)


def imd(x: Array, y: Array, *, k: int = 5) -> Array:
    """Multi-scale intrinsic distance: how differently heat spreads on two representations' graphs of neighbours.

    10⁶ max_t e^{−2(t + 1/t)} |h_x(t) − h_y(t)| with the heat kernel trace h(t) = (1/n) Σ_i e^{−tλ_i} of the spectrum of
    the normalised Laplacian of the graph that joins each example with its ``k`` nearest by Euclidean distance; t runs
    over the 256 values from 0.1 to 10 of the authors' code, and the factor 10⁶ is of that code. The spectrum is
    computed **exactly**; the code estimates it from random vectors, and its numbers scatter around these.

    Range: [0, 10⁶ e⁻⁴]; 0 for the same spectrum, which does not mean the same graph. Invariances: orthogonal maps,
    isotropic scaling and translation. Symmetric. Not a metric, for 0 does not mean equal. **The examples need not be
    paired**: there is no chance level, as no permutation changes the value.

    Args:
        x: Representation (n, p), of 5,000 examples at most.
        y: Representation (n, q) of as many examples.
        k: Neighbours of each example; n must be at least k + 2.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where all examples of one side are equal. No gradient
        flows through it.

    Raises:
        InputError: For arrays that do not match, too few or too many examples, or NaN and infinity.

    References:
        Tsitsulin et al. 2020, The Shape of Data: Intrinsic Distance for Data Distributions.

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(50, 3)
        >>> float(imd(x, 2 * x[::-1, ::-1])) < 1e-6
        True
    """
    x, y = check_pair("imd", x, y, minimum_examples=check_options({"k": k}))
    return score(prepare(x, k=k), prepare(y, k=k))
