"""Every declared invariance holds, and every one that is not declared breaks; likewise symmetry, range and limits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from tests.measures.examples import pair, variants

import repscope
from repscope.measures.catalog import ConfiguredMeasure, Invariance

MEASURES = list(variants())
SIDES = ("x", "y")


def orthogonal(p: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(p, p)))[0]


def transformed(x: np.ndarray, invariance: Invariance, rng: np.random.Generator) -> np.ndarray:
    """A generic member of the group of transformations."""
    p = x.shape[1]
    match invariance:
        case Invariance.PERMUTATION:
            return x[:, rng.permutation(p)]
        case Invariance.ORTHOGONAL:
            return x @ orthogonal(p, rng)
        case Invariance.ISOTROPIC_SCALING:
            return x * 3.7
        case Invariance.TRANSLATION:
            return x + rng.normal(size=p) * 5
        case Invariance.INVERTIBLE_LINEAR:
            # Singular values from 0.2 to 5: far from orthogonal, well-conditioned.
            return x @ orthogonal(p, rng) @ np.diag(np.geomspace(0.2, 5, p)) @ orthogonal(p, rng)


def change(measure: ConfiguredMeasure, side: str, invariance: Invariance) -> float:
    """Relative change of the score under the transformation of one side."""
    rng = np.random.default_rng(5)
    x, y = pair(40, 5, 6)
    before = float(measure(x, y))
    if side == "x":
        x = transformed(x, invariance, rng)
    else:
        y = transformed(y, invariance, rng)
    after = float(measure(x, y))
    return abs(after - before) / max(abs(before), 1e-3)


def declared(measure: ConfiguredMeasure, side: str) -> frozenset[Invariance]:
    return measure.facts.invariances_x if side == "x" else measure.facts.invariances_y


CASES = list(itertools.product(MEASURES, SIDES, Invariance))
HELD = [case for case in CASES if case[2] in declared(case[0], case[1])]
BROKEN = [case for case in CASES if case[2] not in declared(case[0], case[1])]


def named(case: object) -> str:
    return case.label if isinstance(case, ConfiguredMeasure) else str(case)


@pytest.mark.parametrize(("measure", "side", "invariance"), HELD, ids=named)
def test_a_declared_invariance_holds(measure, side, invariance):
    # Condition 25 of the linear maps, over sums of a few hundred products.
    assert change(measure, side, invariance) < 1e-9


@pytest.mark.parametrize(("measure", "side", "invariance"), BROKEN, ids=named)
def test_an_undeclared_invariance_breaks_on_a_witness(measure, side, invariance):
    assert change(measure, side, invariance) > 1e-4


def test_both_kinds_of_cases_exist():
    assert len(HELD) > 50
    assert len(BROKEN) > 50


def test_declarations_are_consistent():
    for measure in MEASURES:
        for side in SIDES:
            found = declared(measure, side)
            if Invariance.INVERTIBLE_LINEAR in found:
                assert {Invariance.ORTHOGONAL, Invariance.ISOTROPIC_SCALING} <= found
            if Invariance.ORTHOGONAL in found:
                assert Invariance.PERMUTATION in found


@pytest.mark.parametrize("measure", MEASURES, ids=named)
def test_symmetry_is_as_declared(measure):
    differences = [
        abs(float(measure(x, y)) - float(measure(y, x))) for x, y in (pair(40, 5, 6), pair(40, 3, 7, seed=1))
    ]
    if measure.facts.symmetric:
        assert max(differences) < 1e-10
    else:
        assert min(differences) > 1e-4


@pytest.mark.parametrize("measure", MEASURES, ids=named)
@pytest.mark.parametrize("seed", range(5))
def test_scores_lie_in_the_declared_range(measure, seed):
    low, high = measure.facts.range
    rounding = 1e-9
    x, y = pair(40, 5, 6, seed=seed)
    unrelated = np.random.default_rng(seed).normal(size=(40, 6))
    for other in (y, unrelated, x):
        assert low - rounding <= float(measure(x, other)) <= high + rounding


# HSIC is not normalised, and two different ridges do not give 1: a stronger copy would score more.
BOUNDED = [m for m in MEASURES if m.id != "hsic" and not (m.id == "canonical_ridge" and not m.facts.symmetric)]


@pytest.mark.parametrize("measure", BOUNDED, ids=named)
def test_nothing_is_more_like_a_representation_than_itself(measure):
    x, y = pair(40, 5, 6)
    best = 0.0 if measure.facts.kind == "distance" else 1.0
    np.testing.assert_allclose(float(measure(x, x)), best, atol=2e-7)
    if measure.facts.kind == "distance":
        assert float(measure(x, y)) > 1e-3
    else:
        assert float(measure(x, y)) < 1 - 1e-3


METRICS = [m for m in MEASURES if m.facts.metric]


@pytest.mark.parametrize("measure", METRICS, ids=named)
def test_metrics_obey_the_triangle_inequality(measure):
    rng = np.random.default_rng(0)
    for _ in range(40):
        base = rng.normal(size=(12, 3))
        x, y, z = (base @ rng.normal(size=(3, p)) + rng.normal(size=(12, p)) * 0.3 for p in (2, 3, 4))
        assert float(measure(x, z)) <= float(measure(x, y)) + float(measure(y, z)) + 1e-9


def test_there_are_metrics_and_distances_that_are_none():
    assert {m.options["kind"] for m in METRICS} == {"angle", "distance"}
    # On a line of three points at equal angles the squared distance of the ends exceeds the sum of the two steps.
    t = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    points = [np.column_stack([np.cos(t), a * np.sin(t)]) for a in (0.0, 0.4, 1.0)]
    first, middle, last = points
    squared = repscope.configure("procrustes", kind="squared")
    assert squared(first, last) > squared(first, middle) + squared(middle, last)


@pytest.mark.parametrize("measure", MEASURES, ids=named)
def test_the_smallest_number_of_examples_is_as_declared(measure):
    least = measure.facts.minimum_examples
    rng = np.random.default_rng(1)
    if least > 2 or measure.id in ("cka", "hsic"):
        value = float(measure(rng.normal(size=(least, 3)), rng.normal(size=(least, 2))))
        assert math.isfinite(value)
    with pytest.raises(repscope.InputError, match=f"at least {least} rows"):
        measure(rng.normal(size=(least - 1, 3)), rng.normal(size=(least - 1, 2)))
