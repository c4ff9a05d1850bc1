"""Which batches a stream has brought, so that no sums over different data are ever put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from repscope.engine.partial import Arrays, with_prefix, without_prefix

_PREFIX = "data."
"""What the names of these arrays begin with in a partial result."""


@dataclass
class DataLog:
    """The batches of a source that makes them anew on every pass.

    Attributes:
        marks: A hash of the content of each batch, in hexadecimal digits.
        rows: Examples of each.
        complete: Whether these are all batches of the data.
        recalled: Whether they come from a checkpoint.
    """

    marks: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    complete: bool = False
    recalled: bool = False

    def add(self, mark: str, rows: int) -> None:
        """One batch more."""
        self.marks.append(mark)
        self.rows.append(rows)

    def arrays(self) -> Arrays:
        """The log for a partial result, beside its sums."""
        digits = np.frombuffer(bytes.fromhex("".join(self.marks)), dtype=np.uint8)
        found: dict[str, npt.NDArray[Any]] = {"marks": digits, "rows": np.array(self.rows, dtype=np.int64)}
        return with_prefix(_PREFIX, found | {"complete": np.array([self.complete])})

    def recall(self, arrays: Arrays) -> None:
        """Take over what a checkpoint holds; one without a log says nothing."""
        found = without_prefix(_PREFIX, arrays)
        if not found:
            return
        self.rows = [int(count) for count in found["rows"]]
        self.marks = [mark.tobytes().hex() for mark in _split(found["marks"], len(self.rows))]
        self.complete, self.recalled = bool(found["complete"][0]), True


def other_batch(one: Mapping[str, Any], other: Mapping[str, Any]) -> int | None:
    """Number of the first batch in which two partial results differ, as far as both have seen the data; else None."""
    logs = [without_prefix(_PREFIX, arrays) for arrays in (one, other)]
    if not all(logs):
        return None
    counts = [len(log["rows"]) for log in logs]
    first, second = (_split(log["marks"], count) for log, count in zip(logs, counts, strict=True))
    shared = min(counts)
    different = np.flatnonzero(np.any(first[:shared] != second[:shared], axis=1))
    if len(different):
        return int(different[0])
    ends = [count for log, count in zip(logs, counts, strict=True) if log["complete"][0]]
    return shared if ends and max(counts) > min(ends) else None


def _split(digits: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    return digits.reshape(count, -1) if count else digits.reshape(0, 1)
