"""Shape distance of representations that vary between repeats (Duong et al. 2023): means and noise, aligned at once.

With covariances S_i = D_iᵀD_i and T_i = E_iᵀE_i, the Bures distance is min over rotations O of ‖D_i − O E_i Qᵀ‖. So the
rotation Q of the features and one rotation O_i of the noise of each example are sought together. Each is an orthogonal
Procrustes problem where the others are fixed, and solving them in turn never makes the fit worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.errors import InputError
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
    to_numpy,
    widest_float,
)
from repscope.measures._messages import is_real, is_whole
from repscope.measures.crossnobis import by_repeat, check_repeats

Matrix: TypeAlias = "npt.NDArray[np.float64]"

_ROUNDS = ((20, 8), (60, 3), (1000, 1))
"""Steps from every start, and how many of them are kept, the best ones: most of them end in the same few optima."""

_POWER_STEPS = 60
"""Towards the best common direction of the noise."""

_ENTRIES = 1 << 22
"""Of the arrays of several starts at once."""


@dataclass(frozen=True)
class StochasticState:
    """One layer's means and noise.

    Attributes:
        means: Mean patterns (n, p), centred over the examples, over ``scale``.
        deviations: D_i (n, m, p) with the covariances D_iᵀD_i, over ``scale``; zeros where there is no noise.
        scale: A power of two near the largest entry, in units of x.
    """

    means: Array
    deviations: Array
    scale: float


def check_options(repeats: object, alpha: object, starts: object) -> int:
    """Refuse options that mean nothing; return the smallest number of rows."""
    check_repeats("stochastic_shape_distance", repeats)
    _check_search("stochastic_shape_distance", alpha, starts)
    assert isinstance(repeats, int)
    return 2 * repeats


def _check_search(function: str, alpha: object, starts: object) -> None:
    if not is_whole(starts) or starts < 0:
        raise InputError(
            f"{function}: starts must be a whole number from 0, got {starts!r}. Use 32; more of them take longer "
            "and may find a smaller distance."
        )
    if not is_real(alpha) or not 0 <= alpha <= 2:
        raise InputError(
            f"{function}: alpha must be from 0 (covariances only) to 2 (means only), got {alpha!r}. Use 1 for "
            "both, the Wasserstein distance."
        )


def prepare(x: Array, *, repeats: int = 1) -> StochasticState:
    """Means and noise of one checked representation (n·r, p)."""
    xp = array_api_compat.array_namespace(x)
    features, scale = center_and_scale(xp, xp.astype(x, widest_float(xp, x), copy=False))
    rows, p = features.shape
    if p > rows and not differentiable(features):
        features = xp.linalg.qr(features.T)[1].T  # coordinates in the span of the rows: the same, rotated
    trials = by_repeat("stochastic_shape_distance", features, repeats)  # (n, r, p)
    means = xp.mean(trials, axis=1)
    deviations = (trials - means[:, None, :]) / max(repeats - 1, 1) ** 0.5
    return StochasticState(means, _short(xp, deviations), scale)


def _short(xp: Namespace, deviations: Array) -> Array:
    """Deviations (n, m, p) of the same covariances with p rows at most."""
    if deviations.shape[1] <= deviations.shape[2] or differentiable(deviations):
        return deviations
    return xp.linalg.qr(deviations)[1]


def score(state_x: StochasticState, state_y: StochasticState, *, alpha: float = 1.0, starts: int = 32) -> Array:
    """Stochastic shape distance of two prepared layers."""
    if state_x.means.shape[1] < state_y.means.shape[1]:
        state_x, state_y = state_y, state_x
    xp = array_api_compat.array_namespace(state_x.means)
    scale = max(state_x.scale, state_y.scale)
    M, N = in_one_type(xp, state_x.means * (state_x.scale / scale), state_y.means * (state_y.scale / scale))
    D, E = (state.deviations * (state.scale / scale) for state in (state_x, state_y))
    D, E = in_one_type(xp, *_of_one_length(xp, D, E))
    M, N, D, E = M * alpha**0.5, N * alpha**0.5, D * (2 - alpha) ** 0.5, E * (2 - alpha) ** 0.5
    found = _alignment(*(to_numpy(detached(z)) for z in (M, D, N, E)), count=starts)
    Q, rotations = (xp.asarray(z, dtype=M.dtype, device=array_api_compat.device(M)) for z in found)
    # The best alignment drops out of the derivative (envelope theorem).
    missed = frobenius_squared(xp, M - N @ Q.T) + xp.sum((D - rotations @ E @ Q.T) ** 2)
    return xp.sqrt(missed / M.shape[0]) * scale


def _of_one_length(xp: Namespace, D: Array, E: Array) -> tuple[Array, Array]:
    """Deviations with as many rows on either side, by rows of zeros."""
    longest = max(D.shape[1], E.shape[1])
    padded = []
    for z in (D, E):
        n, m, p = z.shape
        zeros = xp.zeros((n, longest - m, p), dtype=z.dtype, device=array_api_compat.device(z))
        padded.append(xp.concat([z, zeros], axis=1) if m < longest else z)
    return padded[0], padded[1]


def _alignment(M: Matrix, D: Matrix, N: Matrix, E: Matrix, *, count: int) -> tuple[Matrix, Matrix]:
    """The rotation Q (p, q) that is found to fit best, and the rotations O (n, m, m) of the noise that go with it."""
    Q = _starts(M, D, N, E, count)
    for steps, kept in _ROUNDS:
        fits, Q = _climbed(M, D, N, E, Q, steps)
        best = np.argsort(-fits, kind="stable")[:kept]
        Q = Q[best]
    return Q[0], _polar(_noise_product(D, Q, E))[0]


def _climbed(M: Matrix, D: Matrix, N: Matrix, E: Matrix, Q: Matrix, steps: int) -> tuple[Matrix, Matrix]:
    """Alternate from each start (s, p, q) while the fit ⟨M, N Qᵀ⟩ + Σ_i ‖D_i Q E_iᵀ‖_* grows: fits and ends."""
    eps = float(np.finfo(M.dtype).eps)
    fits, ends = [], []
    together = max(1, _ENTRIES // (D.shape[0] * D.shape[1] * max(E.shape[1:])))
    for begin in range(0, Q.shape[0], together):
        part, before = Q[begin : begin + together], np.asarray(-1.0)
        for step in range(steps):
            left, singular, right = np.linalg.svd(_gradient(M, D, N, E, part, exact=step == 0), full_matrices=False)
            part, fit = left @ right, singular.sum(axis=-1)
            if np.all(fit - before <= 4 * eps * fit):
                break
            before = fit
        fits.append(fit)
        ends.append(part)
    return np.concatenate(fits), np.concatenate(ends)


def _gradient(M: Matrix, D: Matrix, N: Matrix, E: Matrix, Q: Matrix, *, exact: bool = False) -> Matrix:
    """MᵀN + Σ_i D_iᵀ O_i E_i (s, p, q) with the best O_i for each Q; ``exact``: none is turned without a reason."""
    turned = _polar(_noise_product(D, Q, E), exact=exact) @ E  # (s, n, m, q)
    return M.T @ N + _rows(D).T @ np.reshape(turned, (Q.shape[0], -1, E.shape[2]))


def _noise_product(D: Matrix, Q: Matrix, E: Matrix) -> Matrix:
    """D_i Q E_iᵀ (s, n, m, m)."""
    return D @ Q[:, None, :, :] @ np.swapaxes(E, -1, -2)


def _rows(z: Matrix) -> Matrix:
    """(n, m, p) as (n·m, p)."""
    return np.reshape(z, (-1, z.shape[2]))


def _polar(z: Matrix, *, exact: bool = False) -> Matrix:
    """U Vᵀ of z = U S Vᵀ, stacked or not; ``exact``: without directions in which S is rounding, whose U is chance."""
    left, singular, right = np.linalg.svd(z, full_matrices=False)
    if exact:
        least = float(np.finfo(z.dtype).eps) ** 0.5 * singular[..., :1]
        left = left * (singular > least)[..., None, :]
    turned: Matrix = left @ right
    return turned


def _starts(M: Matrix, D: Matrix, N: Matrix, E: Matrix, count: int) -> Matrix:
    """Where to begin (s, p, q), in terms that turn as the features do: by means, by noise, by principal axes."""
    by_means = M.T @ N
    starts = [_polar(by_means, exact=True)]
    if not D.any() or not E.any():
        return starts[0][None, :, :]
    strongest = _first_axis(D)[:, None] * _first_axis(E)[None, :]
    by_noise = _polar(_common(D, E, strongest), exact=True)
    starts += [by_noise, -by_noise, _polar(_common(D, E, by_means), exact=True)]
    U, V = _axes(M, D), _axes(N, E)
    p, q = by_means.shape
    rng = np.random.default_rng(0)
    fixed = [np.eye(p)]
    for _ in range(count):
        rotation = np.linalg.qr(rng.standard_normal((p, p)))[0]
        fixed += [rotation, rotation.T]  # both, so that nothing changes when x and y change places
    return np.stack(starts + [U @ z[:, :q] @ V.T for z in fixed])


def _common(D: Matrix, E: Matrix, A: Matrix) -> Matrix:
    """Towards the strongest A of Σ_i S_i A T_i, by power iteration: it fits the covariances as a whole."""
    for _ in range(_POWER_STEPS):
        A = _rows(D).T @ _rows(D @ A @ np.swapaxes(E, -1, -2) @ E)
        length = float(np.linalg.norm(A))
        A = A / (length or 1.0)
    return A


def _first_axis(D: Matrix) -> Matrix:
    rows = _rows(D)
    axis: Matrix = np.linalg.eigh(rows.T @ rows)[1][:, -1]
    return axis


def _axes(M: Matrix, D: Matrix) -> Matrix:
    """Principal axes (p, p) of means and noise together, signed by the skewness of the means along them."""
    rows = np.concatenate([M, _rows(D)])
    axes = np.flip(np.linalg.eigh(rows.T @ rows)[1], axis=1)
    skewness = np.sum((M @ axes) ** 3, axis=0)
    signed: Matrix = axes * np.where(skewness < 0, -1.0, 1.0)
    return signed


def stochastic_shape_distance(x: Array, y: Array, *, repeats: int = 1, alpha: float = 1.0, starts: int = 32) -> Array:
    """Shape distance of two representations with noise: how far means and covariances are apart after one rotation.

    With means μ_i, ν_i and covariances S_i, T_i of the repeats of example i,

    d² = min over rotations Q of (1/n) Σ_i [α ‖μ_i − Q ν_i‖² + (2 − α) B²(S_i, Q T_i Qᵀ)],

    with the Bures distance B²(S, T) = tr S + tr T − 2 tr (S^½ T S^½)^½. For α = 1 the bracket is the squared
    Wasserstein distance of two Gaussians; α = 2 compares means only (the distance of :func:`procrustes`, times
    √(2/n)), α = 0 covariances only. Means are centred over the examples; lengths count.

    Q and the n rotations in B are found in turns, from a fixed set of starts that turn with the features: the best
    rotation of the means, that of the noise, and the principal axes in ``starts`` relative positions, the same for all
    data. So the same data give the same number, also when they are rotated. It is the least one found, an upper bound
    of the minimum: the minimum itself for layers that resemble each other, and of unrelated ones with few examples it
    may be a little larger, the more so the smaller α.

    Range: [0, ∞), in units of the features. Invariances: orthogonal maps and translation. Symmetric. The minimum is a
    metric; the value is one for α = 2, where it is exact. Covariances of few repeats are themselves noisy, which adds
    to the distance: compare layers at equal numbers of repeats only.

    Args:
        x: Representation (n·r, p): the r rows of the first example, then those of the second. Data (n, r, p) are
            ``data.reshape(n * r, p)``.
        y: Representation (n·r, q) of the same examples; which repeat is which does not matter.
        repeats: r; with 1 there is no noise, and only means are compared.
        alpha: From 0 to 2.
        starts: Relative positions of the principal axes from which to start, each with its inverse.

    Returns:
        A scalar of the caller's library; the rotations are sought by numpy, in double precision. Torch gradients flow
        through it with the rotations held fixed, except at 0.

    Raises:
        InputError: For arrays that do not match, rows that are no multiple of the repeats, an alpha outside [0, 2],
            too few examples, or NaN and infinity.

    References:
        Duong, Zhou, Nassar, Berman, Olieslagers & Williams 2023, Representational dissimilarity metric spaces for
        stochastic neural networks.

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(20, 5, 3)
        >>> turned = (x @ [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]).reshape(100, 3)
        >>> float(stochastic_shape_distance(x.reshape(100, 3), turned, repeats=5)) < 1e-9
        True
    """
    fewest = check_options(repeats, alpha, starts)
    x, y = check_pair("stochastic_shape_distance", x, y, minimum_examples=fewest)
    return score(prepare(x, repeats=repeats), prepare(y, repeats=repeats), alpha=alpha, starts=starts)


def gaussian_shape_distance(
    means_x: Array,
    covariances_x: Array,
    means_y: Array,
    covariances_y: Array,
    *,
    alpha: float = 1.0,
    starts: int = 32,
) -> Array:
    """:func:`stochastic_shape_distance` of means and covariances that are known.

    Args:
        means_x: Mean patterns (n, p).
        covariances_x: Their covariances (n, p, p).
        means_y: Mean patterns (n, q) for the same examples.
        covariances_y: Their covariances (n, q, q).
        alpha: From 0 (covariances only) to 2 (means only).
        starts: As there.

    Returns:
        A scalar of the caller's library.

    Raises:
        InputError: For arrays that do not match, what is no covariance, and an alpha outside [0, 2].

    Example:
        >>> import numpy as np
        >>> means = np.random.RandomState(0).randn(4, 2)
        >>> wide, narrow = np.array([4 * np.eye(2)] * 4), np.array([np.eye(2)] * 4)
        >>> round(float(gaussian_shape_distance(means, wide, means, narrow)), 6)  # two standard deviations differ by 1
        1.414214
    """
    function = "gaussian_shape_distance"
    _check_search(function, alpha, starts)
    means_x, means_y = check_pair(function, means_x, means_y)
    states = [_known(function, *side) for side in (("x", means_x, covariances_x), ("y", means_y, covariances_y))]
    return score(states[0], states[1], alpha=alpha, starts=starts)


def _known(function: str, name: str, means: Array, covariances: Array) -> StochasticState:
    """The state of known means (n, p) and covariances (n, p, p)."""
    xp = array_api_compat.array_namespace(means)
    n, p = means.shape
    remedy = (
        f"Give one covariance for each of the {n} rows of means_{name}, symmetric and without negative eigenvalues."
    )
    refused = f"{function}: covariances_{name} must be positive semidefinite of shape ({n}, {p}, {p})"
    shape = tuple(getattr(covariances, "shape", ()))
    if shape != (n, p, p):
        raise InputError(f"{refused}, got shape {shape}. {remedy}")
    means, covariances = (xp.astype(z, widest_float(xp, z)) for z in (means, covariances))
    largest = number(xp.max(xp.abs(covariances)))
    rounding = 1e-6 * largest
    if not number(xp.max(xp.abs(covariances - xp.matrix_transpose(covariances)))) <= rounding:
        raise InputError(f"{refused}, got ones that are not finite or not symmetric. {remedy}")
    values, vectors = xp.linalg.eigh(covariances)
    if number(xp.min(values)) < -rounding:
        raise InputError(f"{refused}, got an eigenvalue of {number(xp.min(values)):.3g}. {remedy}")
    # Of an eigenvalue that is rounding, 1e-16, the root would be 1e-8.
    least = 4 * p * float(xp.finfo(values.dtype).eps) * values[:, -1:]
    roots = xp.sqrt(xp.where(values > least, values, xp.zeros_like(values)))
    centred, scale = center_and_scale(xp, means)
    return StochasticState(centred, roots[:, :, None] * xp.matrix_transpose(vectors) / scale, scale)
