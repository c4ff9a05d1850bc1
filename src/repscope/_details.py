"""Scores among the details of a comparison, which belong to its layers as the values do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PER_RUN = "without_dominant_rows"
"""Holds what was found on all examples of one run; the mean of several runs has none."""

_SCORES = ((PER_RUN, "linear_cka"), ("within", "values"))
"""Where tables (rows, columns) stand: by themselves, or in a mapping of names to them."""


def part(details: Mapping[str, Any], rows: Sequence[int], columns: Sequence[int]) -> dict[str, Any]:
    """The details of these rows and columns; all that is no table of scores stays as it is."""
    found = dict(details)
    for name, key in _SCORES:
        if isinstance(known := found.get(name), Mapping) and key in known:
            found[name] = {**known, key: _taken(known[key], rows, columns)}
    return found


def _taken(scores: Any, rows: Sequence[int], columns: Sequence[int]) -> Any:
    if isinstance(scores, Mapping):
        return {name: _taken(table, rows, columns) for name, table in scores.items()}
    return [[scores[i][j] for j in columns] for i in rows]
