"""Small networks trained on handwritten digits, for the scripts of the gallery."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from repscope.studies.digits import load_digits
from repscope.studies.networks import tiny10
from repscope.studies.training import train


@cache
def digits() -> torch.Tensor:
    """Some of the images, (900, 1, 12, 12)."""
    return torch.from_numpy(load_digits(12)[0][:900])


@cache
def network(seed: int, width: int = 6, epochs: int = 3) -> nn.Module:
    """A network with eight convolutions, trained from the given seed; 0 epochs leave it untrained."""
    model = tiny10(width=width, in_channels=1, seed=seed)
    if epochs:
        train(model, *load_digits(12), epochs=epochs, seed=seed)
    return model.eval()
