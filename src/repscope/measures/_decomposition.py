"""The singular value decomposition that all CCA-like measures share: one per layer.

The left singular vectors of a centred representation span its column space. They come from the smaller of the
p × p moments and the n × n Gram matrix where its condition allows, which is several times faster than an SVD of the
n × p matrix, and from the SVD where it does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import array_api_compat

from repscope.measures._arrays import Array, Namespace, center_and_scale, detached, number, widest_float

SAFE_EIGENVALUE_RATIO = 1e-6
"""Squaring the features squares their condition number; below this λ_min/λ_max the SVD itself is taken.

An eigenvalue of relative size r and its vector are known to eps/r, here 2e-10. Features stored in single precision
carry rounding of their own, 6e-8/√r, which is more wherever r is above the rank tolerance squared: their limit.
"""


@dataclass(frozen=True)
class Decomposition:
    """Thin SVD of one centred representation X = U S Vᵀ, without V.

    Attributes:
        basis: U (n, r), orthonormal columns that span the centred column space, strongest first.
        singular_values: diagonal of S (r,), descending, in units of ``scale``.
        scale: A power of two near the largest entry of x, so that squares stay in range.
        shape: (n, p) of the representation.
    """

    basis: Array
    singular_values: Array
    scale: float
    shape: tuple[int, int]

    @property
    def rank(self) -> int:
        """Numerical rank r of the centred representation."""
        return int(self.basis.shape[1])

    @property
    def full(self) -> bool:
        """Whether the columns span every direction that n centred examples have, n − 1 of them."""
        return self.rank >= self.shape[0] - 1


def decompose(x: Array) -> Decomposition:
    """Decompose one checked representation (n, p) in the widest float."""
    return decompose_with_features(x)[0]


def decompose_with_features(x: Array, known: Decomposition | None = None) -> tuple[Decomposition, Array]:
    """Decompose one checked representation, where that is not done; also the centred features (n, p) over the scale.

    No gradient flows through either.
    """
    xp = array_api_compat.array_namespace(x)
    features, scale = center_and_scale(xp, detached(xp.astype(x, widest_float(xp, x), copy=False)))
    if known is not None:
        return known, features
    n, p = features.shape
    cut = _Cut(
        tolerance=rank_tolerance(xp, x.dtype, features),
        widened=xp.finfo(x.dtype).eps > xp.finfo(features.dtype).eps,
    )
    found = _from_moments(xp, features, cut) if p < n else _from_gram(xp, features, cut)
    basis, singular = found if found is not None else _from_svd(xp, features, cut)
    return Decomposition(basis, singular, scale, (n, p)), features


def rank_tolerance(xp: Namespace, input_dtype: object, features: Array) -> float:
    """Singular values below this fraction of the largest are rounding: the one rule of rank.

    Rounding of the stored values moves singular values by at most about one eps of their type times the largest; the
    decomposition itself adds max(n, p) eps of the type it runs in.
    """
    return float(4 * xp.finfo(input_dtype).eps + max(features.shape) * xp.finfo(features.dtype).eps)


@dataclass(frozen=True)
class _Cut:
    """Where the numerical rank ends: ``tolerance`` on singular values; ``widened``: the input had a coarser type."""

    tolerance: float
    widened: bool


def _from_moments(xp: Namespace, features: Array, cut: _Cut) -> tuple[Array, Array] | None:
    """From the eigenvectors of XᵀX (p, p), or None where they cannot be trusted."""
    moments = features.T @ features
    # Constant columns are exact zeros after centring; they would force the slow route for nothing.
    alive = xp.nonzero(xp.linalg.diagonal(moments) > 0)[0]
    if alive.shape[0] < features.shape[1]:
        features = xp.take(features, alive, axis=1)
        moments = xp.take(xp.take(moments, alive, axis=0), alive, axis=1)
    if alive.shape[0] == 0:
        return features, xp.sum(features, axis=0)
    found = _trusted_eigenpairs(xp, moments, cut, null_directions=0)
    if found is None:
        return None
    singular, vectors = found
    return _orthonormalized(xp, (features @ vectors) / singular), singular


def _from_gram(xp: Namespace, features: Array, cut: _Cut) -> tuple[Array, Array] | None:
    """From the eigenvectors of XXᵀ (n, n), or None where they cannot be trusted."""
    # Centred features leave out the direction of all ones, so one eigenvalue is always zero.
    found = _trusted_eigenpairs(xp, features @ features.T, cut, null_directions=1)
    return None if found is None else (found[1], found[0])


def _trusted_eigenpairs(
    xp: Namespace, squared: Array, cut: _Cut, *, null_directions: int
) -> tuple[Array, Array] | None:
    """Square roots of the eigenvalues of a squared representation, descending, with their vectors.

    None where an eigenvalue lies so low that squaring has blurred it.
    """
    # Float32 features are kept down to their own rounding, which float64 squares still resolve.
    limit = cut.tolerance**2 if cut.widened else SAFE_EIGENVALUE_RATIO
    if limit <= 4 * math.sqrt(max(squared.shape)) * float(xp.finfo(squared.dtype).eps):
        return None
    values, vectors = xp.linalg.eigh(squared)
    end = values.shape[0] - null_directions
    values, vectors = xp.flip(values)[:end], xp.flip(vectors, axis=1)[:, :end]
    largest = number(values[0]) if end else 0.0
    if largest <= 0.0:
        return None
    rank = values[values > limit * largest].shape[0]
    if rank < end and not cut.widened:
        return None
    return xp.sqrt(values[:rank]), vectors[:, :rank]


def _orthonormalized(xp: Namespace, basis: Array) -> Array:
    """One Cholesky-QR step: exact to rounding for columns that are orthonormal but for a small error."""
    factor = xp.linalg.cholesky(basis.T @ basis)  # (r, r), lower
    return xp.linalg.solve(factor, basis.T).T


def _from_svd(xp: Namespace, features: Array, cut: _Cut) -> tuple[Array, Array]:
    n, p = features.shape
    if p > n:
        # With Xᵀ = Q R, X = Rᵀ Qᵀ has the left singular vectors of the small triangle.
        features = xp.linalg.qr(features.T)[1].T  # (n, n)
    basis, singular, _ = xp.linalg.svd(features, full_matrices=False)
    largest = number(singular[0])
    rank = singular[singular > cut.tolerance * largest].shape[0]
    return basis[:, :rank], singular[:rank]
