"""Similarity that a confounder does not explain: the inputs' own similarity, or another representation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import array_api_compat

from repscope.errors import DegenerateInputWarning, InputError, RankWarning
from repscope.measures._arrays import Array, Namespace, center, check_pair, number, widest_float
from repscope.measures._decomposition import decompose
from repscope.measures._messages import warn
from repscope.measures.catalog import configure
from repscope.measures.kernels import (
    Estimator,
    KernelLike,
    as_kernel,
    center_gram,
    check_estimator,
    gram_matrix,
    minimum_examples,
)
from repscope.measures.measure import ConfiguredMeasure

EXAMPLES_A_FEATURE = 4
"""Examples there should be for each feature that is taken out: of n examples on q features n − 1 − q dimensions remain,
the same ones of both representations, and where these are few everything seems alike in them.
"""

_FORCED = 0.05
"""How alike unrelated layers of p features may seem for lack of r of n dimensions on both sides: about rp / n²."""


@dataclass(frozen=True)
class Deconfounded:
    """CKA without what a confounder explains.

    Attributes:
        value: The similarity, with the projection onto positive matrices or without it, as was asked for.
        without_projection: That without it; a partial correlation of Gram matrices.
        psd: Whether ``value`` is with it.
        explained: Shares of the two squared Gram matrices that the confounder explains.
        negative: Shares of the residuals' absolute eigenvalues that are negative and are cut off by the projection.
    """

    value: float
    without_projection: float
    psd: bool
    explained: tuple[float, float]
    negative: tuple[float, float]


def deconfounded_cka(
    x: Array, y: Array, confound: Array, *, psd: bool, kernel: KernelLike = "linear", estimator: Estimator = "biased"
) -> Deconfounded:
    """CKA after the similarity of a confounder was regressed out of both Gram matrices (Cui et al. 2022).

    With centred Gram matrices K of x and K₀ of the confounder, usually the network's inputs, what remains of x is
    K − α K₀, α = ⟨K, K₀⟩ / ⟨K₀, K₀⟩, and the same of y. This difference is no Gram matrix: it has negative eigenvalues.
    ``psd=True``, as in the paper, sets them to 0 before the CKA; ``psd=False`` leaves them, which gives the partial
    correlation of the three matrices, and with ``estimator="unbiased"`` that of Székely & Rizzo (2014). The two may
    differ widely (0.25 and 0.59 on one example), so the choice must be made, and the result tells both.

    Range: [0, 1] with the projection and the biased estimator; [−1, 1] otherwise. 1 means that what remains is equal up
    to scale. Invariances: those of the kernel, for each of the three.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        confound: What may explain their similarity (n, r), such as the flattened inputs.
        psd: Whether negative eigenvalues of what remains are set to 0. The choice is the caller's.
        kernel: Of all three, as in :func:`repscope.cka`.
        estimator: As in :func:`repscope.cka`; the paper's is ``"biased"``.

    Returns:
        The similarity and what was done to get it. NaN, with a warning, where the confounder explains all of x or y.

    Raises:
        InputError: For arrays that do not match, a constant confounder, or too few examples.

    References:
        Cui, Kumar, Marttinen & Kaski 2022, eqs. 4 to 7; Székely & Rizzo 2014 (without the projection).

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> inputs = rng.standard_normal((80, 5))
        >>> x, y = inputs + 0.3 * rng.standard_normal((80, 5)), inputs + 0.3 * rng.standard_normal((80, 5))
        >>> found = deconfounded_cka(x, y, inputs, psd=False, estimator="unbiased")
        >>> round(found.value, 1), round(found.explained[0], 1)
        (0.0, 1.0)
    """
    name = "deconfounded_cka"
    check_estimator(name, estimator)
    if not isinstance(psd, bool):
        raise InputError(
            f"{name}: psd must be True or False, got {psd!r}. Say whether negative eigenvalues are cut off."
        )
    chosen = as_kernel(kernel, name)
    least = minimum_examples(estimator)
    x, y = check_pair(name, x, y, minimum_examples=least, as_stored=True)
    _, z = _check_third(name, x, confound, "confound", least)
    xp = array_api_compat.array_namespace(x)
    rounding = [_rounding(xp, a, z) for a in (x, y)]
    wide = [xp.astype(a, widest_float(xp, a), copy=False) for a in (x, y, z)]
    # Both centrings are linear, and the biased one before the other changes nothing in it.
    grams = [center_gram(gram_matrix(chosen, a), "biased") for a in wide]
    k0 = center_gram(grams[2], estimator)
    if _vanishes(xp, k0, grams[2]):
        raise InputError(f"{name}: confound must vary over the examples, got equal ones. It explains nothing; use cka.")
    residuals, explained = [], []
    for gram in grams[:2]:
        k = center_gram(gram, estimator)
        share = _product(xp, k, k0) / _product(xp, k0, k0)
        residuals.append(gram - share * grams[2])
        whole = _product(xp, k, k)
        explained.append(share * _product(xp, k, k0) / whole if whole > 0 else math.nan)
    spectra = [xp.linalg.eigh(residual) for residual in residuals]
    negative = []
    positive = []
    for values, vectors in spectra:
        cut = xp.where(values > 0, values, xp.zeros_like(values))
        total = number(xp.sum(xp.abs(values)))
        negative.append((total - number(xp.sum(cut))) / total if total > 0 else math.nan)
        positive.append((vectors * cut) @ vectors.T)
    pairs = []
    for remaining in (positive, residuals):
        centred = [center_gram(gram, estimator) for gram in remaining]
        gone = [_vanishes(xp, k, gram, eps) for k, gram, eps in zip(centred, grams[:2], rounding, strict=True)]
        pairs.append(math.nan if any(gone) else _cosine(xp, *centred))
    if any(map(math.isnan, pairs)):
        warn(
            f"{name}: the confounder explains all of x or y, or they are constant (0/0). The result is NaN.",
            DegenerateInputWarning,
        )
    return Deconfounded(
        value=pairs[0] if psd else pairs[1],
        without_projection=pairs[1],
        psd=psd,
        explained=(explained[0], explained[1]),
        negative=(negative[0], negative[1]),
    )


def partial_similarity(measure: str | ConfiguredMeasure, x: Array, y: Array, given: Array, **options: object) -> float:
    """Similarity of what two representations hold beyond a third one.

    Every feature of x and y is replaced by what linear regression on ``given`` leaves of it, x − Q Qᵀ x with an
    orthonormal basis Q of the centred ``given``; then they are compared by any measure. (:func:`deconfounded_cka` takes
    out similarities of examples instead, which is less: all that is linear in ``given`` goes here.)

    What is left of any two representations lies in the same n − 1 − r dimensions, and so is alike. Unbiased HSIC and
    CKA stay unbiased: as U-centring takes from a Gram matrix its diagonal and all that is constant along rows or
    columns, here also all that is linear in ``given`` along them goes, and unrelated representations
    score 0 on average whatever their width. Other measures of wide layers rise, which is warned of.

    Range and invariances: those of the measure; also any invertible linear map of ``given``.

    Args:
        measure: An id of ``repscope.measures()``, or a measure settled by ``repscope.configure``.
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        given: The third representation (n, r), r < n − 1.
        **options: Options of the measure.

    Returns:
        The score.

    Raises:
        InputError: For arrays that do not match, unknown measures or options, or too few examples for ``given``.

    References:
        The partial correlation of matrices; with ``"cca"``, partial canonical correlations (Rao 1969).

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> z = rng.standard_normal((200, 5))
        >>> x, y = z + 0.5 * rng.standard_normal((200, 5)), z + 0.5 * rng.standard_normal((200, 5))
        >>> round(partial_similarity("cka", x, y, z), 1)
        0.0
    """
    name = "partial_similarity"
    settled = configure(measure, **options)
    least = settled.facts.minimum_examples
    x, y = check_pair(name, x, y, minimum_examples=least, as_stored=True)
    _, z = _check_third(name, x, given, "given", least)
    xp = array_api_compat.array_namespace(x)
    wide = widest_float(xp, x)
    basis = decompose(z).basis
    n, rank = int(x.shape[0]), int(basis.shape[1])
    if n - rank < max(least, 2):
        raise InputError(
            f"{name}: given must leave at least {max(least, 2)} of {n} examples' dimensions, got {rank} independent "
            "features. Use more examples, or fewer features (its first principal components)."
        )
    unbiased = settled.id in ("cka", "hsic") and settled.options["estimator"] == "unbiased"
    narrower = min(int(x.shape[1]), int(y.shape[1]))
    if not unbiased and (n < EXAMPLES_A_FEATURE * rank or rank * narrower > _FORCED * n * n):
        enough = max(EXAMPLES_A_FEATURE * rank, math.ceil(math.sqrt(rank * narrower / _FORCED)))
        warn(
            f"{name}: {n} examples are few for {rank} features of given: what remains lies in the same {n - 1 - rank} "
            f"dimensions of both and seems alike. Use {enough} examples or more, or unbiased CKA.",
            RankWarning,
        )
    rest = []
    for stored in (x, y):
        a = center(xp, xp.astype(stored, wide))
        left = a - basis @ (basis.T @ a)
        left = left - basis @ (basis.T @ left)  # once more: what rounding left of the first is as large as its digits
        size, before = number(xp.max(xp.abs(left))), number(xp.max(xp.abs(stored)))
        # Nothing but rounding remains of a representation that is linear in the third one.
        rest.append(left if size > 64 * _rounding(xp, stored, z) * before else xp.zeros_like(left))
    if not unbiased:
        # In the types that they were stored in, by which the numerical rank of what is left is judged.
        x, y = (xp.astype(left, a.dtype, copy=False) for left, a in zip(rest, (x, y), strict=True))
        return float(settled.score(settled.prepare(x), settled.prepare(y)))
    dimensions = n - 1 - rank
    if dimensions * (dimensions + 1) <= 2 * n:
        raise InputError(
            f"{name}: given must leave more than {math.ceil(math.sqrt(2 * n))} of {n} examples' dimensions for an "
            f"unbiased estimate, got {rank} independent features. Use more examples, or estimator='biased'."
        )
    wholes = [gram_matrix(as_kernel(settled.options["kernel"]), a) for a in rest]
    k, l = (_beside(xp, whole, basis) for whole in wholes)  # noqa: E741
    product = _product(xp, k, l)
    if settled.id == "hsic":
        return product / (dimensions * (dimensions + 1) - 2 * n)
    if any(_vanishes(xp, part, whole) for part, whole in zip((k, l), wholes, strict=True)):
        warn(
            f"{name}: given explains all of x or y, or they are constant (0/0). The result is NaN.",
            DegenerateInputWarning,
        )
        return math.nan
    return product / math.sqrt(_product(xp, k, k) * _product(xp, l, l))


def _beside(xp: Namespace, gram: Array, basis: Array) -> Array:
    """The nearest symmetric matrix (n, n) that has no diagonal and maps 1 and the columns of the basis to zero.

    With the projector M beside them it is M (K − D) M for the diagonal D that leaves no diagonal; without a basis this
    is U-centring (Székely & Rizzo 2014). The inner product of two such matrices is free of what their diagonals and
    all terms a_i b_jᵀ + b_i a_jᵀ contribute, for a in the span, and so of bias.
    """
    n = gram.shape[0]
    index = xp.arange(n, device=array_api_compat.device(gram))
    identity = xp.astype(index[:, None] == index[None, :], gram.dtype)
    projector = identity - 1.0 / n - basis @ basis.T
    inside = projector @ gram @ projector
    squares = projector * projector
    left = xp.linalg.diagonal(inside)
    # An example that the basis explains alone has nothing left, whatever is taken from its diagonal.
    explained = xp.linalg.diagonal(squares) <= float(xp.finfo(gram.dtype).eps)
    squares = squares + xp.where(explained[:, None] & (identity > 0), identity, xp.zeros_like(identity))
    diagonal = xp.linalg.solve(squares, left[:, None])
    return inside - projector @ (diagonal * projector)


def _check_third(name: str, x: Array, third: Array, argument: str, least: int) -> tuple[Array, Array]:
    try:
        return check_pair(name, x, third, minimum_examples=least, as_stored=True)
    except InputError as error:
        raise InputError(
            str(error)
            .replace(f"{name}: x and y", f"{name}: x and {argument}")
            .replace(f"{name}: y", f"{name}: {argument}")
        ) from None


def _product(xp: Namespace, k: Array, l: Array) -> float:  # noqa: E741
    return number(xp.sum(k * l))


def _cosine(xp: Namespace, k: Array, l: Array) -> float:  # noqa: E741
    return _product(xp, k, l) / math.sqrt(_product(xp, k, k)) / math.sqrt(_product(xp, l, l))


def _vanishes(xp: Namespace, centred: Array, whole: Array, rounding: float = 0.0) -> bool:
    """Whether nothing but rounding is left of a Gram matrix: of the sums, and of features of this precision."""
    size = max(4 * float(xp.finfo(whole.dtype).eps) * int(whole.shape[0]), 16 * rounding)
    return bool(_product(xp, centred, centred) <= size * size * _product(xp, whole, whole))


def _rounding(xp: Namespace, *stored: Array) -> float:
    """Of one number in the coarsest of the types that these were stored in."""
    return max(float(xp.finfo(a.dtype).eps) for a in stored)
