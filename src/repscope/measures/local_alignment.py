"""Measures of nearest neighbours that are not symmetric: CKA of neighbours' similarities, and cycles.

Both follow the code published with the Platonic Representation Hypothesis (Huh et al. 2024), without what it adds to
denominators. Neighbours are those of :mod:`neighbors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import array_api_compat

from repscope.errors import InputError
from repscope.measures._arrays import Array, Namespace, check_pair, number, undefined, widest_float
from repscope.measures._messages import prepare_both
from repscope.measures.kernels import without_diagonal
from repscope.measures.neighbors import (
    Neighborhoods,
    NeighborMetric,
    check_options,
    common_ranks,
    entries_at,
    prepare,
    prepare_surroundings,
    undefined_neighbors,
)


@dataclass(frozen=True)
class Similarities(Neighborhoods):
    """The nearest neighbours of every example, and what CKNNA compares of them.

    Attributes:
        cosines: Cosines (n, n) of the examples, zeros on the diagonal.
        own: HSIC of these with themselves, those of neighbours only.
        vanishes: Nothing but rounding is left of it, or it is negative.
    """

    cosines: Array
    own: Array
    vanishes: bool


def check_cknna(options: Mapping[str, Any]) -> int:
    """Refuse options that mean nothing; return the smallest number of examples."""
    fewest = check_options("cknna", options)
    if options["k"] < 2:
        raise InputError(f"cknna: k must be at least 2, got {options['k']!r}. Use 10, as the literature does.")
    return max(fewest - 1, 4)


def prepare_cknna(x: Array, *, k: int = 10) -> Similarities:
    """Neighbours by cosine and their similarities, of one checked representation (n, p)."""
    state = prepare_surroundings(x, k=k)
    xp = array_api_compat.array_namespace(state.distances)
    cosines = without_diagonal(xp, 1.0 - state.distances)
    own, square = _hsic(xp, state, cosines, state, cosines)
    n = cosines.shape[0]
    rounding = 64 * float(xp.finfo(cosines.dtype).eps) * number(square)
    return Similarities(state.nearest, state.alike, cosines, own, number(own) * n * (n - 3) <= rounding)


def score_cknna(state_x: Similarities, state_y: Similarities) -> Array:
    """CKNNA of two prepared layers."""
    nan = undefined_neighbors("cknna", state_x, state_y)
    if nan is not None:
        return nan
    for name, state in (("x", state_x), ("y", state_y)):
        if state.vanishes:
            return undefined("cknna", f"all neighbours in {name} are equally similar (0/0).", state.own)
    xp = array_api_compat.array_namespace(state_x.cosines)
    both, _ = _hsic(xp, state_x, state_x.cosines, state_y, state_y.cosines)
    return both / (xp.sqrt(state_x.own) * xp.sqrt(state_y.own))


def _hsic(xp: Namespace, x: Neighborhoods, cosines_x: Array, y: Neighborhoods, cosines_y: Array) -> tuple[Array, Array]:
    """HSIC₁ of the cosines of common neighbours (Song et al. 2012, eq. 5), and the sum of their squares in x.

    These matrices (n, n) are not symmetric, and zero but for k entries in a row, of which all sums are taken.
    """
    n = cosines_x.shape[0]
    common = common_ranks(x, y) > 0  # (n, k), in the order of x.nearest
    k, l = (  # noqa: E741
        xp.where(common, values, xp.zeros_like(values))
        for values in (entries_at(cosines, x.nearest) for cosines in (cosines_x, cosines_y))
    )
    # The entry (j, i) of the second, for each entry (i, j) of the first, is there where i is a neighbour of j too.
    back = _returning(x, x.nearest) & _returning(y, x.nearest)
    trace = xp.sum(xp.where(back, k * entries_at(cosines_y, x.nearest, transposed=True), xp.zeros_like(k)))
    rows = xp.sum(l, axis=1)
    third = xp.sum(k * xp.reshape(xp.take(rows, xp.reshape(x.nearest, (-1,))), k.shape))
    total = xp.sum(k) * xp.sum(l) / ((n - 1) * (n - 2))
    return (trace + total - 2.0 * third / (n - 2)) / (n * (n - 3)), xp.sum(k * k)


def _returning(state: Neighborhoods, columns: Array) -> Array:
    """Whether example i is a neighbour of example j, for these j (n, m) of each i."""
    xp = array_api_compat.array_namespace(state.nearest)
    n, m = columns.shape
    theirs = xp.reshape(xp.take(state.nearest, xp.reshape(columns, (-1,)), axis=0), (n, m, state.k))
    itself = xp.arange(n, device=array_api_compat.device(columns))
    return xp.any(theirs == itself[:, None, None], axis=2)


def score_cycle_knn(state_x: Neighborhoods, state_y: Neighborhoods) -> Array:
    """Share of the examples that are among the neighbours in x of one of their neighbours in y."""
    nan = undefined_neighbors("cycle_knn", state_x, state_y)
    if nan is not None:
        return nan
    xp = array_api_compat.array_namespace(state_x.nearest)
    back = xp.any(_returning(state_x, state_y.nearest), axis=1)
    return xp.mean(xp.astype(back, widest_float(xp, state_x.nearest)))


def cknna(x: Array, y: Array, *, k: int = 10) -> Array:
    """Centered kernel alignment of nearest neighbours: CKA that looks at common neighbours only.

    HSIC₁(α∘K, α∘L) / √(HSIC₁(α_x∘K, α_x∘K) HSIC₁(α_y∘L, α_y∘L)) with the cosines K and L between examples,
    α_x(i, j) = 1 where j is among the ``k`` nearest of i in x, and α = α_x α_y. **This is the variant of the authors'
    code**, which differs from the formula in the paper's appendix and from the CKNNA of other papers, here without the
    1e-6 that the code adds to the denominator. For k = n − 1 it is unbiased CKA with the cosine kernel.

    That j is near i does not make i near j, so the masks are not symmetric, nor is the score: its product counts pairs
    that are neighbours of each other in both layers, and its third term differs with the order of x and y, a little.

    Range: (−∞, ∞); 1 for x with itself. In practice between 0 and 1, but as the three masks differ nothing bounds it:
    a few examples with hubs among them score anything. Invariances: orthogonal maps and isotropic scaling. Not
    symmetric. Not a metric.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        k: Neighbours of each example, from 2; n must be at least k + 1, and 4.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where all examples of one side are equal, or equally
        similar. No gradient flows through it.

    Raises:
        InputError: For arrays that do not match, too few examples, NaN and infinity, or rows of zeros.

    References:
        Huh, Cheung, Wang & Isola 2024, The Platonic Representation Hypothesis; Song et al. 2012, eq. 5.

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(50, 3)
        >>> abs(float(cknna(x, 2 * x[:, ::-1])) - 1.0) < 1e-12
        True
    """
    x, y = check_pair("cknna", x, y, minimum_examples=check_cknna({"k": k}))
    return score_cknna(*prepare_both("cknna", partial(prepare_cknna, k=k), x, y))


def cycle_knn(x: Array, y: Array, *, k: int = 10, metric: NeighborMetric = "cosine") -> Array:
    """Share of the examples to which a step to a neighbour in y and one to a neighbour in x can lead back.

    (1/n) Σ_i [there is a j with j ∈ N_y(i) and i ∈ N_x(j)], of the ``k`` nearest neighbours. As in the code of Huh et
    al. 2024. It saturates: with k = 10 weakly related layers score nearly 1.

    Range: [0, 1]; **x with itself may score less than 1**, where an example is no neighbour of its neighbours.
    Unrelated representations score (1/n) Σ_i (1 − C(n−1−m_i, k) / C(n−1, k)) on average, exactly, with m_i the number
    of examples that have i as a neighbour in x. Invariances: orthogonal maps and isotropic scaling; with
    ``metric="euclidean"`` translation too. Not symmetric. Not a metric.

    Args:
        x: Representation (n, p), of the second step.
        y: Representation (n, q) of the same examples, of the first step.
        k: Neighbours of each example; n must be at least k + 2.
        metric: ``"cosine"`` or ``"euclidean"``.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where all examples of one side are equal. No gradient
        flows through it.

    Raises:
        InputError: As :func:`mutual_knn`.

    References:
        Huh, Cheung, Wang & Isola 2024, The Platonic Representation Hypothesis.

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(50, 3)
        >>> float(cycle_knn(x, x))
        1.0
    """
    fewest = check_options("cycle_knn", {"k": k, "metric": metric})
    x, y = check_pair("cycle_knn", x, y, minimum_examples=fewest)
    return score_cycle_knn(*prepare_both("cycle_knn", partial(prepare, k=k, metric=metric), x, y))
