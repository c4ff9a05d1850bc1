"""Laws of IMD: what graphs it tells apart, and that it sees no pairing."""

from __future__ import annotations

import math

import numpy as np
import pytest

import repscope
from repscope import InputError
from repscope.measures import heat_trace
from tests.measures.examples import pair


def test_the_heat_trace_of_a_complete_graph_is_known():
    # With k = n − 2, and the pairs left out mended by the other side, all are joined: λ = 0 once, n/(n−1) else.
    x = np.arange(6.0)[:, None] ** 1.5
    joined = heat_trace.prepare(x, k=4).values
    times = np.logspace(-1, 1, 256)
    edges = np.ones((6, 6)) - np.eye(6)
    edges[0, 5] = edges[5, 0] = 0  # the two ends are each other's furthest
    scale = 1 / np.sqrt(edges.sum(axis=1))
    spectrum = np.linalg.eigvalsh(np.eye(6) - scale[:, None] * edges * scale)
    np.testing.assert_allclose(joined, np.exp(-np.outer(times, spectrum)).mean(axis=1), rtol=1e-12)


def test_groups_far_apart_are_as_many_graphs():
    # Each of four groups is complete: λ = 0 once and 5/4 four times; one group of all is another spectrum.
    rng = np.random.default_rng(0)
    groups = np.repeat(1000.0 * np.eye(4), 5, axis=0) + rng.normal(size=(20, 4))
    trace = heat_trace.prepare(groups, k=4).values
    times = np.logspace(-1, 1, 256)
    np.testing.assert_allclose(trace, (1 + 4 * np.exp(-1.25 * times)) / 5, rtol=1e-12)
    whole = heat_trace.prepare(rng.normal(size=(20, 4)), k=4).values
    expected = 1e6 * np.max(np.exp(-2 * (times + 1 / times)) * np.abs(trace - whole))
    rng = np.random.default_rng(0)
    rng.normal(size=(20, 4))
    np.testing.assert_allclose(repscope.imd(groups, rng.normal(size=(20, 4)), k=4), expected, rtol=1e-9)


@pytest.mark.filterwarnings("ignore::repscope.errors.DiagnosticWarning")
def test_the_order_of_the_examples_does_not_matter():
    x, y = pair(40, 6, 7)
    shuffled = y[np.random.default_rng(0).permutation(40)]
    np.testing.assert_allclose(repscope.imd(x, shuffled), repscope.imd(x, y), rtol=1e-9)
    test = repscope.permutation_test({"x": x}, {"y": y}, measure="imd", permutations=19)
    assert np.all(test.null == float(repscope.imd(x, y)))
    assert test.comparison.p_values[0, 0] == 1.0


def test_it_obeys_the_triangle_inequality():
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(30, p)) ** power for p, power in ((1, 1), (2, 3), (5, 1), (20, 1), (3, 5))]
    d = np.array([[float(repscope.imd(a, b)) for b in layers] for a in layers])
    for i in range(5):
        assert np.all(d[i, :] <= d[i, :, None] + d + 1e-6)


def test_the_range_ends_where_heat_stays_and_where_it_is_gone():
    assert heat_trace.largest() == pytest.approx(1e6 * math.exp(-4))


def test_how_many_neighbours_and_examples_there_may_be(monkeypatch):
    with pytest.raises(InputError, match="imd: k must be a whole number from 1, got 0"):
        repscope.imd(*pair(30, 4, 6), k=0)
    with pytest.raises(InputError, match="imd: x must have at least 7 rows"):
        repscope.imd(*pair(6, 4, 6))
    monkeypatch.setattr(heat_trace, "MOST_EXAMPLES", 29)
    with pytest.raises(InputError, match=r"imd: x and y must have at most 29 rows .* got 30\. Compare a sample"):
        repscope.imd(*pair(30, 4, 6))
