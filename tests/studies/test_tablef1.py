from __future__ import annotations

import numpy as np
import pytest

from repscope.errors import InputError
from repscope.studies import paper
from repscope.studies.figuref1 import checkerboard
from repscope.studies.tablef1 import BEST, INDEXES, TAPS, published

ALTERNATING = (np.add.outer(np.arange(12), np.arange(12)) % 2 == 0).astype(float)
DISTANCE = np.abs(np.subtract.outer(np.arange(12), np.arange(12)))


def test_the_table_has_ten_indexes_and_four_taps():
    assert (len(INDEXES), len(TAPS)) == (10, 4)
    numbers = {(index.id, tap): published(index.id, tap) for index in INDEXES for tap in TAPS}
    assert len(numbers) == 40
    assert numbers["cka-rbf-0.4", "residual"] == 0.981
    assert numbers["linear-regression", "residual"] == min(numbers.values()) == 0.369
    assert {tap: max(numbers[index.id, tap] for index in INDEXES) for tap in TAPS} == {
        "layer-norm": 0.923,
        "scale": 0.965,
        "operation": 0.961,
        "residual": 0.981,
    }


def test_the_best_of_each_tap_is_bold_and_cca_is_the_same_before_and_after_the_scale():
    for tap in TAPS:
        best = max(INDEXES, key=lambda index: published(index.id, tap))
        assert (best.id, tap) in BEST
        assert {index for index, where in BEST if where == tap} <= {index.id for index in INDEXES}
    for index in ("cca-mean", "cca-r2"):
        assert published(index, "layer-norm") == published(index, "scale")
    np.testing.assert_array_equal(paper.panel("figF1/cca-r2/layer-norm"), paper.panel("figF1/cca-r2/scale"))


def test_a_checkerboard_is_told_from_what_falls_off_with_distance():
    assert checkerboard(ALTERNATING) == 1
    assert checkerboard(1 - ALTERNATING) == -1
    assert checkerboard(5 + 3 * ALTERNATING) == pytest.approx(1)
    assert checkerboard(1 - DISTANCE / 12) == pytest.approx(0, abs=1e-12)
    assert checkerboard(np.exp(-DISTANCE / 3)) < 0.05
    assert np.isnan(checkerboard(np.eye(5)))


def test_the_checkerboard_by_loops():
    values = np.random.default_rng(0).random((6, 6))
    found = [
        values[i, j] - (values[i, j - 1] + values[i, j + 1]) / 2
        for i in range(6)
        for j in range(1, 5)
        if i != j and (i - j) % 2 == 0
    ]
    others = [values[i, j] for i in range(6) for j in range(6) if i != j]
    assert checkerboard(values) == pytest.approx(np.mean(found) / (max(others) - min(others)))


@pytest.mark.parametrize("shape", [(3, 3), (4, 5), (4,)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match=r"checkerboard: similarity must have shape \(L, L\) with L of at least 4"):
        checkerboard(np.zeros(shape))
