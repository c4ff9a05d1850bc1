"""Identities between the measures: Kornblith et al. 2019, eq. 10-14, App. D, Theorem 1, and closed-form limits."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import repscope
from repscope import RBF, RankWarning
from tests.measures.examples import pair
from tests.reference import kernels as reference_kernels
from tests.reference.hsic import unbiased


def centered(x):
    return x - x.mean(axis=0)


def svd(x):
    """U and the eigenvalues λ of XXᵀ."""
    left, singular, _ = np.linalg.svd(centered(x), full_matrices=False)
    return left, singular**2


def basis(x):
    return np.linalg.qr(centered(x))[0]


@pytest.fixture(params=[(60, 7, 12), (60, 12, 12), (60, 1, 5)], ids=str)
def xy(request):
    """x not wider than y, as the paper assumes."""
    return pair(*request.param)


def test_equation_1_example_space_equals_feature_space(xy):
    x, y = (centered(z) for z in xy)
    n = len(x)
    dot_product = np.sum((x @ x.T) * (y @ y.T))
    np.testing.assert_allclose(np.linalg.norm(y.T @ x) ** 2, dot_product)
    np.testing.assert_allclose(repscope.hsic(x, y, estimator="biased"), dot_product / (n - 1) ** 2)


def test_equation_2_biased_hsic_is_the_squared_covariance(xy):
    x, y = xy
    p = x.shape[1]
    covariance = np.cov(x.T, y.T)[:p, p:]
    np.testing.assert_allclose(repscope.hsic(x, y, estimator="biased"), np.linalg.norm(covariance) ** 2)


def test_equation_10_squaring_pwcca_gives_regression(xy):
    x, y = xy
    q_x = basis(x)
    left, rho, _ = np.linalg.svd(q_x.T @ basis(y))
    h = q_x @ left
    alpha = [sum(float(h[:, i] @ column) ** 2 for column in centered(x).T) for i in range(len(rho))]
    np.testing.assert_allclose(np.average(rho**2, weights=alpha), repscope.linear_regression(x, y))


def test_equation_11_cca_is_cka_of_the_bases(xy):
    x, y = xy
    cka = float(repscope.cka(basis(x), basis(y), estimator="biased"))
    np.testing.assert_allclose(repscope.cca(x, y), cka * math.sqrt(y.shape[1] / x.shape[1]))


def test_equation_12_regression_is_cka_of_x_and_the_basis_of_y(xy):
    # The printed factor √p₁ is an erratum; ‖Q_YᵀQ_Y‖_F = √p₂.
    x, y = xy
    p, q = x.shape[1], y.shape[1]
    x_centered = centered(x)
    cka = float(repscope.cka(x, basis(y), estimator="biased"))
    rest = np.linalg.norm(x_centered.T @ x_centered) / np.linalg.norm(x_centered) ** 2
    value = float(repscope.linear_regression(x, y))
    np.testing.assert_allclose(value, cka * math.sqrt(q) * rest)
    if p != q:
        assert abs(value - cka * math.sqrt(p) * rest) > 0.05


def test_equation_13_cca_by_left_singular_vectors(xy):
    x, y = xy
    (u, _), (v, _) = svd(x), svd(y)
    total = sum(float(a @ b) ** 2 for a, b in itertools.product(u.T, v.T))
    np.testing.assert_allclose(repscope.cca(x, y), total / x.shape[1])


def test_equation_14_cka_weighs_them_by_variance(xy):
    x, y = xy
    (u, a), (v, b) = svd(x), svd(y)
    total = sum(a[i] * b[j] * float(u[:, i] @ v[:, j]) ** 2 for i, j in np.ndindex(len(a), len(b)))
    np.testing.assert_allclose(
        repscope.cka(x, y, estimator="biased"), total / math.sqrt(np.sum(a**2)) / math.sqrt(np.sum(b**2))
    )


def test_equation_17_cca_is_regression_on_the_basis(xy):
    x, y = xy
    np.testing.assert_allclose(repscope.cca(x, y), repscope.linear_regression(basis(x), y))


def test_equation_20_procrustes_is_the_nuclear_norm(xy):
    x, y = (centered(z) for z in xy)
    nuclear = np.linalg.svd(x.T @ y)[1].sum()
    distance = float(repscope.procrustes(x, y, kind="distance"))
    np.testing.assert_allclose(distance**2, np.linalg.norm(x) ** 2 + np.linalg.norm(y) ** 2 - 2 * nuclear)


class TestCanonicalRidge:
    """The four limits of App. D.1."""

    @pytest.mark.parametrize("normalizer", ["matched", "truncated"])
    def test_no_ridge_is_cca(self, xy, normalizer):
        x, y = xy
        value = repscope.canonical_ridge(x, y, kappa_x=0.0, kappa_y=0.0, normalizer=normalizer)
        np.testing.assert_allclose(value, repscope.cca(x, y))

    @pytest.mark.parametrize("kappa", [math.inf, 1e12])
    def test_infinite_ridge_on_x_is_regression(self, xy, kappa):
        x, y = xy
        value = repscope.canonical_ridge(x, y, kappa_x=kappa, kappa_y=0.0, normalizer="matched")
        np.testing.assert_allclose(value, repscope.linear_regression(x, y), rtol=1e-7)

    @pytest.mark.parametrize("kappa", [(0.0, 0.0), (3.0, 0.0), (10.0, 70.0)], ids=str)
    def test_any_ridge_is_cka_of_shrunk_bases(self, xy, kappa):
        x, y = xy
        shrunk = []
        for z, k in zip((x, y), kappa, strict=True):
            u, a = svd(z)
            shrunk.append(u * np.sqrt(a / (a + k)))
        value = repscope.canonical_ridge(x, y, kappa_x=kappa[0], kappa_y=kappa[1], normalizer="full")
        np.testing.assert_allclose(value, repscope.cka(*shrunk, estimator="biased"))

    @pytest.mark.parametrize("kappa", [math.inf, 1e12])
    def test_infinite_ridges_are_linear_cka(self, xy, kappa):
        x, y = xy
        value = repscope.canonical_ridge(x, y, kappa_x=kappa, kappa_y=kappa, normalizer="full")
        np.testing.assert_allclose(value, repscope.cka(x, y, estimator="biased"), rtol=1e-7)

    def test_the_normalizers_are_ordered(self, xy):
        x, y = xy
        values = [
            float(repscope.canonical_ridge(x, y, kappa_x=5.0, kappa_y=2.0, normalizer=n))
            for n in ("matched", "truncated", "full")
        ]
        assert values[0] >= values[1] >= values[2]


@pytest.mark.parametrize("p", [20, 21, 60])
def test_theorem_1_wide_representations_are_all_alike_to_linear_invariance(p):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, p)), rng.normal(size=(20, 30))
    for call in (repscope.cca, repscope.pwcca, repscope.linear_regression):
        with pytest.warns(RankWarning, match="Theorem 1"):
            np.testing.assert_allclose(call(x, y), 1.0, rtol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert repscope.cka(x, y, estimator="biased") < 0.9
        assert abs(float(repscope.cka(x, y))) < 0.2


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_wide_rbf_cka_is_linear_cka(estimator):
    # Alvarez 2021: with the bandwidth, the difference falls as 1/fraction².
    x, y = pair(40, 6, 7)
    linear = float(repscope.cka(x, y, estimator=estimator))
    gaps = [
        abs(float(repscope.cka(x, y, kernel=RBF(fraction), estimator=estimator)) - linear)
        for fraction in (10.0, 30.0, 100.0, 1000.0)
    ]
    assert gaps[0] > 1e-4
    np.testing.assert_allclose(np.divide(gaps[:-1], gaps[1:]), [9.0, 100 / 9, 100.0], rtol=0.05)


def test_unbiased_hsic_averages_to_zero_over_all_permutations():
    # Exact: all 120 orders of five examples.
    x, y = pair(5, 2, 3)
    for kernel in ("linear", RBF(0.8), "cosine"):
        values = [float(repscope.hsic(x[list(order)], y, kernel=kernel)) for order in itertools.permutations(range(5))]
        np.testing.assert_allclose(np.mean(values), 0.0, atol=1e-14 * np.abs(values).max() * 10)
        assert np.std(values) > 0


def test_biased_cka_averages_to_its_closed_form_over_all_permutations():
    # √(PR_x PR_y)/(n − 1), PR = tr(K)²/tr(K²) (Kazi-Aoual et al. 1995).
    x, y = pair(6, 2, 3)
    values = [float(repscope.cka(x[list(order)], y, estimator="biased")) for order in itertools.permutations(range(6))]
    participation = []
    for z in (x, y):
        K = centered(z) @ centered(z).T
        participation.append(np.trace(K) ** 2 / np.trace(K @ K))
    np.testing.assert_allclose(np.mean(values), math.sqrt(np.prod(participation)) / 5)


def test_unbiased_hsic_is_unbiased():
    # Examples drawn with replacement from a finite population: the mean over all samples is the population's HSIC,
    # here computed over independent pairs of examples.
    population_x, population_y = pair(3, 2, 2, seed=9)
    n = 4
    samples = [list(rows) for rows in itertools.product(range(3), repeat=n)]
    K, L = (reference_kernels.linear(z) for z in (population_x, population_y))
    estimates = [unbiased(K[np.ix_(rows, rows)], L[np.ix_(rows, rows)]) for rows in samples]
    population = np.mean(K * L) + np.mean(K) * np.mean(L) - 2 * np.mean(K.mean(axis=1) * L.mean(axis=1))
    np.testing.assert_allclose(np.mean(estimates), population)
    values = [float(repscope.hsic(population_x[rows], population_y[rows])) for rows in samples]
    np.testing.assert_allclose(values, estimates, atol=1e-10)


def test_a_subset_moved_far_away_rules_cka():
    # Davari et al. 2022: rows S of share ρ moved by c·v; the limit for c → ∞ does not depend on v.
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 8)) @ rng.normal(size=(8, 8))
    subset = np.arange(200) < 40
    rho = 0.2
    x_centered = centered(x)
    K = x_centered @ x_centered.T
    participation = np.trace(K) ** 2 / np.trace(K @ K)
    energy = np.mean(np.sum(x_centered**2, axis=1))
    limit = rho / (1 - rho) * np.sum(x_centered[subset].mean(axis=0) ** 2) * math.sqrt(participation) / energy
    for _ in range(3):
        direction = rng.normal(size=8)
        moved = x + 1e7 * subset[:, None] * direction
        np.testing.assert_allclose(repscope.cka(x, moved, estimator="biased"), limit, rtol=1e-5)


def test_procrustes_cosine_is_the_fidelity_of_gram_matrices():
    # ‖XᵀY‖_* = tr (K^½ L K^½)^½ (Harvey et al. 2024).
    x, y = (centered(z) for z in pair(15, 4, 6))
    values, vectors = np.linalg.eigh(x @ x.T)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    fidelity = np.sqrt(np.clip(np.linalg.eigvalsh(root @ y @ y.T @ root), 0, None)).sum()
    expected = fidelity / np.linalg.norm(x) / np.linalg.norm(y)
    np.testing.assert_allclose(repscope.procrustes(x, y, kind="cosine"), expected, rtol=1e-6)


def test_cka_of_squared_distances_is_linear_cka():
    # K = −D/2 centres to the linear Gram matrix (classical scaling).
    x, y = pair(30, 4, 6)

    def halved_distances(z):
        return -0.5 * reference_kernels.squared_distances(z)

    value = repscope.cka(x, y, kernel=halved_distances, estimator="biased")
    np.testing.assert_allclose(value, repscope.cka(x, y, estimator="biased"))


SHAPES = st.tuples(st.integers(5, 12), st.integers(1, 15), st.integers(1, 15))
EXPONENTS = st.integers(-12, 12)


@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1), exponent=EXPONENTS, offset=st.integers(-100, 100))
def test_cka_and_procrustes_of_any_shape_scale_and_offset(shape, seed, exponent, offset):
    n, p, q = shape
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    moved = (x + offset) * 10.0**exponent
    for call in (
        lambda a, b: repscope.cka(a, b, estimator="biased"),
        lambda a, b: repscope.procrustes(a, b, kind="cosine"),
    ):
        value = float(call(x, y))
        assert 0 <= value <= 1 + 1e-12
        np.testing.assert_allclose(call(moved, y), value, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(call(y, x), value, rtol=1e-9)
    value = float(repscope.cka(x, y))
    assert abs(value) <= 1 + 1e-9
    np.testing.assert_allclose(repscope.cka(moved, y), value, rtol=1e-7, atol=1e-7)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(20, 40), p=st.integers(1, 6), q=st.integers(1, 6))
def test_canonical_correlations_of_any_data(seed, n, p, q):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    rho = repscope.canonical_correlations(x, y)
    assert rho.shape == (min(p, q),)
    assert np.all((rho >= 0) & (rho <= 1 + 1e-12))
    np.testing.assert_allclose(repscope.cca(x, y), np.mean(rho**2))
    np.testing.assert_allclose(repscope.cca(x, y, summary="mean"), np.mean(rho))
    assert rho[-1] - 1e-12 <= float(repscope.pwcca(x, y)) <= rho[0] + 1e-12
    # More predictors never explain less.
    more = np.concatenate([y, rng.normal(size=(n, 1))], axis=1)
    assert float(repscope.linear_regression(x, more)) >= float(repscope.linear_regression(x, y)) - 1e-12


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(4, 12), p=st.integers(1, 8))
def test_order_of_examples_does_not_matter(seed, n, p):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, p)), rng.normal(size=(n, 3))
    order = rng.permutation(n)
    for kernel in ("linear", RBF(0.8), "polynomial"):
        np.testing.assert_allclose(
            repscope.hsic(x[order], y[order], kernel=kernel),
            repscope.hsic(x, y, kernel=kernel),
            rtol=1e-8,
            atol=1e-10,
        )
