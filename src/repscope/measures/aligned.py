"""Cosine of every example with itself in the other representation, after the best rotation (Hamilton et al. 2016)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import array_api_compat

from repscope.errors import InputError
from repscope.measures import shape
from repscope.measures._arrays import (
    Array,
    Namespace,
    check_pair,
    detached,
    in_one_type,
    number,
    squared_lengths,
    undefined,
    widest_float,
)
from repscope.measures._decomposition import SAFE_EIGENVALUE_RATIO


@dataclass(frozen=True)
class AlignedState(shape.ProcrustesState):
    """One centred layer of unit norm, in the widest float.

    Attributes:
        coarse: The layer was stored in single precision.
    """

    coarse: bool

    @cached_property
    def lengths(self) -> Array:
        """Of the examples (n,); all 0 where the layer is constant."""
        return _lengths(array_api_compat.array_namespace(self.features), self.features)


def prepare(x: Array) -> AlignedState:
    """Centre one checked representation (n, p) in the widest float; its examples must have a direction."""
    xp = array_api_compat.array_namespace(x)
    x = detached(x)
    wide = widest_float(xp, x)
    state = shape.prepare(xp.astype(x, wide, copy=False))
    found = AlignedState(state.features, state.norm, xp.finfo(wide).bits > xp.finfo(x.dtype).bits)
    if number(state.norm) == 0.0:
        return found
    flat = found.lengths <= 16 * float(xp.finfo(state.features.dtype).eps)  # of a whole of length 1
    if bool(xp.any(flat)):
        row = int(xp.argmax(xp.astype(flat, xp.int8)))
        raise InputError(
            "aligned_cosine: every example must differ from the mean of all, from which its direction is seen, got the "
            f"mean in row {row}. Leave that example out."
        )
    return found


def score(state_x: AlignedState, state_y: AlignedState) -> Array:
    """Mean cosine of the rows of two prepared layers."""
    xp = array_api_compat.array_namespace(state_x.features)
    for name, state in (("x", state_x), ("y", state_y)):
        if number(state.norm) == 0.0:
            return undefined("aligned_cosine", f"all rows of {name} are equal (0/0).", state.norm)
    x, y = in_one_type(xp, state_x.features, state_y.features)
    if x.shape[1] < y.shape[1]:
        x, y = y, x
    product, lengths = x.T @ y, state_x.lengths * state_y.lengths
    rotation = _from_square(xp, product, COARSE if state_x.coarse and state_y.coarse else SAFE_EIGENVALUE_RATIO)
    if rotation is None:
        left, fits, right = xp.linalg.svd(product, full_matrices=False)
        kept = fits[fits > _rounding(xp, product)].shape[0]
        if kept < fits.shape[0]:
            # Directions without a counterpart may be turned at will: what their cosines could come to.
            rest = _lengths(xp, _outside(x, left[:, :kept])) * _lengths(xp, _outside(y, right[:kept, :].T))
            if number(xp.mean(rest / lengths)) > math.sqrt(float(xp.finfo(x.dtype).eps)):
                return undefined(
                    "aligned_cosine",
                    "x and y have directions without any correlation, for which no rotation is better than another.",
                    state_x.norm,
                )
        rotation = left @ right
    aligned = y @ rotation.T  # (n, p): y embedded in the wider space
    return xp.mean(xp.vecdot(x, aligned) / lengths)


COARSE = 1e-9
"""As :data:`SAFE_EIGENVALUE_RATIO`, where the features are known to seven digits: a direction that weak is known to
2e-7 then."""


def _from_square(xp: Namespace, product: Array, smallest: float) -> Array | None:
    """The best rotation A (AᵀA)^−½ of a product A (p, q), p ≥ q, from a square matrix of the narrower side.

    None where the smallest eigenvalue of AᵀA is below this share of the largest, so that squaring has blurred it, and
    where it is the square of rounding.
    """
    values, vectors = xp.linalg.eigh(product.T @ product)
    if not number(values[0]) > max(smallest * number(values[-1]), _rounding(xp, product) ** 2):
        return None
    return (product @ (vectors / xp.sqrt(values))) @ vectors.T


def _rounding(xp: Namespace, product: Array) -> float:
    """Singular value of a product of layers of norm 1 below which it is rounding."""
    return 64 * float(xp.finfo(product.dtype).eps)


def _lengths(xp: Namespace, x: Array) -> Array:
    return xp.sqrt(squared_lengths(x))


def _outside(x: Array, directions: Array) -> Array:
    """What of x (n, p) does not lie along these orthonormal directions (p, k)."""
    return x - (x @ directions) @ directions.T


def aligned_cosine(x: Array, y: Array) -> Array:
    """Aligned cosine similarity: the mean cosine of every example with itself, after the best rotation.

    (1/n) Σ_i cos(x_i Q, y_i) with the Q that minimises ‖XQ − Y‖_F, orthogonal Procrustes of centred X and Y, the
    narrower one padded with zeros. Every example counts alike, whatever its distance from the mean, where the cosine of
    :func:`procrustes` weighs them by their lengths.

    Which convention: both sides are centred first, so that a cosine is seen from the mean of all examples. Some
    packages do not centre, and the same offset on all rows then makes any two representations alike (0.93 for 0.72 on
    two unrelated tables of uniform numbers).

    Range: [−1, 1]. Invariances: orthogonal maps, isotropic scaling and translation. Symmetric. Not a metric.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples; the widths may differ.

    Returns:
        A scalar of the caller's library, without gradients. NaN, with a warning, where a representation is constant, or
        where both have directions that are uncorrelated with all of the other: then the rotation is not unique.

    Raises:
        InputError: For arrays that do not match, an example that is the mean of all, too few examples, or NaN and
            infinity.

    References:
        Hamilton, Leskovec & Jurafsky 2016; Klabunde et al. 2024, ReSi (the measure under this name).

    Example:
        >>> import numpy as np
        >>> np.random.seed(0)
        >>> x, y = np.random.uniform(size=(30, 25)), np.random.uniform(size=(30, 25))
        >>> round(float(aligned_cosine(x, y)), 10)
        0.7205820248
    """
    x, y = check_pair("aligned_cosine", x, y)
    return score(prepare(x), prepare(y))
