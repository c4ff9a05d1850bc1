"""The same layer of two models, over depth."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from matplotlib.figure import Figure

from repscope.errors import InputError
from repscope.plot import same_layer
from tests.comparison.examples import comparison, ridge

SEEDS = ("seed 0", "seed 1", "seed 2")


def seeds(values, layers=("a", "b"), **fields):
    """A comparison of three models of two layers each, all with all."""
    models = tuple(seed for seed in SEEDS for _ in layers)
    return comparison(values, rows=layers * 3, columns=layers * 3, row_model=models, column_model=models, **fields)


def vertical_span(band):
    """Lowest and highest y of a filled band at each x."""
    places: dict[float, list[float]] = {}
    for x, y in band.get_paths()[0].vertices:
        places.setdefault(round(x, 6), []).append(y)
    return [(min(ys), max(ys)) for _, ys in sorted(places.items())]


def test_one_pair_gives_the_diagonal_and_the_interval():
    errors = np.full((3, 3), 0.5)
    np.fill_diagonal(errors, [0.01, 0.02, 0.03])
    given = comparison(ridge(3), standard_errors=errors, conventions={"kernel": "linear", "replicates": 9})
    ax = same_layer(given, label="a and b")
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [0, 1, 2])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), np.diag(ridge(3)))
    assert ax.lines[0].get_label() == "a and b"
    (band,) = ax.collections
    half = 2.306004 * np.array([0.01, 0.02, 0.03])  # Student's t of 8 degrees of freedom at 0.975
    spans = np.array([np.diag(ridge(3)) - half, np.diag(ridge(3)) + half]).T
    np.testing.assert_allclose(vertical_span(band), spans, rtol=1e-7)
    np.testing.assert_allclose(vertical_span(band), np.array([np.diag(end) for end in given.interval()]).T)
    assert ax.get_ylabel() == "CKA (linear)"
    assert ax.get_ylim() == pytest.approx((-0.02, 1.02))


def test_layers_are_matched_by_name_not_by_place():
    given = comparison([[0.1, 0.9, 0.2], [0.8, 0.3, 0.4]], rows=("b", "a"), columns=("a", "b", "c"))
    ax = same_layer(given)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [0.9, 0.8])
    ax.figure.draw_without_rendering()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["b", "a"]


def test_layers_of_other_names_are_matched_by_place():
    ax = same_layer(comparison(ridge(2), rows=("a", "b"), columns=("x", "y")))
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), np.diag(ridge(2)))


def test_layers_that_agree_in_nothing_are_refused():
    with pytest.raises(InputError, match=r"same_layer: comparison must hold models whose layers agree .* got 2 and 3"):
        same_layer(comparison(ridge(2, 3), rows=("a", "b"), columns=("x", "y", "z")))


def test_several_models_give_their_mean_and_their_span():
    values = np.arange(36.0).reshape(6, 6) / 36
    values = (values + values.T) / 2
    ax = same_layer(seeds(values))
    pairs = np.array([[values[2 * i + k, 2 * j + k] for i, j in ((0, 1), (0, 2), (1, 2))] for k in (0, 1)])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), pairs.mean(axis=1))
    np.testing.assert_allclose(vertical_span(ax.collections[0]), np.array([pairs.min(axis=1), pairs.max(axis=1)]).T)


def test_both_orders_count_where_the_measure_is_not_symmetric():
    values = np.arange(36.0).reshape(6, 6) / 36
    ax = same_layer(seeds(values, symmetric=False))
    orders = [(i, j) for i in range(3) for j in range(3) if i != j]
    expected = [np.mean([values[2 * i + k, 2 * j + k] for i, j in orders]) for k in (0, 1)]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected)


def test_a_model_with_itself():
    ax = same_layer(comparison(ridge(3), row_model="net", column_model="net"))
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), np.diag(ridge(3)))


@pytest.mark.parametrize(("kind", "side"), [("similarity", 1), ("distance", -1)])
def test_chance_is_drawn_where_it_is_known(kind, side):
    given = comparison(ridge(3), kind=kind, null_mean=np.full((3, 3), 0.2), null_sd=np.full((3, 3), 0.05))
    ax = same_layer(given)
    assert [line.get_label() for line in ax.lines[1:]] == ["chance"]
    np.testing.assert_allclose(ax.lines[1].get_ydata(), 0.2)
    reach = sorted((0.2, 0.2 + side * 0.05 * NormalDist().inv_cdf(0.95)))
    np.testing.assert_allclose(vertical_span(ax.collections[-1]), [reach] * 3)
    assert len(same_layer(given, chance=False).lines) == 1
    assert len(same_layer(comparison(ridge(3))).lines) == 1


def test_undefined_layers_are_gaps():
    values = ridge(6)
    values[[0, 2, 4]] = values[:, [0, 2, 4]] = np.nan
    ax = same_layer(seeds(values))
    assert np.isnan(ax.lines[0].get_ydata()).tolist() == [True, False]


def test_chance_is_the_mean_over_the_pairs_that_have_one():
    values, null = ridge(6), np.full((6, 6), 0.2)
    values[0, 2] = values[2, 0] = null[0, 2] = null[2, 0] = np.nan
    ax = same_layer(seeds(values, null_mean=null, null_sd=null / 10))
    assert np.isfinite(ax.lines[0].get_ydata()).all()
    np.testing.assert_allclose(ax.lines[1].get_ydata(), 0.2)


@pytest.mark.filterwarnings("error")
def test_nothing_defined_is_an_empty_picture_without_a_warning():
    ax = same_layer(comparison(np.full((3, 3), np.nan), null_mean=np.full((3, 3), np.nan)))
    assert np.isnan(ax.lines[0].get_ydata()).all()
    assert ax.get_ylim() == (-0.02, 1.02)


def test_dollar_signs_in_what_all_names_begin_with_are_no_formulas():
    names = tuple(f"$m$.encoder.a_layer_with_a_long_name_{i}" for i in range(3))
    ax = same_layer(comparison(ridge(3), rows=names, columns=names))
    assert ax.get_xlabel() == r"layer (\$m\$.encoder.*)"


def test_many_layers_take_the_width_of_a_page_and_some_of_the_names():
    names = tuple(f"blocks.{i}.attention" for i in range(200))
    ax = same_layer(comparison(ridge(200), rows=names, columns=names))
    assert ax.figure.get_figwidth() == 7.2
    ax.figure.draw_without_rendering()
    assert 15 <= len([label for label in ax.get_xticklabels() if label.get_text()]) <= 64
    assert same_layer(comparison(ridge(9))).figure.get_figwidth() == 3.5


def test_it_draws_into_given_axes_one_line_after_the_other():
    ax = Figure().subplots()
    assert same_layer(comparison(ridge(3)), ax, label="one") is ax
    same_layer(comparison(ridge(3) / 2), ax, label="two", color="C5")
    assert ax.get_legend_handles_labels()[1] == ["one", "two"]


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_confidence_is_a_probability(confidence):
    with pytest.raises(InputError, match="same_layer: confidence must lie between 0 and 1"):
        same_layer(comparison(ridge(3)), confidence=confidence)


def test_a_ceiling_and_floors_are_drawn():
    ceiling = (np.array([0.8, 0.9, 0.95]), np.array([0.05, np.nan, 0.02]))
    floors = {"untrained": [0.3, 0.2, -0.1], "inputs": [0.5, 0.1, 0.0]}
    ax = same_layer(comparison(ridge(3)), ceiling=ceiling, floors=floors)
    drawn = {line.get_label(): line for line in ax.lines[1:]}
    assert list(drawn) == ["ceiling: other seeds", "floor: untrained", "floor: inputs"]
    for label, heights in zip(drawn, (ceiling[0], *floors.values()), strict=True):
        np.testing.assert_array_equal(drawn[label].get_ydata(), heights)
    (band,) = ax.collections
    assert vertical_span(band)[0] == pytest.approx((0.75, 0.85))
    assert drawn["floor: untrained"].get_linestyle() != drawn["floor: inputs"].get_linestyle()
    assert ax.get_ylim()[0] == pytest.approx(-0.12)


def test_baselines_of_other_layers_are_refused():
    with pytest.raises(
        InputError, match=r"same_layer: ceiling must be one number for each of the 3 layers, got \(2,\)"
    ):
        same_layer(comparison(ridge(3)), ceiling=([0.8, 0.9], [0.1, 0.1]))
    with pytest.raises(
        InputError, match=r"same_layer: untrained must be one number for each of the 3 layers, got \(\)"
    ):
        same_layer(comparison(ridge(3)), floors={"untrained": 0.3})
