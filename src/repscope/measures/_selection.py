"""Order statistics of values too many to be held, found exactly in a few passes over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from repscope.measures._arrays import Array, Namespace, number
from repscope.measures.kernels import order_statistics

Passes = Callable[[], Iterable[Array]]
"""Gives the values again each time it is called, block by block, the same ones in any order."""

CAPACITY = 1 << 23
"""Values held at a time."""

_SPREAD = 0.05
"""Share of the values, to either side, among which a rank is sought first; it costs no more than a pass to miss."""


def select(
    xp: Namespace, passes: Passes, ranks: Sequence[int], pool: Array, total: int, *, capacity: int = CAPACITY
) -> list[float]:
    """The entries at these places of all values in ascending order.

    Each pass counts what lies below two bounds and keeps what lies between them, so one pass is enough where the pool
    resembles the whole and that share fits; every further one narrows the bounds. The pool decides how many passes
    there are, never what is found.

    Args:
        xp: Namespace of the blocks.
        passes: The values.
        ranks: Places, from 0.
        pool: A sample (m,) of the values.
        total: Number of all values.
        capacity: Values held at a time.
    """
    pool = xp.sort(pool)
    found: dict[int, float] = {}
    window: _Window | None = None
    for rank in ranks:
        if window is None or not window.holds(rank):
            window = _narrow(xp, passes, rank, pool, total, capacity)
        if rank not in found:
            found[rank] = window.low
            if window.low != window.high:
                (found[rank],) = order_statistics(xp, window.kept(xp), [rank - window.below])
    return [found[rank] for rank in ranks]


@dataclass(frozen=True)
class _Window:
    """The values between two bounds, both included: how many lie below, how many inside, and at least some of those."""

    low: float
    high: float
    below: int
    inside: int
    blocks: list[Array]

    def holds(self, rank: int) -> bool:
        return self.below <= rank < self.below + self.inside

    def kept(self, xp: Namespace) -> Array:
        return xp.concat(self.blocks)


def _narrow(xp: Namespace, passes: Passes, rank: int, pool: Array, total: int, capacity: int) -> _Window:
    """A window that holds the rank and either all of its values or a single one of them."""
    low, high, below, inside = -math.inf, math.inf, 0, total
    while True:
        bounds = _bounds(pool, (rank - below) / inside, low, high)
        window = _look(xp, passes(), *bounds, capacity)
        if window.holds(rank):
            if window.inside <= capacity or window.low == window.high:
                return window
            (low, high), below, inside, pool = bounds, window.below, window.inside, xp.sort(window.kept(xp))
        elif rank < window.below:
            high, inside = _next(pool, window.low, -math.inf), window.below - below
            pool = pool[pool < window.low]
        else:
            low = _next(pool, window.high, math.inf)
            inside -= window.below + window.inside - below
            below = window.below + window.inside
            pool = pool[pool > window.high]


def _bounds(pool: Array, share: float, low: float, high: float) -> tuple[float, float]:
    """Bounds around the place in the pool (m,) that has this share of it below."""
    m = pool.shape[0]
    if m == 0:
        return low, high
    first, last = math.floor((share - _SPREAD) * m), math.ceil((share + _SPREAD) * m)
    bounds = low if first < 0 else number(pool[first]), high if last >= m else number(pool[last])
    if bounds == (low, high):
        # Nothing would be gained: one value of the pool, which is either the one sought or will not be met again.
        pivot = number(pool[min(int(share * m), m - 1)])
        return pivot, pivot
    return bounds


def _look(xp: Namespace, blocks: Iterable[Array], low: float, high: float, capacity: int) -> _Window:
    below = inside = held = 0
    kept: list[Array] = []
    for block in blocks:
        within = block <= high
        above = block >= low
        below += math.prod(block.shape) - int(xp.count_nonzero(above))
        within &= above
        count = int(xp.count_nonzero(within))
        inside += count
        if count and held < capacity:
            room = min(count, capacity - held)
            kept.append(block[within][:room])
            held += room
    return _Window(low, high, below, inside, kept)


def _next(like: Array, value: float, towards: float) -> float:
    """The next number of the type of ``like``."""
    kind = np.float32 if str(like.dtype).endswith("32") else np.float64
    return float(np.nextafter(kind(value), kind(towards)))
