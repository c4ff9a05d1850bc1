"""Matrix products on the fastest route this machine offers.

On some processors one library's product runs at half the rate of another's on the same memory, and two thread pools in
one process can slow each other tenfold, so the first large product on the CPU measures numpy's and torch's as they will
be used, between operations of torch, and the winner is kept for the process.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import array_api_compat
import numpy as np

from repscope.errors import InputError
from repscope.measures._arrays import Array, widest_float

Route = Literal["numpy", "torch"]

Precision: TypeAlias = Literal["auto", "float32", "float64", "bfloat16", "tf32"]
"""Of the products of activations: their own (``"auto"``), or another; sums are always double precision."""

_WORTH_MEASURING = 1 << 24
"""Multiplications below which the choice of route does not matter."""

_SAMPLE = (256, 8192)
"""Shape of the matrix whose products are measured: a batch of a middling layer."""

_ROW_BLOCKS = 2
"""Blocks of rows in which torch's symmetric product is computed; three quarters of the full product's work."""


def check_precision(precision: str) -> Precision:
    """Return ``precision``, or say which ones exist."""
    if precision not in get_args(Precision):
        raise InputError(f"compare: precision must be one of {', '.join(get_args(Precision))}, got {precision!r}.")
    return precision  # type: ignore[return-value]


def in_precision(x: Array, precision: Precision) -> Array:
    """Features in the type that their products are to be computed from."""
    if precision in ("auto", "tf32", "bfloat16"):
        return x
    xp = array_api_compat.array_namespace(x)
    return xp.astype(x, xp.float64 if precision == "float64" else xp.float32, copy=False)


def product_in(a: Array, b: Array, precision: Precision) -> Array:
    """Product a bᵀ, for (m, p) and (k, p), in a precision of one's choice."""
    if precision == "bfloat16":
        return _bfloat16_product(a, b)
    if precision == "tf32":
        return _tf32_product(a, b)
    return times_transposed(a, b)


def _bfloat16_product(a: Array, b: Array) -> Array:
    if isinstance(a, np.ndarray):
        return _bfloat16_product(_tensor(a), _tensor(b)).numpy()
    return (a.bfloat16() @ b.bfloat16().T).float()


def _tf32_product(a: Array, b: Array) -> Array:
    if isinstance(a, np.ndarray) or a.device.type != "cuda":
        raise InputError("compare: precision 'tf32' must be used on an NVIDIA GPU, got activations on the CPU.")
    import torch

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        return a @ b.T
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def times_transposed(a: Array, b: Array) -> Array:
    """Product a bᵀ for (m, p) and (k, p); a symmetric one (``b is a``) leaves out most of the mirror image's work."""
    if not isinstance(a, np.ndarray):
        return _torch_symmetric(a) if b is a and array_api_compat.is_torch_array(a) else a @ b.T
    if a.shape[0] * a.shape[1] * b.shape[0] < _WORTH_MEASURING or fastest_route() == "numpy":
        return a @ b.T
    return _torch_product(a, b)


def _torch_product(a: Any, b: Any) -> Any:
    if b is a:
        return _torch_symmetric(_tensor(a)).numpy()
    return (_tensor(a) @ _tensor(b).T).numpy()


def _tensor(a: Any) -> Any:
    """A tensor on the same memory; of read-only arrays a copy, because torch cannot mark its memory so."""
    import torch

    return torch.from_numpy(a if a.flags.writeable else a.copy())


def _torch_symmetric(a: Any) -> Any:
    """Product a aᵀ in blocks of rows, each from the diagonal on, then mirrored."""
    m = a.shape[0]
    if m < 16 * _ROW_BLOCKS:
        return a @ a.T
    # Few large products: with many small ones, threads wait for each other wherever a machine is shared.
    product = a.new_empty((m, m))
    edges = [m * i // _ROW_BLOCKS for i in range(_ROW_BLOCKS + 1)]
    for begin, end in pairwise(edges):
        product[begin:end, begin:] = a[begin:end] @ a[begin:].T
        product[end:, begin:end] = product[begin:end, end:].T
    return product


def fastest_route() -> Route:
    """Which library multiplies faster on this machine's CPU, in the company it will have."""
    if "torch" not in sys.modules:
        return "numpy"
    seconds = _seconds()
    return min(seconds, key=lambda route: seconds[route])


def flops_per_second() -> float:
    """Rate of a single-precision symmetric product on the CPU, its mirror image counted, in operations per second."""
    rows, columns = _SAMPLE
    return 2.0 * rows * rows * columns / min(_seconds().values())


@cache
def _seconds() -> dict[Route, float]:
    """Median time of one symmetric product on each route, measured once per process (some 100 ms)."""
    import torch

    a = np.random.default_rng(0).standard_normal(_SAMPLE, dtype=np.float32)
    tensor = torch.from_numpy(a)

    def median(work: Callable[[], object]) -> float:
        times = []
        for repeat in range(6):
            torch.relu(tensor)  # its threads still wait for more when the product begins, as after a forward pass
            start = time.perf_counter()
            work()
            if repeat:  # the first is for warming up
                times.append(time.perf_counter() - start)
        return statistics.median(times)

    return {"numpy": median(lambda: a @ a.T), "torch": median(lambda: _torch_symmetric(tensor))}


def native(x: Array) -> Array:
    """The array as the engine works on it: promoted, and on the CPU a numpy view of the same memory."""
    x = promoted(x)
    if array_api_compat.is_torch_array(x):
        return x.numpy() if x.device.type == "cpu" else x
    return x if array_api_compat.is_cupy_array(x) else np.asarray(x)


def promoted(x: Array) -> Array:
    """The array in its own library with half precision as single, and what is no float as double."""
    if array_api_compat.is_torch_array(x):
        import torch

        x = x.detach()
        if x.dtype in (torch.float32, torch.float64):
            return x
        return x.float() if x.dtype.is_floating_point else x.double()
    if str(x.dtype) in ("float32", "float64"):
        return x
    xp = array_api_compat.array_namespace(x)
    return xp.astype(x, xp.float32 if str(x.dtype) in ("float16", "bfloat16") else widest_float(xp, x))


def to_numpy(x: Array) -> Any:
    """A small result as a float64 numpy array, from any device."""
    if array_api_compat.is_torch_array(x):
        return x.detach().cpu().double().numpy()  # in this order: some devices have no double precision
    if array_api_compat.is_cupy_array(x):
        x = x.get()
    return np.asarray(x, dtype=np.float64)
