"""Standard errors of a comparison's scores, where the activations are at hand once its sums are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from repscope.comparison import Comparison
from repscope.engine.partial import Partial
from repscope.engine.stream import ArraySource
from repscope.engine.threads import one_blas_thread
from repscope.engine.tiles import LayerTiles
from repscope.errors import InputError
from repscope.inference.jackknife import HELD_BYTES, Intervals, form_of, no_intervals, standard_errors
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
    if refusal is not None:
        return _refused(result, intervals, refusal)
    assert opened is not None
    assert tiles is not None
    assert size is not None
    estimator = check_estimator(measure.id, measure.options["estimator"])
    with one_blas_thread():
        room = min(
            HELD_BYTES, (opened.memory - opened.source.n * sum(opened.source.widths) * opened.source.itemsize) / 2
        )
        form = form_of(list(zip(tiles, opened.source.arrays, strict=True)), partials[0], room)
        errors, replicates = standard_errors(form, estimator, normalised=measure.id == "cka", size=size)
    if measure.id == "hsic":
        units = np.array([t.unit for t in tiles])
        errors *= np.outer(units, units)
    rows, columns = axes
    errors = np.where(np.isnan(result.values), np.nan, errors[np.ix_(rows, columns)])
    left_out = "1 example" if size == 1 else f"{size} consecutive examples"
    said = {"intervals": f"jackknife, {left_out} left out at a time", "replicates": replicates}
    return replace(result, standard_errors=errors, conventions={**result.conventions, **said})


def _left_out_together(intervals: Intervals, rows_per_item: float) -> int | None:
    """Examples that are left out together; None where nothing tells which belong together."""
    if not isinstance(intervals, bool | str):
        return intervals
    if rows_per_item == 1.0:
        return 1
    return int(rows_per_item) if rows_per_item.is_integer() else None


def _refused(result: Comparison, intervals: Intervals, reason: str) -> Comparison:
    if intervals != "auto":
        raise InputError(f"compare: intervals={intervals!r} cannot be had: {reason}.")
    return replace(result, conventions={**result.conventions, "intervals": f"none: {reason}"})
