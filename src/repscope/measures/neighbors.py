"""Do two representations put the same examples next to each other? Measures of nearest neighbours.

The neighbours of an example are the ``k`` others that are nearest to it, by cosine (the literature's choice) or
Euclidean distance, computed in the widest float; an example is never its own neighbour. Among examples equally far
away chance decides, by a seed that follows from which examples these are: so the same layer, moved and scaled, has the
same neighbours again, and ties of unrelated layers are broken without regard to each other. Were the first example the
nearer, or any order common to both sides, unrelated layers with ties would seem alike.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.errors import InputError
from repscope.measures._arrays import (
    Array,
    Namespace,
    check_pair,
    detached,
    on_the_host,
    squared_lengths,
    typical_entries,
    undefined,
    widest_float,
)
from repscope.measures._messages import check_choice, is_whole, prepare_both
from repscope.measures._tiles import resolution
from repscope.measures.kernels import Cosine, squared_distances

NeighborMetric: TypeAlias = Literal["cosine", "euclidean"]


@dataclass(frozen=True)
class Neighborhoods:
    """The nearest neighbours of every example in one layer.

    Attributes:
        nearest: Indices (n, k) of the examples that are nearest to each, nearest first.
        alike: All examples are equal, or for the cosine parallel, so none is nearer than another.
    """

    nearest: Array
    alike: bool

    @property
    def k(self) -> int:
        """Neighbours of each example."""
        return int(self.nearest.shape[1])

    @property
    def near(self) -> Array:
        """(n, n) booleans: whether example j is among the k nearest to example i."""
        xp = array_api_compat.array_namespace(self.nearest)
        index = xp.arange(self.nearest.shape[0], device=array_api_compat.device(self.nearest))
        found = self.nearest[:, :1] == index[None, :]
        for rank in range(1, self.k):
            found = found | (self.nearest[:, rank : rank + 1] == index[None, :])
        return found


@dataclass(frozen=True)
class Surroundings(Neighborhoods):
    """The same, with what the second-order cosine compares.

    Attributes:
        distances: Cosine distances (n, n).
    """

    distances: Array


def check_options(function: str, options: Mapping[str, Any]) -> int:
    """Refuse options that mean nothing; return the smallest number of examples, one more than all being neighbours."""
    k = options["k"]
    if not is_whole(k) or k < 1:
        raise InputError(f"{function}: k must be a whole number from 1, got {k!r}. Use 10, as the literature does.")
    check_choice(function, "metric", options.get("metric", "cosine"), ("cosine", "euclidean"))
    return k + 2


def prepare(x: Array, *, k: int = 10, metric: NeighborMetric = "cosine") -> Neighborhoods:
    """Find the neighbours in one checked representation (n, p)."""
    distances, alike = _distances(x, metric)
    return Neighborhoods(nearest_examples(distances, k), alike)


def prepare_surroundings(x: Array, *, k: int = 10) -> Surroundings:
    """The neighbours by cosine distance, and these distances."""
    distances, alike = _distances(x, "cosine")
    return Surroundings(nearest_examples(distances, k), alike, distances)


def _distances(x: Array, metric: NeighborMetric) -> tuple[Array, bool]:
    """Distances (n, n) that order as the metric's do, in the widest float; and whether all examples are equal."""
    x = detached(x)
    xp = array_api_compat.array_namespace(x)
    x = xp.astype(x, widest_float(xp, x), copy=False)
    n = x.shape[0]
    if bool(xp.all(x == x[:1, :])):
        return xp.zeros((n, n), dtype=x.dtype, device=array_api_compat.device(x)), True
    if metric == "euclidean":
        # An entry of each column is subtracted, not the mean: of coarse numbers that leaves equal distances equal.
        return squared_distances(xp, x - typical_entries(xp, x)), False
    # 1 − cos would keep nothing of examples that all point nearly the same way. Half the squared distance of unit
    # vectors is the same, and may be taken from any origin near them.
    unit = Cosine().normalized(x)
    unit = unit - typical_entries(xp, unit)
    squares = squared_lengths(unit)
    distances = squared_distances(xp, unit) / 2.0
    # Parallel examples are as near as can be, whatever rounding leaves of their distance.
    eps = float(xp.finfo(x.dtype).eps)
    rounding = resolution(unit) * (squares[:, None] + squares[None, :]) / 2.0 + (4.0 * eps) ** 2
    distances = xp.where(distances <= rounding, xp.zeros_like(distances), distances)
    return distances, not bool(xp.any(distances > 0))


def nearest_examples(distances: Array, k: int) -> Array:
    """The k nearest others of each example (n, k); of those equally far away some that chance decides on."""
    if array_api_compat.is_numpy_array(distances):
        return _partitioned(distances, k)
    xp = array_api_compat.array_namespace(distances)
    device = array_api_compat.device(distances)
    index = xp.arange(distances.shape[0], device=device)
    itself = index[:, None] == index[None, :]
    others = xp.where(itself, math.inf * xp.ones_like(distances), distances)
    order = xp.argsort(others, axis=1, stable=True)[:, : k + 1]
    places = xp.reshape(index[:, None] * index.shape[0] + order, (-1,))
    ordered = xp.reshape(xp.take(xp.reshape(others, (-1,)), places), order.shape)
    if bool(xp.any(ordered[:, 1:] == ordered[:, :-1])):  # n² comparisons in random order: not worth an accelerator
        return xp.asarray(_partitioned(on_the_host(distances), k), device=device)
    return order[:, :k]


def _partitioned(distances: npt.NDArray[Any], k: int) -> npt.NDArray[np.intp]:
    """The same without sorting all distances."""
    others = distances.copy()
    np.fill_diagonal(others, math.inf)
    near = others <= np.partition(others, k - 1, axis=1)[:, k - 1 : k]
    too_many = np.count_nonzero(near, axis=1) > k
    nearest = np.empty((len(others), k), dtype=np.intp)
    candidates = np.nonzero(near[~too_many])[1].reshape(-1, k)
    apart = np.take_along_axis(others[~too_many], candidates, axis=1)
    order = np.argsort(apart, axis=1)
    nearest[~too_many] = np.take_along_axis(candidates, order, axis=1)
    apart = np.take_along_axis(apart, order, axis=1)
    tied = too_many.copy()
    tied[~too_many] = np.any(apart[:, 1:] == apart[:, :-1], axis=1)
    if tied.any():
        rng = np.random.default_rng(zlib.crc32(np.packbits(near).tobytes()))
        for row in np.flatnonzero(tied):
            equal = np.flatnonzero(near[row])
            nearest[row] = equal[np.lexsort((rng.random(len(equal)), others[row, equal]))][:k]
    return nearest


def undefined_neighbors(function: str, state_x: Neighborhoods, state_y: Neighborhoods) -> Array | None:
    """NaN, with a warning, where the examples of one side are all equal; else None."""
    for name, state in (("x", state_x), ("y", state_y)):
        if state.alike:
            xp = array_api_compat.array_namespace(state.nearest)
            like = xp.zeros((1,), dtype=widest_float(xp, state.nearest), device=array_api_compat.device(state.nearest))
            return undefined(
                function, f"all rows of {name} are equal, or parallel, so none has a nearest neighbour.", like
            )
    return None


def common_ranks(state_x: Neighborhoods, state_y: Neighborhoods) -> Array:
    """Of each neighbour in x (n, k) the rank that it has in y, from 1; 0 where it is no neighbour there."""
    xp = array_api_compat.array_namespace(state_x.nearest)
    same = state_x.nearest[:, :, None] == state_y.nearest[:, None, :]  # (n, k, k)
    ranks = xp.arange(1, state_y.k + 1, device=array_api_compat.device(state_x.nearest))
    return xp.sum(xp.where(same, ranks, xp.zeros_like(ranks)), axis=2)


def entries_at(matrix: Array, columns: Array, *, transposed: bool = False) -> Array:
    """Of each row of a matrix (n, n), or of its transpose, the entries in these columns (n, k)."""
    xp = array_api_compat.array_namespace(matrix)
    n = matrix.shape[0]
    rows = xp.arange(n, device=array_api_compat.device(matrix))[:, None]
    places = columns * n + rows if transposed else rows * n + columns
    return xp.reshape(xp.take(xp.reshape(matrix, (-1,)), xp.reshape(places, (-1,))), columns.shape)


def _counts(mask: Array) -> Array:
    """How many are true in each row (n,), as the widest float."""
    xp = array_api_compat.array_namespace(mask)
    return xp.sum(xp.astype(mask, widest_float(xp, mask)), axis=1)


def score_mutual_knn(state_x: Neighborhoods, state_y: Neighborhoods) -> Array:
    """Mean share of neighbours in common."""
    nan = undefined_neighbors("mutual_knn", state_x, state_y)
    if nan is not None:
        return nan
    xp = array_api_compat.array_namespace(state_x.nearest)
    return xp.mean(_counts(common_ranks(state_x, state_y) > 0) / state_x.k)


def score_jaccard_knn(state_x: Neighborhoods, state_y: Neighborhoods) -> Array:
    """Mean Jaccard index of the sets of neighbours."""
    nan = undefined_neighbors("jaccard_knn", state_x, state_y)
    if nan is not None:
        return nan
    xp = array_api_compat.array_namespace(state_x.nearest)
    common = _counts(common_ranks(state_x, state_y) > 0)
    return xp.mean(common / (2 * state_x.k - common))


def score_rank_similarity(state_x: Neighborhoods, state_y: Neighborhoods) -> Array:
    """Mean agreement of the ranks of common neighbours."""
    nan = undefined_neighbors("rank_similarity", state_x, state_y)
    if nan is not None:
        return nan
    xp = array_api_compat.array_namespace(state_x.nearest)
    found = common_ranks(state_x, state_y)
    common, right = found > 0, xp.astype(found, widest_float(xp, found))
    left = xp.arange(1, state_x.k + 1, dtype=right.dtype, device=array_api_compat.device(right))[None, :]
    terms = 2.0 / ((1.0 + xp.abs(left - right)) * (left + right))
    agreement = xp.sum(xp.where(common, terms, xp.zeros_like(terms)), axis=1)
    return xp.mean(agreement / _best_agreement(xp, _counts(common), state_x.k))


def _best_agreement(xp: Namespace, common: Array, k: int) -> Array:
    """Σ 1/r for r up to the number of common neighbours (n,): what equal ranks 1, 2, … give; 1 for none."""
    best = xp.ones_like(common)
    for rank in range(2, k + 1):
        best += xp.where(common >= rank, xp.ones_like(common), xp.zeros_like(common)) / rank
    return best


def score_second_order_cosine(state_x: Surroundings, state_y: Surroundings) -> Array:
    """Mean cosine between the distances to the neighbours on either side."""
    nan = undefined_neighbors("second_order_cosine", state_x, state_y)
    if nan is not None:
        return nan
    xp = array_api_compat.array_namespace(state_x.distances)
    either = xp.concat([state_x.nearest, state_y.nearest], axis=1)  # (n, 2k), those in common twice
    once = xp.concat([xp.ones_like(state_x.nearest) > 0, common_ranks(state_y, state_x) == 0], axis=1)
    left, right = (
        xp.where(once, values, xp.zeros_like(values))
        for values in (entries_at(state.distances, either) for state in (state_x, state_y))
    )
    products = xp.sum(left * right, axis=1)
    lengths = xp.sqrt(xp.sum(left * left, axis=1)) * xp.sqrt(xp.sum(right * right, axis=1))
    # Where an example and all these neighbours coincide, on both sides, they agree; on one side only, they do not.
    both_zero = xp.astype(~xp.any((left + right) > 0, axis=1), products.dtype)
    return xp.mean(xp.where(lengths > 0, products / xp.where(lengths > 0, lengths, xp.ones_like(lengths)), both_zero))


def _prepared(function: str, x: Array, y: Array, k: int, metric: NeighborMetric) -> tuple[Neighborhoods, Neighborhoods]:
    """Both layers, checked and prepared."""
    fewest = check_options(function, {"k": k, "metric": metric})
    x, y = check_pair(function, x, y, minimum_examples=fewest)
    return prepare_both(function, partial(prepare, k=k, metric=metric), x, y)


def mutual_knn(x: Array, y: Array, *, k: int = 10, metric: NeighborMetric = "cosine") -> Array:
    """Share of the ``k`` nearest neighbours that two representations of the same examples have in common.

    (1/n) Σ_i |N_x(i) ∩ N_y(i)| / k. The headline number of Huh et al. 2024, there with k = 10 and n = 1024.

    Range: [0, 1]; 1 means equal sets of neighbours everywhere. Unrelated representations score k/(n − 1) on average,
    exactly, so k and n belong to every value that is reported. Invariances: orthogonal maps and isotropic scaling; with
    ``metric="euclidean"`` translation too. Symmetric. Not a metric.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        k: Neighbours of each example, an example itself not among them; n must be at least k + 2.
        metric: What is near: ``"cosine"`` of features as they are, not centred, or ``"euclidean"``.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where all examples of one side are equal, or parallel for
        the cosine. No gradient flows through it.

    Raises:
        InputError: For arrays that do not match, too few examples, NaN and infinity, or rows of zeros with the cosine.

    References:
        Huh, Cheung, Wang & Isola 2024, The Platonic Representation Hypothesis.

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(50, 3)
        >>> float(mutual_knn(x, 2 * x[:, ::-1]))
        1.0
    """
    return score_mutual_knn(*_prepared("mutual_knn", x, y, k, metric))


def jaccard_knn(x: Array, y: Array, *, k: int = 10, metric: NeighborMetric = "cosine") -> Array:
    """Mean Jaccard index of the sets of ``k`` nearest neighbours.

    (1/n) Σ_i |N_x(i) ∩ N_y(i)| / |N_x(i) ∪ N_y(i)|. First among the measures of the vision track of the ReSi benchmark.

    Range: [0, 1]. Invariances, arguments, return value and errors as :func:`mutual_knn`; where that gives an example s,
    this gives s/(2 − s). Symmetric. Not a metric.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        k: Neighbours of each example; n must be at least k + 2.
        metric: ``"cosine"`` or ``"euclidean"``.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where all examples of one side are equal, or parallel for
        the cosine. No gradient flows through it.

    Raises:
        InputError: As :func:`mutual_knn`.

    References:
        Schumacher et al. 2021; Wang et al. 2022; Klabunde et al. 2024 (ReSi).

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(50, 3)
        >>> float(jaccard_knn(x, x))
        1.0
    """
    return score_jaccard_knn(*_prepared("jaccard_knn", x, y, k, metric))


def rank_similarity(x: Array, y: Array, *, k: int = 10, metric: NeighborMetric = "cosine") -> Array:
    """How alike the common nearest neighbours are ranked.

    For each example, Σ_j 2 / ((1 + |r_j − s_j|)(r_j + s_j)) over the common neighbours j of ranks r_j and s_j, divided
    by what equal ranks give, Σ_{r ≤ K} 1/r for K common ones; then the mean over examples. An example without common
    neighbours counts as 0.

    Range: [0, 1]. Invariances, arguments, return value and errors as :func:`mutual_knn`. Symmetric. Not a metric.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        k: Neighbours of each example; n must be at least k + 2.
        metric: ``"cosine"`` or ``"euclidean"``.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where all examples of one side are equal, or parallel for
        the cosine. No gradient flows through it.

    Raises:
        InputError: As :func:`mutual_knn`.

    References:
        Wang et al. 2022; Klabunde et al. 2023 (survey), rank similarity.

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(50, 3)
        >>> abs(float(rank_similarity(x, x)) - 1.0) < 1e-12
        True
    """
    return score_rank_similarity(*_prepared("rank_similarity", x, y, k, metric))


def second_order_cosine(x: Array, y: Array, *, k: int = 10) -> Array:
    """Cosine between the distances of each example to its neighbours in the one and in the other representation.

    For each example the cosine distances to all that are among its ``k`` nearest on either side make two vectors, of
    which the cosine is taken; then the mean over examples. Cosine distances (1 − cos), as in the ReSi benchmark;
    Hamilton et al. use the similarities themselves.

    Range: [0, 1], for distances are not negative. Invariances: orthogonal maps and isotropic scaling. Symmetric. Not a
    metric.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        k: Neighbours of each example; n must be at least k + 2.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where all examples of one side are equal or parallel. An
        example that coincides in direction with all its neighbours counts as 1 if it does on both sides, else as 0. No
        gradient flows through it.

    Raises:
        InputError: As :func:`mutual_knn`.

    References:
        Hamilton, Leskovec & Jurafsky 2016; Klabunde et al. 2024 (ReSi).

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(50, 3)
        >>> abs(float(second_order_cosine(x, x)) - 1.0) < 1e-12
        True
    """
    fewest = check_options("second_order_cosine", {"k": k})
    x, y = check_pair("second_order_cosine", x, y, minimum_examples=fewest)
    return score_second_order_cosine(*prepare_both("second_order_cosine", partial(prepare_surroundings, k=k), x, y))
