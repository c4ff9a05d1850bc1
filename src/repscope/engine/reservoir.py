"""A random sample of a stream whose length is not known before it has ended."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


class Reservoir:
    """The items with the smallest of random keys; the same ones in whatever order and parts they come.

    Attributes:
        size: Items that are kept.
        keys: Of those that are, in the order of their places.
        bound: Items with larger keys are passed over, so that fewer are kept for a while only.
    """

    def __init__(self, size: int, keys: Keys | None = None, bound: float = 1.0) -> None:
        self.size, self.bound = size, bound
        self.keys: Keys = np.empty(0) if keys is None else keys

    def offer(self, keys: Keys) -> tuple[Places, Places]:
        """Show further items by their keys (b,), uniform between 0 and 1.

        Returns:
            Which of them are kept, and the places (from 0) that they take.
        """
        candidates = np.flatnonzero(keys <= self.bound)
        added, places = self._best(keys[candidates])
        return candidates[added], places

    def _best(self, keys: Keys) -> tuple[Places, Places]:
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


def placed(held: npt.NDArray[Any], places: Places, new: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``held`` with the new rows at these places, enlarged where they lie behind its end."""
    short = int(places.max(initial=-1)) + 1 - len(held)
    if short > 0:
        held = np.concatenate([held, np.empty((short, *held.shape[1:]), held.dtype)])
    held[places] = new
    return held
