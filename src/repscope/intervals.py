"""Standard errors of a comparison's scores, where the activations are at hand once its sums are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from repscope.comparison import Comparison
from repscope.engine.accumulate import Matrix
from repscope.engine.partial import Partial
from repscope.engine.stream import ArraySource
from repscope.engine.threads import one_blas_thread
from repscope.engine.tiles import LayerTiles
from repscope.errors import InputError
from repscope.inference.jackknife import Intervals, form_of, no_intervals, standard_errors
from repscope.measures.kernels import check_estimator
from repscope.measures.measure import ConfiguredMeasure
from repscope.opened import Opened


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
        refusal = "the activations of all examples must fit memory=; raise it"
    elif refusal is None and opened is not None:
        source = opened.source
        if partials[0].route == "tiles" and source.n * sum(source.widths) * source.itemsize > opened.memory:
            refusal = "the activations must fit memory= twice; raise it"
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
