"""Soft matching: optimal transport between the units of two representations, all of them or a part."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, cast

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.errors import InputError, MissingExtraError
from repscope.measures._arrays import Array, check_pair, detached, in_one_type, number, to_numpy
from repscope.measures._messages import check_choice, is_real
from repscope.measures.matching import (
    Indices,
    Units,
    best_pairs,
    check_widths,
    entries,
    nothing_varies,
    prepare,
    take_units,
)
from repscope.measures.shape import near_one

SoftMatchingKind: TypeAlias = Literal["distance", "correlation"]


def score(state_x: Units, state_y: Units, *, kind: SoftMatchingKind = "distance", mass: float = 1.0) -> Array:
    """Soft matching of two prepared layers."""
    xp = array_api_compat.array_namespace(state_x.features)
    if kind == "correlation":
        if (nan := nothing_varies("soft_matching", state_x, state_y)) is not None:
            return nan
        x, y = in_one_type(xp, state_x.directions, state_y.directions)
        correlations = x.T @ y
        rows, columns, moved = plan(detached(correlations), mass)
        return xp.sum(entries(correlations, rows, columns) * _like(moved, x))
    scale = max(state_x.scale, state_y.scale)
    weight_x, weight_y = state_x.scale / scale, state_y.scale / scale
    x, y = in_one_type(xp, state_x.features, state_y.features)
    products = (weight_x * weight_y) * (x.T @ y)
    squares_x, squares_y = in_one_type(xp, weight_x**2 * state_x.squares, weight_y**2 * state_y.squares)
    # Where what is moved into and out of each unit is fixed, the dearest products are the smallest squared distances.
    gains = products if mass == 1 else 2.0 * products - squares_x[:, None] - squares_y[None, :]
    rows, columns, moved = plan(detached(gains), mass)
    shares = _like(moved, x)
    lengths = xp.sum((_taken(squares_x, rows) + _taken(squares_y, columns)) * shares)
    squared = lengths - 2.0 * xp.sum(entries(products, rows, columns) * shares)
    if number(squared) < (1.0 - near_one(xp, x.dtype)) * number(lengths):  # the difference would lose digits
        difference = weight_x * take_units(x, rows) - weight_y * take_units(y, columns)
        squared = xp.sum(difference * difference * shares)
    return xp.sqrt(squared) * scale


def _taken(values: Array, places: Indices) -> Array:
    xp = array_api_compat.array_namespace(values)
    return xp.take(values, xp.asarray(places, device=array_api_compat.device(values)))


def plan(benefit: Array, mass: float) -> tuple[Indices, Indices, npt.NDArray[np.float64]]:
    """The transport of largest total benefit (p, q): its pairs of units, and the share that moves between them.

    Each unit of x has mass 1/p, each of y 1/q. A vertex of the feasible plans has at most p + q − 1 pairs, or one more
    where a part stays; with p = q and nothing left it is a permutation, and scipy's assignment finds it.
    """
    p, q = benefit.shape
    if p == q and mass == 1:
        rows, columns = best_pairs("soft_matching", benefit)
        return rows, columns, np.full(p, 1.0 / p)
    check_widths("soft_matching", p, q)
    if mass == 1:
        solve, purpose, options = _solver("ot", "emd"), "soft_matching between layers of different widths", {}
    else:
        solve, purpose = _solver("ot.partial", "partial_wasserstein"), "soft_matching of a part of the units"
        options = {"m": mass * p * q}
    if solve is None:
        raise MissingExtraError(purpose, "POT", "measures")
    gains = to_numpy(benefit)
    # Whole numbers of 1/(pq) are exact.
    moved = solve(np.full(p, float(q)), np.full(q, float(p)), gains.max() - gains, numItermax=_MOST_STEPS, **options)
    rows, columns = np.nonzero(moved)
    shares = moved[rows, columns]
    return rows, columns, shares / shares.sum()


def _solver(module: str, name: str) -> Callable[..., Any] | None:
    """A solver of POT, or None where it is not installed."""
    try:
        return cast(Callable[..., Any], getattr(importlib.import_module(module), name))
    except ImportError:
        return None


_MOST_STEPS = 1 << 30
"""Of the network simplex, which ends by itself."""


def _like(shares: npt.NDArray[np.float64], x: Array) -> Array:
    xp = array_api_compat.array_namespace(x)
    return xp.asarray(shares, dtype=x.dtype, device=array_api_compat.device(x))


def check_options(kind: str, mass: float) -> None:
    """Refuse an unknown kind of soft matching, and what is no share of the units."""
    check_choice("soft_matching", "kind", kind, ("distance", "correlation"))
    if not is_real(mass) or not 0 < mass <= 1:
        raise InputError(
            f"soft_matching: mass must be a share of the units above 0, at most 1, got {mass!r}. Use 1 to match all."
        )


def soft_matching(x: Array, y: Array, *, kind: SoftMatchingKind = "distance", mass: float = 1.0) -> Array:
    """Soft matching of units: how far the units of one representation must be moved to become those of the other.

    Over all plans P ≥ 0 that take mass 1/p from each unit x_i and bring 1/q to each unit y_j (columns of X and Y),

    - ``"distance"``: min (Σ_ij P_ij ‖x_i − y_j‖²)^½, in units of the features;
    - ``"correlation"``: max Σ_ij P_ij r_ij with Pearson's r, a similarity; of units that are normalised (centred, of
      length 1) it is 1 − d²/2 with their distance d.

    Which convention: columns are centred first, and units keep their lengths in ``"distance"``: divide them by their
    standard deviations where all are to count alike. A constant unit correlates with nothing (r = 0).

    With ``mass`` m below 1 only that share is moved, the one that lies nearest, and the rest of the units, on both
    sides, stays without a match (partial soft matching): P has sums of at most 1/p and 1/q, and m in total. Both values
    are means over what is matched, (Σ P_ij ‖x_i − y_j‖² / m)^½ and Σ P_ij r_ij / m, so the distance never falls as m
    grows.

    For equal widths the best plan of all units is a permutation: ``"distance"`` is that of
    :func:`permutation_procrustes` over √p, and ``"correlation"`` the hard :func:`correlation_matching`. Otherwise units
    are shared out.

    Range: [0, ∞) for the distance, [−1, 1] for the correlation. Invariances: permutation and translation; isotropic
    scaling for the correlation; no rotation. Symmetric. The distance of all units is a metric, across any widths (the
    Wasserstein-2 distance of the units as a cloud of points in n dimensions): it is 0 where the units are the same in
    the same proportions, so a layer and the same layer with every unit twice are at 0. That of a part is none.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        kind: See above.
        mass: Share of the units that are matched, above 0; 1 is all of them.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where a representation is constant (not for
        ``"distance"``). Torch gradients flow through it with the plan held fixed, except at a distance of 0.

    Raises:
        InputError: For arrays that do not match, a mass outside (0, 1], more than 8192 units, too few examples, or NaN
            and infinity.
        MissingExtraError: Without scipy, for equal widths, or POT, for others and for a part of the units.

    References:
        Khosla & Williams 2024, Soft Matching Distance; Kapoor, Williams & Khosla 2026 (partial).

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(30, 3)
        >>> float(soft_matching(x, x[:, ::-1]))
        0.0
    """
    check_options(kind, mass)
    x, y = check_pair("soft_matching", x, y)
    return score(prepare(x), prepare(y), kind=kind, mass=mass)
