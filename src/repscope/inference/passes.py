"""What diagnostics compute from the activations of a batch, in blocks that stay in a core's cache.

Activations are read from memory once, and no copy of them is made: for wide layers both take longer than arithmetic.
One thread does it. A block takes microseconds, too short for two threads to take turns at Python in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

_ROWS = 16
"""Examples of a block."""

_COLUMNS = 8192
"""Features of a block that is read and no more: with the examples half a megabyte, the cache of one core."""

_COPIED_COLUMNS = 6144
"""Features of a block of which copies are made, about."""


def lengths_and_projections(x: Floats, shift: Floats | None, directions: Floats) -> tuple[Floats, Floats]:
    """Squared lengths (b,) of examples (b, p) less a shift (1, p), and products of directions (k, p) with these (k, b).

    In double precision, summed from blocks in the precision of the features.
    """
    b, p = x.shape
    squares, projections = np.zeros(b), np.zeros((len(directions), b))
    for columns in _slices(p, _COLUMNS if shift is None else _COPIED_COLUMNS):
        onto = directions[:, columns]
        for rows in _slices(b, _ROWS):
            part = x[rows, columns]
            if shift is not None:
                part = part - shift[:, columns]
            squares[rows] += np.einsum("ij,ij->i", part, part)
            projections[:, rows] += onto @ part.T
    return squares, projections


@dataclass
class Columns:
    """Sums over examples, and extremes, of every feature (p,).

    Attributes:
        count: Examples.
        sums: Of the features.
        squares: Of their squares.
        highest: −∞ before the first example.
        lowest: ∞ before the first example.
    """

    count: int
    sums: Floats
    squares: Floats
    highest: Floats
    lowest: Floats

    @classmethod
    def empty(cls, width: int) -> Columns:
        """Of no example."""
        return cls(0, np.zeros(width), np.zeros(width), np.full(width, -np.inf), np.full(width, np.inf))

    def add(self, block: Floats, columns: slice) -> None:
        """Add examples of some of the features; :attr:`count` is for the caller to raise."""
        self.sums[columns] += block.sum(axis=0)
        self.squares[columns] += np.einsum("ij,ij->j", block, block)
        np.maximum(self.highest[columns], block.max(axis=0), out=self.highest[columns])
        np.minimum(self.lowest[columns], block.min(axis=0), out=self.lowest[columns])

    def merge(self, other: Columns) -> None:
        """Add other examples."""
        self.count += other.count
        self.sums += other.sums
        self.squares += other.squares
        np.maximum(self.highest, other.highest, out=self.highest)
        np.minimum(self.lowest, other.lowest, out=self.lowest)


def features_of(
    x: Floats, rows: npt.NDArray[np.int64] | None, shift: Floats, columns: Columns, signs: Sequence[Floats], f: int
) -> Floats:
    """Features or sketches of some examples less ``shift``, in single precision; ``columns`` gains these examples.

    Args:
        x: Activations (b, p).
        rows: Which examples, or None for all.
        shift: A typical example (1, p).
        columns: Is updated.
        signs: Random signs (p,) of each sketch; none where the features themselves are wanted.
        f: Numbers of a sketch.

    Returns:
        Features (m, p), or one sketch beside the other (m, len(signs) · f). A sketch adds up, with its signs, every
        f-th feature. Products of sketches are products of the features on average over the signs (Charikar et al.
        2002), and those of two independent sketches may be multiplied where squares of products are wanted.
    """
    m, p = x.shape[0] if rows is None else len(rows), x.shape[1]
    step = max(1, _COPIED_COLUMNS // f) * f if signs else _COPIED_COLUMNS
    found = np.zeros((m, len(signs) * f or p), np.float32)
    for wanted in _slices(m, _ROWS):
        for part in _slices(p, step):
            taken = x[wanted, part] if rows is None else x[rows[wanted], part]
            block = np.subtract(taken, shift[:, part]).astype(np.float32, copy=False)
            columns.add(block, part)
            if not signs:
                found[wanted, part] = block
            for i, sign in enumerate(signs):
                _add_folded(found[wanted, i * f : (i + 1) * f], block, sign[part])
    columns.count += m
    return found


def _add_folded(sketch: Floats, block: Floats, signs: Floats) -> None:
    """Add to each column of a sketch (m, f) every f-th of these features (m, k), with its sign."""
    f = sketch.shape[1]
    folds = block.shape[1] // f
    even = folds * f
    sketch += np.einsum("ikj,kj->ij", block[:, :even].reshape(len(block), folds, f), signs[:even].reshape(folds, f))
    sketch[:, : block.shape[1] - even] += block[:, even:] * signs[even:]


def _slices(end: int, step: int) -> list[slice]:
    return [slice(first, min(end, first + step)) for first in range(0, end, step)]
