"""Shape metrics: their limits, what they have in common, and their digits near 0."""

from __future__ import annotations

import math

import numpy as np
import pytest

import repscope
from repscope import RankWarning
from repscope.measures import angular, hsic, shape
from tests.measures.examples import NARROW, WIDE, pair


@pytest.mark.parametrize("sizes", [*NARROW, *WIDE], ids=str)
def test_without_whitening_the_shape_distance_is_the_procrustes_angle(sizes):
    x, y = pair(*sizes)
    angle = float(repscope.procrustes(x, y))
    assert float(repscope.shape_distance(x, y)) == angle
    # α just below 1 goes the other way round, by the decomposition.
    np.testing.assert_allclose(repscope.shape_distance(x, y, alpha=1 - 1e-14), angle, rtol=1e-10)


@pytest.mark.parametrize("sizes", NARROW, ids=str)
def test_whitened_wholly_it_is_the_angle_of_cca(sizes):
    x, y = pair(*sizes)
    _, p, q = sizes
    rho = repscope.canonical_correlations(x, y)
    distance = float(repscope.shape_distance(x, y, alpha=0.0))
    np.testing.assert_allclose(distance, math.acos(np.sum(rho) / math.sqrt(p * q)), rtol=1e-10)
    if p == q:
        np.testing.assert_allclose(distance, math.acos(repscope.cca(x, y, summary="mean")), rtol=1e-10)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.9])
def test_between_them_the_scale_decides_what_counts(alpha):
    # α s against 1 − α: features that are large beside 1 are left as they are, small ones are whitened.
    x, y = pair(40, 6, 5)
    ends = [float(repscope.shape_distance(x, y, alpha=end)) for end in (0.0, 1.0)]
    for scale, end in ((1e-12, 0), (1e12, 1), (1e-200, 0), (1e200, 1)):
        np.testing.assert_allclose(repscope.shape_distance(scale * x, scale * y, alpha=alpha), ends[end], rtol=1e-9)
    # Not divided by n: the same examples twice are further from whitened.
    x, y = 0.1 * x, 0.1 * y
    once = float(repscope.shape_distance(x, y, alpha=alpha))
    twice = float(repscope.shape_distance(np.tile(x, (2, 1)), np.tile(y, (2, 1)), alpha=alpha))
    assert abs(once - twice) > 1e-4
    root = math.sqrt(2)
    again = repscope.shape_distance(np.tile(x, (2, 1)) / root, np.tile(y, (2, 1)) / root, alpha=alpha)
    np.testing.assert_allclose(again, once, rtol=1e-9)


def test_whitening_wide_layers_wholly_leaves_nothing_to_compare():
    x, y = pair(12, 30, 25)
    with pytest.warns(RankWarning, match="shape_distance: n = 12 .* correlations of 1 are forced.*Theorem 1"):
        assert float(repscope.shape_distance(x, y, alpha=0.0)) < 1e-7


@pytest.mark.parametrize("sizes", [*NARROW, *WIDE], ids=str)
def test_the_cosine_of_angular_cka_is_biased_cka(sizes):
    x, y = pair(*sizes)
    np.testing.assert_allclose(math.cos(repscope.angular_cka(x, y)), repscope.cka(x, y, estimator="biased"), rtol=1e-12)


def turned_by(e, *, n=40, width=2):
    """Two layers with Gram matrices diag(1, 1) and diag(1, (1 + e)²) in one basis, and the angle between these."""
    rng = np.random.default_rng(3)
    basis = rng.normal(size=(n, 2))
    basis = np.linalg.qr(basis - basis.mean(axis=0))[0]
    rotation = np.linalg.qr(rng.normal(size=(width, width)))[0][:2]
    change = 2 * e + e * e
    return basis @ rotation, basis * [1.0, 1.0 + e], math.atan2(change, 2 + change)


@pytest.mark.parametrize("exponent", [-2, -6, -10, -20, -30, -40])
@pytest.mark.parametrize("width", [2, 20, 50])
def test_angular_cka_keeps_its_digits_near_0(exponent, width):
    x, y, angle = turned_by(2.0**exponent, width=width)
    np.testing.assert_allclose(repscope.angular_cka(x, y), angle, rtol=1e-12, atol=1e-14)
    if exponent == -40:  # here an arc cosine sees nothing
        arc = math.acos(min(1.0, float(repscope.cka(x, y, estimator="biased"))))
        assert abs(arc - angle) > angle / 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("e", [0.0, 2.0**-10, 0.03, 0.1, 0.5, 1.0])
def test_angular_cka_on_both_sides_of_the_switch_and_by_both_forms(e, dtype):
    x, y, angle = turned_by(e)
    x, y = x.astype(dtype), y.astype(dtype)
    tolerance = {"rtol": 1e-5, "atol": 2e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-14}
    for first in ("features", "gram"):
        for second in ("features", "gram"):
            states = [hsic.prepare_linear(z, estimator="biased", form=form) for z, form in ((x, first), (y, second))]
            np.testing.assert_allclose(angular.score(*states), angle, **tolerance)
    cosines = [math.cos(turned_by(e)[2]) for e in (0.03, 0.1, 0.5, 1.0)]
    assert cosines[0] > shape.NEAR_DOUBLE > cosines[1]
    assert cosines[2] > shape.NEAR_SINGLE > cosines[3]


def test_layers_of_two_types_are_compared_in_the_wider():
    x, y, angle = turned_by(2.0**-10)
    states = [angular.prepare(z) for z in (x.astype(np.float32), y)]
    np.testing.assert_allclose(angular.score(*states), angle, atol=1e-6)
