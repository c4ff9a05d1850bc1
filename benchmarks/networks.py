"""A ResNet-18 for 32 × 32 images, written out so that the benchmarks need no model zoo."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        widths = [64, 64, 128, 128, 256, 256, 512, 512]
        strides = [1, 1, 2, 1, 2, 1, 2, 1]
        inputs = [64, *widths[:-1]]
        self.blocks = nn.ModuleList(Block(*shape) for shape in zip(inputs, widths, strides, strict=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(512, 10)

    @property
    def main_layers(self) -> list[str]:
        """The stem, the first half and the output of each block, and the pooled features: 18 layers."""
        halves = [f"blocks.{i}.{part}" for i in range(8) for part in ("relu1", "relu2")]
        return ["stem.2", *halves, "pool"]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(x).flatten(1))


def resnet18(seed: int) -> ResNet18:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ResNet18()
