"""Passes over activations in blocks give what the whole arrays give."""

from __future__ import annotations

import numpy as np
import pytest

from repscope.inference import passes

SHAPES = [(1, 3), (5, 130), (70, passes._COLUMNS + 1), (40, 10 * passes._COLUMNS + 77)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_lengths_and_projections(library, shape, dtype, shifted, rng, monkeypatch):
    pytest.importorskip(library)
    monkeypatch.setattr(passes, "_WORTH_TORCH", 0 if library == "torch" else np.inf)
    x = rng.normal(size=shape).astype(dtype)
    shift = rng.normal(size=(1, shape[1])).astype(dtype) if shifted else None
    directions = rng.normal(size=(3, shape[1])).astype(dtype)
    squares, projections = passes.lengths_and_projections(x, shift, directions)
    y = x.astype(float) - (0 if shift is None else shift)
    rounding = np.finfo(dtype).eps * passes._COLUMNS
    np.testing.assert_allclose(squares, (y**2).sum(axis=1), rtol=rounding)
    scale = np.linalg.norm(directions.astype(float), axis=1)[:, None] * np.linalg.norm(y, axis=1)
    assert np.all(np.abs(projections - directions.astype(float) @ y.T) <= rounding * scale)


@pytest.mark.parametrize("f", [0, 2, 64, 5000])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("some", [False, True], ids=["all examples", "some examples"])
def test_features_and_sketches(shape, f, some, rng):
    x = rng.normal(size=shape).astype(np.float32)
    shift = rng.normal(size=(1, shape[1])).astype(np.float32)
    signs = [rng.choice([-1.0, 1.0], shape[1]).astype(np.float32) for _ in range(2)] if f else []
    rows = np.arange(0, shape[0], 2) if some else None
    columns = passes.Columns.empty(shape[1])
    found = passes.features_of(x, rows, shift, columns, signs, f)
    y = (x - shift)[:: 2 if some else 1].astype(float)
    if f:
        expected = np.zeros((len(y), 2 * f))
        for half, sign in enumerate(signs):
            for j in range(shape[1]):
                expected[:, half * f + j % f] += sign[j] * y[:, j]
        np.testing.assert_allclose(found, expected, atol=1e-6 * shape[1] ** 0.5 * np.abs(y).max())
    else:
        np.testing.assert_array_equal(found, y.astype(np.float32))
    assert columns.count == len(y)
    np.testing.assert_allclose(columns.sums, y.sum(axis=0), atol=1e-5 * len(y) * np.abs(y).max())
    np.testing.assert_allclose(columns.squares, (y**2).sum(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(columns.highest, y.max(axis=0))
    np.testing.assert_array_equal(columns.lowest, y.min(axis=0))


def test_what_overflows_is_left_to_others():
    x = np.full((4, 8), 1e30, np.float32)
    x[0, 0] = np.nan
    columns = passes.Columns.empty(8)
    with np.errstate(all="ignore"):
        squares, _ = passes.lengths_and_projections(x, None, np.ones((3, 8), np.float32))
        passes.features_of(x, None, np.zeros((1, 8), np.float32), columns, [], 0)
    assert np.isnan(squares[0])
    assert np.isinf(squares[1:]).all()
    assert np.isnan(columns.sums[0])
