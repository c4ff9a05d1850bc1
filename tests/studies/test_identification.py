from __future__ import annotations

import math

import numpy as np
import pytest

from repscope.errors import InputError
from repscope.studies.identification import (
    Identification,
    compare_identification,
    identification_accuracy,
    jackknife_standard_error,
    symmetrised,
)


def from_matches(matches, layers):
    """Build similarities in which the best match of layer i of a in b is ``matches[a, b, i]``."""
    matches = np.asarray(matches)
    return np.eye(layers)[matches]


def accuracy_by_loops(similarity):
    m, _, layers, _ = similarity.shape
    right = cases = 0
    for a in range(m):
        for b in range(m):
            if a == b:
                continue
            for i in range(layers):
                row = list(similarity[a, b, i])
                right += row.index(max(row)) == i
                cases += 1
    return right / cases


def test_perfect_and_all_wrong():
    assert identification_accuracy(np.broadcast_to(np.eye(9), (4, 4, 9, 9))) == 1
    assert identification_accuracy(np.broadcast_to(np.roll(np.eye(9), 1, axis=1), (4, 4, 9, 9))) == 0


def test_agrees_with_loops_on_random_scores():
    scores = np.random.default_rng(0).normal(size=(5, 5, 7, 7))
    expected = accuracy_by_loops(scores)
    assert 0 < expected < 1
    np.testing.assert_allclose(identification_accuracy(scores), expected, rtol=1e-12)


def test_unrelated_scores_are_at_chance():
    scores = np.random.default_rng(1).normal(size=(40, 40, 9, 9))
    # 40 · 39 · 9 independent cases: four standard errors of the share are 0.011.
    np.testing.assert_allclose(identification_accuracy(scores), 1 / 9, atol=0.011)


def test_constant_scores_are_exactly_at_chance():
    np.testing.assert_allclose(identification_accuracy(np.ones((3, 3, 9, 9))), 1 / 9, rtol=1e-12)


def test_ties_up_to_rounding_share_the_credit():
    rows = np.array([[1.0, 1.0 - 1e-15, 0.2], [0.1, 0.5, 0.5], [0.7, 0.7, 0.1]])
    scores = np.broadcast_to(rows, (2, 2, 3, 3))
    np.testing.assert_allclose(identification_accuracy(scores), (1 / 2 + 1 / 2 + 0) / 3, rtol=1e-12)
    np.testing.assert_allclose(identification_accuracy(-scores, kind="distance"), 1 / 3, rtol=1e-12)


def test_the_same_place_within_a_network_does_not_count():
    scores = np.broadcast_to(np.roll(np.eye(3), 1, axis=1), (3, 3, 3, 3)).copy()
    scores[np.arange(3), np.arange(3)] = np.eye(3)
    assert identification_accuracy(scores) == 0
    scores[np.arange(3), np.arange(3)] = np.nan
    assert identification_accuracy(scores) == 0


def test_a_row_with_nan_is_wrong():
    scores = np.broadcast_to(np.eye(4), (2, 2, 4, 4)).copy()
    scores[0, 1, 2, 0] = np.nan
    assert identification_accuracy(scores) == 7 / 8
    assert identification_accuracy(np.full((2, 2, 4, 4), np.nan)) == 0


def test_rows_are_layers_of_the_first_network():
    scores = np.zeros((2, 2, 2, 2))
    scores[0, 1] = [[3, 2], [2, 1]]  # layer 0 of a finds layer 0; layer 1 of a finds layer 0
    scores[1, 0] = [[1, 2], [3, 4]]  # layer 0 finds layer 1; layer 1 finds layer 1
    assert identification_accuracy(scores) == 2 / 4
    assert identification_accuracy(scores, kind="distance") == 2 / 4
    scores[1, 0] = [[1, 2], [4, 3]]
    assert identification_accuracy(scores) == 1 / 4
    assert identification_accuracy(scores, kind="distance") == 3 / 4


def test_negative_similarities_are_ordered_like_others():
    scores = -1 - np.broadcast_to(1 - np.eye(3), (2, 2, 3, 3))
    assert identification_accuracy(scores) == 1


def test_symmetrised_adds_the_score_of_the_exchanged_pair():
    scores = np.random.default_rng(2).normal(size=(3, 3, 4, 4))
    total = symmetrised(scores)
    for a, b, i, j in np.ndindex(3, 3, 4, 4):
        assert total[a, b, i, j] == scores[a, b, i, j] + scores[b, a, j, i]
    np.testing.assert_array_equal(total, total.transpose(1, 0, 3, 2))


def test_jackknife_leaves_out_one_network_at_a_time():
    scores = np.random.default_rng(3).normal(size=(5, 5, 6, 6))
    partial = [accuracy_by_loops(np.delete(np.delete(scores, k, axis=0), k, axis=1)) for k in range(len(scores))]
    expected = math.sqrt(4 / 5 * sum((a - sum(partial) / 5) ** 2 for a in partial))
    np.testing.assert_allclose(jackknife_standard_error(scores), expected, rtol=1e-12)


def test_jackknife_error_is_zero_when_all_networks_agree():
    assert jackknife_standard_error(np.broadcast_to(np.eye(4), (3, 3, 4, 4))) == 0


def test_jackknife_is_the_standard_error_of_a_mean_where_the_accuracy_is_one():
    # Accuracy of a's rows depends on a alone: a mean over networks, for which the jackknife is s / √m.
    shares = np.array([1.0, 0.5, 0.0, 0.25])
    matches = np.array([[np.where(np.arange(4) < 4 * s, np.arange(4), (np.arange(4) + 1) % 4)] * 4 for s in shares])
    scores = from_matches(matches, 4)
    np.testing.assert_allclose(identification_accuracy(scores), shares.mean(), rtol=1e-12)
    np.testing.assert_allclose(jackknife_standard_error(scores), shares.std(ddof=1) / 2, rtol=1e-12)


def test_the_best_measure_and_its_equals_are_marked():
    perfect = np.broadcast_to(np.eye(4), (4, 4, 4, 4))
    wrong = np.roll(perfect, 1, axis=3)
    result = compare_identification({"good": perfect, "bad": wrong, "twin": 2 * perfect})
    assert list(result) == ["good", "bad", "twin"]
    assert result["good"] == result["twin"] == Identification(1.0, 0.0, 1.0, True)
    assert result["bad"] == Identification(0.0, 0.0, 0.0, False)


def test_the_z_test_is_on_jackknifed_differences():
    rng = np.random.default_rng(4)
    better = rng.normal(size=(6, 6, 5, 5)) + 1.5 * np.eye(5)
    worse = rng.normal(size=(6, 6, 5, 5)) + 1.2 * np.eye(5)
    difference = accuracy_by_loops(better) - accuracy_by_loops(worse)
    assert difference > 0
    without = [np.ix_(np.delete(range(6), k), np.delete(range(6), k)) for k in range(6)]
    partial = np.array([accuracy_by_loops(better[w]) - accuracy_by_loops(worse[w]) for w in without])
    z = difference / math.sqrt(5 * partial.var())
    p = math.erfc(z / math.sqrt(2))
    result = compare_identification({"worse": worse, "better": better})["worse"]
    np.testing.assert_allclose(result.p_value, p, rtol=1e-9)
    assert result.among_best == (p >= 0.05)
    just_significant = compare_identification({"worse": worse, "better": better}, level=1.01 * p)["worse"]
    assert not just_significant.among_best


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 2, 4, 5), (4, 4), (2, 2, 0, 0)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match=r"identification_accuracy: similarity must have shape \(m, m, L, L\), got"):
        identification_accuracy(np.zeros(shape))
    with pytest.raises(InputError, match="symmetrised: similarity must have shape"):
        symmetrised(np.zeros(shape))


def test_too_few_networks_are_refused():
    with pytest.raises(InputError, match="identification_accuracy: similarity must hold at least 2 networks, got 1"):
        identification_accuracy(np.zeros((1, 1, 3, 3)))
    with pytest.raises(InputError, match="jackknife_standard_error: similarity must hold at least 3 networks, got 2"):
        jackknife_standard_error(np.zeros((2, 2, 3, 3)))


def test_unknown_kinds_and_unequal_measures_are_refused():
    with pytest.raises(InputError, match="kind must be 'similarity' or 'distance', got 'metric'"):
        identification_accuracy(np.zeros((2, 2, 3, 3)), kind="metric")
    with pytest.raises(InputError, match="compare_identification: similarities must hold at least one measure"):
        compare_identification({})
    with pytest.raises(InputError, match="compare_identification: similarities must all have one shape, got"):
        compare_identification({"a": np.zeros((3, 3, 2, 2)), "b": np.zeros((3, 3, 4, 4))})
