from __future__ import annotations

import math
import operator

import numpy as np
import pytest

from repscope.errors import InputError
from repscope.studies.pairs import mean_over_pairs, rank_correlation
from tests.comparison.examples import comparison


def networks(rng, names="abc", layers=2):
    values = rng.random((len(names) * layers, len(names) * layers))
    labels = tuple(f"conv{i + 1}" for i in range(layers)) * len(names)
    models = tuple(name for name in names for _ in range(layers))
    return comparison(values, rows=labels, columns=labels, row_model=models, column_model=models)


def block(given, a, b):
    return given.between(a, b).values


def test_the_mean_is_over_ordered_pairs_of_different_networks(rng):
    given = networks(rng)
    mean = mean_over_pairs(given, "abc", names=("one", "other"))
    pairs = [(a, b) for a in "abc" for b in "abc" if a != b]
    np.testing.assert_allclose(mean.values, np.mean([block(given, a, b) for a, b in pairs], axis=0))
    assert mean.pairs == 6
    assert mean.comparison.row_models == ("one", "one")
    assert mean.comparison.column_models == ("other", "other")
    assert mean.comparison.details["averaged over"] == "6 pairs of networks"


def test_the_standard_error_leaves_out_one_network_at_a_time(rng):
    given = networks(rng)
    partial = [
        np.mean([block(given, a, b) for a in kept for b in kept if a != b], axis=0) for kept in ("bc", "ac", "ab")
    ]
    expected = np.sqrt(2 / 3 * np.sum((partial - np.mean(partial, axis=0)) ** 2, axis=0))
    mean = mean_over_pairs(given, "abc")
    np.testing.assert_allclose(mean.errors, expected)
    np.testing.assert_allclose(mean.same_layer_errors, np.diagonal(expected))
    np.testing.assert_allclose(mean.same_layer, np.diagonal(mean.values))


def test_errors_of_two_groups_add_up(rng):
    given = networks(rng, "abcd")
    mean = mean_over_pairs(given, "ab", "cd")
    rows = [np.mean([block(given, a, b) for b in "cd"], axis=0) for a in "ba"]
    columns = [np.mean([block(given, a, b) for a in "ab"], axis=0) for b in "dc"]
    variance = sum(np.sum((side - np.mean(side, axis=0)) ** 2, axis=0) / 2 for side in (rows, columns))
    np.testing.assert_allclose(mean.errors, np.sqrt(variance))
    assert mean.pairs == 4


def test_too_few_networks_leave_the_error_unknown(rng):
    assert np.isnan(mean_over_pairs(networks(rng), "ab").errors).all()
    assert np.isnan(mean_over_pairs(networks(rng), "ab", "c").errors).all()


def test_networks_can_be_compared_with_themselves(rng):
    given = networks(rng)
    mean = mean_over_pairs(given, "abc", pairs=operator.eq)
    np.testing.assert_allclose(mean.values, np.mean([block(given, a, a) for a in "abc"], axis=0))
    assert mean.pairs == 3


def test_no_pair_is_refused(rng):
    with pytest.raises(InputError, match=r"must hold a pair to be averaged, got \['a'\] and \['a'\]"):
        mean_over_pairs(networks(rng), "a")


def test_rank_correlation_is_that_of_scipy(rng):
    scipy = pytest.importorskip("scipy.stats")
    for _ in range(5):
        x, y = rng.integers(0, 6, 20), rng.integers(0, 6, 20)
        np.testing.assert_allclose(rank_correlation(x, y), scipy.spearmanr(x, y).statistic)
    assert rank_correlation([1, 2, 3], [10, 100, 1000]) == pytest.approx(1)
    assert math.isnan(rank_correlation([1, 2, 3], [5, 5, 5]))
