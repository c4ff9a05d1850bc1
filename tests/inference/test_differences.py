"""Differences of scores on the same examples: their jackknife, what holds without any statistics, and the coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

import repscope
from repscope import InputError, difference
from tests.inference.test_jackknife import from_errors, layers_of, recomputed

pytestmark = pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")


@pytest.mark.parametrize("n", [30, 300])  # Gram matrices, and moments
@pytest.mark.parametrize(("measure", "estimator"), [("cka", "unbiased"), ("cka", "biased"), ("hsic", "unbiased")])
def test_replicates_are_the_scores_without_each_example(n, measure, estimator):
    layers = layers_of(n)
    result = repscope.compare(layers, measure=measure, estimator=estimator, replicates=True)
    expected = recomputed(layers, 1, measure_id=measure, estimator=estimator)
    np.testing.assert_allclose(result.replicates, expected, rtol=1e-11, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(result.standard_errors, from_errors(expected), atol=1e-10 * np.abs(expected).max())


def test_a_difference_has_the_jackknife_of_itself():
    layers = layers_of(40)
    result = repscope.compare(layers, replicates=True, intervals=4)
    one, other = result.select(rows="narrow"), result.select(rows="wide")
    found = difference(one, other)
    replicates = recomputed(layers, 4)
    np.testing.assert_allclose(found.values, one.values - other.values)
    np.testing.assert_allclose(found.standard_errors[0], from_errors(replicates[:, 0] - replicates[:, 2]), rtol=1e-9)
    assert found.replicates == 10
    assert found.names[0][1] == ("narrow × middling", "wide × middling")


def test_the_interval_and_the_p_value_are_students():
    stats = pytest.importorskip("scipy.stats")
    result = repscope.compare(layers_of(30), replicates=True)
    found = difference(result.select(rows="narrow", columns="wide"), result.select(rows="middling", columns="wide"))
    t = found.values / found.standard_errors
    np.testing.assert_allclose(found.p_values, 2 * stats.t.sf(np.abs(t), 29), rtol=1e-9)
    for level in (0.5, 0.95, 0.99):
        low, high = found.interval(level)
        np.testing.assert_allclose(high - low, 2 * stats.t.ppf((1 + level) / 2, 29) * found.standard_errors, rtol=1e-9)
        assert bool(low[0, 0] <= 0 <= high[0, 0]) == bool(found.p_values[0, 0] >= 1 - level)


def test_a_score_does_not_differ_from_itself():
    result = repscope.compare(layers_of(30), replicates=True)
    found = difference(result, result)
    assert not found.values.any()
    assert not found.standard_errors.any()
    assert (found.p_values == 1).all()
    low, high = found.interval()
    assert not low.any()
    assert not high.any()


def test_equal_layers_under_two_names_do_not_differ_either():
    layers = layers_of(30)
    twins = {"one": layers["wide"], "two": layers["wide"] * -3.0, "other": layers["narrow"]}
    result = repscope.compare(twins, replicates=True)
    found = difference(result.select(rows="one", columns="other"), result.select(rows="two", columns="other"))
    assert found.values[0, 0] == found.standard_errors[0, 0] == 0
    assert found.p_values[0, 0] == 1


def test_the_order_turns_the_sign_and_nothing_else():
    result = repscope.compare(layers_of(30), replicates=True)
    one, other = result.select(rows="narrow", columns="wide"), result.select(rows="middling", columns="wide")
    forth, back = difference(one, other), difference(other, one)
    np.testing.assert_array_equal(forth.values, -back.values)
    np.testing.assert_array_equal(forth.standard_errors, back.standard_errors)
    np.testing.assert_array_equal(forth.p_values, back.p_values)


def test_what_moves_both_scores_cancels():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 5))
    near = x + rng.standard_normal((200, 5))
    result = repscope.compare(
        {"near": near, "far": near + 0.1 * rng.standard_normal((200, 5))}, {"x": x}, replicates=True
    )
    found = difference(result.select(rows="near"), result.select(rows="far"))
    apart = math.hypot(*result.standard_errors[:, 0])
    assert found.standard_errors[0, 0] < apart / 3


def test_intervals_hold_the_difference_of_the_population():
    """Two layers of equal CKA with a third and much in common: 0 lies in 95 % of the intervals."""
    draws, held = 120, 0
    for number in range(draws):
        rng = np.random.default_rng(number)
        x, common = rng.standard_normal((2, 50, 5))
        a, b = (x + common + 0.5 * rng.standard_normal((50, 5)) for _ in range(2))
        result = repscope.compare({"a": a, "b": b}, {"x": x}, replicates=True)
        low, high = difference(result.select(rows="a"), result.select(rows="b")).interval()
        held += bool(low[0, 0] <= 0 <= high[0, 0])
    # Four standard deviations of a binomial count around 95 %.
    assert abs(held - 0.95 * draws) <= 4 * math.sqrt(draws * 0.95 * 0.05)


def test_differences_that_are_there_are_found():
    found = []
    for number in range(20):
        rng = np.random.default_rng(number)
        x, common = rng.standard_normal((2, 50, 5))
        rows = {"a": x + common + 0.5 * rng.standard_normal((50, 5)), "b": x + 2 * common}
        result = repscope.compare(rows, {"x": x}, replicates=True)
        found.append(float(difference(result.select(rows="a"), result.select(rows="b")).p_values[0, 0]))
    assert max(found) < 0.01


def test_two_models_layer_by_layer_and_two_measures():
    nets = {name: layers_of(40, seed) for seed, name in enumerate("abx")}
    found = repscope.compare(nets, measure=["cka", "hsic"], replicates=True)
    result = found["cka"]
    gap = difference(result.between("a", "x"), result.between("b", "x"))
    assert gap.values.shape == (3, 3)
    assert gap.names[0][1] == ("a: narrow × x: middling", "b: narrow × x: middling")
    assert difference(found["cka"], found["hsic"]).values.shape == (9, 9)


def test_a_difference_reads_as_a_sentence():
    result = repscope.compare(layers_of(30), replicates=True)
    one, other = result.select(rows="narrow", columns="wide"), result.select(rows="middling", columns="wide")
    found = difference(one, other)
    low, high = found.interval()
    assert str(found) == (
        f"(narrow × wide) − (middling × wide) = {found.values[0, 0]:.3g}, 95 % interval {low[0, 0]:.3g} to "
        f"{high[0, 0]:.3g}, p = {found.p_values[0, 0]:.2g}"
    )
    assert str(difference(result, result)) == "None of 9 differences is beyond chance (p ≤ 0.05); from 0 to 0."


def test_differences_are_a_comparison_of_their_own():
    result = repscope.compare(layers_of(40), replicates=True)
    found = difference(result.select(rows=["narrow", "wide"]), result.select(rows=["middling", "wide"]))
    shown = found.to_comparison()
    assert shown.row_layers == ("narrow − middling", "wide")
    assert shown.column_layers == result.column_layers
    np.testing.assert_array_equal(shown.values, found.values)
    np.testing.assert_array_equal(shown.p_values, found.p_values)
    np.testing.assert_array_equal(shown.within_chance, found.p_values > 0.05)
    assert shown.range[0] == -shown.range[1]
    assert shown.conventions["null"] == "no difference, by the jackknife"


def test_differences_are_drawn_as_a_map_or_along_the_layers():
    pytest.importorskip("matplotlib")
    result = repscope.compare(layers_of(40), replicates=True)
    table = difference(result.select(rows=["narrow", "wide"]), result.select(rows=["middling", "wide"]))
    image = table.plot().images[0]
    np.testing.assert_array_equal(image.get_array(), table.values)
    low, high = image.get_clim()
    assert low == -high == -np.abs(table.values).max()
    row = difference(result.select(rows="narrow"), result.select(rows="middling"))
    ax = row.plot()
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), row.values[0])
    (band,) = ax.collections
    ends = band.get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([ends.min(), ends.max()], [row.interval()[0].min(), row.interval()[1].max()])
    assert [label.get_text() for label in ax.get_xticklabels()] == list(result.column_layers)


def test_replicates_come_back_from_a_file_and_go_with_parts(tmp_path):
    result = repscope.compare(layers_of(30), replicates=True)
    loaded = repscope.load(result.save(tmp_path / "result.npz"))
    assert loaded.equals(result)
    assert not repscope.compare(layers_of(30)).equals(result)
    part = loaded.select(rows=["narrow", "wide"], columns="middling")
    np.testing.assert_array_equal(part.replicates, result.replicates[:, [0, 2]][:, :, [1]])
    assert difference(loaded.select(rows="wide"), result.select(rows="wide")).values.max() == 0
    assert "replicates" not in result.arrays
    assert repscope.compare(layers_of(30)).replicates is None


def test_undefined_scores_have_no_difference():
    layers = layers_of(30) | {"dead": np.ones((30, 3))}
    with pytest.warns(repscope.DegenerateInputWarning):
        result = repscope.compare(layers, replicates=True)
    found = difference(result.select(rows="dead"), result.select(rows="wide"))
    assert np.isnan(found.values).all()
    assert np.isnan(found.p_values).all()
    assert str(found) == "None of 4 differences is defined."


def test_where_there_are_no_replicates_the_reason_is_said(tmp_path):
    layers = layers_of(30)
    with pytest.raises(
        InputError, match=r"one must hold the scores without each example, got none\. Compare all in one"
    ):
        difference(repscope.compare(layers), repscope.compare(layers))
    batch = repscope.compare(layers, pairs="batch")
    with pytest.raises(InputError, match=r"got the estimate of pairs='batch', which has none\. Use pairs='all'"):
        difference(batch, batch)
    angles = repscope.compare(layers, measure="procrustes")
    with pytest.raises(InputError, match=r"got Procrustes \(angle\), which has none\. Compare CKA or HSIC"):
        difference(angles, angles)
    paths = [tmp_path / f"part{k}" for k in (1, 2)]
    for k, path in enumerate(paths, start=1):
        repscope.compare_part(layers, shard=(k, 2), path=path)
    merged = repscope.merge(paths)
    with pytest.raises(InputError, match=r"must hold the scores without each example, got none"):
        difference(merged, merged)


def test_replicates_that_cannot_be_had_are_refused_when_they_are_asked_for(tmp_path):
    layers = layers_of(30)
    with pytest.raises(InputError, match=r"compare: replicates must be left out for pairs='batch', got True"):
        repscope.compare(layers, pairs="batch", replicates=True)
    with pytest.raises(InputError, match=r"compare: replicates must be left out for procrustes, got True"):
        repscope.compare(layers, measure="procrustes", replicates=True)
    with pytest.raises(InputError, match=r"compare: intervals must be left out with replicates=True, got False"):
        repscope.compare(layers, intervals=False, replicates=True)
    with pytest.raises(InputError, match=r"compare_part: replicates must be left out, got True"):
        repscope.compare_part(layers, shard=(1, 2), path=tmp_path / "part", replicates=True)
    with pytest.raises(InputError, match=r"compare: replicates=True cannot be had: a variance needs 8 examples, got 7"):
        repscope.compare(layers_of(7), replicates=True)
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 4))
    with pytest.raises(InputError, match=r"replicates=True cannot be had: the activations .* must fit memory"):
        repscope.compare(model, data=torch.randn(2000, 5), batch_size=20, memory="60kB", replicates=True)


def test_standard_errors_that_cannot_be_had_are_refused_before_the_work(tmp_path, monkeypatch):
    layers = layers_of(30)
    with pytest.raises(InputError, match=r"compare_part: intervals must be left out, got 2"):
        repscope.compare_part(layers, shard=(1, 2), path=tmp_path / "part", intervals=2)
    torch = pytest.importorskip("torch")
    monkeypatch.setattr("repscope.sources.ModelSource.stream", None)
    wide = torch.nn.Sequential(torch.nn.Linear(5, 300), torch.nn.Tanh())
    given = {"data": torch.randn(2000, 5), "batch_size": 100, "intervals": True}
    with pytest.raises(InputError, match=r"intervals=True cannot be had: the activations of all examples must fit mem"):
        repscope.compare(wide, **given, memory="2MB", pairs="all", kernel=repscope.RBF(0.5))
    narrow = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh())
    with pytest.raises(InputError, match=r"intervals=True cannot be had: the activations of all examples must fit mem"):
        repscope.compare(narrow, **given, memory="60kB")
    with pytest.raises(InputError, match=r"intervals=True cannot be had: with checkpoint= no activations are kept"):
        repscope.compare(narrow, **given, checkpoint=tmp_path / "sums")


def test_arrays_larger_than_the_budget_have_no_standard_errors_and_say_so_first(monkeypatch):
    monkeypatch.setattr("repscope.job.accumulate", None)
    layers = {"x": np.random.default_rng(0).standard_normal((1600, 1000)).astype("f4")}
    with pytest.raises(InputError, match=r"intervals=True cannot be had: the activations must fit memory= twice"):
        repscope.compare(layers, memory="5MB", intervals=True)


def test_other_parts_are_refused():
    result = repscope.compare(layers_of(30), replicates=True)
    again = repscope.compare(layers_of(30), replicates=True)
    with pytest.raises(InputError, match=r"one and other must have one shape, got \(3, 3\) and \(1, 3\)"):
        difference(result, result.select(rows="wide"))
    with pytest.raises(InputError, match=r"must be parts of one comparison, got parts of two"):
        difference(result, again)
    with pytest.raises(InputError, match=r"Difference.interval: level must lie between 0 and 1, got 95"):
        difference(result, result).interval(95)
    with pytest.raises(
        InputError, match=r"replicates must be real numbers of the shape \(replicates, 3, 3\), got float64"
    ):
        repscope.Comparison(**(result.facts | {"values": result.values, "replicates": np.ones((4, 2, 3))}))
