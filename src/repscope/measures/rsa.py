"""Representational similarity analysis (Kriegeskorte, Mur & Bandettini 2008): are the same examples far apart?

Each representation becomes a dissimilarity matrix of its examples (RDM), of which the pairs above the diagonal are
compared. With squared Euclidean distances and ``compare="cosine_cov"`` the score is biased linear CKA.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import array_api_compat
import numpy as np

from repscope.errors import InputError, MissingExtraError
from repscope.measures._arrays import (
    Array,
    Namespace,
    check_pair,
    detached,
    differentiable,
    number,
    on_the_host,
    typical_entries,
    undefined,
    widest_float,
)
from repscope.measures._decomposition import decompose
from repscope.measures._messages import check_choice, prepare_both
from repscope.measures.crossnobis import (
    NOISES,
    Noise,
    by_repeat,
    check_crossnobis,
    check_repeats,
    cross_validated,
    noise_normalized,
)
from repscope.measures.kernels import Cosine, center_gram, pairs_of, squared_distances

Dissimilarity: TypeAlias = Literal[
    "correlation", "squared_euclidean", "euclidean", "cosine", "mahalanobis", "crossnobis"
]
RDMComparison: TypeAlias = Literal["spearman", "pearson", "cosine", "rho_a", "tau_a", "cosine_cov", "corr_cov"]

DISSIMILARITIES = ("correlation", "squared_euclidean", "euclidean", "cosine", "mahalanobis", "crossnobis")
COMPARISONS = ("spearman", "pearson", "cosine", "rho_a", "tau_a", "cosine_cov", "corr_cov")

_ROUNDINGS = 256
"""Times eps of the largest entry: differences of entries that are no larger are rounding."""

MINIMUM_EXAMPLES = 3
"""Two examples have one distance, and nothing to correlate."""


@dataclass(frozen=True)
class RDMState:
    """One layer's dissimilarities, ready to be compared.

    Attributes:
        entries: Dissimilarities, ranks, or centred matrix, as the comparison needs them, in one dimension; of unit
            length where the score is a product.
        compare: The comparison.
        vanishes: There is nothing to compare: all examples are equal, or all equally far apart.
        untied: For τ_a the share of the pairs of entries that are not equal.
    """

    entries: Array
    compare: RDMComparison
    vanishes: bool
    untied: float = math.nan


def check_options(options: Mapping[str, Any], *, function: str = "rsa") -> int:
    """Refuse options that mean nothing; return the smallest number of rows."""
    rdm, repeats, noise = options["rdm"], options["repeats"], options["noise"]
    check_choice(function, "rdm", rdm, DISSIMILARITIES)
    check_choice(function, "compare", options["compare"], COMPARISONS)
    check_choice(function, "noise", noise, NOISES)
    check_repeats(function, repeats)
    if rdm == "crossnobis":
        check_crossnobis(function, repeats, noise)
    return MINIMUM_EXAMPLES * int(repeats)


def dissimilarities(x: Array, *, rdm: Dissimilarity, repeats: int = 1, noise: Noise = "shrunk") -> Array:
    """The dissimilarity matrix (n, n) of one checked representation (n·r, p)."""
    xp = array_api_compat.array_namespace(x)
    if rdm == "crossnobis":
        return cross_validated(x, repeats=repeats, noise=noise)
    if repeats > 1 and rdm == "mahalanobis":
        return noise_normalized(x, repeats=repeats, noise=noise)
    x = xp.astype(x, widest_float(xp, x), copy=False)
    return _DISTANCES[rdm](xp, x if repeats == 1 else xp.mean(by_repeat("rsa", x, repeats), axis=1))


def prepare(
    x: Array,
    *,
    rdm: Dissimilarity = "correlation",
    compare: RDMComparison = "spearman",
    repeats: int = 1,
    noise: Noise = "shrunk",
) -> RDMState:
    """Dissimilarities of one checked representation (n·r, p), as the comparison needs them."""
    return state_of(dissimilarities(x, rdm=rdm, repeats=repeats, noise=noise), compare)


def state_of(matrix: Array, compare: RDMComparison) -> RDMState:
    """A dissimilarity matrix (n, n) as the comparison needs it."""
    xp = array_api_compat.array_namespace(matrix)
    if compare in ("cosine_cov", "corr_cov"):
        largest = _largest(xp, matrix)
        if compare == "corr_cov":
            matrix = _without_mean(xp, matrix)
        # Whitening the pairs by their covariance, (4, 1, 0) for pairs that share two, one and no examples, is centring.
        return _unit(xp, xp.reshape(center_gram(matrix, "biased"), (-1,)), compare, largest)
    pairs = pairs_of(xp, matrix)
    largest = _largest(xp, pairs)
    if compare in ("rho_a", "tau_a"):
        ranked = ranks(xp, pairs)
        return RDMState(ranked, compare, _constant(xp, pairs), _untied(ranked) if compare == "tau_a" else math.nan)
    if compare == "spearman":
        if _constant(xp, pairs):
            return RDMState(pairs, compare, True)
        pairs, largest = ranks(xp, pairs), float(pairs.shape[0])
    if compare != "cosine":
        pairs -= xp.mean(pairs)
    return _unit(xp, pairs, compare, largest)


def _unit(xp: Namespace, entries: Array, compare: RDMComparison, largest: float) -> RDMState:
    """Entries of unit length, unless rounding is all that there is of them."""
    vanishes = _largest(xp, entries) <= 16 * float(xp.finfo(entries.dtype).eps) * largest
    if vanishes:
        return RDMState(entries, compare, True)
    length = xp.sqrt(xp.sum(entries * entries))
    if isinstance(entries, np.ndarray):
        entries /= length  # in place: fresh memory takes longer than the arithmetic
        return RDMState(entries, compare, False)
    return RDMState(entries / length, compare, False)


def _largest(xp: Namespace, entries: Array) -> float:
    """Largest absolute value."""
    return max(number(xp.max(entries)), -number(xp.min(entries)))


def _constant(xp: Namespace, pairs: Array) -> bool:
    return number(xp.max(pairs) - xp.min(pairs)) <= _rounding(xp, pairs)


def _rounding(xp: Namespace, pairs: Array) -> float:
    """Difference up to which two entries count as equal: what a sum over thousands of features leaves of zero."""
    return _ROUNDINGS * float(xp.finfo(pairs.dtype).eps) * _largest(xp, pairs)


def _without_mean(xp: Namespace, matrix: Array) -> Array:
    """Less the mean of the pairs, off the diagonal."""
    n = matrix.shape[0]
    index = xp.arange(n, device=array_api_compat.device(matrix))
    mean = xp.sum(matrix) / (n * (n - 1))
    return xp.where(index[:, None] == index[None, :], xp.zeros_like(matrix), matrix - mean)


def ranks(xp: Namespace, pairs: Array) -> Array:
    """Ranks from 1, the mean of their places for entries that are equal but for rounding."""
    pairs = detached(pairs)
    order = xp.argsort(pairs)
    ordered = xp.take(pairs, order)
    apart = ordered[1:] - ordered[:-1] > _rounding(xp, pairs)
    if isinstance(ordered, np.ndarray):
        first = np.flatnonzero(np.concatenate([[True], apart]))
        behind = np.append(first[1:], ordered.size)
        found = np.empty_like(ordered)
        found[order] = np.repeat(((first + behind + 1) / 2).astype(ordered.dtype), behind - first)
        return found
    steps = xp.cumulative_sum(xp.astype(apart, xp.int32), include_initial=True)
    # Searching for entries in their order stays near in memory.
    first, behind = (xp.searchsorted(steps, steps, side=side) for side in ("left", "right"))
    places = (xp.astype(first, ordered.dtype) + xp.astype(behind, ordered.dtype) + 1.0) / 2.0
    return xp.take(places, xp.argsort(order))


def _correlation(xp: Namespace, x: Array) -> Array:
    if x.shape[1] < 2:
        raise InputError(
            "rsa: x and y must have at least 2 features for rdm='correlation', which correlates over features, got 1. "
            "Use rdm='euclidean'."
        )
    rows = x - xp.mean(x, axis=1, keepdims=True)
    rows = rows - xp.mean(rows, axis=1, keepdims=True)
    lengths = xp.sqrt(xp.sum(rows * rows, axis=1, keepdims=True))
    flat = lengths <= 4 * float(xp.finfo(x.dtype).eps) * xp.sqrt(xp.sum(x * x, axis=1, keepdims=True))
    if bool(xp.any(flat)):
        row = int(xp.argmax(xp.astype(flat[:, 0], xp.int8)))
        raise InputError(
            f"rsa: the features of every example must differ for rdm='correlation', got equal ones in row {row}. "
            "Leave that example out, or use rdm='euclidean'."
        )
    rows = rows / lengths
    return _off_diagonal(xp, 1.0 - rows @ rows.T)


def _cosine(xp: Namespace, x: Array) -> Array:
    return _off_diagonal(xp, 1.0 - Cosine().gram(x))


def _squared_euclidean(xp: Namespace, x: Array) -> Array:
    # An entry of each column is subtracted, not the mean: of coarse numbers that leaves equal distances equal.
    return squared_distances(xp, x - typical_entries(xp, x))


def _euclidean(xp: Namespace, x: Array) -> Array:
    squared = _squared_euclidean(xp, x)
    if not differentiable(squared):
        return xp.sqrt(squared)
    apart = squared > 0  # the root has no derivative at 0; its subgradient there is 0
    return xp.where(apart, xp.sqrt(xp.where(apart, squared, xp.ones_like(squared))), xp.zeros_like(squared))


def _mahalanobis(xp: Namespace, x: Array) -> Array:
    """Squared distances after whitening by the representation's own covariance; of its span where it is singular."""
    decomposition = decompose(x)
    if decomposition.rank == 0:
        return xp.zeros((x.shape[0], x.shape[0]), dtype=x.dtype, device=array_api_compat.device(x))
    return squared_distances(xp, decomposition.basis)


def _off_diagonal(xp: Namespace, matrix: Array) -> Array:
    index = xp.arange(matrix.shape[0], device=array_api_compat.device(matrix))
    return xp.where(index[:, None] == index[None, :], xp.zeros_like(matrix), matrix)


_DISTANCES = {
    "correlation": _correlation,
    "squared_euclidean": _squared_euclidean,
    "euclidean": _euclidean,
    "cosine": _cosine,
    "mahalanobis": _mahalanobis,
}


def score(state_x: RDMState, state_y: RDMState) -> Array:
    """Compare two prepared layers."""
    x, y = state_x.entries, state_y.entries
    xp = array_api_compat.array_namespace(x, y)
    for name, state in (("x", state_x), ("y", state_y)):
        if state.vanishes:
            return undefined("rsa", f"all rows of {name} are equal, or equally far apart (0/0).", xp.sum(x) + xp.sum(y))
    m = x.shape[0]
    if state_x.compare == "rho_a":
        # Means of m(m+1)/4·(m+1) are taken off before the product: nothing is lost to cancellation.
        centre = (m + 1) / 2
        return 12.0 * xp.sum((x - centre) * (y - centre)) / (float(m) ** 3 - m)
    if state_x.compare == "tau_a":
        return _tau_b(xp, x, y) * math.sqrt(state_x.untied) * math.sqrt(state_y.untied)
    return xp.sum(x * y)


def _tau_b(xp: Namespace, x: Array, y: Array) -> Array:
    """Kendall's τ_b by scipy, in m log m steps; τ_a is that times the root of both shares of pairs without ties."""
    try:
        from scipy.stats import kendalltau
    except ImportError:
        raise MissingExtraError("rsa: compare='tau_a'", "scipy", "measures") from None
    value = float(kendalltau(on_the_host(x), on_the_host(y)).statistic)
    return xp.sum(x[:1]) * 0.0 + value


def _untied(entries: Array) -> float:
    counts = np.unique(on_the_host(entries), return_counts=True)[1].astype(np.float64)
    m = float(counts.sum())
    return 1.0 - float(np.sum(counts * (counts - 1))) / (m * (m - 1))


def rsa(
    x: Array,
    y: Array,
    *,
    rdm: Dissimilarity = "correlation",
    compare: RDMComparison = "spearman",
    repeats: int = 1,
    noise: Noise = "shrunk",
) -> Array:
    """Representational similarity analysis: how alike the dissimilarities between examples are.

    Dissimilarity of two examples (``rdm``): ``"correlation"``: 1 − Pearson's correlation over the features;
    ``"cosine"``: 1 − cosine; ``"euclidean"`` and ``"squared_euclidean"``; ``"mahalanobis"``: squared, after whitening
    by the representation's own covariance, or by that of the noise where there are repeats; ``"crossnobis"``: the same
    cross-validated over the repeats, so that noise adds nothing to it on average (:func:`crossnobis`).

    Comparison over the pairs of examples (``compare``): ``"spearman"`` (entries that are equal but for rounding share
    their mean rank), ``"pearson"``, ``"cosine"``; ``"rho_a"`` and ``"tau_a"``: Spearman's and Kendall's coefficient as
    expected when ties are broken at random, the ones to use where an RDM predicts ties; ``"cosine_cov"`` and
    ``"corr_cov"``: cosine and correlation of pairs whitened by the covariance that they have because they share
    examples (Diedrichsen et al. 2021, examples of equal and independent noise).

    Pairs of examples are not independent, so the p-value of an ordinary correlation test is wrong here: permute the
    examples (:func:`repscope.compare` and its permutation tests do, all repeats of an example together).

    Range: [−1, 1]. Invariances: isotropic scaling and permutation of features; orthogonal maps for all but
    ``"correlation"`` and noise that is ``"diagonal"``; translation for the Euclidean, Mahalanobis and crossnobis
    dissimilarities; invertible linear maps for Mahalanobis by the layer's own covariance. Symmetric. Not a metric; the
    arc cosine is one, but for ``"rho_a"`` and ``"tau_a"``.

    Args:
        x: Representation (n, p); with repeats (n·r, p), the r rows of the first example, then those of the second.
        y: Representation (n, q) or (n·r, q) of the same examples.
        rdm: See above.
        compare: See above; ``"tau_a"`` needs scipy.
        repeats: r, how often each example was shown. All dissimilarities but ``"crossnobis"``, which needs repeats, are
            of the mean patterns.
        noise: For ``"crossnobis"``, and ``"mahalanobis"`` with repeats, the covariance of the residuals of the repeats:
            ``"shrunk"`` towards equal variances (Ledoit & Wolf 2004), ``"diagonal"``, or ``"identity"``, none. To use
            another one S, give ``x @ numpy.linalg.inv(numpy.linalg.cholesky(S)).T`` with ``"identity"``.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where the examples of one side are all equal, or all
        equally far apart. Torch gradients flow through it, but not for the comparisons of ranks.

    Raises:
        InputError: For arrays that do not match, fewer than 3 examples, too few repeats, NaN and infinity, examples
            without a direction (zeros for the cosine, equal features for the correlation), or repeats without noise.
        MissingExtraError: For ``"tau_a"`` without scipy.

    References:
        Kriegeskorte et al. 2008; Nili et al. 2014 (τ_a); Walther et al. 2016 (crossnobis); Diedrichsen et al. 2021
        (whitening); Schütt et al. 2023 (ρ_a).

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(30, 5)
        >>> abs(float(rsa(x, 2 * x)) - 1.0) < 1e-12
        True
    """
    fewest = check_options({"rdm": rdm, "compare": compare, "repeats": repeats, "noise": noise})
    x, y = check_pair("rsa", x, y, minimum_examples=fewest)
    settled = partial(prepare, rdm=rdm, compare=compare, repeats=repeats, noise=noise)
    return score(*prepare_both("rsa", settled, x, y))
