"""From activations to tiles of Gram matrices, one layer at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import array_api_compat
import numpy as np

from repscope.engine.products import Precision, in_precision, product_in, to_numpy
from repscope.engine.threads import shifted_and_scaled
from repscope.errors import InputError
from repscope.measures._arrays import Array, Namespace, number, squared_lengths
from repscope.measures._thirds import Thirds, some_of, third_order, unknown_thirds
from repscope.measures._tiles import (
    entries_of_distances,
    entries_of_products,
    resolution,
    squared_distances_between,
    tileable,
)
from repscope.measures.kernels import RBF, Cosine, Kernel, Laplace, Linear, pairs_of, without_diagonal


@dataclass
class LayerTiles:
    """How one layer's activations become entries of its Gram matrix.

    HSIC does not change when all examples move by one vector, or all entries of K by one number; accuracy does. So
    features are shifted by a typical example where the kernel allows it, and the entries of kernels that are not
    linear by a typical entry, both fixed at the start.

    Attributes:
        kernel: The kernel.
        shift: Vector (1, p) subtracted from every example, or None where the kernel may not be shifted.
        scale: Power of two that the features are divided by.
        variance: σ² of a radial kernel, in units of the scaled features.
        offset: Number subtracted from every entry of K.
        precision: Of the products.
        name: Of the layer, for messages.
        thirds: Third-order sums of its Gram matrix, from some examples.
    """

    kernel: Kernel
    shift: Array | None = None
    scale: float = 1.0
    variance: float = 1.0
    offset: float = 0.0
    precision: Precision = "auto"
    name: str = ""
    thirds: Thirds = field(default_factory=unknown_thirds)

    @classmethod
    def fit(cls, kernel: Kernel, first: Array, precision: Precision = "auto", name: str = "") -> LayerTiles:
        """Fix shift and scale on the first batch (b, p)."""
        if not tileable(kernel):
            raise InputError(
                f"compare: the kernel {kernel!r} cannot be computed in tiles. Use pairs='batch', or representations "
                "small enough for memory."
            )
        xp = array_api_compat.array_namespace(first)
        sample = first[:: -(-first.shape[0] // _SAMPLE), :]
        if not kernel.translation_invariant:
            found = cls(kernel, precision=precision, name=name)
            features = found.features(sample)
            found.offset = typical_entry(xp, found.block(features, features))
            return found
        shift = typical_example(xp, sample)
        apart = sample - shift
        largest = max(number(xp.max(apart)), -number(xp.min(apart)))
        scale = 2.0 ** math.floor(math.log2(largest)) if 0 < largest < math.inf else 1.0
        return cls(kernel, shift=shift, scale=scale, precision=precision, name=name)

    @property
    def unit(self) -> float:
        """HSIC's factor for this layer: entries of K are in units of scale² for the linear kernel."""
        return self.scale**2 if self.kernel.homogeneous else 1.0

    def features(self, x: Array, spare: Array | None = None) -> Array:
        """Activations (b, p) shifted and scaled; a new array that the caller may keep, or ``spare`` filled anew."""
        xp = array_api_compat.array_namespace(x)
        if self.shift is not None:
            if isinstance(x, np.ndarray):
                x = shifted_and_scaled(x, self.shift, 1 / self.scale, spare)  # exact: the scale is a power of two
            else:
                x = (x - self.shift) / self.scale
            x = in_precision(x, self.precision)
            return xp.astype(x, xp.float64) if isinstance(self.kernel, Laplace) else x
        # Neither centred nor normalised: only double precision survives an offset.
        x = xp.astype(x, xp.float64)
        if isinstance(self.kernel, Cosine):
            lengths = xp.sqrt(xp.sum(x * x, axis=1, keepdims=True))
            if bool(xp.any(lengths == 0)):
                raise InputError(
                    f"Cosine: every example must be non-zero, got zeros in layer {self.name!r}. Leave such examples or "
                    "this layer out, or use another kernel."
                )
            return x / lengths
        return x

    def take_thirds(self, features: Array) -> None:
        """Fix the third-order sums by prepared features (k, p) of some examples."""
        sample = some_of(features)
        self.thirds = third_order(to_numpy(self.block(sample, sample)))

    def block(self, left: Array, right: Array) -> Array:
        """Entries of K (|I|, |J|) between two sets of prepared features (|I|, p), (|J|, p)."""
        return self.entries(product_in(left, right, self.precision), left, right)

    def entries(self, products: Array, left: Array, right: Array) -> Array:
        """The same from the products of the features (|I|, |J|), which are used up."""
        if not isinstance(self.kernel, RBF | Laplace):
            entries = entries_of_products(self.kernel, products, left.shape[1])
            if self.offset:
                entries -= self.offset
            return entries
        xp = array_api_compat.array_namespace(products)
        # A root would magnify what rounding leaves of zeros.
        share = resolution(left) if isinstance(self.kernel, Laplace) else 0.0
        squared = squared_distances_between(xp, products, squared_lengths(left), squared_lengths(right), share)
        if left is right:
            squared = without_diagonal(xp, squared)
        entries = entries_of_distances(self.kernel, squared, self.variance)
        entries -= self.offset
        return entries


@dataclass(frozen=True)
class SharedTiles:
    """One layer's activations, prepared once, as entries of its Gram matrices by several kernels.

    Attributes:
        kernels: By each kernel; shift, scale and precision are the same in all.
    """

    kernels: Sequence[LayerTiles]

    def features(self, x: Array, spare: Array | None = None) -> Array:
        """As of one kernel."""
        return self.kernels[0].features(x, spare)

    def blocks(self, left: Array, right: Array) -> Iterator[Array]:
        """Entries (|I|, |J|) by one kernel after another; the products of features are computed once."""
        products = product_in(left, right, self.kernels[0].precision)
        xp = array_api_compat.array_namespace(products)
        for tiles in self.kernels[:-1]:
            yield tiles.entries(xp.asarray(products, copy=True), left, right)
        yield self.kernels[-1].entries(products, left, right)


def shareable(kernel: Kernel) -> bool:
    """Whether a kernel's entries come from the same features as those of all others of which this is true."""
    return isinstance(kernel, Linear | RBF)


_OUTLYING = 4.0
"""Distance from the typical example, over the median of these distances, from which on an example is left out of it."""

_SAMPLE = 32
"""Examples that shift and scale are taken from, where there are more."""


def typical_entry(xp: Namespace, gram: Array) -> float:
    """Mean entry of a Gram matrix (k, k) of some examples, 0 for one example.

    Without the diagonal: where the kernel is narrow, its ones are far from all other entries.
    """
    return number(xp.mean(pairs_of(xp, gram))) if gram.shape[0] > 1 else 0.0


def typical_example(xp: Namespace, x: Array) -> Array:
    """Mean (1, p) of the examples (k, p) that are not far from the rest, exact for columns that are constant.

    A plain mean is drawn away by a single huge example; then all others lie on one side of it, their products are
    nearly one number, and what differs between them is lost to rounding.
    """
    apart = x - x[:1, :]  # exact zeros in constant columns
    squares = squared_lengths(apart)
    squared = squared_distances_between(xp, apart @ apart.T, squares, squares)
    ranked = xp.sort(squared, axis=1)
    medians = ranked[:, ranked.shape[0] // 2]
    centre = int(xp.argmin(medians))  # the example that half of the others are nearest to
    near = ~(squared[centre, :] > _OUTLYING**2 * medians[centre])  # NaN counts as near: the stream will name it
    return x[:1, :] + xp.mean(apart[near, :], axis=0, keepdims=True)
