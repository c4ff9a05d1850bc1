"""Matrix products on the fastest route this machine offers.

On some processors one library's product runs at half the rate of another's on the same memory, and what is fastest
depends on the shape, and on what ran just before. So the first large products of every shape on the CPU are done on
each route in turn and timed, and from then on the one that was fastest of late is taken:

- ``"numpy"``: numpy's product with the threads of its own library,
- ``"slices"``: slices of the columns, each multiplied by numpy on one thread, which leaves no threads waiting,
- ``"torch"``: torch's product,
- ``"blocks"``: torch's product, a symmetric one in two blocks of rows.
"""

from __future__ import annotations

import operator
import statistics
import sys
import time
from collections import deque
from collections.abc import Mapping
from functools import cache, reduce
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import array_api_compat
import numpy as np

from repscope.engine.threads import can_limit_blas, cores, one_blas_thread, pool
from repscope.errors import InputError
from repscope.measures._arrays import Array, widest_float
from repscope.measures._arrays import to_numpy as to_numpy

Route = Literal["numpy", "slices", "torch", "blocks"]

Precision: TypeAlias = Literal["auto", "float32", "float64", "bfloat16", "tf32"]
"""Of the products of activations: their own (``"auto"``), or another; sums are always double precision."""

_WORTH_MEASURING = 1 << 24
"""Multiplications below which the choice of route does not matter."""

_SAMPLE = (256, 8192)
"""Shape of the matrix whose product tells the rate: a batch of a middling layer."""

_TRIES = 2
"""Products of one kind on each route before one is chosen; a single one may have been disturbed."""

_REMEMBERED = 5
"""Of the last products on a route, the median time counts."""

_LEAST_COLUMNS = _LEAST_ROWS = 128
"""Of a slice; smaller ones cost more to put together than they save."""

_SLICE_COLUMNS = 8192
"""Of a slice of many columns: few enough that threads end together, and that its rows stay near in memory."""

_SLICES_A_THREAD = 2
"""At least, so that a thread that was held up leaves the rest to the others."""

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
    size = a.shape[0] * a.shape[1] * b.shape[0]
    if size < _WORTH_MEASURING:
        return a @ b.T
    trials = _trials(a.shape[0].bit_length(), a.shape[1].bit_length(), b.shape[0].bit_length(), b is a, a.dtype)
    route = _next_route(trials)
    start = time.perf_counter()
    product = _on_route(route, a, b)
    trials[route].append((time.perf_counter() - start) / size)
    return product


Trials: TypeAlias = "dict[Route, deque[float]]"


@cache
def _trials(*kind: object) -> Trials:
    """Seconds per multiplication that the last products of one kind took on each route that this process has."""
    routes: list[Route] = ["torch", "blocks"] if "torch" in sys.modules else []
    routes.append("slices" if can_limit_blas() and cores() > 1 else "numpy")
    return {route: deque(maxlen=_REMEMBERED) for route in routes}


def _next_route(trials: Trials) -> Route:
    """The route that has been tried least; of those that have been tried enough, the one that was fastest of late."""
    open_routes = [route for route, times in trials.items() if len(times) < _TRIES]
    if open_routes:
        return min(open_routes, key=lambda route: len(trials[route]))
    return min(trials, key=lambda route: statistics.median(trials[route]))


def _on_route(route: Route, a: Any, b: Any) -> Any:
    """Product a bᵀ of numpy arrays (m, p) and (k, p)."""
    if route in ("torch", "blocks"):
        left = _tensor(a)
        if b is a:
            return (_torch_symmetric(left) if route == "blocks" else left @ left.T).numpy()
        return (left @ _tensor(b).T).numpy()
    return _in_slices(a, b) if route == "slices" else a @ b.T


def _in_slices(a: Any, b: Any) -> Any:
    """Product a bᵀ on one thread for each core; half the work is left out of a symmetric one."""
    m, p = a.shape
    with one_blas_thread():
        if p >= max(m, _LEAST_COLUMNS * cores()):
            return _by_columns(a, b, cores())
        return _by_rows(a, b, cores()) if m >= _LEAST_ROWS * cores() else a @ b.T


def _by_columns(a: Any, b: Any, threads: int) -> Any:
    """The sum of products of slices of the columns; numpy halves the work of symmetric ones by itself."""
    p = a.shape[1]
    slices = max(min(_SLICES_A_THREAD * threads, p // _LEAST_COLUMNS), p // _SLICE_COLUMNS)
    ahead = iter([slice(p * i // slices, p * (i + 1) // slices) for i in range(slices)])

    def product(columns: slice) -> Any:
        left = a[:, columns]
        return left @ (left.T if b is a else b[:, columns].T)

    def total() -> Any:
        """Of the slices that no other thread has taken."""
        return reduce(operator.iadd, map(product, ahead), 0)

    others = [pool(threads - 1).submit(total) for _ in range(threads - 1)]
    return sum((other.result() for other in others), start=total())


def _by_rows(a: Any, b: Any, parts: int) -> Any:
    """Blocks of rows of the result, of a symmetric one from the diagonal on; for results larger than ``a``."""
    edges = list(pairwise(a.shape[0] * i // (4 * parts) for i in range(4 * parts + 1)))
    result = np.empty((a.shape[0], b.shape[0]), dtype=np.result_type(a, b))

    def fill(begin: int, end: int) -> None:
        first = begin if b is a else 0
        np.matmul(a[begin:end], b[first:].T, out=result[begin:end, first:])

    def mirror(begin: int, end: int) -> None:
        result[begin:end, :begin] = result[:begin, begin:end].T

    list(pool(parts).map(lambda edge: fill(*edge), edges))
    if b is a:
        list(pool(parts).map(lambda edge: mirror(*edge), edges))
    return result


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


def flops_per_second() -> float:
    """Rate of a single-precision symmetric product on the CPU, its mirror image counted, in operations per second."""
    return max(route_rates().values())


@cache
def route_rates() -> Mapping[Route, float]:
    """The same on each route that this process has: the best of three products of a middling layer."""
    rows, columns = _SAMPLE
    a = np.random.default_rng(0).standard_normal(_SAMPLE, dtype=np.float32)
    rates: dict[Route, float] = {}
    for route in _trials("sample"):
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            _on_route(route, a, a)
            seconds.append(time.perf_counter() - start)
        rates[route] = 2.0 * rows * rows * columns / min(seconds)
    return rates


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
