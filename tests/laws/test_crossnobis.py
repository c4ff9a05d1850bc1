"""Repeats of examples: unbiased where they are left out in turn, in units of the noise, refused where they misfit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import repscope
from repscope import InputError
from repscope.measures.crossnobis import NOISES
from tests.measures.examples import pair
from tests.reference import rsa as reference


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("n", "repeats", "p"), [(6, 3, 4), (5, 4, 1), (4, 3, 30), (3, 6, 2)], ids=str)
def test_equals_its_reference(n, repeats, p, noise):
    x = pair(n * repeats, p, 1)[0] + 100.0
    expected = reference.crossnobis(x, repeats=repeats, noise=noise)
    found = repscope.crossnobis(x, repeats=repeats, noise=noise)
    np.testing.assert_allclose(found, (expected + expected.T) / 2, rtol=1e-8, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 0.0)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("shape", [(12, 4, 6), (8, 10, 3)], ids=str)
def test_mahalanobis_distances_in_units_of_the_noise(shape, noise):
    n, p, q = shape
    x, y = pair(4 * n, p, q)
    options = {"rdm": "mahalanobis", "compare": "pearson", "repeats": 4, "noise": noise}
    np.testing.assert_allclose(repscope.rsa(x, y, **options), reference.rsa(x, y, **options), rtol=1e-9)


@pytest.mark.parametrize("rdm", ["correlation", "cosine", "euclidean", "squared_euclidean"])
def test_other_dissimilarities_are_of_the_mean_patterns(rdm):
    x, y = pair(40, 5, 6)
    means = [z.reshape(10, 4, -1).mean(axis=1) for z in (x, y)]
    np.testing.assert_allclose(repscope.rsa(x, y, rdm=rdm, repeats=4), repscope.rsa(*means, rdm=rdm), rtol=1e-12)


@pytest.mark.parametrize("noise", NOISES)
def test_of_equal_patterns_the_mean_over_all_signs_of_the_noise_is_exactly_zero(noise):
    # Noise that is symmetric and independent between the repeats: every sign of every repeat is as likely.
    rng = np.random.default_rng(0)
    repeats, n, p = 4, 5, 3
    noises = rng.normal(size=(n, repeats, p)) @ rng.normal(size=(p, p))
    flips = list(itertools.product([-1, 1], repeat=repeats))
    trials = [7.0 + noises * np.array(signs)[None, :, None] for signs in flips]
    matrices = [repscope.crossnobis(z.reshape(-1, p), repeats=repeats, noise=noise) for z in trials]
    assert np.max(np.abs(matrices)) > 0.1
    assert np.min(matrices) < 0 < np.max(matrices)
    np.testing.assert_allclose(np.mean(matrices, axis=0), 0.0, atol=1e-12 * np.max(np.abs(matrices)))
    biased = [np.mean((z.mean(axis=1)[0] - z.mean(axis=1)[1]) ** 2) for z in trials]
    assert np.mean(biased) > 0.1  # distances of means are not


def test_differences_are_in_units_of_the_noise():
    # Noise of the same covariance everywhere, and enough of it: the squared distance after whitening.
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(4, 4))
    patterns = rng.normal(size=(5, 4))
    trials = patterns[:, None, :] + rng.normal(size=(5, 800, 4)) @ mixing
    differences = patterns[:, None, :] - patterns[None, :, :]
    expected = np.einsum("ijk,kl,ijl->ij", differences, np.linalg.inv(mixing.T @ mixing), differences)
    found = repscope.crossnobis(trials.reshape(-1, 4), repeats=800)
    np.testing.assert_allclose(found, expected, rtol=0.1, atol=0.05)
    own = repscope.crossnobis(trials.reshape(-1, 4), repeats=800, noise=mixing.T @ mixing)
    np.testing.assert_allclose(own, expected, rtol=0.1, atol=0.05)


def test_a_covariance_of_ones_own_is_divided_out():
    x, y = pair(24, 3, 4)
    rng = np.random.default_rng(2)
    given = []
    for z in (x, y):
        mixing = rng.normal(size=(z.shape[1],) * 2)
        covariance = mixing @ mixing.T
        whitened = z @ np.linalg.inv(np.linalg.cholesky(covariance)).T
        expected = reference.crossnobis(z, repeats=4, noise=covariance)
        np.testing.assert_allclose(repscope.crossnobis(z, repeats=4, noise=covariance), expected, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(repscope.crossnobis(whitened, repeats=4, noise="identity"), expected, atol=1e-9)
        given.append((whitened, expected))
    score = repscope.rsa(given[0][0], given[1][0], rdm="crossnobis", compare="pearson", repeats=4, noise="identity")
    np.testing.assert_allclose(score, reference.compared(given[0][1], given[1][1], "pearson"), rtol=1e-9)


def test_wide_layers_are_compared_in_their_span():
    x = pair(12, 50, 1)[0]
    for noise in ("shrunk", "identity"):
        expected = reference.crossnobis(x, repeats=3, noise=noise)
        found = repscope.crossnobis(x, repeats=3, noise=noise)
        np.testing.assert_allclose(found, (expected + expected.T) / 2, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


def test_permutations_move_all_repeats_of_an_example_together():
    rng = np.random.default_rng(4)
    patterns = rng.normal(size=(6, 3))
    layers = [(patterns @ rng.normal(size=(3, p)))[:, None, :] + 0.1 * rng.normal(size=(6, 3, p)) for p in (4, 5)]
    x, y = (z.reshape(18, -1) for z in layers)
    options = {"measure": "rsa", "rdm": "crossnobis", "compare": "cosine_cov", "repeats": 3}
    test = repscope.permutation_test({"x": x}, {"y": y}, permutations=720, **options)
    assert test.complete
    assert len(test.null) == 720
    options.pop("measure")
    expected = [
        repscope.rsa(x, y.reshape(6, 3, -1)[list(order)].reshape(18, -1), **options)
        for order in itertools.permutations(range(6))
    ]
    np.testing.assert_allclose(np.sort(test.null.ravel()), np.sort(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repeats": 1}, r"rsa: repeats must be a whole number from 3 for crossnobis .* got 1\. It is how often"),
        ({"repeats": 2}, "noise='shrunk', which comes from those that are not left out .'identity' needs 2., got 2"),
        ({"repeats": 1, "noise": "identity"}, "whole number from 2 for crossnobis, which leaves one out, got 1"),
        ({"repeats": 2.0, "noise": "identity"}, "repeats must be a whole number .* got 2.0"),
        ({"repeats": True, "rdm": "cosine"}, "repeats must be a whole number from 1, got True"),
        ({"repeats": 0, "rdm": "cosine"}, "repeats must be a whole number from 1, got 0"),
        ({"repeats": 4, "noise": "white"}, "rsa: noise must be one of 'shrunk', 'diagonal', 'identity', got 'white'"),
        ({"repeats": 7}, r"rsa: x and y must have a multiple of repeats=7 rows, .* got 24\. For data"),
        ({"repeats": 9}, "rsa: x must have at least 27 rows"),
    ],
    ids=str,
)
def test_options_that_do_not_fit(options, words):
    with pytest.raises(InputError, match=words):
        repscope.rsa(*pair(24, 3, 4), **{"rdm": "crossnobis", **options})


def test_repeats_without_noise():
    patterns = np.repeat(pair(6, 3, 1)[0], 4, axis=0)
    with pytest.raises(
        InputError, match="repeats of an example must differ for noise='shrunk', got ones without noise"
    ):
        repscope.crossnobis(patterns, repeats=4)
    with pytest.raises(InputError, match=r"every feature must differ between the repeats .* for noise='diagonal'"):
        repscope.crossnobis(patterns, repeats=4, noise="diagonal")
    np.testing.assert_allclose(
        repscope.crossnobis(patterns, repeats=4, noise="identity")[0, 1],
        np.sum((patterns[0] - patterns[4]) ** 2),
        rtol=1e-12,
    )
    dead = np.concatenate([pair(24, 3, 1)[0], np.ones((24, 1))], axis=1)
    np.testing.assert_allclose(
        repscope.crossnobis(dead, repeats=4, noise="diagonal"),
        repscope.crossnobis(dead[:, :3], repeats=4, noise="diagonal"),
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    "noise", [np.eye(2), -np.eye(3), np.triu(np.ones((3, 3))), np.ones((3, 3)) - 2 * np.eye(3)], ids=str
)
def test_what_is_no_covariance_is_refused(noise):
    with pytest.raises(InputError, match=r"crossnobis: noise must be a positive definite covariance \(3, 3\), or one"):
        repscope.crossnobis(pair(24, 3, 1)[0], repeats=4, noise=noise)
