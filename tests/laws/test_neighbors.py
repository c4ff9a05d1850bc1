"""Laws of the measures of nearest neighbours, and what they refuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import repscope
from repscope.measures import neighbors
from tests.measures.examples import pair

KNN = (repscope.mutual_knn, repscope.jaccard_knn, repscope.rank_similarity)
ALL = (*KNN, repscope.second_order_cosine)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_mean_over_all_orders_of_the_examples_is_k_over_n_less_one(metric):
    x, y = pair(6, 3, 4)
    scores = [repscope.mutual_knn(x, y[list(order)], k=2, metric=metric) for order in itertools.permutations(range(6))]
    np.testing.assert_allclose(np.mean(scores), 2 / 5, rtol=1e-12)


def test_jaccard_follows_from_the_share_in_common():
    x, y = pair(40, 5, 6)
    k = 4
    shares = []
    for i in range(40):  # one example at a time: scores of all are means
        others = [j for j in range(40) if j != i]
        near = [set(sorted(others, key=lambda j, z=z: np.linalg.norm(z[i] - z[j]))[:k]) for z in (x, y)]
        shares.append(len(near[0] & near[1]) / k)
    shares = np.array(shares)
    np.testing.assert_allclose(repscope.mutual_knn(x, y, k=k, metric="euclidean"), shares.mean(), rtol=1e-12)
    np.testing.assert_allclose(
        repscope.jaccard_knn(x, y, k=k, metric="euclidean"), (shares / (2 - shares)).mean(), rtol=1e-12
    )


@pytest.mark.parametrize("measure", ALL, ids=lambda f: f.__name__)
def test_of_equally_near_examples_the_first_is_the_nearer(measure):
    # Copies of few examples: everything is tied, and the value is a function of the data alone.
    x, y = (np.repeat(z, 5, axis=0) for z in pair(6, 3, 4))
    value = float(measure(x, y, k=3))
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    np.testing.assert_allclose(measure(x @ rotation, y, k=3), value, rtol=1e-9)
    np.testing.assert_allclose(measure(x, x @ rotation, k=3), 1.0, rtol=1e-9)


@pytest.mark.parametrize(("n", "k", "levels"), [(60, 3, 5), (60, 3, 50), (200, 10, 1000), (7, 5, 2), (5, 3, 1)])
def test_the_fast_search_finds_what_a_stable_sort_does(n, k, levels):
    distances = np.random.default_rng(n).integers(0, levels, (n, n)).astype(float)
    others = np.where(np.eye(n, dtype=bool), np.inf, distances)
    expected = np.argsort(others, axis=1, stable=True)[:, :k]
    np.testing.assert_array_equal(neighbors.nearest_examples(distances, k), expected)


@pytest.mark.parametrize("measure", ALL, ids=lambda f: f.__name__)
@pytest.mark.parametrize("k", [0, -1, 2.5, True, "10"])
def test_k_is_a_whole_number_from_one(measure, k):
    with pytest.raises(repscope.InputError, match=f"{measure.__name__}: k must be a whole number from 1, got {k!r}"):
        measure(*pair(30, 4, 6), k=k)


@pytest.mark.parametrize("measure", KNN, ids=lambda f: f.__name__)
def test_an_unknown_metric(measure):
    with pytest.raises(repscope.InputError, match=rf"{measure.__name__}: metric must be .* Did you mean 'euclidean'\?"):
        measure(*pair(30, 4, 6), metric="euclidian")


@pytest.mark.parametrize("measure", ALL, ids=lambda f: f.__name__)
def test_fewer_examples_than_neighbours(measure):
    with pytest.raises(repscope.InputError, match="must have at least 12 rows"):
        measure(*pair(11, 4, 6))


@pytest.mark.parametrize("measure", ALL, ids=lambda f: f.__name__)
def test_a_row_of_zeros_has_no_direction(measure):
    x, y = pair(30, 4, 6)
    x[7] = 0
    with pytest.raises(repscope.InputError, match="every row of x must be non-zero, got zeros in row 7"):
        measure(x, y)


def test_an_example_that_coincides_with_its_neighbours():
    # Five groups of four examples that point the same way: every neighbour is at distance zero.
    rng = np.random.default_rng(0)
    grouped = np.repeat(np.eye(5), 4, axis=0) * rng.uniform(1, 2, size=(20, 1))
    np.testing.assert_allclose(repscope.second_order_cosine(grouped, 2 * grouped, k=3), 1.0)
    assert 0 < repscope.second_order_cosine(grouped, rng.normal(size=(20, 5)), k=3) < 1
