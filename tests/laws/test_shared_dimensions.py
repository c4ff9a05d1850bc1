"""Laws of ENSD and eigenspace overlap: what they are beside CKA and CCA, and what they count."""

from __future__ import annotations

import math

import numpy as np
import pytest

import repscope
from repscope import RankWarning
from tests.measures.examples import NARROW, WIDE, pair
from tests.reference.kernels import centered


def participation_ratio(x):
    variances = np.linalg.svd(centered(x), compute_uv=False) ** 2
    return variances.sum() ** 2 / np.sum(variances**2)


@pytest.mark.parametrize("shape", [*NARROW, *WIDE], ids=str)
def test_ensd_over_the_mean_participation_ratio_is_cka(shape):
    x, y = pair(*shape)
    scale = math.sqrt(participation_ratio(x) * participation_ratio(y))
    np.testing.assert_allclose(repscope.ensd(x, y) / scale, repscope.cka(x, y, estimator="biased"), rtol=1e-9)
    np.testing.assert_allclose(repscope.ensd(x, x), participation_ratio(x), rtol=1e-9)


def test_ensd_counts_directions_of_equal_variance():
    basis = np.linalg.qr(centered(np.random.default_rng(0).normal(size=(40, 9))))[0]
    np.testing.assert_allclose(repscope.ensd(basis[:, :6], basis[:, 2:9]), 4, rtol=1e-12)
    np.testing.assert_allclose(repscope.ensd(basis[:, :4], basis[:, 4:9]), 0, atol=1e-12)


def test_more_may_be_shared_than_the_narrower_layer_has():
    # A strong direction and many weak ones share with the strong one alone more than its single dimension.
    basis = np.linalg.qr(centered(np.random.default_rng(0).normal(size=(40, 21))))[0]
    x, y = basis * np.append(1.0, np.full(20, 0.3)), basis[:, :1]
    assert float(repscope.ensd(x, y)) > 1.5 * float(repscope.ensd(y, y))
    assert float(repscope.ensd(x, y)) <= math.sqrt(participation_ratio(x))


@pytest.mark.parametrize("shape", NARROW, ids=str)
def test_eigenspace_overlap_is_cca_over_the_larger_width(shape):
    x, y = pair(*shape)
    expected = repscope.cca(x, y) * min(shape[1:]) / max(shape[1:])
    np.testing.assert_allclose(repscope.eigenspace_overlap(x, y), expected, rtol=1e-9)


def test_eigenspace_overlap_counts_dimensions_and_not_columns():
    x, _ = pair(40, 5, 1)
    np.testing.assert_allclose(repscope.eigenspace_overlap(np.tile(x, (1, 3)), x[:, :2]), 2 / 5, rtol=1e-10)


def test_without_centering_the_eigenspace_overlap_is_another_number():
    x, y = pair(40, 4, 6)
    u, v = (np.linalg.qr(z)[0] for z in (x, y))
    assert abs(np.sum((u.T @ v) ** 2) / 6 - repscope.eigenspace_overlap(x, y)) > 1e-2


def test_forced_overlap_is_warned_of():
    with pytest.warns(RankWarning, match="eigenspace_overlap: n = 30 examples are too few for p = 20 and q = 12"):
        repscope.eigenspace_overlap(*pair(30, 20, 12))


def test_the_chance_levels_are_closed_forms():
    x, y = pair(40, 5, 8)
    ratios = participation_ratio(x) * participation_ratio(y)
    result = repscope.compare({"x": x}, {"y": y}, measure="ensd")
    np.testing.assert_allclose(result.null_mean, ratios / 39, rtol=1e-9)
    result = repscope.compare({"x": x}, {"y": y}, measure="eigenspace_overlap")
    np.testing.assert_allclose(result.null_mean, 5 / 39, rtol=1e-9)
