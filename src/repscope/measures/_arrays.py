"""The one gate through which every array enters, and the few operations the Array API standard lacks.

All of it works on numpy, torch, JAX, CuPy and any other library that follows the Array API standard.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any, TypeAlias

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.errors import DegenerateInputWarning, InputError
from repscope.measures._messages import warn

Array: TypeAlias = Any
"""An array of any Array-API library; shapes stand in the docstrings and in trailing comments."""

Namespace: TypeAlias = Any


def check_pair(
    function: str, x: Array, y: Array, *, minimum_examples: int = 2, as_stored: bool = False
) -> tuple[Array, Array]:
    """Check two representations of the same examples and bring them to one floating dtype.

    Args:
        function: The caller's public name, for messages.
        x: (n, p).
        y: (n, q), from the same library and on the same device as ``x``.
        minimum_examples: Smallest n for which the caller is defined.
        as_stored: Leave each its own floating type, by which the numerical rank is judged.

    Returns:
        ``x`` and ``y``: the same objects where nothing had to change, otherwise converted copies. Integers and
        booleans become the widest float, half precision becomes single.

    Raises:
        InputError: For anything that would give a meaningless number; the message names the remedy.
    """
    x_space, y_space = _namespace(function, "x", x), _namespace(function, "y", y)
    if x_space is not y_space:
        raise InputError(
            f"{function}: x and y must come from the same array library, got {type(x).__module__}.{type(x).__name__}"
            f" and {type(y).__module__}.{type(y).__name__}. Convert one of them first."
        )
    x_device, y_device = array_api_compat.device(x), array_api_compat.device(y)
    # Inside jax.grad and jax.vmap an array has no device of its own.
    if x_device != y_device and None not in (x_device, y_device):
        raise InputError(
            f"{function}: x and y must be on the same device, got {x_device} and {y_device}. Move one of them first."
        )
    x = check_representation(function, x, "x", minimum_examples=minimum_examples)
    y = check_representation(function, y, "y", minimum_examples=minimum_examples)
    if x.shape[0] != y.shape[0]:
        raise InputError(
            f"{function}: x and y must have the same number of rows (the same examples in the same order), "
            f"got {tuple(x.shape)} and {tuple(y.shape)}. Rows are examples, columns are features."
        )
    if x.dtype != y.dtype and not as_stored:
        dtype = x_space.result_type(x, y)
        x, y = x_space.astype(x, dtype, copy=False), x_space.astype(y, dtype, copy=False)
    return x, y


def check_representation(function: str, x: Array, argument: str = "x", *, minimum_examples: int = 2) -> Array:
    """Check one representation; see :func:`check_pair`."""
    xp = _namespace(function, argument, x)
    shape = tuple(x.shape)
    if len(shape) != 2:
        remedy = "Flatten each example to one row" if len(shape) > 2 else "Reshape it to (n, 1) for a single feature"
        raise InputError(f"{function}: {argument} must be a matrix (examples, features), got shape {shape}. {remedy}.")
    n, p = shape
    if p == 0 or n == 0:
        raise InputError(f"{function}: {argument} must have at least one row and one column, got shape {shape}.")
    if n < minimum_examples:
        raise InputError(
            f"{function}: {argument} must have at least {minimum_examples} rows (examples), got shape {shape}. "
            "Use more examples, or check that rows are examples and columns features."
        )
    x = xp.astype(x, _working_dtype(function, argument, xp, x), copy=False)
    _check_finite(function, argument, xp, x)
    return x


def _namespace(function: str, argument: str, x: Array) -> Namespace:
    try:
        # Products of matrices would read what lies under a mask; a numpy.matrix multiplies and keeps its shape in ways
        # of its own; sparse tensors lack most operations.
        sparse = array_api_compat.is_torch_array(x) and str(x.layout) != "torch.strided"
        if isinstance(x, np.ma.MaskedArray | np.matrix) or sparse:
            raise TypeError
        return array_api_compat.array_namespace(x)
    except TypeError:
        raise InputError(
            f"{function}: {argument} must be an array (numpy, torch, JAX or another Array-API library), "
            f"got {type(x).__module__}.{type(x).__name__}. Convert it first, for example with numpy.asarray."
        ) from None


def _working_dtype(function: str, argument: str, xp: Namespace, x: Array) -> Any:
    if xp.isdtype(x.dtype, "complex floating"):
        raise InputError(
            f"{function}: {argument} must be real, got dtype {x.dtype}. "
            "Compare real and imaginary parts as separate columns."
        )
    if not xp.isdtype(x.dtype, "real floating"):
        if not xp.isdtype(x.dtype, ("integral", "bool")):
            raise InputError(
                f"{function}: {argument} must be numeric, got dtype {x.dtype}. Convert it to float32 or float64 first."
            )
        return widest_float(xp, x)
    bits = xp.finfo(x.dtype).bits
    if bits <= 16:
        return xp.float32
    return x.dtype if bits <= 64 else xp.float64


def widest_float(xp: Namespace, x: Array) -> Any:
    """The dtype float64 where the library and the device have it, else float32."""
    if array_api_compat.is_jax_array(x):
        return xp.result_type(float)
    if str(array_api_compat.device(x)).startswith("mps"):
        return xp.float32
    return xp.float64


def _check_finite(function: str, argument: str, xp: Namespace, x: Array) -> None:
    # One sum is cheaper than n × p tests, and a single NaN or infinity makes it non-finite.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        if math.isfinite(number(xp.sum(x))):
            return
    finite = xp.isfinite(x)
    if bool(xp.all(finite)):
        return
    bad_columns = xp.nonzero(~xp.all(finite, axis=0))[0]
    column = int(bad_columns[0])
    row = int(xp.nonzero(~finite[:, column])[0][0])
    more = f" (and {bad_columns.shape[0] - 1} more columns)" if bad_columns.shape[0] > 1 else ""
    raise InputError(
        f"{function}: {argument} must be finite, got {number(x[row, column])} in row {row}, column {column}{more}. "
        "Remove or repair these features before comparing."
    )


def center(xp: Namespace, x: Array) -> Array:
    """Subtract each column's mean, (n, p) to (n, p), without loss where the mean dwarfs the spread.

    First an entry of each column goes, the median of three rows: that is exact for values close to each other, leaves
    exact zeros in constant columns, and one outlier among the examples cannot spoil it. The first mean then removes
    the rest up to rounding of the spread, the second what rounding left. So float32 features whose common offset is a
    thousand standard deviations lose nothing.
    """
    if isinstance(x, np.ndarray):
        return _centered_by_rows(x, scaled=False)[0]
    x = x - typical_entries(xp, x)
    x -= xp.mean(x, axis=0, keepdims=True)
    x -= xp.mean(x, axis=0, keepdims=True)
    return x


def center_and_scale(xp: Namespace, x: Array) -> tuple[Array, float]:
    """Centre and divide by a power of two near the largest entry; return the features and that power.

    The division is exact, keeps fourth powers of the features inside the range of float32, and is undone by
    multiplying with the power returned.
    """
    x, scale = _centered_and_scaled(xp, x)
    return x, scale or 1.0


def _centered_and_scaled(xp: Namespace, x: Array) -> tuple[Array, float]:
    """As :func:`center_and_scale`, with a scale of 0.0 where all columns are constant."""
    if isinstance(x, np.ndarray):
        return _centered_by_rows(x, scaled=True)
    x = center(xp, x)
    scale = _scale(max(number(xp.max(x)), -number(xp.min(x))))
    if scale:
        x /= scale
    return x, scale


def typical_entries(xp: Namespace, x: Array) -> Array:
    """Of each column the median of three entries (1, p)."""
    n = x.shape[0]
    rows = detached(xp.concat([x[:1, :], x[n // 2 : n // 2 + 1, :], x[n - 1 :, :]]))
    return xp.sort(rows, axis=0)[1:2, :]


def _scale(largest: float) -> float:
    """The power of two below this; 0.0 for 0, and 1.0 where there is none."""
    if largest == 0.0 or not math.isfinite(largest):
        return largest and 1.0
    return 2.0 ** math.floor(math.log2(largest))


_BLOCK_BYTES = 1 << 18
"""Of rows that are centred at a time, so that they are in a core's cache for all that is done with them."""


def _centered_by_rows(x: npt.NDArray[Any], *, scaled: bool) -> tuple[npt.NDArray[Any], float]:
    """A numpy array centred as by :func:`center`, in two passes over the memory, and scaled if that is wished.

    The means are added up in double precision, which makes a second one needless.
    """
    n, p = x.shape
    typical = typical_entries(np, x)
    result = np.empty((n, p), dtype=x.dtype)
    height = max(1, _BLOCK_BYTES // (p * x.itemsize))
    blocks = [slice(begin, begin + height) for begin in range(0, n, height)]
    ones = np.ones(height, dtype=x.dtype)
    sums, highest, lowest = np.zeros(p), np.zeros_like(typical[0]), np.zeros_like(typical[0])
    for rows in blocks:
        block = np.subtract(x[rows], typical, out=result[rows])
        sums += ones[: len(block)] @ block
        if scaled:  # no entry of zero is invented: the typical one is there
            np.maximum(highest, block.max(axis=0), out=highest)
            np.minimum(lowest, block.min(axis=0), out=lowest)
    means = (sums / n).astype(x.dtype)
    scale = _scale(max(float((highest - means).max()), float((means - lowest).max()))) if scaled else 1.0
    for rows in blocks:
        block = result[rows]
        block -= means
        if scale not in (0.0, 1.0):
            block /= x.dtype.type(scale)
    return result, scale


_BLOCK_ENTRIES = 1 << 22
"""Entries of a block of columns; large enough for products, small beside what does not fit into memory twice."""


def column_blocks(xp: Namespace, x: Array, dtype: Any) -> Iterator[Array]:
    """Blocks of columns of ``x`` (n, p), centred, in this type."""
    for block in _column_blocks(xp, x, dtype):
        yield center(xp, block)


def _column_blocks(xp: Namespace, x: Array, dtype: Any) -> Iterator[Array]:
    n, p = x.shape
    width = max(1, _BLOCK_ENTRIES // n)
    for start in range(0, p, width):
        yield xp.astype(x[:, start : min(start + width, p)], dtype, copy=False)


def centered_gram(xp: Namespace, x: Array, dtype: Any) -> tuple[Array, float]:
    """Gram matrix (n, n) of the centred and scaled features, without a copy of all of them; and that scale.

    As with ``center_and_scale``, but the power of two is that of the block of columns with the largest entry.
    """
    n = x.shape[0]
    gram, scale = xp.zeros((n, n), dtype=dtype, device=array_api_compat.device(x)), 0.0
    for block in _column_blocks(xp, x, dtype):
        block, own = _centered_and_scaled(xp, block)
        if own == 0.0:
            continue  # nothing but constant columns
        product = block @ block.T
        if own > scale:
            gram *= (scale / own) ** 2
            scale = own
        elif own < scale:
            product *= (own / scale) ** 2
        gram += product
    return gram, scale or 1.0


def frobenius_squared(xp: Namespace, x: Array) -> Array:
    """Sum of squares of all entries."""
    return xp.sum(x * x) if x.ndim != 2 else xp.sum(squared_lengths(x))


def squared_lengths(x: Array) -> Array:
    """|x_i|² (n,) of the examples (n, p)."""
    return array_api_compat.array_namespace(x).vecdot(x, x)


def in_one_type(xp: Namespace, x: Array, y: Array) -> tuple[Array, Array]:
    """Both in the wider of their types; of two layers that were prepared apart, one may have been widened."""
    if x.dtype == y.dtype:
        return x, y
    dtype = xp.result_type(x, y)
    return xp.astype(x, dtype, copy=False), xp.astype(y, dtype, copy=False)


def number(x: Array) -> float:
    """A scalar array as a Python float, outside any automatic-differentiation graph."""
    return float(detached(x))


def to_numpy(x: Array) -> Any:
    """A small result as a float64 numpy array, from any device."""
    if array_api_compat.is_torch_array(x):
        return x.detach().cpu().double().numpy()  # in this order: some devices have no double precision
    if array_api_compat.is_cupy_array(x):
        x = x.get()
    return np.asarray(x, dtype=np.float64)


def on_the_host(x: Array) -> Any:
    """An array as a numpy array of its own precision, from any device and outside any graph."""
    x = detached(x)
    return np.asarray(x.cpu() if array_api_compat.is_torch_array(x) else x.get() if hasattr(x, "get") else x)


def detached(x: Array) -> Array:
    """The values of ``x``, cut from the automatic-differentiation graph."""
    if array_api_compat.is_torch_array(x):
        return x.detach()
    if array_api_compat.is_jax_array(x):
        import jax

        return jax.lax.stop_gradient(x)
    return x


def differentiable(x: Array) -> bool:
    """Whether gradients with respect to ``x`` are being recorded."""
    if array_api_compat.is_torch_array(x):
        import torch

        return bool(x.requires_grad) and torch.is_grad_enabled()
    if array_api_compat.is_jax_array(x):
        import jax

        return isinstance(x, jax.core.Tracer)
    return False


def undefined(function: str, reason: str, like: Array) -> Array:
    """Warn that the measure is 0/0 here and return NaN as a scalar of the caller's library."""
    warn(f"{function}: {reason} The result is NaN.", DegenerateInputWarning)
    xp = array_api_compat.array_namespace(like)
    return xp.sum(like) * float("nan")
