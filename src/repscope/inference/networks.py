"""Networks as the unit of replication: how far a statistic of several networks moves when one of them is left out.

A claim about an architecture is a claim about networks that were not trained. More examples make no such claim surer;
more networks do. A network is left out with all its pairs, since these are not independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from repscope._student import student_tails
from repscope.errors import InputError

FEWEST_NETWORKS = 3
"""Without one of two networks there is no pair left."""

_ROUNDING = 1e-12
"""Of the numbers: a difference or a standard error below is none."""


def without_each(
    statistic: Callable[[npt.NDArray[np.int64]], float], networks: int, function: str = "without_each"
) -> npt.NDArray[np.float64]:
    """A statistic of the networks without number k, for each k (m,).

    Args:
        statistic: A function of the numbers of the networks that are left.
        networks: How many there are, m.
        function: Name for the error message.

    Raises:
        InputError: There are fewer than three networks.
    """
    if networks < FEWEST_NETWORKS:
        raise InputError(
            f"{function}: networks must be at least {FEWEST_NETWORKS} where they are the unit of replication, got "
            f"{networks}. Train more of them from other seeds; more examples do not replace them."
        )
    everyone = np.arange(networks)
    return np.array([statistic(np.delete(everyone, k)) for k in everyone])


def standard_error(replicates: npt.NDArray[np.float64]) -> float:
    """Jackknife standard error √((m − 1)/m Σ_k (θ_k − θ̄)²) of replicates (m,)."""
    m = len(replicates)
    return math.sqrt((m - 1) / m * float(np.sum((replicates - replicates.mean()) ** 2)))


def two_sided_p(difference: float, error: float, freedom: float = math.inf, size: float = 1.0) -> float:
    """P-value of a difference by the jackknife t-test; of no width: 1 for no difference, 0 for any other.

    Args:
        difference: Of two numbers.
        error: Its standard error.
        freedom: Degrees of freedom.
        size: That of the larger number, to which rounding is relative.
    """
    if error <= _ROUNDING * size:
        return 1.0 if abs(difference) <= _ROUNDING * size else 0.0
    return float(student_tails(difference / error, freedom))


def welch_freedom(errors: Sequence[float], replicates: Sequence[int]) -> float:
    """Degrees of freedom of a difference of independent means (Welch 1947, Satterthwaite 1946).

    (Σ s²)² / Σ s⁴/(m − 1) for the standard errors s from m replicates each; infinitely many where no s has any width.
    """
    largest = max(errors)
    if not largest > 0:
        return math.inf
    squares = [(error / largest) ** 2 for error in errors]  # fourth powers of small errors would vanish
    return sum(squares) ** 2 / sum(square**2 / (m - 1) for square, m in zip(squares, replicates, strict=True))
