"""Student's t distribution against scipy and against its closed forms of one and two degrees of freedom."""

from __future__ import annotations

import math

import numpy as np
import pytest

from repscope._student import student_quantile, student_tails

PLACES = np.array([0.0, 1e-8, 0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 40.0, 1e5])


def test_tails_of_one_and_two_degrees_of_freedom():
    np.testing.assert_allclose(student_tails(PLACES[1:], 1), 2 / np.pi * np.arctan(1 / PLACES[1:]), rtol=1e-13)
    root = np.sqrt(2 + PLACES**2)
    np.testing.assert_allclose(student_tails(PLACES, 2), 2 / (root * (root + PLACES)), rtol=1e-13)


@pytest.mark.parametrize("freedom", [1, 2, 2.7, 3, 8, 29, 199, 5000, math.inf])
def test_tails_and_quantiles_are_those_of_scipy(freedom):
    stats = pytest.importorskip("scipy.stats")
    law = stats.norm if math.isinf(freedom) else stats.t(freedom)
    tails = student_tails(PLACES[2:], freedom)  # at 1e-8, scipy keeps eight digits only
    # Differences of log Γ near 5000 log 5000 keep eleven digits.
    np.testing.assert_allclose(tails, 2 * law.sf(PLACES[2:]), rtol=1e-10, atol=0)
    np.testing.assert_allclose(student_tails(-PLACES, freedom), student_tails(PLACES, freedom))
    for probability in (0.001, 0.025, 0.5, 0.6, 0.9, 0.975, 0.9999):
        assert student_quantile(probability, freedom) == pytest.approx(law.ppf(probability), rel=1e-9, abs=1e-12)


def test_the_ends():
    assert student_tails(math.inf, 5) == 0
    assert np.isnan(student_tails(math.nan, 5))
    assert student_quantile(0.5, 4) == 0
