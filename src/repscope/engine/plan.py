"""Which route to the exact value is cheapest, and whether it is worth its price."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from repscope.engine.products import Precision
from repscope.engine.stream import TILE_ROWS
from repscope.errors import InputError

Pairs: TypeAlias = Literal["all", "batch"]
Route: TypeAlias = Literal["batch", "moments", "memory", "passes"]

AFFORDABLE = 3.0
"""``pairs="auto"`` takes the exact value where it costs at most this many times the forward passes."""

_FALLBACK_MEMORY = 4 << 30


@dataclass(frozen=True)
class Plan:
    """How a comparison of Gram matrices will be computed.

    Attributes:
        pairs: ``"all"`` pairs of examples (exact) or pairs within a ``"batch"`` (an estimate).
        route: ``"batch"``: one pass, tiles on the diagonal only. ``"moments"``: one pass, products of features.
            ``"memory"``: one pass, activations kept, tiles afterwards. ``"passes"``: one pass per block of rows held.
        passes: Passes over the data.
        held_batches: Batches held at a time on the ``"passes"`` route.
        flops: Floating-point operations of the similarity, the symmetric half counted once.
        peak_bytes: Memory needed beyond the models and one batch.
        reason: Why, in one sentence.
        precision: Of the products of activations; moments are always double precision.
    """

    pairs: Pairs
    route: Route
    passes: int
    held_batches: int
    flops: float
    peak_bytes: float
    reason: str
    precision: Precision = "auto"

    def explain(self) -> str:
        """The plan in a few lines, for people."""
        return (
            f"route    {self.route} (pairs={self.pairs!r}): {self.reason}\n"
            f"passes   {self.passes} over the data\n"
            f"work     {self.flops / 1e9:.3g} GFLOP for the similarity\n"
            f"memory   {self.peak_bytes / 2**20:.4g} MiB beyond the models and one batch"
        )


def plan(
    *,
    widths: Sequence[int],
    n: int,
    batch_size: int,
    pairs: Literal["auto", "all", "batch"] = "auto",
    linear: bool = True,
    itemsize: int = 4,
    memory: float,
    in_memory: bool = False,
    repeatable: bool = True,
    forward_seconds: float | None = None,
    flops_per_second: float | None = None,
) -> Plan:
    """Choose the route for HSIC or CKA of all pairs of layers.

    Args:
        widths: Features of each layer.
        n: Number of examples (an estimate will do).
        batch_size: Examples in a batch.
        pairs: What the user asked for.
        linear: Whether the kernel is linear, so that products of features can stand for Gram matrices.
        itemsize: Bytes of an activation.
        memory: Budget in bytes.
        in_memory: The activations are arrays in memory already.
        repeatable: The data can be gone through more than once.
        forward_seconds: Estimated time of one pass of forward computation, for ``pairs="auto"``.
        flops_per_second: Rate of the matrix product, for ``pairs="auto"``.

    Raises:
        InputError: The budget is too small for a single tile; the message says how much is needed.
    """
    layers, total = len(widths), sum(widths)
    if pairs == "batch":
        return _batch_plan(widths, n, batch_size, itemsize, memory, "asked for")
    exact = _exact_plan(widths, n, batch_size, linear, itemsize, memory, in_memory, repeatable)
    if pairs == "all" or in_memory or forward_seconds is None or not flops_per_second:
        return exact
    price = exact.flops / flops_per_second + (exact.passes - 1) * forward_seconds
    if price <= AFFORDABLE * forward_seconds:
        return exact
    reason = (
        f"the exact value would take about {price / forward_seconds:.0f} times the forward passes of {n} examples "
        f"({layers} layers, {total} features); pairs='all' computes it"
    )
    return _batch_plan(widths, n, batch_size, itemsize, memory, reason)


def _batch_plan(widths: Sequence[int], n: int, batch_size: int, itemsize: int, memory: float, reason: str) -> Plan:
    layers, b = len(widths), batch_size
    peak = itemsize * (layers * b * (b + 1) + max(widths) * b * 2 + 4 * b * b)
    _check_budget(peak, memory, f"one batch of {b} examples and {layers} layers")
    flops = n * b * sum(widths) + n * b * layers**2 / 2
    return Plan("batch", "batch", 1, 1, flops, peak, reason)


def _exact_plan(
    widths: Sequence[int],
    n: int,
    batch_size: int,
    linear: bool,
    itemsize: int,
    memory: float,
    in_memory: bool,
    repeatable: bool,
) -> Plan:
    layers, total = len(widths), sum(widths)
    tile = min(n, TILE_ROWS)
    gram_flops = n**2 * total + n**2 * layers**2 / 2
    tile_bytes = itemsize * (layers * tile**2 * 2 + 2 * tile * total)
    vectors = 16 * layers * n
    moment_flops = n * total**2
    moment_bytes = 8 * total**2 * 2 + itemsize * (total**2 + 3 * batch_size * total)
    if linear and moment_flops <= gram_flops and moment_bytes <= memory:
        reason = f"{total} features in all are few enough for products of features"
        return Plan("all", "moments", 1, 1, moment_flops, moment_bytes, reason)
    kept = 0 if in_memory else itemsize * n * total + itemsize * n * max(widths)
    if kept + tile_bytes + vectors <= memory or in_memory:
        reason = (
            "the activations are in memory" if in_memory else "the activations of all examples fit the memory budget"
        )
        return Plan("all", "memory", 1, 1, gram_flops, kept + tile_bytes + vectors, reason)
    per_batch = itemsize * batch_size * (total + layers * batch_size * 2)
    fixed = vectors + itemsize * layers * min(tile, batch_size) ** 2 * 2 + itemsize * batch_size * max(widths) * 2
    _check_budget(fixed + per_batch, memory, f"one tile of {batch_size} × {batch_size} examples and {layers} layers")
    if not repeatable:
        raise InputError(
            f"compare: the activations take {_gib(kept)} and must fit memory={_gib(memory)}, because the data can be "
            "gone through only once (a generator). Pass a DataLoader or arrays, raise memory=, or use pairs='batch'."
        )
    held = max(1, int((memory - fixed) // per_batch))
    batches = math.ceil(n / batch_size)
    passes = math.ceil(batches / held)
    reason = f"{_gib(kept)} of activations do not fit, so {held} of {batches} batches are held at a time"
    return Plan("all", "passes", passes, held, gram_flops, fixed + held * per_batch, reason)


def _check_budget(needed: float, memory: float, what: str) -> None:
    if needed > memory:
        raise InputError(
            f"compare: memory must hold at least {what}, {_gib(needed)}, got {_gib(memory)}. Raise memory=, or use a "
            "smaller batch or fewer layers."
        )


def _gib(size: float) -> str:
    return f"{size / 2**30:.3g} GiB" if size >= 2**29 else f"{size / 2**20:.3g} MiB"


def memory_budget(memory: int | float | str | None) -> float:
    """A budget in bytes from the user's word: a number of bytes, ``"4GB"``, or None for half of what is free."""
    if memory is None:
        return available_memory() / 2
    if isinstance(memory, str):
        match = re.fullmatch(r"\s*([\d.]+)\s*([kmgt]?)i?b?\s*", memory.lower())
        if not match:
            raise InputError(f"compare: memory must be a number of bytes or text such as '4GB', got {memory!r}.")
        return float(match[1]) * 1024.0 ** " kmgt".index(match[2] or " ")
    if not memory > 0:
        raise InputError(f"compare: memory must be positive, got {memory}.")
    return float(memory)


def available_memory() -> float:
    """Bytes that this process may still take: the machine's free memory, or less where a control group says so."""
    limits = []
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
        if found:
            limits.append(float(found[1]) * 1024)
    elif hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        limits.append(float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # no control group, or "max"
        limits.append(float((group / "memory.max").read_text()) - float((group / "memory.current").read_text()))
    return max(min(limits, default=_FALLBACK_MEMORY), 0.0)
