"""One number of each representation, compared: magnitude, concentricity and uniformity, as in the ReSi benchmark.

These say whether two representations are of one kind, not whether they treat the same examples alike: the order of the
examples does not matter, nor that they are the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import array_api_compat

from repscope.measures._arrays import Array, center, check_pair, number, undefined, widest_float
from repscope.measures.kernels import Cosine, squared_distances
from repscope.measures.measure import Unpaired


@dataclass(frozen=True)
class Statistic(Unpaired):
    """What describes one layer.

    Attributes:
        value: A scalar; NaN where there is none.
    """

    value: Array


def prepare_magnitude(x: Array) -> Statistic:
    """Length of the mean example of one checked representation (n, p)."""
    mean = _mean(x)
    xp = array_api_compat.array_namespace(mean)
    # Divided by its largest entry, so that no square leaves the range of its type.
    largest = number(xp.max(xp.abs(mean))) or 1.0
    return Statistic(largest * xp.sqrt(xp.sum((mean / largest) ** 2)))


def prepare_concentricity(x: Array) -> Statistic:
    """Mean cosine between the examples of one checked representation (n, p) and their mean."""
    directions, mean = Cosine().normalized(x), _mean(x)
    xp = array_api_compat.array_namespace(mean)
    largest = number(xp.max(xp.abs(mean)))
    if largest == 0.0:
        return Statistic(xp.sum(mean) * math.nan)
    mean = mean / largest
    return Statistic(xp.mean(directions @ mean) / xp.sqrt(xp.sum(mean * mean)))


def prepare_uniformity(x: Array) -> Statistic:
    """Log of the mean Gaussian potential of all pairs of examples of one checked representation (n, p)."""
    xp = array_api_compat.array_namespace(x)
    features = center(xp, xp.astype(x, widest_float(xp, x), copy=False))
    return Statistic(xp.log(xp.mean(xp.exp(-2.0 * squared_distances(xp, features)))))


def _mean(x: Array) -> Array:
    xp = array_api_compat.array_namespace(x)
    return xp.mean(xp.astype(x, widest_float(xp, x), copy=False), axis=0)


def score(state_x: Statistic, state_y: Statistic) -> Array:
    """Absolute difference of two layers' numbers."""
    xp = array_api_compat.array_namespace(state_x.value)
    return xp.abs(state_x.value - state_y.value)


def score_concentricity(state_x: Statistic, state_y: Statistic) -> Array:
    """As :func:`score`, where both have a mean that points somewhere."""
    for name, state in (("x", state_x), ("y", state_y)):
        if math.isnan(number(state.value)):
            return undefined("concentricity_difference", f"the mean of {name} is zero (0/0).", state.value)
    return score(state_x, state_y)


def magnitude_difference(x: Array, y: Array) -> Array:
    """Difference of the lengths of the mean examples.

    abs(‖x̄‖ − ‖ȳ‖), of features as they are, as in ReSi.

    Range: [0, ∞), in units of the features. Invariances: orthogonal maps. Symmetric. Not a metric, for 0 does not mean
    equal. **The examples need not be paired**: there is no chance level, as no permutation changes the value.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of as many examples.

    Returns:
        A scalar of the caller's library.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    References:
        Wang et al. 2022; Klabunde et al. 2023 (survey) and 2024 (ReSi).

    Example:
        >>> import numpy as np
        >>> float(magnitude_difference(np.array([[3.0, 4.0], [3.0, 4.0]]), np.array([[2.0], [0.0]])))
        4.0
    """
    x, y = check_pair("magnitude_difference", x, y)
    return score(prepare_magnitude(x), prepare_magnitude(y))


def concentricity_difference(x: Array, y: Array) -> Array:
    """Difference of how far the examples point one way: the mean cosine with the mean example.

    abs((1/n) Σ_i cos(x_i, x̄) − (1/n) Σ_i cos(y_i, ȳ)), of features as they are, as in ReSi.

    Range: [0, 2]. Invariances: orthogonal maps and isotropic scaling. Symmetric. Not a metric, for 0 does not mean
    equal. **The examples need not be paired**: there is no chance level, as no permutation changes the value.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of as many examples.

    Returns:
        A scalar of the caller's library; NaN with a warning where the mean of one side is zero.

    Raises:
        InputError: For arrays that do not match, too few examples, NaN and infinity, or rows of zeros.

    References:
        Wang et al. 2022; Klabunde et al. 2023 (survey) and 2024 (ReSi).

    Example:
        >>> import numpy as np
        >>> x, y = np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[3.0, 4.0], [3.0, -4.0]])
        >>> float(round(concentricity_difference(x, y), 12))
        0.4
    """
    x, y = check_pair("concentricity_difference", x, y)
    return score_concentricity(prepare_concentricity(x), prepare_concentricity(y))


def uniformity_difference(x: Array, y: Array) -> Array:
    """Difference of how evenly the examples are spread: the log of their mean Gaussian potential.

    abs(u(X) − u(Y)) with u(X) = ln((1/n²) Σ_ij exp(−2‖x_i − x_j‖²)) over all pairs, i = j among them, of features as
    they are, as in ReSi. Wang & Isola 2020 define it for examples of unit length and pairs i ≠ j.

    Range: [0, ∞), at most ln n, for u is from −ln n to 0. Invariances: orthogonal maps and translation. Symmetric. Not
    a metric, for 0 does not mean equal. **The examples need not be paired**: there is no chance level, as no
    permutation changes the value.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of as many examples.

    Returns:
        A scalar of the caller's library.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    References:
        Wang & Isola 2020; Klabunde et al. 2023 (survey) and 2024 (ReSi).

    Example:
        >>> import numpy as np
        >>> x, y = np.zeros((10, 3)), 100 * np.eye(10)
        >>> float(round(uniformity_difference(x, y), 4))  # ln 10: from all in one place to all apart
        2.3026
    """
    x, y = check_pair("uniformity_difference", x, y)
    return score(prepare_uniformity(x), prepare_uniformity(y))
