"""The identities that tie the indexes of the 2019 paper together, and its theorem."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from tests.measures.examples import pair

import repscope
from repscope import RBF, canonical_ridge, cca, cka, hsic, linear_regression, procrustes, pwcca

SHAPES = [(60, 7, 12), (60, 5, 5), (40, 3, 20)]  # p ≤ q, as the paper has it


def centered(x: np.ndarray) -> np.ndarray:
    return x - x.mean(axis=0)


def basis(x: np.ndarray) -> np.ndarray:
    return np.linalg.qr(centered(x))[0]


@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
def test_eq_1_and_2_products_of_examples_and_of_features(n, p, q):
    x, y = (centered(v) for v in pair(n, p, q))
    np.testing.assert_allclose(np.sum((x @ x.T) * (y @ y.T)), np.sum((y.T @ x) ** 2), rtol=1e-12)
    covariance = (x.T @ y) / (n - 1)
    np.testing.assert_allclose(hsic(x, y, estimator="biased"), np.sum(covariance**2), rtol=1e-12)


@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
def test_eq_11_cca_is_cka_of_the_bases(n, p, q):
    x, y = pair(n, p, q)
    alignment = cka(basis(x), basis(y), estimator="biased")
    np.testing.assert_allclose(cca(x, y), alignment * math.sqrt(q / p), rtol=1e-10)


@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
def test_eq_12_with_its_erratum_corrected(n, p, q):
    x, y = pair(n, p, q)
    scaled = np.linalg.norm(centered(x).T @ centered(x)) / np.sum(centered(x) ** 2)
    alignment = cka(x, basis(y), estimator="biased") * scaled
    np.testing.assert_allclose(linear_regression(x, y), alignment * math.sqrt(q), rtol=1e-10)
    if p != q:  # the printed factor √p₁ is wrong
        assert abs(linear_regression(x, y) - alignment * math.sqrt(p)) > 0.05


@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
def test_eq_13_and_14_cca_and_cka_as_sums_over_directions(n, p, q):
    x, y = pair(n, p, q)
    u, s, _ = np.linalg.svd(centered(x), full_matrices=False)
    v, t, _ = np.linalg.svd(centered(y), full_matrices=False)
    aligned = (u.T @ v) ** 2
    np.testing.assert_allclose(cca(x, y), aligned.sum() / p, rtol=1e-10)
    weighted = (s**2)[:, None] * (t**2)[None, :] * aligned
    largest = math.sqrt(np.sum(s**4)) * math.sqrt(np.sum(t**4))
    np.testing.assert_allclose(cka(x, y, estimator="biased"), weighted.sum() / largest, rtol=1e-10)


@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
def test_eq_10_pwcca_with_squares_is_regression(n, p, q):
    x, y = pair(n, p, q)
    left, rho, _ = np.linalg.svd(basis(x).T @ basis(y), full_matrices=False)
    along = (basis(x) @ left).T @ centered(x)
    weights = np.sum(along**2, axis=1)
    np.testing.assert_allclose(linear_regression(x, y), np.sum(weights * rho**2) / weights.sum(), rtol=1e-10)
    absolute = np.sum(np.abs(along), axis=1)
    np.testing.assert_allclose(pwcca(x, y), np.sum(absolute * rho) / absolute.sum(), rtol=1e-10)


@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
def test_canonical_ridge_joins_cca_regression_and_cka(n, p, q):
    x, y = pair(n, p, q)
    for normalizer in ("matched", "truncated"):
        value = canonical_ridge(x, y, kappa_x=0, kappa_y=0, normalizer=normalizer)
        np.testing.assert_allclose(value, cca(x, y), rtol=1e-10)
    value = canonical_ridge(x, y, kappa_x=math.inf, kappa_y=0, normalizer="matched")
    np.testing.assert_allclose(value, linear_regression(x, y), rtol=1e-10)
    value = canonical_ridge(x, y, kappa_x=1e12, kappa_y=0, normalizer="matched")
    np.testing.assert_allclose(value, linear_regression(x, y), rtol=1e-6)
    value = canonical_ridge(x, y, kappa_x=math.inf, kappa_y=math.inf)
    np.testing.assert_allclose(value, cka(x, y, estimator="biased"), rtol=1e-10)
    value = canonical_ridge(x, y, kappa_x=1e12, kappa_y=1e12)
    np.testing.assert_allclose(value, cka(x, y, estimator="biased"), rtol=1e-6)


@pytest.mark.parametrize("kappas", [(0.5, 20.0), (3.0, 3.0), (100.0, 0.1)])
def test_canonical_ridge_is_cka_of_the_shrunken_bases(kappas):
    x, y = pair(60, 7, 12)
    shrunken = []
    for z, kappa in zip((x, y), kappas, strict=True):
        u, s, _ = np.linalg.svd(centered(z), full_matrices=False)
        shrunken.append(u * (s / np.sqrt(s**2 + kappa)))
    value = canonical_ridge(x, y, kappa_x=kappas[0], kappa_y=kappas[1])
    np.testing.assert_allclose(value, cka(*shrunken, estimator="biased"), rtol=1e-10)


def test_the_normalisers_of_the_canonical_ridge_are_ordered():
    x, y = pair(60, 7, 12)
    values = [canonical_ridge(x, y, kappa_x=4.0, kappa_y=9.0, normalizer=k) for k in ("matched", "truncated", "full")]
    assert 1 >= values[0] >= values[1] >= values[2] >= 0


@pytest.mark.parametrize("width", [20, 25, 60])
def test_theorem_1_all_wide_representations_look_the_same_to_cca(width):
    rng = np.random.default_rng(0)
    n = 20
    target = rng.normal(size=(n, 4))
    first, second = rng.normal(size=(n, width)), rng.normal(size=(n, width))
    with pytest.warns(repscope.RankWarning):
        np.testing.assert_allclose([cca(first, target), cca(second, target)], 1.0, atol=1e-10)
    with pytest.warns(repscope.RankWarning):
        np.testing.assert_allclose([linear_regression(target, first), linear_regression(target, second)], 1, atol=1e-10)
    assert abs(cka(first, target) - cka(second, target)) > 1e-3


def test_rbf_cka_tends_to_linear_cka_as_the_bandwidth_grows():
    x, y = pair(80, 6, 9)
    for estimator in ("biased", "unbiased"):
        linear = cka(x, y, estimator=estimator)
        gaps = [abs(cka(x, y, kernel=RBF(t), estimator=estimator) - linear) for t in (1, 10, 100)]
        assert gaps[0] > gaps[1] > gaps[2]
        assert gaps[2] < 1e-4


def test_unbiased_hsic_is_zero_on_average_over_all_permutations():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    values = [float(hsic(x, y[list(order)])) for order in itertools.permutations(range(5))]
    assert max(values) > 0 > min(values)
    np.testing.assert_allclose(np.mean(values), 0, atol=1e-12)


def test_the_nuclear_norm_similarity_is_the_cosine_of_the_procrustes_angle():
    x, y = pair(60, 7, 12)
    a, b = centered(x), centered(y)
    cosine = np.linalg.svd(a.T @ b, compute_uv=False).sum() / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(procrustes(x, y, kind="cosine"), cosine, rtol=1e-12)
    np.testing.assert_allclose(procrustes(x, y), math.acos(cosine), rtol=1e-10)
    np.testing.assert_allclose(procrustes(x, y, kind="squared"), 2 - 2 * cosine, rtol=1e-10)


def test_a_translated_subset_takes_cka_to_the_limit_of_davari():
    # Davari et al. 2023: rows S moved far away; the limit does not depend on the direction.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 10))
    subset = np.arange(200) < 20
    rho = subset.mean()
    c = centered(x)
    gram = c @ c.T
    ratio = np.trace(gram) ** 2 / np.sum(gram**2)
    limit = rho / (1 - rho) * np.sum(c[subset].mean(axis=0) ** 2) * math.sqrt(ratio) / np.mean(np.sum(c**2, axis=1))
    for direction in np.eye(10)[:3]:
        moved = x + 1e6 * np.outer(subset, direction)
        np.testing.assert_allclose(cka(x, moved, estimator="biased"), limit, rtol=1e-3)


def test_biased_cka_of_unrelated_data_is_what_its_formula_says_and_unbiased_is_not():
    rng = np.random.default_rng(0)
    n, p, q = 64, 512, 256
    draws = [(rng.normal(size=(n, p)), rng.normal(size=(n, q))) for _ in range(10)]
    biased = np.mean([cka(x, y, estimator="biased") for x, y in draws])
    np.testing.assert_allclose(biased, math.sqrt(p * q / ((n + p) * (n + q))), atol=0.005)
    unbiased = np.array([cka(x, y) for x, y in draws])
    assert abs(unbiased.mean()) < 4 * unbiased.std() / math.sqrt(len(draws)) + 1e-3
    assert unbiased.min() < 0  # and says so
