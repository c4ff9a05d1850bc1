"""The algebra of the paper (§5, App. B–D) as numbers: left and right side of each identity on given representations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repscope.measures._decomposition import decompose
from repscope.measures.cca import cca, score_canonical_ridge
from repscope.measures.cka import cka
from repscope.measures.regression import linear_regression

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Identity:
    """Two ways to one number.

    Attributes:
        name: Equation and statement.
        left: The left side.
        right: The right side.
        true: Whether the two should agree; False for a formula that is misprinted.
    """

    name: str
    left: float
    right: float
    true: bool = True

    @property
    def difference(self) -> float:
        """Distance of the sides, relative to the left one."""
        return abs(self.left - self.right) / abs(self.left)


def identities(x: Matrix, y: Matrix) -> list[Identity]:
    """Both sides of eq. 1, 10–14 and of App. D on one pair of representations.

    Where representations have less than full rank, p stands for the rank, as the columns of Q do.

    Args:
        x: Representation (n, p₁); its rank is at most that of ``y``.
        y: Representation (n, p₂).

    Returns:
        The identities in the paper's order; eq. 12 also with the factor as printed.
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    (ux, lx, _), (uy, ly, _) = _decomposed(x), _decomposed(y)
    p1, p2 = len(lx), len(ly)
    alignment = (ux.T @ uy) ** 2  # ⟨u_X^i, u_Y^j⟩²
    norm = float(np.sum(x * x))
    projector = cka(x, uy, estimator="biased")  # CKA(XXᵀ, Q_Y Q_Yᵀ)
    regression = float(linear_regression(x, y))
    canonical = float(cca(x, y))
    share = math.sqrt(float(np.sum(lx**2))) / norm  # ‖XᵀX‖_F / ‖X‖_F²
    left, correlations, _ = np.linalg.svd(ux.T @ uy, full_matrices=False)
    weights = np.sum(((ux @ left).T @ x) ** 2, axis=1)
    product = y.T @ x
    nuclear = float(np.linalg.svd(product, compute_uv=False).sum())
    u, _, vt = np.linalg.svd(x.T @ y, full_matrices=False)
    gram = float(np.sum((x @ x.T) * (y @ y.T))) if len(x) <= 2000 else float(_blockwise(x, y))
    return [
        Identity("eq. 1: tr(XXᵀYYᵀ) = ‖YᵀX‖²", gram, float(np.sum(product**2))),
        Identity("eq. 10: R²(regression) = Σα′ρ²/Σα′", regression, float(weights @ correlations**2 / weights.sum())),
        Identity(
            "eq. 11: R²(CCA) = CKA(QₓQₓᵀ, QᵧQᵧᵀ)·√(p₂/p₁)",
            canonical,
            float(cka(ux, uy, estimator="biased")) * math.sqrt(p2 / p1),
        ),
        Identity(
            "eq. 12 with √p₂: R²(regression) = CKA(XXᵀ, QᵧQᵧᵀ)·√p₂·‖XᵀX‖/‖X‖²",
            regression,
            float(projector) * math.sqrt(p2) * share,
        ),
        Identity("eq. 12 as printed, with √p₁", regression, float(projector) * math.sqrt(p1) * share, true=p1 == p2),
        Identity("eq. 13: R²(CCA) = ΣΣ⟨uₓ,uᵧ⟩²/p₁", canonical, float(alignment.sum()) / p1),
        Identity(
            "eq. 14: CKA = ΣΣλₓλᵧ⟨uₓ,uᵧ⟩²/(‖λₓ‖‖λᵧ‖)",
            float(cka(x, y, estimator="biased")),
            float(lx @ alignment @ ly / math.sqrt(float(np.sum(lx**2)) * float(np.sum(ly**2)))),
        ),
        Identity("App. D.2: max over rotations of tr(YᵀXQ) = ‖YᵀX‖∗", nuclear, float(np.trace(product @ (u @ vt)))),
    ]


def rank_of(x: Matrix) -> int:
    """Numerical rank of the centred representation."""
    return len(_decomposed(x - x.mean(axis=0))[1])


def ridge_paths(x: Matrix, y: Matrix, shares: Sequence[float]) -> dict[str, list[float]]:
    """The canonical ridge (App. D.1) along two paths of its regularisation.

    Args:
        x: Representation (n, p₁), the one of lower rank.
        y: Representation (n, p₂).
        shares: Ridge κ of each representation, in units of its largest eigenvalue.

    Returns:
        ``"both"``: κ_X = κ_Y up to the units, normalised by eq. 27; ``"first"``: κ_Y = 0, normalised by eq. 25.
    """
    a, b = decompose(x), decompose(y)
    largest = [float(state.singular_values[0] * state.scale) ** 2 for state in (a, b)]
    both, first = [], []
    for share in shares:
        kappa_x, kappa_y = share * largest[0], share * largest[1]
        both.append(float(score_canonical_ridge(a, b, kappa_x=kappa_x, kappa_y=kappa_y, normalizer="full")))
        first.append(float(score_canonical_ridge(a, b, kappa_x=kappa_x, kappa_y=0.0, normalizer="matched")))
    return {"both": both, "first": first}


def orthogonal_map(p: int, rng: np.random.Generator) -> Matrix:
    """A random orthogonal matrix (p, p), uniform over all of them."""
    q, r = np.linalg.qr(rng.standard_normal((p, p)))
    uniform: Matrix = q * np.sign(np.diagonal(r))
    return uniform


def invertible_map(p: int, rng: np.random.Generator, condition: float = 10.0) -> Matrix:
    """A random matrix (p, p) whose singular values run from 1 to ``condition``."""
    scales = np.geomspace(1.0, condition, p)
    return (orthogonal_map(p, rng) * scales) @ orthogonal_map(p, rng)


def subspace_map(x: Matrix, variance: float, rng: np.random.Generator) -> Matrix:
    """An invertible map that changes the components SVCCA keeps, but not the space that they span.

    It exchanges their singular values at random, so that the same number of components reaches ``variance``.

    Args:
        x: Representation (n, p).
        variance: Share of the variance that SVCCA keeps.
        rng: Draws the order.
    """
    _, shares, v = _decomposed(x - x.mean(axis=0))
    kept = int(np.searchsorted(np.cumsum(shares) / shares.sum(), variance)) + 1
    singular = np.sqrt(shares[:kept])
    lead = v[:, :kept]
    changed: Matrix = np.eye(x.shape[1]) + (lead * (rng.permutation(singular) / singular - 1)) @ lead.T
    return changed


def _decomposed(x: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """U, the squared singular values, and V of a centred representation, up to its numerical rank."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    rank = int(np.sum(s > max(x.shape) * np.finfo(np.float64).eps * s[0]))
    return u[:, :rank], s[:rank] ** 2, vt[:rank].T


def _blockwise(x: Matrix, y: Matrix, rows: int = 1000) -> float:
    """tr(XXᵀYYᵀ) without the whole Gram matrices."""
    return sum(float(np.sum((x[i : i + rows] @ x.T) * (y[i : i + rows] @ y.T))) for i in range(0, len(x), rows))
