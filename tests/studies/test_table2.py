from __future__ import annotations

import numpy as np
import pytest

from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.studies.table2 import INDEXES, average_over_pairs, by_network

LAYERS = ("conv1", "conv2")
NETWORKS = ("one", "two", "three")


def comparison(values=None, **changes):
    """A comparison of three networks with two layers each; the score of rows r and columns c is 10 r + c."""
    size = len(LAYERS) * len(NETWORKS)
    index = np.arange(size)
    labels = {
        "row_layers": LAYERS * 3,
        "column_layers": LAYERS * 3,
        "row_models": tuple(np.repeat(NETWORKS, 2)),
        "column_models": tuple(np.repeat(NETWORKS, 2)),
    }
    values = 10.0 * index[:, None] + index if values is None else values
    return Comparison(values=values, measure="pwcca", symmetric=False, **{**labels, **changes})


def test_the_paper_s_accuracies_are_multiples_of_one_case():
    # Ten networks, ninety ordered pairs, nine layers: every accuracy is k / 810, printed to 0.1 %.
    hits = [86, 122, 90, 368, 180, 804, 653, 803, 804, 11, 80]
    assert sorted(round(100 * index.paper, 1) for index in INDEXES) == sorted(round(100 * hit / 810, 1) for hit in hits)
    assert len({index.title for index in INDEXES}) == len({index.id for index in INDEXES}) == 11


def test_the_definitions_are_the_paper_s():
    by_title = {index.title: index for index in INDEXES}
    assert [t for t, index in by_title.items() if index.symmetrise] == ["PWCCA", "Linear regression"]
    for index in INDEXES:
        if index.measure.id in ("cka", "hsic"):
            assert index.measure.options["estimator"] == "biased"
        assert index.symmetrise == (not index.measure.facts.symmetric)
    assert by_title["SVCCA (R²)"].measure.options["variance"] == 0.99
    kernels = [repr(by_title[f"CKA (RBF {f})"].measure.options["kernel"]) for f in (0.2, 0.4, 0.8)]
    assert len(set(kernels)) == 3
    assert by_title["CCA (ρ̄)"].measure.options["summary"] == "mean"


def test_by_network_gives_each_network_and_layer_an_axis():
    scores = by_network(comparison())
    assert scores.shape == (3, 3, 2, 2)
    for a, b, i, j in np.ndindex(3, 3, 2, 2):
        assert scores[a, b, i, j] == 10 * (2 * a + i) + (2 * b + j)


def test_by_network_symmetrises_over_exchanged_arguments():
    scores = by_network(comparison(), symmetrise=True)
    for a, b, i, j in np.ndindex(3, 3, 2, 2):
        assert scores[a, b, i, j] == 11 * (2 * a + i) + 11 * (2 * b + j)


def test_average_leaves_out_each_network_with_itself():
    values = comparison().values.copy()
    for a in range(3):
        values[2 * a : 2 * a + 2, 2 * a : 2 * a + 2] = np.nan
    average = average_over_pairs(comparison(values))
    plain = comparison().values
    for i, j in np.ndindex(2, 2):
        pairs = [plain[2 * a + i, 2 * b + j] for a in range(3) for b in range(3) if a != b]
        np.testing.assert_allclose(average.values[i, j], np.mean(pairs), rtol=1e-12)
    assert average.row_layers == average.column_layers == LAYERS
    assert average.models == ("network a", "network b")
    assert average.details["averaged over"] == "6 ordered pairs of networks"
    assert not average.symmetric


def test_a_symmetrised_average_has_the_measure_s_range():
    average = average_over_pairs(comparison(np.ones((6, 6))), symmetrise=True)
    np.testing.assert_array_equal(average.values, 1)
    assert average.symmetric


def test_comparisons_of_another_kind_are_refused():
    with pytest.raises(InputError, match="by_network: comparison must hold the same layers of every network"):
        by_network(comparison(row_layers=("conv1", "conv2", "conv1", "other", "conv1", "conv2")))
    with pytest.raises(InputError, match="got 2 rows and 6 columns of 3 networks and 2 layer names"):
        by_network(comparison(np.ones((2, 6)), row_layers=LAYERS, row_models=("one", "one")))
    with pytest.raises(InputError, match="average_over_pairs: comparison must hold at least 2 networks, got 1"):
        average_over_pairs(comparison().between("one", "one"))
