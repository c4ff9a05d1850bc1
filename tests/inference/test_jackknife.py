"""Values without some of the examples are those of a comparison without them, on every route."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

import repscope
from repscope import RBF, InputError
from repscope.engine.exact import accumulate_moments, accumulate_tiles
from repscope.engine.stream import ArraySource, fit_layers
from repscope.inference import gram_forms, jackknife
from repscope.inference.gram_forms import EntryForm, FeatureForm, form_of
from repscope.inference.jackknife import Spread, blocks_of, values_without
from repscope.measures.kernels import Cosine, Kernel, Laplace, Linear, Polynomial


def layers_of(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Three related layers with means far from zero."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((n, 3))
    return {
        name: shared @ rng.standard_normal((3, p)) + rng.standard_normal((n, p)) + 3.0
        for name, p in (("narrow", 2), ("middling", 4), ("wide", 30))
    }


def recomputed(layers: dict[str, np.ndarray], size: int, measure_id: str = "cka", **settings) -> np.ndarray:
    """The scores after the examples of one block were really taken away, for each block."""
    n = len(layers["wide"])
    sizes = [s for count, s in blocks_of(n, size) for _ in range(count)]
    starts = np.cumsum([0, *sizes])
    assert starts[-1] == n
    found = []
    for start, stop in pairwise(starts):
        rest = [np.delete(x, np.s_[start:stop], axis=0) for x in layers.values()]
        found.append([[repscope.score(measure_id, x, y, **settings) for y in rest] for x in rest])
    return np.array(found)


def from_errors(replicates: np.ndarray) -> np.ndarray:
    """The jackknife's standard error, as Efron & Tibshirani (1993) write it in eq. 11.5."""
    count = len(replicates)
    return np.sqrt((count - 1) / count * ((replicates - replicates.mean(axis=0)) ** 2).sum(axis=0))


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("measure_id", ["cka", "hsic"])
@pytest.mark.parametrize("route", ["moments", "tiles"])
def test_values_without_a_block_are_those_of_the_other_examples(route, measure_id, size, estimator):
    layers = layers_of(43)
    source = ArraySource(list(layers.values()), list(layers), batch_size=16)
    tiles = fit_layers(source, Linear())
    if route == "moments":
        partial = accumulate_moments(source, Linear())
    else:
        partial = accumulate_tiles(source, Linear(), held_batches=1, tile_rows=16, bandwidth_examples=0, seed=0)
    form = form_of(list(zip(tiles, source.arrays, strict=True)), partial)
    assert isinstance(form, FeatureForm if route == "moments" else EntryForm)
    got = np.concatenate(list(values_without(form, estimator, normalised=measure_id == "cka", size=size)))
    units = np.array([t.unit for t in tiles])
    if measure_id == "hsic":
        got *= np.outer(units, units)
    expected = recomputed(layers, size, measure_id=measure_id, estimator=estimator)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("room", [0, 1 << 29], ids=["every entry twice", "every entry once"])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_runs_of_blocks_give_what_all_blocks_at_once_give(monkeypatch, size, room):
    layers = layers_of(67)
    source = ArraySource(list(layers.values()), list(layers), batch_size=16)
    partial = accumulate_tiles(source, Linear(), held_batches=9, tile_rows=16, bandwidth_examples=0, seed=0)
    pairs = list(zip(fit_layers(source, Linear()), source.arrays, strict=True))
    for module in (jackknife, gram_forms):
        monkeypatch.setattr(module, "COLUMNS", 24)
    monkeypatch.setattr(jackknife, "_STRIPE_BYTES", 8 * len(layers) * 24 * 10)
    monkeypatch.setattr(gram_forms, "_HELD_BYTES", room)
    got = list(values_without(form_of(pairs, partial), "unbiased", normalised=True, size=size))
    assert len(got) > 5
    expected = recomputed(layers, size, measure_id="cka", estimator="unbiased")
    np.testing.assert_allclose(np.concatenate(got), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kernel", [RBF(sigma=4.0), Laplace(sigma=4.0), Polynomial(2), Cosine()], ids=repr)
def test_standard_errors_of_other_kernels(kernel: Kernel):
    layers = layers_of(40)
    result = repscope.compare(layers, kernel=kernel, intervals=True)
    expected = from_errors(recomputed(layers, 1, measure_id="cka", kernel=kernel))
    np.testing.assert_allclose(result.standard_errors, expected, atol=1e-10)


def test_the_bandwidth_by_the_median_stays_as_it_is():
    layers = layers_of(40)
    result = repscope.compare(layers, kernel=RBF(0.5), intervals=True)
    sigmas = {name: median_sigma(x, 0.5) for name, x in layers.items()}
    for i, x in enumerate(layers.values()):
        kernel = RBF(sigma=sigmas[list(layers)[i]])
        alone = repscope.compare({"x": x}, kernel=kernel, measure="hsic", intervals=True)
        whole = repscope.compare({"x": x}, kernel=RBF(0.5), measure="hsic", intervals=True)
        np.testing.assert_allclose(whole.standard_errors, alone.standard_errors, rtol=1e-6)
    assert np.all(result.standard_errors[~np.eye(3, dtype=bool)] > 0)


def median_sigma(x: np.ndarray, fraction: float) -> float:
    distances = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=-1))
    return fraction * float(np.median(distances))


@pytest.mark.parametrize("n", [30, 300])
def test_compare_fills_in_standard_errors(n):
    layers = layers_of(n)
    result = repscope.compare(layers)
    assert result.conventions["route"] == ("memory" if n == 30 else "moments")
    expected = from_errors(recomputed(layers, 1, measure_id="cka"))
    np.testing.assert_allclose(result.standard_errors, expected, atol=1e-12)
    assert result.conventions["replicates"] == n
    assert result.conventions["intervals"] == "jackknife, 1 example left out at a time"


def test_only_the_pairs_in_question():
    layers = layers_of(40)
    whole = repscope.compare(layers)
    part = repscope.compare({"wide": layers["wide"]}, {k: layers[k] for k in ("narrow", "middling")})
    np.testing.assert_allclose(part.standard_errors, whole.standard_errors[2:, :2], rtol=1e-10)


def test_blocks_of_examples_that_belong_together():
    layers = {name: np.repeat(x, 3, axis=0) for name, x in layers_of(30).items()}
    with pytest.warns(repscope.DiagnosticWarning, match="equal another"):
        together = repscope.compare(layers, estimator="biased", intervals=3)
    once = repscope.compare(layers_of(30), estimator="biased", intervals=True)
    assert together.conventions["replicates"] == 30
    np.testing.assert_allclose(together.standard_errors, once.standard_errors, atol=1e-12)


def test_single_precision_has_the_same_errors():
    layers = layers_of(60)
    expected = repscope.compare(layers, intervals=True).standard_errors
    got = repscope.compare({k: x.astype(np.float32) for k, x in layers.items()}, intervals=True).standard_errors
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-7)


def test_torch_models_have_standard_errors_too():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 4))
    data = torch.randn(200, 5)
    stored = repscope.representations(model, data)
    expected = repscope.compare(stored, intervals=True).standard_errors
    got = repscope.compare(model, data=data, batch_size=20, pairs="all")
    np.testing.assert_allclose(got.standard_errors, expected, rtol=1e-3, atol=1e-6)
    less = repscope.compare(model, data=torch.randn(2000, 5), batch_size=20, memory="60kB")
    assert less.standard_errors is None
    assert "must fit memory" in less.conventions["intervals"]


def test_activations_are_kept_for_errors_where_all_that_errors_need_fits():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(40, 40) for _ in range(5)))
    given = {"data": torch.randn(2000, 40), "batch_size": 100, "pairs": "all"}
    plans = {
        memory: repscope.plan_comparison(model, **given, memory=memory)
        for memory in range(1_600_000, 6_000_000, 50_000)
    }
    assert all(plan.route == "moments" and plan.peak_bytes <= memory for memory, plan in plans.items())
    kept = [plan.kept_bytes > 0 for plan in plans.values()]
    assert kept == sorted(kept)
    assert len(set(kept)) == 2
    enough = next(memory for memory, plan in plans.items() if plan.kept_bytes)
    # All activations and two squares of moments, beside the moments themselves.
    assert enough > 4 * 2000 * 200 + 3 * 8 * 200**2
    assert plans[enough].kept_bytes >= 4 * 2000 * 200
    assert repscope.compare(model, **given, memory=enough).standard_errors is not None
    less = repscope.compare(model, **given, memory=enough - 50_000)
    assert less.standard_errors is None
    assert "must fit memory" in less.conventions["intervals"]
    without = repscope.plan_comparison(model, **given, memory=enough, intervals=False)
    assert without.kept_bytes == 0


def test_positions_of_one_image_are_left_out_together():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.Conv2d(3, 4, 3, padding=1))
    data = torch.randn(12, 1, 4, 4)
    result = repscope.compare(model, data=data, reduce="positions")
    assert result.n == 12 * 16
    assert result.conventions["replicates"] == 12
    assert result.conventions["intervals"] == "jackknife, 16 consecutive examples left out at a time"


@pytest.mark.parametrize("ask", [repscope.compare, lambda *a, **k: repscope.permutation_test(*a, **k).comparison])
def test_examples_that_are_positions_of_one_image_are_no_independent_ones(ask):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.Conv2d(3, 4, 1))
    given = {"data": torch.randn(12, 1, 6, 6), "measure": "cca"}
    told = ask(model, model, **given, reduce="positions").conventions
    assert told["items"] == "several examples each, which the null takes as independent"
    assert "items" not in ask(model, model, **given, reduce="mean").conventions


def test_the_interval_is_students():
    stats = pytest.importorskip("scipy.stats")
    result = repscope.compare(layers_of(30))
    for level in (0.8, 0.95, 0.99):
        low, high = result.interval(level)
        width = stats.t.ppf((1 + level) / 2, 29) * result.standard_errors
        np.testing.assert_allclose(high - result.values, width, rtol=1e-4, atol=1e-12)
        np.testing.assert_allclose(result.values - low, width, rtol=1e-4, atol=1e-12)


def test_constant_layers_have_no_standard_error():
    layers = layers_of(30) | {"dead": np.ones((30, 3))}
    with pytest.warns(repscope.DegenerateInputWarning):
        result = repscope.compare(layers)
    assert np.isnan(result.standard_errors[-1]).all()
    assert np.isfinite(result.standard_errors[:-1, :-1]).all()


def test_a_result_with_intervals_comes_back_from_its_file(tmp_path):
    result = repscope.compare(layers_of(30))
    loaded = repscope.load(result.save(tmp_path / "result.npz"))
    assert loaded.equals(result)
    np.testing.assert_array_equal(loaded.interval(0.9), result.interval(0.9))


def test_no_intervals_where_none_are_wanted():
    result = repscope.compare(layers_of(30), intervals=False)
    assert result.standard_errors is None
    with pytest.raises(InputError, match=r"must have standard errors, got none were asked for"):
        result.interval()


def test_few_examples_are_said():
    layers = layers_of(7)
    result = repscope.compare(layers)
    assert result.standard_errors is None
    with pytest.raises(InputError, match="a variance needs 8 examples, got 7"):
        result.interval()
    with pytest.raises(InputError, match="compare: intervals=True cannot be had: a variance needs 8 examples, got 7"):
        repscope.compare(layers, intervals=True)
    with pytest.raises(InputError, match="a variance needs 8 blocks, got 6"):
        repscope.compare(layers_of(30), intervals=5)


def test_a_number_may_be_numpys():
    found, expected = (repscope.compare(layers_of(30), intervals=size) for size in (np.int64(3), 3))
    np.testing.assert_array_equal(found.standard_errors, expected.standard_errors)


@pytest.mark.parametrize("wrong", ["yes", 0, -3, 1.5, None])
def test_other_words_are_refused(wrong):
    with pytest.raises(InputError, match="compare: intervals must be 'auto', True, False"):
        repscope.compare(layers_of(30), intervals=wrong)


@pytest.mark.parametrize("intervals", [True, 5])
def test_what_has_no_standard_errors_says_so_where_they_are_demanded(intervals):
    with pytest.raises(InputError, match=r"intervals must be left out for procrustes, got .* only hsic and cka"):
        repscope.compare(layers_of(30), measure=["cka", "procrustes"], intervals=intervals)
    with pytest.raises(InputError, match=r"left out for pairs='batch', got .* Use pairs='all'"):
        repscope.compare(layers_of(30), pairs="batch", intervals=intervals)
    assert repscope.compare(layers_of(30), measure="procrustes").standard_errors is None
    assert repscope.compare(layers_of(30), pairs="batch").standard_errors is None


def test_the_bootstrap_of_rows_is_refused_with_the_reason():
    with pytest.raises(InputError, match=r"draws examples twice.*Use intervals=True, the jackknife"):
        repscope.compare(layers_of(30), intervals="bootstrap")


def test_the_reason_holds():
    """Of unrelated layers, CKA is about 0, the jackknife's interval holds 0, and the bootstrap's lies far above."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 512)), rng.standard_normal((64, 256))
    low, high = repscope.compare({"x": x}, {"y": y}).interval()
    assert low[0, 0] < 0 < high[0, 0]
    drawn = [rng.integers(0, 64, 64) for _ in range(50)]
    assert min(float(repscope.cka(x[rows], y[rows])) for rows in drawn) > 0.7


@pytest.mark.parametrize("level", [0.0, 1.0, 95, math.nan])
def test_the_level_is_a_probability(level):
    with pytest.raises(InputError, match="level must lie between 0 and 1"):
        repscope.compare(layers_of(30)).interval(level)


def test_replicates_may_come_in_any_runs():
    rng = np.random.default_rng(0)
    replicates = 1e3 + rng.standard_normal((20, 2, 3))
    spread = Spread(replicates[0])
    for part in np.split(replicates, [1, 7, 8]):
        spread.add(part)
    np.testing.assert_allclose(spread.standard_errors(), from_errors(replicates), rtol=1e-12)
