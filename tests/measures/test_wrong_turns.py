"""One test for each mistake that public implementations of these measures have made (each was reproduced)."""

from __future__ import annotations

import math

import numpy as np
import pytest

import repscope
from repscope import RBF
from tests.measures.examples import ALL, pair
from tests.reference import hsic as reference_hsic
from tests.reference import kernels as reference_kernels


def test_gram_matrix_of_uncentered_single_precision_features():
    # pytorch-cka: with an offset of 100 the CKA came out as 0.0 for a truth of 0.59, in half precision as NaN.
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(200, 10))
    x, y = (latent @ rng.normal(size=(10, 64)) + 3 * rng.normal(size=(200, 64)) for _ in range(2))
    truth = float(repscope.cka(x, y))
    assert 0.2 < truth < 0.8
    np.testing.assert_allclose(
        repscope.cka((x + 1000).astype(np.float32), (y + 1000).astype(np.float32)), truth, rtol=1e-3
    )
    half = [torch.from_numpy(z + 100).to(torch.float16) for z in (x, y)]
    np.testing.assert_allclose(float(repscope.cka(*half)), float(repscope.cka(*(z.double() for z in half))), rtol=1e-4)


def test_the_three_term_formula_on_uncentered_single_precision_features():
    # Song's three terms cancel: NaN was measured at mean/sd = 100. U-centring of centred features does not.
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(100, 5))
    x, y = ((latent @ rng.normal(size=(5, 8)) + rng.normal(size=(100, 8)) + 1000).astype(np.float32) for _ in range(2))

    def three_terms(K, L):
        n = len(K)
        K, L = (np.where(np.eye(n, dtype=bool), np.float32(0), M) for M in (K, L))
        ones = np.ones(n, dtype=np.float32)
        first = np.trace(K @ L)
        second = (ones @ K @ ones) * (ones @ L @ ones) / ((n - 1) * (n - 2))
        third = 2 / (n - 2) * (ones @ K @ L @ ones)
        return float(first + second - third) / (n * (n - 3))

    truth = float(repscope.cka(x.astype(np.float64), y.astype(np.float64)))
    K, L = x @ x.T, y @ y.T
    product = three_terms(K, K) * three_terms(L, L)
    naive = three_terms(K, L) / math.sqrt(product) if product > 0 else math.nan
    assert not abs(naive - truth) < 0.1
    np.testing.assert_allclose(repscope.cka(x, y), truth, rtol=1e-4)


def test_an_epsilon_in_the_denominator():
    # platonic-rep adds 1e-6: CKA(x, x) = 0.396 once features are scaled by 0.01.
    x = pair(50, 8, 1)[0] * 0.01
    for factor in (1.0, 1e-2, 1e-4):
        np.testing.assert_allclose(repscope.cka(factor * x, factor * x), 1.0, rtol=1e-13)


def test_clamping_hides_nonsense():
    # clamp(0, 1): unbiased CKA of unrelated data scatters around 0 on both sides, and must be let.
    rng = np.random.default_rng(3)
    values = [float(repscope.cka(rng.normal(size=(16, 4)), rng.normal(size=(16, 4)))) for _ in range(100)]
    assert min(values) < 0 < max(values)


def test_svcca_that_keeps_one_component():
    # resi compares a cumulative share with threshold × total: it keeps one component, |corr(PC1, PC1)|.
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(200, 4))
    x, y = (latent @ rng.normal(size=(4, 10)) + 0.1 * rng.normal(size=(200, 10)) for _ in range(2))
    first = [np.linalg.svd(z - z.mean(axis=0))[0][:, 0] for z in (x, y)]
    one = abs(float(first[0] @ first[1]))
    assert abs(float(repscope.svcca(x, y, summary="mean")) - one) > 0.05
    np.testing.assert_allclose(repscope.svcca(x, y, variance=1e-9, summary="mean"), one, rtol=1e-10)


def test_svcca_that_cuts_at_a_share_of_singular_values():
    # anatome sums s, not s²: another number of components. The cut here is 99 % of the variance, Σs².
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(100, 6)))[0]
    basis = np.linalg.qr(basis - basis.mean(axis=0))[0]
    from repscope.measures.cca import prepare_svcca

    s = np.array([10.0, 3.0, 1.0, 0.5, 0.5, 0.5])
    assert prepare_svcca(basis * s, variance=0.99).rank == 3
    assert np.searchsorted(np.cumsum(s) / s.sum(), 0.99) + 1 == 6


def test_pwcca_with_the_wrong_weights():
    # google/svcca and its copies apply the coefficients of whitened units to the units themselves.
    x, y = pair(100, 6, 8)
    x_centered, y_centered = x - x.mean(axis=0), y - y.mean(axis=0)
    (u, _, vt), (v, _, _) = (np.linalg.svd(z, full_matrices=False) for z in (x_centered, y_centered))
    left, rho, _ = np.linalg.svd(u.T @ v, full_matrices=False)
    right = np.abs((u @ left).T @ x_centered).sum(axis=1)
    wrong = np.abs((x_centered @ vt.T @ left).T @ x_centered).sum(axis=1)
    assert abs(np.average(rho, weights=right) - np.average(rho, weights=wrong)) > 1e-4
    np.testing.assert_allclose(repscope.pwcca(x, y), np.average(rho, weights=right), rtol=1e-11)


def test_pwcca_when_the_second_representation_is_narrower():
    # The same code indexes x in the branch for y there: an IndexError, or the wrong side's weights.
    x, y = pair(100, 8, 3)
    from tests.reference import cca as reference_cca

    np.testing.assert_allclose(repscope.pwcca(x, y), reference_cca.pwcca(x, y), rtol=1e-11)


def test_cca_that_does_not_center():
    x, y = pair(100, 6, 8)
    q_x, q_y = np.linalg.qr(x + 5)[0], np.linalg.qr(y + 5)[0]
    uncentered = np.linalg.norm(q_x.T @ q_y) ** 2 / 6
    assert abs(float(repscope.cca(x + 5, y + 5)) - uncentered) > 1e-2
    np.testing.assert_allclose(repscope.cca(x + 5, y + 5), repscope.cca(x, y), rtol=1e-10)


def test_dead_and_doubled_units_in_a_qr_without_a_rank():
    # QR of dependent columns yields arbitrary directions, each of which counts as a correlation.
    x, y = pair(100, 6, 8)
    dead = np.concatenate([x, np.zeros((100, 2)), x[:, :2]], axis=1)
    np.testing.assert_allclose(repscope.cca(dead, y), repscope.cca(x, y), rtol=1e-10)


def test_masked_cosine_under_the_name_unbiased():
    # Centre, zero the diagonal, cosine (RV2 of Smilde 2009; "unbiased" in two libraries) is another number.
    x, y = pair(12, 5, 4)
    K, L = (reference_kernels.linear(reference_kernels.centered(z)) for z in (x, y))
    K0, L0 = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    masked = np.sum(K0 * L0) / (np.linalg.norm(K0) * np.linalg.norm(L0))
    assert abs(masked - float(repscope.cka(x, y))) > 1e-2
    np.testing.assert_allclose(repscope.cka(x, y), reference_hsic.cka(x, y), rtol=1e-11)


def test_a_percentile_of_half_a_percent_for_the_median():
    # percentile(distances, 0.5) is not the median.
    x, _ = pair(60, 5, 4)
    distances = reference_kernels.squared_distances(x)
    wrong = RBF(sigma=math.sqrt(np.percentile(distances[distances > 0], 0.5))).gram(x)
    assert np.abs(RBF(1.0).gram(x) - wrong).max() > 0.3
    np.testing.assert_allclose(
        RBF(1.0).gram(x), np.exp(-distances / (2 * np.median(distances))), rtol=1e-10, atol=1e-300
    )


def test_nan_scored_as_a_perfect_match():
    # torchmetrics' Procrustes gives 0 distance for NaN.
    x, y = pair(30, 5, 4)
    x[3, 2] = math.nan
    for measure in ALL:
        with pytest.raises(repscope.InputError, match="must be finite, got nan in row 3, column 2"):
            measure(x, y)


def test_a_constant_layer_scored_as_a_match():
    x, y = np.ones((30, 5)), np.full((30, 4), 2.0)
    for measure in ALL:
        if measure.facts.kind == "similarity" and measure.id != "hsic" and "cosine" not in measure.label:
            with pytest.warns(repscope.DegenerateInputWarning):
                assert np.isnan(measure(x, y))


def test_procrustes_by_any_other_scale():
    # One word, four scales: angle, distance, normalised squared distance, cosine; all of them named here.
    x, y = pair(30, 5, 4)
    cosine = float(repscope.procrustes(x, y, kind="cosine"))
    np.testing.assert_allclose(repscope.procrustes(x, y), math.acos(cosine), rtol=1e-12)
    np.testing.assert_allclose(repscope.procrustes(x, y, kind="squared"), 2 - 2 * cosine, rtol=1e-12)
    norms = [np.linalg.norm(z - z.mean(axis=0)) for z in (x, y)]
    expected = math.sqrt(norms[0] ** 2 + norms[1] ** 2 - 2 * cosine * norms[0] * norms[1])
    np.testing.assert_allclose(repscope.procrustes(x, y, kind="distance"), expected, rtol=1e-12)


def test_bytes_that_overflow():
    x = np.random.default_rng(0).integers(200, 256, size=(30, 5)).astype(np.uint8)
    np.testing.assert_array_equal(repscope.cka(x, x[:, :2]), repscope.cka(x.astype(float), x[:, :2].astype(float)))


def test_three_examples_divide_by_zero():
    x, y = pair(3, 5, 4)
    with pytest.raises(repscope.InputError, match="must have at least 4 rows"):
        repscope.cka(x, y)


def test_a_bootstrap_of_rows_brings_the_diagonal_back():
    # Repeated rows make K_ij = K_ii for i ≠ j, so the unbiased estimate of unrelated data rises far above 0: the
    # measures offer no such interval. Kept as a witness of why.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 512)), rng.normal(size=(64, 256))
    assert abs(float(repscope.cka(x, y))) < 0.1
    rows = rng.integers(0, 64, size=64)
    assert float(repscope.cka(x[rows], y[rows])) > 0.7
