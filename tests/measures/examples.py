"""Representations and options that the tests of the measures share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from repscope.measures.catalog import CATALOG, configure
from repscope.measures.kernels import RBF, Cosine, Laplace, Linear, Polynomial, as_kernel
from repscope.measures.measure import ConfiguredMeasure
from tests.reference import kernels as reference
from tests.reference.table import REFERENCES

NARROW = [(30, 4, 6), (30, 6, 4), (25, 5, 5), (20, 1, 1), (20, 1, 5), (20, 5, 1)]
"""(n, p, q) with n > p + q, for every measure."""

WIDE = [(12, 30, 25), (12, 12, 12), (15, 20, 3), (15, 3, 20), (5, 7, 2)]
"""(n, p, q) with p or q ≥ n, for the measures that do not degenerate there."""

NEIGHBORS = ("mutual_knn", "jaccard_knn", "rank_similarity", "second_order_cosine", "cknna", "cycle_knn")
CCA_LIKE = ("cca", "svcca", "pwcca", "linear_regression", "canonical_ridge", "gulp", "eigenspace_overlap")


def ties(measure: ConfiguredMeasure, shape: tuple[int, int, int]) -> bool:
    """Whether neighbours are equally near, so that chance decides: the cosine of one feature knows two directions."""
    by_cosine = measure.options.get("metric", "cosine") == "cosine"
    return measure.id in NEIGHBORS and by_cosine and min(shape[1:]) == 1


def needs_many_examples(measure: ConfiguredMeasure) -> bool:
    """Whether nothing is left to compare, or too many optima, where features outnumber the examples."""
    few_repeats = measure.id == "stochastic_shape_distance" and measure.options["repeats"] > 1
    return measure.id in CCA_LIKE or measure.options.get("alpha") == 0 or few_repeats


def fitting(measure: ConfiguredMeasure, n: int) -> int:
    """The number of rows next to n that the measure takes: whole examples where each has several repeats."""
    repeats = measure.options.get("repeats", 1)
    return max(n - n % repeats, measure.facts.minimum_examples if repeats > 1 else n)


def pair(n: int, p: int, q: int, *, seed: int = 0, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Two related representations with unequal column scales and offsets."""
    rng = np.random.default_rng([seed, n, p, q])
    latent = rng.normal(size=(n, 3))
    x = latent @ rng.normal(size=(3, p)) + rng.normal(size=(n, p))
    y = latent @ rng.normal(size=(3, q)) + rng.normal(size=(n, q))
    x = x * rng.uniform(0.3, 3.0, p) + rng.normal(size=p)
    y = y * rng.uniform(0.3, 3.0, q) + rng.normal(size=q)
    return x.astype(dtype), y.astype(dtype)


def variants() -> Iterator[ConfiguredMeasure]:
    """Every row of the catalogue with every option listed there, and the estimator of each kernel both ways."""
    seen = set()
    for row in CATALOG.values():
        for options in row.variants:
            choices = [options]
            if "estimator" in row.options:
                choices = [{**options, "estimator": estimator} for estimator in ("unbiased", "biased")]
            for choice in choices:
                measure = configure(row.id, **choice)
                if measure.label not in seen:
                    seen.add(measure.label)
                    yield measure


ALL = tuple(variants())


def label(value: Any) -> str | None:
    """Test ids for measures."""
    return value.label if isinstance(value, ConfiguredMeasure) else None


def reference_score(measure: ConfiguredMeasure, x: np.ndarray, y: np.ndarray) -> float:
    """The slow reference of a configured measure."""
    options: dict[str, Any] = dict(measure.options)
    if "kernel" in options:
        kernel = as_kernel(options.pop("kernel"))
        if not isinstance(kernel, Linear):
            options |= {"gram_x": reference_gram(kernel, x), "gram_y": reference_gram(kernel, y)}
    return REFERENCES[measure.id](x, y, **options)


def reference_gram(kernel: Any, x: np.ndarray) -> np.ndarray:
    """The reference's Gram matrix of a kernel of the package."""
    parameters: Mapping[str, Any] = vars(kernel)
    functions = {
        RBF: reference.rbf,
        Laplace: reference.laplace,
        Polynomial: reference.polynomial,
        Cosine: reference.cosine,
    }
    return functions[type(kernel)](x, **parameters)
