"""The Pearson type III tail against closed forms and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from repscope.inference.gamma import gamma_tails, pearson_upper_tail


def test_an_exponential_variable() -> None:
    x = np.linspace(0, 40, 200)
    lower, upper = gamma_tails(np.ones_like(x), x)
    np.testing.assert_allclose(upper, np.exp(-x), rtol=1e-12)
    np.testing.assert_allclose(lower, -np.expm1(-x), rtol=1e-12)


def test_a_squared_normal_variable() -> None:
    x = np.linspace(0.01, 30, 200)
    _, upper = gamma_tails(np.full_like(x, 0.5), x)
    np.testing.assert_allclose(upper, [math.erfc(math.sqrt(v)) for v in x], rtol=1e-12)


def test_sums_of_exponential_variables() -> None:
    # Q(k, x) = e⁻ˣ Σ_{j<k} xʲ / j!, on both sides of the shape from which the expansion takes over.
    for k in (150, 199, 201, 400):
        x = np.linspace(0.7 * k, 1.4 * k, 50)
        logs = np.arange(k)[:, None] * np.log(x) - np.array([math.lgamma(j + 1) for j in range(k)])[:, None] - x
        np.testing.assert_allclose(gamma_tails(np.full_like(x, k), x)[1], np.exp(logs).sum(axis=0), rtol=1e-6)


def test_any_shape_against_scipy() -> None:
    special = pytest.importorskip("scipy.special")
    rng = np.random.default_rng(0)
    shape = 10 ** rng.uniform(-1.5, 5, 4000)
    x = np.maximum(shape + 5 * np.sqrt(shape) * rng.standard_normal(4000), 1e-8)
    for found, function in zip(gamma_tails(shape, x), (special.gammainc, special.gammaincc), strict=True):
        expected = function(shape, x)
        seen = expected > 1e-250
        np.testing.assert_allclose(found[seen], expected[seen], rtol=2e-6)


def test_every_skewness_against_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    z = np.linspace(-4, 12, 161)
    for skewness in (-3.0, -0.4, 0.0, 0.1, 0.5, 2.0, 2.8):
        np.testing.assert_allclose(
            pearson_upper_tail(z, np.array(skewness)), stats.pearson3.sf(z, skewness), rtol=1e-6, atol=1e-14
        )


def test_a_small_skewness_is_nearly_normal() -> None:
    z = np.linspace(-4, 8, 50)
    normal = [0.5 * math.erfc(v / math.sqrt(2)) for v in z]
    for skewness in (-2e-6, 2e-6):
        np.testing.assert_allclose(pearson_upper_tail(z, np.array(skewness)), normal, rtol=1e-3)


def test_where_nothing_is_known_and_beyond_the_ends() -> None:
    z = np.array([np.nan, 1.0, -50.0, 50.0, 1e4])
    skewness = np.array([1.0, np.nan, 1.0, -1.0, 0.5])
    np.testing.assert_array_equal(pearson_upper_tail(z, skewness), [np.nan, np.nan, 1.0, 0.0, 0.0])
