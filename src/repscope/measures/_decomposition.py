"""The singular value decomposition that all CCA-like measures share: one per layer.

The left singular vectors of a centred representation span its column space. They come from the smaller of the
p × p moments and the n × n Gram matrix where its condition allows, which is several times faster than an SVD of the
n × p matrix, and from the SVD where it does not. Where examples far outnumber features the n × r vectors themselves are
not even formed: all that is asked of two layers is U_XᵀU_Y, which follows from XᵀY.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import array_api_compat

from repscope.measures._arrays import (
    Array,
    Namespace,
    center_and_scale,
    centered_gram,
    column_blocks,
    detached,
    number,
    typical_entries,
    undefined,
    widest_float,
)

SAFE_EIGENVALUE_RATIO = 1e-6
"""Squaring the features squares their condition number; below this λ_min/λ_max the SVD itself is taken.

An eigenvalue of relative size r and its vector are known to eps/r, here 2e-10. Features stored in single precision
carry rounding of their own, 6e-8/√r, which is more wherever r is above the rank tolerance squared: their limit.
The same bound decides whether U may stay a product: X·(V/S) is orthonormal to eps/r only, which then is the error of
every canonical correlation; below it U is formed, and made orthonormal to rounding.
"""

EXAMPLES_PER_FEATURE = 8
"""From here on U stays a product: two p × p products more for each pair, for four n × p × p less for each layer."""


@dataclass(frozen=True)
class Decomposition:
    """Thin SVD of one centred representation X = U S Vᵀ.

    Attributes:
        singular_values: diagonal of S (r,), descending, in units of ``scale``.
        scale: A power of two near the largest entry of x, so that squares stay in range.
        shape: (n, p) of the representation.
        left: U (n, r), orthonormal columns that span the centred column space, strongest first; or X over the scale.
        rotation: V S⁻¹ (p, r), where ``left`` is X and U = X V S⁻¹; else None.
    """

    singular_values: Array
    scale: float
    shape: tuple[int, int]
    left: Array
    rotation: Array | None = None

    @cached_property
    def basis(self) -> Array:
        """U (n, r)."""
        if self.rotation is None:
            return self.left
        xp = array_api_compat.array_namespace(self.left)
        return _orthonormalized(xp, self.left @ self.rotation)

    @property
    def rank(self) -> int:
        """Numerical rank r of the centred representation."""
        return int(self.singular_values.shape[0])

    @property
    def full(self) -> bool:
        """Whether the columns span every direction that n centred examples have, n − 1 of them."""
        return self.rank >= self.shape[0] - 1

    @property
    def variance_shares(self) -> Array:
        """Variances (r,) along the principal components, 1 in total."""
        xp = array_api_compat.array_namespace(self.left)
        variances = self.singular_values**2
        return variances / xp.sum(variances)

    def leading(self, kept: int) -> Decomposition:
        """The strongest components only."""
        if self.rotation is None:
            return replace(self, singular_values=self.singular_values[:kept], left=self.left[:, :kept])
        return replace(self, singular_values=self.singular_values[:kept], rotation=self.rotation[:, :kept])

    def coordinates(self, x: Array) -> Array:
        """UᵀX (r, p) over the scale, for the checked representation (n, p) that was decomposed."""
        xp = array_api_compat.array_namespace(self.left)
        if self.rotation is not None:
            return (self.singular_values**2)[:, None] * self.rotation.T  # VᵀS = S²(V S⁻¹)ᵀ
        blocks = column_blocks(xp, detached(x), widest_float(xp, x))
        return xp.concat([self.basis.T @ block for block in blocks], axis=1) / self.scale


def overlap(x: Decomposition, y: Decomposition) -> Array:
    """U_XᵀU_Y (r_x, r_y)."""
    product = x.left.T @ y.left
    if y.rotation is not None:
        product = product @ y.rotation
    return product if x.rotation is None else x.rotation.T @ product


def decompose(x: Array) -> Decomposition:
    """Decompose one checked representation (n, p) in the widest float; no gradient flows through it."""
    xp = array_api_compat.array_namespace(x)
    x, stored, wide = detached(x), x.dtype, widest_float(xp, x)
    shape = n, p = tuple(x.shape)
    cut = _Cut(tolerance=rank_tolerance(xp, stored, wide, shape), widened=xp.finfo(stored).eps > xp.finfo(wide).eps)
    squares_resolve = cut.limit > 4 * math.sqrt(min(shape)) * float(xp.finfo(wide).eps)
    rounding = offset_rounding(xp, stored, shape) * _root_mean_square(
        xp, xp.astype(typical_entries(xp, x), wide, copy=False)
    )
    if p >= n and squares_resolve:
        gram, scale = centered_gram(xp, x, wide)
        if (found := _from_gram(xp, gram, replace(cut, floor=rounding / scale))) is not None:
            return Decomposition(found[1], scale, shape, found[0])
    features, scale = center_and_scale(xp, xp.astype(x, wide, copy=False))
    cut = replace(cut, floor=rounding / scale)
    if p < n and squares_resolve and (state := _from_moments(xp, features, cut)) is not None:
        return replace(state, scale=scale, shape=shape)
    basis, singular = _from_svd(xp, features, cut)
    return Decomposition(singular, scale, shape, basis)


def rank_tolerance(xp: Namespace, stored: object, wide: object, shape: tuple[int, ...]) -> float:
    """Singular values below this fraction of the largest are rounding: the one rule of rank.

    Rounding of the stored values moves singular values by at most about one eps of their type times the largest; the
    decomposition itself adds max(n, p) eps of the type it runs in.
    """
    return float(4 * xp.finfo(stored).eps + max(shape) * xp.finfo(wide).eps)


def _root_mean_square(xp: Namespace, entries: Array) -> float:
    """Of entries whose squares may leave the range of their type."""
    largest = number(xp.max(xp.abs(entries)))
    if largest == 0.0:
        return 0.0
    shares = entries / largest
    return largest * math.sqrt(number(xp.mean(shares * shares)))


def offset_rounding(xp: Namespace, stored: object, shape: tuple[int, ...]) -> float:
    """Largest singular value that rounding leaves of features (n, p) which all have an offset of 1.

    Rounding to a type of spacing eps is an error of eps/√12 or less in each entry, independent from entry to entry, and
    a matrix of such has its largest singular value near (√n + √p) eps/√12; this is three times as much.
    """
    return float(xp.finfo(stored).eps) * (math.sqrt(shape[0]) + math.sqrt(shape[1]))


@dataclass(frozen=True)
class _Cut:
    """Where the numerical rank ends.

    Attributes:
        tolerance: Singular values below this share of the largest are rounding of the centred features;
        floor: those below this value are rounding of what was stored, offset included.
        widened: The input had a coarser type.
    """

    tolerance: float
    widened: bool
    floor: float = 0.0

    @property
    def limit(self) -> float:
        """Smallest λ/λ_max that is trusted; float32 features are kept down to their own rounding."""
        return self.tolerance**2 if self.widened else SAFE_EIGENVALUE_RATIO


def _from_moments(xp: Namespace, features: Array, cut: _Cut) -> Decomposition | None:
    """From the eigenvectors of XᵀX (p, p), or None where they cannot be trusted."""
    n, p = shape = tuple(features.shape)
    moments = features.T @ features
    # Constant columns are exact zeros after centring; they would force the slow route for nothing.
    alive = xp.nonzero(xp.linalg.diagonal(moments) > 0)[0]
    if alive.shape[0] == 0:
        return Decomposition(xp.sum(features[:, :0], axis=0), 1.0, shape, features[:, :0])
    if alive.shape[0] < p:
        moments = xp.take(xp.take(moments, alive, axis=0), alive, axis=1)
    found = _trusted_eigenpairs(xp, moments, cut, null_directions=0)
    if found is None:
        return None
    singular, vectors = found
    rotation = vectors / singular
    if alive.shape[0] < p:
        rotation = _spread(xp, rotation, alive, p)
    state = Decomposition(singular, 1.0, shape, features, rotation)
    smallest = number(singular[-1]) / number(singular[0])
    if p * EXAMPLES_PER_FEATURE <= n and smallest**2 > SAFE_EIGENVALUE_RATIO:
        return state
    return Decomposition(singular, 1.0, shape, state.basis)


def _spread(xp: Namespace, rows: Array, places: Array, count: int) -> Array:
    """A matrix (count, r) of zeros with these rows at these places."""
    device = array_api_compat.device(rows)
    chosen = xp.arange(count, device=device)[:, None] == places[None, :]  # (count, k)
    return xp.astype(chosen, rows.dtype) @ rows


def _from_gram(xp: Namespace, gram: Array, cut: _Cut) -> tuple[Array, Array] | None:
    """U and S from XXᵀ (n, n), or None where they cannot be trusted."""
    # Centred features leave out the direction of all ones, so one eigenvalue is always zero.
    found = _trusted_eigenpairs(xp, gram, cut, null_directions=1)
    return None if found is None else (found[1], found[0])


def _trusted_eigenpairs(
    xp: Namespace, squared: Array, cut: _Cut, *, null_directions: int
) -> tuple[Array, Array] | None:
    """Square roots of the eigenvalues of a squared representation, descending, with their vectors.

    None where an eigenvalue lies so low that squaring has blurred it.
    """
    values, vectors = xp.linalg.eigh(squared)
    end = values.shape[0] - null_directions
    values, vectors = xp.flip(values)[:end], xp.flip(vectors, axis=1)[:, :end]
    largest = number(values[0]) if end else 0.0
    if largest <= 0.0:
        return None
    rank = values[values > max(cut.limit * largest, cut.floor**2)].shape[0]
    if rank < end and not cut.widened:
        return None
    return xp.sqrt(values[:rank]), vectors[:, :rank]


def _orthonormalized(xp: Namespace, basis: Array) -> Array:
    """One Cholesky-QR step: exact to rounding for columns that are orthonormal but for a small error."""
    factor = xp.linalg.cholesky(basis.T @ basis)  # (r, r), lower
    return basis @ xp.linalg.inv(factor).T  # near the identity, so its inverse is as good as a solution


def _from_svd(xp: Namespace, features: Array, cut: _Cut) -> tuple[Array, Array]:
    n, p = features.shape
    if p > n:
        # With Xᵀ = Q R, X = Rᵀ Qᵀ has the left singular vectors of the small triangle.
        features = xp.linalg.qr(features.T)[1].T  # (n, n)
    basis, singular, _ = xp.linalg.svd(features, full_matrices=False)
    largest = number(singular[0])
    rank = singular[singular > max(cut.tolerance * largest, cut.floor)].shape[0]
    return basis[:, :rank], singular[:rank]


def nothing_left(function: str, state_x: Decomposition, state_y: Decomposition) -> Array | None:
    """NaN, with a warning, where a layer is constant, so that the measure is 0/0; None elsewhere."""
    for name, state in (("x", state_x), ("y", state_y)):
        if state.rank == 0:
            return undefined(function, f"all rows of {name} are equal (0/0).", state.singular_values)
    return None
