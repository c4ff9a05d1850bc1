"""Orthogonal Procrustes: similarity after the best rotation (App. D.2 of Kornblith et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import array_api_compat

from repscope.measures._arrays import (
    Array,
    Namespace,
    center_and_scale,
    check_pair,
    detached,
    differentiable,
    frobenius_squared,
    in_one_type,
    number,
    undefined,
    widest_float,
)
from repscope.measures._decomposition import decompose
from repscope.measures._messages import check_choice

ProcrustesKind: TypeAlias = Literal["angle", "distance", "squared", "cosine"]


NEAR_SINGLE, NEAR_DOUBLE = 0.9, 0.999
"""Cosine from which on the layers are aligned and their difference is measured, in each type.

1 − c and arccos c lose digits as c nears 1: here at most one of seven, three of sixteen. Below, the singular values are
enough, without vectors.
"""


@dataclass(frozen=True)
class ProcrustesState:
    """One centred layer of unit Frobenius norm, and that norm.

    Attributes:
        features: (n, p) with ‖features‖_F = 1; where p > n, U S (n, r) of X = U S Vᵀ instead: Procrustes depends on
            XXᵀ only, and p × q products would not fit.
        norm: ‖X‖_F of the centred layer, in units of x.
    """

    features: Array
    norm: Array


def near_one(xp: Namespace, dtype: object) -> float:
    """The cosine from which on the difference is measured, in this type."""
    return NEAR_SINGLE if xp.finfo(dtype).bits == 32 else NEAR_DOUBLE


def prepare(x: Array) -> ProcrustesState:
    """Centre and normalise one checked representation (n, p)."""
    xp = array_api_compat.array_namespace(x)
    features, scale = _narrow(x) if x.shape[1] > x.shape[0] and not differentiable(x) else center_and_scale(xp, x)
    norm = xp.sqrt(frobenius_squared(xp, features))
    if number(norm) != 0.0:
        features = features / norm
    return ProcrustesState(features, norm * scale)


def _narrow(x: Array) -> tuple[Array, float]:
    """U S (n, r) of a wide layer, and its unit; one column of zeros where the layer is constant."""
    decomposition = decompose(x)
    if decomposition.rank == 0:
        return 0.0 * detached(x)[:, :1], 1.0
    return decomposition.basis * decomposition.singular_values, decomposition.scale


def score(
    state_x: ProcrustesState,
    state_y: ProcrustesState,
    *,
    kind: ProcrustesKind = "angle",
    function: str = "procrustes",
) -> Array:
    """Procrustes of two prepared layers."""
    xp = array_api_compat.array_namespace(state_x.features)
    x, y = in_one_type(xp, state_x.features, state_y.features)  # wide layers come in double precision
    if kind != "distance":
        for name, state in (("x", state_x), ("y", state_y)):
            if number(state.norm) == 0.0:
                return undefined(function, f"all rows of {name} are equal (0/0).", state.norm)
    if x.shape[1] < y.shape[1]:
        x, y, state_x, state_y = y, x, state_y, state_x
    product = detached(x.T @ y)
    if not (differentiable(x) or differentiable(y)):
        cosine = nuclear_norm(xp, product)
        if kind == "cosine" or number(cosine) < near_one(xp, product.dtype):
            return _from_cosine(xp, cosine, state_x.norm, state_y.norm, kind)
    left, _, right = xp.linalg.svd(product, full_matrices=False)
    # The best rotation; it maximises the fit, so its own derivative drops out (envelope theorem).
    aligned = y @ (left @ right).T  # (n, p): y embedded in the wider space
    if kind == "cosine":
        return xp.sum(x * aligned)
    if kind == "distance":
        return _length(xp, x * state_x.norm - aligned * state_y.norm)
    if kind == "squared":
        return frobenius_squared(xp, x - aligned)
    # The arc cosine loses half of the digits near 0; the half-angle form does not, and needs no clamp at 1.
    return 2.0 * xp.atan2(_length(xp, x - aligned), _length(xp, x + aligned))


def nuclear_norm(xp: Namespace, product: Array) -> Array:
    """Sum of the singular values of a product (p, q), p ≥ q.

    In single precision from the eigenvalues of its square in double: an eigenvalue's rounding is
    2e-16 of the largest, hence a singular value's at most 1.5e-8 of the largest, less than single precision's own 6e-8.
    """
    wide = widest_float(xp, product)
    if xp.finfo(wide).bits == xp.finfo(product.dtype).bits:
        return xp.sum(xp.linalg.svdvals(product))
    doubled = xp.astype(product, wide)
    values = xp.linalg.eigvalsh(doubled.T @ doubled)
    found = xp.sum(xp.sqrt(xp.where(values > 0, values, xp.zeros_like(values))))
    return xp.astype(found, product.dtype)


def _from_cosine(xp: Namespace, cosine: Array, norm_x: Array, norm_y: Array, kind: ProcrustesKind) -> Array:
    if kind == "cosine":
        return cosine
    if kind == "distance":
        return xp.sqrt((norm_x - norm_y) ** 2 + 2.0 * norm_x * norm_y * (1.0 - cosine))
    return 2.0 - 2.0 * cosine if kind == "squared" else xp.acos(cosine)


def check_kind(kind: str) -> None:
    """Refuse an unknown kind of Procrustes."""
    check_choice("procrustes", "kind", kind, ("angle", "distance", "squared", "cosine"))


def _length(xp: Namespace, difference: Array) -> Array:
    return xp.sqrt(frobenius_squared(xp, difference))


def procrustes(x: Array, y: Array, *, kind: ProcrustesKind = "angle") -> Array:
    """Orthogonal Procrustes comparison of two representations of the same examples.

    With c = ‖XᵀY‖_* / (‖X‖_F ‖Y‖_F) for centred X and Y (the narrower one padded with zeros):

    - ``"angle"``: arccos c, in [0, π/2], a metric (Williams et al. 2021);
    - ``"distance"``: min over rotations Q of ‖X − YQ‖_F, in units of the features, a metric that keeps size;
    - ``"squared"``: 2 − 2c, in [0, 2] (Ding et al. 2021; the squared distance of the normalised layers);
    - ``"cosine"``: c itself, in [0, 1], the normalised nuclear-norm similarity of App. D.2; a similarity.

    Other packages return 1 − c, or divide by n, under the same word.

    Range: as above. Invariances: orthogonal maps and translation; isotropic scaling for all but ``"distance"``.
    Symmetric. Noisy wide
    layers look alike at any affordable n: this plug-in estimate is biased towards similarity.

    Args:
        x: Representation (n, p).
        y: Representation (n, q); the widths may differ.
        kind: See above.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where a representation is constant (not for
        ``"distance"``). Torch gradients flow through it, except at x = y for angle and distance.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    References:
        Kornblith et al. 2019, App. D.2; Williams et al. 2021; Ding et al. 2021.

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(30, 3)
        >>> float(procrustes(x, x[:, ::-1])) < 1e-14
        True
    """
    check_kind(kind)
    x, y = check_pair("procrustes", x, y)
    return score(prepare(x), prepare(y), kind=kind)
