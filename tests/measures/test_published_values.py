"""Numbers that others printed, and closed forms, each with where it comes from."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import repscope
from repscope import RBF
from repscope.errors import RankWarning
from tests.reference import cca as reference_cca

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def notebook():
    """Inputs of the authors' Demo.ipynb (google-research/representation_similarity), in its order of drawing."""
    generator = np.random.RandomState(1337)
    x = generator.randn(100, 10)
    y = generator.randn(100, 10) + x
    return x, y


@pytest.fixture(scope="module")
def repository():
    """Inputs of the Similarity Repository's table figures/metric_vs_repo.csv: np.random.seed(0), two uniforms."""
    generator = np.random.RandomState(0)
    return generator.uniform(size=(30, 25)), generator.uniform(size=(30, 25))


# Kornblith et al. 2019, outputs printed in Demo.ipynb, five digits.
@pytest.mark.parametrize(
    ("printed", "options"),
    [
        (0.55761, {"estimator": "biased"}),
        (0.65483, {"estimator": "biased", "kernel": RBF(0.5)}),
        (0.51346, {"estimator": "unbiased"}),
    ],
)
def test_the_authors_notebook(notebook, printed, options):
    assert round(float(repscope.cka(*notebook, **options)), 5) == printed


def test_the_authors_notebook_does_not_center_in_cca(notebook):
    # It prints R²_CCA = 0.54312; centred columns, as the paper demands, give 0.54540.
    q_x, q_y = (np.linalg.qr(z)[0] for z in notebook)
    np.testing.assert_allclose(np.linalg.norm(q_x.T @ q_y) ** 2 / 10, 0.54312, atol=5e-6)
    assert abs(float(repscope.cca(*notebook)) - 0.54312) > 2e-3


# On the notebook's inputs; each agrees with the slow reference to all digits given.
@pytest.mark.parametrize(
    ("expected", "call"),
    [
        (0.5576132566, lambda x, y: repscope.cka(x, y, estimator="biased")),
        (0.5134564895, lambda x, y: repscope.cka(x, y)),
        (0.5453963322, lambda x, y: repscope.cca(x, y)),
        (0.7310139588, lambda x, y: repscope.cca(x, y, summary="mean")),
        (0.7346677196, lambda x, y: repscope.pwcca(x, y)),
        (0.7368405675, lambda x, y: repscope.pwcca(y, x)),
        (0.5677425705, lambda x, y: repscope.linear_regression(y, x)),  # Y predicted from X
        (0.5634752416, lambda x, y: repscope.linear_regression(x, y)),  # X predicted from Y
        (0.7432764761, lambda x, y: repscope.procrustes(x, y)),
    ],
)
def test_ten_digits_on_the_notebooks_inputs(notebook, expected, call):
    np.testing.assert_allclose(call(*notebook), expected, rtol=0, atol=1e-10)


# Similarity Repository (nacloos/similarity-repository), figures/metric_vs_repo.csv.
def test_the_similarity_repository_on_cka(repository):
    np.testing.assert_allclose(repscope.cka(*repository, estimator="biased"), 0.48934273910441527, rtol=1e-13)
    np.testing.assert_allclose(repscope.cka(*repository), 0.0235986985805671, rtol=1e-11)


def test_the_similarity_repository_on_procrustes(repository):
    # Its "NBS", normalised Bures similarity, is the cosine of the Procrustes angle.
    np.testing.assert_allclose(repscope.procrustes(*repository, kind="cosine"), 0.7227787, atol=5e-8)
    np.testing.assert_allclose(np.cos(repscope.procrustes(*repository)), 0.7227787, atol=5e-8)
    np.testing.assert_allclose(repscope.procrustes(*repository, kind="squared"), 2 - 2 * 0.7227787, atol=1e-7)


def test_the_similarity_repository_on_shape_metrics(repository):
    # Angles of netrep's LinearCKA, and of its LinearMetric at alpha = 0, of which 21 correlations are forced to 1.
    np.testing.assert_allclose(repscope.angular_cka(*repository), 1.0594603937845422, rtol=1e-13)
    with pytest.warns(RankWarning, match="shape_distance: n = 30 examples are too few for p = 25 and q = 25"):
        np.testing.assert_allclose(repscope.shape_distance(*repository, alpha=0.0), 0.47322087985030586, rtol=1e-12)


def test_the_similarity_repository_on_permutations_and_aligned_cosines(repository):
    # netrep's PermutationMetric, angle and Euclidean; aligned cosine: centred (llm_repsim) and, by ReSi, not centred.
    np.testing.assert_allclose(repscope.permutation_procrustes(*repository), 1.2298287595147774, rtol=1e-13)
    distance = repscope.permutation_procrustes(*repository, kind="distance")
    np.testing.assert_allclose(distance, 9.066236076125277, rtol=1e-13)
    np.testing.assert_allclose(repscope.aligned_cosine(*repository), 0.7205820248107223, rtol=1e-12)
    x, y = repository
    left, _, right = np.linalg.svd(x.T @ y)
    aligned = x @ left @ right
    cosines = (aligned * y).sum(axis=1) / np.linalg.norm(aligned, axis=1) / np.linalg.norm(y, axis=1)
    np.testing.assert_allclose(cosines.mean(), 0.9284614848625562, rtol=1e-12)


def test_the_similarity_repository_on_correlation_matching(repository):
    # ReSi, hard_correlation_match and soft_correlation_match.
    hard = repscope.correlation_matching(*repository)
    np.testing.assert_allclose(hard, 0.3363914592542919, rtol=1e-13)
    np.testing.assert_allclose(repscope.soft_matching(*repository, kind="correlation"), hard, rtol=1e-13)
    soft = repscope.correlation_matching(*repository, assignment="soft")
    np.testing.assert_allclose(soft, 0.3761355416924346, rtol=1e-13)


def test_the_similarity_repository_on_cca(repository):
    # n = 30 < p + q = 50: the table's own inputs force 21 of the 25 correlations to 1.
    with pytest.warns(RankWarning, match="n = 30 examples are too few for p = 25 and q = 25"):
        r2 = repscope.cca(*repository)
    with pytest.warns(RankWarning):
        mean = repscope.cca(*repository, summary="mean")
    np.testing.assert_allclose(mean, 0.8901050, atol=5e-8)
    np.testing.assert_allclose(r2, 0.8583001, atol=5e-8)
    with pytest.warns(RankWarning):
        correlations = repscope.canonical_correlations(*repository)
    assert np.count_nonzero(correlations > 1 - 1e-9) == 25 + 25 - 29
    # GULP² at λ = 0 is p + q − 2 Σρ² (Boix-Adserà et al. 2022); the table prints it as well.
    np.testing.assert_allclose(50 - 2 * np.sum(correlations**2), 7.0849929, atol=5e-7)


def test_the_masked_cosine_that_some_call_unbiased_is_another_number(repository):
    # Same table, column "lange": centre, zero the diagonal, cosine.
    centered = [z - z.mean(axis=0) for z in repository]
    K, L = (z @ z.T - np.diag(np.sum(z**2, axis=1)) for z in centered)
    masked = np.sum(K * L) / (np.linalg.norm(K) * np.linalg.norm(L))
    np.testing.assert_allclose(masked, 0.05334, atol=5e-6)
    assert abs(float(repscope.cka(*repository)) - masked) > 0.02


# Independent Gaussian features: E[biased CKA] ≈ √(pq / ((n+p)(n+q))), the bias that Murphy et al. 2024 describe.
@pytest.mark.parametrize(("n", "p", "q"), [(64, 512, 256), (256, 64, 128), (400, 400, 400)])
def test_chance_level_of_both_estimators_on_independent_gaussians(n, p, q):
    generator = np.random.default_rng(2024)
    biased, unbiased = [], []
    for _ in range(20):
        x, y = generator.normal(size=(n, p)), generator.normal(size=(n, q))
        biased.append(float(repscope.cka(x, y, estimator="biased")))
        unbiased.append(float(repscope.cka(x, y)))
    closed_form = math.sqrt(p * q / ((n + p) * (n + q)))
    np.testing.assert_allclose(np.mean(biased), closed_form, rtol=0.01)
    assert abs(np.mean(unbiased)) < 4 * np.std(unbiased) / math.sqrt(len(unbiased)) < 0.1 * closed_form


def test_chance_level_of_cca_and_regression():
    # The mean over row permutations is exact: max(p, q)/(n − 1) for R²_CCA, q/(n − 1) for R²_LR (projector argument).
    generator = np.random.default_rng(5)
    n, p, q = 40, 3, 6
    x, y = generator.normal(size=(n, p)), generator.normal(size=(n, q))
    shuffled = [generator.permutation(n) for _ in range(3000)]
    r2 = [float(repscope.cca(x[order], y)) for order in shuffled]
    regression = [float(repscope.linear_regression(x[order], y)) for order in shuffled[:1000]]
    np.testing.assert_allclose(np.mean(r2), q / (n - 1), rtol=0.02)
    np.testing.assert_allclose(np.mean(regression), q / (n - 1), rtol=0.03)


def test_pwcca_is_the_definition_and_not_what_the_public_svcca_code_computes(repository):
    # On these inputs the definition gives 0.893 (js-d/sim_metric), google/svcca and its copies 0.958854. More digits
    # do not exist: 21 correlations are tied at 1, and the weights within a tie depend on the basis of the solver.
    with pytest.warns(RankWarning):
        value = float(repscope.pwcca(*repository))
    np.testing.assert_allclose(value, 0.893341, atol=3e-3)


def test_reference_and_package_agree_on_the_notebooks_inputs(notebook):
    np.testing.assert_allclose(repscope.pwcca(*notebook), reference_cca.pwcca(*notebook), rtol=1e-11)


def test_distance_correlation_and_rv2_of_the_repository_table(repository):
    # figures/metric_vs_repo.csv: distance correlation of several packages, and "unbiased CKA" of two, which is RV2.
    np.testing.assert_allclose(repscope.distance_correlation(*repository, estimator="biased"), 0.8852697, atol=5e-8)
    np.testing.assert_allclose(repscope.rv2(*repository), 0.05334, atol=5e-6)


def test_gulp_of_the_repository_table(repository):
    # figures/metric_vs_repo.csv, measure "gulp" without a ridge: the square, 25 + 25 − 2 Σρ².
    with pytest.warns(RankWarning):
        np.testing.assert_allclose(repscope.gulp(*repository, regularization=0.0), 7.0849929, atol=5e-8)


@pytest.mark.parametrize(
    ("one", "other", "printed"),
    [(0, 2, 0.859), (0, 3, 0.827), (0, 1, 0.311), (1, 2, 0.542), (1, 3, 0.513), (2, 3, 0.974)],
)
def test_distance_correlation_of_the_irises_as_the_energy_package_of_r_prints_it(one, other, printed):
    # Rizzo & Székely, package energy, dcor of the columns of iris, three digits.
    table = np.loadtxt(DATA / "iris.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(table.sum(axis=0), [876.5, 458.6, 563.7, 179.9])
    x, y = table[:, [one]], table[:, [other]]
    assert round(float(repscope.distance_correlation(x, y, estimator="biased")), 3) == printed


def test_cka_of_uniform_noise_of_more_and_more_dimensions():
    # Murphy, Zylberberg & Fyshe 2024, Fig. 1: 1,024 examples, 1,024 against d features, one stream of random numbers.
    generator = np.random.RandomState(2024)
    x = generator.rand(1024, 1024)
    printed = {10: 0.0699, 17_027: 0.6873}
    for d in np.geomspace(10, 250_000, 50).astype(int)[:37]:
        y = generator.rand(1024, d)
        if d in printed:
            assert round(float(repscope.cka(x, y, estimator="biased")), 4) == printed.pop(d)
            assert abs(float(repscope.cka(x, y))) < 0.003
    assert not printed
