"""Laws of GULP: its limits, what it says about predictions, and its root as a metric."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import repscope
from repscope import InputError, RankWarning
from tests.laws.test_catalogue import triples
from tests.measures.examples import NARROW, WIDE, pair
from tests.reference.gulp import gulp as reference
from tests.reference.kernels import centered


def hat_matrix(x, regularization):
    """What ridge regression on the centred layer of unit variance makes of targets."""
    n = len(x)
    x = centered(x)
    x *= math.sqrt(n) / np.linalg.norm(x)
    return x @ np.linalg.solve(x.T @ x / n + regularization * np.eye(x.shape[1]), x.T) / n


@pytest.mark.parametrize("shape", NARROW, ids=str)
def test_without_a_ridge_it_follows_from_the_canonical_correlations(shape):
    x, y = pair(*shape)
    correlations = repscope.canonical_correlations(x, y)
    expected = shape[1] + shape[2] - 2 * np.sum(correlations**2)
    np.testing.assert_allclose(repscope.gulp(x, y, regularization=0.0), expected, rtol=1e-9)


@pytest.mark.parametrize("regularization", [1e-4, 0.01, 1.0])
@pytest.mark.parametrize("shape", WIDE, ids=str)
def test_equals_its_reference_when_features_outnumber_examples(shape, regularization):
    x, y = pair(*shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = repscope.gulp(x, y, regularization=regularization)
    np.testing.assert_allclose(value, reference(x, y, regularization=regularization), rtol=1e-8)


def test_for_a_large_ridge_it_is_the_distance_of_gram_matrices():
    x, y = (centered(z) for z in pair(30, 4, 6))
    k, l = (z @ z.T / np.sum(z**2) for z in (x, y))  # noqa: E741
    expected = np.sum((k - l) ** 2)
    np.testing.assert_allclose(1e14 * repscope.gulp(x, y, regularization=1e7), expected, rtol=1e-6)


@pytest.mark.parametrize("regularization", [1e-3, 0.01, 0.3])
def test_it_is_the_mean_of_the_largest_gaps_of_two_predictions(regularization):
    x, y = pair(40, 4, 6)
    gaps = hat_matrix(x, regularization) - hat_matrix(y, regularization)
    # At example i the target with the largest gap, of mean square 1, is √n times row i at unit length.
    largest = [math.sqrt(40) * row / np.linalg.norm(row) @ row for row in gaps]
    value = float(repscope.gulp(x, y, regularization=regularization))
    np.testing.assert_allclose(value, np.mean(np.square(largest)), rtol=1e-9)
    rng = np.random.default_rng(0)
    for target in rng.normal(size=(20, 40)):
        target /= math.sqrt(np.mean(target**2))
        assert np.mean((gaps @ target) ** 2) <= value


@pytest.mark.parametrize("regularization", [0.0, 0.01, 1.0])
def test_the_root_obeys_the_triangle_inequality_and_the_square_does_not(regularization):
    def root(x, y):
        return math.sqrt(float(repscope.gulp(x, y, regularization=regularization)))

    for x, y, z in triples(60):
        assert root(x, z) <= root(x, y) + root(y, z) + 1e-7
    basis = np.linalg.qr(centered(np.random.default_rng(0).normal(size=(20, 2))))[0]
    x, y, z = (np.cos(t) * basis[:, :1] + np.sin(t) * basis[:, 1:] for t in (0.0, 0.5, 1.0))
    assert root(x, z) ** 2 > 1.1 * (root(x, y) ** 2 + root(y, z) ** 2)


@pytest.mark.parametrize("regularization", [0.0, 0.01])
def test_it_is_never_negative(regularization):
    for x, *_ in triples(15):
        assert float(repscope.gulp(x, x, regularization=regularization)) >= 0


def test_forced_directions_are_warned_of_only_without_a_ridge():
    x, y = pair(30, 20, 12)
    with pytest.warns(RankWarning, match="gulp: n = 30 examples are too few for p = 20 and q = 12 features"):
        repscope.gulp(x, y, regularization=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repscope.gulp(x, y)


@pytest.mark.parametrize("regularization", [-1.0, math.inf, math.nan])
def test_a_ridge_that_means_nothing(regularization):
    words = f"gulp: regularization must be finite and not negative, got {regularization}. Use 0.01"
    with pytest.raises(InputError, match=words):
        repscope.gulp(*pair(30, 4, 6), regularization=regularization)
    with pytest.raises(InputError, match=words):
        repscope.configure("gulp", regularization=regularization)
