"""numpy, read-only numpy, torch, JAX and the strict standard: same numbers, own scalars, inputs left alone."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import repscope
from repscope.errors import RankWarning
from repscope.measures.catalog import check_for, configure
from tests.measures.examples import ALL, fitting, label, needs_many_examples, pair, reference_score

FORCED = [
    m
    for m in ALL
    if m.id in ("cca", "pwcca", "linear_regression") and not (m.options.get("regularization") or m.options.get("folds"))
]
"""Measures that are 1 whatever the data where features outnumber examples."""


@pytest.mark.parametrize("measure", ALL, ids=label)
def test_every_measure_in_every_library(xp, measure):
    for shape in [(30, 4, 6)] if needs_many_examples(measure) else [(30, 4, 6), (12, 14, 12)]:
        x, y = pair(fitting(measure, shape[0]), *shape[1:])
        given_x, given_y = xp.array(x), xp.array(y)
        result = measure(given_x, given_y)
        xp.close(result, reference_score(measure, np.asarray(given_x), np.asarray(given_y)))
        np.testing.assert_array_equal(np.asarray(given_x), np.asarray(xp.array(x)))
        np.testing.assert_array_equal(np.asarray(given_y), np.asarray(xp.array(y)))


@pytest.mark.parametrize("measure", FORCED, ids=label)
def test_degenerate_widths_warn_in_every_library(xp, measure):
    x, y = (xp.array(z) for z in pair(12, 14, 30))
    with pytest.warns(RankWarning):
        xp.close(measure(x, y), 1.0)


def test_canonical_correlations_in_every_library(xp):
    x, y = pair(30, 4, 6)
    result = repscope.canonical_correlations(xp.array(x), xp.array(y))
    assert isinstance(result, type(xp.array(x)))
    expected = repscope.canonical_correlations(x, y)
    np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-12 if xp.double else 1e-3)


@pytest.mark.parametrize("measure", ALL, ids=label)
def test_rank_deficient_features_in_every_library(xp, measure):
    x, y = pair(30, 4, 6)
    x[:, 1] = 3.0
    x[:, 2] = 2 * x[:, 0]
    result = measure(xp.array(x), xp.array(y))
    assert isinstance(result, xp.scalar)
    assert np.isfinite(float(result))


# A fixed σ = 2 is far below the distances between images of bytes: nothing but zeros is left.
BYTES = [m for m in ALL if "sigma" not in m.label]


@pytest.mark.parametrize("measure", BYTES, ids=label)
def test_bytes_are_promoted_before_they_overflow(xp, measure):
    x, y = images()
    expected = float(measure(x.astype(np.float64), y.astype(np.float64)))
    xp.close(measure(_keep_dtype(xp)(x), _keep_dtype(xp)(y)), expected, rtol=1e-12)


@pytest.mark.parametrize("measure", BYTES, ids=label)
@pytest.mark.parametrize("dtype", ["int8", "int16", "uint64", "bool"])
def test_whole_numbers_are_promoted(measure, dtype):
    x, y = ((z.astype(int) // 2).astype(dtype) if dtype != "bool" else z > 100 for z in images())
    x[:, 0] = y[:, 0] = True  # no row of zeros for the cosine kernel
    expected = float(measure(x.astype(np.float64), y.astype(np.float64)))
    np.testing.assert_allclose(measure(x, y), expected, rtol=1e-12)


def images():
    """Two related images of bytes, 30 rows of four and of six pixels."""
    return tuple(np.clip(40 * z + 128, 0, 255).astype(np.uint8) for z in pair(30, 4, 6))


def _keep_dtype(xp):
    if xp.name == "jax":
        import jax.numpy

        return jax.numpy.asarray
    return xp.array


def test_a_float_and_an_integer_representation_may_be_compared(xp):
    x, y = pair(30, 4, 6)
    whole = np.round(10 * x).astype(np.int32)
    result = repscope.cka(_keep_dtype(xp)(whole), xp.array(y))
    xp.close(result, float(repscope.cka(whole.astype(float), y)), rtol=1e-6)


def test_two_float_types_may_be_compared(xp):
    x, y = pair(30, 4, 6)
    result = repscope.cka(_keep_dtype(xp)(x.astype(np.float32)), xp.array(y))
    xp.close(result, float(repscope.cka(x.astype(np.float32).astype(float), y)), rtol=1e-6)


@pytest.mark.parametrize("measure", ALL, ids=label)
def test_views_and_column_order_make_no_difference(measure):
    x, y = pair(30, 4, 6)
    expected = float(measure(x, y))
    wide = np.zeros((60, 8))
    wide[::2, ::2] = x
    np.testing.assert_allclose(measure(wide[::2, ::2], np.asfortranarray(y)), expected, rtol=1e-12)


def test_jax_in_double_precision():
    jax = pytest.importorskip("jax")
    x, y = pair(30, 4, 6)
    with jax.enable_x64(True):
        for measure in (configure(name) for name in ("cka", "cca", "procrustes")):
            result = measure(jax.numpy.asarray(x), jax.numpy.asarray(y))
            np.testing.assert_allclose(float(result), float(measure(x, y)), rtol=1e-10)


def test_jax_gives_gradients():
    jax = pytest.importorskip("jax")
    x, y = pair(30, 4, 6)
    with jax.enable_x64(True):
        x, y = jax.numpy.asarray(x), jax.numpy.asarray(y)
        for measure in (repscope.cka, repscope.procrustes):
            gradient = jax.grad(measure)(x, y)
            step = 1e-6
            moved = x.at[2, 1].add(step)
            difference = (float(measure(moved, y)) - float(measure(x.at[2, 1].add(-step), y))) / (2 * step)
            np.testing.assert_allclose(float(gradient[2, 1]), difference, rtol=1e-5, atol=1e-9)


def test_checking_apart_from_scoring_gives_what_the_function_takes():
    x, y = pair(30, 4, 6)
    for measure in ALL:
        one, other = check_for(measure, x.astype(np.float32), y)
        # The numerical rank goes by the type that a side was stored in.
        kept = np.float32 if measure.measure.decomposes else np.float64
        assert (one.dtype, other.dtype) == (np.dtype(kept), np.dtype(np.float64))
        apart = float(measure.score(measure.prepare(one), measure.prepare(other)))
        assert apart == pytest.approx(float(measure(x.astype(np.float32), y)), rel=1e-6, abs=1e-6)  # single precision


def test_nothing_warns_on_ordinary_input(xp):
    x, y = pair(30, 4, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for measure in ALL:
            measure(xp.array(x), xp.array(y))
