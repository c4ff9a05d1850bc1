"""CKA of populations of units of which only a sample was recorded."""

from __future__ import annotations

import math
from typing import Literal

import array_api_compat

from repscope.errors import DegenerateInputWarning, DiagnosticWarning, InputError
from repscope.measures._arrays import (
    Array,
    Namespace,
    center_and_scale,
    check_pair,
    frobenius_squared,
    number,
    squared_lengths,
    widest_float,
)
from repscope.measures._messages import check_choice, warn

FEW_UNITS = 30
"""Units of a sample below which the ratio of the three estimates is noticeably too high: in a simulation with a true
value of 1.00 it was 1.16 with 10 units, 1.04 with 30 and 1.00 with 100.
"""

Sampled = Literal["both", "x", "y"]


def cka_of_populations(x: Array, y: Array, *, sampled: Sampled = "both") -> float:
    """Linear CKA of the populations that the recorded units are a random sample of (Chun et al. 2025).

    CKA of few units is too low, however many examples there are: each unit's product with itself counts in the
    denominator. Here these are left out, Σ_{a≠b} HSIC₁(x_a, x_b) / (p(p − 1)) in place of HSIC₁(x, x) / p², for each
    side whose units are a sample. It answers how alike the populations are, not the recorded units; of all units of a
    network's layer use :func:`repscope.cka`.

    Range: around [−1, 1]; it is a ratio of unbiased estimates and may leave the range. A value above 1 comes with a
    warning, always: it is no similarity, it says that the units are too few. Invariances: a permutation and a common
    scale of the units, translation; no rotation, because the units are what is sampled.

    Args:
        x: Representation (n, p), n ≥ 4; p ≥ 2 where its units are a sample.
        y: Representation (n, q) of the same examples.
        sampled: Whose units are a sample: ``"both"``, ``"x"`` or ``"y"``.

    Returns:
        The estimate; NaN, with a warning, where a denominator is not positive.

    Raises:
        InputError: For arrays that do not match, too few examples or units.

    Warns:
        DiagnosticWarning: The estimate is above 1, or a sample has fewer than ``FEW_UNITS`` units.

    References:
        Chun, Canatar, Chung & Lee 2025, arXiv 2502.15104.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> latent = rng.standard_normal((300, 4))
        >>> x, y = (latent @ rng.standard_normal((4, 60)) + rng.standard_normal((300, 60)) for _ in range(2))
        >>> round(cka_of_populations(x, y), 2)
        1.0
    """
    name = "cka_of_populations"
    check_choice(name, "sampled", sampled, ("both", "x", "y"))
    x, y = check_pair(name, x, y, minimum_examples=4)
    xp = array_api_compat.array_namespace(x)
    self_terms = []
    features = []
    for argument, a in (("x", x), ("y", y)):
        sample = sampled in ("both", argument)
        units = int(a.shape[1])
        if sample and units < 2:
            raise InputError(
                f"{name}: {argument} must have at least 2 units to be a sample of a population, got {units}. Record "
                "more units, or leave this side out of sampled=."
            )
        if sample and units < FEW_UNITS:
            warn(
                f"{name}: {argument} has {units} units; with fewer than {FEW_UNITS} the estimate is too high on "
                "average (1.16 in place of 1.00 with 10). Record more units.",
                DiagnosticWarning,
            )
        centred, _ = center_and_scale(xp, xp.astype(a, widest_float(xp, a), copy=False))
        features.append(centred)
        whole = _hsic(xp, centred, centred)
        self_terms.append((whole - _own(xp, centred)) / (units * (units - 1)) if sample else whole / units**2)
    both = _hsic(xp, *features) / (int(x.shape[1]) * int(y.shape[1]))
    if not min(self_terms) > 0:
        which = " and ".join(side for side, own in zip("xy", self_terms, strict=True) if not own > 0)
        warn(
            f"{name}: the units of {which} share nothing that is estimated above 0, so that the ratio has no meaning. "
            "The result is NaN. Record more units or examples.",
            DegenerateInputWarning,
        )
        return math.nan
    value = both / math.sqrt(self_terms[0]) / math.sqrt(self_terms[1])
    if value > 1:
        warn(
            f"{name}: the estimate {value:.4g} is above 1, which is no similarity: the units or examples are too "
            "few to tell it from 1. Report it as such, with the number of units, or record more.",
            DiagnosticWarning,
        )
    return value


def _hsic(xp: Namespace, x: Array, y: Array) -> float:
    """HSIC₁ of centred features (n, p) and (n, q), times n(n − 3)."""
    n = int(x.shape[0])
    k, l = squared_lengths(x), squared_lengths(y)  # noqa: E741
    shared = n / (n - 2) * number(xp.sum(k * l)) - number(xp.sum(k)) * number(xp.sum(l)) / ((n - 1) * (n - 2))
    return number(frobenius_squared(xp, x.T @ y)) - shared


def _own(xp: Namespace, x: Array) -> float:
    """Σ_a of the HSIC₁ of each unit with itself, times n(n − 3), from second and fourth moments."""
    n = int(x.shape[0])
    squares = x * x
    second, fourth = xp.sum(squares, axis=0), xp.sum(squares * squares, axis=0)
    return number(xp.sum(second * second) * (1 + 1 / ((n - 1) * (n - 2))) - n / (n - 2) * xp.sum(fourth))
