"""Matching unit to unit: what two representations share in the axes that they happen to have.

Rotations, to which most other measures are blind, change these values. The assignments are exact for the products of
units that are computed, in the type of the features, by scipy's solver of the assignment problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.errors import InputError, MissingExtraError
from repscope.measures._arrays import (
    Array,
    center_and_scale,
    check_pair,
    detached,
    differentiable,
    frobenius_squared,
    in_one_type,
    number,
    squared_lengths,
    to_numpy,
    undefined,
)
from repscope.measures._messages import check_choice
from repscope.measures.shape import near_one

PermutationKind: TypeAlias = Literal["angle", "distance"]
Assignment: TypeAlias = Literal["hard", "soft"]
Indices: TypeAlias = "npt.NDArray[np.intp]"

MOST_UNITS = 8192
"""Width of the widest layer that is matched: an assignment takes its cube of steps."""


@dataclass(frozen=True)
class Units:
    """The units of one layer.

    Attributes:
        features: Centred features (n, p) over ``scale``.
        scale: A power of two near the largest entry, in units of x.
        norm: ‖features‖_F.
    """

    features: Array
    scale: float
    norm: Array

    @cached_property
    def squares(self) -> Array:
        """Squared lengths (p,) of the units."""
        return squared_lengths(self.features.T)

    @cached_property
    def directions(self) -> Array:
        """Units over their lengths (n, p); those that are constant stay 0, and correlate with nothing."""
        xp = array_api_compat.array_namespace(self.features)
        return self.features / xp.sqrt(xp.where(self.squares > 0, self.squares, xp.ones_like(self.squares)))


def prepare(x: Array) -> Units:
    """Centre the units of one checked representation (n, p)."""
    xp = array_api_compat.array_namespace(x)
    features, scale = center_and_scale(xp, x)
    return Units(features, scale, xp.sqrt(frobenius_squared(xp, features)))


def score_permutation(state_x: Units, state_y: Units, *, kind: PermutationKind = "angle") -> Array:
    """Permutation Procrustes of two prepared layers."""
    if kind == "angle" and (nan := nothing_varies("permutation_procrustes", state_x, state_y)) is not None:
        return nan
    xp = array_api_compat.array_namespace(state_x.features)
    x, y = in_one_type(xp, state_x.features, state_y.features)
    products = x.T @ y
    rows, columns = best_pairs("permutation_procrustes", detached(products))
    sizes = state_x.norm * state_y.norm  # 0 where a layer is constant
    cosine = xp.sum(entries(products, rows, columns)) / (sizes if number(sizes) > 0 else xp.ones_like(sizes))
    if not (differentiable(x) or differentiable(y)) and abs(number(cosine)) < near_one(xp, x.dtype):
        if kind == "angle":
            return xp.acos(cosine)
        scale = max(state_x.scale, state_y.scale)
        size_x, size_y = state_x.norm * (state_x.scale / scale), state_y.norm * (state_y.scale / scale)
        return xp.sqrt((size_x - size_y) ** 2 + 2.0 * size_x * size_y * (1.0 - cosine)) * scale
    left_x, left_y = (_others(k, taken) for k, taken in ((x.shape[1], rows), (y.shape[1], columns)))
    # Units in the order of their matches; those of the wider side that are left over are matched with zeros.
    x, rest_x, y, rest_y = take_units(x, rows), take_units(x, left_x), take_units(y, columns), take_units(y, left_y)
    weight_x, weight_y = (1.0 / state_x.norm, 1.0 / state_y.norm) if kind == "angle" else (1.0, 1.0)
    if kind == "distance":
        scale = max(state_x.scale, state_y.scale)
        weight_x, weight_y = state_x.scale / scale, state_y.scale / scale
    x, y = x * weight_x, y * weight_y
    rest = frobenius_squared(xp, rest_x * weight_x) + frobenius_squared(xp, rest_y * weight_y)
    difference = xp.sqrt(frobenius_squared(xp, x - y) + rest)
    if kind == "distance":
        return difference * scale
    # The arc cosine loses half of the digits near 0 and π; the half-angle form does not.
    return 2.0 * xp.atan2(difference, xp.sqrt(frobenius_squared(xp, x + y) + rest))


def best_pairs(function: str, benefit: Array) -> tuple[Indices, Indices]:
    """The pairs (row, column) of largest total benefit (p, q), each row and column in one pair at most."""
    check_widths(function, *benefit.shape)
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise MissingExtraError(function, "scipy", "measures") from None
    rows, columns = linear_sum_assignment(to_numpy(benefit), maximize=True)
    return np.asarray(rows), np.asarray(columns)


def check_widths(function: str, p: int, q: int) -> None:
    """Refuse more units than can be matched in a reasonable time."""
    if max(p, q) > MOST_UNITS:
        raise InputError(
            f"{function}: x and y must have at most {MOST_UNITS} units to be matched, got {p} and {q}. Draw some of "
            "them, or pool feature maps to one number a channel."
        )


def _others(count: int, taken: Indices) -> Indices:
    return np.setdiff1d(np.arange(count), taken)


def take_units(x: Array, columns: Indices) -> Array:
    """These columns of the features, in this order."""
    xp = array_api_compat.array_namespace(x)
    return xp.take(x, xp.asarray(columns, device=array_api_compat.device(x)), axis=1)


def entries(matrix: Array, rows: Indices, columns: Indices) -> Array:
    """The entries of a matrix (p, q) at these places (k,)."""
    xp = array_api_compat.array_namespace(matrix)
    places = xp.asarray(rows * matrix.shape[1] + columns, device=array_api_compat.device(matrix))
    return xp.take(xp.reshape(matrix, (-1,)), places)


def nothing_varies(function: str, state_x: Units, state_y: Units) -> Array | None:
    """NaN, with a warning, where one of the layers is constant."""
    for name, state in (("x", state_x), ("y", state_y)):
        if number(state.norm) == 0.0:
            return undefined(function, f"all rows of {name} are equal (0/0).", state.norm)
    return None


def score_correlation(state_x: Units, state_y: Units, *, assignment: Assignment = "hard") -> Array:
    """Correlation matching of two prepared layers."""
    if (nan := nothing_varies("correlation_matching", state_x, state_y)) is not None:
        return nan
    xp = array_api_compat.array_namespace(state_x.features)
    x, y = in_one_type(xp, state_x.directions, state_y.directions)
    correlations = x.T @ y  # (p, q)
    if assignment == "soft":
        return (xp.mean(xp.max(correlations, axis=1)) + xp.mean(xp.max(correlations, axis=0))) / 2.0
    rows, columns = best_pairs("correlation_matching", detached(correlations))
    return xp.sum(entries(correlations, rows, columns)) / len(rows)


def check_kind(kind: str) -> None:
    """Refuse an unknown kind of permutation Procrustes."""
    check_choice("permutation_procrustes", "kind", kind, ("angle", "distance"))


def check_assignment(assignment: str) -> None:
    """Refuse an unknown way to match."""
    check_choice("correlation_matching", "assignment", assignment, ("hard", "soft"))


def permutation_procrustes(x: Array, y: Array, *, kind: PermutationKind = "angle") -> Array:
    """Procrustes with permutations in the place of rotations: how far apart after the best matching of units.

    Over all permutations P of the units of centred X and Y,

    - ``"angle"``: min arccos(⟨X, YP⟩ / (‖X‖_F ‖Y‖_F));
    - ``"distance"``: min ‖X − YP‖_F, in units of the features.

    Widths may differ: the narrower side is padded with zeros, so the units of the wider one that are left over are
    matched with zeros. Every unit of the narrower side is matched, even with a unit that it is anticorrelated with: the
    angle may exceed π/2.

    Range: [0, π] for the angle, [0, ∞) for the distance. Invariances: permutation of units and translation; isotropic
    scaling for the angle; no rotation. Symmetric. A metric between layers of one width. Between layers of different
    widths it is none, since the padding depends on the pair: with y = −x and z = (x, −x), x and y are at π, and each
    of them is at π/4 from z.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        kind: See above.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where a representation is constant (not for
        ``"distance"``). Torch gradients flow through it with the matching held fixed, except at 0.

    Raises:
        InputError: For arrays that do not match, more than 8192 units, too few examples, or NaN and infinity.
        MissingExtraError: Without scipy.

    References:
        Williams et al. 2021 (permutations as the group of a shape metric).

    Example:
        >>> import numpy as np
        >>> np.random.seed(0)
        >>> x, y = np.random.uniform(size=(30, 25)), np.random.uniform(size=(30, 25))
        >>> round(float(permutation_procrustes(x, y)), 10)
        1.2298287595
    """
    check_kind(kind)
    x, y = check_pair("permutation_procrustes", x, y)
    return score_permutation(prepare(x), prepare(y), kind=kind)


def correlation_matching(x: Array, y: Array, *, assignment: Assignment = "hard") -> Array:
    """Mean correlation of every unit with its match in the other representation.

    From Pearson's correlations r of the units of x with those of y over the examples:

    - ``"hard"``: the one-to-one matching of largest total r; its mean over the min(p, q) pairs. Units of the wider side
      that are left over do not count.
    - ``"soft"``: every unit's best match, whoever else has it; the mean of max r over the units of x and that over the
      units of y, and the mean of both.

    Which convention: r keeps its sign, as in Li et al. 2015 (a unit and its negative are no match). A constant unit has
    no correlation; it counts as r = 0, and is matched last.

    Range: [−1, 1]; 1 means that every unit has one in the other side that differs in scale and offset only.
    Invariances: permutation, isotropic scaling and translation, and a positive factor for each unit; no rotation.
    Symmetric. Not a metric. The best of many unrelated units correlates too: chance is well above 0 and grows with
    the widths.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        assignment: See above; ``"hard"`` needs scipy.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where a representation is constant. Torch gradients flow
        through it with the matching held fixed.

    Raises:
        InputError: For arrays that do not match, more than 8192 units for ``"hard"``, too few examples, or NaN and
            infinity.
        MissingExtraError: For ``"hard"`` without scipy.

    References:
        Li, Yosinski, Clune, Lipson & Hopcroft 2015; Klabunde et al. 2024, ReSi (the measures under these names).

    Example:
        >>> import numpy as np
        >>> np.random.seed(0)
        >>> x, y = np.random.uniform(size=(30, 25)), np.random.uniform(size=(30, 25))
        >>> [round(float(correlation_matching(x, y, assignment=a)), 10) for a in ("hard", "soft")]
        [0.3363914593, 0.3761355417]
    """
    check_assignment(assignment)
    x, y = check_pair("correlation_matching", x, y)
    return score_correlation(prepare(x), prepare(y), assignment=assignment)
