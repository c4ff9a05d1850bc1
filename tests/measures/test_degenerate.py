"""Where a measure is 0/0 it says so and gives NaN; where the examples are too few it warns with n, p and q."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import repscope
from repscope import RBF, DegenerateInputWarning, Laplace, RankWarning
from repscope.measures.catalog import configure
from tests.measures.examples import ALL, label, pair

X, Y = pair(30, 4, 6)
CONSTANT = np.full((30, 4), 0.1)
WITHOUT_RATIO = (
    "hsic",
    "procrustes(kind='distance')",
    "permutation_procrustes(kind='distance')",
    "soft_matching",
    "stochastic_shape_distance",
    "magnitude_difference",
    "concentricity_difference",
    "uniformity_difference",
)
"""Measures that divide by nothing that is 0 of constant layers: 0 and ‖Y‖, for example, are their right answers."""


def divides(measure):
    return measure.options.get("kind") == "correlation" or not measure.label.startswith(WITHOUT_RATIO)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("measure", [m for m in ALL if divides(m) and "cosine" not in m.label], ids=label)
def test_a_constant_representation_gives_nan_and_a_warning(measure, dtype, constant):
    flat, varied = np.full((30, 4), constant, dtype=dtype), Y.astype(dtype)
    for x, y, side in ((flat, varied, "x"), (varied, flat, "y"), (flat, flat, "x")):
        with pytest.warns(DegenerateInputWarning, match="The result is NaN|the result is NaN") as caught:
            result = measure(x, y)
        assert np.isnan(result)
        assert isinstance(result, np.floating)
        message = str(caught[0].message)
        assert f"all rows of {side} are equal" in message or "median distance between examples is 0" in message


@pytest.mark.parametrize("name", ["cka", "cca", "svcca", "pwcca", "linear_regression", "procrustes", "canonical_ridge"])
def test_constant_tensors_give_a_tensor(name):
    torch = pytest.importorskip("torch")
    with pytest.warns(DegenerateInputWarning):
        result = configure(name)(torch.zeros(30, 4), torch.from_numpy(Y).float())
    assert isinstance(result, torch.Tensor)
    assert result.ndim == 0
    assert bool(torch.isnan(result))


def test_constant_units_match_nothing():
    dead = np.concatenate([X[:, :3], CONSTANT[:, :1]], axis=1)
    assert repscope.correlation_matching(dead, dead) == pytest.approx(0.75)
    assert repscope.correlation_matching(dead, dead, assignment="soft") == pytest.approx(0.75)
    assert repscope.soft_matching(dead, dead, kind="correlation") == pytest.approx(0.75)
    assert repscope.correlation_matching(dead, X[:, :3]) == pytest.approx(1.0)


def test_examples_of_a_constant_representation_have_no_direction():
    for x, y, side in ((CONSTANT, Y, "x"), (Y, CONSTANT, "y")):
        with pytest.warns(DegenerateInputWarning, match=f"aligned_cosine: all rows of {side} are equal"):
            assert np.isnan(repscope.aligned_cosine(x, y))


@pytest.mark.parametrize("shape", [(31, 4, 6), (31, 40, 6)], ids=str)
def test_an_example_that_is_the_mean_has_no_direction(shape):
    x, y = pair(*shape)
    x[5] = x[np.arange(31) != 5].mean(axis=0)
    for first, second in ((x, y), (y, x)):
        with pytest.raises(repscope.InputError, match=r"aligned_cosine: every example must differ .* mean in row 5"):
            repscope.aligned_cosine(first, second)


def test_directions_without_any_correlation_can_be_turned_at_will():
    basis = np.linalg.qr(X - X.mean(axis=0))[0]
    for first, second in (([0, 1], [1, 2]), ([0], [1]), ([0, 1], [2]), ([3], [0, 1, 2])):
        with pytest.warns(DegenerateInputWarning, match="no rotation is better than another"):
            assert np.isnan(repscope.aligned_cosine(basis[:, first], 3 * basis[:, second]))
    # Nor does it matter where it is too little to be seen: features of low rank, and rounding.
    rng = np.random.default_rng(0)
    low, other = (rng.normal(size=(200, 5)) @ rng.normal(size=(5, p)) for p in (40, 30))
    noisy = [repscope.aligned_cosine(*(z.astype(dtype) for z in (low, other))) for dtype in (np.float32, np.float64)]
    np.testing.assert_allclose(*noisy, rtol=1e-6)
    # What is zero on one side cannot be turned on the other.
    x, y = basis[:, :2], basis[:, :1] * [1.0, 0.0]
    expected = np.mean(np.abs(x[:, 0]) / np.linalg.norm(x, axis=1))
    np.testing.assert_allclose(repscope.aligned_cosine(x, y), expected, rtol=1e-12)


def test_measures_without_a_ratio_have_answers_on_constant_input():
    for estimator in ("unbiased", "biased"):
        assert repscope.hsic(CONSTANT, Y, estimator=estimator) == 0.0
    centered = Y - Y.mean(axis=0)
    for distance in (repscope.procrustes, repscope.permutation_procrustes):
        for x, y in ((CONSTANT, Y), (Y, CONSTANT), (np.full((30, 50), 0.1), Y)):
            np.testing.assert_allclose(distance(x, y, kind="distance"), np.linalg.norm(centered))
        assert distance(CONSTANT, CONSTANT, kind="distance") == 0.0
    for x, y in ((CONSTANT, Y), (Y, CONSTANT), (CONSTANT[:, :1], Y)):  # every unit of y moves to 0
        np.testing.assert_allclose(repscope.soft_matching(x, y), np.linalg.norm(centered) / np.sqrt(Y.shape[1]))
    assert repscope.soft_matching(CONSTANT, CONSTANT[:, :1]) == 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [4, 5, 8, 9, 20, 64])
def test_examples_that_are_all_equally_far_apart(n, dtype):
    # The rows of the identity: U-centring leaves nothing of them, in either form and at any size.
    simplex, other = np.eye(n, dtype=dtype), pair(n, 3, 1)[0].astype(dtype)
    for x, y, side in ((simplex, other, "x"), (other, simplex, "y"), (3 * simplex - 1, other, "x")):
        with pytest.warns(DegenerateInputWarning, match=f"cka: all rows of {side} are equal, or .* equally far apart"):
            assert np.isnan(repscope.cka(x, y))
    assert np.isfinite(repscope.cka(simplex, other, estimator="biased"))


@pytest.mark.parametrize("n", [10, 300])
def test_a_unit_that_fires_for_one_example_only(n):
    fires = np.zeros((n, 3))
    fires[4, 1] = 2.0
    with pytest.warns(DegenerateInputWarning, match="equal but for one"):
        assert np.isnan(repscope.cka(fires, pair(n, 3, 1)[0]))
    assert np.isfinite(repscope.cka(fires, pair(n, 3, 1)[0], estimator="biased"))


def test_nearly_equidistant_examples_are_still_told_apart():
    rng = np.random.default_rng(0)
    x = np.eye(40) + 1e-6 * rng.normal(size=(40, 40))
    np.testing.assert_allclose(repscope.cka(x, x[:, ::-1]), 1.0, rtol=1e-9)


@pytest.mark.parametrize("kernel", [RBF(0.4), Laplace(1.0)], ids=repr)
def test_no_bandwidth_where_most_distances_are_zero(kernel):
    x = X.copy()
    x[:25] = x[0]
    words = f"{type(kernel).__name__}: the median distance between examples is 0.*Remove duplicates or give sigma="
    with pytest.warns(DegenerateInputWarning, match=words):
        assert np.isnan(repscope.cka(x, Y, kernel=kernel))
    assert np.isfinite(repscope.cka(x, Y, kernel=type(kernel)(sigma=2.0)))


def test_a_bandwidth_too_narrow_for_any_pair():
    with pytest.warns(DegenerateInputWarning, match="alike to this kernel"):
        assert np.isnan(repscope.cka(X, Y, kernel=RBF(sigma=1e-6)))


FORCED = {
    "canonical_correlations": repscope.canonical_correlations,
    "cca": repscope.cca,
    "svcca": lambda x, y: repscope.svcca(x, y, variance=1.0),
    "pwcca": repscope.pwcca,
}


@pytest.mark.parametrize("name", FORCED)
@pytest.mark.parametrize("shape", [(30, 15, 15), (30, 20, 12), (30, 4, 26)], ids=str)
def test_too_few_examples_for_cca_names_n_p_and_q(name, shape):
    n, p, q = shape
    words = f"{name}: n = {n} examples are too few for p = {p} and q = {q} features: correlations of 1 are forced"
    with pytest.warns(RankWarning, match=re.escape(words) + ".*Theorem 1.*Use more examples, or cka"):
        FORCED[name](*pair(*shape))


@pytest.mark.parametrize("name", FORCED)
def test_just_enough_examples_for_cca(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = FORCED[name](*pair(30, 14, 15))
    assert np.all(np.asarray(values) < 1 - 1e-6)


def test_the_warning_names_ranks_where_they_differ_from_widths():
    x, y = pair(30, 20, 12)
    with pytest.warns(RankWarning, match=r"p = 40 and q = 12 features \(ranks 20 and 12\)"):
        repscope.cca(np.concatenate([x, x], axis=1), y)
    # Widths alone are no reason to warn: forty copies of four features are four features.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repscope.cca(np.tile(x[:, :4], (1, 40)), y)


def test_svcca_counts_the_components_that_it_keeps():
    rng = np.random.default_rng(0)
    wide = [rng.normal(size=(30, 3)) @ rng.normal(size=(3, 100)) * 10 + rng.normal(size=(30, 100)) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repscope.svcca(*wide, variance=0.9)
    with pytest.warns(RankWarning, match="svcca: n = 30"):
        repscope.svcca(*wide, variance=0.999)


def test_regression_on_a_design_that_explains_anything():
    x, _ = pair(30, 4, 1)
    with pytest.warns(RankWarning, match=r"linear_regression: n = 30 .* q = 40 features of y \(rank 29\): any x"):
        np.testing.assert_allclose(repscope.linear_regression(x, pair(30, 40, 1)[0]), 1.0, rtol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert repscope.linear_regression(pair(30, 40, 1)[0], x) < 1


def test_warnings_point_at_the_line_that_called():
    for call in (
        lambda: repscope.cka(CONSTANT, Y),
        lambda: repscope.cca(CONSTANT, Y),
        lambda: repscope.score("pwcca", CONSTANT, Y),
        lambda: repscope.cka(CONSTANT, Y, kernel="rbf"),
        lambda: repscope.cca(*pair(30, 20, 12)),
    ):
        with pytest.warns(repscope.RepscopeWarning) as caught:
            call()
        assert caught[0].filename == __file__


def test_unbiased_cka_of_unrelated_data_may_be_negative():
    rng = np.random.default_rng(1)
    values = [float(repscope.cka(rng.normal(size=(20, 3)), rng.normal(size=(20, 3)))) for _ in range(200)]
    assert min(values) < -0.02
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
