"""Two columns of layers, joined where they match best."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from repscope.errors import InputError
from repscope.plot import correspondence
from tests.comparison.examples import comparison, ridge

SCORES = np.array([[0.9, 0.2, 0.1], [0.3, 0.4, 0.8], [np.nan, np.nan, np.nan], [0.85, 0.7, 0.2]])


def links(collection, rows=4, columns=3):
    """Row and column that each line of a collection joins."""
    found = set()
    for (x0, y0), (x1, y1) in collection.get_segments():
        assert (x0, x1) == (0, 1)
        found.add((round(y0 * rows - 0.5), round(y1 * columns - 0.5)))
    return found


def test_mutual_and_one_sided_matches_are_told_apart():
    given = comparison(SCORES, rows=("a", "b", "c", "d"), columns=("x", "y", "z"))
    ax = correspondence(given)
    one_sided, mutual = ax.collections
    assert links(mutual) == {(0, 0), (1, 2)}
    assert links(one_sided) == {(3, 0), (3, 1)}
    assert not np.array_equal(mutual.get_color(), one_sided.get_color())


def test_links_of_distances_join_the_nearest_and_the_nearest_is_thickest():
    ax = correspondence(comparison(1 - ridge(3), kind="distance"))
    assert links(ax.collections[1], 3, 3) == {(0, 0), (1, 1), (2, 2)}
    values = np.diag([0.1, 0.5, 0.9]) + 2 * (1 - np.eye(3))
    widths = correspondence(comparison(values, kind="distance", range=(0.0, 2.0))).collections[1].get_linewidths()
    assert widths[0] > widths[1] > widths[2]


def test_a_link_is_the_thicker_the_more_alike():
    widths = correspondence(comparison(np.diag([0.2, 0.6, 1.0]))).collections[1].get_linewidths()
    np.testing.assert_allclose(np.diff(widths, n=2), 0, atol=1e-12)
    assert widths[0] < widths[1] < widths[2]


def test_many_layers_have_thin_links_and_room_for_names():
    names = tuple(f"blocks.{i}" for i in range(200))
    ax = correspondence(comparison(ridge(200), rows=names, columns=names))
    figure = ax.figure
    figure.draw_without_rendering()
    height = ax.get_window_extent().height / figure.dpi * 72
    assert max(ax.collections[1].get_linewidths()) < height / 200
    for side in figure.axes:
        seen = [label.get_window_extent() for label in side.get_yticklabels() if label.get_text()]
        assert len(seen) > 20
        assert all(one.y1 <= other.y0 for one, other in itertools.pairwise(seen))


def test_sides_are_named_and_first_layers_are_at_the_bottom():
    ax = correspondence(comparison(ridge(2, 3), rows=("a", "b"), columns=("x", "y", "z")))
    left, right = ax.figure.axes
    ax.figure.draw_without_rendering()
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in right.get_yticklabels()] == ["x", "y", "z"]
    assert (left.get_ylabel(), right.get_ylabel()) == ("net a", "net b")
    assert left.get_ylim() == (-0.5, 1.5)
    assert right.get_ylim() == (-0.5, 2.5)
    assert ax.get_title() == "CKA (linear, unbiased)"


def test_it_draws_into_given_axes():
    ax = Figure().subplots()
    assert correspondence(comparison(), ax) is ax


def test_several_models_on_an_axis_are_refused():
    with pytest.raises(
        InputError, match=r"correspondence: comparison must have one model on its columns, got 2\. Take"
    ):
        correspondence(comparison(ridge(2), column_model=("one", "two")))
