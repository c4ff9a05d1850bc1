"""Some examples of a stream, drawn at random: what the third-order sums of all come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.engine.products import to_numpy
from repscope.measures._arrays import Array
from repscope.measures._thirds import THIRDS_EXAMPLES, third_order

Floats = npt.NDArray[np.float64]


class StreamSample:
    """Features of the examples with the smallest of random keys, the layers side by side.

    The keys follow from the number of the batch, so that processes that share the batches draw the same examples.

    Attributes:
        widths: Features of each layer.
        keys: Of the examples that are kept (m,).
        rows: Their features (m, P).
    """

    def __init__(self, widths: Sequence[int]) -> None:
        self.widths = tuple(widths)
        self.keys: Floats = np.empty(0)
        self.rows: Floats = np.empty((0, sum(widths)))

    def add(self, number: int, features: Sequence[Array]) -> None:
        """Draw from a batch: its number, and the features (b, p) of each layer."""
        xp = array_api_compat.array_namespace(*features)
        keys = np.random.default_rng(number).random(features[0].shape[0])
        full = self.keys.size == THIRDS_EXAMPLES
        some = np.flatnonzero(keys < self.keys.max()) if full else np.arange(keys.size)
        some = some[np.argsort(keys[some])[:THIRDS_EXAMPLES]]
        if some.size:
            places = xp.asarray(some, device=array_api_compat.device(features[0]))
            rows = np.concatenate([to_numpy(xp.take(x, places, axis=0)) for x in features], axis=1)
            self._keep(keys[some], rows)

    def merge(self, other: Self) -> None:
        """Draw from what another process has drawn."""
        self._keep(other.keys, other.rows)

    def thirds(self) -> Floats:
        """Third-order sums (L, 5) of each layer's products of features."""
        ends = np.cumsum(self.widths)
        parts = [self.rows[:, end - width : end] for end, width in zip(ends, self.widths, strict=True)]
        return np.array([third_order(part @ part.T) for part in parts])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The sample as plain arrays, to be saved or sent."""
        return {"keys": self.keys, "rows": self.rows, "widths": np.array(self.widths)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The inverse of :meth:`arrays`."""
        sample = cls([int(width) for width in arrays["widths"]])
        sample.keys, sample.rows = arrays["keys"], arrays["rows"]
        return sample

    def _keep(self, keys: Floats, rows: Floats) -> None:
        keys, rows = np.concatenate([self.keys, keys]), np.concatenate([self.rows, rows])
        smallest = np.argsort(keys)[:THIRDS_EXAMPLES]
        self.keys, self.rows = keys[smallest], rows[smallest]
