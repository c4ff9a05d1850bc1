"""Examples of one layer that come batch by batch and are wanted in one array."""

from __future__ import annotations

from typing import Any, TypeAlias

import array_api_compat
import numpy as np

Array: TypeAlias = Any
"""Of numpy, torch or another library, (n, p)."""

_GROWTH = 1.25
"""Factor by which the room grows where more examples come than were expected: no more than a plan may be out by."""


class Rows:
    """Rows of one layer, written to their place in one array as they come.

    Batches that are kept apart and joined at the end take twice the memory: what the allocator holds of many middling
    arrays goes back to the system only when the last of them is free. Room that nothing is written to takes none.

    Args:
        expected: How many rows will come, 0 where that is not known; more may, and fewer.
    """

    def __init__(self, expected: int = 0) -> None:
        self._expected = expected
        self._all: Array = None
        self._given: Array = None
        self._filled = 0

    def room(self, like: Array) -> Array:
        """The place of the next rows, as many and as wide as ``like``, to be computed there and then appended."""
        end = self._filled + like.shape[0]
        self._reach(end, like)
        self._given = self._all[self._filled : end, :]
        return self._given

    def append(self, x: Array) -> None:
        """Add rows (b, p); those that were written to the :meth:`room` lie in their place."""
        end = self._filled + x.shape[0]
        if x is not self._given:
            if not self._filled:
                self._all = None  # whatever room was made may be for another type
            self._reach(end, x)
            self._all[self._filled : end, :] = x
        self._given, self._filled = None, end

    def put(self, x: Array, places: Any) -> None:
        """Write rows to these places, of rows there are or next to them."""
        if not places.size:
            return
        end = max(self._filled, int(places.max()) + 1)
        self._reach(end, x)
        self._all[array_api_compat.array_namespace(x).asarray(places, device=array_api_compat.device(x)), :] = x
        self._filled = end

    def take(self) -> Array:
        """All rows (n, p), given away."""
        rows, self._all, self._given = self._all, None, None
        filled, self._filled = self._filled, 0
        if isinstance(rows, np.ndarray) or filled == rows.shape[0]:
            return rows[:filled, :]
        # On a GPU room is taken whether it is used or not, and a saved tensor takes all of it along.
        return array_api_compat.array_namespace(rows).asarray(rows[:filled, :], copy=True)

    def _reach(self, end: int, x: Array) -> None:
        """Make room for rows up to ``end``, of the kind of ``x``."""
        if self._all is not None and end <= self._all.shape[0]:
            return
        before = self._all
        size = max(end, self._expected) if before is None else max(end, int(_GROWTH * before.shape[0]))
        xp = array_api_compat.array_namespace(x)
        self._all = xp.empty((size, x.shape[1]), dtype=x.dtype, device=array_api_compat.device(x))
        if before is not None:
            self._all[: self._filled, :] = before[: self._filled, :]
