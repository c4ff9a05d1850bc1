"""Fair timing: the sides in turn, A B A B, in one process; ratios of medians; peak memory from a process of its own."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import resource
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

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


def in_turn(
    sides: Mapping[str, Callable[[], object]],
    rounds: int = 3,
    patience: float = 15.0,
    *,
    pause: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Run every side once to warm up, then all in turn, ``rounds`` times; slower ones than ``patience`` once only.

    A pause before each lets the threads of the one before come to rest. ``time.process_time`` as the clock counts the
    processor's time, which other work on the machine does not lengthen.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    slow: set[str] = set()
    for name, work in sides.items():
        start = clock()
        work()
        if (took := clock() - start) > patience:
            seconds[name].append(took)
            slow.add(name)
    for _ in range(rounds):
        for name, work in sides.items():
            if name in slow:
                continue
            time.sleep(pause)
            start = clock()
            work()
            seconds[name].append(clock() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


@dataclass(frozen=True)
class Apart:
    """One run in a process of its own: the peak above what it held before, why it was stopped, if it was, and how long
    it took, if it was not."""

    mebibytes: float
    stopped: str = ""
    seconds: float = float("nan")


def measured_apart(
    prepare: Callable[..., Callable[[], object]], arguments: tuple[object, ...], *, seconds: float, mebibytes: float
) -> Apart:
    """Run ``prepare(*arguments)()`` in a fresh process, and stop it when it takes more time or memory than this."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run_apart, args=(sender, prepare, arguments), daemon=True)
    process.start()
    sender.close()
    try:
        before = receiver.recv()  # the data are made
        end = time.monotonic() + seconds
        while not receiver.poll(0.05):
            above = _status(process.pid, "VmRSS") - before
            if above > mebibytes:
                return Apart(above, f"stopped at {mebibytes / 1024:.0f} GiB")
            if time.monotonic() > end:
                return Apart(above, f"stopped at {seconds:.0f} s")
        peak, took = receiver.recv()
        return Apart(peak - before, seconds=took)
    except EOFError:
        return Apart(float("nan"), "failed")
    finally:
        process.kill()
        process.join()


def _run_apart(
    sender: multiprocessing.connection.Connection,
    prepare: Callable[..., Callable[[], object]],
    arguments: tuple[object],
) -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    work = prepare(*arguments)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts again from here
    sender.send(_status("self", "VmRSS"))
    start = time.perf_counter()
    work()
    took = time.perf_counter() - start
    sender.send((_status("self", "VmHWM"), took))
    time.sleep(1.0)


def _leave_with_parent() -> None:
    """A parent that is killed cannot stop its children."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _status(process: object, field: str) -> float:
    """MiB that Linux reports of a process."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return float("nan")


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
    timings = in_turn({"numpy": lambda: a @ b.T, "torch": lambda: ta @ tb.T}, rounds, pause=0.1)
    return 2.0 * rows * rows * columns / min(min(t.seconds) for t in timings.values())
