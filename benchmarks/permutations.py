"""What does significance cost? ``python -m benchmarks.permutations``.

First a permutation test of 18 × 18 layers at n = 2,000; then the chance level of a comparison against the comparison.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np

import repscope
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--examples", type=int, default=2000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    n, count = arguments.examples, arguments.permutations
    a, b = layers(18, n, 512, 0), layers(18, n, 512, 1)
    start = time.perf_counter()
    repscope.permutation_test(a, b, permutations=count)
    print(f"{count} permutations of 18 × 18 layers, n = {n}: {time.perf_counter() - start:.1f} s")
    for width, options in ((512, {}), (64, {}), (512, {"estimator": "biased", "pairs": "batch"})):
        x, y = layers(18, n, width, 0), layers(18, n, width, 1)

        def work(x: Any = x, y: Any = y, options: Any = options) -> None:
            repscope.compare(x, y, **options)

        timings = in_turn({"without": without_null(work), "with": work}, rounds=5)
        ratio = timings["with"].median / timings["without"].median
        print(f"compare, p = {width}, {options or 'exact'}: {ratio:.3f} ×")
        print(f"    without {timings['without']}, with {timings['with']}")


if __name__ == "__main__":
    main()
