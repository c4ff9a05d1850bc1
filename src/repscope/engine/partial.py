"""Work that was divided: over processes, over jobs, over time.

A comparison's sums can be added up by several processes, each on its :class:`Shard` of the work, or by one that is
interrupted and goes on later. What such a process has so far is a :class:`Partial`; partials of all shards merge into
the sums that one process would have got.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from repscope.errors import InputError

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Shard:
    """One of ``count`` equal shares of the work, numbered from 0."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(f"Shard: index must be from 0 to {self.count - 1}, got {self.index} of {self.count}.")

    def owns(self, number: int) -> bool:
        """Whether a batch or block of rows belongs to this share."""
        return number % self.count == self.index


@dataclass(frozen=True)
class Partial:
    """What one process has added up.

    Attributes:
        route: Which sums these are: ``"batch"``, ``"moments"`` or ``"tiles"``.
        shard: The share of the work that the process has.
        done: How many of its batches (or blocks of rows) are in the sums.
        complete: Whether that is all of them.
        arrays: The sums.
    """

    route: str
    shard: Shard
    done: int
    complete: bool
    arrays: Arrays


Checkpoint: TypeAlias = Callable[[Callable[[], Partial]], None]
"""Called after every step with what makes the state, which grows with the steps; writes it somewhere now and then."""


def merge(partials: Sequence[Partial], add: Callable[[Arrays], None]) -> None:
    """Add the sums of all shards, after checking that together they are the whole work.

    Raises:
        InputError: Shards are missing, doubled, unfinished, or of different kinds.
    """
    routes = {p.route for p in partials}
    counts = {p.shard.count for p in partials}
    if len(routes) != 1 or len(counts) != 1:
        raise InputError(
            f"merge: partial results must come from one division of the work, got routes {sorted(routes)} in "
            f"{sorted(counts)} shares. Run all jobs with the same settings."
        )
    (count,) = counts
    present = sorted(p.shard.index for p in partials)
    if present != list(range(count)):
        missing = sorted(set(range(count)) - set(present))
        doubled = sorted({i for i in present if present.count(i) > 1})
        raise InputError(
            f"merge: partial results must be the {count} shares of one job, got shares {[i + 1 for i in present]}"
            + (f", without {[i + 1 for i in missing]}" if missing else "")
            + (f", twice {[i + 1 for i in doubled]}" if doubled else "")
            + "."
        )
    unfinished = [p.shard.index + 1 for p in partials if not p.complete]
    if unfinished:
        raise InputError(f"merge: shares {unfinished} of {count} are not finished. Run their jobs with --resume first.")
    for partial in sorted(partials, key=lambda p: p.shard.index):
        add(partial.arrays)


def with_prefix(prefix: str, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """The arrays under names that begin with ``prefix``."""
    return {f"{prefix}{name}": np.asarray(value) for name, value in arrays.items()}


def without_prefix(prefix: str, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Those arrays whose names begin with ``prefix``, under the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
