"""Laws of the differences of descriptive numbers: what they see, and that they see no pairing."""

from __future__ import annotations

import math

import numpy as np
import pytest

import repscope
from repscope import DegenerateInputWarning, InputError
from tests.measures.examples import pair

DIFFERENCES = (repscope.magnitude_difference, repscope.concentricity_difference, repscope.uniformity_difference)


@pytest.mark.parametrize("measure", DIFFERENCES, ids=lambda f: f.__name__)
def test_the_order_of_the_examples_does_not_matter(measure):
    x, y = pair(40, 6, 7)
    shuffled = y[np.random.default_rng(0).permutation(40)]
    np.testing.assert_allclose(measure(x, shuffled), measure(x, y), rtol=1e-9)


@pytest.mark.parametrize("measure", DIFFERENCES, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore::repscope.errors.DiagnosticWarning")
def test_every_permutation_scores_the_same(measure):
    x, y = pair(40, 6, 7)
    test = repscope.permutation_test({"x": x}, {"y": y}, measure=measure.__name__, permutations=19)
    assert np.all(test.null == float(measure(x, y)))
    assert test.comparison.p_values[0, 0] == 1.0


@pytest.mark.parametrize("measure", DIFFERENCES, ids=lambda f: f.__name__)
def test_differences_of_numbers_add_up(measure):
    x, y = pair(40, 6, 7)
    z, _ = pair(40, 3, 1, seed=5)
    sides = sorted(float(measure(a, b)) for a, b in ((x, y), (y, z), (x, z)))
    np.testing.assert_allclose(sides[2], sides[0] + sides[1], rtol=1e-9)


def test_uniformity_lies_between_all_in_one_place_and_all_far_apart():
    together = np.ones((20, 3))
    apart = 50.0 * np.eye(20)
    np.testing.assert_allclose(repscope.uniformity_difference(together, apart), math.log(20), rtol=1e-12)
    # Layers of the usual size are all apart to it: 20 examples of 100 features of variance 1.
    rng = np.random.default_rng(0)
    wide = [rng.normal(size=(20, 100)) for _ in range(2)]
    assert float(repscope.uniformity_difference(*wide)) < 1e-12


def test_concentricity_of_a_cone_and_of_a_ball():
    rng = np.random.default_rng(0)
    cone, ball = rng.normal(size=(2, 400, 6))
    cone[:, 0] += 1000.0
    assert 0.9 < float(repscope.concentricity_difference(cone, ball)) < 1.0


def test_a_mean_of_zero_points_nowhere():
    x = np.array([[1.0, 2.0], [-1.0, -2.0]])
    for a, b, side in ((x, x + 1, "x"), (x + 1, x, "y")):
        with pytest.warns(DegenerateInputWarning, match=f"concentricity_difference: the mean of {side} is zero"):
            assert np.isnan(repscope.concentricity_difference(a, b))
    with pytest.raises(InputError, match="every row must be non-zero, got zeros in row 0"):
        repscope.concentricity_difference(np.zeros((3, 2)), pair(3, 2, 1)[0])


def test_constant_layers_have_descriptions():
    flat, varied = np.full((30, 4), 0.5), pair(30, 4, 6)[1]
    np.testing.assert_allclose(
        repscope.magnitude_difference(flat, varied), abs(1 - np.linalg.norm(varied.mean(axis=0))), rtol=1e-12
    )
    assert float(repscope.concentricity_difference(flat, 3 * flat)) < 1e-15
    assert float(repscope.uniformity_difference(flat, 3 * flat)) == 0.0


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e160, 1e200])
def test_means_whose_square_leaves_double_precision(scale):
    x, y = pair(40, 6, 7)
    np.testing.assert_allclose(
        repscope.magnitude_difference(scale * x, scale * y), scale * repscope.magnitude_difference(x, y), rtol=1e-9
    )
