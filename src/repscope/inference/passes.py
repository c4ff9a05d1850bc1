"""What diagnostics compute from the activations of a batch, in blocks that stay in a core's cache.

Activations are read from memory once or twice, and no copy of them is made: for wide layers both take longer than
arithmetic. Where torch has just computed them, its threads still spin, so that they do it faster than others.
"""

from __future__ import annotations

import sys
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

_TOGETHER = 4
"""Examples whose lengths torch takes from their products with each other, which it computes faster than the lengths."""

_WORTH_TORCH = 1 << 20
"""Bytes of activations from which on torch is called."""


def lengths_and_projections(x: Floats, shift: Floats | None, directions: Floats) -> tuple[Floats, Floats]:
    """Squared lengths (b,) of examples (b, p) less a shift (1, p), and products of directions (k, p) with these (k, b).

    Added up in the precision of the features, over a few thousand of them or by a library that does it in blocks too.
    """
    b, p = x.shape
    squares, projections = np.zeros(b), np.zeros((len(directions), b))
    if "torch" in sys.modules and x.flags.writeable and x.nbytes >= _WORTH_TORCH:
        for rows in _slices(b, b if shift is None else 2 * _ROWS):
            part = x[rows] if shift is None else x[rows] - shift
            squares[rows], projections[:, rows] = _by_torch(part, directions)
        return squares, projections
    for columns in _slices(p, _COLUMNS if shift is None else _COPIED_COLUMNS):
        onto = directions[:, columns]
        for rows in _slices(b, _ROWS):
            part = x[rows, columns]
            if shift is not None:
                part = part - shift[:, columns]
            squares[rows] += np.einsum("ij,ij->i", part, part)
            projections[:, rows] += onto @ part.T
    return squares, projections


def _by_torch(x: Floats, directions: Floats) -> tuple[Floats, Floats]:
    """Squared lengths (b,) and projections (k, b), in the precision of the features."""
    import torch

    y, onto = torch.from_numpy(x), torch.from_numpy(directions.astype(x.dtype, copy=False))
    even = len(y) // _TOGETHER * _TOGETHER
    groups, rest = y[:even].reshape(-1, _TOGETHER, y.shape[1]), y[even:]
    products = torch.bmm(groups, groups.mT).diagonal(dim1=1, dim2=2)
    return torch.cat([products.flatten(), rest.square().sum(dim=1)]).numpy(), (onto @ y.T).numpy()


@dataclass
class Columns:
    """Sums over examples, and extremes, of every feature (p,).

    Attributes:
        count: Examples.
        sums: Of the features.
        squares: Of their squares.
        highest: −∞ before the first example; in single precision, as what is added.
        lowest: ∞ before the first example; likewise.
    """

    count: int
    sums: Floats
    squares: Floats
    highest: Floats
    lowest: Floats

    @classmethod
    def empty(cls, width: int) -> Columns:
        """Of no example."""
        lowest = np.full(width, np.inf, np.float32)
        return cls(0, np.zeros(width), np.zeros(width), -lowest, lowest)

    def add(self, block: Floats, columns: slice) -> None:
        """Add examples of some of the features; :attr:`count` is for the caller to raise."""
        self.sums[columns] += block.sum(axis=0).astype(np.float64)
        self.squares[columns] += np.einsum("ij,ij->j", block, block).astype(np.float64)
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
    chosen = np.arange(m) if rows is None else rows
    found = np.zeros((m, len(signs) * f or p), np.float32)
    spare = np.empty((_ROWS if signs else 0, step), np.float32)  # fresh memory would take longer than the arithmetic
    for part in _slices(p, step):
        for wanted in _slices(m, _ROWS):
            block = spare[: wanted.stop - wanted.start, : part.stop - part.start] if signs else found[wanted, part]
            for row, place in zip(chosen[wanted], block, strict=True):
                np.subtract(x[row, part], shift[0, part], out=place, casting="same_kind")
            columns.add(block, part)
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
