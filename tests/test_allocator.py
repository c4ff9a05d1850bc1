from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from repscope import _allocator
from repscope._allocator import WORTH_GIVING_BACK, give_back

IN_HOLES = """
from pathlib import Path
import numpy as np
from repscope._allocator import give_back

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

np.ones(30 << 20, np.uint8)  # once an array of this size is free, smaller ones come from the heap
before = resident()
arrays = [np.ones(4 << 20, np.uint8) for _ in range(40)]
del arrays[:-1]  # all but what lies at the end of the heap
held = resident()
give_back()
print(before, held, resident(), arrays[0].sum())
"""


@pytest.fixture
def fresh() -> Iterator[None]:
    _allocator._trim.cache_clear()
    yield
    _allocator._trim.cache_clear()


@pytest.mark.skipif(_allocator._trim() is None, reason="needs the GNU allocator")
def test_holes_in_the_heap_go_back_to_the_system() -> None:
    run = subprocess.run([sys.executable, "-c", IN_HOLES], capture_output=True, text=True, check=True)
    before, held, after, kept = map(float, run.stdout.split())
    assert held - before > 150  # MiB: without it all of them stay
    assert after - before < 15  # the one that is kept, and pages in part
    assert kept == 4 << 20


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    monkeypatch.setattr(_allocator.ctypes, "CDLL", lambda _: object())  # without malloc_trim
    give_back()
    assert _allocator._trim() is None


def test_a_stream_gives_back_after_large_batches_only(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    import repscope

    calls: list[None] = []
    monkeypatch.setattr("repscope.sources.give_back", lambda: calls.append(None))
    wide = torch.nn.Sequential(torch.nn.Linear(4, 1 << 19, bias=False), torch.nn.ReLU())
    data = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))

    def run(batch_size: int) -> int:
        calls.clear()
        repscope.compare(
            wide, data=data, batch_size=batch_size, layers=["1"], pairs="batch", diagnostics=False, intervals=False
        )
        return len(calls)

    bytes_of_one = 4 * (1 << 19)
    assert 12 * bytes_of_one < WORTH_GIVING_BACK <= 24 * bytes_of_one
    assert run(batch_size=24) == 1
    assert run(batch_size=12) == 0
