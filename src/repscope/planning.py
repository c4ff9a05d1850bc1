"""How the sums of one measure will be computed: the planner, asked about activations that are open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from repscope.engine import distributed
from repscope.engine.plan import KEPT_SHARE, Plan, plan
from repscope.engine.products import Precision, flops_per_second
from repscope.engine.stream import ArraySource
from repscope.facts import kernel_of
from repscope.inference.observer import SAMPLE, expected_bytes
from repscope.measures.measure import ConfiguredMeasure
from repscope.opened import Opened


def planned(
    measure: ConfiguredMeasure, opened: Opened, *, pairs: str, batch_size: int, precision: Precision, errors: bool
) -> Plan:
    """The plan for one measure, the same in every process of the group.

    Args:
        measure: HSIC or CKA.
        opened: The activations.
        pairs: ``"auto"``, ``"all"`` or ``"batch"``.
        batch_size: Examples per batch, where the activations are in memory.
        precision: Of the products.
        errors: Whether activations that sums do without are kept for standard errors, where they fit.
    """
    source: Any = opened.source
    in_memory = isinstance(source, ArraySource)
    n = source.rows_expected
    forward = rate = None
    if pairs == "auto" and not in_memory and source.batches_expected and source.device == "cpu":
        forward, rate = source.forward_seconds * source.batches_expected, flops_per_second()
    chosen = plan(
        widths=source.widths,
        n=n,
        batch_size=batch_size if in_memory else max(1, round(source.examples_per_batch)),
        pairs=pairs,  # type: ignore[arg-type]
        kernel=kernel_of(measure),
        itemsize=source.itemsize,
        memory=opened.memory,
        in_memory=in_memory,
        repeatable=in_memory or not source.one_pass,
        forward_seconds=forward,
        flops_per_second=rate,
    )
    peak = chosen.peak_bytes + expected_bytes(source.widths, n or SAMPLE)
    kept = 0.0
    if chosen.route == "moments" and not in_memory and errors:
        total = sum(source.widths)
        activations = float(source.itemsize) * (n or 0) * total
        # Beside the sums, two square arrays of their size: the moments around the mean, and their squares.
        squares = 16.0 * total**2
        room = min(KEPT_SHARE * opened.memory, opened.memory - peak - squares)
        if activations <= room:
            kept = room
            peak += activations + squares
    # Ranks that cut the data differently would miss tiles or count them twice.
    return distributed.agree(replace(chosen, precision=precision, peak_bytes=peak, kept_bytes=kept))
