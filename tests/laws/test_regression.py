"""Laws of regression with a ridge and with folds."""

from __future__ import annotations

import math

import numpy as np
import pytest

import repscope
from repscope import InputError
from repscope.measures import regression
from repscope.measures.catalog import configure
from tests.measures.examples import WIDE, pair
from tests.reference.kernels import centered
from tests.reference.regression import linear_regression as reference


@pytest.mark.parametrize(
    "options",
    [
        {"regularization": 0.1},
        {"regularization": 1e-3},
        {"folds": 3},
        {"folds": 4, "regularization": 0.02, "fold_seed": 7},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", WIDE, ids=str)
def test_equals_its_reference_when_features_outnumber_examples(shape, options):
    x, y = pair(*shape)
    np.testing.assert_allclose(repscope.linear_regression(x, y, **options), reference(x, y, **options), rtol=1e-8)


def test_each_example_by_itself_is_the_press_statistic():
    # Without refitting: the residual of an example that is left out is e_i / (1 − h_ii).
    x, y = pair(25, 4, 6)
    design = np.column_stack([np.ones(25), y])
    hat = design @ np.linalg.pinv(design)
    left_out = (x - hat @ x) / (1 - np.diag(hat))[:, None]
    from_mean = centered(x) / (1 - 1 / 25)
    expected = 1 - np.sum(left_out**2) / np.sum(from_mean**2)
    for seed in (0, 3):
        np.testing.assert_allclose(repscope.linear_regression(x, y, folds=25, fold_seed=seed), expected, rtol=1e-10)


def test_the_ridge_path_falls_from_least_squares_to_nothing():
    x, y = pair(40, 5, 6)
    path = [float(repscope.linear_regression(x, y, regularization=10.0**e)) for e in range(-6, 6)]
    np.testing.assert_allclose(path[0], repscope.linear_regression(x, y), rtol=1e-6)
    assert np.all(np.diff(path) < 0)
    x, y = centered(x), centered(y)
    slope = 2 * np.sum((y.T @ x) ** 2) / np.sum(y**2) / np.sum(x**2)
    np.testing.assert_allclose(1e5 * path[-1], slope, rtol=1e-4)


def test_one_preparation_serves_the_ridge_path_and_both_directions():
    x, y = pair(40, 5, 6)
    states = [regression.prepare(z, folds=5) for z in (x, y)]
    for ridge in (0.0, 0.01, 1.0):
        for a, b, s, t in ((x, y, *states), (y, x, *states[::-1])):
            expected = repscope.linear_regression(a, b, folds=5, regularization=ridge)
            assert regression.score(s, t, regularization=ridge) == expected
    keys = {configure("linear_regression", folds=5, regularization=r).preparation for r in (0.0, 0.5)}
    assert len(keys) == 1
    assert configure("linear_regression", folds=5, fold_seed=1).preparation not in keys


@pytest.mark.parametrize(("n", "folds"), [(20, 5), (23, 5), (7, 7), (10, 2)])
def test_the_folds_are_a_division_that_the_seed_settles(n, folds):
    parts = regression.fold_indices(n, folds, 3)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    again, other = regression.fold_indices(n, folds, 3), regression.fold_indices(n, folds, 4)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert folds == n or not all(np.array_equal(a, b) for a, b in zip(parts, other, strict=True))


def test_what_is_no_relation_predicts_worse_than_the_mean():
    rng = np.random.default_rng(0)
    values = [float(repscope.linear_regression(*rng.normal(size=(2, 60, 5)), folds=5)) for _ in range(40)]
    assert max(values) < 0.05
    assert np.mean(values) < -0.03
    in_sample = [float(repscope.linear_regression(*rng.normal(size=(2, 60, 5)))) for _ in range(40)]
    assert abs(np.mean(in_sample) - 5 / 59) < 4 * np.std(in_sample) / math.sqrt(40)


def test_a_ridge_saves_a_design_as_wide_as_its_fits_are_long():
    x, y = pair(40, 3, 32)
    assert float(repscope.linear_regression(x, y, folds=5)) < 0
    assert float(repscope.linear_regression(x, y, folds=5, regularization=0.02)) > 0.2


def test_the_least_affine_stitch_leaves_what_is_not_explained():
    x, y = pair(40, 5, 6)
    design = np.column_stack([np.ones(40), y])
    left = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    np.testing.assert_allclose(
        np.sum(left**2) / np.sum(centered(x) ** 2), 1 - repscope.linear_regression(x, y), rtol=1e-10
    )


def test_a_fit_to_examples_that_are_all_equal_predicts_their_mean():
    # Without the third fold y is constant; what is left of it predicts nothing there, and all is well elsewhere.
    y = np.zeros((12, 1))
    alone = regression.fold_indices(12, 4, 0)[2]
    y[alone, 0] = [1.0, 2.0, 4.0]
    x = pair(12, 2, 1)[0]
    np.testing.assert_allclose(repscope.linear_regression(x, y, folds=4), reference(x, y, folds=4), rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"regularization": -0.1}, r"regularization must be finite and not negative, got -0\.1\. Use 0 for least sq"),
        ({"regularization": math.nan}, "regularization must be finite and not negative, got nan"),
        ({"regularization": math.inf}, "regularization must be finite and not negative, got inf"),
        ({"folds": 1}, r"folds must be a whole number from 2, or None, got 1\. Use 5, for example"),
        ({"folds": 2.5}, r"folds must be a whole number from 2, or None, got 2\.5"),
        ({"folds": True}, "folds must be a whole number from 2, or None, got True"),
        ({"folds": 5, "fold_seed": -1}, "fold_seed must be a whole number from 0, got -1"),
        ({"folds": 5, "fold_seed": None}, "fold_seed must be a whole number from 0, got None"),
    ],
)
def test_options_that_mean_nothing(options, words):
    for call in (repscope.linear_regression, lambda *xy, **o: configure("linear_regression", **o)(*xy)):
        with pytest.raises(InputError, match=f"linear_regression: {words}"):
            call(*pair(30, 4, 6), **options)


def test_more_folds_than_examples():
    with pytest.raises(InputError, match="linear_regression: x must have at least 31 rows"):
        repscope.linear_regression(*pair(30, 4, 6), folds=31)
    with pytest.raises(InputError, match="linear_regression: x must have at least 4 rows"):
        repscope.linear_regression(*pair(3, 4, 6), folds=2)
