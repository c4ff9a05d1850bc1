"""Do corresponding layers find each other? The sanity check of Kornblith et al. (2019), Table 2.

Networks of one architecture, trained from different seeds, are compared layer by layer. For every ordered
pair of networks and every layer of the first, the most similar layer of the second should be the one at
the same place. The accuracy is the share of cases where it is; an index that sees no structure scores 1 /
(number of layers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from repscope.errors import InputError
from repscope.inference.networks import standard_error, two_sided_p, without_each

Kind = Literal["similarity", "distance"]

TIE_TOLERANCE = 1e-9
"""Scores this close to the best, relative to its magnitude, tie with it: they differ by rounding only.

Indexes that are invariant to every invertible linear map are exactly 1 once the features outnumber the
examples (Theorem 1 of the paper). Without a tolerance the rounding of the last digit would pick the
winner.
"""


@dataclass(frozen=True)
class Identification:
    """How well one measure identifies corresponding layers.

    Attributes:
        accuracy: Share of layers whose best match stands at the same place, 0 to 1.
        standard_error: Jackknife standard error of the accuracy, leaving out one network at a time.
        p_value: Two-sided p-value of the difference to the most accurate measure; 1 for that measure itself.
        among_best: Whether the accuracy is not significantly different from the best at the chosen level.
    """

    accuracy: float
    standard_error: float
    p_value: float
    among_best: bool


def identification_accuracy(similarity: NDArray[np.floating], *, kind: Kind = "similarity") -> float:
    """Return the share of layers whose best match in another network stands at the same place.

    All ordered pairs of two different networks count, and all layers. Where k layers tie for the best match
    (``TIE_TOLERANCE``) and the right one is among them, the case counts 1/k: what drawing among them gives on
    average. A row that holds a NaN counts as wrong.

    Args:
        similarity: Scores of shape (m, m, L, L), indexed [network a, network b, layer of a, layer of b]. The
            entries with a = b are not read.
        kind: ``"similarity"`` looks for the largest score, ``"distance"`` for the smallest.

    Returns:
        The accuracy, 0 to 1; chance is 1/L.

    Raises:
        InputError: ``similarity`` does not have that shape, there are fewer than two networks, or ``kind`` is
            unknown.

    Example:
        >>> perfect = np.broadcast_to(np.eye(3), (2, 2, 3, 3))
        >>> identification_accuracy(perfect)
        1.0
    """
    similarity = _checked("identification_accuracy", similarity, networks=2)
    hits = _hits(_oriented("identification_accuracy", similarity, kind))
    return _mean_over_pairs(hits, np.arange(len(hits)))


def symmetrised(similarity: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return s(x, y) + s(y, x) for every pair of layers: the paper's S + Sᵀ for PWCCA and linear regression.

    Entry [a, b, i, j] of the result is the score of layer i of a with layer j of b plus that of layer j
    of b with layer i of a. (To add the transpose of one pair's L×L matrix would mix different layers.)

    Args:
        similarity: Scores of shape (m, m, L, L), indexed [network a, network b, layer of a, layer of b].

    Returns:
        An array of the same shape, symmetric under exchange of the two representations.

    Raises:
        InputError: ``similarity`` does not have that shape.
    """
    similarity = _checked("symmetrised", similarity, networks=1)
    return similarity + similarity.transpose(1, 0, 3, 2)


def jackknife_standard_error(similarity: NDArray[np.floating], *, kind: Kind = "similarity") -> float:
    """Return the standard error of :func:`identification_accuracy` over networks.

    The jackknife leaves out one of the m networks at a time, with all its pairs:
    √((m − 1)/m · Σₖ (aₖ − ā)²), where aₖ is the accuracy without network k and ā the mean of these.

    Args:
        similarity: Scores of shape (m, m, L, L), as for :func:`identification_accuracy`.
        kind: ``"similarity"`` or ``"distance"``.

    Returns:
        The standard error, in the unit of the accuracy (0 to 1).

    Raises:
        InputError: As for :func:`identification_accuracy`, or fewer than three networks.
    """
    similarity = _checked("jackknife_standard_error", similarity, networks=3)
    hits = _hits(_oriented("jackknife_standard_error", similarity, kind))
    return standard_error(_leave_one_out(hits))


def compare_identification(
    similarities: Mapping[str, NDArray[np.floating]], *, kind: Kind = "similarity", level: float = 0.05
) -> dict[str, Identification]:
    """Compare measures by how well they identify corresponding layers of the same networks.

    The paper marks the indexes "not significantly different from the best (p < 0.05, jackknife z-test)"
    and says no more. Read here as: for each measure, the difference between the best accuracy and its
    own, divided by the jackknife standard error *of that difference* (the same network left out on both
    sides), is referred to the standard normal distribution, two-sided. Where the difference is the same
    whichever network is left out, its standard error is 0 and p is 1 for no difference and 0 for any
    other.

    Args:
        similarities: For each measure, scores of shape (m, m, L, L) as for
            :func:`identification_accuracy`, all of one shape.
        kind: ``"similarity"`` or ``"distance"``, the same for all.
        level: Differences with a p-value below this are significant.

    Returns:
        One :class:`Identification` for each measure, in the given order.

    Raises:
        InputError: No measure is given, the shapes differ, or there are fewer than three networks.
    """
    if not similarities:
        raise InputError("compare_identification: similarities must hold at least one measure, got none.")
    name = "compare_identification"
    checked = {measure: _checked(name, scores, networks=3) for measure, scores in similarities.items()}
    shapes = {measure: scores.shape for measure, scores in checked.items()}
    if len(set(shapes.values())) > 1:
        raise InputError(
            f"{name}: similarities must all have one shape, got {shapes}. Score the same networks and layers."
        )
    hits = {measure: _hits(_oriented(name, scores, kind)) for measure, scores in checked.items()}
    everyone = np.arange(next(iter(shapes.values()))[0])
    accuracies = {measure: _mean_over_pairs(hit, everyone) for measure, hit in hits.items()}
    partial = {measure: _leave_one_out(hit) for measure, hit in hits.items()}
    best = max(accuracies, key=accuracies.__getitem__)
    results = {}
    for measure, accuracy in accuracies.items():
        error_of_difference = standard_error(partial[best] - partial[measure])
        p_value = two_sided_p(accuracies[best] - accuracy, error_of_difference)
        results[measure] = Identification(accuracy, standard_error(partial[measure]), p_value, p_value >= level)
    return results


def mean_over_pairs(similarity: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean layer × layer matrix (L, L) of scores (m, m, L, L) over ordered pairs of different networks."""
    mean: NDArray[np.float64] = similarity[~np.eye(len(similarity), dtype=bool)].mean(axis=0)
    return mean


def _checked(function: str, similarity: NDArray[np.floating], *, networks: int) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = np.asarray(similarity, dtype=np.float64)
    shape = scores.shape
    if scores.ndim != 4 or shape[0] != shape[1] or shape[2] != shape[3] or shape[2] == 0:
        raise InputError(
            f"{function}: similarity must have shape (m, m, L, L), got {shape}. "
            "Index it as [network a, network b, layer of a, layer of b]."
        )
    if shape[0] < networks:
        raise InputError(
            f"{function}: similarity must hold at least {networks} networks, got {shape[0]}. "
            "Train more of them from other seeds."
        )
    return scores


def _oriented(function: str, scores: NDArray[np.float64], kind: Kind) -> NDArray[np.float64]:
    """Return scores in which larger is more alike."""
    if kind == "similarity":
        return scores
    if kind == "distance":
        return -scores
    raise InputError(f"{function}: kind must be 'similarity' or 'distance', got {kind!r}.")


def _hits(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each (network a, network b, layer of a), the credit for finding the layer's counterpart."""
    right = np.diagonal(similarity, axis1=2, axis2=3)  # (m, m, L)
    best = similarity.max(axis=3)  # (m, m, L); NaN where the row holds one, and NaN ties with nothing
    threshold = best - TIE_TOLERANCE * np.abs(best)
    ties = np.sum(similarity >= threshold[..., np.newaxis], axis=3)
    return np.where(right >= threshold, 1.0 / np.maximum(ties, 1), 0.0)


def _mean_over_pairs(hits: NDArray[np.float64], networks: NDArray[np.integer]) -> float:
    """Average the credits over all ordered pairs of two different networks among ``networks``."""
    among = hits[np.ix_(networks, networks)]
    return float(among[~np.eye(len(networks), dtype=bool)].mean())


def _leave_one_out(hits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the accuracy without network k, for each k."""
    return without_each(lambda networks: _mean_over_pairs(hits, networks), len(hits))
