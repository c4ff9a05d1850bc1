"""Fair timing: the sides in turn, A B A B, in one process; ratios of medians; peak memory from a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Seconds of each round, in order."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        return f"{self.median:8.3f} s  ({min(self.seconds):.3f}–{max(self.seconds):.3f})"


def in_turn(sides: Mapping[str, Callable[[], object]], rounds: int = 3, patience: float = 15.0) -> dict[str, Timing]:
    """Run every side once to warm up, then all in turn, ``rounds`` times; slower ones than ``patience`` once only."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    slow: set[str] = set()
    for name, work in sides.items():
        start = time.perf_counter()
        work()
        if time.perf_counter() - start > patience:
            seconds[name].append(time.perf_counter() - start)
            slow.add(name)
    for _ in range(rounds):
        for name, work in sides.items():
            if name in slow:
                continue
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def peak_memory(setup: Callable[[], Callable[[], object]]) -> float:
    """MiB by which the work raises the peak of a process that has made its inputs (``setup`` returns the work)."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def run() -> None:
        work = setup()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        work()
        sender.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)

    process = context.Process(target=run)
    process.start()
    process.join()
    return float(receiver.recv()) if receiver.poll() else float("nan")


def product_rate(rows: int, columns: int, rounds: int = 5) -> float:
    """FLOP per second of the fastest single-precision product (rows, columns) × its transpose, full result counted."""
    import torch

    a = np.random.default_rng(0).standard_normal((rows, columns), dtype=np.float32)
    b = a.copy()
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    timings = in_turn({"numpy": lambda: a @ b.T, "torch": lambda: ta @ tb.T}, rounds)
    return 2.0 * rows * rows * columns / min(min(t.seconds) for t in timings.values())
