"""Does the stream come in an order? A statistic of drifting batch means, at almost no cost."""

from __future__ import annotations

import math

import array_api_compat
import numpy as np

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
        self.means: list[np.ndarray] = []
        self.within: list[np.ndarray] = []

    def update(self, x: Array) -> None:
        """Add a batch of activations (b, p)."""
        xp = array_api_compat.array_namespace(x)
        p = x.shape[1]
        step = max(1, p // self.FEATURES)
        part = to_numpy(xp.astype(x[:, ::step][:, : self.FEATURES], x.dtype))
        self.counts.append(part.shape[0])
        self.means.append(part.mean(axis=0))
        self.within.append(((part - part.mean(axis=0)) ** 2).sum(axis=0))

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
