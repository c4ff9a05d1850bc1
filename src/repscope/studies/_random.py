"""Randomness that depends on a seed and leaves no trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

_CPU = torch.device("cpu")


@contextlib.contextmanager
def random_state(seed: int | None, device: torch.device = _CPU) -> Iterator[None]:
    """Draw from ``seed`` inside the block and restore PyTorch's global random state after it.

    Args:
        seed: Seed of the CPU's generator, and of the device's if that is a GPU; None leaves both alone.
        device: Where the work in the block happens.
    """
    if seed is None:
        yield
        return
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus, device_type="cuda"):
        # Not torch.manual_seed: it would also reseed every GPU, and fork_rng restores the listed ones only.
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            torch.cuda.get_rng_state(gpu)  # creates the generators
            index = torch.cuda.current_device() if gpu.index is None else gpu.index
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
