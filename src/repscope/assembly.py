"""From sums to a :class:`Comparison`: normalised scores, labels, and every warning once."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from repscope.comparison import Comparison
from repscope.engine.accumulate import Matrix
from repscope.engine.partial import Partial
from repscope.engine.run import GramScores, finish
from repscope.errors import DataOrderWarning, DegenerateInputWarning, InputError, RepscopeWarning
from repscope.measures.kernels import check_estimator


def from_partials(facts: Mapping[str, Any], partials: Sequence[Partial]) -> Comparison:
    """The comparison that the partial results of all shares make together."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = assemble(facts, partials)
    return with_warnings(result, caught)


def assemble(facts: Mapping[str, Any], partials: Sequence[Partial]) -> Comparison:
    """As :func:`from_partials`, with the warnings left to the caller."""
    comparison, names = facts["comparison"], facts["names"]
    conventions = dict(comparison["conventions"])
    estimator = check_estimator("compare", conventions["estimator"])
    scores = finish(partials, estimator, names)
    check_count(scores.n, facts["minimum_examples"])
    if scores.ordered:
        _warn_ordered(scores.ordered)
    if scores.batches is not None:
        conventions["batches"] = scores.batches
    if isinstance(conventions.get("bandwidth_examples"), int):
        conventions["bandwidth_examples"] = min(conventions["bandwidth_examples"], scores.n)
    values = _hsic(scores) if comparison["measure"] == "hsic" else _cka(scores.hsic, names)
    values = values[np.ix_(facts["rows"], facts["columns"])]
    return Comparison(values=values, **{**comparison, "conventions": conventions, "n": scores.n})


def _hsic(scores: GramScores) -> Matrix:
    values: Matrix = scores.hsic * np.outer(scores.units, scores.units)
    return values


def with_warnings(result: Comparison, caught: Iterable[warnings.WarningMessage]) -> Comparison:
    """Give the warnings once, to the line that called repscope, and keep them in the result."""
    messages = _summarise(caught)
    for text, category in messages:
        warnings.warn(text, category, stacklevel=_levels_to_caller())
    return replace(result, warnings=tuple(text for text, _ in messages))


def _levels_to_caller() -> int:
    """Stack levels from :func:`with_warnings` up to the first frame outside of this package."""
    package = os.path.dirname(__file__)
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and os.path.dirname(frame.f_code.co_filename) == package:
        frame, level = frame.f_back, level + 1
    return level


class PairWarning(RepscopeWarning):
    """A warning about one pair of layers, on its way to a summary of all of them."""

    def __init__(self, text: str, pair: str, category: type[Warning]) -> None:
        super().__init__(text)
        self.text, self.pair, self.category = text, pair, category


def _summarise(caught: Iterable[warnings.WarningMessage]) -> list[tuple[str, type[Warning]]]:
    """Each kind of warning once: the first in full, with the number of pairs it holds for."""
    pairs: dict[type[Warning], list[PairWarning]] = {}
    messages: dict[tuple[str, type[Warning]], None] = {}
    for warning in caught:
        if isinstance(warning.message, PairWarning):
            pairs.setdefault(warning.message.category, []).append(warning.message)
        else:
            messages[str(warning.message), warning.category] = None
    for category, found in pairs.items():
        more = f" The same holds for {len(found) - 1} more pairs." if len(found) > 1 else ""
        messages[f"{found[0].pair}: {found[0].text}{more}", category] = None
    return list(messages)


def _cka(hsic: Matrix, names: Sequence[str]) -> Matrix:
    """HSIC of all pairs normalised by its diagonal; NaN with a warning for layers without any variation."""
    self_products = np.diag(hsic).copy()
    nothing = ~(self_products > 0)
    if nothing.any():
        constant = ", ".join(repr(names[i]) for i in np.flatnonzero(nothing).tolist())
        warnings.warn(
            f"cka: all examples are equal, or equally far apart, in layer {constant} (0/0). Its scores are NaN.",
            DegenerateInputWarning,
            stacklevel=2,
        )
    self_products[nothing] = math.nan
    roots = np.sqrt(self_products)
    values: Matrix = hsic / np.outer(roots, roots)
    return values


def check_count(n: int, minimum: int) -> None:
    """Refuse fewer examples than the estimator is defined for."""
    if n < minimum:
        raise InputError(f"compare: data must hold at least {minimum} examples for this estimator, got {n}.")


def _warn_ordered(names: Sequence[str]) -> None:
    shown = ", ".join(repr(name) for name in names[:3]) + (" …" if len(names) > 3 else "")
    warnings.warn(
        f"compare: the examples come in an order (batch means of {len(names)} layers drift more than chance: {shown}), "
        "so the minibatch estimate is wrong. Shuffle the data, or use pairs='all'.",
        DataOrderWarning,
        stacklevel=2,
    )
