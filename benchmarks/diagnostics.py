"""What do the diagnostics of every layer add to a comparison, in time and in memory?

    python -m benchmarks.diagnostics [--rounds 5] [--cases 5] [--out FILE]

The same comparisons with diagnostics and without, in turn, in one process. Takes a few minutes
on two cores.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

import repscope
from benchmarks.networks import resnet18
from benchmarks.tables import Table, parser
from benchmarks.timing import in_turn
from repscope.inference.observer import expected_bytes


def compared(*subjects: Any, **settings: Any) -> Callable[..., object]:
    def work(diagnostics: bool = True) -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return repscope.compare(*subjects, progress=False, diagnostics=diagnostics, **settings)

    return work


def cases() -> dict[str, tuple[Callable[..., object], list[int], int]]:
    rng = np.random.default_rng(0)
    found = {}
    for layers, n, p in ((18, 1000, 2048), (9, 4000, 4096), (40, 5000, 64)):
        arrays = {f"layer{i}": rng.standard_normal((n, p), np.float32) for i in range(layers)}
        found[f"{layers} arrays of {n} × {p}"] = (compared(arrays), [p] * layers, n)
    model, images = resnet18(0).eval(), torch.randn(512, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    names = resnet18(0).main_layers
    widths = [int(x.shape[1]) for x in repscope.representations(model, images[:2], names).values()]
    for pairs in ("all", "batch"):
        work = compared(model, data=images, layers=names, pairs=pairs, batch_size=128)
        found[f"ResNet-18, 512 images, pairs={pairs!r}"] = (work, widths, 512)
    return found


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--cases", type=int, default=5, help="how many of the cases, in their order")
    given = arguments.parse_args()
    table = Table(given.out)
    table.head("compared", "without, s", "with, s", "ratio", "held, MiB")
    for name, (work, widths, n) in list(cases().items())[: given.cases]:
        times = in_turn({"without": partial(work, diagnostics=False), "with": work}, given.rounds, patience=60.0)
        ratio = times["with"].median / times["without"].median
        memory = expected_bytes(widths, n) / 2**20
        table.row(name, *(f"{times[side].median:.2f}" for side in ("without", "with")), f"{ratio:.3f}", f"{memory:.0f}")


if __name__ == "__main__":
    main()
