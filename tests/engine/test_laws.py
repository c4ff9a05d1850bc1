"""What the engine adds up equals what the measures compute in memory, however the examples come."""

from __future__ import annotations

import tracemalloc
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import repscope
from repscope.engine import accumulate, products, stream
from repscope.engine.accumulate import BatchSums, Matrix, MomentSums
from repscope.engine.bandwidth import fit_bandwidths
from repscope.engine.batchwise import batch_sums
from repscope.engine.exact import accumulate_moments, finish_moments, moment_sums, tile_sums
from repscope.engine.products import times_transposed
from repscope.engine.stream import ArraySource, stacked_products
from repscope.engine.tiles import LayerTiles
from repscope.measures._sums import PairSums, TileSums
from repscope.measures.kernels import RBF, Cosine, Estimator, Kernel, Laplace, Linear, Polynomial, as_kernel
from tests.engine.streams import CutSource, related_layers, sizes_of

KERNELS: list[Kernel] = [Linear(), RBF(0.4), RBF(0.8, median="off-diagonal"), RBF(sigma=20.0), Laplace(1.0)]
UNSHIFTED: list[Kernel] = [Polynomial(2), Polynomial(3, constant=0.5, gamma=0.1), Cosine()]
ESTIMATORS: tuple[Estimator, ...] = ("unbiased", "biased")
WIDTHS = (7, 12, 30)


def exact(source: stream.Source, kernel: Kernel, *, held: int = 1, tile_rows: int = 512) -> tuple[PairSums, Matrix]:
    return tile_sums(source, kernel, held_batches=held, tile_rows=tile_rows, bandwidth_examples=10**6, seed=0)


def hsic_of(found: tuple[PairSums, Matrix], estimator: Estimator) -> Matrix:
    sums, units = found
    return sums.hsic(estimator) * np.outer(units, units)


def cka_of(found: tuple[PairSums, Matrix], estimator: Estimator) -> Matrix:
    hsic = found[0].hsic(estimator)
    roots = np.sqrt(np.diag(hsic))
    return hsic / np.outer(roots, roots)


def in_memory(measure: Callable[..., Any], layers: list[np.ndarray], kernel: Kernel, estimator: Estimator) -> Matrix:
    layers = [x.astype(np.float64) for x in layers]
    return np.array([[float(measure(x, y, kernel=kernel, estimator=estimator)) for y in layers] for x in layers])


# -- tiles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trial", range(4))
@pytest.mark.parametrize("kernel", KERNELS + UNSHIFTED, ids=repr)
def test_the_tiles_add_up_to_the_value_in_memory(kernel: Kernel, trial: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(trial)
    n = int(rng.integers(40, 130))
    layers = related_layers(n, WIDTHS, rng)
    source = CutSource(layers, sizes_of(n, rng, int(rng.integers(5, 30)), ragged=trial % 2 == 0))
    found = exact(source, kernel, held=int(rng.integers(1, 6)), tile_rows=int(rng.integers(3, 50)))
    assert found[0].n == n
    for estimator in ESTIMATORS:
        np.testing.assert_allclose(
            cka_of(found, estimator), in_memory(repscope.cka, layers, kernel, estimator), rtol=1e-9, atol=1e-9
        )
        expected = in_memory(repscope.hsic, layers, kernel, estimator)
        scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        np.testing.assert_allclose(hsic_of(found, estimator) / scale, expected / scale, atol=1e-9)


@pytest.mark.parametrize("trial", range(3))
@pytest.mark.parametrize("kernel", KERNELS + UNSHIFTED, ids=repr)
def test_single_precision_tiles_agree_with_double(kernel: Kernel, trial: int) -> None:
    rng = np.random.default_rng(trial)
    layers = related_layers(150, WIDTHS, rng, np.float32)
    source = CutSource(layers, sizes_of(150, rng, int(rng.integers(20, 70))))
    found = exact(source, kernel, held=int(rng.integers(1, 4)))
    for estimator in ESTIMATORS:
        np.testing.assert_allclose(
            cka_of(found, estimator), in_memory(repscope.cka, layers, kernel, estimator), atol=1e-5
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_a_common_offset_and_any_scale_cost_no_accuracy(kernel: Kernel, scale: float, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    if isinstance(kernel, RBF) and kernel.sigma is not None:
        kernel = RBF(sigma=kernel.sigma / 5 * scale)
    layers = [((x / x.std() + 1000) * scale).astype(dtype) for x in related_layers(120, WIDTHS, rng)]
    source = CutSource(layers, [50, 50, 20])
    tolerance = 2e-5 if dtype is np.float32 else 1e-9
    routes = {"tiles": exact(source, kernel)} | ({"moments": moment_sums(source, kernel)} if kernel == Linear() else {})
    for estimator in ESTIMATORS:
        expected = in_memory(repscope.cka, layers, kernel, estimator)
        for found in routes.values():
            np.testing.assert_allclose(cka_of(found, estimator), expected, atol=tolerance)
        sums, units, _ = batch_sums(source, kernel, estimator)
        batchwise = slow_minibatch_hsic(source, layers, kernel, estimator)
        actual = sums.hsic() * np.outer(units, units)
        roots = np.sqrt(np.outer(np.diag(batchwise), np.diag(batchwise)))
        np.testing.assert_allclose(actual / roots, batchwise / roots, atol=tolerance)


@pytest.mark.parametrize("fraction", [0.1, 0.15, 0.2])
@pytest.mark.parametrize("kernel", [RBF, Laplace])
@pytest.mark.parametrize("n", [60, 300])
def test_a_narrow_kernel_costs_single_precision_little_accuracy(n: int, kernel: Any, fraction: float) -> None:
    rng = np.random.default_rng(n)
    layers = [layer.astype(np.float32) for layer in related_layers(n, (800, 1000), rng)]
    found = cka_of(exact(CutSource(layers, [n]), kernel(fraction)), "unbiased")
    expected = in_memory(repscope.cka, layers, kernel(fraction), "unbiased")
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kernel", UNSHIFTED, ids=repr)
def test_an_offset_leaves_kernels_that_may_not_be_shifted_what_it_leaves_in_memory(kernel: Kernel) -> None:
    rng = np.random.default_rng(4)
    n = 90
    layers = [1e4 + layer for layer in related_layers(n, WIDTHS, rng)]
    found = cka_of(exact(CutSource(layers, [30, 30, 30]), kernel), "unbiased")
    np.testing.assert_allclose(found, in_memory(repscope.cka, layers, kernel, "unbiased"), atol=1e-5)


@pytest.mark.parametrize("outlier", [1e2, 1e4])
def test_one_huge_example_costs_no_accuracy(outlier: float) -> None:
    rng = np.random.default_rng(0)
    layers = related_layers(200, WIDTHS, rng, np.float32)
    for x in layers:
        x[17] *= outlier
    source = CutSource(layers, [50] * 4)
    expected = in_memory(repscope.cka, layers, Linear(), "unbiased")
    for found in (exact(source, Linear()), moment_sums(source, Linear())):
        np.testing.assert_allclose(cka_of(found, "unbiased"), expected, atol=1e-4)


def test_a_first_batch_unlike_all_others_costs_little_accuracy() -> None:
    rng = np.random.default_rng(0)
    layers = related_layers(800, WIDTHS, rng, np.float32)
    for x in layers:
        x[:40] += 30 * x.std()
    expected = in_memory(repscope.cka, layers, Linear(), "unbiased")
    source = CutSource(layers, [40] * 20)
    np.testing.assert_allclose(cka_of(exact(source, Linear(), held=5), "unbiased"), expected, atol=2e-4)
    np.testing.assert_allclose(cka_of(moment_sums(source, Linear()), "unbiased"), expected, atol=1e-6)
    arrays = ArraySource(layers, ["a", "b", "c"], batch_size=40)  # where all examples are at hand, order costs nothing
    np.testing.assert_allclose(cka_of(exact(arrays, Linear(), held=5), "unbiased"), expected, atol=1e-5)


@pytest.mark.parametrize("kernel", [*KERNELS, Cosine()], ids=repr)
def test_the_order_of_the_examples_does_not_matter(kernel: Kernel) -> None:
    rng = np.random.default_rng(0)
    layers = related_layers(90, WIDTHS, rng)
    by_first_feature = np.argsort(layers[0][:, 0])
    sorted_layers = [x[by_first_feature] for x in layers]
    for estimator in ESTIMATORS:
        values = [
            cka_of(exact(CutSource(x, [20, 20, 20, 30]), kernel, held=2), estimator) for x in (layers, sorted_layers)
        ]
        np.testing.assert_allclose(values[1], values[0], atol=1e-12)


@pytest.mark.parametrize("kernel", [Linear(), RBF(0.4)], ids=repr)
def test_held_batches_change_the_number_of_passes_and_nothing_else(kernel: Kernel) -> None:
    rng = np.random.default_rng(0)
    layers = related_layers(100, WIDTHS, rng)
    values, passes = [], []
    for held in (1, 2, 3, 7, 50):
        source = CutSource(layers, [16, 16, 16, 16, 16, 20])
        values.append(cka_of(exact(source, kernel, held=held), "unbiased"))
        passes.append(source.passes - isinstance(kernel, RBF))
    assert passes == [6, 3, 2, 1, 1]
    for value in values[1:]:
        np.testing.assert_allclose(value, values[0], atol=1e-12)


def test_the_bandwidth_of_a_sample_is_near_the_exact_one_and_depends_on_the_seed_alone() -> None:
    rng = np.random.default_rng(0)
    layers = related_layers(600, WIDTHS, rng)
    expected = in_memory(repscope.cka, layers, RBF(0.4), "unbiased")

    def values(sizes: list[int], seed: int) -> Matrix:
        source = CutSource(layers, sizes)
        found = tile_sums(source, RBF(0.4), held_batches=3, bandwidth_examples=150, seed=seed)
        return cka_of(found, "unbiased")

    one, same, other = values([100] * 6, 0), values([33] * 17 + [39], 0), values([100] * 6, 1)
    np.testing.assert_allclose(same, one, atol=1e-12)
    assert not np.array_equal(other, one)
    np.testing.assert_allclose(one, expected, atol=0.03)
    np.testing.assert_allclose(other, expected, atol=0.03)


def test_the_median_with_its_zero_diagonal_is_that_of_all_examples_not_of_the_sample() -> None:
    # With 12 examples of 1000 the diagonal would take a twelfth of the entries and pull the median down.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 50))
    source = ArraySource([x], ["x"], batch_size=100)
    full = fit_bandwidths(source, RBF(1.0), 1000, 0)[0].variance
    sampled = [fit_bandwidths(source, RBF(1.0), 12, seed)[0].variance for seed in range(40)]
    off_diagonal = [fit_bandwidths(source, RBF(1.0, median="off-diagonal"), 12, seed)[0].variance for seed in range(40)]
    np.testing.assert_allclose(np.mean(sampled), full, rtol=0.02)
    np.testing.assert_allclose(np.mean(sampled), np.mean(off_diagonal), rtol=0.01)


# -- moments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "widths"), [(30, (5, 9)), (64, (60, 70)), (40, (100, 3, 1)), (200, (8, 4, 4))])
def test_moments_equal_grams(n: int, widths: tuple[int, ...]) -> None:
    rng = np.random.default_rng(n)
    layers = related_layers(n, widths, rng)
    source = CutSource(layers, sizes_of(n, rng, 9, ragged=True))
    grams, moments = exact(source, Linear()), moment_sums(source, Linear())
    for estimator in ESTIMATORS:
        np.testing.assert_allclose(cka_of(moments, estimator), cka_of(grams, estimator), atol=1e-10)
        np.testing.assert_allclose(hsic_of(moments, estimator), hsic_of(grams, estimator), rtol=1e-10)


def test_moments_in_stripes_and_slices_equal_grams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accumulate, "STRIPE_ROWS", 6)  # several layers a stripe, and one by itself
    monkeypatch.setattr("repscope.engine.exact.MOMENT_ROWS", 7)
    rng = np.random.default_rng(5)
    widths = (2, 3, 4, 9, 1, 5)
    source = CutSource(related_layers(40, widths, rng), [13, 20, 7])
    assert [rows.stop - rows.start for rows in accumulate.stripes_of(widths)] == [9, 9, 6]
    grams, moments = exact(source, Linear()), moment_sums(source, Linear())
    for estimator in ESTIMATORS:
        np.testing.assert_allclose(cka_of(moments, estimator), cka_of(grams, estimator), atol=1e-10)
    z, sums = rng.standard_normal((20, sum(widths))), MomentSums(widths)
    sums.update(z, np.zeros((20, len(widths))))
    np.testing.assert_allclose(sums.whole(), z.T @ z, atol=1e-12)


def test_single_precision_moments_agree_with_double() -> None:
    rng = np.random.default_rng(0)
    layers = related_layers(300, WIDTHS, rng, np.float32)
    found = moment_sums(CutSource(layers, [100, 100, 100]), Linear())
    for estimator in ESTIMATORS:
        np.testing.assert_allclose(
            cka_of(found, estimator), in_memory(repscope.cka, layers, Linear(), estimator), atol=1e-6
        )


# -- batches ---------------------------------------------------------------------------------------------------------


def slow_minibatch_hsic(source: CutSource, layers: list[np.ndarray], kernel: Kernel, estimator: Estimator) -> Matrix:
    """Nguyen et al. 2021: numerators and denominators averaged over batches, the ratio last."""
    total = np.zeros((len(layers), len(layers)))
    for rows in source.slices():
        total += in_memory(repscope.hsic, [x[rows] for x in layers], kernel, estimator)
    return total / len(source.slices())


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kernel", [*KERNELS, *UNSHIFTED], ids=repr)
def test_the_minibatch_estimate_is_the_mean_over_batches_before_the_ratio(kernel: Kernel, estimator: Estimator) -> None:
    rng = np.random.default_rng(0)
    layers = related_layers(103, WIDTHS, rng)
    source = CutSource(layers, sizes_of(103, rng, 20))
    sums, units, ordered = batch_sums(source, kernel, estimator)
    assert (sums.batches, sums.examples, ordered, source.passes) == (5, 103, [], 1)
    np.testing.assert_allclose(
        sums.hsic() * np.outer(units, units), slow_minibatch_hsic(source, layers, kernel, estimator), rtol=1e-9
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kernel", [*KERNELS, *UNSHIFTED], ids=repr)
def test_one_batch_of_everything_is_exact(kernel: Kernel, estimator: Estimator) -> None:
    rng = np.random.default_rng(0)
    layers = related_layers(60, WIDTHS, rng)
    sums, units, _ = batch_sums(CutSource(layers, [60]), kernel, estimator)
    found = exact(CutSource(layers, [20, 20, 20]), kernel)
    np.testing.assert_allclose(sums.hsic() * np.outer(units, units), hsic_of(found, estimator), rtol=1e-9)


def test_a_callable_kernel_gets_arrays_of_its_own_library() -> None:
    torch = pytest.importorskip("torch")
    layers = [torch.from_numpy(x) for x in related_layers(40, WIDTHS, np.random.default_rng(0))]
    seen = []

    def distance_kernel(x: Any) -> Any:
        seen.append(type(x))
        return -torch.cdist(x, x)

    source = CutSource(layers, [40])
    sums, _, _ = batch_sums(source, as_kernel(distance_kernel), "unbiased")
    assert set(seen) == {torch.Tensor}
    expected = [[float(repscope.hsic(x, y, kernel=distance_kernel)) for y in layers] for x in layers]
    np.testing.assert_allclose(sums.hsic(), expected, rtol=1e-9)


# -- merging ---------------------------------------------------------------------------------------------------------


def merged(kind: Any, parts: list[Any], rng: np.random.Generator) -> Any:
    """The sum of all parts in a random order, each sent as plain arrays."""
    order = rng.permutation(len(parts))
    received = [kind.from_arrays({k: np.array(v) for k, v in parts[i].arrays().items()}) for i in order]
    total = received[0]
    for part in received[1:]:
        total.merge(part)
    return total


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_moments_of_any_split_merge(processes: int) -> None:
    rng = np.random.default_rng(processes)
    layers = related_layers(70, WIDTHS, rng)
    whole = MomentSums(WIDTHS)
    parts = [MomentSums(WIDTHS) for _ in range(processes)]
    owner = rng.integers(processes, size=70)

    def add(sums: MomentSums, rows: np.ndarray) -> None:
        z = np.concatenate([x[rows] for x in layers], axis=1)
        squares = np.stack([(x[rows] ** 2).sum(axis=1) for x in layers], axis=1)
        sums.update(z, squares)

    add(whole, np.arange(70))
    for index, part in enumerate(parts):
        for rows in np.array_split(np.flatnonzero(owner == index), 3):
            add(part, rows)
    total = merged(MomentSums, parts, rng)
    assert total.widths == WIDTHS
    for estimator in ESTIMATORS:
        np.testing.assert_allclose(total.finish().hsic(estimator), whole.finish().hsic(estimator), rtol=1e-9)
        np.testing.assert_allclose(
            whole.finish().hsic(estimator), in_memory(repscope.hsic, layers, Linear(), estimator), rtol=1e-9
        )


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_tiles_of_any_split_merge(processes: int) -> None:
    rng = np.random.default_rng(processes)
    layers = related_layers(70, WIDTHS, rng)
    edges = [0, *sorted(rng.choice(np.arange(2, 69), size=4, replace=False).tolist()), 70]
    pieces = [slice(a, b) for a, b in pairwise(edges)]
    parts = [TileSums(len(layers)) for _ in range(processes)]
    for i, rows in enumerate(pieces):
        for columns in pieces[i:]:
            sums = parts[int(rng.integers(processes))]
            blocks = [x[rows] @ x[columns].T for x in layers]
            if rows == columns:
                diagonals = np.stack([np.diag(b) for b in blocks])
                off = [b - np.diag(np.diag(b)) for b in blocks]
                products = np.array([[np.sum(b * c) for c in off] for b in off])
                sums.update_diagonal(rows, products, np.stack([b.sum(axis=1) for b in off]), diagonals)
            else:
                products = np.array([[np.sum(b * c) for c in blocks] for b in blocks])
                sums.update_block(
                    rows, columns, products, np.stack([b.sum(1) for b in blocks]), np.stack([b.sum(0) for b in blocks])
                )
    total = merged(TileSums, parts, rng)
    assert total.n == 70
    for estimator in ESTIMATORS:
        np.testing.assert_allclose(
            total.finish().hsic(estimator), in_memory(repscope.hsic, layers, Linear(), estimator), rtol=1e-9
        )


def test_batches_of_any_split_merge() -> None:
    rng = np.random.default_rng(0)
    layers = related_layers(100, WIDTHS, rng)
    whole, _, _ = batch_sums(CutSource(layers, [20] * 5), Linear(), "unbiased")
    parts = [BatchSums(3) for _ in range(4)]  # one has seen nothing
    for index, begin in enumerate(range(0, 100, 20)):
        one, units, _ = batch_sums(CutSource([x[begin : begin + 20] for x in layers], [20]), Linear(), "unbiased")
        one.sum *= np.outer(units, units)
        parts[index % 3].merge(one)
    total = merged(BatchSums, parts, rng)
    _, units, _ = batch_sums(CutSource(layers, [20] * 5), Linear(), "unbiased")
    assert (total.batches, total.examples) == (5, 100)
    np.testing.assert_allclose(total.hsic(), whole.hsic() * np.outer(units, units), rtol=1e-10)


# -- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [10, 1000, (1 << 18) + 77, 3 << 18])
def test_stacked_products_are_those_of_double_precision(entries: int) -> None:
    rng = np.random.default_rng(0)
    stack = (rng.standard_normal((4, entries)) + 1).astype(np.float32)
    expected = stack.astype(np.float64) @ stack.astype(np.float64).T
    np.testing.assert_allclose(stacked_products(stack), expected, rtol=1e-6)
    np.testing.assert_allclose(stacked_products(stack.astype(np.float64)), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 5), (65, 40), (300, 500), (30, 1501), (401, 30), (1500, 7)])
@pytest.mark.parametrize("read_only", [False, True])
def test_products_are_the_same_on_every_route(
    shape: tuple[int, int], read_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("repscope.engine.products._WORTH_MEASURING", 0)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(shape), rng.standard_normal((7, shape[1]))
    a.flags.writeable = b.flags.writeable = not read_only
    monkeypatch.setattr("repscope.engine.products.cores", lambda: 3)
    for route in ("numpy", "slices", "torch", "blocks"):
        monkeypatch.setattr(products, "_trials", lambda *_, route=route: {route: deque([0.0, 0.0])})
        np.testing.assert_allclose(times_transposed(a, b), a @ b.T, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(times_transposed(a, a), a @ a.T, rtol=1e-12, atol=1e-12)


def test_the_route_of_products_that_was_fastest_of_late_is_taken() -> None:
    seconds = {"torch": 3.0, "slices": 2.0}
    trials: products.Trials = {route: deque(maxlen=5) for route in ("torch", "slices")}
    taken = []

    def go(times: int) -> None:
        for _ in range(times):
            taken.append(products._next_route(trials))
            trials[taken[-1]].append(seconds[taken[-1]])

    go(6)
    assert sorted(taken[:4]) == ["slices", "slices", "torch", "torch"]
    assert taken[4:] == ["slices"] * 2
    trials["slices"].append(50.0)  # disturbed once
    go(3)
    assert taken[6:] == ["slices"] * 3
    seconds["slices"] = 4.0
    go(4)
    assert taken[-1] == "torch", "since slices have become slower"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernel", KERNELS + UNSHIFTED, ids=repr)
def test_prepared_features_are_memory_of_their_own(kernel: Kernel, dtype: Any) -> None:
    x = related_layers(20, (5,), np.random.default_rng(0), dtype)[0]
    before = x.copy()
    tiles = LayerTiles.fit(kernel, x)
    features = tiles.features(x)
    assert not np.shares_memory(features, x)
    kept = features.copy()
    tiles.block(features, features)
    np.testing.assert_array_equal(features, kept)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.1, -3.7e5, 1e-20, 0.0])
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_a_constant_layer_has_no_variation_at_all(kernel: Kernel, value: float, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    constant = np.full((90, 7), value, dtype)
    one_differs = constant.copy()
    one_differs[40] += dtype(2.5)
    source = CutSource([rng.standard_normal((90, 5)).astype(dtype), constant, one_differs], [30, 30, 30])
    itemsize = np.dtype(dtype).itemsize
    routes = [exact(source, kernel)] + ([moment_sums(source, kernel)] if kernel == Linear() else [])
    for sums, _ in routes:
        with np.errstate(invalid="ignore"):
            assert sums.vanishing("unbiased", itemsize).tolist() == [False, True, True]
            # Equal but for one: U-centring removes it, the biased estimate sees it, no median distance exists.
            no_bandwidth = isinstance(kernel, RBF | Laplace) and kernel.sigma is None
            assert sums.vanishing("biased", itemsize).tolist() == [False, True, no_bandwidth]


def test_moments_of_one_process_are_finished_where_they_are() -> None:
    rng = np.random.default_rng(0)
    layers = [rng.standard_normal((64, 100)) for _ in range(20)]
    partial = accumulate_moments(ArraySource(layers, [str(index) for index in range(20)]), Linear())
    tracemalloc.start()
    try:
        finish_moments([partial])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.2 * partial.arrays["sums.moments"].nbytes
