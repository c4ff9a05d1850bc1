"""Small networks and data for the tests of compare, and a counter of forward passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Net(nn.Module):
    """Layers registered in another order than they run, with an in-place ReLU."""

    def __init__(self, seed: int = 0, width: int = 12) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.head = nn.Linear(width, 3)
        self.second = nn.Linear(2 * width, width)
        self.first = nn.Linear(10, 2 * width)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.counts = {"passes": 0, "examples": 0}  # a number of its own would be put back after the trial run

    @property
    def passes(self) -> int:
        return self.counts["passes"]

    @property
    def examples(self) -> int:
        return self.counts["examples"]

    @examples.setter
    def examples(self, count: int) -> None:
        self.counts["examples"] = count

    def forward(self, x: Tensor) -> Tensor:
        self.counts["passes"] += 1
        self.examples += len(x)
        x = self.act(self.first(x))
        return self.head(self.drop(self.act(self.second(x))))


ORDER = ["act#0", "act#1", "head"]
"""The default layers: a weighted layer stands with the activation function behind it."""

ALL = ["first", "act#0", "second", "act#1", "head"]


def inputs(n: int = 64, seed: int = 0) -> Tensor:
    return torch.randn(n, 10, generator=torch.Generator().manual_seed(seed))


def class_sorted(n: int = 240, classes: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centers = 3 * torch.randn(classes, 10, generator=generator)
    return centers.repeat_interleave(n // classes, 0) + torch.randn(n, 10, generator=generator)


def generator_of(x: Tensor, size: int) -> Iterator[Tensor]:
    yield from x.split(size)


class Shuffled:
    """Batches in another order on every pass."""

    def __init__(self, x: Tensor, size: int) -> None:
        self.x, self.size = x, size
        self.generator = torch.Generator().manual_seed(7)

    def __len__(self) -> int:
        return -(-len(self.x) // self.size)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.randperm(len(self.x), generator=self.generator)
        yield from self.x[order].split(self.size)


def layers_of(n: int = 50, seed: int = 0, dtype: Any = np.float64) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n, 4))
    return {
        f"layer{i}": (latent @ rng.standard_normal((4, p)) + rng.standard_normal((n, p))).astype(dtype)
        for i, p in enumerate((5, 9, 6))
    }
