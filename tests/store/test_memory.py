from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from repscope import compare
from tests.store.helpers import capture


class Fan(nn.Module):
    """Two wide layers of one input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(16, width), nn.Linear(16, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(x).sum() + self.two(x).tanh().sum()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs the peak of a process's memory")
def test_a_store_larger_than_the_memory_is_compared_within_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = torch.randn(1600, 16)
    store = capture(tmp_path / "s", Fan(16000), data, batch_size=64)
    size = sum(store.n * layer.features * 4 for layer in store.layers)
    assert size > 195 * 2**20
    # Free memory goes back to the system at once, so that the peak is what was held.
    done = subprocess.run(
        [sys.executable, "-m", "tests.store.streamed", str(store.path), "60MB"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "MALLOC_TRIM_THRESHOLD_": "1000000", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["route"] == "passes"
    assert found["growth"] < 66 * 2**20
    assert not found["torch"], "reading needs no torch"
    arrays = {name: store.read(name) for name in store.names}
    np.testing.assert_allclose(found["value"], compare(arrays).values[0, 1], rtol=1e-5)
