"""Prints what the planner predicts and what is measured, in bytes, for each route. Run by test_plan.py, on Linux.

With the argument ``heap`` the allocator keeps arrays of some MiB in its heap, as it does in a process that has lived
for a while, and gives memory back to the system only from the heap's end.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import repscope
from repscope._allocator import give_back
from repscope.compare import plan_comparison

CASES: dict[str, tuple[dict[str, int], dict[str, Any]]] = {
    "batch": ({"width": 300, "layers": 60, "n": 1400, "batch": 700}, {"pairs": "batch"}),
    "moments": ({"width": 400, "layers": 4, "n": 5000, "batch": 256}, {"pairs": "all"}),
    "moments_alone": (
        {"width": 400, "layers": 4, "n": 5000, "batch": 256},
        {"pairs": "all", "memory": "80MB"},
    ),
    "memory": ({"width": 3000, "layers": 4, "n": 1200, "batch": 100}, {"pairs": "all"}),
    "rbf": ({"width": 3000, "layers": 3, "n": 1200, "batch": 100}, {"pairs": "all", "kernel": "rbf"}),
    "passes": ({"width": 3000, "layers": 4, "n": 1200, "batch": 100}, {"pairs": "all", "memory": "60MB"}),
    "arrays": ({"width": 100, "layers": 60, "n": 1000, "batch": 0}, {"pairs": "all"}),
    "slices": ({"width": 100, "layers": 60, "n": 1100, "batch": 0}, {"pairs": "all"}),
}

IN_HEAP: dict[str, tuple[dict[str, int], dict[str, Any]]] = {
    "memory": ({"width": 12000, "layers": 4, "n": 1200, "batch": 100}, {"pairs": "all"}),
    "rbf": ({"width": 12000, "layers": 3, "n": 1200, "batch": 100}, {"pairs": "all", "kernel": "rbf"}),
    "passes": ({"width": 12000, "layers": 4, "n": 1600, "batch": 100}, {"pairs": "all", "memory": "240MB"}),
}
"""Batches that fit the heap, of layers that don't."""


class Net(nn.Module):
    """A chain of layers that are all recorded, and cost next to nothing."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.LayerNorm(width) for _ in range(layers)])
        generator = torch.Generator().manual_seed(0)
        self.signs = [torch.randn(width, generator=generator).sign() for _ in range(layers)]

    def forward(self, x: Tensor) -> Tensor:
        for layer, sign in zip(self.layers, self.signs, strict=True):
            x = layer((x + sign).relu())
        return x


def status(field: str) -> int:
    """A field of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def arguments(size: dict[str, int]) -> dict[str, Any]:
    """What is compared."""
    if not size["batch"]:
        rng = np.random.default_rng(0)
        shape = (size["n"], size["width"])
        return {"a": {f"layer{i}": rng.standard_normal(shape, np.float32) for i in range(size["layers"])}}
    data = torch.randn(size["n"], size["width"], generator=torch.Generator().manual_seed(0))
    return {"a": Net(size["width"], size["layers"]), "data": data, "batch_size": size["batch"], "layers": "layers.*"}


def main() -> None:
    torch.set_num_threads(1)
    small = {"width": 20, "layers": 3, "n": 100, "batch": 50}
    for options in ({"pairs": "all"}, {"pairs": "batch"}, {"kernel": "rbf"}):
        repscope.compare(**arguments(small), **options)  # loads what is loaded once
    in_heap = sys.argv[1:] == ["heap"]
    if in_heap:
        np.ones(30 << 20, np.uint8)  # once an array of this size is free, smaller ones come from the heap
    for name, (size, options) in (IN_HEAP if in_heap else CASES).items():
        given = arguments(size)
        predicted = plan_comparison(**given, **options).peak_bytes
        give_back()  # what the case before has left in the heap
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        before = status("VmRSS")
        result = repscope.compare(**given, **options)
        print(name, result.conventions["route"], round(predicted), status("VmHWM") - before)


if __name__ == "__main__":
    main()
