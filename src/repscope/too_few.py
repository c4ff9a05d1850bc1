"""Whether a comparison has too few examples for its layers: it goes by their participation ratio, not their width."""

from __future__ import annotations

import math

import numpy as np

from repscope.comparison import Comparison
from repscope.errors import DiagnosticWarning
from repscope.measures._messages import warn

FEW = 0.2
"""√(PR_x PR_y)/(n − 1) from which on n is too small: the biased CKA of unrelated layers (see
:mod:`repscope.inference.moments`), whose Procrustes cosine is larger yet and has no formula."""

_RISING = {"cka": "biased", "angular_cka": None, "procrustes": None}
"""Measures whose score of unrelated layers rises with that ratio, and with which estimator. The unbiased ones have a
chance level of 0 whatever the layers; those of CCA go by the rank, and warn of it by themselves."""


def warn_of_few_examples(result: Comparison) -> None:
    """One sentence where unrelated layers of these participation ratios would look alike.

    The ratios come from a sample of m examples, which holds PR = mP/(m + P) of the population's P; that is undone, as
    in :func:`repscope.required_examples`.
    """
    if result.n is None or result.n < 3 or _RISING.get(result.measure, "") != result.conventions.get("estimator"):
        return
    batch = result.conventions.get("batch_size") if result.conventions.get("pairs") == "batch" else None
    n = min(result.n, batch) if isinstance(batch, int) else result.n
    rows, columns = (
        np.array([_ratio(result, model, layer, n) for model, layer in zip(models, layers, strict=True)])
        for models, layers in (
            (result.row_models, result.row_layers),
            (result.column_models, result.column_layers),
        )
    )
    known = result.null_mean is not None
    chance = result.null_mean if result.null_mean is not None else np.sqrt(np.outer(rows, columns)) / (n - 1)
    if np.isnan(chance).all() or np.nanmax(chance) < FEW:
        return
    i, j = np.unravel_index(int(np.nanargmax(chance)), chance.shape)
    among = f"batches of {n}" if batch is not None else f"{n}"
    said = f"would score {chance[i, j]:.2f}" if known else f"would look alike (at {chance[i, j]:.2f} of n directions)"
    pair = f"({result.row_layers[i]!r} × {result.column_layers[j]!r}"
    layers = f"layers as wide as these {pair})"
    if not math.isnan(rows[i] + columns[j]):  # without diagnostics nobody has looked at the spectra
        layers = f"layers whose variance lies in {rows[i]:.0f} and {columns[j]:.0f} directions {pair}, "
        layers += "participation ratios)"
    warn(
        f"{result.label}: {among} examples are few for {layers}: unrelated layers {said}. Take more examples, or "
        "unbiased CKA.",
        DiagnosticWarning,
    )


def _ratio(result: Comparison, model: str, layer: str, n: int) -> float:
    """The participation ratio that n examples of the layer would have; NaN where nothing is known of it."""
    facts = result.diagnostics.get(model, {}).get(layer, {})
    ratio, sampled = facts.get("participation_ratio"), facts.get("sampled_examples") or 0
    if ratio is None:
        return math.nan
    if sampled == n or ratio >= sampled:
        return float(ratio)
    population = sampled * ratio / (sampled - ratio)
    return float(n * population / (n + population))
