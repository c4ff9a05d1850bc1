"""Similarity over the steps of a training and over the number of examples."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from repscope.errors import InputError
from repscope.plot import sample_size, training
from tests.comparison.examples import comparison, ridge

LAYERS = ("a", "b")


def checkpoints(names, **fields):
    values = np.random.default_rng(0).uniform(size=(2 * len(names),) * 2)
    models = tuple(name for name in names for _ in LAYERS)
    layers = LAYERS * len(names)
    return comparison(values, rows=layers, columns=layers, row_model=models, column_model=models, **fields)


def test_each_layer_is_held_against_itself_in_the_last_checkpoint():
    given = checkpoints(["step 0", "step 10", "step 500"])
    ax = training(given)
    for k, line in enumerate(ax.lines):
        np.testing.assert_array_equal(line.get_xdata(), [0, 10])
        np.testing.assert_array_equal(line.get_ydata(), given.values[[k, 2 + k], 4 + k])
    assert len(ax.lines) == 2
    assert ax.get_ylabel() == "CKA (linear, unbiased)\nwith step 500"
    ax.figure.draw_without_rendering()
    assert [label.get_text() for label in ax.figure.axes[1].get_yticklabels()] == ["a", "b"]


def test_another_reference_and_other_steps():
    given = checkpoints(["early", "middle", "late"])
    ax = training(given, reference="early", steps=[5, 7])
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), [5, 7])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), given.values[[3, 5], 1])
    np.testing.assert_array_equal(training(given).lines[0].get_xdata(), [0, 1])


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["step 1,000", "step 10,000"], [1000, 10_000]),
        (["1e3 steps", "1.5e5 steps"], [1000, 150_000]),
        (["step500", "step10k", "step1.5M"], [500, 10_000, 1_500_000]),
        (["v2-epoch3-seed0", "v2-epoch4-seed0"], [0, 1]),
        (["seed1 step 2", "seed1 step 3"], [2, 3]),
    ],
)
def test_the_step_is_the_last_number_of_a_name_unless_two_have_the_same(names, steps):
    ax = training(checkpoints([*names, "end"]))
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), steps)


def test_one_reference_alone_on_the_columns():
    given = comparison(ridge(4, 2), rows=LAYERS * 2, columns=LAYERS, row_model=("0.5",) * 2 + ("1.5",) * 2)
    ax = training(given)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [0.5, 1.5])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), given.values[[0, 2], 0])


def test_wrong_requests_for_a_training():
    with pytest.raises(InputError, match=r"training: reference must be a model of the columns, 'x', 'y', got 'z'"):
        training(checkpoints(["x", "y"]), reference="z")
    with pytest.raises(
        InputError, match="training: comparison must hold checkpoints beside the reference 'x', got none"
    ):
        training(checkpoints(["x"]))
    with pytest.raises(
        InputError, match=r"training: steps must be one number for each of the 1 checkpoints, got \(2,\)"
    ):
        training(checkpoints(["x", "y"]), steps=[1, 2])


def sizes(**fields):
    return [comparison(ridge(2) / k, n=n, rows=LAYERS, columns=LAYERS, **fields) for k, n in ((3, 1000), (1, 10))]


def test_lines_over_examples_are_in_their_order():
    ax = sample_size(sizes())
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10", "1,000"]
    assert len(ax.lines) == 2
    for k, line in enumerate(ax.lines):
        np.testing.assert_array_equal(line.get_xdata(), [10, 1000])
        np.testing.assert_array_equal(line.get_ydata(), [ridge(2)[k, k], ridge(2)[k, k] / 3])


def test_chance_is_drawn_where_it_is_known():
    ax = sample_size(sizes(null_mean=np.array([[0.1, 9.0], [9.0, 0.3]])))
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), 0.2)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["chance"]


def test_chance_is_that_of_the_layers_that_have_one():
    undefined = np.array([[0.1, 9.0], [9.0, np.nan]])
    np.testing.assert_allclose(sample_size(sizes(null_mean=undefined)).lines[-1].get_ydata(), 0.1)
    without = sample_size(sizes(null_mean=np.full((2, 2), np.nan)))
    assert len(without.lines) == 2
    assert without.get_legend() is None


def test_wrong_requests_for_a_sample_size():
    with pytest.raises(InputError, match="sample_size: comparisons must be one or more that know their number"):
        sample_size([])
    with pytest.raises(InputError, match="sample_size: comparisons must be one or more that know their number"):
        sample_size([comparison()])
    with pytest.raises(InputError, match="sample_size: comparisons must differ in the number of examples only"):
        sample_size([comparison(n=5), comparison(ridge(2), n=6)])


def test_they_draw_into_given_axes():
    one, other = Figure().subplots(1, 2)
    assert training(checkpoints(["1", "2"]), one) is one
    assert sample_size(sizes(), other) is other
