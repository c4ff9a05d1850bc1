"""Does the stream come in an order? A statistic of drifting batch means, at almost no cost."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Self

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.engine.products import to_numpy
from repscope.measures._arrays import Array

_ROUNDING = 1e-6
"""Variation relative to the mean that single precision may bring forth by itself."""


class DriftStatistic:
    """Compares the spread between batch means with what random batches of the same examples would show.

    F = (variance between batch means, times the batch size) / (variance within batches), both summed over a few
    features that are evenly spread over the layer, so that each counts by its variance, as it does in CKA. Random
    order gives F near 1; a data set sorted by class gives F in the tens.

    The order counts as such from ``THRESHOLD`` standard normal deviates on, by Paulson's approximation to the F
    distribution (1942), with the degrees of freedom of a single feature. Features that vary together fluctuate as much
    as one; others less, so that false alarms are rarer than 3 in 100,000 layers for normal features, and rarer than 1
    in 100 in the tests, whatever the distribution. What is too weak to be seen then is a share of the variance of about
    4 √(2 / batches) / batch size, and biases the minibatch estimate by no more than that.
    """

    FEATURES = 64
    THRESHOLD = 4.0

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.means: list[npt.NDArray[np.float64]] = []
        self.within: list[npt.NDArray[np.float64]] = []

    def update(self, x: Array) -> None:
        """Add a batch of activations (b, p)."""
        p = x.shape[1]
        if p > self.FEATURES:
            xp = array_api_compat.array_namespace(x)
            x = xp.take(x, xp.asarray(_spread(p), device=array_api_compat.device(x)), axis=1)
        part = to_numpy(x)
        self.counts.append(part.shape[0])
        self.means.append(part.mean(axis=0))
        self.within.append(((part - part.mean(axis=0)) ** 2).sum(axis=0))

    def merge(self, other: Self) -> None:
        """Add the batches that another process has seen."""
        self.counts += other.counts
        self.means += other.means
        self.within += other.within

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The statistic as plain arrays, to be saved or sent."""
        return {"counts": np.array(self.counts), "means": np.array(self.means), "within": np.array(self.within)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> Self:
        """The inverse of :meth:`arrays`."""
        statistic = cls()
        statistic.counts = [int(count) for count in arrays["counts"]]
        statistic.means, statistic.within = list(arrays["means"]), list(arrays["within"])
        return statistic

    @property
    def f(self) -> float:
        """F; 1 in random order, NaN where there is one batch only or nothing varies."""
        counts = np.array(self.counts, dtype=float)
        batches, n = len(counts), counts.sum()
        if batches < 2 or n <= batches:
            return math.nan
        means = np.stack(self.means)
        grand = counts @ means / n
        between = float(np.sum(counts @ (means - grand) ** 2)) / (batches - 1)
        within = float(np.sum(self.within)) / (n - batches)
        if between + within <= (_ROUNDING**2) * float(grand @ grand):
            return math.nan
        return between / within if within > 0 else math.inf

    @property
    def ordered(self) -> bool:
        """Whether the batches differ more than chance allows."""
        f = self.f
        if not math.isfinite(f):
            return f == math.inf
        # Paulson: the cube root of F, centred and scaled like this, is nearly a standard normal variable.
        between = 2 / (9 * (len(self.counts) - 1))
        within = 2 / (9 * (sum(self.counts) - len(self.counts)))
        root = f ** (1 / 3)
        deviate = ((1 - within) * root - (1 - between)) / math.sqrt(within * root * root + between)
        return bool(deviate > self.THRESHOLD)


@lru_cache(maxsize=256)
def _spread(p: int) -> npt.NDArray[np.int64]:
    """Indices of some features, evenly spread over ``p``."""
    return np.linspace(0, p - 1, DriftStatistic.FEATURES).round().astype(np.int64)
