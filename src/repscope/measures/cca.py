"""Canonical correlation analysis and what was built on it: SVCCA, PWCCA, the canonical ridge.

All of them start from one decomposition X = U S Vᵀ of each centred layer; the canonical correlations of two layers
are the singular values of U_XᵀU_Y (Björck & Golub 1973). Where the columns are dependent the *rank* takes the place
of the paper's width p, so dead and duplicated units count for nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import array_api_compat

from repscope.errors import InputError, RankWarning
from repscope.measures._arrays import (
    Array,
    Namespace,
    check_pair,
    frobenius_squared,
)
from repscope.measures._decomposition import Decomposition, decompose, nothing_left, overlap
from repscope.measures._messages import check_choice, is_real, warn

Summary: TypeAlias = Literal["r2", "mean"]


def prepare(x: Array, *, decomposition: Decomposition | None = None) -> Decomposition:
    """Decompose one checked representation (n, p), or take the decomposition that another measure has made."""
    return decompose(x) if decomposition is None else decomposition


def canonical_correlations(x: Array, y: Array) -> Array:
    """Canonical correlations ρ_1 ≥ ρ_2 ≥ … of two representations of the same examples.

    ρ_i is the largest correlation of a linear combination of the columns of x with one of y, each orthogonal to those
    before: the singular values of Q_XᵀQ_Y for orthonormal bases of the centred column spaces (§4 of the paper).

    Range: [0, 1] up to rounding. Invariant to invertible linear maps and translation of either side.

    Args:
        x: Representation (n, p).
        y: Representation (n, q).

    Returns:
        An array (min(rank x, rank y),) of the caller's library, descending.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    Warns:
        RankWarning: Where n ≤ rank x + rank y, so that correlations of 1 are forced (Theorem 1 of the paper).

    References:
        Kornblith et al. 2019, eq. 6 and App. C.2; Björck & Golub 1973.

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(20, 2)
        >>> [round(float(rho), 6) for rho in canonical_correlations(x, x @ [[2.0, 1.0], [0.0, 1.0]])]
        [1.0, 1.0]
    """
    x, y = check_pair("canonical_correlations", x, y, as_stored=True)
    state_x, state_y = decompose(x), decompose(y)
    warn_if_forced("canonical_correlations", state_x, state_y)
    return _correlations(array_api_compat.array_namespace(x), state_x, state_y)


def cca(x: Array, y: Array, *, summary: Summary = "r2") -> Array:
    """Canonical correlations of two representations, summarised in one number.

    ``summary="r2"``: R²_CCA = Σρ_i² / min(rank) = ‖Q_YᵀQ_X‖_F² / min(rank), eq. 7 (Yanai's GCD). ``summary="mean"``:
    ρ̄_CCA = Σρ_i / min(rank), eq. 8. The authors' notebook does not centre; here columns are always centred.

    Range: [0, 1]. Independent data give R² = max(p, q) / (n − 1) on average. Invariant to invertible linear maps and
    translation of either side; symmetric.

    Args:
        x: Representation (n, p).
        y: Representation (n, q).
        summary: ``"r2"`` or ``"mean"``.

    Returns:
        A scalar of the caller's library; NaN with a warning where a representation is constant.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    Warns:
        RankWarning: Where n ≤ rank x + rank y: the value says nothing (Theorem 1 of the paper).

    References:
        Kornblith et al. 2019, eq. 7 and 8.
    """
    check_summary("cca", summary)
    x, y = check_pair("cca", x, y, as_stored=True)
    return score(decompose(x), decompose(y), summary=summary)


def score(state_x: Decomposition, state_y: Decomposition, *, summary: Summary = "r2", function: str = "cca") -> Array:
    """CCA of two prepared layers."""
    xp = array_api_compat.array_namespace(state_x.left)
    if (nothing := nothing_left(function, state_x, state_y)) is not None:
        return nothing
    warn_if_forced(function, state_x, state_y)
    fewest = min(state_x.rank, state_y.rank)
    if summary == "r2" and not (state_x.full or state_y.full):
        return frobenius_squared(xp, overlap(state_x, state_y)) / fewest
    correlations = _correlations(xp, state_x, state_y)
    return xp.sum(correlations * correlations if summary == "r2" else correlations) / fewest


def svcca(x: Array, y: Array, *, variance: float = 0.99, summary: Summary = "r2") -> Array:
    """Singular-vector CCA: CCA of the leading principal components of each representation.

    Each side keeps the smallest number of components whose share of the *variance* (sum of squared singular values)
    reaches ``variance``; the canonical correlations of what is left are divided by the smaller count. Some packages
    cut at a share of Σs instead of Σs², and one keeps a single component: other numbers.

    Range: [0, 1]. Invariances: orthogonal maps, isotropic scaling, translation; invertible linear maps only where
    they keep the same subspace. Symmetric.

    Args:
        x: Representation (n, p).
        y: Representation (n, q).
        variance: Share of the variance to keep, in (0, 1].
        summary: ``"r2"`` (mean of ρ²) or ``"mean"`` (mean of ρ, as Raghu et al. 2017).

    Returns:
        A scalar of the caller's library; NaN with a warning where a representation is constant.

    Raises:
        InputError: For arrays that do not match, a share outside (0, 1], too few examples, or NaN and infinity.

    Warns:
        RankWarning: Where n ≤ the sum of the kept components: the value says nothing.

    References:
        Raghu et al. 2017; Kornblith et al. 2019, §4 and Table 1.
    """
    check_summary("svcca", summary)
    check_variance(variance)
    x, y = check_pair("svcca", x, y, as_stored=True)
    return score(
        prepare_svcca(x, variance=variance),
        prepare_svcca(y, variance=variance),
        summary=summary,
        function="svcca",
    )


def prepare_svcca(x: Array, *, variance: float = 0.99, decomposition: Decomposition | None = None) -> Decomposition:
    """Decompose one layer and keep the leading components that reach ``variance``."""
    check_variance(variance)
    return truncate(prepare(x, decomposition=decomposition), variance)


def truncate(state: Decomposition, variance: float) -> Decomposition:
    """Keep the smallest number of leading components whose share of the variance reaches ``variance``."""
    if state.rank == 0 or variance == 1:
        return state
    xp = array_api_compat.array_namespace(state.left)
    shares = state.singular_values**2
    cumulative = xp.cumulative_sum(shares)
    kept = cumulative[cumulative < variance * cumulative[-1]].shape[0] + 1
    return state.leading(kept)


@dataclass(frozen=True)
class PWCCAState:
    """A decomposed layer and UᵀX (r, p), its units in the coordinates of the basis, up to one factor.

    None where the layer spans all directions: then every correlation is 1, and the weights do not matter.
    """

    decomposition: Decomposition
    coordinates: Array | None


def prepare_pwcca(x: Array, *, decomposition: Decomposition | None = None) -> PWCCAState:
    """Decompose one layer and keep its units for the weights of eq. 9."""
    state = prepare(x, decomposition=decomposition)
    return PWCCAState(state, None if state.full else state.coordinates(x))


def score_pwcca(state_x: PWCCAState, state_y: PWCCAState) -> Array:
    """PWCCA of two prepared layers, weights from the first."""
    x, y = state_x.decomposition, state_y.decomposition
    if (nothing := nothing_left("pwcca", x, y)) is not None:
        return nothing
    warn_if_forced("pwcca", x, y)
    xp = array_api_compat.array_namespace(x.left)
    if state_x.coordinates is None or y.full:
        return xp.mean(_correlations(xp, x, y))
    left, correlations, _ = xp.linalg.svd(overlap(x, y), full_matrices=False)
    weights = xp.sum(xp.abs(left.T @ state_x.coordinates), axis=1)  # α_i = Σ_j |⟨h_i, x_j⟩|, H = U left
    return xp.sum(weights * correlations) / xp.sum(weights)


def pwcca(x: Array, y: Array) -> Array:
    """Projection-weighted CCA: canonical correlations weighted by how much of x each one explains.

    ρ_PW = Σ α_i ρ_i / Σ α_i with ``α_i = Σ_j |⟨h_i, x_j⟩|``, h_i the i-th canonical variable of x with unit length
    (H = Q_X U, App. C.3) and x_j its j-th centred unit. This is the definition of Morcos et al. (2018) as written in
    eq. 9; the public svcca code weights by other directions and gives other numbers, as do the packages that copied it.
    Where correlations repeat (as those forced to 1 do), the h_i within the tie, hence the value, are not unique.

    Range: [0, 1]. Invariances: isotropic scaling and translation only; the weights depend on the units of x, so not
    even a rotation of x leaves it unchanged (Table 1). A rotation or any invertible map of y does. Not symmetric.

    Args:
        x: Representation (n, p), from which the weights come.
        y: Representation (n, q).

    Returns:
        A scalar of the caller's library; NaN with a warning where a representation is constant.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    Warns:
        RankWarning: Where n ≤ rank x + rank y: the value says nothing (Theorem 1 of the paper).

    References:
        Morcos et al. 2018; Kornblith et al. 2019, eq. 9 and App. C.3.
    """
    x, y = check_pair("pwcca", x, y, as_stored=True)
    return score_pwcca(prepare_pwcca(x), prepare_pwcca(y))


Normalizer: TypeAlias = Literal["matched", "truncated", "full"]


def canonical_ridge(x: Array, y: Array, *, kappa_x: float, kappa_y: float, normalizer: Normalizer = "full") -> Array:
    """Regularised CCA, the path that joins CCA, linear regression and CKA (App. D.1, Vinod 1976).

    Σσ̃_i² = Σ_i Σ_j a_i b_j ⟨u_i, v_j⟩² with a_i = λ_i / (λ_i + κ_x), b_j likewise, λ the eigenvalues of XXᵀ and YYᵀ,
    divided by ``"matched"``: Σ a_i b_i (eq. 25), ``"truncated"``: √Σa_i² √Σb_i² over the first min(rank) terms
    (eq. 26), or ``"full"``: the same over all terms (eq. 27).

    Limits: κ_x = κ_y = 0, matched or truncated: R²_CCA. κ_x = ∞, κ_y = 0, matched: R² of predicting x from y (where
    x is not wider than y). κ_x = κ_y = ∞, full: linear CKA, biased. ``math.inf`` is accepted and exact.

    Range: [0, 1]. Invariant to orthogonal maps and translation; to isotropic scaling only at κ = 0 or ∞.

    Args:
        x: Representation (n, p).
        y: Representation (n, q).
        kappa_x: Ridge of x in units of x², from 0 to infinity.
        kappa_y: Ridge of y in units of y².
        normalizer: See above.

    Returns:
        A scalar of the caller's library; NaN with a warning where a representation is constant.

    Raises:
        InputError: For arrays that do not match, a negative ridge, too few examples, or NaN and infinity.

    References:
        Kornblith et al. 2019, eq. 22 and 25–27.
    """
    check_ridge(kappa_x, kappa_y, normalizer)
    x, y = check_pair("canonical_ridge", x, y, as_stored=True)
    return score_canonical_ridge(decompose(x), decompose(y), kappa_x=kappa_x, kappa_y=kappa_y, normalizer=normalizer)


def score_canonical_ridge(
    state_x: Decomposition,
    state_y: Decomposition,
    *,
    kappa_x: float,
    kappa_y: float,
    normalizer: Normalizer = "full",
) -> Array:
    """Canonical ridge of two prepared layers."""
    if (nothing := nothing_left("canonical_ridge", state_x, state_y)) is not None:
        return nothing
    xp = array_api_compat.array_namespace(state_x.left)
    a, b = shrinkage(xp, state_x, kappa_x), shrinkage(xp, state_y, kappa_y)
    aligned = xp.sqrt(a)[:, None] * overlap(state_x, state_y) * xp.sqrt(b)[None, :]
    return frobenius_squared(xp, aligned) / ridge_normalizer(xp, a, b, normalizer)


def ridge_normalizer(xp: Namespace, a: Array, b: Array, normalizer: Normalizer) -> Array:
    """What Σσ̃² is divided by, from the weights of both layers."""
    fewest = min(a.shape[0], b.shape[0])
    if normalizer == "matched":
        return xp.sum(a[:fewest] * b[:fewest])
    if normalizer == "truncated":
        a, b = a[:fewest], b[:fewest]
    return xp.sqrt(xp.sum(a * a)) * xp.sqrt(xp.sum(b * b))


def shrinkage(xp: Namespace, state: Decomposition, kappa: float) -> Array:
    """λ_i / (λ_i + κ); for κ = ∞ its shape λ_i / λ_1, since every normaliser cancels the factor."""
    eigenvalues = state.singular_values**2
    kappa = kappa / state.scale / state.scale
    if math.isinf(kappa):
        return eigenvalues / eigenvalues[0]
    return eigenvalues / (eigenvalues + kappa)


def _correlations(xp: Namespace, state_x: Decomposition, state_y: Decomposition) -> Array:
    if state_x.full or state_y.full:
        # One basis spans all centred directions, so the other lies inside it (Theorem 1).
        smaller = state_x if state_x.rank <= state_y.rank else state_y
        return xp.ones_like(smaller.singular_values)
    return xp.linalg.svdvals(overlap(state_x, state_y))


class Spanning(Protocol):
    """What is known of a layer's column space."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, p) of the representation."""

    @property
    def rank(self) -> int:
        """Directions that its columns span."""


def warn_if_forced(function: str, state_x: Spanning, state_y: Spanning) -> None:
    """Warn where the two column spaces cannot help but share directions."""
    (n, p), (_, q) = state_x.shape, state_y.shape
    if state_x.rank + state_y.rank <= n - 1:
        return
    ranks = f" (ranks {state_x.rank} and {state_y.rank})" if (state_x.rank, state_y.rank) != (p, q) else ""
    warn(
        f"{function}: n = {n} examples are too few for p = {p} and q = {q} features{ranks}: correlations of 1 are "
        "forced and the value says nothing (Theorem 1 of Kornblith et al. 2019). Use more examples, or cka.",
        RankWarning,
    )


def check_summary(function: str, summary: str) -> None:
    """Refuse an unknown summary of canonical correlations."""
    check_choice(function, "summary", summary, ("r2", "mean"))


def check_variance(variance: float) -> None:
    """Refuse a share of variance outside (0, 1]."""
    if not is_real(variance) or not 0 < variance <= 1:
        raise InputError(f"svcca: variance must be a share in (0, 1], got {variance!r}. Use 0.99, for example.")


def check_ridge(kappa_x: float, kappa_y: float, normalizer: str) -> None:
    """Refuse a negative ridge and an unknown normaliser."""
    for name, kappa in (("kappa_x", kappa_x), ("kappa_y", kappa_y)):
        if not is_real(kappa) or not kappa >= 0:
            raise InputError(f"canonical_ridge: {name} must not be negative, got {kappa!r}. Use 0 for plain CCA.")
    check_choice("canonical_ridge", "normalizer", normalizer, ("matched", "truncated", "full"))
