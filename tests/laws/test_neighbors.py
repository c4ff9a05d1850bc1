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
def test_chance_decides_alike_where_the_same_examples_are_equally_near(measure):
    # Copies of few examples: everything is tied, and the value is a function of the data alone.
    x, y = (np.repeat(z, 5, axis=0) for z in pair(6, 3, 4))
    value = float(measure(x, y, k=3))
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    np.testing.assert_allclose(measure(x @ rotation, y, k=3), value, rtol=1e-9)
    np.testing.assert_allclose(measure(x, x @ rotation, k=3), 1.0, rtol=1e-9)


@pytest.mark.parametrize(("n", "k", "levels"), [(60, 3, 5), (60, 3, 50), (200, 10, 1000), (7, 5, 2), (5, 3, 1)])
def test_the_fast_search_finds_the_nearest_in_their_order(n, k, levels):
    distances = np.random.default_rng(n).integers(0, levels, (n, n)).astype(float)
    others = np.where(np.eye(n, dtype=bool), np.inf, distances)
    found = neighbors.nearest_examples(distances, k)
    np.testing.assert_array_equal(np.take_along_axis(others, found, axis=1), np.sort(others, axis=1)[:, :k])
    assert all(len(set(row)) == k for row in found)
    np.testing.assert_array_equal(neighbors.nearest_examples(distances, k), found)  # chance with a seed
    if levels == 1000:
        untied = [len(set(row)) == n - 1 for row in np.sort(others, axis=1)[:, :-1]]
        np.testing.assert_array_equal(found[untied], np.argsort(others, axis=1)[untied, :k])


def test_tensors_and_arrays_have_the_same_neighbours():
    torch = pytest.importorskip("torch")
    for levels in (3, 10**9):
        distances = np.random.default_rng(levels).integers(0, levels, (50, 50)).astype(float)
        found = neighbors.nearest_examples(torch.from_numpy(distances), 6)
        np.testing.assert_array_equal(found.numpy(), neighbors.nearest_examples(distances, 6))


@pytest.mark.parametrize("measure", KNN, ids=lambda f: f.__name__)
def test_unrelated_classes_have_neighbours_in_common_by_chance_only(measure):
    # One-hot classes: some forty examples are equally near to each, of which ten count.
    rng = np.random.default_rng(0)
    scores = [measure(*(np.eye(5)[rng.integers(0, 5, 200)] for _ in range(2))) for _ in range(12)]
    chance = [measure(*(rng.standard_normal((200, 5)) for _ in range(2))) for _ in range(12)]
    assert np.mean(scores) == pytest.approx(np.mean(chance), abs=0.006)
    classes = np.eye(5)[rng.integers(0, 5, 200)]
    assert measure(classes, 3 * classes[:, ::-1]) == pytest.approx(1, abs=1e-12)


@pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")  # equal examples are what it is about
def test_the_permutation_test_of_unrelated_classes_finds_nothing():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(10):
        a, b = ({name: np.eye(5)[rng.integers(0, 5, 100)]} for name in "xy")
        test = repscope.permutation_test(a, b, measure="mutual_knn", permutations=99)
        found.append(test.comparison.p_values[0, 0])
    assert np.mean(found) > 0.3
    assert sorted(found)[1] > 0.02


@pytest.mark.parametrize("offset", [1e4, 1e6, 1e8])
@pytest.mark.parametrize("measure", ALL, ids=lambda f: f.__name__)
def test_examples_that_all_point_nearly_the_same_way_keep_their_neighbours(measure, offset):
    # Along the offset the cosine sees nothing; beside it, what Euclidean distances see.
    rng = np.random.default_rng(0)
    x, y = (np.column_stack([np.full(60, offset), rng.standard_normal((60, 4))]) for _ in range(2))
    beside = [z[:, 1:] for z in (x, y)]
    if measure in KNN:
        assert measure(x, y) == pytest.approx(measure(*beside, metric="euclidean"), abs=0.03)
    assert measure(x, y) < 0.9 * measure(x, x) or measure is repscope.second_order_cosine


def test_examples_that_all_point_the_same_way_have_no_neighbours():
    rng = np.random.default_rng(0)
    with pytest.warns(repscope.DegenerateInputWarning, match="all rows of x are equal"):
        assert np.isnan(repscope.mutual_knn(1 + rng.random((30, 1)), rng.standard_normal((30, 3))))


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
    for one, other, side in ((x, y, "x"), (y, x, "y")):
        expected = f"^{measure.__name__}: {side}: Cosine: every row must be non-zero, got zeros in row 7"
        with pytest.raises(repscope.InputError, match=expected):
            measure(one, other)
    with pytest.raises(repscope.InputError, match=r"^compare: a: dead: Cosine: every row must be non-zero"):
        repscope.compare({"dead": x}, {"other": y}, measure=measure.__name__)


def test_an_example_that_coincides_with_its_neighbours():
    # Five groups of four examples that point the same way: every neighbour is at distance zero.
    rng = np.random.default_rng(0)
    grouped = np.repeat(np.eye(5), 4, axis=0) * rng.uniform(1, 2, size=(20, 1))
    np.testing.assert_allclose(repscope.second_order_cosine(grouped, 2 * grouped, k=3), 1.0)
    assert 0 < repscope.second_order_cosine(grouped, rng.normal(size=(20, 5)), k=3) < 1
