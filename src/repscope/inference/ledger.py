"""What a few numbers of every example tell: which repeat another, which are blank, whether they come in an order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from repscope.engine.drift import DriftStatistic
from repscope.inference.observer import Observer
from repscope.inference.passes import Floats
from repscope.inference.record import LayerRecord

_BLANK = 1e-3
"""Standard deviation over an example's features, relative to that of the middle example, that counts as none."""

_BLANK_FEATURES = 16
"""Features from which on an example's variance over them says something."""

_NEIGHBOURS = 8
"""Examples before one, in the order of one number, that it may repeat; others lie between two equal ones by chance."""

_ORDER_BLOCKS = 32
"""Blocks of consecutive examples that are held against each other."""


@dataclass(frozen=True)
class Ledger:
    """The listed examples in the order of the data.

    Attributes:
        entries: Squared distance from the shift, projections on ones and on random signs, variance over the features,
            of each example (N, 4).
        width: Features.
        sizes: Bound on the size (N,) of what was projected, to which rounding is relative.
    """

    entries: Floats
    width: int
    sizes: Floats

    @classmethod
    def of(cls, observer: Observer, layer: LayerRecord) -> Ledger:
        """That of one layer."""
        entries = layer.ledger[np.argsort(observer.ledger_rows)].astype(np.float64)
        sizes = np.sqrt(entries[:, 0])
        if layer.axes is not None and not layer.axes.shifted:
            sizes = sizes + float(np.linalg.norm(layer.shift))
        return cls(entries, layer.width, sizes)

    @property
    def count(self) -> int:
        """Examples."""
        return len(self.entries)

    def repeated(self) -> int:
        """Examples that equal one before, up to rounding: all three numbers agree."""
        eps = float(np.finfo(np.float32).eps)
        order = np.lexsort(self.entries[:, :3].T)
        numbers, sizes = self.entries[order, :3], self.sizes[order]
        room = 4 * eps * np.stack([4 * sizes**2, sizes * math.sqrt(self.width), sizes * math.sqrt(self.width)], axis=1)
        repeats = np.zeros(self.count, bool)
        for behind in range(1, min(_NEIGHBOURS, self.count - 1) + 1):
            close = np.abs(numbers[behind:] - numbers[:-behind]) <= room[behind:]
            repeats[behind:] |= close.all(axis=1)
        return int(repeats.sum())

    def blank(self) -> int:
        """Examples whose features are nearly equal."""
        if self.width < _BLANK_FEATURES:
            return 0
        deviations = np.sqrt(self.entries[:, 3])
        return int((deviations < _BLANK * np.median(deviations)).sum())

    def order(self) -> DriftStatistic:
        """How much consecutive blocks of examples differ, along the two projections."""
        statistic = DriftStatistic()
        blocks = min(_ORDER_BLOCKS, self.count // 4)
        for block in np.array_split(self.entries[:, 1:3], blocks) if blocks > 1 else []:
            statistic.update(block)
        return statistic
