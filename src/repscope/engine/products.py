"""Matrix products on the fastest route this machine offers.

On some processors one library's product runs at half the rate of another's on the same memory, so the first large
product on the CPU measures numpy's and torch's once and the winner is kept for the process.
"""

from __future__ import annotations

import sys
import time
from functools import cache
from typing import Any, Literal

import array_api_compat
import numpy as np

from repscope.measures._arrays import Array

Route = Literal["numpy", "torch"]

_WORTH_MEASURING = 1 << 26
"""Multiplications below which the choice of route does not matter."""

_SAMPLE = (384, 4096)


def times_transposed(a: Array, b: Array) -> Array:
    """A bᵀ for (m, p) and (k, p); symmetric products (``b is a``) take half the work where the library knows how."""
    if not isinstance(a, np.ndarray):
        return a @ b.T
    if a.shape[0] * a.shape[1] * b.shape[0] < _WORTH_MEASURING or fastest_route(b is a) == "numpy":
        return a @ b.T
    import torch

    return (torch.from_numpy(a) @ torch.from_numpy(b).T).numpy()


def fastest_route(symmetric: bool) -> Route:
    """Which library multiplies single-precision matrices faster on this machine's CPU."""
    if "torch" not in sys.modules:
        return "numpy"
    seconds = _seconds(symmetric)
    return min(seconds, key=lambda route: seconds[route])


def flops_per_second() -> float:
    """Rate of the fastest single-precision product on the CPU, in floating-point operations per second."""
    rows, columns = _SAMPLE
    return 2.0 * rows * rows * columns / min(_seconds(False).values())


@cache
def _seconds(symmetric: bool) -> dict[Route, float]:
    """Time of one product on each route, measured once per process (some 50 ms)."""
    import torch

    a = np.random.default_rng(0).standard_normal(_SAMPLE, dtype=np.float32)
    b = a if symmetric else a.copy()
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    return {"numpy": _best_of(3, lambda: a @ b.T), "torch": _best_of(3, lambda: ta @ tb.T)}


def _best_of(repeats: int, work: Any) -> float:
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def native(x: Array) -> Array:
    """The array as the engine works on it: on the CPU a numpy view of the same memory, half precision as single."""
    if array_api_compat.is_torch_array(x):
        import torch

        x = x.detach()
        if x.dtype not in (torch.float32, torch.float64):
            x = x.float() if x.dtype.is_floating_point else x.double()
        return x.numpy() if x.device.type == "cpu" else x
    if array_api_compat.is_cupy_array(x):
        return x
    x = np.asarray(x)
    if x.dtype not in (np.float32, np.float64):
        # The bfloat16 of JAX is of no kind that numpy knows.
        return x.astype(np.float32 if x.dtype.itemsize == 2 and x.dtype.kind in "fV" else np.float64)
    return x


def to_numpy(x: Array) -> Any:
    """A small result as a float64 numpy array, from any device."""
    if array_api_compat.is_torch_array(x):
        return x.detach().cpu().double().numpy()  # in this order: some devices have no double precision
    if array_api_compat.is_cupy_array(x):
        x = x.get()
    return np.asarray(x, dtype=np.float64)
