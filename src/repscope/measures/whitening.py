"""Shape metrics between rotation and CCA: Procrustes of partially whitened layers (Williams et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeGuard

import array_api_compat

from repscope.errors import InputError
from repscope.measures import shape
from repscope.measures._arrays import Array, check_pair, detached, frobenius_squared
from repscope.measures._decomposition import Decomposition, decompose
from repscope.measures._messages import is_real
from repscope.measures.cca import warn_if_forced


@dataclass(frozen=True)
class WhitenedState(shape.ProcrustesState):
    """One partially whitened layer of unit norm.

    Attributes:
        alpha: From 0, whitened, to 1, left as it is.
        shape: (n, p) of the representation.
        rank: Directions that it spans; None where nothing was whitened.
    """

    alpha: float
    shape: tuple[int, int]
    rank: int


def prepare(x: Array, *, alpha: float = 1.0, decomposition: Decomposition | None = None) -> shape.ProcrustesState:
    """Partially whiten one checked representation (n, p).

    X = U S Vᵀ becomes X (α I + (1 − α)(XᵀX)^−½) = U (α S + (1 − α) I) Vᵀ, of which U (α S + (1 − α) I), (n, r), says
    all there is to rotations.
    """
    check_alpha(alpha)
    if alpha == 1:
        return shape.prepare(x)
    state = decompose(x) if decomposition is None else decomposition
    xp = array_api_compat.array_namespace(state.left)
    if state.rank == 0:
        nothing = 0.0 * detached(x)[:, :1]
        return WhitenedState(nothing, xp.sum(nothing), alpha, state.shape, 0)
    # Over the scale where that is large, so that neither term leaves the range.
    strength = alpha * min(state.scale, 1.0) * state.singular_values + (1.0 - alpha) / max(state.scale, 1.0)
    features = state.basis * strength
    norm = xp.sqrt(frobenius_squared(xp, features))
    return WhitenedState(features / norm, norm, alpha, state.shape, state.rank)


def score(state_x: shape.ProcrustesState, state_y: shape.ProcrustesState) -> Array:
    """Angle of two prepared layers."""
    if _is_white(state_x) and _is_white(state_y):
        warn_if_forced("shape_distance", state_x, state_y)
    return shape.score(state_x, state_y, kind="angle", function="shape_distance")


def _is_white(state: shape.ProcrustesState) -> TypeGuard[WhitenedState]:
    return isinstance(state, WhitenedState) and state.alpha == 0 and state.rank > 0


def check_alpha(alpha: float) -> None:
    """Refuse what is no share of the features as they are."""
    if not is_real(alpha) or not 0 <= alpha <= 1 or math.isnan(alpha):
        raise InputError(
            f"shape_distance: alpha must be from 0 (any linear map, as CCA) to 1 (rotations, as Procrustes), got "
            f"{alpha!r}."
        )


def shape_distance(x: Array, y: Array, *, alpha: float = 1.0) -> Array:
    """Generalised shape distance: the angle of two representations after partial whitening and the best rotation.

    Each centred side is whitened in part, X_α = X (α I + (1 − α)(XᵀX)^−½): its singular values s become α s + (1 − α).
    The distance is the angle arccos(‖X_αᵀ Y_α‖_* / (‖X_α‖_F ‖Y_α‖_F)).

    - α = 1: the angle of :func:`procrustes`; only rotations count for nothing.
    - α = 0: the angle of CCA, arccos(Σρ / √(rank x · rank y)); invertible linear maps count for nothing. For equal
      ranks this is the arc cosine of the mean canonical correlation.
    - Between them α weighs s, in units of the features, against 1: eigenvalues of XᵀX are *not* divided by n (as in
      the paper and in netrep), so the value depends on the scale of the data and on the number of examples. Divide
      both sides by their norm, or by √n, to be free of either.

    Widths may differ: the narrower side counts as padded with zeros, and directions in which a side has no variance
    are not whitened, they stay 0.

    Range: [0, π/2]. Invariances: orthogonal maps and translation; isotropic scaling at α = 0 and 1; invertible linear
    maps at α = 0. Symmetric, and a metric for every α. As with :func:`procrustes`, few examples of noisy wide layers
    look alike, and the more so the smaller α.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        alpha: From 0 to 1.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where a representation is constant. Torch gradients
        flow through it at α = 1, except at an angle of 0.

    Raises:
        InputError: For arrays that do not match, an alpha outside [0, 1], too few examples, or NaN and infinity.

    Warns:
        RankWarning: At α = 0 where n ≤ rank x + rank y: the value says nothing (Theorem 1 of Kornblith et al. 2019).

    References:
        Williams et al. 2021, section 2.

    Example:
        >>> import numpy as np
        >>> rng = np.random.RandomState(0)
        >>> x = rng.randn(40, 3)
        >>> mixed = x @ [[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]]
        >>> [round(float(shape_distance(x, mixed, alpha=alpha)), 4) for alpha in (1.0, 0.5, 0.0)]
        [0.3869, 0.3647, 0.0]
    """
    check_alpha(alpha)
    x, y = check_pair("shape_distance", x, y)
    return score(prepare(x, alpha=alpha), prepare(y, alpha=alpha))
