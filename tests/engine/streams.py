"""Representations and streams of them for the tests of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from repscope.engine.stream import ArraySource, Visitor


class CutSource(ArraySource):
    """Arrays in batches of given sizes, of which the first is the one to peek at, as in a stream of a model."""

    peeks_at_first_batch = True

    def __init__(self, arrays: Sequence[Any], sizes: Sequence[int]) -> None:
        super().__init__(arrays, [f"layer{i}" for i in range(len(arrays))])
        self.sizes = sizes
        self.passes = 0

    def slices(self) -> list[slice]:
        ends = np.cumsum(self.sizes)
        assert ends[-1] == self.n
        return [slice(int(e - s), int(e)) for e, s in zip(ends, self.sizes, strict=True)]

    def peek(self, visitor: Visitor) -> None:
        for index, x in enumerate(self.arrays):
            visitor.layer(index, x[self.slices()[0], :])
        visitor.end(slice(0, 0))

    def stream(self, visitor: Visitor, *, start: int = 0, stop: int | None = None, step: int = 1) -> None:
        """Run through the batches in one buffer that is overwritten, as activations are."""
        self.passes += 1
        for rows in self.slices()[start:stop:step]:
            for index, x in enumerate(self.arrays):
                buffer = x[rows, :].copy() if isinstance(x, np.ndarray) else x[rows, :].clone()
                visitor.layer(index, buffer)
                buffer[:] = np.nan
            visitor.end(rows)


def sizes_of(n: int, rng: np.random.Generator, batch: int, *, ragged: bool = False) -> list[int]:
    """Batches of one size with a smaller or larger last one; with ``ragged`` all of random sizes from 4 on."""
    sizes: list[int] = []
    while n - sum(sizes) >= 2 * batch:
        sizes.append(int(rng.integers(4, 2 * batch - 3)) if ragged else batch)
    return [*sizes, n - sum(sizes)]


def related_layers(
    n: int, widths: Sequence[int], rng: np.random.Generator, dtype: Any = np.float64
) -> list[np.ndarray]:
    """Layers that share some latent variables, rectified in part and off centre, as activations are."""
    latent = rng.standard_normal((n, 6))
    layers = []
    for index, p in enumerate(widths):
        x = latent @ rng.standard_normal((6, p)) + rng.standard_normal((n, p))
        x = np.maximum(x, 0) if index % 2 else x + 3 * rng.standard_normal(p)
        layers.append((x * 3.0 ** (index - 1)).astype(dtype))
    return layers
