"""Soft matching: optimal transport between the units of two representations (Khosla & Williams 2024)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.errors import MissingExtraError
from repscope.measures._arrays import Array, check_pair, detached, in_one_type, to_numpy
from repscope.measures._messages import check_choice
from repscope.measures.matching import (
    Indices,
    Units,
    best_pairs,
    check_widths,
    nothing_varies,
    of_unit_length,
    prepare,
    take_units,
)

SoftMatchingKind: TypeAlias = Literal["distance", "correlation"]


def score(state_x: Units, state_y: Units, *, kind: SoftMatchingKind = "distance") -> Array:
    """Soft matching of two prepared layers."""
    xp = array_api_compat.array_namespace(state_x.features)
    if kind == "correlation":
        if (nan := nothing_varies("soft_matching", state_x, state_y)) is not None:
            return nan
        x, y = in_one_type(xp, of_unit_length(state_x.features), of_unit_length(state_y.features))
        rows, columns, mass = plan(detached(x.T @ y))
        return xp.sum(take_units(x, rows) * take_units(y, columns) * xp.asarray(mass, dtype=x.dtype, device=_device(x)))
    scale = max(state_x.scale, state_y.scale)
    x, y = in_one_type(xp, state_x.features * (state_x.scale / scale), state_y.features * (state_y.scale / scale))
    # What is moved into and out of each unit is fixed, so the dearest products are the smallest squared distances.
    rows, columns, mass = plan(detached(x.T @ y))
    difference = take_units(x, rows) - take_units(y, columns)
    squared = xp.sum(difference * difference * xp.asarray(mass, dtype=x.dtype, device=_device(x)))
    return xp.sqrt(squared) * scale


def plan(benefit: Array) -> tuple[Indices, Indices, npt.NDArray[np.float64]]:
    """The transport of largest total benefit (p, q): its pairs of units, and the mass that moves between them.

    Each unit of x has mass 1/p, each of y 1/q. A vertex of the feasible plans has at most p + q − 1 pairs; with p = q
    it is a permutation, and scipy's assignment finds it.
    """
    p, q = benefit.shape
    if p == q:
        rows, columns = best_pairs("soft_matching", benefit)
        return rows, columns, np.full(p, 1.0 / p)
    check_widths("soft_matching", p, q)
    try:
        from ot import emd
    except ImportError:
        raise MissingExtraError("soft_matching between layers of different widths", "POT", "measures") from None
    gains = to_numpy(benefit)
    # Whole numbers of 1/(pq) are exact.
    moved = emd(np.full(p, float(q)), np.full(q, float(p)), gains.max() - gains, numItermax=_MOST_STEPS)
    rows, columns = np.nonzero(moved)
    return rows, columns, moved[rows, columns] / (p * q)


_MOST_STEPS = 1 << 30
"""Of the network simplex, which ends by itself."""


def _device(x: Array) -> object:
    return array_api_compat.device(x)


def check_kind(kind: str) -> None:
    """Refuse an unknown kind of soft matching."""
    check_choice("soft_matching", "kind", kind, ("distance", "correlation"))


def soft_matching(x: Array, y: Array, *, kind: SoftMatchingKind = "distance") -> Array:
    """Soft matching of units: how far the units of one representation must be moved to become those of the other.

    Over all plans P ≥ 0 that take mass 1/p from each unit x_i and bring 1/q to each unit y_j (columns of X and Y),

    - ``"distance"``: min (Σ_ij P_ij ‖x_i − y_j‖²)^½, in units of the features;
    - ``"correlation"``: max Σ_ij P_ij r_ij with Pearson's r, a similarity; of units that are normalised (centred, of
      length 1) it is 1 − d²/2 with their distance d.

    Which convention: columns are centred first, and units keep their lengths in ``"distance"``: divide them by their
    standard deviations where all are to count alike. A constant unit correlates with nothing (r = 0).

    For equal widths the best plan is a permutation: ``"distance"`` is that of :func:`permutation_procrustes` over √p,
    and ``"correlation"`` the hard :func:`correlation_matching`. Otherwise units are shared out.

    Range: [0, ∞) for the distance, [−1, 1] for the correlation. Invariances: permutation and translation; isotropic
    scaling for the correlation; no rotation. Symmetric. The distance is a metric, across any widths (the Wasserstein-2
    distance of the units as a cloud of points in n dimensions): it is 0 where the units are the same in the same
    proportions, so a layer and the same layer with every unit twice are at 0.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        kind: See above.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where a representation is constant (not for
        ``"distance"``). Torch gradients flow through it with the plan held fixed, except at a distance of 0.

    Raises:
        InputError: For arrays that do not match, more than 8192 units, too few examples, or NaN and infinity.
        MissingExtraError: Without scipy, for equal widths, or POT, for others.

    References:
        Khosla & Williams 2024, Soft Matching Distance.

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(30, 3)
        >>> float(soft_matching(x, x[:, ::-1]))
        0.0
    """
    check_kind(kind)
    x, y = check_pair("soft_matching", x, y)
    return score(prepare(x), prepare(y), kind=kind)
