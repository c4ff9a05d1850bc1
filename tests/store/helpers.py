"""A model, data, and a store of both."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repscope.capture import write_store
from repscope.store import Store


def network(seed: int = 0) -> nn.Sequential:
    """Two layers in the default set: "2" of 144 features and "4" of 5."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 36, 5)
    )


def images(n: int = 100, seed: int = 1) -> Tensor:
    return torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


def capture(path: Path, model: nn.Module | None = None, data: Any = None, **options: Any) -> Store:
    """A store of the network on the images, by default in 7 batches, of which the last has 4."""
    data = images() if data is None else data
    return write_store(model or network(), data, path, **{"batch_size": 16, **options})


def files(path: Path) -> dict[str, str]:
    """Hash of every file below a directory."""
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def flip(file: Path, at: int, bit: int = 0) -> None:
    """Invert one bit of a file."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1 << bit
    file.write_bytes(content)


def interrupted(batches: Iterable[Any], complete: int) -> Iterator[Any]:
    """Batches that end with a Ctrl-C when so many are stored."""
    yield from itertools.islice(batches, complete)
    raise KeyboardInterrupt
