"""Functional similarity: do networks predict the same? To stand beside the similarity of their representations.

Predictions are classes (n,) as whole numbers, or scores (n, C) of which the largest is the class. As everywhere, rows
are the same examples in the same order, and any Array API library will do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.measures._arrays import Array, Namespace, check_pair, check_representation, number, to_numpy, widest_float
from repscope.measures._messages import check_choice

PredictionMeasure: TypeAlias = Literal["disagreement", "jensen_shannon_divergence", "accuracy_difference"]

SUM_TOLERANCE = 0.01
"""How far the probabilities of an example may miss 1, as those of a softmax in half precision do."""


def disagreement(x: Array, y: Array) -> Array:
    """Share of the examples for which two networks predict different classes.

    (1/n) Σ_i [argmax x_i ≠ argmax y_i]; of equal scores the first class counts. At least the difference of the
    accuracies, and at most the sum of the error rates, whatever the labels.

    Range: [0, 1]. Predictions of unrelated networks disagree 1 − Σ_c p_c q_c on average over the pairings of examples,
    exactly, with the shares p_c and q_c of the predictions of class c: :func:`compare_predictions` gives it beside the
    value, and one less their ratio is Cohen's κ. Symmetric. A metric of predicted classes.

    Args:
        x: Predictions of one network: classes (n,) or scores (n, C).
        y: Those of another for the same examples; scores of the same classes.

    Returns:
        A scalar of the caller's library.

    Raises:
        InputError: For predictions that are neither, or do not match.

    References:
        Madani, Pennock & Flake 2004; Klabunde et al. 2023 (survey).

    Example:
        >>> import numpy as np
        >>> float(disagreement(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])))
        0.25
    """
    xp, x, y = _both_classes("disagreement", x, y)
    return _share(xp, x != y)


def jensen_shannon_divergence(x: Array, y: Array, *, logits: bool = False) -> Array:
    """Mean Jensen–Shannon divergence of two networks' probabilities of the classes, in bits.

    (1/n) Σ_i (KL(p_i ‖ m_i) + KL(q_i ‖ m_i)) / 2 with m_i = (p_i + q_i) / 2 and logarithms to base 2.

    Range: [0, 1]; 1 where no class is possible to both. Symmetric. Not a metric, its root is one.

    Args:
        x: Probabilities (n, C) of one network.
        y: Those of another for the same examples and classes.
        logits: x and y are scores, of which the softmax is taken.

    Returns:
        A scalar of the caller's library. Torch gradients flow through it where no probability is 0.

    Raises:
        InputError: For arrays that do not match, fewer than two classes, or rows that are no probabilities.

    References:
        Lin 1991; Klabunde et al. 2024 (ReSi), which takes logits.

    Example:
        >>> import numpy as np
        >>> float(jensen_shannon_divergence(np.eye(2), np.eye(2)[::-1]))
        1.0
    """
    function = "jensen_shannon_divergence"
    x, y = check_pair(function, x, y, minimum_examples=1)
    xp = array_api_compat.array_namespace(x)
    _check_classes(function, x, y)
    p, q = (_probabilities(function, xp, name, z, logits) for name, z in (("x", x), ("y", y)))
    both = p + q
    possible = both > 0
    share = (p - q) / xp.where(possible, both, xp.ones_like(both))  # from −1 to 1
    terms = both * (_x_log_x(xp, 1.0 + share) + _x_log_x(xp, 1.0 - share))
    return xp.mean(xp.sum(terms, axis=1)) / (4.0 * math.log(2.0))


def accuracy_difference(x: Array, y: Array, labels: Array) -> Array:
    """Difference of two networks' accuracies.

    abs((1/n) Σ_i [argmax x_i = l_i] − (1/n) Σ_i [argmax y_i = l_i]). Networks of equal accuracy may disagree on most
    examples: see :func:`disagreement`.

    Range: [0, 1]. Symmetric. Not a metric, for 0 does not mean equal.

    Args:
        x: Predictions of one network: classes (n,) or scores (n, C).
        y: Those of another.
        labels: True classes (n,).

    Returns:
        A scalar of the caller's library.

    Raises:
        InputError: For predictions or labels that are neither, or do not match.

    References:
        Klabunde et al. 2023 (survey) and 2024 (ReSi).

    Example:
        >>> import numpy as np
        >>> float(accuracy_difference(np.array([0, 1, 1, 1]), np.array([0, 1, 0, 0]), np.array([0, 1, 1, 1])))
        0.5
    """
    xp, x, y = _both_classes("accuracy_difference", x, y)
    truth = _labels("accuracy_difference", xp, labels, x)
    return xp.abs(_share(xp, x == truth) - _share(xp, y == truth))


def compare_predictions(
    predictions: Mapping[str, Array],
    *,
    measure: PredictionMeasure = "disagreement",
    labels: Array | None = None,
    logits: bool = False,
) -> Comparison:
    """Compare the predictions of all pairs of networks.

    Args:
        predictions: Name of each network to its predictions, as :func:`disagreement` takes them.
        measure: ``"disagreement"``, ``"jensen_shannon_divergence"`` or ``"accuracy_difference"``.
        labels: True classes (n,), for the difference of accuracies.
        logits: For the divergence: the predictions are scores before the softmax.

    Returns:
        A :class:`~repscope.Comparison` of networks, each with one layer called ``predictions``: to be drawn, saved and
        laid beside one of representations. For the disagreement, ``null_mean`` and ``null_sd`` are the exact moments
        over all pairings of the examples, and ``chance_corrected()`` is Cohen's κ.

    Raises:
        InputError: For no predictions, an unknown measure, or labels that are missing or not asked for; and as the
            measure itself.

    Example:
        >>> import numpy as np
        >>> a, b = np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])
        >>> compare_predictions({"a": a, "b": b}).values.tolist()
        [[0.0, 0.25], [0.25, 0.0]]
    """
    check_choice("compare_predictions", "measure", measure, _MEASURES)
    if not isinstance(predictions, Mapping) or not predictions:
        raise InputError(
            "compare_predictions: predictions must be a mapping of names to predictions, got "
            f"{type(predictions).__name__}{' without entries' if isinstance(predictions, Mapping) else ''}. "
            "Give {'first': …, 'second': …}."
        )
    if (labels is None) == (measure == "accuracy_difference"):
        needed = "given for" if labels is None else "left out but for"
        raise InputError(f"compare_predictions: labels must be {needed} measure='accuracy_difference'.")
    options: dict[str, Any] = {}
    if measure == "accuracy_difference":
        options = {"labels": labels}
    elif measure == "jensen_shannon_divergence":
        options = {"logits": logits}
    names, outputs = tuple(predictions), list(predictions.values())
    values = np.empty((len(names), len(names)))
    for i, j in itertools.combinations_with_replacement(range(len(names)), 2):
        values[i, j] = values[j, i] = number(_MEASURES[measure](outputs[i], outputs[j], **options))
    places = ("predictions",) * len(names)
    known: dict[str, Any] = {"null": "no closed form"}
    moments: dict[str, Any] = {}
    if measure == "disagreement":
        known = {"null": "permutations of the examples"}
        moments = dict(zip(("null_mean", "null_sd"), _chance(outputs), strict=True))
    return Comparison(
        values=values,
        row_layers=places,
        column_layers=places,
        measure=measure,
        row_models=names,
        column_models=names,
        kind="distance",
        n=int(outputs[0].shape[0]),
        conventions=known,
        **moments,
    )


_MEASURES: Mapping[str, Any] = {
    "disagreement": disagreement,
    "jensen_shannon_divergence": jensen_shannon_divergence,
    "accuracy_difference": accuracy_difference,
}


def _chance(outputs: list[Array]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of the disagreement of all pairs, over all pairings of their examples.

    The number of agreements is a sum over a permutation, of which Hoeffding 1951 has both moments; here they follow
    from the shares of the classes.
    """
    classes = [to_numpy(_both_classes("disagreement", z, z)[1]) for z in outputs]
    every = np.unique(np.concatenate(classes))
    shares = np.array([[np.mean(z == c) for c in every] for z in classes])
    agreement = shares @ shares.T
    skew = shares @ (shares**2).T
    variance = agreement + agreement**2 - skew - skew.T
    n = len(classes[0])
    return 1 - agreement, np.sqrt(np.maximum(variance, 0) / max(n - 1, 1))


def _both_classes(function: str, x: Array, y: Array) -> tuple[Namespace, Array, Array]:
    """The predicted classes (n,) of both sides."""
    (x, x_scores), (y, y_scores) = (_as_matrix(function, name, z) for name, z in (("x", x), ("y", y)))
    x, y = check_pair(function, x, y, minimum_examples=1)
    xp = array_api_compat.array_namespace(x)
    if x_scores and y_scores:
        _check_classes(function, x, y)
    for name, z, scores in (("x", x, x_scores), ("y", y, y_scores)):
        if scores and z.shape[1] == 1:
            raise InputError(
                f"{function}: {name} must be classes (n,) or scores (n, C) of two classes or more, got shape "
                f"{tuple(z.shape)}. Flatten a column of classes to (n,)."
            )
    wide = widest_float(xp, x)
    classes = [
        xp.astype(xp.argmax(z, axis=1), wide) if scores else xp.astype(z[:, 0], wide)
        for z, scores in ((x, x_scores), (y, y_scores))
    ]
    return xp, classes[0], classes[1]


def _labels(function: str, xp: Namespace, labels: Array, like: Array) -> Array:
    """True classes (n,), from any library, as the classes of ``like``."""
    column, scores = _as_matrix(function, "labels", labels)
    column = check_representation(function, column, "labels", minimum_examples=1)
    n = like.shape[0]
    if scores or column.shape[0] != n:
        raise InputError(
            f"{function}: labels must be the true classes ({n},) of {n} examples, got shape {tuple(labels.shape)}. "
            "Give one whole number for each example."
        )
    return xp.asarray(to_numpy(column)[:, 0], dtype=like.dtype, device=array_api_compat.device(like))


def _as_matrix(function: str, argument: str, z: Array) -> tuple[Array, bool]:
    """Classes (n,) as a column, scores as they are; and whether they are scores."""
    if getattr(z, "ndim", None) != 1:
        return z, True
    xp = array_api_compat.array_namespace(z)
    if not xp.isdtype(z.dtype, ("integral", "bool")):
        raise InputError(
            f"{function}: {argument} must be classes (n,) as whole numbers or scores (n, C), got dtype {z.dtype} of "
            f"shape {tuple(z.shape)}. Round classes to integers, or give the scores of all classes."
        )
    return z[:, None], False


def _check_classes(function: str, x: Array, y: Array) -> None:
    if x.shape[1] != y.shape[1] or x.shape[1] < 2:
        raise InputError(
            f"{function}: x and y must have the same two or more classes as columns, got {tuple(x.shape)} and "
            f"{tuple(y.shape)}. Give the scores of all classes, in one order."
        )


def _probabilities(function: str, xp: Namespace, name: str, z: Array, logits: bool) -> Array:
    z = xp.astype(z, widest_float(xp, z), copy=False)
    if logits:
        z = xp.exp(z - xp.max(z, axis=1, keepdims=True))
        return z / xp.sum(z, axis=1, keepdims=True)
    sums = xp.sum(z, axis=1, keepdims=True)
    wrong = xp.any(z < 0, axis=1) | (xp.abs(sums[:, 0] - 1.0) > SUM_TOLERANCE)
    if bool(xp.any(wrong)):
        row = int(xp.argmax(xp.astype(wrong, xp.int32)))
        raise InputError(
            f"{function}: {name} must be probabilities, not negative and 1 in each row, got a row of sum "
            f"{number(sums[row, 0]):.4g} and least entry {number(xp.min(z[row, :])):.4g} in row {row}. "
            "Give logits=True for scores before the softmax."
        )
    return z / sums


def _x_log_x(xp: Namespace, z: Array) -> Array:
    """Z ln z, 0 at 0."""
    some = z > 0
    return xp.where(some, z * xp.log(xp.where(some, z, xp.ones_like(z))), xp.zeros_like(z))


def _share(xp: Namespace, mask: Array) -> Array:
    return xp.mean(xp.astype(mask, widest_float(xp, mask)))
