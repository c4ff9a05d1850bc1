"""Which route to the exact value is cheapest, and whether it is worth its price."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from repscope.engine.accumulate import moment_entries
from repscope.engine.bandwidth import BANDWIDTH_EXAMPLES
from repscope.engine.exact import HELD_TILE_ROWS, MOMENT_ROWS
from repscope.engine.products import Precision
from repscope.engine.stream import TILE_ROWS
from repscope.errors import InputError
from repscope.measures.kernels import RBF, Kernel, Laplace, Linear

Pairs: TypeAlias = Literal["all", "batch"]
Route: TypeAlias = Literal["batch", "moments", "memory", "passes"]

_LINEAR = Linear()

AFFORDABLE = 3.0
"""``pairs="auto"`` takes the exact value where it costs at most this many times the forward passes …"""

AFFORDABLE_SECONDS = 2.0
"""… or this long, so that small comparisons do not depend on how fast the machine happens to be."""

KEPT_SHARE = 0.9
"""Of the memory budget that activations may fill where they are kept."""

_SMALLEST_TILE = 128
_SMALLEST_SAMPLE = 256
_TILE_BYTES = 256 << 20
"""Memory for tiles of all layers that is taken without asking, where the budget allows it."""

_DOUBLE = 2.0
"""Time of an operation in double precision over one in single precision."""

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
        batch_size: Examples in a batch; where the activations are in memory, rows of a slice of them.
        tile_rows: Rows of the tiles into which held batches are cut.
        flops: Floating-point operations of the similarity, the symmetric half counted once.
        peak_bytes: Memory needed beyond the models and one batch.
        reason: Why, in one sentence.
        bandwidth_examples: Examples whose distances set the bandwidth of a radial kernel, where there are more.
        precision: Of the products of activations; moments are always double precision.
        kept_bytes: What activations may take that are kept, beside moments, for standard errors; 0: none are kept.
    """

    pairs: Pairs
    route: Route
    passes: int
    held_batches: int
    batch_size: int
    tile_rows: int
    flops: float
    peak_bytes: float
    reason: str
    bandwidth_examples: int = 0
    precision: Precision = "auto"
    kept_bytes: float = 0.0

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
    n: int | None,
    batch_size: int,
    pairs: Literal["auto", "all", "batch"] = "auto",
    kernel: Kernel = _LINEAR,
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
        n: Number of examples (an estimate will do); None where nothing tells it before the data were gone through.
        batch_size: Examples in a batch.
        pairs: What the user asked for.
        kernel: The kernel. Of linear ones products of features can stand for Gram matrices.
        itemsize: Bytes of an activation.
        memory: Budget in bytes.
        in_memory: The activations are arrays in memory already.
        repeatable: The data can be gone through more than once.
        forward_seconds: Estimated time of one pass of forward computation, for ``pairs="auto"``.
        flops_per_second: Rate of the matrix product, for ``pairs="auto"``.

    Raises:
        InputError: The budget is too small for a single tile; the message says how much is needed.
    """
    if not isinstance(kernel, Linear | RBF):
        itemsize = 8  # see LayerTiles.features
    if n is None:
        # As many as could be kept: fewer are, and of more it matters most what they cost.
        n = max(2 * batch_size, int(memory / (2 * itemsize * sum(widths))))
    work = _Work(tuple(widths), n, min(batch_size, n), kernel, itemsize, memory)
    if pairs == "batch":
        return work.batchwise("asked for")
    exact = work.exact(in_memory=in_memory, repeatable=repeatable)
    if pairs == "all" or in_memory or forward_seconds is None or not flops_per_second:
        return exact
    seconds = exact.flops * (_DOUBLE if exact.route == "moments" else 1.0) / flops_per_second
    price = seconds + (exact.passes - 1) * forward_seconds
    if price <= max(AFFORDABLE * forward_seconds, AFFORDABLE_SECONDS):
        return exact
    return work.batchwise(
        f"the exact value would take about {price / forward_seconds:.0f} times the forward passes of {n} examples "
        f"({len(widths)} layers, {sum(widths)} features); pairs='all' computes it"
    )


def shared(plans: Sequence[Plan], widths: Sequence[int], n: int | None) -> Plan | None:
    """The work of several kernels at once on one route in tiles, within the memory of that of one.

    A tile of all layers is there once for each kernel, so tiles are smaller, or fewer batches are held.

    Args:
        plans: Of each kernel.
        widths: Features of each layer.
        n: Examples; None where nobody knows.

    Returns:
        The plan; None where each had better go its own way.
    """
    if len(plans) < 2 or n is None:
        return None
    first, kernels = plans[0], len(plans)
    sampled = max(plan.bandwidth_examples for plan in plans)
    if first.route == "memory":
        rows = max(1, int(first.tile_rows / math.sqrt(kernels)))
        return replace(first, batch_size=rows, tile_rows=rows, bandwidth_examples=sampled)
    rows = max(first.batch_size, first.tile_rows // kernels)
    more = max(0, kernels * rows - first.tile_rows)
    held = min(plan.held_batches for plan in plans) - math.ceil(more * len(widths) / sum(widths))
    if held < 1 or math.ceil(math.ceil(n / first.batch_size) / held) > max(plan.passes for plan in plans):
        return None
    return replace(first, held_batches=held, tile_rows=rows, bandwidth_examples=sampled)


@dataclass(frozen=True)
class _Work:
    """What is to be computed, and how much memory its parts take.

    The formulas follow the arrays that the visitors hold at once; a test holds them to what is measured.
    """

    widths: tuple[int, ...]
    n: int
    batch: int
    kernel: Kernel
    itemsize: int
    memory: float

    @property
    def layers(self) -> int:
        return len(self.widths)

    @property
    def total(self) -> int:
        return sum(self.widths)

    @property
    def vectors(self) -> float:
        """Row sums and diagonals of all layers, and once more while shares are merged."""
        return 32.0 * self.layers * self.n

    def tiles(self, rows: int, columns: int) -> float:
        """One tile of every layer, and what the kernel needs beside its entries."""
        beside = 1 if isinstance(self.kernel, Linear) else 4
        return float(self.itemsize * (self.layers + beside) * rows * columns)

    def features(self, rows: int) -> float:
        """Prepared features of all layers, and those of one on the way."""
        return float(self.itemsize * rows * (self.total + max(self.widths)))

    def _tiling(self, rows: int) -> float:
        """Slices of so many rows, multiplied with each other."""
        if rows < self.n:
            return 2 * self.features(rows) + self.tiles(rows, rows)
        # One slice, and only one half of its symmetric tile.
        return self.features(rows) + self.tiles(rows, rows) - self.itemsize * self.layers * rows * rows / 2

    def sample(self, examples: int) -> float:
        """A sample that sets the bandwidth of a radial kernel, and the distances between its examples in one layer."""
        if not examples:
            return 0.0
        m = min(self.n, examples)
        return self.features(m) + 4.0 * self.itemsize * m * m

    def bandwidth_examples(self, room: float) -> int:
        """Size of that sample: half, or a quarter …, where the whole one does not fit; 0 where none is needed."""
        if not isinstance(self.kernel, RBF | Laplace):
            return 0
        examples = BANDWIDTH_EXAMPLES
        while examples > _SMALLEST_SAMPLE and self.sample(examples) > room:
            examples //= 2
        return examples

    def batchwise(self, reason: str) -> Plan:
        b = self.batch
        peak = self.itemsize * (self.layers * b * (b + 1) / 2 + max(self.widths) * b * 2 + 4 * b * b)
        _check_budget(peak, self.memory, f"one batch of {b} examples and {self.layers} layers")
        flops = self.n * b * self.total + self.n * b * self.layers**2 / 2
        return Plan("batch", "batch", 1, 1, b, b, flops, peak, reason)

    def exact(self, *, in_memory: bool, repeatable: bool) -> Plan:
        n, total = self.n, self.total
        gram_flops = float(n) ** 2 * (total + self.layers**2 / 2)
        moment_flops = float(n) * total**2
        rows = min(n, max(2 * _SMALLEST_TILE, min(TILE_ROWS, total // 4))) if in_memory else self.batch
        moments, stripe = moment_entries(self.widths)
        double = min(rows, MOMENT_ROWS)
        moment_bytes = 8.0 * (moments + stripe) + float(self.itemsize * rows * total) + 16.0 * double * total
        if isinstance(self.kernel, Linear) and _DOUBLE * moment_flops <= gram_flops and moment_bytes <= self.memory:
            reason = f"{total} features in all are few enough for products of features"
            return Plan("all", "moments", 1, 1, rows, rows, moment_flops, moment_bytes, reason)
        kept = 0.0 if in_memory else float(self.itemsize * n * total)
        sampled = self.bandwidth_examples(self.memory - kept)
        tile = self._tile_rows(self.memory - kept)
        peak = kept + max(self._tiling(tile) + self.vectors, self.sample(sampled))
        in_one = max(peak, kept / KEPT_SHARE)
        if in_one <= self.memory:
            reason = (
                "the activations are in memory"
                if in_memory
                else "the activations of all examples fit the memory budget"
            )
            return Plan("all", "memory", 1, 1, tile, tile, gram_flops, peak, reason, sampled)
        if in_memory:
            _check_budget(peak, self.memory, f"one tile of {tile} × {tile} examples and {self.layers} layers")
        return self._passes(gram_flops, kept, in_one, repeatable=repeatable)

    def _passes(self, flops: float, kept: float, in_one: float, *, repeatable: bool) -> Plan:
        """Several passes; ``in_one`` is the memory that one would need."""
        b, one = self.batch, self.features(self.batch)
        rows = min(max(b, HELD_TILE_ROWS), self.n)
        if self.vectors + 2 * one + self.tiles(rows, rows) > self.memory:
            rows = b
        fixed = self.vectors + one + self.tiles(rows, rows)
        sampled = self.bandwidth_examples(self.memory)
        needed = max(fixed + one, self.sample(sampled))
        _check_budget(needed, self.memory, f"one tile of {b} × {b} examples and {self.layers} layers")
        if not repeatable:
            with_work = f", {_gib(in_one)} with what is computed from them," if kept <= self.memory else ""
            raise InputError(
                f"compare: the activations take {_gib(kept)}{with_work} and must fit memory={_gib(self.memory)}, "
                "because the data can be gone through only once (a generator). Pass a DataLoader or arrays, raise "
                "memory=, or use pairs='batch'."
            )
        batches = math.ceil(self.n / b)
        held = min(max(1, int((self.memory - fixed) // one)), batches)
        passes = math.ceil(batches / held)
        reason = f"{_gib(kept)} of activations do not fit, so {held} of {batches} batches are held at a time"
        peak = max(fixed + held * one, self.sample(sampled))
        return Plan("all", "passes", passes, held, b, rows, flops, peak, reason, sampled)

    def _tile_rows(self, room: float) -> int:
        """Rows of a tile: as many as serve the matrix product, and fit."""
        rows = min(self.n, TILE_ROWS)
        room = min(room, max(room / 2, _TILE_BYTES))
        while rows > _SMALLEST_TILE and self._tiling(rows) > room:
            rows = max(_SMALLEST_TILE, rows // 2)
        return math.ceil(self.n / math.ceil(self.n / rows))  # all of one size, so that none is larger


def _check_budget(needed: float, memory: float, what: str) -> None:
    if needed > memory:
        raise InputError(
            f"compare: memory must hold at least {what}, {_gib(needed)}, got {_gib(memory)}. Raise memory=, or use a "
            "smaller batch or fewer layers."
        )


def _gib(size: float) -> str:
    for unit, scale in (("GiB", 2.0**30), ("MiB", 2.0**20)):
        if size >= scale / 2:
            return f"{size / scale:.3g} {unit}"
    return f"{size / 2**10:.3g} KiB"


def memory_budget(memory: int | float | str | None) -> float:
    """A budget in bytes from the user's word: a number of bytes, ``"4GB"``, or None for half of what is free."""
    if memory is None:
        return available_memory() / 2
    if isinstance(memory, str):
        match = re.fullmatch(r"\s*(\d+\.?\d*(?:e\d+)?)\s*([kmgt]?)i?b?\s*", memory.lower())
        if not match:
            raise InputError(f"compare: memory must be a number of bytes or text such as '4GB', got {memory!r}.")
        memory = float(match[1]) * 1024.0 ** " kmgt".index(match[2] or " ")
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
        limit, used = (float((group / name).read_text()) for name in ("memory.max", "memory.current"))
        # Cached files count as used, but go when their memory is wanted.
        cached = re.search(r"^inactive_file (\d+)$", (group / "memory.stat").read_text(), re.MULTILINE)
        limits.append(limit - used + (float(cached[1]) if cached else 0.0))
    return max(min(limits, default=_FALLBACK_MEMORY), 0.0)
