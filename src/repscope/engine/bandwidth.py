"""The bandwidth of a radial kernel: a median distance, from a sample of the examples where there are many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np

from repscope.engine.products import Precision, native, times_transposed, to_numpy
from repscope.engine.reservoir import Reservoir
from repscope.engine.stream import Source, check_finite, fit_layers
from repscope.engine.tiles import LayerTiles
from repscope.measures._arrays import Array, squared_lengths
from repscope.measures._tiles import resolution, squared_distances_between
from repscope.measures.kernels import RBF, Kernel, Laplace, median_of_distances, without_diagonal

BANDWIDTH_EXAMPLES = 4096
"""Examples whose distances set the bandwidth of a radial kernel, where there are more."""


def fit_bandwidths(
    source: Source, kernel: Kernel, examples: int, seed: int, precision: Precision = "auto"
) -> list[LayerTiles]:
    """Bandwidth and offset of a radial kernel for every layer, from one pass that keeps a sample of the examples.

    Args:
        source: Activations; their number need not be known.
        kernel: RBF or Laplace.
        examples: Size of the sample; all examples where there are no more.
        seed: For the choice, which does not depend on how the examples come in batches.
        precision: Of the products of activations.
    """
    assert isinstance(kernel, RBF | Laplace)
    fitted = fit_layers(source, kernel, precision)
    visitor = _SampleVisitor(source.names, fitted, examples, seed)
    source.stream(visitor)
    for index, tiles in enumerate(fitted):
        sample = visitor.sample(index)
        xp = array_api_compat.array_namespace(sample)
        squares = squared_lengths(sample)
        squared = times_transposed(sample, sample)
        squared = squared_distances_between(xp, squared, squares, squares, resolution(sample))
        squared = without_diagonal(xp, squared)
        if kernel.sigma is not None:
            tiles.variance = (kernel.sigma / tiles.scale) ** 2
        else:
            tiles.variance = kernel.fraction**2 * _median(xp, squared, kernel, visitor.n)
        if tiles.variance > 0:
            squared *= (-0.5 if isinstance(kernel, RBF) else 1.0) / tiles.variance
            typical = xp.exp(squared) if isinstance(kernel, RBF) else xp.exp(-xp.sqrt(squared))
            tiles.offset = float(xp.mean(typical))
            tiles.take_thirds(sample)
        else:
            tiles.variance = float("nan")  # at least half of the distances are 0: no bandwidth follows from them
    return fitted


def _median(xp: Any, squared: Array, kernel: RBF | Laplace, n: int) -> float:
    """Median squared distance of all n examples, from those of a sample."""
    m = squared.shape[0]
    if m == n or kernel.median == "off-diagonal":
        return median_of_distances(xp, squared, kernel.median)
    # The zero diagonal takes a share 1/n of all n² entries; in the sample it would take 1/m.
    pairs = to_numpy(squared)[np.triu_indices(m, k=1)]
    return float(np.quantile(pairs, (n / 2 - 1) / (n - 1)))


class _SampleVisitor:
    """Keeps the examples with the smallest of random keys, which are drawn one by one as the examples come."""

    def __init__(self, names: Sequence[str], tiles: Sequence[LayerTiles], size: int, seed: int) -> None:
        self.names, self.tiles, self.size = names, tiles, size
        self.random = np.random.default_rng(seed)
        self.chosen = Reservoir(size)
        self.parts: list[list[Array]] = [[] for _ in tiles]  # until the sample is full; then one array each
        self.drawn = False
        self.added: Any = None  # which examples of the current batch are kept
        self.places: Any = None  # and whose places they take
        self.held, self.full = 0, False
        self.batch = self.n = 0

    def layer(self, index: int, x: Array) -> None:
        x = native(x)
        check_finite(x, self.names[index], self.batch)
        if not self.drawn:
            self._draw(x.shape[0])
        if not self.added.size:
            return
        xp, device = array_api_compat.array_namespace(x), array_api_compat.device(x)
        new = self.tiles[index].features(xp.take(x, xp.asarray(self.added, device=device), axis=0))
        if not self.full:
            self.parts[index].append(new)
            return
        if self.held < self.size or len(self.parts[index]) > 1:
            room = xp.empty((self.size - self.held, x.shape[1]), dtype=new.dtype, device=device)
            self.parts[index] = [xp.concat([*self.parts[index], room], axis=0)]
        self.parts[index][0][xp.asarray(self.places, device=device), :] = new

    def end(self, rows: slice) -> None:
        self.drawn = False
        self.batch += 1

    def sample(self, index: int) -> Array:
        """The examples (m, p) of one layer, given away."""
        parts, self.parts[index] = self.parts[index], []
        return parts[0] if len(parts) == 1 else array_api_compat.array_namespace(parts[0]).concat(parts, axis=0)

    def _draw(self, batch: int) -> None:
        """Choose which examples of a batch are added, and the places they take."""
        self.drawn = True
        self.n += batch
        self.held = self.chosen.keys.size
        self.full = self.held + batch > self.size
        self.added, self.places = self.chosen.offer(self.random.random(batch))
