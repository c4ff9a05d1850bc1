"""Measures of one comparison share tiles, and nothing but time comes of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import repscope
from repscope.engine import bandwidth, tiles
from repscope.engine.plan import Plan, shared
from repscope.measures.catalog import configure
from tests.engine.streams import related_layers

MEASURES = {
    "linear": configure("cka"),
    "hsic": configure("hsic", estimator="biased"),
    "narrow": configure("cka", kernel=repscope.RBF(0.2)),
    "wide": configure("cka", kernel=repscope.RBF(0.8), estimator="biased"),
    "off-diagonal": configure("cka", kernel=repscope.RBF(0.8, median="off-diagonal")),
    "laplace": configure("cka", kernel=repscope.Laplace(0.5)),
}


@pytest.fixture
def layers() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return dict(zip("abc", related_layers(300, (200, 300, 150), rng), strict=True))


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many numbers the products of features, and those of samples for bandwidths, had."""
    counts = {"tiles": 0, "bandwidths": 0}

    def counted(module: object, name: str, which: str) -> None:
        product = getattr(module, name)

        def count(a, b, *rest):
            counts[which] += a.shape[0] * b.shape[0]
            return product(a, b, *rest)

        monkeypatch.setattr(module, name, count)

    counted(tiles, "product_in", "tiles")
    counted(bandwidth, "times_transposed", "bandwidths")
    return counts


def alone(layers: object, measures: dict, **settings: object) -> dict[str, repscope.Comparison]:
    return {name: repscope.compare(layers, measure=m, pairs="all", **settings) for name, m in measures.items()}


def together(layers: object, measures: dict, **settings: object) -> dict[str, repscope.Comparison]:
    found = repscope.compare(layers, measure=list(measures.values()), pairs="all", **settings)
    return {name: found[m.label] for name, m in measures.items()}


def assert_same(got: dict[str, repscope.Comparison], expected: dict[str, repscope.Comparison]) -> None:
    for name, one in expected.items():
        np.testing.assert_allclose(got[name].values, one.values, rtol=1e-12, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(got[name].p_values, one.p_values, rtol=1e-9, atol=1e-12, err_msg=name)
        assert got[name].conventions == one.conventions


def test_arrays(layers, products):
    expected = alone(layers, MEASURES)
    apart = dict(products)
    products.update(dict.fromkeys(products, 0))
    got = together(layers, MEASURES)
    assert_same(got, expected)
    for name, one in expected.items():
        np.testing.assert_allclose(got[name].standard_errors, one.standard_errors, rtol=1e-9, atol=1e-14, err_msg=name)
    # Three kernels share what five runs did; the Laplace kernel needs features of its own. Jackknives share nothing.
    assert products["bandwidths"] == apart["bandwidths"] / 2
    assert products["tiles"] < apart["tiles"]


def test_the_products_of_features_are_computed_once(layers, products):
    measures = {name: MEASURES[name] for name in ("linear", "hsic", "narrow", "wide", "off-diagonal")}
    alone(layers, {"linear": MEASURES["linear"]}, intervals=False)
    once = products["tiles"]
    products["tiles"] = 0
    together(layers, measures, intervals=False)
    assert products["tiles"] <= 1.1 * once  # besides, third-order sums of some examples


@pytest.mark.parametrize("memory", [None, "4.5MB"], ids=["in memory", "in passes"])
def test_a_stream(memory):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 300), torch.nn.ReLU(), torch.nn.Linear(300, 200)).double()
    data = torch.randn(1280, 20).double()
    settings = {"data": data, "batch_size": 64, "memory": memory, "intervals": False}
    expected = alone(model, MEASURES, **settings)
    got = together(model, MEASURES, **settings)
    assert {one.conventions["route"] for one in got.values()} <= {"memory", "passes", "moments"}
    assert got["wide"].conventions["route"] == ("memory" if memory is None else "passes")
    assert_same(got, expected)


PLAN = Plan("all", "passes", 4, 30, 64, 512, 1e9, 1e8, "", 128)


def test_fewer_batches_are_held_for_the_tiles_of_more_kernels():
    # 4 × 128 rows of tiles take what 512 rows of one kernel took.
    assert shared([PLAN] * 4, [100] * 10, 6400) == replace(PLAN, tile_rows=128)
    # 16 kernels take 16 × 64 rows, 512 more, of 10 layers; a batch that is not held makes room for 100 of them.
    roomy = replace(PLAN, passes=5)
    assert shared([roomy] * 16, [100] * 10, 6400) == replace(roomy, tile_rows=64, held_batches=24)


def test_no_plan_for_one_kernel_or_unknown_length_or_more_passes():
    assert shared([PLAN], [100] * 10, 6400) is None
    assert shared([PLAN, PLAN], [100] * 10, None) is None
    tight = replace(PLAN, passes=4, held_batches=25, tile_rows=64)
    assert shared([tight, tight], [10], 6400) is None  # 64 rows more of one layer: 7 batches of 10 features
    assert shared([tight, tight], [1000], 6400) is None  # even one batch less makes five passes of 100 batches


def test_tiles_in_memory_shrink_so_that_all_kernels_take_what_one_took():
    plan = replace(PLAN, route="memory", passes=1, held_batches=1, batch_size=1000, tile_rows=1000)
    found = shared([plan] * 4, [100] * 10, 6400)
    assert found == replace(plan, batch_size=500, tile_rows=500)
