"""Noise ceilings: nothing exceeds the upper bound, and the lower one is what the others predict."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import repscope
from repscope import InputError
from repscope.measures.rsa import COMPARISONS
from tests.reference import rsa as reference

KNOWN = [compare for compare in COMPARISONS if compare != "tau_a"]


def group(subjects=4, n=7, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 3))
    return [common @ rng.normal(size=(3, p)) + 0.7 * rng.normal(size=(n, p)) for p in range(3, 3 + subjects)]


def rdms(layers):
    return [reference.rdm_of(x, "euclidean", 1, "shrunk") for x in layers]


def symmetric(entries, n):
    matrix = np.zeros((n, n))
    matrix[np.triu_indices(n, 1)] = entries
    return matrix + matrix.T


@pytest.mark.parametrize("compare", KNOWN)
def test_no_dissimilarities_score_more_than_the_upper_bound(compare):
    layers = group()
    n, given = 7, rdms(layers)
    ceiling = repscope.noise_ceiling(layers, rdm="euclidean", compare=compare)
    rng = np.random.default_rng(1)

    def mean_score(entries):
        return np.mean([reference.compared(symmetric(entries, n), matrix, compare) for matrix in given])

    places = np.triu_indices(n, 1)
    stacked = np.array([matrix[places] for matrix in given])
    ranked = np.argsort(np.argsort(stacked, axis=1), axis=1)
    starts = [stacked.mean(axis=0), ranked.mean(axis=0), *stacked]
    best = -np.inf
    for start in starts:
        for _ in range(60):
            best = max(best, mean_score(start + rng.choice([0, 0.01, 0.1, 1.0]) * rng.normal(size=start.shape)))
    # Ties, which may help a correlation of ranks: the two middle ones of the mean made equal.
    for i, j in itertools.combinations(range(len(places[0])), 2):
        tied = ranked.mean(axis=0).copy()
        tied[i] = tied[j] = (tied[i] + tied[j]) / 2
        best = max(best, mean_score(tied))
    assert best <= ceiling.upper + 1e-12
    assert ceiling.upper - best < 0.02
    assert ceiling.lower < ceiling.upper < 1


@pytest.mark.parametrize("compare", ["pearson", "cosine", "cosine_cov", "corr_cov"])
def test_the_lower_bound_is_the_score_of_the_others(compare):
    layers = group()
    ceiling = repscope.noise_ceiling(
        {f"s{k}": x for k, x in enumerate(layers)}, rdm="squared_euclidean", compare=compare
    )
    assert ceiling.subjects == ("s0", "s1", "s2", "s3")
    given = [matrix**2 for matrix in rdms(layers)]

    def unit(matrix):
        # Of unit length in the comparison's own product, which the score with itself shows.
        pairs = matrix[np.triu_indices(7, 1)]
        pairs = pairs - pairs.mean() if compare in ("pearson", "corr_cov") else pairs
        inverse = np.linalg.inv(reference.covariance_of_pairs(7)) if compare.endswith("cov") else np.eye(len(pairs))
        return pairs / np.sqrt(pairs @ inverse @ pairs)

    for k in range(4):
        others = symmetric(sum(unit(matrix) for j, matrix in enumerate(given) if j != k), 7)
        np.testing.assert_allclose(ceiling.lower_each[k], reference.compared(given[k], others, compare), rtol=1e-9)
        everyone = symmetric(sum(unit(matrix) for matrix in given), 7)
        np.testing.assert_allclose(ceiling.upper_each[k], reference.compared(given[k], everyone, compare), rtol=1e-9)
    np.testing.assert_allclose([ceiling.lower, ceiling.upper], [ceiling.lower_each.mean(), ceiling.upper_each.mean()])


def test_with_ranks_the_others_are_ranked_again_for_rho_only():
    layers = group()
    ranked = [np.argsort(np.argsort(m[np.triu_indices(7, 1)])) + 1.0 for m in rdms(layers)]
    rho = repscope.noise_ceiling(layers, rdm="euclidean", compare="rho_a")
    spearman = repscope.noise_ceiling(layers, rdm="euclidean", compare="spearman")
    for k in range(4):
        others = sum(r for j, r in enumerate(ranked) if j != k)
        matrix = symmetric(ranked[k], 7)
        expected = reference.compared(matrix, symmetric(others, 7), "rho_a")
        np.testing.assert_allclose(rho.lower_each[k], expected, rtol=1e-9)
        np.testing.assert_allclose(spearman.lower_each[k], np.corrcoef(ranked[k], others)[0, 1], rtol=1e-9)


def test_of_equal_subjects_it_is_1_and_of_opposite_ones_0():
    x = group()[0]
    for compare in KNOWN:
        same = repscope.noise_ceiling([x, x, 2 * x], rdm="euclidean", compare=compare)
        np.testing.assert_allclose([same.lower, same.upper], 1.0, rtol=1e-12)
    line, ends = np.array([[0.0], [1.0], [3.0]]), np.array([[2.0], [1.0], [0.0]])
    opposite = repscope.noise_ceiling([line, ends], rdm="euclidean", compare="pearson")
    assert opposite.lower < opposite.upper


def test_repeats_serve_it_too():
    rng = np.random.default_rng(5)
    trials = [np.repeat(x, 4, axis=0) + rng.normal(size=(28, x.shape[1])) for x in group()]
    ceiling = repscope.noise_ceiling(trials, rdm="crossnobis", compare="cosine_cov", repeats=4)
    np.testing.assert_allclose(
        repscope.noise_ceiling(trials[:2], rdm="crossnobis", compare="cosine_cov", repeats=4).lower_each,
        repscope.rsa(trials[0], trials[1], rdm="crossnobis", compare="cosine_cov", repeats=4),
        rtol=1e-9,
    )
    assert ceiling.lower < ceiling.upper


@pytest.mark.parametrize(
    ("subjects", "options", "words"),
    [
        (np.eye(4), {}, "subjects must be a mapping of names to representations, or a list of them, got ndarray"),
        ([np.eye(4)], {}, r"subjects must be two or more, got 1\. The ceiling"),
        ({1: np.eye(4), "1": np.eye(4)}, {}, r"subjects must have keys with names of their own, got 1 and '1'"),
        ([np.eye(5), np.eye(4)], {}, r"the same number of rows .* got {'1': 5, '2': 4}\. Leave out"),
        ({"a": group()[0], "b": np.eye(7)}, {"rdm": "euclidean"}, "the examples of subject 'b' must differ, got equal"),
        (group(), {"compare": "tau_a"}, r"a best dissimilarity matrix that is known, got 'tau_a'\. Use 'rho_a'"),
        (group(), {"compare": "tau"}, "noise_ceiling: compare must be one of"),
        ([np.eye(2), np.eye(2)], {}, "noise_ceiling: subject '1' must have at least 3 rows"),
    ],
    ids=str,
)
def test_what_cannot_be_a_group(subjects, options, words):
    with pytest.raises(InputError, match=words):
        repscope.noise_ceiling(subjects, **options)
