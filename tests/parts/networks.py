"""Two small networks and their data, made the same way in every process of a test."""

from __future__ import annotations

import torch


def network(seed: int) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(12, 40), torch.nn.ReLU(), torch.nn.Linear(40, 30), torch.nn.ReLU(), torch.nn.Linear(30, 5)
    )
    for parameter in model.parameters():
        parameter.data.normal_(generator=generator)
    return model


def images(n: int = 203) -> torch.Tensor:
    return torch.randn(n, 12, generator=torch.Generator().manual_seed(7))
