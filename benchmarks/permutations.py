"""What does significance cost?

    python -m benchmarks.permutations [--permutations 1000] [--examples 2000] [--layers 18] [--rounds 5] [--out FILE]

First a permutation test of 18 × 18 layers at n = 2,000, in seconds of the wall and of the processor (``--permutations
0`` leaves it out); then the chance level of a comparison against the comparison; then the jackknife against it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

import repscope
from benchmarks.tables import Table, parser
from benchmarks.timing import Timing, in_turn
from repscope.engine import batchwise, stream
from repscope.inference import moments
from repscope.measures._thirds import unknown_thirds

CASES: list[tuple[int, dict[str, Any]]] = [
    (512, {}),
    (64, {}),
    (512, {"kernel": repscope.RBF(0.4)}),
    (512, {"estimator": "biased", "pairs": "batch"}),
]
"""Widths of the layers and options; the last is the minibatch estimate, which has no intervals."""


def layers(count: int, n: int, width: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"layer{i}": rng.standard_normal((n, width), dtype=np.float32) for i in range(count)}


def without_null(work: Callable[[], Any]) -> Callable[[], Any]:
    """The same with nothing computed for the null: no third-order sums, no moments, no tails."""

    def bare() -> None:
        no_thirds = mock.patch.object(stream.LayerTiles, "take_thirds", return_value=None)
        no_tail = mock.patch.object(moments, "pearson_upper_tail", lambda z, s: z)
        with no_thirds, no_tail, mock.patch.object(batchwise, "third_order", return_value=unknown_thirds()):
            work()

    return bare


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--permutations", type=int, default=1000)
    arguments.add_argument("--examples", type=int, default=2000)
    arguments.add_argument("--layers", type=int, default=18)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    warnings.simplefilter("ignore")
    n, count, table = given.examples, given.layers, Table(given.out)
    if given.permutations:
        a, b = layers(count, n, 512, 0), layers(count, n, 512, 1)
        wall, processor = time.perf_counter(), time.process_time()
        repscope.permutation_test(a, b, permutations=given.permutations)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        table.head("permutations", "layers", "n", "seconds", "processor seconds")
        table.row(given.permutations, f"{count} × {count}", n, f"{wall:.1f}", f"{processor:.1f}")
    table.head("compare, p", "options", "without chance levels, s", "with, s", "ratio")
    for width, options in CASES:
        compared = partial(repscope.compare, layers(count, n, width, 0), layers(count, n, width, 1), **options)
        work = partial(compared, intervals=False)
        timings = in_turn({"without": without_null(work), "with": work}, rounds=given.rounds)
        table.row(width, options or "exact", *_compared(timings))
    table.head("compare, p", "options", "without intervals, s", "with, s", "ratio")
    for width, options in CASES[:-1]:
        compared = partial(repscope.compare, layers(count, n, width, 0), layers(count, n, width, 1), **options)
        sides = {name: partial(compared, intervals=name == "with") for name in ("without", "with")}
        table.row(width, options or "exact", *_compared(in_turn(sides, rounds=given.rounds)))


def _compared(timings: Mapping[str, Timing]) -> tuple[object, ...]:
    return timings["without"], timings["with"], f"{timings['with'].median / timings['without'].median:.3f}"


if __name__ == "__main__":
    main()
