"""Dissimilarities of examples that were shown several times: noise taken out of the patterns, and out of the bias.

The repeats of an example follow each other in the rows. With one of them left out at a time, a difference of two
patterns is multiplied by the same difference in the others: noise, which the two do not share, is 0 on average (Walther
et al. 2016). The covariance of the noise comes from the others alone, so the pattern left out is independent of it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import array_api_compat

from repscope.errors import InputError
from repscope.measures._arrays import (
    Array,
    Namespace,
    center_and_scale,
    check_representation,
    frobenius_squared,
    number,
    squared_lengths,
    widest_float,
)
from repscope.measures._messages import check_choice, is_whole
from repscope.measures.kernels import without_diagonal

Noise: TypeAlias = Literal["shrunk", "diagonal", "identity"]

NOISES = ("shrunk", "diagonal", "identity")


def check_repeats(function: str, repeats: object, *, least: int = 1, reason: str = "") -> None:
    """Refuse what is no number of repeats, or too few."""
    if not is_whole(repeats) or repeats < least:
        raise InputError(
            f"{function}: repeats must be a whole number from {least}{reason}, got {repeats!r}. It is how often each "
            "example was shown; its rows follow each other."
        )


def check_crossnobis(function: str, repeats: object, noise: object) -> None:
    """Refuse too few repeats to leave one out, and unknown words for the noise."""
    check_choice(function, "noise", noise, NOISES)
    if noise == "identity":
        check_repeats(function, repeats, least=2, reason=" for crossnobis, which leaves one out")
        return
    reason = f" for crossnobis with noise={noise!r}, which comes from those that are not left out ('identity' needs 2)"
    check_repeats(function, repeats, least=3, reason=reason)


def by_repeat(function: str, x: Array, repeats: int) -> Array:
    """The rows of a representation (n·r, p), r for each example, as (n, r, p)."""
    rows, p = x.shape
    if rows % repeats:
        raise InputError(
            f"{function}: x and y must have a multiple of repeats={repeats} rows, those of an example one after the "
            f"other, got {rows}. For data (examples, repeats, features) use data.reshape(-1, features)."
        )
    return array_api_compat.array_namespace(x).reshape(x, (rows // repeats, repeats, p))


def cross_validated(x: Array, *, repeats: int, noise: Noise | Array, function: str = "rsa") -> Array:
    """Crossnobis dissimilarities (n, n) of one checked representation (n·r, p); see :func:`crossnobis`."""
    xp = array_api_compat.array_namespace(x)
    features, scale, width = _centered(xp, x, noise)
    trials = by_repeat(function, features, repeats)  # (n, r, p)
    others = (xp.sum(trials, axis=1, keepdims=True) - trials) / (repeats - 1)
    products = xp.zeros((trials.shape[0],) * 2, dtype=features.dtype, device=array_api_compat.device(features))
    for fold in range(repeats):
        rest = xp.concat([trials[:, :fold, :], trials[:, fold + 1 :, :]], axis=1)
        left = _divided(xp, trials[:, fold, :], rest, noise, width, function)
        products = products + left @ others[:, fold, :].T
    squares = _distances(xp, products / repeats)
    return squares if isinstance(noise, str) and noise != "identity" else squares * scale**2


def noise_normalized(x: Array, *, repeats: int, noise: Noise, function: str = "rsa") -> Array:
    """Squared distances (n, n) of mean patterns, divided by the noise of all repeats: not cross-validated."""
    xp = array_api_compat.array_namespace(x)
    features, _, width = _centered(xp, x, noise)
    trials = by_repeat(function, features, repeats)
    means = xp.mean(trials, axis=1)
    return _distances(xp, _divided(xp, means, trials, noise, width, function) @ means.T)


def _centered(xp: Namespace, x: Array, noise: Noise | Array) -> tuple[Array, float, int]:
    """Centred features over their scale, that scale, and the width: of wide layers, coordinates in their span."""
    x = xp.astype(x, widest_float(xp, x), copy=False)
    features, scale = center_and_scale(xp, x)
    rows, p = features.shape
    if p > rows and isinstance(noise, str) and noise != "diagonal":
        features = xp.linalg.qr(features.T)[1].T  # Xᵀ = Q R: the rows of Rᵀ are those of X, rotated
    return features, scale, p


def _distances(xp: Namespace, products: Array) -> Array:
    own = xp.linalg.diagonal(products)
    return without_diagonal(xp, (own[:, None] + own[None, :]) - (products + products.T))


def _divided(xp: Namespace, patterns: Array, trials: Array, noise: Noise | Array, width: int, function: str) -> Array:
    """Patterns (n, p) times the inverse covariance of the noise in these trials (n, r, p)."""
    if not isinstance(noise, str):
        return xp.linalg.solve(noise, patterns.T).T
    if noise == "identity" or number(xp.max(xp.abs(trials))) == 0.0:
        return patterns
    n, r, p = trials.shape
    residuals = xp.reshape(trials - xp.mean(trials, axis=1, keepdims=True), (n * r, p))
    freedom = n * (r - 1)
    largest = xp.max(xp.max(xp.abs(trials), axis=1), axis=0)  # (p,)
    rounding = (16 * float(xp.finfo(trials.dtype).eps) * largest) ** 2
    if noise == "diagonal":
        variances = xp.sum(residuals * residuals, axis=0) / freedom
        if bool(xp.any((variances <= rounding) & (largest > 0))):
            raise InputError(
                f"{function}: every feature must differ between the repeats of an example for noise='diagonal', got "
                "one that differs between examples only. Use noise='shrunk' or 'identity'."
            )
        return patterns / xp.where(variances > 0, variances, xp.ones_like(variances))
    covariance, floor = shrunk_covariance(xp, residuals, freedom, width)
    singular = float(xp.finfo(trials.dtype).eps) * number(xp.max(xp.linalg.diagonal(covariance)))
    if number(floor) <= max(singular, number(xp.max(rounding))):
        raise InputError(
            f"{function}: the repeats of an example must differ for noise='shrunk', got ones without noise, or all "
            "alike. Use noise='identity'."
        )
    return xp.linalg.solve(covariance, patterns.T).T


def shrunk_covariance(xp: Namespace, residuals: Array, freedom: int, width: int) -> tuple[Array, Array]:
    """Covariance (p, p) shrunk towards equal variances, and the variance that every direction has at least.

    Ledoit & Wolf 2004, eq. 14, for residuals (m, p) of ``freedom`` < m degrees, with the sample covariance divided by
    these, as rsatoolbox's ``shrinkage_eye``. Where features are coordinates in a span, ``width`` is their number
    outside it.
    """
    m, p = residuals.shape
    scatter = residuals.T @ residuals
    sample = scatter / freedom
    variance = xp.linalg.trace(sample) / width
    target = variance * xp.eye(p, dtype=sample.dtype, device=array_api_compat.device(sample))
    distance = frobenius_squared(xp, sample - target) + variance**2 * (width - p)
    error = (xp.sum(squared_lengths(residuals) ** 2) / m - frobenius_squared(xp, scatter / m)) / m
    share = xp.where(
        distance > error, error / xp.where(distance > 0, distance, xp.ones_like(distance)), 1.0 + 0.0 * error
    )
    return share * target + (1.0 - share) * sample, share * variance


def crossnobis(x: Array, *, repeats: int, noise: Noise | Array = "shrunk") -> Array:
    """Cross-validated Mahalanobis dissimilarities of all pairs of examples: 0 on average where only noise differs.

    With the r patterns x_i^a of example i, d(i, j) = (1/r) Σ_a (x_i^a − x_j^a)ᵀ S_a⁻¹ (x̄_i^{¬a} − x̄_j^{¬a}), where
    x̄^{¬a} is the mean of the repeats other than a, and S_a the covariance of their residuals: the cross-validated
    linear discriminant contrast. Unbiased: of examples with equal expected patterns it is 0 on average, for noise
    that is independent between repeats; of others it is their squared distance in units of the noise, with S_a⁻¹ as
    it is on average. So it may be negative. For :func:`rsa` of it use ``rdm="crossnobis"``.

    Which convention: it is not divided by the number of features (rsatoolbox does that). Every fold counts alike.

    Args:
        x: Representation (n·r, p): the r rows of the first example, then those of the second. Data (n, r, p) are
            ``data.reshape(n * r, p)``.
        repeats: r, from 3, or from 2 where the noise need not be estimated.
        noise: Its covariance. ``"shrunk"``: of the residuals, shrunk towards equal variances by as much as Ledoit &
            Wolf 2004 say. ``"diagonal"``: variances of the residuals only. ``"identity"``: left out, which gives
            cross-validated squared Euclidean distances. Or a covariance (p, p) of your own, from other data.

    Returns:
        Dissimilarities (n, n) in the widest float, symmetric, zeros on the diagonal.

    Raises:
        InputError: For too few repeats, rows that are no multiple of them, repeats without noise, a covariance that is
            not positive definite, NaN and infinity.

    References:
        Walther et al. 2016, Reliability of dissimilarity measures for multi-voxel pattern analysis; Nili et al. 2014;
        Ledoit & Wolf 2004.

    Example:
        >>> import numpy as np
        >>> rng = np.random.RandomState(0)
        >>> patterns = np.repeat([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0]], 50, axis=0)
        >>> crossnobis(patterns + rng.randn(150, 3), repeats=50).round(1)
        array([[0. , 0.1, 7.7],
               [0.1, 0. , 9.8],
               [7.7, 9.8, 0. ]])
    """
    x = check_representation("crossnobis", x, minimum_examples=1)
    xp = array_api_compat.array_namespace(x)
    if isinstance(noise, str):
        check_crossnobis("crossnobis", repeats, noise)
        return cross_validated(x, repeats=repeats, noise=noise, function="crossnobis")
    check_repeats("crossnobis", repeats, least=2, reason=", one of which is left out")
    noise = check_representation("crossnobis", noise, "noise", minimum_examples=1)
    noise = xp.astype(noise, widest_float(xp, x), copy=False)
    p = x.shape[1]
    symmetric = tuple(noise.shape) == (p, p) and bool(xp.all(xp.abs(noise - noise.T) <= 1e-6 * xp.max(xp.abs(noise))))
    if not symmetric or number(xp.min(xp.linalg.eigvalsh(noise))) <= 0:
        raise InputError(
            f"crossnobis: noise must be a positive definite covariance ({p}, {p}), or one of "
            f"{', '.join(map(repr, NOISES))}, got shape {tuple(noise.shape)}. Shrink it towards its diagonal."
        )
    return cross_validated(x, repeats=repeats, noise=noise, function="crossnobis")
