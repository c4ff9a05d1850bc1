"""Standard errors of a comparison's scores, where the activations are at hand once its sums are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from repscope.comparison import Comparison
from repscope.engine import distributed
from repscope.engine.accumulate import Matrix
from repscope.engine.partial import Partial
from repscope.engine.plan import Plan
from repscope.engine.stream import ArraySource
from repscope.engine.threads import one_blas_thread
from repscope.engine.tiles import LayerTiles
from repscope.errors import InputError
from repscope.inference.gram_forms import form_of
from repscope.inference.jackknife import FEWEST_REPLICATES, Intervals, no_intervals, standard_errors
from repscope.measures.kernels import check_estimator
from repscope.measures.measure import ConfiguredMeasure
from repscope.opened import Opened

_MUST_FIT = "the activations of all examples must fit memory=; raise it"
_MUST_FIT_TWICE = "the activations must fit memory= twice; raise it"


def check_errors_possible(asked: tuple[str, str], chosen: Plan, opened: Opened, *, kept: bool) -> None:
    """Refuse standard errors that the plan rules out, before anything is added up.

    Args:
        asked: The argument that demands them, and what was given.
        chosen: The plan.
        opened: The activations.
        kept: Whether activations that sums do without may be kept: in one process, and without a checkpoint.

    Raises:
        InputError: They cannot be had.
    """
    argument, got = asked
    if chosen.pairs == "batch":
        raise InputError(
            f"compare: {argument} must be left out for pairs='batch', got {got}, because only the exact value has "
            "standard errors. Use pairs='all'."
        )
    reason = no_intervals(FEWEST_REPLICATES, 1, whole=distributed.current().count == 1)
    if isinstance(opened.source, ArraySource):
        reason = reason or (_MUST_FIT_TWICE if chosen.route == "memory" and _too_large(opened) else None)
    elif chosen.route == "moments" and not kept:
        reason = reason or "with checkpoint= no activations are kept beside products of features; leave it out"
    elif chosen.route == "passes" or (chosen.route == "moments" and not chosen.kept_bytes):
        reason = reason or _MUST_FIT
    if reason is not None:
        raise InputError(f"compare: {argument}={got} cannot be had: {reason}.")


def _too_large(opened: Opened) -> bool:
    """Whether activations in memory are larger than the budget, which is to hold what is prepared from them."""
    source = opened.source
    return bool(source.n * sum(source.widths) * source.itemsize > opened.memory)


def with_errors(
    measure: ConfiguredMeasure,
    result: Comparison,
    intervals: Intervals,
    opened: Opened | None,
    tiles: Sequence[LayerTiles] | None,
    partials: Sequence[Partial],
    axes: tuple[list[int], list[int]],
    examples: str | None = None,
) -> Comparison:
    """An exact result of HSIC or CKA with its standard errors, or with the reason why there are none.

    Args:
        measure: HSIC or CKA.
        result: Its scores.
        intervals: What was asked for.
        opened: The activations in memory; None where they are not.
        tiles: Of each layer how activations became entries or features in the sums.
        partials: The sums.
        axes: Indices of the layers on the rows and on the columns.
        examples: What the examples are called where the replicates are kept; None: they are not.

    Raises:
        InputError: Standard errors were asked for and cannot be had.
    """
    if intervals is False:
        return result
    size = _left_out_together(intervals, 1.0 if opened is None else opened.rows_per_item)
    refusal = no_intervals(result.n or 0, size, whole=len(partials) == 1)
    if refusal is None and (opened is None or not isinstance(opened.source, ArraySource) or tiles is None):
        refusal = _MUST_FIT
    elif refusal is None and opened is not None and partials[0].route == "tiles" and _too_large(opened):
        refusal = _MUST_FIT_TWICE
    if refusal is None and examples is not None and size is not None and opened is not None:
        needed = 8.0 * ((result.n or 0) // size) * result.values.size
        if needed > opened.memory:
            refusal = (
                f"the replicates take {needed / 1e9:.2g} GB and must fit memory=; choose fewer layers, or "
                "leave out more examples at a time with intervals="
            )
    if refusal is not None:
        return _refused(result, intervals, refusal, kept=examples is not None)
    assert opened is not None
    assert tiles is not None
    assert size is not None
    estimator = check_estimator(measure.id, measure.options["estimator"])
    rows, columns = axes
    parts: list[Matrix] = []
    keep = None if examples is None else lambda found: parts.append(found[:, rows][:, :, columns])
    with one_blas_thread():
        form = form_of(list(zip(tiles, opened.source.arrays, strict=True)), partials[0])
        errors, replicates = standard_errors(form, estimator, normalised=measure.id == "cka", size=size, keep=keep)
    units = np.array([t.unit for t in tiles]) if measure.id == "hsic" else np.ones(len(tiles))
    scale = np.where(np.isnan(result.values), np.nan, np.outer(units[rows], units[columns]))
    errors = scale * errors[np.ix_(rows, columns)]
    left_out = "1 example" if size == 1 else f"{size} consecutive examples"
    said = {"intervals": f"jackknife, {left_out} left out at a time", "replicates": replicates}
    result = replace(result, standard_errors=errors, conventions={**result.conventions, **said})
    if examples is None:
        return result
    details = {**result.details, "examples": examples}
    return replace(result, replicates=scale * np.concatenate(parts), details=details)


def _left_out_together(intervals: Intervals, rows_per_item: float) -> int | None:
    """Examples that are left out together; None where nothing tells which belong together."""
    if not isinstance(intervals, bool | str):
        return intervals
    if rows_per_item == 1.0:
        return 1
    return int(rows_per_item) if rows_per_item.is_integer() else None


def _refused(result: Comparison, intervals: Intervals, reason: str, *, kept: bool) -> Comparison:
    if intervals != "auto":
        asked = "replicates=True" if kept else f"intervals={intervals!r}"
        raise InputError(f"compare: {asked} cannot be had: {reason}.")
    return replace(result, conventions={**result.conventions, "intervals": f"none: {reason}"})
