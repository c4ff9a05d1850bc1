"""The minibatch estimate of Nguyen, Raghu & Kornblith (2021): pairs of examples within a batch, one pass."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import array_api_compat
import numpy as np

from repscope.engine.accumulate import BatchSums, Matrix
from repscope.engine.drift import DriftStatistic
from repscope.engine.partial import Arrays, Checkpoint, Partial, Shard, merge, with_prefix, without_prefix
from repscope.engine.products import Precision, native, product_in, promoted, times_transposed, to_numpy
from repscope.engine.stream import Fitting, Source, check_finite, stacked_products
from repscope.engine.tiles import LayerTiles
from repscope.errors import CaptureWarning, DegenerateInputWarning, InputError
from repscope.measures._arrays import Array
from repscope.measures._messages import warn
from repscope.measures._thirds import THIRDS_EXAMPLES, Thirds, third_order, unknown_thirds
from repscope.measures._tiles import tileable
from repscope.measures.kernels import Estimator, Kernel, center_gram, gram_matrix, minimum_examples

_ALL = Shard()

LARGEST_MEAN = 10.0
"""Squared length of the mean over the spread around it, up to which Gram entries are centred after the product.

Centring the features first costs several passes over the activations. Centring their Gram matrix costs next to nothing
and loses the digits that the mean takes up: one, at this bound. Layers beyond it are shifted first.
"""


_SAFE_SCALES = (2.0**-30, 2.0**30)
"""Size of the features between which products of raw single-precision features stay far from its limits."""


def batch_sums(source: Source, kernel: Kernel, estimator: Estimator) -> tuple[BatchSums, Matrix, list[str]]:
    """The minibatch estimate in one process; see :func:`finish_batches` for what comes back."""
    return finish_batches([accumulate_batches(source, kernel, estimator)], source.names)


def accumulate_batches(
    source: Source,
    kernel: Kernel,
    estimator: Estimator,
    *,
    shard: Shard = _ALL,
    resume: Partial | None = None,
    checkpoint: Checkpoint | None = None,
    precision: Precision = "auto",
) -> Partial:
    """Add up the batches of one share of the work.

    Args:
        source: Activations.
        kernel: Any kernel; the bandwidth of a radial one is set for each batch.
        estimator: Of the HSIC of each batch.
        shard: Which batches: every ``shard.count``-th, from ``shard.index`` on.
        resume: What an earlier run of the same share has added up.
        checkpoint: Called after every batch.
        precision: Of the products of activations, for the linear kernel.
    """
    visitor = BatchVisitor(source, kernel, estimator, shard, resume, checkpoint, precision)
    source.stream(visitor, start=shard.index + visitor.done * shard.count, step=shard.count)
    return visitor.partial(complete=True)


def finish_batches(partials: Sequence[Partial], names: Sequence[str]) -> tuple[BatchSums, Matrix, list[str]]:
    """Merge the shares of the work.

    Returns:
        The sums, HSIC's unit factor for each layer (L,), and the names of the layers whose examples come in an order.
    """
    sums = BatchSums(len(names))
    drift = [DriftStatistic() for _ in names]

    def add(arrays: Arrays) -> None:
        sums.merge(BatchSums.from_arrays(without_prefix("sums.", arrays)))
        for index, statistic in enumerate(drift):
            statistic.merge(DriftStatistic.from_arrays(without_prefix(f"drift{index}.", arrays)))

    merge(partials, add)
    ordered = [name for name, statistic in zip(names, drift, strict=True) if statistic.ordered]
    return sums, partials[0].arrays["units"], ordered


class BatchVisitor:
    """Centred Gram matrix of each batch, upper triangles stacked, one product for all pairs.

    Arguments as for :func:`accumulate_batches`.
    """

    def __init__(
        self,
        source: Source,
        kernel: Kernel,
        estimator: Estimator,
        shard: Shard = _ALL,
        resume: Partial | None = None,
        checkpoint: Checkpoint | None = None,
        precision: Precision = "auto",
    ) -> None:
        layers = len(source.widths)
        self.names = source.names
        self.kernel, self.estimator = kernel, estimator
        self.shard, self.checkpoint = shard, checkpoint
        self.sums, self.done = BatchSums(layers), 0
        self.drift = [DriftStatistic() for _ in range(layers)]
        self.fitting: Fitting | None = None
        if kernel.homogeneous:
            from_start = shard.index == 0 and resume is None
            self.fitting = Fitting(source, kernel, precision, sees_first_batch=from_start, thirds=False)
        self.thirds: list[Thirds | None] = [None] * layers
        self.diagonals: list[Matrix] = [np.empty(0)] * layers  # of the centred Gram matrices of the current batch
        self.triangles: Array = None  # (L, b(b + 1)/2), the same memory for all batches of one size
        if resume is not None:
            self.done = resume.done
            self.sums = BatchSums.from_arrays(without_prefix("sums.", resume.arrays))
            self.thirds = list(resume.arrays["thirds"])
            self.drift = [
                DriftStatistic.from_arrays(without_prefix(f"drift{i}.", resume.arrays)) for i in range(layers)
            ]

    def layer(self, index: int, x: Array) -> None:
        """Prepare one layer."""
        if x.shape[0] < minimum_examples(self.estimator):
            return
        activations, x = x, native(x)
        batch = self.shard.index + self.done * self.shard.count
        xp = array_api_compat.array_namespace(x)
        with np.errstate(invalid="ignore", over="ignore"):
            if self.fitting is not None:
                gram = self._linear_gram(xp, x, self.fitting.of(index, x))
            elif tileable(self.kernel):
                with warnings.catch_warnings():  # NaN says it too, and the layer is named in the end
                    warnings.simplefilter("ignore", DegenerateInputWarning)
                    gram = self.kernel.gram(x)
            else:
                check_finite(x, self.names[index], batch)
                gram = native(gram_matrix(self.kernel, promoted(activations)))
            if self.thirds[index] is None:
                self.thirds[index] = third_order(to_numpy(gram[:THIRDS_EXAMPLES, :THIRDS_EXAMPLES]))
            gram = center_gram(gram, self.estimator)
            self.diagonals[index] = to_numpy(xp.linalg.diagonal(gram))
            triangle = self._keep_triangle(xp, index, gram)
        if not bool(xp.isfinite(xp.sum(triangle))):
            check_finite(x, self.names[index], batch)
        self.drift[index].update(x)

    def _keep_triangle(self, xp: Any, index: int, gram: Array) -> Array:
        """Put the upper triangle of a symmetric matrix beside those of the other layers.

        It is weighted so that products of two triangles are products of the full matrices.
        """
        device = array_api_compat.device(gram)
        flat, weights = _triangle(gram.shape[0])
        weights = xp.astype(xp.asarray(weights, device=device), gram.dtype)
        triangle = xp.take(xp.reshape(gram, (-1,)), xp.asarray(flat, device=device), axis=0)
        triangle *= weights
        if self.triangles is None or self.triangles.shape[1] != triangle.shape[0]:
            shape = (len(self.names), triangle.shape[0])
            self.triangles = xp.empty(shape, dtype=triangle.dtype, device=device)
        self.triangles[index, :] = triangle
        return triangle

    def _linear_gram(self, xp: Any, x: Array, tiles: LayerTiles) -> Array:
        if tiles.precision == "auto" and _SAFE_SCALES[0] < tiles.scale < _SAFE_SCALES[1]:
            gram = times_transposed(x, x) / tiles.scale**2
            n = x.shape[0]
            trace = float(xp.sum(xp.linalg.diagonal(gram)))
            mean = float(xp.sum(gram)) / n  # n |mean|²
            if mean <= LARGEST_MEAN * (trace - mean):
                return gram
        features = tiles.features(x)
        return product_in(features, features, tiles.precision)

    def end(self, rows: slice) -> None:
        """Add the batch to the sums."""
        examples, least = rows.stop - rows.start, minimum_examples(self.estimator)
        if examples >= least:
            self.sums.update(stacked_products(self.triangles), np.stack(self.diagonals), self.estimator)
        elif rows.start == 0:
            raise InputError(
                f"compare: a batch must hold at least {least} examples for the {self.estimator} estimator, got "
                f"{examples}. Use a larger batch_size=, or pairs='all'."
            )
        else:
            warn(
                f"compare: examples {rows.start} to {rows.stop - 1} are left out, because their batch holds fewer than "
                f"the {least} that the {self.estimator} estimator needs. Use batches of one size.",
                CaptureWarning,
            )
        self.done += 1
        if self.checkpoint is not None:
            self.checkpoint(lambda: self.partial(complete=False))

    def partial(self, *, complete: bool) -> Partial:
        """What has been added up so far."""
        arrays = with_prefix("sums.", self.sums.arrays())
        for index, statistic in enumerate(self.drift):
            arrays |= with_prefix(f"drift{index}.", statistic.arrays())
        units = [1.0] * len(self.names) if self.fitting is None else [t.unit for t in self.fitting.layers()]
        thirds = np.array([unknown_thirds() if found is None else found for found in self.thirds])
        arrays |= {"units": np.array(units), "thirds": thirds}
        return Partial("batch", self.shard, self.done, complete, arrays)


@lru_cache(maxsize=4)
def _triangle(b: int) -> tuple[Any, Any]:
    rows, columns = np.triu_indices(b)
    return rows * b + columns, np.where(rows == columns, 1.0, np.sqrt(2.0))
