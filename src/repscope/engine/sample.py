"""Some examples of a stream, drawn at random: what the third-order sums of all come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.engine.products import to_numpy
from repscope.engine.reservoir import Keys, Reservoir, placed
from repscope.measures._arrays import Array
from repscope.measures._thirds import THIRDS_EXAMPLES, third_order

Floats = npt.NDArray[np.float64]


class StreamSample:
    """Features of examples drawn from a stream, the layers side by side.

    Which examples follows from the number of the batch, so that processes that share the batches draw the same ones.

    Attributes:
        widths: Features of each layer.
        drawn: Which are kept, by their keys (m,).
        rows: Their features (m, P).
    """

    def __init__(self, widths: Sequence[int], keys: Keys | None = None) -> None:
        self.widths = tuple(widths)
        self.drawn = Reservoir(THIRDS_EXAMPLES, keys)
        self.rows: Floats = np.empty((0, sum(widths)))

    def add(self, number: int, features: Sequence[Array]) -> None:
        """Draw from a batch: its number, and the features (b, p) of each layer."""
        xp = array_api_compat.array_namespace(*features)
        added, places = self.drawn.offer(np.random.default_rng(number).random(features[0].shape[0]))
        if added.size:
            some = xp.asarray(added, device=array_api_compat.device(features[0]))
            rows = np.concatenate([to_numpy(xp.take(x, some, axis=0)) for x in features], axis=1)
            self.rows = placed(self.rows, places, rows)

    def merge(self, other: Self) -> None:
        """Draw from what another process has drawn."""
        added, places = self.drawn.offer(other.drawn.keys)
        self.rows = placed(self.rows, places, other.rows[added])

    def thirds(self) -> Floats:
        """Third-order sums (L, 5) of each layer's products of features."""
        rows, ends = self.rows[np.argsort(self.drawn.keys)], np.cumsum(self.widths)
        parts = [rows[:, end - width : end] for end, width in zip(ends, self.widths, strict=True)]
        return np.array([third_order(part @ part.T) for part in parts])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The sample as plain arrays, to be saved or sent."""
        return {"keys": self.drawn.keys, "rows": self.rows, "widths": np.array(self.widths)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The inverse of :meth:`arrays`."""
        sample = cls([int(width) for width in arrays["widths"]], arrays["keys"])
        sample.rows = arrays["rows"].copy()
        return sample
