"""Inputs that trap precision: common offsets, extreme scales, half precision, dominant examples."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import repscope
from repscope import RBF, Cosine, Laplace, Linear, Polynomial
from repscope.measures import _arrays, hsic
from repscope.measures._arrays import center, center_and_scale
from repscope.measures.catalog import configure
from repscope.measures.kernels import squared_distances
from repscope.measures.measure import Invariance
from tests.measures.examples import ALL, label, needs_many_examples, pair

KERNELS = (Linear(), RBF(0.4), Laplace(1.0), Polynomial(3), Cosine())
SCALE_FREE = [m for m in ALL if Invariance.ISOTROPIC_SCALING in m.facts.invariances_x & m.facts.invariances_y]


SCALED = (
    "cka",
    "cca",
    "svcca",
    "pwcca",
    "linear_regression",
    "procrustes",
    "angular_cka",
    "shape_distance",
    "aligned_cosine",
    "permutation_procrustes",
    "correlation_matching",
)


def as_numpy(x):
    return x.double().numpy() if hasattr(x, "numpy") else x.astype(np.float64)


def stored(dtype, *arrays):
    """Arrays as a torch dtype stores them."""
    torch = pytest.importorskip("torch")
    return tuple(torch.from_numpy(x).to(getattr(torch, dtype)) for x in arrays)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("measure", ALL, ids=label)
def test_an_offset_of_a_thousand_standard_deviations(measure, dtype):
    if dtype == "bfloat16" and ("RBF(0.4)" in measure.label or "Laplace" in measure.label):
        return  # next to 1000 its steps are 4 to 8: most rows are equal and no median exists; wide layers see below
    if dtype == "bfloat16" and "k" in measure.options and measure.options.get("metric") != "euclidean":
        return  # and their cosines differ by the rounding of the library's product, which then decides who is nearer
    x, y = pair(60, 6, 5)
    x, y = (z / z.std(axis=0) for z in (x, y))
    x, y = stored(dtype, x + 1000.0, y + 1000.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact = float(measure(as_numpy(x), as_numpy(y)))
        value = float(measure(x, y))
    assert np.isfinite(exact)
    np.testing.assert_allclose(value, exact, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("measure", [m for m in ALL if not needs_many_examples(m)], ids=label)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_an_offset_on_wide_layers(measure, dtype):
    rng = np.random.default_rng(1)
    latent = rng.normal(size=(40, 5))
    x, y = (latent @ rng.normal(size=(5, p)) + rng.normal(size=(40, p)) + 1000.0 for p in (300, 200))
    x, y = stored(dtype, x, y)
    if "sigma" in measure.label:  # of the size of these distances
        measure = configure("cka", kernel=RBF(sigma=30.0), estimator=measure.options["estimator"])
    exact = float(measure(as_numpy(x), as_numpy(y)))
    np.testing.assert_allclose(float(measure(x, y)), exact, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("measure", SCALE_FREE, ids=label)
def test_scale_changes_nothing(measure, dtype, scale):
    x, y = pair(60, 6, 5, dtype=dtype)
    rtol = 2e-4 if dtype == np.float32 else 1e-9
    expected = float(measure(x, y))
    scaled = [(z * dtype(scale)).astype(dtype) for z in (x, y)]
    np.testing.assert_allclose(float(measure(*scaled)), expected, rtol=rtol)
    np.testing.assert_allclose(float(measure(scaled[0], y)), expected, rtol=rtol)


@pytest.mark.parametrize("exponent", [-20, -3, 4, 20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_hsic_scales_exactly(exponent, dtype, estimator):
    x, y = pair(60, 6, 5, dtype=dtype)
    factor = dtype(2.0**exponent)
    assert float(repscope.hsic(x * factor, y, estimator=estimator)) == float(
        repscope.hsic(x, y, estimator=estimator)
    ) * float(factor**2)


@pytest.mark.parametrize("scale", [1e-200, 1e-150, 1e150, 1e200])
def test_scales_whose_square_leaves_double_precision(scale):
    x, y = pair(60, 6, 5)
    for name in SCALED:
        measure = configure(name)
        np.testing.assert_allclose(float(measure(x * scale, y)), float(measure(x, y)), rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-38, 1e35])
def test_scales_at_the_ends_of_single_precision(scale):
    x, y = pair(60, 6, 5)
    for name in SCALED:
        measure = configure(name)
        scaled = (x * scale).astype(np.float32)
        np.testing.assert_allclose(float(measure(scaled, y.astype(np.float32))), float(measure(x, y)), rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_epsilon_in_the_denominator(scale, estimator, dtype):
    x = (pair(60, 6, 5)[0] * scale).astype(dtype)
    for kernel in ("linear", RBF(0.4)):
        value = repscope.cka(x, x, kernel=kernel, estimator=estimator)
        np.testing.assert_allclose(value, 1.0, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(60, 6), (20, 50), (5, 5)], ids=str)
def test_a_representation_equals_itself(shape):
    x = pair(*shape, 1)[0]
    for estimator in ("unbiased", "biased"):
        for kernel in KERNELS:
            np.testing.assert_allclose(repscope.cka(x, x, kernel=kernel, estimator=estimator), 1.0, rtol=1e-14)
    assert float(repscope.procrustes(x, x)) < 1e-7
    assert float(repscope.procrustes(x, x, kind="squared")) < 1e-14
    assert float(repscope.procrustes(x, x, kind="distance")) < 1e-7 * np.linalg.norm(x)
    np.testing.assert_allclose(repscope.procrustes(x, x, kind="cosine"), 1.0, rtol=1e-13)


@pytest.mark.parametrize("angle", [1e-1, 1e-4, 1e-7, 1e-10])
def test_small_angles_keep_their_digits(angle):
    # y moves x by the given angle towards an orthogonal, independent direction; an arc cosine sees nothing below 1e-8.
    rng = np.random.default_rng(4)
    basis, _ = np.linalg.qr(rng.normal(size=(40, 5)) - 0)
    basis -= basis.mean(axis=0)
    basis, _ = np.linalg.qr(basis)
    x = basis[:, :1]
    y = np.cos(angle) * basis[:, :1] + np.sin(angle) * basis[:, 1:2]
    np.testing.assert_allclose(repscope.procrustes(x, y), angle, rtol=1e-5)


@pytest.mark.parametrize("factor", [1e2, 1e3, 1e4, 1e5])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_one_example_that_outweighs_all_others(factor, estimator):
    # A "massive activation", as the first token of a language model has. The unbiased estimate leaves the diagonal
    # out, hence nearly all of the product: in single precision that cancels to noise (0.35 for 0.66 was measured).
    x, y = pair(500, 20, 15)
    for row in (0, 250, 499, 123):
        outlier_x, outlier_y = x.copy(), y.copy()
        outlier_x[row] *= factor
        outlier_y[row] *= factor
        single = [z.astype(np.float32) for z in (outlier_x, outlier_y)]
        exact = repscope.cka(*(z.astype(np.float64) for z in single), estimator=estimator)
        np.testing.assert_allclose(repscope.cka(*single, estimator=estimator), exact, rtol=1e-4)
        states = [hsic.prepare(z.astype(np.float64), estimator=estimator, form="gram") for z in single]
        gram = hsic.product(*states) / np.sqrt(states[0].self_product * states[1].self_product)
        np.testing.assert_allclose(exact, gram, rtol=1e-6)


def test_one_such_example_in_one_of_two_layers():
    x, y = pair(500, 20, 15)
    x[3] *= 1e4
    x, y = x.astype(np.float32), y.astype(np.float32)
    exact = repscope.cka(x.astype(np.float64), y.astype(np.float64))
    for first, second in ((x, y), (y, x)):
        np.testing.assert_allclose(repscope.cka(first, second), exact, rtol=1e-4, atol=1e-6)


def test_centering_keeps_what_stored_values_hold():
    rng = np.random.default_rng(6)
    x = (rng.normal(size=(500, 8)) + 1000.0).astype(np.float32)
    x[:, 3] = 7.7
    exact = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
    exact[:, 3] = 0.0
    centered = center(np, x)
    np.testing.assert_allclose(centered, exact, atol=2e-6)
    assert np.all(centered[:, 3] == 0.0)
    scaled, scale = center_and_scale(np, x)
    assert np.log2(scale) == int(np.log2(scale))
    np.testing.assert_array_equal(scaled * scale, centered)
    assert 1 <= np.abs(scaled).max() < 2


@pytest.mark.parametrize("row", [0, 250, 499])
def test_centering_is_not_spoiled_by_an_outlier(row):
    x = np.random.default_rng(6).normal(size=(500, 4)).astype(np.float32)
    x[row] = 1e6
    exact = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
    others = np.arange(500) != row
    # What matters is how the others differ among themselves: single precision resolves their size, 2000, to 1e-4.
    # Subtracting the outlier's row first would leave steps of 0.06.
    found = center(np, x)[others]
    np.testing.assert_allclose(found - found[0], exact[others] - exact[others][0], atol=3e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distances_are_symmetric_to_the_last_digit(dtype):
    x = np.random.default_rng(0).standard_normal((200, 30)).astype(dtype)
    found = squared_distances(np, x)
    np.testing.assert_array_equal(found, found.T)
    assert np.all(found.diagonal() == 0.0)


@pytest.mark.parametrize("width", [6, 700])
def test_equal_rows_are_at_distance_zero_for_laplace(width, monkeypatch):
    monkeypatch.setattr(_arrays, "_BLOCK_ENTRIES", 30 * 64)
    x, _ = pair(30, width, 5)
    x[7] = x[3]
    gram = Laplace(1.0).gram((x + 1000).astype(np.float32))
    np.testing.assert_allclose(gram[7, 3], 1.0, atol=1e-7)
    assert np.all(gram.diagonal() == 1.0)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.4, 0.8, 5.0])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_single_precision_at_narrow_and_wide_bandwidths(fraction, estimator):
    x, y = pair(60, 6, 5, dtype=np.float32)
    options = {"kernel": RBF(fraction), "estimator": estimator}
    exact = repscope.cka(x.astype(np.float64), y.astype(np.float64), **options)
    np.testing.assert_allclose(repscope.cka(x, y, **options), exact, rtol=1e-4)


@pytest.mark.parametrize("kind", ["angle", "distance", "squared", "cosine"])
@pytest.mark.parametrize("noise", [0.0, 1e-6, 0.01, 0.04, 0.05, 0.3, 0.4, 0.5, 0.6, 2.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_procrustes_near_and_far(kind, noise, dtype):
    from repscope.measures import shape
    from tests.reference.shape import procrustes

    rng = np.random.default_rng(8)
    x = rng.normal(size=(200, 10))
    y = 3 * x[:, ::-1] + 3 * noise * rng.normal(size=(200, 10))
    cosines = [procrustes(x, 3 * x + 3 * s * rng.normal(size=(200, 10)), kind="cosine") for s in (0.01, 0.05, 0.3, 0.6)]
    assert cosines[0] > shape.NEAR_DOUBLE > cosines[1]
    assert cosines[2] > shape.NEAR_SINGLE > cosines[3]
    x, y = x.astype(dtype), y.astype(dtype)
    expected = procrustes(x.astype(np.float64), y.astype(np.float64), kind=kind)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-12, "atol": 3e-8}
    np.testing.assert_allclose(repscope.procrustes(x, y, kind=kind), expected, **tolerance)
