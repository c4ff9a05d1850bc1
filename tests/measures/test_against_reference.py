"""Every measure with every option equals the slow transcription of its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

import repscope
from repscope import RBF, Cosine, Laplace, Linear, Polynomial
from repscope.measures import hsic
from repscope.measures.catalog import configure
from tests.measures.examples import (
    ALL,
    NARROW,
    WIDE,
    fitting,
    label,
    needs_many_examples,
    pair,
    reference_gram,
    reference_score,
    ties,
)
from tests.reference import cca as reference_cca
from tests.reference import hsic as reference_hsic
from tests.reference import kernels as reference_kernels


def rounding(measure):
    """What a score near 0 may be off by: a few last digits of numbers as large as the range, where that has an end."""
    high = measure.facts.range[1]
    return max(1e-12, 1e-15 * high) if math.isfinite(high) else 1e-12


@pytest.mark.parametrize(
    ("measure", "shape"),
    [pytest.param(m, s, id=f"{label(m)}-{s}") for m in ALL for s in NARROW if not ties(m, s)],
)
def test_equals_its_reference(measure, shape):
    x, y = pair(fitting(measure, shape[0]), *shape[1:])
    np.testing.assert_allclose(measure(x, y), reference_score(measure, x, y), rtol=1e-9, atol=rounding(measure))


@pytest.mark.parametrize("shape", WIDE, ids=str)
@pytest.mark.parametrize("measure", [m for m in ALL if not needs_many_examples(m)], ids=label)
def test_equals_its_reference_when_features_outnumber_examples(measure, shape):
    x, y = pair(fitting(measure, shape[0]), *shape[1:])
    np.testing.assert_allclose(measure(x, y), reference_score(measure, x, y), rtol=1e-9, atol=rounding(measure))


@pytest.mark.parametrize("kappa", [(0.0, 0.0), (0.0, 3.0), (2.0, 0.5), (math.inf, 0.0), (7.0, math.inf)], ids=str)
@pytest.mark.parametrize("normalizer", ["matched", "truncated", "full"])
@pytest.mark.parametrize("shape", [(30, 4, 6), (30, 6, 4)], ids=str)
def test_every_normalizer_of_the_canonical_ridge(shape, normalizer, kappa):
    x, y = pair(*shape)
    options = {"kappa_x": kappa[0], "kappa_y": kappa[1], "normalizer": normalizer}
    expected = reference_cca.canonical_ridge(x, y, **options)
    np.testing.assert_allclose(repscope.canonical_ridge(x, y, **options), expected, rtol=1e-9)


@pytest.mark.parametrize("variance", [0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("summary", ["r2", "mean"])
def test_every_cut_of_svcca(variance, summary):
    x, y = pair(60, 8, 12)
    expected = reference_cca.svcca(x, y, variance=variance, summary=summary)
    np.testing.assert_allclose(repscope.svcca(x, y, variance=variance, summary=summary), expected, rtol=1e-9)


@pytest.mark.parametrize("shape", NARROW, ids=str)
def test_canonical_correlations_are_all_there_and_descend(shape):
    x, y = pair(*shape)
    correlations = repscope.canonical_correlations(x, y)
    assert correlations.shape == (min(shape[1:]),)
    assert np.all(np.diff(correlations) <= 0)
    np.testing.assert_allclose(correlations, reference_cca.correlations(x, y), rtol=1e-9, atol=1e-12)


def test_canonical_correlations_are_cosines_of_scipys_principal_angles():
    linalg = pytest.importorskip("scipy.linalg")
    x, y = pair(50, 6, 9)
    angles = linalg.subspace_angles(x - x.mean(axis=0), y - y.mean(axis=0))
    np.testing.assert_allclose(np.sort(np.arccos(repscope.canonical_correlations(x, y))), np.sort(angles), rtol=1e-8)


@pytest.mark.parametrize(
    "kernel",
    [
        RBF(0.2),
        RBF(0.8, median="off-diagonal"),
        RBF(sigma=1.5),
        Laplace(0.5),
        Laplace(2.0, median="off-diagonal"),
        Laplace(sigma=3.0),
        Polynomial(2, constant=0.0),
        Polynomial(4, constant=2.0, gamma=0.1),
        Cosine(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_every_parameter_of_a_kernel(kernel, estimator):
    x, y = pair(21, 5, 30)
    grams = {"gram_x": reference_gram(kernel, x), "gram_y": reference_gram(kernel, y)}
    np.testing.assert_allclose(kernel.gram(x), grams["gram_x"], rtol=1e-10)
    expected = reference_hsic.cka(x, y, **grams, estimator=estimator)
    np.testing.assert_allclose(repscope.cka(x, y, kernel=kernel, estimator=estimator), expected, rtol=1e-9)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("rule", ["all", "off-diagonal"])
def test_median_distance_for_even_and_odd_counts(n, rule):
    x, _ = pair(n, 3, 1)
    expected = reference_kernels.bandwidth_squared(x, 1.0, rule)
    gram = RBF(1.0, median=rule).gram(x)
    np.testing.assert_allclose(-0.5 * reference_kernels.squared_distances(x)[0, 1] / np.log(gram[0, 1]), expected)


def test_linear_gram_is_the_product_of_centred_features():
    x, _ = pair(9, 4, 1)
    expected = reference_kernels.linear(reference_kernels.centered(x))
    np.testing.assert_allclose(Linear().gram(x), expected, rtol=1e-12, atol=1e-12)


def test_a_callable_serves_as_a_kernel():
    x, y = pair(20, 4, 7)

    def laplace_of_blocks(z):
        return np.exp(-np.abs(z[:, None, :] - z[None, :, :]).sum(axis=2) / 10)

    grams = {"gram_x": laplace_of_blocks(x), "gram_y": laplace_of_blocks(y)}
    for estimator in ("unbiased", "biased"):
        expected = reference_hsic.hsic(x, y, **grams, estimator=estimator)
        np.testing.assert_allclose(repscope.hsic(x, y, kernel=laplace_of_blocks, estimator=estimator), expected)


def test_a_callable_may_return_whole_numbers():
    x = np.arange(12).reshape(6, 2)
    np.testing.assert_allclose(
        repscope.cka(x, x**2, kernel=lambda z: (z @ z.T).astype(np.int64), estimator="biased"),
        repscope.cka(x, x**2, estimator="biased"),
    )


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("shape", [*NARROW, *WIDE], ids=str)
def test_gram_and_feature_form_are_one_number(shape, estimator):
    x, y = pair(*shape)
    forms = {
        form: [hsic.prepare(z, estimator=estimator, form=form) for z in (x, y)] for form in ("features", "gram", "auto")
    }
    values = {form: hsic.score(*states) for form, states in forms.items()}
    scale = np.sqrt(float(forms["gram"][0].self_product) * float(forms["gram"][1].self_product))
    scale *= forms["gram"][0].unit * forms["gram"][1].unit
    np.testing.assert_allclose(values["features"], values["gram"], rtol=1e-12, atol=1e-13 * scale)
    np.testing.assert_allclose(values["auto"], values["gram"], rtol=1e-12, atol=1e-13 * scale)
    mixed = hsic.score(forms["features"][0], forms["gram"][1])
    np.testing.assert_allclose(mixed, values["gram"], rtol=1e-12, atol=1e-13 * scale)


def test_both_estimates_of_the_biased_reference_agree():
    x, y = pair(9, 3, 4)
    K, L = reference_kernels.linear(x), reference_kernels.linear(y)
    np.testing.assert_allclose(reference_hsic.biased(K, L), reference_hsic.biased_by_sums(K, L))


def test_score_of_prepared_states_equals_the_function():
    x, y = pair(30, 4, 6)
    for measure in ALL:
        np.testing.assert_allclose(measure.score(measure.prepare(x), measure.prepare(y)), measure(x, y), rtol=1e-12)


def test_score_by_id_equals_the_function():
    x, y = pair(30, 4, 6)
    assert repscope.score("procrustes", x, y, kind="cosine") == repscope.procrustes(x, y, kind="cosine")
    assert repscope.score(configure("cka", estimator="biased"), x, y) == repscope.cka(x, y, estimator="biased")
