"""Every dissimilarity with every comparison equals its transcription; what ties them to CKA, and what they refuse."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

import repscope
from repscope.inference.permutation import of_rows
from repscope.measures.catalog import configure
from repscope.measures.crossnobis import NOISES
from repscope.measures.measure import Invariance
from repscope.measures.rsa import COMPARISONS, DISSIMILARITIES
from tests.measures.examples import pair
from tests.reference import rsa as reference

EVERY = list(itertools.product(DISSIMILARITIES, COMPARISONS))


def repeats_for(rdm):
    """How often each example is shown."""
    return {"repeats": 4} if rdm == "crossnobis" else {}


@pytest.mark.parametrize(("rdm", "compare"), EVERY, ids="-".join)
@pytest.mark.parametrize("shape", [(12, 4, 6), (8, 10, 3)], ids=str)
def test_equals_its_reference(shape, rdm, compare):
    more = repeats_for(rdm)
    n, p, q = shape
    x, y = pair(n * more.get("repeats", 1), p, q)
    if rdm == "mahalanobis":  # with as many features as examples all would be equally far apart
        x = x[:, :4]
    expected = reference.rsa(x, y, rdm=rdm, compare=compare, **more)
    np.testing.assert_allclose(repscope.rsa(x, y, rdm=rdm, compare=compare, **more), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("compare", ["spearman", "rho_a", "tau_a"])
def test_ties_are_treated_as_stated(compare):
    # Whole numbers of one feature: many equal distances.
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 4, size=(12, 1)).astype(float) for _ in range(2))
    expected = reference.rsa(x, y, rdm="euclidean", compare=compare)
    np.testing.assert_allclose(repscope.rsa(x, y, rdm="euclidean", compare=compare), expected, rtol=1e-9)


@pytest.mark.parametrize("rdm", ["correlation", "cosine", "euclidean", "squared_euclidean", "mahalanobis"])
def test_dissimilarities_that_differ_by_rounding_are_ties(rdm):
    # Of seven classes all pairs of two are equally far apart, but in floating point not quite.
    rng = np.random.default_rng(0)
    x = np.eye(7)[rng.integers(0, 7, 60)]
    x[0] = [1, 1, 0, 0, 0, 0, 0]
    moved, order = x[:, rng.permutation(7)], rng.permutation(60)
    assert repscope.rsa(x, moved, rdm=rdm) == pytest.approx(1, abs=1e-12)
    assert repscope.rsa(x, 3 * moved, rdm=rdm) == pytest.approx(1, abs=1e-12)
    for compare in ("spearman", "rho_a", "tau_a"):
        same = repscope.rsa(x, x, rdm=rdm, compare=compare)
        assert repscope.rsa(x, moved, rdm=rdm, compare=compare) == pytest.approx(same, abs=1e-12)
        assert repscope.rsa(x[order], moved[order], rdm=rdm, compare=compare) == pytest.approx(same, abs=1e-12)


def test_tensors_and_arrays_have_the_same_ties():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x, y = (np.eye(5)[rng.integers(0, 5, 40)] @ rng.standard_normal((5, 9)) for _ in range(2))
    for compare in ("spearman", "rho_a", "tau_a"):
        expected = repscope.rsa(x, y, compare=compare)
        assert float(repscope.rsa(torch.tensor(x), torch.tensor(y), compare=compare)) == pytest.approx(
            expected, abs=1e-12
        )


@pytest.mark.parametrize("shape", [(30, 4, 6), (12, 30, 25)], ids=str)
def test_whitened_cosine_of_squared_distances_is_biased_linear_cka(shape):
    x, y = pair(*shape)
    expected = repscope.cka(x, y, estimator="biased")
    value = repscope.rsa(x, y, rdm="squared_euclidean", compare="cosine_cov")
    np.testing.assert_allclose(value, expected, rtol=1e-10)


@pytest.mark.parametrize(("rdm", "compare"), EVERY, ids="-".join)
def test_the_mean_over_all_orders_of_the_examples_is_zero_for_correlations(rdm, compare):
    if compare in ("cosine", "cosine_cov"):
        return  # of positive numbers: never zero
    more = repeats_for(rdm)
    repeats = more.get("repeats", 1)
    x, y = pair(5 * repeats, 2, 3)
    orders = of_rows(np.array(list(itertools.permutations(range(5)))), repeats)
    scores = [repscope.rsa(x, y[order], rdm=rdm, compare=compare, **more) for order in orders]
    np.testing.assert_allclose(np.mean(scores), 0.0, atol=1e-9)


@pytest.mark.parametrize(
    "options",
    [{"rdm": rdm, **repeats_for(rdm)} for rdm in DISSIMILARITIES]
    + [
        {"rdm": rdm, "noise": noise, "repeats": 4, "compare": "pearson"}
        for rdm in ("mahalanobis", "crossnobis")
        for noise in NOISES
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_invariances_of_every_dissimilarity_and_noise(options):
    measure = configure("rsa", **options)
    x, y = pair(40, 5, 6)
    rng = np.random.default_rng(3)
    before = float(measure(x, y))
    moved = {
        Invariance.PERMUTATION: x[:, ::-1],
        Invariance.ORTHOGONAL: x @ np.linalg.qr(rng.normal(size=(5, 5)))[0],
        Invariance.ISOTROPIC_SCALING: 3.0 * x,
        Invariance.TRANSLATION: x + rng.normal(size=5),
        Invariance.INVERTIBLE_LINEAR: x @ rng.normal(size=(5, 5)),
    }
    for invariance, transformed in moved.items():
        same = abs(float(measure(transformed, y)) - before) < 1e-9
        assert same == (invariance in measure.facts.invariances_x), invariance


def test_examples_without_a_direction():
    x, y = pair(30, 4, 6)
    for value, rdm, words in (
        (2.0, "correlation", "features of every example must differ .* got equal ones in row 3"),
        (0.0, "cosine", "rsa: x: Cosine: every row must be non-zero, got zeros in row 3"),
    ):
        bad = x.copy()
        bad[3] = value
        with pytest.raises(repscope.InputError, match=words):
            repscope.rsa(bad, y, rdm=rdm)
    with pytest.raises(repscope.InputError, match="at least 2 features for rdm='correlation'"):
        repscope.rsa(x[:, :1], y)


def test_equally_far_apart_is_nothing_to_correlate():
    simplex, y = np.eye(12), pair(12, 3, 4)[1]
    for compare in ("spearman", "pearson", "rho_a", "tau_a", "corr_cov"):
        with pytest.warns(repscope.DegenerateInputWarning, match="all rows of x are equal, or equally far apart"):
            assert np.isnan(repscope.rsa(simplex, y, rdm="euclidean", compare=compare))
    assert np.isfinite(repscope.rsa(simplex, y, rdm="euclidean", compare="cosine"))


def test_unknown_words():
    x, y = pair(30, 4, 6)
    with pytest.raises(repscope.InputError, match=r"rsa: rdm must be .* Did you mean 'euclidean'\?"):
        repscope.rsa(x, y, rdm="euclid")
    with pytest.raises(repscope.InputError, match=r"rsa: compare must be .* Did you mean 'spearman'\?"):
        repscope.rsa(x, y, compare="sperman")


def test_tau_without_scipy_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(repscope.MissingExtraError, match="scipy"):
        repscope.rsa(*pair(30, 4, 6), compare="tau_a")
