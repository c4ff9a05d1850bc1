"""Threads of this process for work on numpy arrays, which lets others run while it computes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_BLOCK_BYTES = 1 << 19
"""Of rows that are worked on at a time: they stay in a core's cache from one operation to the next."""

_WORTH_DIVIDING = 1 << 22
"""Bytes of an array from which on a second thread helps."""


def cores() -> int:
    """Threads that the user lets numerical libraries have."""
    if "torch" in sys.modules:
        import torch

        return torch.get_num_threads()
    return _blas_threads()


def pool(threads: int) -> ThreadPoolExecutor:
    """So many threads, kept for the next time."""
    return _pool(os.getpid(), threads)


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    # Of this process, because the threads of its parent are not there after a fork.
    return ThreadPoolExecutor(threads, thread_name_prefix="repscope")


def divided(work: Callable[[_Item], _Result], items: Iterable[_Item], nbytes: float) -> list[_Result]:
    """Results of the work on each item, in their order; on all cores where the items hold so many bytes that it helps.

    What the caller has told numpy to ignore is ignored there, too.
    """
    if nbytes < _WORTH_DIVIDING or cores() == 1:
        return [work(item) for item in items]
    ignored = np.geterr()

    def run(item: _Item) -> _Result:
        with np.errstate(**ignored):
            return work(item)

    return list(pool(cores()).map(run, items))


def can_limit_blas() -> bool:
    """Whether the threads of numpy's BLAS library can be counted and limited (needs threadpoolctl)."""
    return _blas() is not None


def one_blas_thread() -> contextlib.AbstractContextManager[object]:
    """Let numpy's BLAS library use one thread inside the block, where it can be limited.

    Its other threads go on spinning for some 20 ms after every product, however small, and slow down whatever comes
    next in another library: between operations of torch all products keep to one thread, or to :func:`pool`.
    """
    blas = _blas()
    if blas is None:
        return contextlib.nullcontext()
    _blas_threads()  # noted before they are limited
    limit: contextlib.AbstractContextManager[object] = blas.limit(limits=1)
    return limit


@cache
def _blas_threads() -> int:
    blas = _blas()
    return 1 if blas is None else max(library["num_threads"] for library in blas.info())


@cache
def _blas() -> Any:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    found = ThreadpoolController().select(user_api="blas")
    return found if len(found) else None


def shifted_and_scaled(
    x: npt.NDArray[Any], shift: npt.NDArray[Any], factor: float, spare: npt.NDArray[Any] | None = None
) -> npt.NDArray[Any]:
    """(x − shift) · factor for x (n, p) and shift (1, p), block of rows by block of rows, on all cores.

    The result takes the place of ``spare`` where that fits, because fresh memory costs as much as the arithmetic.
    """
    dtype = np.result_type(x, shift)
    fits = spare is not None and spare.shape == x.shape and spare.dtype == dtype
    result = spare if fits and spare is not None else np.empty(x.shape, dtype=dtype)
    rows = max(1, _BLOCK_BYTES // max(1, x.shape[1] * result.itemsize))

    def fill(begin: int) -> None:
        block = result[begin : begin + rows]
        np.subtract(x[begin : begin + rows], shift, out=block)
        if factor != 1:
            block *= factor

    divided(fill, range(0, x.shape[0], rows), result.nbytes)
    return result
