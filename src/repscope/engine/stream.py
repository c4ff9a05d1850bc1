"""Streams of activations: who makes them and who sees them.

A :class:`Source` calls a :class:`Visitor` for every layer of every batch, at the moment the activation exists; nothing
but what the visitor keeps outlives the call. One protocol serves arrays in memory, stored activations and models.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Protocol

import array_api_compat
import numpy as np

from repscope.engine.accumulate import Matrix
from repscope.engine.products import Precision, native, times_transposed, to_numpy
from repscope.engine.tiles import LayerTiles
from repscope.errors import InputError
from repscope.measures._arrays import Array, on_the_host
from repscope.measures._thirds import some_of
from repscope.measures.kernels import RBF, Kernel, Laplace

TILE_ROWS = 1024
"""Rows of the tiles inside a held block: large enough for the matrix product, small enough for the cache of results."""

_PRODUCT_CHUNK = 1 << 18
"""Entries of a tile multiplied at once; single precision sums of more lose digits, double precision adds the chunks."""


class Visitor(Protocol):
    """What a source calls."""

    def layer(self, index: int, x: Array) -> None:
        """One layer's activations (b, p) of the current batch, valid during the call only."""

    def end(self, rows: slice) -> None:
        """The batch is over; it held these examples of the data set."""


class Source(Protocol):
    """Activations of L layers, batch by batch, repeatable in the same order."""

    @property
    def names(self) -> Sequence[str]:
        """Layer names for messages (L,)."""

    @property
    def widths(self) -> Sequence[int]:
        """Features of each layer (L,)."""

    @property
    def n(self) -> int:
        """Number of examples; may cost a pass over the data."""

    @property
    def rows_expected(self) -> int | None:
        """Number of examples, or an estimate that needs no pass over the data; None where nothing tells."""

    @property
    def peeks_at_first_batch(self) -> bool:
        """Whether :meth:`peek` shows the first batch of the stream, so that whoever sees that need not ask."""

    def peek(self, visitor: Visitor) -> None:
        """Show some examples of every layer, the same whenever asked, without using up what comes only once."""

    def stream(self, visitor: Visitor, *, start: int = 0, stop: int | None = None, step: int = 1) -> None:
        """Run through the batches with numbers start, start + step, … below stop."""


class Together:
    """Several visitors of one stream."""

    def __init__(self, visitors: Sequence[Visitor]) -> None:
        self.visitors = tuple(visitors)

    def layer(self, index: int, x: Array) -> None:
        """Show it to all."""
        for visitor in self.visitors:
            visitor.layer(index, x)

    def end(self, rows: slice) -> None:
        """Tell all."""
        for visitor in self.visitors:
            visitor.end(rows)


class ArraySource:
    """Representations in memory (or memory-mapped), one array (n, p) per layer, handed out in slices."""

    peeks_at_first_batch = False

    def __init__(self, arrays: Sequence[Array], names: Sequence[str], *, batch_size: int = TILE_ROWS) -> None:
        self.arrays = list(arrays)
        self.names = tuple(names)
        self.batch_size = batch_size

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each layer."""
        return tuple(int(x.shape[1]) for x in self.arrays)

    @property
    def itemsize(self) -> int:
        """Bytes of a number as the engine works on it."""
        return max(8 if str(x.dtype).endswith("64") else 4 for x in self.arrays)

    @property
    def n(self) -> int:
        """Number of examples."""
        return int(self.arrays[0].shape[0])

    @property
    def rows_expected(self) -> int:
        """Number of examples."""
        return self.n

    @property
    def rows_told(self) -> int:
        """Number of examples."""
        return self.n

    @property
    def identity(self) -> str:
        """A hash of all examples of every layer."""
        digest = hashlib.blake2b(digest_size=16)
        for x in self.arrays:
            digest.update(f"{tuple(x.shape)} {x.dtype}".encode())
            for rows in self.slices():
                digest.update(np.ascontiguousarray(on_the_host(x[rows, :])).data)
        return digest.hexdigest()

    def slices(self) -> list[slice]:
        """Rows of each batch; a remainder of less than half a batch is folded into the one before."""
        n, b = self.n, self.batch_size
        starts = list(range(0, n, b))
        if len(starts) > 1 and n - starts[-1] < b / 2:
            starts.pop()
        return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], n], strict=True)]

    def peek(self, visitor: Visitor) -> None:
        """Show examples from all over the arrays, so that no order of them matters."""
        step = -(-self.n // TILE_ROWS)
        for index, x in enumerate(self.arrays):
            visitor.layer(index, x[::step, :])
        visitor.end(slice(0, 0))

    def stream(self, visitor: Visitor, *, start: int = 0, stop: int | None = None, step: int = 1) -> None:
        """Run through the slices with numbers start, start + step, … below stop."""
        for rows in self.slices()[start:stop:step]:
            for index, x in enumerate(self.arrays):
                visitor.layer(index, x[rows, :])
            visitor.end(rows)


class Fitting:
    """Shift and scale of every layer from a few examples, the same in every process that shares the work.

    Args:
        source: Activations.
        kernel: The kernel.
        precision: Of the products.
        sees_first_batch: The caller asks for the layers of the stream's first batch first, and hands them in; where
            these are the examples in question, the source is spared the peek.
        thirds: Whether third-order sums are taken from the same examples; those of a radial kernel wait for its
            bandwidth.
    """

    def __init__(
        self,
        source: Source,
        kernel: Kernel,
        precision: Precision = "auto",
        *,
        sees_first_batch: bool = False,
        thirds: bool = True,
    ) -> None:
        self.names, self.kernel, self.precision = source.names, kernel, precision
        self._thirds = thirds and not isinstance(kernel, RBF | Laplace)
        self._found: dict[int, LayerTiles] = {}
        if not (sees_first_batch and source.peeks_at_first_batch):
            source.peek(self)

    def of(self, index: int, x: Array) -> LayerTiles:
        """The tiles of a layer, of which ``x`` are the activations at hand."""
        if index not in self._found:
            self.layer(index, x)
        return self._found[index]

    def layers(self) -> list[LayerTiles]:
        """The tiles of all layers, once they have been seen."""
        return [self._found[index] for index in range(len(self.names))]

    def layer(self, index: int, x: Array) -> None:
        """Fix those of one layer."""
        with np.errstate(invalid="ignore", over="ignore"):  # the stream itself tells where the first NaN is
            tiles = LayerTiles.fit(self.kernel, native(x), self.precision, self.names[index])
            if self._thirds:
                tiles.take_thirds(tiles.features(some_of(native(x))))
        self._found[index] = tiles

    def end(self, rows: slice) -> None:
        """Nothing."""


def fit_layers(source: Source, kernel: Kernel, precision: Precision = "auto") -> list[LayerTiles]:
    """Shift and scale of every layer, found at once."""
    return Fitting(source, kernel, precision).layers()


def stacked_products(stack: Array) -> Matrix:
    """S Sᵀ (L, L) in float64 for a stack of flattened tiles S (L, m), chunk by chunk."""
    layers, entries = stack.shape
    total = np.zeros((layers, layers))
    for begin in range(0, entries, _PRODUCT_CHUNK):
        part = stack[:, begin : begin + _PRODUCT_CHUNK]
        total += to_numpy(times_transposed(part, part))
    return total


def check_finite(x: Array, name: str, batch: int) -> None:
    """Refuse NaN and infinity; name the layer and the batch."""
    xp = array_api_compat.array_namespace(x)
    # A product with ones reads the memory once and meets every NaN; only an overflow needs the second look.
    with np.errstate(invalid="ignore", over="ignore"):
        total = float(xp.sum(x @ xp.ones((x.shape[1],), dtype=x.dtype, device=array_api_compat.device(x))))
    if math.isfinite(total) or bool(xp.all(xp.isfinite(x))):
        return
    found = "NaN" if bool(xp.any(xp.isnan(x))) else "infinity"
    raise InputError(
        f"compare: the activations of layer {name!r} must be finite, got {found} in batch {batch}. "
        "Look at the model's weights and inputs, or leave this layer out."
    )
