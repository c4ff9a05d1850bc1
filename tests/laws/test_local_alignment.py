"""Laws of CKNNA and of cycles of neighbours: their limits, their averages, and that nothing bounds CKNNA."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import repscope
from repscope import DegenerateInputWarning, InputError
from tests.measures.examples import pair
from tests.reference.neighbors import nearest


@pytest.mark.parametrize("shape", [(12, 4, 6), (30, 6, 4), (9, 20, 3)], ids=str)
def test_cknna_of_all_neighbours_is_unbiased_cka_of_cosines(shape):
    x, y = pair(*shape)
    expected = repscope.cka(x, y, kernel="cosine")
    np.testing.assert_allclose(repscope.cknna(x, y, k=shape[0] - 1), expected, rtol=1e-9)


def test_neighbours_of_neighbours_need_not_be_mutual_so_cknna_has_an_order():
    x, y = pair(40, 6, 7)
    near = nearest(x, 3, "cosine")
    mutual = [[i in near[j] for j in near[i]] for i in range(40)]
    assert not all(itertools.chain(*mutual))
    assert 1e-4 < abs(float(repscope.cknna(x, y, k=3)) - float(repscope.cknna(y, x, k=3))) < 1e-2


def test_nothing_bounds_cknna_of_few_examples():
    rng = np.random.default_rng(0)
    values = []
    for _ in range(200):
        x, y = rng.normal(size=(7, 1)), rng.normal(size=(7, 2)) + 1
        if abs(np.sign(x).sum()) == len(x):
            continue  # all parallel
        values.append(float(repscope.cknna(x, y, k=5)))
    assert max(values) > 1.2
    assert min(values) < -0.2


def test_cknna_without_common_neighbours_is_zero():
    # Two rings, each example next to those of its own ring in x and of the other numbering in y.
    angles = np.arange(8) * 2 * math.pi / 8
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert float(repscope.cknna(ring, ring[[0, 3, 6, 1, 4, 7, 2, 5]], k=2)) == 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_examples_that_are_all_equally_similar_have_no_cknna(dtype):
    other = pair(8, 3, 1)[0].astype(dtype)
    for simplex, k in ((np.eye(8), 3), (np.eye(8) + 0.5, 7)):
        for x, y, side in ((simplex, other, "x"), (other, simplex, "y")):
            with pytest.warns(DegenerateInputWarning, match=f"cknna: all neighbours in {side} are equally similar"):
                assert np.isnan(repscope.cknna(x.astype(dtype), y.astype(dtype), k=k))


def test_cknna_needs_two_neighbours_and_one_example_more():
    with pytest.raises(InputError, match=r"cknna: k must be at least 2, got 1\. Use 10"):
        repscope.cknna(*pair(30, 4, 6), k=1)
    with pytest.raises(InputError, match="cknna: x must have at least 11 rows"):
        repscope.cknna(*pair(10, 4, 6))
    with pytest.raises(InputError, match="cknna: x must have at least 4 rows"):
        repscope.cknna(*pair(3, 4, 6), k=2)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_mean_of_cycles_over_all_orders_of_the_examples(k, metric):
    n = 6
    x, y = pair(n, 3, 4)
    near = nearest(x, k, metric)
    popular = [sum(i in neighbors for neighbors in near) for i in range(n)]
    expected = np.mean([1 - math.comb(n - 1 - m, k) / math.comb(n - 1, k) for m in popular])
    orders = itertools.permutations(range(n))
    scores = [float(repscope.cycle_knn(x, y[list(order)], k=k, metric=metric)) for order in orders]
    np.testing.assert_allclose(np.mean(scores), expected, rtol=1e-12)


def test_an_example_that_is_nobodys_neighbour_has_no_way_back():
    x = np.array([[0.0], [1.0], [2.1], [3.3], [100.0]])
    assert float(repscope.cycle_knn(x, x, k=1, metric="euclidean")) == pytest.approx(2 / 5)
    assert float(repscope.cycle_knn(x, x, k=3, metric="euclidean")) == pytest.approx(4 / 5)


def test_more_neighbours_make_more_ways_back():
    x, y = pair(40, 5, 6)
    scores = [float(repscope.cycle_knn(x, y, k=k)) for k in range(1, 39)]
    assert np.all(np.diff(scores) >= 0)
    assert scores[-1] == 1.0


@pytest.mark.parametrize("measure", [repscope.cknna, repscope.cycle_knn], ids=lambda f: f.__name__)
def test_of_equally_near_examples_the_first_is_the_nearer(measure):
    x, y = (np.repeat(z, 5, axis=0) for z in pair(6, 3, 4))
    value = float(measure(x, y, k=3))
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    np.testing.assert_allclose(measure(x @ rotation, y, k=3), value, rtol=1e-9)


@pytest.mark.parametrize("measure", [repscope.cknna, repscope.cycle_knn], ids=lambda f: f.__name__)
@pytest.mark.parametrize("k", [0, 2.5, True, "10"])
def test_k_is_a_whole_number_from_one(measure, k):
    with pytest.raises(InputError, match=f"{measure.__name__}: k must be a whole number from 1, got {k!r}"):
        measure(*pair(30, 4, 6), k=k)
