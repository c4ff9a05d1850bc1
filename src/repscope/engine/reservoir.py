"""A random sample of a stream whose length is not known before it has ended."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


class Reservoir:
    """The items with the smallest of random keys; the same ones in whatever order and parts they come.

    Attributes:
        size: Items that are kept.
        keys: Of those that are, in the order of their places.
    """

    def __init__(self, size: int, keys: Keys | None = None) -> None:
        self.size = size
        self.keys: Keys = np.empty(0) if keys is None else keys

    def offer(self, keys: Keys) -> tuple[Places, Places]:
        """Show further items by their keys (b,): which of them are kept, and the places (from 0) that they take."""
        held = self.keys.size
        if held + keys.size <= self.size:
            added, places = np.arange(keys.size), np.arange(held, held + keys.size)
        else:
            bound = np.partition(np.concatenate([self.keys, keys]), self.size - 1)[self.size - 1]
            added = np.flatnonzero(keys <= bound)
            places = np.concatenate([np.flatnonzero(self.keys > bound), np.arange(held, self.size)])
        room = np.empty(max(0, int(places.max(initial=-1)) + 1 - held))
        self.keys = np.concatenate([self.keys, room])
        self.keys[places] = keys[added]
        return added, places
