"""Stochastic shape distance: its limits, the exact minimum where it can be had, its laws, and what it refuses."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

import repscope
from repscope import InputError
from tests.measures.examples import pair
from tests.reference import stochastic as reference


def with_noise(n, repeats, p, seed, noise=1.0):
    """Repeats (n·r, p) of n examples, each with a covariance of its own."""
    rng = np.random.default_rng([seed, n, p])
    mixing = rng.normal(size=(n, p, p))
    trials = 2 * rng.normal(size=(n, 1, p)) + noise * rng.normal(size=(n, repeats, p)) @ mixing / math.sqrt(p)
    return trials.reshape(n * repeats, p)


def test_of_means_alone_it_is_procrustes():
    x, y = with_noise(10, 4, 3, 0), with_noise(10, 4, 5, 1)
    means = [z.reshape(10, 4, -1).mean(axis=1) for z in (x, y)]
    distance = float(repscope.procrustes(*means, kind="distance"))
    expected = math.sqrt(2 / 10) * distance
    np.testing.assert_allclose(repscope.stochastic_shape_distance(x, y, repeats=4, alpha=2.0), expected, rtol=1e-10)
    np.testing.assert_allclose(repscope.stochastic_shape_distance(*means), distance / math.sqrt(10), rtol=1e-10)


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0, 1.6])
@pytest.mark.parametrize("seed", range(3))
def test_in_two_dimensions_no_rotation_is_better(alpha, seed):
    x, y = with_noise(6, 5, 2, seed), with_noise(6, 5, 2, seed + 50)
    sides = [reference.gaussians(z, 5) for z in (x, y)]

    def distance(angle, mirror):
        c, s = math.cos(angle), math.sin(angle)
        return math.sqrt(reference.objective(*sides, np.array([[c, -s * mirror], [s, c * mirror]]), alpha))

    angles = np.linspace(0, 2 * np.pi, 721)
    least = min((distance(angle, mirror), angle, mirror) for angle, mirror in itertools.product(angles, (-1.0, 1.0)))
    for width in (1e-2, 1e-4, 1e-6):  # finer around the best one
        near = np.linspace(least[1] - width, least[1] + width, 41)
        least = min((distance(angle, least[2]), angle, least[2]) for angle in near)
    found = repscope.stochastic_shape_distance(x, y, repeats=5, alpha=alpha)
    # The ascent ends where a step gains less than rounding; it converges linearly, so what is left is a multiple of it.
    np.testing.assert_allclose(found, least[0], rtol=1e-7)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(8, 4, 4), (6, 3, 5), (12, 4, 4)], ids=str)
def test_random_starts_of_the_slow_reference_find_nothing_much_better(shape, alpha):
    n, p, q = shape
    x, y = with_noise(n, 6, p, 3), with_noise(n, 6, q, 4)
    slow = reference.gaussian_shape_distance(*(reference.gaussians(z, 6) for z in (x, y)), alpha=alpha)
    found = float(repscope.stochastic_shape_distance(x, y, repeats=6, alpha=alpha))
    assert found <= slow * (1 + 5e-3)
    more = float(repscope.stochastic_shape_distance(x, y, repeats=6, alpha=alpha, starts=128))
    assert more <= found * (1 + 1e-12)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_of_related_layers_the_best_rotation_is_found(alpha, noise):
    rng = np.random.default_rng(8)
    x = with_noise(10, 6, 5, 5)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    y = (x + noise * rng.normal(size=x.shape)) @ turn
    found = float(repscope.stochastic_shape_distance(x, y, repeats=6, alpha=alpha))
    if noise == 0:
        assert found < 1e-9
        return
    sides = [reference.gaussians(z, 6) for z in (x, y)]
    known = reference.alternated(*sides, turn, alpha)
    np.testing.assert_allclose(found, math.sqrt(reference.objective(*sides, known, alpha)), rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5])
@pytest.mark.parametrize("widths", [(4, 4), (3, 5)], ids=str)
def test_rotations_shifts_the_order_of_repeats_and_of_arguments_change_nothing(widths, alpha):
    rng = np.random.default_rng(9)
    x, y = with_noise(8, 5, widths[0], 6), with_noise(8, 5, widths[1], 7)
    options = {"repeats": 5, "alpha": alpha}
    before = float(repscope.stochastic_shape_distance(x, y, **options))
    shuffled = y.reshape(8, 5, -1)[:, rng.permutation(5)]
    turn = np.linalg.qr(rng.normal(size=(widths[1],) * 2))[0]
    moved = shuffled.reshape(40, -1) @ turn + rng.normal(size=widths[1])
    np.testing.assert_allclose(repscope.stochastic_shape_distance(x, moved, **options), before, rtol=1e-9)
    np.testing.assert_allclose(repscope.stochastic_shape_distance(y, x, **options), before, rtol=1e-9)
    wide = np.concatenate([y, np.zeros((40, 2))], axis=1)
    np.testing.assert_allclose(repscope.stochastic_shape_distance(x, wide, **options), before, rtol=1e-6)
    np.testing.assert_allclose(repscope.stochastic_shape_distance(3 * x, 3 * y, **options), 3 * before, rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.6])
def test_the_triangle_inequality(alpha):
    rng = np.random.default_rng(10)
    for _ in range(6):
        base = with_noise(6, 5, 3, int(rng.integers(1000)))
        x, y, z = (
            base * rng.integers(0, 2) + 10.0 ** -rng.integers(0, 3) * rng.normal(size=base.shape) for _ in range(3)
        )
        xy, yz, xz = (
            float(repscope.stochastic_shape_distance(a, b, repeats=5, alpha=alpha)) for a, b in ((x, y), (y, z), (x, z))
        )
        assert 2 * max(xy, yz, xz) <= xy + yz + xz + 1e-9


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_known_gaussians_are_those_of_the_repeats(alpha):
    x, y = with_noise(7, 8, 3, 11), with_noise(7, 8, 4, 12)
    (means_x, covariances_x), (means_y, covariances_y) = (reference.gaussians(z, 8) for z in (x, y))
    found = repscope.gaussian_shape_distance(means_x + 5, covariances_x, means_y, covariances_y, alpha=alpha)
    np.testing.assert_allclose(found, repscope.stochastic_shape_distance(x, y, repeats=8, alpha=alpha), rtol=1e-9)


def test_of_isotropic_noise_it_is_the_difference_of_standard_deviations():
    means = np.random.default_rng(13).normal(size=(5, 3))
    first, second = (np.array([size**2 * np.eye(3)] * 5) for size in (2.0, 0.5))
    found = repscope.gaussian_shape_distance(means, first, means, second, alpha=0.5)
    np.testing.assert_allclose(found, math.sqrt(1.5 * 3) * 1.5, rtol=1e-12)


def test_permutations_move_examples_not_repeats():
    x, y = with_noise(4, 3, 3, 14), with_noise(4, 3, 3, 15)
    test = repscope.permutation_test(
        {"x": x}, {"y": y}, measure="stochastic_shape_distance", repeats=3, permutations=24
    )
    assert len(test.null) == 24
    expected = [
        float(repscope.stochastic_shape_distance(x, y.reshape(4, 3, 3)[list(order)].reshape(12, 3), repeats=3))
        for order in itertools.permutations(range(4))
    ]
    np.testing.assert_allclose(np.sort(test.null.ravel()), np.sort(expected), rtol=1e-9)


def test_torch_gradients_hold_the_rotations_fixed():
    torch = pytest.importorskip("torch")
    x, y = (torch.from_numpy(z).requires_grad_() for z in (with_noise(4, 3, 2, 16), with_noise(4, 3, 2, 17)))
    assert torch.autograd.gradcheck(lambda a, b: repscope.stochastic_shape_distance(a, b, repeats=3, starts=0), (x, y))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 2.5}, "alpha must be from 0 (covariances only) to 2 (means only), got 2.5"),
        ({"alpha": math.nan}, "alpha must be from 0 (covariances only) to 2 (means only), got nan"),
        ({"repeats": 0}, "repeats must be a whole number from 1, got 0"),
        ({"repeats": 7}, "x and y must have a multiple of repeats=7 rows"),
        ({"starts": -1}, "starts must be a whole number from 0, got -1"),
    ],
    ids=str,
)
def test_options_that_mean_nothing(options, words):
    with pytest.raises(InputError, match=re.escape(f"stochastic_shape_distance: {words}")):
        repscope.stochastic_shape_distance(*pair(24, 3, 4), **options)


@pytest.mark.parametrize(
    ("covariances", "words"),
    [
        (np.eye(3), "must be positive semidefinite of shape (4, 3, 3), got shape (3, 3)"),
        (np.array([-np.eye(3)] * 4), "got an eigenvalue of -1"),
        (np.triu(np.ones((4, 3, 3))), "got ones that are not finite or not symmetric"),
        (np.full((4, 3, 3), np.nan), "got ones that are not finite or not symmetric"),
    ],
    ids=["one", "negative", "triangular", "nan"],
)
def test_what_is_no_covariance(covariances, words):
    means = pair(4, 3, 1)[0]
    good = np.array([np.eye(3)] * 4)
    with pytest.raises(InputError, match=re.escape(words)):
        repscope.gaussian_shape_distance(means, good, means, covariances)
