"""What does significance cost?

    python -m benchmarks.permutations [--permutations 1000] [--examples 2000] [--layers 18] [--rounds 5] [--out FILE]

First a permutation test of 18 × 18 layers at n = 2,000, in seconds of the wall and of the processor; then the chance
level of a comparison against the comparison.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np

import repscope
from benchmarks.tables import Table, parser
from benchmarks.timing import in_turn
from repscope.engine import batchwise, stream
from repscope.inference import moments
from repscope.measures._thirds import unknown_thirds


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
    a, b = layers(count, n, 512, 0), layers(count, n, 512, 1)
    wall, processor = time.perf_counter(), time.process_time()
    repscope.permutation_test(a, b, permutations=given.permutations)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    table.head("permutations", "layers", "n", "seconds", "processor seconds")
    table.row(given.permutations, f"{count} × {count}", n, f"{wall:.1f}", f"{processor:.1f}")
    table.head("compare, p", "options", "without chance levels, s", "with, s", "ratio")
    for width, options in ((512, {}), (64, {}), (512, {"estimator": "biased", "pairs": "batch"})):
        x, y = layers(count, n, width, 0), layers(count, n, width, 1)

        def work(x: Any = x, y: Any = y, options: Any = options) -> None:
            repscope.compare(x, y, **options)

        timings = in_turn({"without": without_null(work), "with": work}, rounds=given.rounds)
        ratio = timings["with"].median / timings["without"].median
        table.row(width, options or "exact", timings["without"], timings["with"], f"{ratio:.3f}")


if __name__ == "__main__":
    main()
