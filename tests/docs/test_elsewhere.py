"""What the pages say about the same number in other packages, where the package is at hand."""

from __future__ import annotations

import numpy as np
import pytest

import repscope
from tests.measures.examples import pair

scipy_spatial = pytest.importorskip("scipy.spatial")
scipy_linalg = pytest.importorskip("scipy.linalg")


def test_procrustes_of_scipy_fits_a_scale_too():
    x, y = pair(40, 6, 6)
    theirs = scipy_spatial.procrustes(x, y)[2]
    np.testing.assert_allclose(theirs, 1 - repscope.procrustes(x, y, kind="cosine") ** 2, rtol=1e-10)


def test_subspace_angles_of_scipy_are_canonical_correlations_in_reverse():
    x, y = pair(40, 6, 7)
    theirs = scipy_linalg.subspace_angles(x - x.mean(0), y - y.mean(0))
    np.testing.assert_allclose(theirs, np.arccos(repscope.canonical_correlations(x, y))[::-1], rtol=1e-7)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_partial_whitening_of_netrep(alpha):
    # LinearMetric: pad, centre, eigenvalues of XᵀX from 1e-7 on, keep the variance, rotate, arc cosine.
    x, y = pair(40, 6, 4)
    y = np.pad(y, ((0, 0), (0, 2)))
    white = []
    for z in (x - x.mean(0), y - y.mean(0)):
        values, vectors = np.linalg.eigh(z.T @ z)
        values = np.maximum(values, 1e-7)
        weights = alpha + (1 - alpha) / np.sqrt(values)
        weights *= np.sqrt(values.sum() / (values * weights**2).sum())
        white.append(z @ (vectors * weights) @ vectors.T)
    rotation, _ = scipy_linalg.orthogonal_procrustes(*white)
    aligned = white[0] @ rotation
    theirs = np.arccos((aligned * white[1]).sum() / np.linalg.norm(aligned) / np.linalg.norm(white[1]))
    np.testing.assert_allclose(repscope.shape_distance(x, y[:, :4], alpha=alpha), theirs, rtol=1e-7)


def test_linear_regression_is_the_variance_weighted_share_explained():
    x, y = pair(40, 6, 7)
    x, y = x - x.mean(0), y - y.mean(0)
    residual = x - y @ np.linalg.lstsq(y, x, rcond=None)[0]
    each = 1 - (residual**2).sum(axis=0) / (x**2).sum(axis=0)
    weighted = np.average(each, weights=(x**2).sum(axis=0))
    np.testing.assert_allclose(repscope.linear_regression(x, y), weighted, rtol=1e-10)
    assert abs(float(repscope.linear_regression(x, y)) - each.mean()) > 1e-3  # LinearRegression().score is this mean


def test_cosine_of_whitened_squared_distances_is_biased_cka():
    # rsatoolbox "cosine_cov": squared Euclidean distances, whitened by V_(ij)(kl) = ((c_i - c_j)·(c_k - c_l))².
    x, y = pair(8, 3, 4)
    i, j = np.triu_indices(8, 1)
    contrasts = np.eye(8)[i] - np.eye(8)[j]
    d1, d2 = (((z[i] - z[j]) ** 2).sum(axis=1) for z in (x, y))
    whitening = np.linalg.pinv((contrasts @ contrasts.T) ** 2)
    cosine = d1 @ whitening @ d2 / np.sqrt((d1 @ whitening @ d1) * (d2 @ whitening @ d2))
    np.testing.assert_allclose(repscope.cka(x, y, estimator="biased"), cosine, rtol=1e-8)


def test_optimal_transport_of_pot():
    ot = pytest.importorskip("ot")
    x, y = pair(40, 6, 4)
    x, y = x - x.mean(0), y - y.mean(0)
    theirs = ot.emd2(np.full(6, 1 / 6), np.full(4, 1 / 4), ot.dist(x.T, y.T))
    np.testing.assert_allclose(repscope.soft_matching(x, y) ** 2, theirs, rtol=1e-10)


@pytest.mark.parametrize("regularization", [1e-3, 0.1])
def test_ridge_of_scikit_learn_in_the_sample_and_on_folds(regularization):
    linear_model, metrics = (pytest.importorskip(f"sklearn.{name}") for name in ("linear_model", "metrics"))
    x, y = pair(40, 6, 7)

    def fitted(rows):
        alpha = regularization * np.sum((y[rows] - y[rows].mean(0)) ** 2)
        return linear_model.Ridge(alpha=alpha).fit(y[rows], x[rows])

    everything = np.arange(40)
    theirs = metrics.r2_score(x, fitted(everything).predict(y), multioutput="variance_weighted")
    np.testing.assert_allclose(repscope.linear_regression(x, y, regularization=regularization), theirs, rtol=1e-9)
    residual = total = 0.0
    for part in np.array_split(np.random.default_rng(0).permutation(40), 5):
        rest = np.setdiff1d(everything, part)
        residual += np.sum((x[part] - fitted(rest).predict(y[part])) ** 2)
        total += np.sum((x[part] - x[rest].mean(0)) ** 2)
    ours = repscope.linear_regression(x, y, regularization=regularization, folds=5)
    np.testing.assert_allclose(ours, 1 - residual / total, rtol=1e-9)


def test_neighbours_of_scikit_learn_make_the_graph_of_imd():
    neighbors = pytest.importorskip("sklearn.neighbors")
    csgraph = pytest.importorskip("scipy.sparse.csgraph")
    x, y = pair(60, 6, 7)
    times = np.logspace(-1, 1, 256)

    def trace(z):
        graph = neighbors.kneighbors_graph(z, 5).toarray()
        laplacian = csgraph.laplacian(np.maximum(graph, graph.T), normed=True)
        return np.exp(-np.outer(times, np.linalg.eigvalsh(laplacian))).mean(axis=1)

    theirs = 1e6 * np.max(np.exp(-2 * (times + 1 / times)) * np.abs(trace(x) - trace(y)))
    np.testing.assert_allclose(repscope.imd(x, y), theirs, rtol=1e-9)


def test_the_agreement_of_scikit_learn_is_the_disagreement_corrected_for_chance():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    x = rng.integers(3, size=80)
    y = np.where(rng.random(80) < 0.5, x, rng.integers(3, size=80))
    ours = repscope.compare_predictions({"x": x, "y": y}).chance_corrected()[0, 1]
    np.testing.assert_allclose(ours, metrics.cohen_kappa_score(x, y), rtol=1e-12)


@pytest.mark.parametrize("given", [False, True])
def test_crossnobis_of_rsatoolbox(given):
    # calc_rdm_crossnobis: each fold against the mean of the others, by one precision, over the number of features.
    trials = pair(24, 5, 1)[0].reshape(6, 4, 5)
    covariance = np.diag([1.0, 2, 3, 4, 5]) + 0.5 if given else np.eye(5)
    precision = np.linalg.inv(covariance)
    theirs = np.zeros((6, 6))
    for fold in range(4):
        test, train = trials[:, fold], np.delete(trials, fold, axis=1).mean(axis=1)
        kernel = train @ precision @ test.T
        own = np.diag(kernel)
        theirs += (own[:, None] + own[None, :] - kernel - kernel.T) / 5 / 4
    ours = repscope.crossnobis(trials.reshape(24, 5), repeats=4, noise=covariance if given else "identity")
    np.testing.assert_allclose(ours / 5, theirs, rtol=1e-9, atol=1e-12)
