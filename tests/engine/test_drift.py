"""An ordered data set is noticed, a shuffled one is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from repscope.engine.accumulate import Matrix
from repscope.engine.drift import DriftStatistic
from repscope.studies.digits import load_digits


def statistic(x: Matrix, batch: int) -> DriftStatistic:
    found = DriftStatistic()
    for begin in range(0, len(x), batch):
        found.update(x[begin : begin + batch])
    return found


def normal(n: int, rng: np.random.Generator) -> Matrix:
    return rng.standard_normal((n, 30))


def one_direction(n: int, rng: np.random.Generator) -> Matrix:
    return rng.standard_normal((n, 1)) * np.linspace(1, 3, 30)


def correlated(n: int, rng: np.random.Generator) -> Matrix:
    return 5 * one_direction(n, rng) + rng.standard_normal((n, 30)) + 1000


def heavy_tailed(n: int, rng: np.random.Generator) -> Matrix:
    return np.exp(1.5 * rng.standard_normal((n, 1))) * rng.standard_normal((n, 30))


def rare(n: int, rng: np.random.Generator) -> Matrix:
    return np.where(rng.random((n, 20)) < 0.02, rng.exponential(size=(n, 20)), 0)


@pytest.mark.parametrize(("batches", "size"), [(2, 4), (2, 100), (3, 8), (5, 16), (20, 4), (30, 16)])
@pytest.mark.parametrize("features", [normal, one_direction, correlated, heavy_tailed, rare])
def test_random_order_is_rarely_taken_for_an_order(
    features: Callable[[int, np.random.Generator], Matrix], batches: int, size: int
) -> None:
    alarms = sum(statistic(features(batches * size, np.random.default_rng(seed)), size).ordered for seed in range(500))
    assert alarms < 5


@pytest.mark.parametrize("batch", [16, 64, 256])
def test_digits_sorted_by_class_are_noticed_and_shuffled_ones_are_not(batch: int) -> None:
    images, labels = load_digits()
    x = np.asarray(images, dtype=np.float32).reshape(len(labels), -1)
    labels = np.asarray(labels)
    assert statistic(x[np.argsort(labels, kind="stable")], batch).ordered
    assert not statistic(x[np.random.default_rng(0).permutation(len(x))], batch).ordered


@pytest.mark.parametrize(("batches", "size"), [(2, 50), (4, 50), (30, 20)])
def test_clusters_one_after_another_are_noticed(batches: int, size: int) -> None:
    rng = np.random.default_rng(0)
    centers = np.repeat(rng.standard_normal((batches, 100)), size, axis=0)
    assert statistic(centers + rng.standard_normal((batches * size, 100)), size).ordered


def test_a_slow_drift_is_noticed() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 50)) + np.linspace(0, 1, 2000)[:, None]
    assert statistic(x, 100).ordered


def test_order_in_a_few_of_many_features_is_noticed_where_it_carries_variance() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 640))
    x[:, 320:] += 3 * np.repeat(rng.standard_normal((10, 320)), 100, axis=0)
    assert statistic(x, 100).ordered


@pytest.mark.parametrize("value", [0.0, 0.1, -1e8])
def test_a_constant_layer_has_no_order(value: float) -> None:
    x = np.full((80, 10), value, np.float32)
    found = statistic(x, 10)
    assert np.isnan(found.f)
    assert not found.ordered
    # Different batch sizes round differently.
    jitter = (x.astype(np.float64) * np.repeat([1, 1 + 6e-8], 40)[:, None]).astype(np.float32)
    assert not statistic(jitter, 10).ordered


def test_constant_features_beside_others_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal((200, 5)), np.full((200, 5), 3.0)], axis=1)
    np.testing.assert_allclose(statistic(x, 20).f, statistic(x[:, :5], 20).f)


def test_values_that_change_between_batches_only_are_ordered() -> None:
    assert statistic(np.repeat(np.eye(4), 10, axis=0), 10).ordered


@pytest.mark.parametrize("batches", [0, 1])
def test_one_batch_shows_no_order(batches: int) -> None:
    found = statistic(np.arange(20.0 * batches)[:, None], 20)
    assert np.isnan(found.f)
    assert not found.ordered


def test_statistics_merge_in_any_order() -> None:
    x = correlated(200, np.random.default_rng(0))
    whole, parts = statistic(x, 20), [DriftStatistic() for _ in range(3)]
    for number, begin in enumerate(range(0, 200, 20)):
        parts[number % 3].update(x[begin : begin + 20])
    total = DriftStatistic()
    for part in reversed(parts):
        total.merge(DriftStatistic.from_arrays(part.arrays()))
    np.testing.assert_allclose(total.f, whole.f, rtol=1e-12)


def test_f_is_near_one_on_average_in_random_order() -> None:
    values = [statistic(normal(400, np.random.default_rng(seed)), 20).f for seed in range(50)]
    np.testing.assert_allclose(np.mean(values), 1, atol=0.02)


def test_the_estimate_is_wrong_where_an_order_is_noticed() -> None:
    """The reason for all this: sorted by class, the minibatch estimate loses what the classes share."""
    from repscope.engine.batchwise import batch_sums
    from repscope.engine.exact import tile_sums
    from repscope.measures.kernels import Linear
    from tests.engine.streams import CutSource

    rng = np.random.default_rng(0)
    shared = np.repeat(3 * rng.standard_normal((10, 20)), 40, axis=0)
    layers = [shared @ rng.standard_normal((20, p)) + 5 * rng.standard_normal((400, p)) for p in (30, 40)]

    def values(rows: Matrix) -> tuple[float, bool]:
        sums, _, ordered = batch_sums(CutSource([x[rows] for x in layers], [40] * 10), Linear(), "unbiased")
        hsic = sums.hsic()
        return float(hsic[0, 1] / np.sqrt(hsic[0, 0] * hsic[1, 1])), bool(ordered)

    exact = tile_sums(CutSource(layers, [400]), Linear(), held_batches=1, bandwidth_examples=1, seed=0)[0]
    hsic = exact.hsic("unbiased")
    truth = float(hsic[0, 1] / np.sqrt(hsic[0, 0] * hsic[1, 1]))
    in_order, noticed = values(np.arange(400))
    assert noticed
    assert in_order < 0.3 < 0.7 < truth
    shuffled, noticed = values(rng.permutation(400))
    assert not noticed
    np.testing.assert_allclose(shuffled, truth, atol=0.05)
