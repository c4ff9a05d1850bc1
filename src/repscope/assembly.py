"""From sums to a :class:`Comparison`: normalised scores, labels, and every warning once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from repscope.comparison import Comparison
from repscope.engine.accumulate import Matrix
from repscope.engine.partial import Partial, without_prefix
from repscope.engine.run import GramScores, finish
from repscope.errors import DataOrderWarning, DegenerateInputWarning, InputError, RepscopeWarning
from repscope.inference.alarms import dominant_rows, warn_of
from repscope.inference.diagnostics import facts as facts_of_layers
from repscope.inference.moments import Null, hsic_null
from repscope.inference.observer import Observer
from repscope.inference.spectrum import cka_without
from repscope.measures._messages import warn
from repscope.measures.kernels import check_estimator
from repscope.too_few import warn_of_few_examples

OBSERVER = "observer."
"""What the names of an observer's arrays begin with in a partial result."""

Caught: TypeAlias = "list[warnings.WarningMessage]"


def from_partials(facts: Mapping[str, Any], partials: Sequence[Partial]) -> Comparison:
    """The comparison that the partial results of all shares make together."""
    with recorded() as caught:
        result = assemble(facts, partials)
    observer = observed(partials, facts["names"])
    with recorded() as shared:
        (result,) = with_diagnostics([result], observer, [(facts["rows"], facts["columns"])])
        warn_of_few_examples(result)
    (result,) = with_warnings([result], shared, [caught])
    if "batches" in result.conventions:
        return result
    why = "none: the jackknife needs all activations, and shares hold sums"
    return replace(result, conventions={**result.conventions, "intervals": why})


def observed(partials: Sequence[Partial], names: Sequence[str]) -> Observer | None:
    """What the processes have seen together, from their partial results; None where these hold nothing of the kind."""
    merged: Observer | None = None
    for partial in sorted(partials, key=lambda p: p.shard.index):
        arrays = without_prefix(OBSERVER, partial.arrays)
        if not arrays:
            return None
        one = Observer.from_arrays(arrays, names, partial.shard)
        if merged is None:
            merged = one
        else:
            merged.merge(one)
    return merged


def with_diagnostics(
    results: Sequence[Comparison], observer: Observer | None, axes: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> list[Comparison]:
    """The results with the facts of each layer, after warnings of those that matter.

    Where a few examples dominate a layer, ``details["without_dominant_rows"]`` holds their rows and the linear CKA of
    all pairs of layers without them, with the number of sampled examples that it comes from.

    Args:
        results: Of the same layers.
        observer: What was seen of them; None where nobody looked, and the results stay as they are.
        axes: Indices of the layers on the rows and on the columns of each result.
    """
    if observer is None:
        return list(results)
    found = facts_of_layers(observer)
    without, left_out, used = None, dominant_rows(found), 0
    if left_out:
        without, used = cka_without(observer, left_out)
    warn_of(observer.names, found, without)
    told = []
    for result, (rows, columns) in zip(results, axes, strict=True):
        known: dict[str, dict[str, Any]] = {}
        for models, layers, indices in (
            (result.row_models, result.row_layers, rows),
            (result.column_models, result.column_layers, columns),
        ):
            for model, layer, index in zip(models, layers, indices, strict=True):
                known.setdefault(model, {})[layer] = dict(vars(found[index]))
        details = dict(result.details)
        if without is not None:
            part = [[None if np.isnan(v) else float(v) for v in row] for row in without[np.ix_(rows, columns)]]
            details["without_dominant_rows"] = {"rows": left_out, "examples": used, "linear_cka": part}
        told.append(replace(result, diagnostics=known, details=details))
    return told


def assemble(facts: Mapping[str, Any], partials: Sequence[Partial]) -> Comparison:
    """As :func:`from_partials`, with the warnings left to the caller."""
    comparison, names = facts["comparison"], facts["names"]
    conventions = dict(comparison["conventions"])
    estimator = check_estimator("compare", conventions["estimator"])
    scores = finish(partials, estimator, names, facts["itemsize"])
    check_count(scores.n, facts["minimum_examples"])
    if scores.ordered:
        _warn_ordered(scores.ordered)
    if scores.batches is not None:
        conventions["batches"] = scores.batches
    if isinstance(conventions.get("bandwidth_examples"), int):
        sampled = scores.n > conventions["bandwidth_examples"]
        conventions["bandwidth_examples"] = min(conventions["bandwidth_examples"], scores.n)
        comparison = {**comparison, "seeds": comparison["seeds"] if sampled else {}}
    null = hsic_null(scores, estimator)
    if comparison["measure"] == "hsic":
        values, null = _hsic(scores, names), null.divided(1 / np.outer(scores.units, scores.units))
    else:
        values, null = _cka(scores, names), null.divided(_norms(scores))
    rows, columns = facts["rows"], facts["columns"]
    values, null = values[np.ix_(rows, columns)], null.take(rows, columns)
    conventions["null"] = describe_null(null, in_batches=scores.batches is not None)
    known = {**comparison, "conventions": conventions, "n": scores.n}
    return Comparison(values=values, **known, **statistics(null, values))


def describe_null(null: Null | None, *, in_batches: bool = False) -> str:
    """What the null is, in a few words for the conventions."""
    if null is None:
        return "no closed form"
    found = "permutations of the examples" + (" within each batch" if in_batches else "")
    if null.has_p_values:
        return found
    lacking = "too few examples for p values" if math.isnan(null.smallest) else "p values from permutation_test"
    return f"{found}; {lacking}"


def statistics(null: Null, values: Matrix) -> dict[str, Any]:
    """A null as the fields of a :class:`Comparison` with these values (rows, columns); NaN where these are NaN."""
    undefined = np.isnan(values)
    found = {"null_mean": null.mean, "null_sd": null.sd}
    if null.has_p_values or math.isnan(null.smallest):
        found["p_values"] = null.p_values(values)
    return {name: np.where(undefined, np.nan, array) for name, array in found.items()}


@contextmanager
def recorded() -> Iterator[Caught]:
    """Keep the warnings given inside, whatever the filters say, for :func:`with_warnings`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def with_warnings(results: Sequence[Comparison], shared: Caught, own: Sequence[Caught]) -> list[Comparison]:
    """Give each warning once, to the line that called repscope, and keep it in the results that it is about.

    Args:
        results: The results.
        shared: Warnings about all of them.
        own: Warnings about each.
    """
    for warning in [*shared, *(w for caught in own for w in caught)]:
        if not isinstance(warning.message, RepscopeWarning):  # of the caller's model, for example
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    found = [_summarise([*shared, *caught]) for caught in own]
    for text, category in dict.fromkeys(message for messages in found for message in messages):
        warn(text, category)
    return [
        replace(result, warnings=tuple(text for text, _ in messages))
        for result, messages in zip(results, found, strict=True)
    ]


class _About(RepscopeWarning):
    """A warning about a layer or a pair of layers, on its way to a summary of all of them."""

    def __init__(self, text: str, what: str, category: type[RepscopeWarning]) -> None:
        super().__init__(text)
        self.text, self.what, self.category = text, what, category


@contextmanager
def about(what: str) -> Iterator[None]:
    """Say of the warnings given inside which layer or pair of layers they are about."""
    with recorded() as caught:
        yield
    for warning in caught:
        if isinstance(warning.message, RepscopeWarning):
            message = _About(str(warning.message), what, type(warning.message))
            warnings.warn(message, stacklevel=2)
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _summarise(caught: Caught) -> list[tuple[str, type[RepscopeWarning]]]:
    """Each kind of warning once: the first in full, with the number of pairs it holds for."""
    kinds: dict[type[RepscopeWarning], list[_About]] = {}
    messages: dict[tuple[str, type[RepscopeWarning]], None] = {}
    for warning in caught:
        if isinstance(warning.message, _About):
            kinds.setdefault(warning.message.category, []).append(warning.message)
        elif isinstance(warning.message, RepscopeWarning):
            messages[str(warning.message), type(warning.message)] = None
    for category, found in kinds.items():
        more = f" The same holds for {len(found) - 1} more pairs." if len(found) > 1 else ""
        messages[f"{found[0].what}: {found[0].text}{more}", category] = None
    return list(messages)


def _hsic(scores: GramScores, names: Sequence[str]) -> Matrix:
    """HSIC of all pairs in units of the activations; NaN with a warning for layers without a bandwidth."""
    _warn_undefined("hsic", np.isnan(np.diag(scores.hsic)), names)
    values: Matrix = scores.hsic * np.outer(scores.units, scores.units)
    return values


def _cka(scores: GramScores, names: Sequence[str]) -> Matrix:
    """HSIC of all pairs normalised by its diagonal; NaN with a warning for layers without any variation."""
    _warn_undefined("cka", scores.vanishing, names)
    values: Matrix = scores.hsic / _norms(scores)
    return values


def _norms(scores: GramScores) -> Matrix:
    """√(HSIC(K, K) HSIC(L, L)) of each pair (L, L); NaN for layers without any variation."""
    roots = np.sqrt(np.where(scores.vanishing, math.nan, np.diag(scores.hsic)))
    return np.outer(roots, roots)


def _warn_undefined(measure: str, undefined: npt.NDArray[np.bool_], names: Sequence[str]) -> None:
    if not undefined.any():
        return
    layers = ", ".join(repr(names[i]) for i in np.flatnonzero(undefined).tolist())
    warn(
        f"{measure}: the examples must differ in layer {layers}, but are all equal, or alike to this kernel (0/0). Its "
        "scores are NaN. Leave it out, or look for dead units.",
        DegenerateInputWarning,
    )


def check_count(n: int, minimum: int) -> None:
    """Refuse fewer examples than the estimator is defined for."""
    if n < minimum:
        raise InputError(f"compare: data must hold at least {minimum} examples for this estimator, got {n}.")


def _warn_ordered(names: Sequence[str]) -> None:
    shown = ", ".join(repr(name) for name in names[:3]) + (" …" if len(names) > 3 else "")
    warn(
        f"compare: the examples come in an order (batch means of {len(names)} layers drift more than chance: {shown}), "
        "so the minibatch estimate is wrong. Shuffle the data, or use pairs='all'.",
        DataOrderWarning,
    )
