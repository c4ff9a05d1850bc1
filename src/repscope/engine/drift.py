"""Does the stream come in an order? A statistic of drifting batch means, at almost no cost."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from repscope.engine.products import to_numpy
from repscope.measures._arrays import Array


class DriftStatistic:
    """Compares the spread between batch means with what random batches of the same examples would show.

    For a few features, evenly spread over the layer, F = (variance between batch means) / (variance within
    batches / b). Random order gives F near 1; a class-sorted data set gives F in the tens.
    """

    FEATURES = 64
    TOLERANCE = 8.0
    """Standard deviations of F (for one feature) above 1 that count as ordered; the mean over features varies less."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.means: list[npt.NDArray[np.float64]] = []
        self.within: list[npt.NDArray[np.float64]] = []

    def update(self, x: Array) -> None:
        """Add a batch of activations (b, p)."""
        step = max(1, x.shape[1] // self.FEATURES)
        part = to_numpy(x[:, ::step][:, : self.FEATURES])
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
        """Mean F over the features that vary; 1 in random order, NaN with fewer than four batches."""
        counts = np.array(self.counts, dtype=float)
        batches, n = len(counts), counts.sum()
        if batches < 4 or n <= batches:
            return math.nan
        means = np.stack(self.means)
        grand = counts @ means / n
        between = counts @ (means - grand) ** 2 / (batches - 1)
        within = np.sum(self.within, axis=0) / (n - batches)
        varies = within + between > 0
        if not varies.any():
            return math.nan
        # One feature that is constant within batches must not make the mean infinite.
        floor = 1e-12 * float((within + between).max())
        return float(np.mean(between[varies] / np.maximum(within[varies], floor)))

    @property
    def ordered(self) -> bool:
        """Whether the batches differ more than chance allows."""
        f = self.f
        if math.isnan(f):
            return False
        return f > 1 + self.TOLERANCE * math.sqrt(2 / (len(self.counts) - 1))
