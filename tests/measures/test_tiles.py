"""Gram matrices in tiles: the same numbers as whole, with the exact median, in little memory."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest

import repscope
from repscope import RBF, Cosine, Laplace, Polynomial
from repscope.errors import DegenerateInputWarning
from repscope.measures import _selection, _tiles, cka, hsic
from repscope.measures.kernels import gram_matrix, median_of_distances, squared_distances
from tests.measures.examples import pair, reference_gram
from tests.reference.hsic import cka as reference_cka

KERNELS = [
    RBF(0.4),
    RBF(0.8, median="off-diagonal"),
    RBF(sigma=3.0),
    Laplace(1.0),
    Laplace(sigma=3.0),
    Polynomial(2),
    Polynomial(3, constant=0.5, gamma=0.1),
    Cosine(),
]
ESTIMATORS = ("unbiased", "biased")


def tiled(kernel, estimator, rows, *arrays):
    return [hsic.TiledState(estimator, _tiles.tile(kernel, z, tile_rows=rows)) for z in arrays]


def whole(kernel, estimator, *arrays):
    return [hsic._from_gram(gram_matrix(kernel, z), 1.0, estimator) for z in arrays]


@pytest.fixture
def always_tiled(monkeypatch):
    monkeypatch.setattr(_tiles, "WHOLE_BYTES", 0)


@pytest.mark.parametrize("rows", [7, 50, 64, 1000])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_tiles_of_any_size_equal_the_whole(kernel, estimator, rows):
    for shape in ((130, 6, 5), (60, 200, 3)):
        x, y = pair(*shape)
        states, expected = tiled(kernel, estimator, rows, x, y), whole(kernel, estimator, x, y)
        np.testing.assert_allclose(cka.score(*states), cka.score(*expected), rtol=1e-10)
        np.testing.assert_allclose(hsic.score(*states), hsic.score(*expected), rtol=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_the_measure_in_tiles_equals_the_definition(always_tiled, kernel, estimator):
    x, y = pair(40, 6, 5)
    expected = reference_cka(
        x, y, estimator=estimator, gram_x=reference_gram(kernel, x), gram_y=reference_gram(kernel, y)
    )
    np.testing.assert_allclose(repscope.cka(x, y, kernel=kernel, estimator=estimator), expected, rtol=1e-10)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_tiles_in_every_library(always_tiled, xp, kernel):
    x, y = pair(40, 6, 5)
    result = repscope.cka(xp.array(x), xp.array(y), kernel=kernel)
    assert isinstance(result, xp.scalar)
    xp.close(result, float(cka.score(*whole(kernel, "unbiased", x, y))))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_single_precision_in_tiles(always_tiled, kernel, estimator):
    # Offset and outlier: what an uncentred sum of squares in single precision would not survive.
    x, y = (z.astype(np.float32) for z in pair(300, 20, 15))
    if kernel.translation_invariant:
        x += 100
    x[7] *= 3
    options = {"kernel": kernel, "estimator": estimator}
    exact = cka.score(*whole(kernel, estimator, x.astype(np.float64), y.astype(np.float64)))
    value = repscope.cka(x, y, **options)
    assert value.dtype == cka.score(*whole(kernel, estimator, x, y)).dtype
    np.testing.assert_allclose(value, exact, rtol=1e-5)
    assert value == repscope.cka(x, y, **options)


def test_large_gram_matrices_are_tiled_and_small_ones_are_not():
    x = np.zeros((4200, 1), dtype=np.float32)
    assert _tiles.worth_tiling(RBF(0.4), x)
    assert _tiles.worth_tiling(Cosine(), x)
    assert not _tiles.worth_tiling(RBF(0.4), x[:4000])
    assert _tiles.worth_tiling(RBF(0.4), x[:4000].astype(np.float64))
    assert not _tiles.worth_tiling(repscope.Linear(), x)


def test_tiles_take_a_fraction_of_the_memory_of_the_gram_matrix():
    x, y = (z.astype(np.float32) for z in pair(5000, 8, 6))
    tracemalloc.start()
    try:
        repscope.cka(x, y, kernel=RBF(0.5))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.8 * 5000**2 * 4  # of one of the two


def test_equal_examples_have_no_bandwidth_in_tiles_either(always_tiled):
    x, y = pair(60, 6, 5)
    x[:45] = x[0] + 100.0
    with pytest.warns(DegenerateInputWarning, match="the median distance between examples is 0"):
        assert np.isnan(repscope.cka(x, y, kernel=RBF(0.4)))


@pytest.mark.parametrize("p", [3, 100, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_examples_are_at_distance_zero_in_different_tiles(p, dtype):
    x = np.random.default_rng(0).normal(size=(40, p)).astype(dtype)
    x[33] = x[2]
    blocks = list(_tiles.tile(RBF(sigma=float(np.sqrt(p))), x, tile_rows=20).squared_distances())
    across = blocks[1]
    assert across[2, 13] == 0.0
    assert np.count_nonzero(across == 0.0) == 1


def test_layers_alike_to_the_kernel_have_no_score(always_tiled):
    x, y = pair(60, 6, 5)
    with pytest.warns(DegenerateInputWarning, match="all rows of x are equal, or alike to this kernel"):
        assert np.isnan(repscope.cka(np.eye(60), y, kernel=RBF(sigma=2.0)))
    with pytest.warns(DegenerateInputWarning, match="all rows of y are equal, or alike to this kernel"):
        assert np.isnan(repscope.cka(x, np.ones_like(y), kernel=Cosine(), estimator="biased"))


def test_a_layer_in_tiles_beside_one_with_gradients(always_tiled):
    torch = pytest.importorskip("torch")
    x, y = pair(40, 6, 5)
    moving = torch.from_numpy(x).requires_grad_()
    value = repscope.cka(moving, torch.from_numpy(y), kernel=RBF(0.4))
    value.backward()
    np.testing.assert_allclose(float(value.detach()), repscope.cka(x, y, kernel=RBF(0.4)), rtol=1e-10)
    assert float(torch.linalg.norm(moving.grad)) > 0


@pytest.mark.parametrize("rule", ["all", "off-diagonal"])
@pytest.mark.parametrize("n", [4, 5, 61, 128])
def test_the_bandwidth_is_the_exact_median(n, rule):
    x, _ = pair(n, 6, 5)
    kernel = RBF(1.0, median=rule)
    found = _tiles.tile(kernel, x, tile_rows=9)
    expected = median_of_distances(np, squared_distances(np, found.features), rule)
    np.testing.assert_allclose(found.variance, expected, rtol=1e-12)


DATA = {
    "normal": np.random.default_rng(0).normal(size=4000),
    "ties": np.random.default_rng(0).integers(0, 5, 4000).astype(float),
    "mostly one value": np.where(np.arange(4000) % 50 == 0, np.arange(4000), 7.0),
    "heavy tail": np.exp(20 * np.random.default_rng(0).normal(size=4000)),
    "ascending": np.arange(4000.0),
    "single": np.full(4000, 3.0),
}


@pytest.mark.parametrize("pool", ["strided", "lowest", "highest", "one", "elsewhere"])
@pytest.mark.parametrize("capacity", [20, 1000, 10000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", DATA)
def test_order_statistics_are_exact_whatever_the_pool(name, dtype, capacity, pool):
    values = DATA[name].astype(dtype)
    ranked = np.sort(values)
    pools = {
        "strided": values[::40],
        "lowest": ranked[:50],
        "highest": ranked[-50:],
        "one": values[:1],
        "elsewhere": np.linspace(-9, -8, 30, dtype=dtype),
    }
    ranks = [0, 1, 1234, 1999, 2000, 3998, 3999]
    found = _selection.select(
        np, lambda: iter(np.split(values, 16)), ranks, pools[pool], len(values), capacity=capacity
    )
    assert found == [float(ranked[rank]) for rank in ranks]


def test_one_pass_is_enough_where_the_pool_resembles_the_whole():
    values = np.random.default_rng(1).normal(size=100_000)
    passes = []

    def blocks():
        passes.append(1)
        return iter(np.split(values, 10))

    found = _selection.select(np, blocks, [49_999, 50_000], values[::50], len(values))
    assert found == list(np.sort(values)[49_999:50_001])
    assert len(passes) == 1


def test_nothing_warns_in_tiles(always_tiled):
    x, y = pair(40, 6, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kernel in KERNELS:
            repscope.cka(x, y, kernel=kernel)
