"""Laws of RTD: when nothing differs, what a bar is, how samples are drawn."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

import repscope
from repscope import DegenerateInputWarning, InputError, MissingExtraError
from repscope.measures import topology
from tests.measures.examples import pair

pytest.importorskip("gudhi")


def distances(x):
    return np.linalg.norm(x[:, None] - x[None], axis=-1)


def test_pairs_that_only_come_closer_in_the_other_layer_are_what_counts():
    r = distances(np.random.default_rng(0).normal(size=(20, 3)))
    assert topology.cross_barcode(r, 2 * r) == 0.0  # the smaller of both distances is r
    assert topology.cross_barcode(2 * r, r) > 0.1
    assert topology.cross_barcode(r, r) == 0.0


def test_two_groups_that_are_one_in_the_other_layer():
    # Of two points at a distance of 1 that are together in the other layer: one bar, from when they meet in either.
    r, s = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.0, 0.25], [0.25, 0.0]])
    assert topology.cross_barcode(r, s) == pytest.approx(0.75)
    assert topology.cross_barcode(s, r) == 0.0


def test_the_same_shape_has_no_divergence():
    x, _ = pair(40, 5, 1)
    turned = 3 * x @ np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0] + 7
    assert float(repscope.rtd(x, turned)) < 1e-9
    assert float(repscope.rtd(x, x[::-1])) > 1


def test_more_noise_diverges_more():
    rng = np.random.default_rng(0)
    x, noise = rng.random((60, 2)), rng.normal(size=(60, 2))
    values = [float(repscope.rtd(x, x + sd * noise)) for sd in (0.001, 0.01, 0.1, 1.0)]
    assert values == sorted(values)
    assert values[0] < 0.1 < 1 < values[-1]


def test_samples_are_drawn_without_replacement_and_by_the_seed():
    parts = topology.draw_samples(50, 20, 4, 0)
    assert [len(set(part)) for part in parts] == [20] * 4
    assert len({tuple(part) for part in parts}) == 4
    again, other = topology.draw_samples(50, 20, 4, 0), topology.draw_samples(50, 20, 4, 1)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert not np.array_equal(parts[0], other[0])
    (everything,) = topology.draw_samples(50, 50, 4, 0)
    np.testing.assert_array_equal(everything, np.arange(50))


def test_the_mean_over_samples_is_that_of_each():
    x, y = pair(30, 3, 4)
    each = [float(repscope.rtd(x[part], y[part])) for part in topology.draw_samples(30, 12, 3, 5)]
    np.testing.assert_allclose(repscope.rtd(x, y, batch=12, trials=3, sample_seed=5), np.mean(each), rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_with_nearly_all_examples_equal_have_no_unit(dtype):
    y = pair(30, 4, 1)[0].astype(dtype)
    x = np.zeros_like(y)
    x[0] = 1.0
    for a, b, side in ((x, y, "x"), (y, x, "y")):
        with pytest.warns(DegenerateInputWarning, match=f"rtd: all rows of {side} are equal, or nearly all"):
            assert math.isnan(repscope.rtd(a, b))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch": 2}, r"batch must be a whole number from 3, got 2\. Leave it out for 500"),
        ({"trials": 0}, r"trials must be a whole number from 1, got 0\. Leave it out for 10"),
        ({"trials": True}, "trials must be a whole number from 1, got True"),
        ({"sample_seed": -1}, "sample_seed must be a whole number from 0, got -1"),
        ({"batch": 20.0}, r"batch must be a whole number from 3, got 20\.0"),
    ],
)
def test_options_that_mean_nothing(options, words):
    for call in (repscope.rtd, lambda *xy, **o: repscope.configure("rtd", **o)(*xy)):
        with pytest.raises(InputError, match=f"rtd: {words}"):
            call(*pair(30, 4, 6), **options)


def test_without_gudhi_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gudhi.sklearn.rips_persistence", None)
    with pytest.raises(MissingExtraError, match=r"rtd needs the package 'gudhi'.*repscope\[topology\]"):
        repscope.rtd(*pair(30, 4, 6))


def test_rounding_that_differs_between_both_halves_changes_nothing():
    torch = pytest.importorskip("torch")
    for seed in range(5):
        x, y = pair(15, 4, 6, seed=seed)
        np.testing.assert_allclose(
            float(repscope.rtd(torch.from_numpy(x), torch.from_numpy(y))), repscope.rtd(x, y), rtol=1e-9
        )
