"""The bandwidth of a radial kernel: a median distance, from a sample of the examples where there are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import array_api_compat
import numpy as np

from repscope._rows import Rows
from repscope.engine.products import Precision, native, times_transposed, to_numpy
from repscope.engine.reservoir import Reservoir
from repscope.engine.stream import Source, check_finite, fit_layers
from repscope.engine.tiles import LayerTiles, typical_entry
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
    return fit_bandwidths_together(source, [kernel], examples, seed, precision)[0]


def fit_bandwidths_together(
    source: Source, kernels: Sequence[Kernel], examples: int, seed: int, precision: Precision = "auto"
) -> list[list[LayerTiles]]:
    """The same for several kernels of the same features, from one sample and its distances.

    Args:
        source: As for :func:`fit_bandwidths`.
        kernels: Kernels that are :func:`~repscope.engine.tiles.shareable`, or one that need not be.
        examples: As for :func:`fit_bandwidths`.
        seed: As for :func:`fit_bandwidths`.
        precision: As for :func:`fit_bandwidths`.

    Returns:
        For each kernel those of all layers.
    """
    plain = next((kernel for kernel in kernels if not isinstance(kernel, RBF | Laplace)), kernels[0])
    fitted = fit_layers(source, plain, precision)
    found = [[replace(tiles, kernel=kernel) for tiles in fitted] for kernel in kernels]
    expected = min(examples, source.rows_expected or examples)
    visitor = _SampleVisitor(source.names, fitted, examples, seed, expected)
    source.stream(visitor)
    for index in range(len(fitted)):
        sample = visitor.sample(index)
        xp = array_api_compat.array_namespace(sample)
        squares = squared_lengths(sample)
        squared = times_transposed(sample, sample)
        squared = squared_distances_between(xp, squared, squares, squares, resolution(sample))
        squared = without_diagonal(xp, squared)
        medians: dict[str, float] = {}
        for layers in found:
            _set_bandwidth(layers[index], squared, medians, visitor.n, sample)
    return found


def _set_bandwidth(tiles: LayerTiles, squared: Array, medians: dict[str, float], n: int, sample: Array) -> None:
    """Bandwidth and offset of one layer by the squared distances of its sample; medians of each kind are kept."""
    xp, kernel = array_api_compat.array_namespace(squared), tiles.kernel
    if not isinstance(kernel, RBF | Laplace):
        return  # settled by the fit
    if kernel.sigma is not None:
        tiles.variance = (kernel.sigma / tiles.scale) ** 2
    else:
        if kernel.median not in medians:
            medians[kernel.median] = _median(xp, squared, kernel, n)
        tiles.variance = kernel.fraction**2 * medians[kernel.median]
    if tiles.variance > 0:
        typical = squared * ((-0.5 if isinstance(kernel, RBF) else 1.0) / tiles.variance)
        typical = xp.exp(typical) if isinstance(kernel, RBF) else xp.exp(-xp.sqrt(typical))
        tiles.offset = typical_entry(xp, typical)
        tiles.take_thirds(sample)
    else:
        tiles.variance = float("nan")  # at least half of the distances are 0: no bandwidth follows from them


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

    def __init__(self, names: Sequence[str], tiles: Sequence[LayerTiles], size: int, seed: int, expected: int) -> None:
        self.names, self.tiles = names, tiles
        self.random = np.random.default_rng(seed)
        self.chosen = Reservoir(size)
        self.kept = [Rows(expected) for _ in tiles]
        self.drawn = False
        self.added: Any = None  # which examples of the current batch are kept
        self.places: Any = None  # and whose places they take
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
        self.kept[index].put(new, self.places)

    def end(self, rows: slice) -> None:
        self.drawn = False
        self.batch += 1

    def sample(self, index: int) -> Array:
        """The examples (m, p) of one layer, given away."""
        return self.kept[index].take()

    def _draw(self, batch: int) -> None:
        """Choose which examples of a batch are added, and the places they take."""
        self.drawn = True
        self.n += batch
        self.added, self.places = self.chosen.offer(self.random.random(batch))
