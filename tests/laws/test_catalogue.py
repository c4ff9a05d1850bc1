"""What the catalogue declares of each measure holds, and what it does not declare breaks on a witness."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import repscope
from repscope import RBF, Cosine, Laplace, Polynomial
from repscope.measures.catalog import CATALOG, configure, measures
from repscope.measures.measure import Invariance, describe
from tests.measures.examples import ALL, label, pair

EXTRA = tuple(
    configure(name, **options)
    for name, options in (
        ("cka", {"kernel": Polynomial(2, constant=0.0)}),
        ("cka", {"kernel": Laplace(sigma=2.0)}),
        ("hsic", {"kernel": Polynomial(3)}),
        ("hsic", {"kernel": RBF(sigma=2.0), "estimator": "biased"}),
        ("svcca", {"variance": 1.0}),
        ("shape_distance", {"alpha": 0.1}),
        ("canonical_ridge", {"kappa_x": 0.0, "kappa_y": 0.0, "normalizer": "matched"}),
        ("canonical_ridge", {"kappa_x": 0.0, "kappa_y": math.inf}),
        ("canonical_ridge", {"kappa_x": math.inf, "kappa_y": math.inf, "normalizer": "truncated"}),
        ("canonical_ridge", {"kappa_x": 5.0, "kappa_y": 5.0, "normalizer": "matched"}),
    )
)
MEASURES = ALL + EXTRA


def transformed(x, invariance):
    """``x`` after a generic transformation of this kind."""
    rng = np.random.default_rng(17)
    p = x.shape[1]
    if invariance is Invariance.PERMUTATION:
        return x[:, np.roll(np.arange(p), 1)]
    if invariance is Invariance.ORTHOGONAL:
        return x @ np.linalg.qr(rng.normal(size=(p, p)))[0]
    if invariance is Invariance.ISOTROPIC_SCALING:
        return 1.7 * x
    if invariance is Invariance.TRANSLATION:
        return x + rng.normal(size=p)
    return x @ (rng.normal(size=(p, p)) + np.eye(p))


@pytest.mark.parametrize("side", ["x", "y"])
@pytest.mark.parametrize("invariance", list(Invariance), ids=lambda i: i.name.lower())
@pytest.mark.parametrize("measure", MEASURES, ids=label)
def test_every_invariance_holds_or_breaks_as_declared(measure, invariance, side):
    x, y = pair(40, 6, 7)
    before = float(measure(x, y))
    if side == "x":
        declared, after = measure.facts.invariances_x, float(measure(transformed(x, invariance), y))
    else:
        declared, after = measure.facts.invariances_y, float(measure(x, transformed(y, invariance)))
    change = abs(after - before) / abs(before)
    if invariance in declared:
        assert change < 1e-9
    else:
        assert change > 1e-5


def test_invariances_contain_what_they_imply():
    for measure in MEASURES:
        for declared in (measure.facts.invariances_x, measure.facts.invariances_y):
            if Invariance.INVERTIBLE_LINEAR in declared:
                assert {Invariance.ORTHOGONAL, Invariance.ISOTROPIC_SCALING} <= declared
            if Invariance.ORTHOGONAL in declared:
                assert Invariance.PERMUTATION in declared


# Table 1 of the paper: invertible linear, orthogonal, isotropic scaling (of x, y where they differ).
TABLE_1 = {
    "linear_regression": ((False, True), (True, True), (True, True)),
    "cca": ((True, True), (True, True), (True, True)),
    "svcca": ((False, False), (True, True), (True, True)),
    "pwcca": ((False, True), (False, True), (True, True)),
    "hsic": ((False, False), (True, True), (False, False)),
    "cka": ((False, False), (True, True), (True, True)),
}


@pytest.mark.parametrize("name", TABLE_1)
def test_the_catalogue_says_what_table_1_says(name):
    facts = configure(name).facts
    kinds = (Invariance.INVERTIBLE_LINEAR, Invariance.ORTHOGONAL, Invariance.ISOTROPIC_SCALING)
    declared = tuple((kind in facts.invariances_x, kind in facts.invariances_y) for kind in kinds)
    assert declared == TABLE_1[name]


def test_svcca_is_invariant_to_maps_that_keep_the_subspace():
    # Table 1: "if same subspace kept". Three strong directions, mixed among themselves only.
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(60, 8)))[0]
    basis = np.linalg.qr(basis - basis.mean(axis=0))[0]
    x = basis * [10, 9, 8, 0.1, 0.1, 0.1, 0.1, 0.1]
    mixing = np.eye(8)
    mixing[:3, :3] = rng.normal(size=(3, 3)) / 3 + np.eye(3)
    y = pair(60, 6, 1)[0]
    np.testing.assert_allclose(repscope.svcca(x @ mixing, y), repscope.svcca(x, y), rtol=1e-9)


@pytest.mark.parametrize("measure", MEASURES, ids=label)
def test_symmetric_or_not_as_declared(measure):
    x, y = pair(40, 6, 7)
    forth, back = float(measure(x, y)), float(measure(y, x))
    if measure.facts.symmetric:
        np.testing.assert_allclose(forth, back, rtol=1e-10)
    else:
        assert abs(forth - back) > 1e-4


def triples(count=15):
    """Generic triples of representations, of unequal widths, unrelated, related and nearly equal."""
    rng = np.random.default_rng(23)
    for index in range(count):
        widths = rng.integers(1, 6, size=3)
        latent = rng.normal(size=(20, 4))
        noise = 10.0 ** -rng.integers(0, 4)
        yield [latent @ rng.normal(size=(4, p)) * (index % 3 > 0) + noise * rng.normal(size=(20, p)) for p in widths]


@pytest.mark.parametrize("measure", MEASURES, ids=label)
def test_values_stay_in_the_declared_range(measure):
    low, high = measure.facts.range
    rounding = 1e-9
    for x, y, z in triples():
        for a, b in itertools.product((x, y, z), repeat=2):
            assert low - rounding <= float(measure(a, b)) <= high + rounding


# Uncorrelated representations: their columns are orthogonal after centring.
FIRST_TWO, LAST_TWO = np.array([[1.0], [-1], [0], [0]]), np.array([[0.0], [0], [1], [-1]])


FIRST, SECOND = np.array([[1.0], [-1], [0], [0]]), np.array([[0.0], [0], [1], [-1]])
"""Two features of four examples that have nothing in common."""


@pytest.mark.parametrize(
    ("measure", "end"),
    [
        (configure("procrustes"), math.pi / 2),
        (configure("procrustes", kind="squared"), 2.0),
        (configure("procrustes", kind="cosine"), 0.0),
        (configure("angular_cka"), math.pi / 2),
        (configure("shape_distance", alpha=0.0), math.pi / 2),
        (configure("shape_distance", alpha=0.5), math.pi / 2),
        (configure("cca"), 0.0),
        (configure("cca", summary="mean"), 0.0),
        (configure("pwcca"), 0.0),
        (configure("linear_regression"), 0.0),
        (configure("cka", estimator="biased"), 0.0),
        (configure("hsic", estimator="biased"), 0.0),
    ],
    ids=label,
)
def test_unrelated_features_reach_the_worse_end_of_the_range(measure, end):
    np.testing.assert_allclose(measure(FIRST, SECOND), end, atol=1e-12)
    assert end in measure.facts.range


def test_unbiased_estimates_fall_below_zero():
    # x separates examples {0, 1} from {2, 3} and y {0, 2} from {1, 3}: no pair agrees.
    x, y = np.array([[1.0], [1], [-1], [-1]]), np.array([[1.0], [-1], [1], [-1]])
    assert repscope.hsic(x, y) < 0
    np.testing.assert_allclose(repscope.cka(x, y), -0.5)


@pytest.mark.parametrize("measure", MEASURES, ids=label)
def test_identical_inputs_score_best(measure):
    kind, (low, high) = measure.facts.kind, measure.facts.range
    for x, *_ in triples(6):
        itself = float(measure(x, x))
        if kind == "distance":
            np.testing.assert_allclose(itself, low, atol=1e-9)
        elif measure.options.get("regularization"):
            assert itself < 1  # a ridge shrinks what it predicts
        elif measure.id == "cycle_knn":
            assert itself <= 1  # an example need not be a neighbour of its neighbours
        elif measure.id == "canonical_ridge":
            # κ_x ≠ κ_y weigh the same directions differently: only equal ridges reach 1.
            assert itself <= 1 + 1e-12
            if measure.options["kappa_x"] == measure.options["kappa_y"]:
                np.testing.assert_allclose(itself, 1.0, rtol=1e-10)
        elif math.isfinite(high):
            np.testing.assert_allclose(itself, high, rtol=1e-10)
        else:
            # HSIC has no best value; by Cauchy and Schwarz nothing of its own size scores higher than itself.
            assert itself > 0
            rng = np.random.default_rng(0)
            for _ in range(5):
                shuffled = x[rng.permutation(len(x))]
                assert float(measure(x, shuffled)) <= itself * (1 + 1e-12)


@pytest.mark.parametrize("measure", [m for m in MEASURES if m.facts.metric], ids=label)
def test_metrics_obey_the_triangle_inequality(measure):
    for x, y, z in triples(60):
        xy, yz, xz = float(measure(x, y)), float(measure(y, z)), float(measure(x, z))
        assert min(xy, yz, xz) >= 0
        assert xz <= xy + yz + 1e-9
        assert xy <= xz + yz + 1e-9
        assert yz <= xy + xz + 1e-9


@pytest.mark.parametrize("measure", [m for m in MEASURES if m.facts.metric], ids=label)
def test_metrics_are_zero_exactly_on_what_they_call_equal(measure):
    x, y = pair(40, 6, 7)
    for invariance in measure.facts.invariances_x:
        assert float(measure(x, transformed(x, invariance))) < 1e-7
    # To all but the matching of units, which are counted, features that are zero are none.
    same = np.concatenate([x, x], axis=1) if measure.id == "soft_matching" else np.pad(x, ((0, 0), (0, 3)))
    assert float(measure(x, same)) < 1e-7
    assert float(measure(x, y)) > 0.1
    if Invariance.INVERTIBLE_LINEAR not in measure.facts.invariances_x:
        assert float(measure(x, x * [1, 1, 1, 1, 1, 1.01])) > 1e-4


def test_distances_that_are_no_metric_are_declared_so():
    # Squared lengths break the triangle inequality: three points on a line.
    squared = configure("procrustes", kind="squared")
    assert not squared.facts.metric
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 2)))[0]
    basis = np.linalg.qr(basis - basis.mean(axis=0))[0]
    x, y, z = (np.cos(t) * basis[:, :1] + np.sin(t) * basis[:, 1:] for t in (0.0, 0.5, 1.0))
    assert float(squared(x, z)) > float(squared(x, y)) + float(squared(y, z)) + 0.1
    for kind in ("angle", "distance"):
        assert configure("procrustes", kind=kind).facts.metric


@pytest.mark.parametrize("measure", MEASURES, ids=label)
@pytest.mark.filterwarnings("ignore::repscope.errors.RankWarning")
@pytest.mark.filterwarnings("ignore::repscope.errors.DegenerateInputWarning")
def test_the_smallest_number_of_examples(measure):
    n = measure.facts.minimum_examples
    x, y = pair(n, 3, 4)
    value = float(measure(x, y))
    if "RBF(0.4)" not in measure.label and "Laplace(1)" not in measure.label:  # at n = 2 their median may be a zero
        assert math.isfinite(value)
    with pytest.raises(repscope.InputError, match=f"must have at least {n} rows"):
        measure(x[: n - 1], y[: n - 1])


def test_every_row_is_complete():
    for name, row in CATALOG.items():
        assert row.id == name
        assert row.title
        assert row.formula
        assert row.cost
        assert row.references
        assert row.variants
        assert set(row.options) == set(row.prepare_options) | set(row.score_options)
        assert getattr(repscope, name) is row.function
        for options in row.variants:
            assert set(options) <= set(row.options)


def test_the_public_listing_is_the_catalogue():
    assert measures() == CATALOG
    assert repscope.measures is measures
    listed = repscope.measures()
    del listed["cka"]
    assert "cka" in CATALOG


def test_defaults_of_the_functions_are_the_defaults_of_the_catalogue():
    import inspect

    for row in CATALOG.values():
        parameters = inspect.signature(row.function).parameters
        for option, default in row.options.items():
            declared = parameters[option].default
            # The canonical ridge has no default ridge as a function: the user must choose one.
            assert declared == default or (row.id == "canonical_ridge" and declared is inspect.Parameter.empty)


def test_labels_name_what_differs_from_the_defaults():
    assert configure("cka").label == "cka"
    assert configure("cka", estimator="unbiased").label == "cka"
    assert configure("cka", estimator="biased", kernel=RBF(0.2)).label == "cka(estimator='biased', kernel=RBF(0.2))"
    assert configure("cka", kernel=RBF(sigma=2.0)).label == "cka(kernel=RBF(sigma=2))"
    assert configure("cka", kernel=Cosine()).label == "cka(kernel=Cosine())"
    assert describe(math.inf) == "inf"
    assert describe(pair).endswith("examples.pair")


def test_a_preparation_is_shared_only_where_it_is_the_same():
    assert configure("cca").preparation == configure("cca", summary="mean").preparation
    assert configure("cka", kernel=RBF(0.4)).preparation == configure("cka", kernel=RBF(0.4)).preparation
    different = [
        configure("cka"),
        configure("cka", estimator="biased"),
        configure("cka", kernel=RBF(0.4)),
        configure("cka", kernel=RBF(0.2)),
        configure("cka", kernel=RBF(0.4, median="off-diagonal")),
        configure("cka", kernel=Laplace(0.4)),
        configure("cka", kernel=lambda x: x @ x.T),
        configure("cka", kernel=lambda x: (x @ x.T) ** 2),
        configure("svcca"),
        configure("svcca", variance=0.9),
    ]
    assert len({measure.preparation for measure in different}) == len(different)
