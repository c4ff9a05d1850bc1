"""Permutation tests of whole comparisons against slow loops over prepared and unprepared data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import repscope
from repscope import InputError, permutation_test
from repscope.inference import permutation
from repscope.inference.permutation import draw_orders
from repscope.measures.catalog import configure
from tests.inference.test_moments import MEASURES, label, layers_of
from tests.reference.permutations import all_scores

pytestmark = [
    pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning"),
    pytest.mark.filterwarnings("ignore::repscope.RankWarning"),
]

ALL = [
    *MEASURES,
    ("cca", {"summary": "mean"}),
    ("pwcca", {}),
    ("procrustes", {}),
    ("procrustes", {"kind": "cosine"}),
    ("shape_distance", {"alpha": 0.5}),
    ("angular_cka", {}),
    ("linear_regression", {"folds": 5, "regularization": 0.01}),
    ("aligned_cosine", {}),
    ("permutation_procrustes", {"kind": "distance"}),
    ("correlation_matching", {}),
    ("soft_matching", {}),
    ("rtd", {}),
    ("rtd", {"batch": 12, "trials": 2}),
    ("mutual_knn", {"k": 5}),
    ("second_order_cosine", {"k": 5}),
    ("cknna", {"k": 5}),
    ("cycle_knn", {"k": 2}),
]


@pytest.mark.parametrize(("measure", "options"), ALL, ids=label)
def test_every_measure_is_scored_anew_for_each_permutation(measure: str, options: dict[str, Any]) -> None:
    n = 25
    a, b = layers_of(n, (4, 30), seed=0), layers_of(n, (3, 6, 40), seed=1)
    test = permutation_test(a, b, measure=measure, permutations=20, seed=3, **options)
    np.testing.assert_allclose(
        test.comparison.values, repscope.compare(a, b, measure=measure, **options).values, rtol=1e-8, atol=1e-10
    )
    orders, complete = draw_orders(n, 20, 3)
    assert not complete
    configured = configure(measure, **options)
    for k in (0, 19):
        expected = [
            [float(configured.score(configured.prepare(x), configured.prepare(y[orders[k]]))) for y in b.values()]
            for x in a.values()
        ]
        np.testing.assert_allclose(test.null[k], expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(test.comparison.null_mean, test.null.mean(axis=0))
    np.testing.assert_allclose(test.comparison.null_sd, test.null.std(axis=0))


@pytest.mark.parametrize(
    "measure",
    [
        *("procrustes", "shape_distance", "angular_cka", "aligned_cosine"),
        *("permutation_procrustes", "correlation_matching", "soft_matching"),
    ],
)
@pytest.mark.parametrize("width", [4, 30])
def test_shapes_and_units_are_prepared_once(measure: str, width: int) -> None:
    (x,) = layers_of(25, (width,)).values()
    configured, order = configure(measure), np.random.default_rng(0).permutation(25)
    moved = permutation.permuted(configured.prepare(x), order)
    assert moved is not None
    itself = float(configured.score(configured.prepare(x), configured.prepare(x)))
    np.testing.assert_allclose(configured.score(moved, configured.prepare(x[order])), itself, atol=1e-9)


def test_an_angle_has_the_p_values_of_its_cosine() -> None:
    a, b = layers_of(40, (4, 60), seed=0), layers_of(40, (3, 6), seed=1)
    angle = permutation_test(a, b, measure="angular_cka", permutations=199)
    cosine = permutation_test(a, b, measure="cka", estimator="biased", permutations=199)
    np.testing.assert_array_equal(angle.comparison.p_values, cosine.comparison.p_values)
    assert len(np.unique(angle.comparison.p_values)) > 1


def test_few_examples_are_enumerated() -> None:
    a, b = layers_of(5, (2, 3)), layers_of(5, (2,), seed=1)
    test = permutation_test(a, b)
    assert test.complete
    assert test.comparison.conventions["null"] == "all 120 permutations of the examples"
    assert test.comparison.seeds == {}
    configured = configure("cka")
    for i, x in enumerate(a.values()):
        scores = all_scores(lambda x, y: float(configured(x, y)), x, b["layer0"])
        np.testing.assert_allclose(np.sort(test.null[:, i, 0]), np.sort(scores), atol=1e-12)
        expected = np.mean(scores >= test.comparison.values[i, 0] - 1e-9)
        assert test.comparison.p_values[i, 0] == pytest.approx(expected)
    closed = repscope.compare(a, b)
    np.testing.assert_allclose(test.comparison.null_sd, closed.null_sd, rtol=1e-9)


def test_a_layer_against_itself_is_reached_by_no_other_permutation() -> None:
    x = layers_of(30, (4,))
    drawn = permutation_test(x, permutations=99, seed=1)
    assert drawn.comparison.p_values[0, 0] == pytest.approx(0.01)
    assert drawn.comparison.seeds == {"permutations": 1}
    few = permutation_test(layers_of(5, (4,)))
    assert few.comparison.p_values[0, 0] == pytest.approx(1 / 120)


def test_equal_examples_tie() -> None:
    x = np.repeat(np.eye(3), 2, axis=0)[:5]  # rows 0 and 1, and rows 2 and 3, are equal: 4 permutations change nothing
    test = permutation_test({"x": x}, estimator="biased")
    assert test.comparison.p_values[0, 0] >= 4 / 120 - 1e-12


@pytest.mark.parametrize(
    ("measure", "options"),
    [
        *(("cca", {}), ("eigenspace_overlap", {}), ("linear_regression", {}), ("shape_distance", {"alpha": 0.0})),
        ("canonical_ridge", {"kappa_x": math.inf, "kappa_y": 0.0}),
    ],
    ids=label,
)
def test_scores_that_no_permutation_moves_differ_by_rounding_alone(measure: str, options: dict[str, Any]) -> None:
    a, b = layers_of(12, (15, 16, 40), seed=0), layers_of(12, (13, 17, 30), seed=1)
    test = permutation_test(a, b, measure=measure, permutations=99, **options)
    np.testing.assert_array_equal(test.comparison.p_values, 1.0)
    np.testing.assert_array_equal(test.calibrated(), 0.0)


def test_distances_are_the_more_significant_the_smaller_they_are() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 5))
    test = permutation_test(
        {"x": x}, {"near": x + 0.1, "far": rng.standard_normal((40, 5))}, measure="procrustes", permutations=49
    )
    assert test.comparison.p_values[0, 0] == pytest.approx(0.02)
    assert test.comparison.p_values[0, 1] > 0.05
    assert test.calibrated()[0, 0] == pytest.approx(1, abs=1e-6)


def test_the_same_seed_draws_the_same() -> None:
    x = layers_of(30, (4, 6))
    one, two, other = (permutation_test(x, permutations=30, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.null, two.null)
    assert not np.array_equal(one.null, other.null)


def test_single_precision_from_many_examples_on(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = layers_of(60, (4, 30)), layers_of(60, (5,), seed=1)
    double = permutation_test(a, b, permutations=20)
    monkeypatch.setattr(permutation, "SINGLE_FROM", 60)
    monkeypatch.setattr(permutation, "_TOGETHER", 8 * 60)  # 21 orders, eight at a time
    single = permutation_test(a, b, permutations=20)
    np.testing.assert_allclose(single.null, double.null, atol=1e-6)
    np.testing.assert_array_equal(single.comparison.p_values, double.comparison.p_values)


def test_calibrated_scores_follow_their_definition() -> None:
    a, b = layers_of(40, (4, 30)), layers_of(40, (5, 8), seed=0)
    test = permutation_test(a, b, permutations=39)
    values = test.comparison.values
    scores = np.sort(np.concatenate([values[None], test.null]), axis=0)
    for alpha, rank in ((0.05, 38), (0.1, 36), (0.5, 20)):
        threshold = scores[rank - 1]
        expected = np.maximum((values - threshold) / (1 - threshold), 0)
        np.testing.assert_allclose(test.calibrated(alpha), expected)
    corrected = test.comparison.chance_corrected()
    np.testing.assert_allclose(corrected, (values - test.null.mean(axis=0)) / (1 - test.null.mean(axis=0)))


def test_the_most_similar_layer_is_judged_as_the_outcome_of_a_search() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 5))
    a = {"one": x, "two": rng.standard_normal((40, 5))}
    b = {f"b{i}": rng.standard_normal((40, 4)) for i in range(12)} | {"like": x + rng.standard_normal((40, 5))}
    test = permutation_test(a, b, permutations=199, seed=2)
    related, unrelated = test.best_matches()
    assert (related.row, related.column, related.p_value) == ("one", "like", pytest.approx(0.005))
    assert 0 < related.calibrated < related.value < 1
    searched = test.null.max(axis=2)
    assert unrelated.chance == pytest.approx(searched[:, 1].mean())
    assert unrelated.p_value == pytest.approx((1 + (searched[:, 1] >= unrelated.value).sum()) / 200)
    assert unrelated.p_value > test.comparison.p_values[1].min()  # the best of many is found by chance more easily
    assert unrelated.calibrated == 0 or unrelated.p_value <= 0.05
    (like,) = [match for match in test.best_matches("columns") if match.row == "like"]
    assert like.column == "one"


def test_within_one_model_no_layer_is_its_own_match() -> None:
    test = permutation_test(layers_of(30, (4, 6, 8)), permutations=19)
    assert all(match.row != match.column for match in test.best_matches())
    assert all(match.value < 0.99 for match in test.best_matches())


def test_a_constant_layer_has_no_match() -> None:
    layers = layers_of(30, (4, 6)) | {"dead": np.ones((30, 2))}
    for measure in ("cca", "linear_regression", "pwcca"):
        with pytest.warns(repscope.DegenerateInputWarning):
            test = permutation_test(layers, layers_of(30, (5,)), measure=measure, permutations=19)
        assert np.isnan(test.comparison.values[2]).all()
        assert np.isnan(test.comparison.p_values[2]).all()
        assert [match.row for match in test.best_matches()] == ["layer0", "layer1"]


def test_models_are_tested_too() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    data = torch.randn(40, 6)
    test = permutation_test(net, data=data, permutations=19)
    np.testing.assert_allclose(test.comparison.values, repscope.compare(net, data=data).values, atol=1e-5)
    assert test.comparison.p_values[0, 0] == pytest.approx(0.05)


def test_mistakes_are_named() -> None:
    x = layers_of(30, (4, 6))
    with pytest.raises(InputError, match=r"permutation_test: permutations must be a whole number from 19 on, got 5"):
        permutation_test(x, permutations=5)
    with pytest.raises(InputError, match=r"permutation_test: pairs must be left out, got 'batch'"):
        permutation_test(x, pairs="batch")
    with pytest.raises(InputError, match=r"permutation_test: measure must be one measure, got 2"):
        permutation_test(x, measure=["cka", "cca"])
    with pytest.raises(InputError, match=r"permutation_test: the Gram matrices of 30 examples must fit the memory"):
        permutation_test(x, memory=1000)
    for wrong in (-1, 1.5, None, True):
        with pytest.raises(InputError, match=f"compare: seed must be a whole number from 0 on, got {wrong}"):
            permutation_test(x, permutations=19, seed=wrong)  # type: ignore[arg-type]
    test = permutation_test(x, permutations=19)
    with pytest.raises(InputError, match=r"PermutationTest.calibrated: alpha must be from 0.05 \(one of 20 scores\)"):
        test.calibrated(0.01)
    with pytest.raises(InputError, match=r"best_matches: axis must be 'rows' or 'columns', got 'diagonal'"):
        test.best_matches("diagonal")  # type: ignore[arg-type]
    unbounded = permutation_test(x, measure="hsic", permutations=19)
    with pytest.raises(InputError, match=r"calibrated: the measure must have a best score, got HSIC"):
        unbounded.calibrated()
    with pytest.raises(InputError, match=r"Comparison.chance_corrected: the comparison must have a best score"):
        unbounded.comparison.chance_corrected()
    with pytest.raises(InputError, match=r"must have a chance level, got Procrustes"):
        repscope.compare(x, measure="procrustes").chance_corrected()


def test_all_orders_are_those_of_the_factorial() -> None:
    orders, complete = draw_orders(4, 24, 0)
    assert complete
    assert len({tuple(order) for order in orders.tolist()}) == math.factorial(4)
    assert not draw_orders(4, 23, 0)[1]


def test_the_comparison_holds_the_calibrated_scores_where_there_are_any():
    x = layers_of(30, (4, 6))
    test = permutation_test(x, permutations=39)
    np.testing.assert_array_equal(test.comparison.calibrated, test.calibrated(0.05))
    assert permutation_test(x, measure="hsic", permutations=39).comparison.calibrated is None
    assert permutation_test(layers_of(3, (2,)), estimator="biased").comparison.calibrated is None  # of six orders
    assert test.comparison.diagnostics["model"]["layer0"]["features"] == 4


def test_several_permutations_at_once_are_those_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = layers_of(40, (4, 30)), layers_of(40, (5, 6, 7), seed=1)
    whole = permutation_test(a, b, permutations=50)
    monkeypatch.setattr(permutation, "_TOGETHER", 1)
    np.testing.assert_allclose(permutation_test(a, b, permutations=50).null, whole.null, atol=1e-14)
