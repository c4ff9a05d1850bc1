"""The counterpart of each layer: the one on the other axis that is most alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from repscope.comparison import Comparison


@dataclass(frozen=True)
class Match:
    """One layer and its best counterpart; the counterpart is None where every score is NaN.

    Attributes:
        row: layer on the rows.
        column: layer on the columns.
        value: their score; NaN without a counterpart.
        row_model: model of ``row``.
        column_model: model of ``column``.
    """

    row: str | None
    column: str | None
    value: float
    row_model: str | None
    column_model: str | None

    def __repr__(self) -> str:
        if self.row is None or self.column is None:
            return f"Match({self.row_model or self.column_model}: {self.row or self.column} has no match)"
        return f"Match({self.row_model}: {self.row} ~ {self.column_model}: {self.column}, {self.value:.4g})"


def best_matches(comparison: Comparison, axis: Literal["rows", "columns"]) -> list[Match]:
    """For each layer of one axis its counterpart, in execution order; of equal scores the first wins."""
    scores = comparison.values if axis == "rows" else comparison.values.T
    if comparison.kind == "distance":
        scores = -scores
    matches = []
    for i, line in enumerate(scores):
        defined = np.flatnonzero(~np.isnan(line))
        j = int(defined[np.argmax(line[defined])]) if defined.size else None
        matches.append(_match(comparison, i, j) if axis == "rows" else _match(comparison, j, i))
    return matches


def _match(comparison: Comparison, i: int | None, j: int | None) -> Match:
    return Match(
        row=None if i is None else comparison.row_layers[i],
        column=None if j is None else comparison.column_layers[j],
        value=math.nan if i is None or j is None else float(comparison.values[i, j]),
        row_model=None if i is None else comparison.row_models[i],
        column_model=None if j is None else comparison.column_models[j],
    )
