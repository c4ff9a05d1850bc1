from __future__ import annotations

import numpy as np
import pytest

from repscope import InputError, compare
from repscope.plot import heatmap, match_path
from tests.comparison.examples import comparison


def scores():
    return comparison(
        np.array([[0.9, 0.2, 0.1], [0.3, 0.4, 0.8], [np.nan, np.nan, np.nan], [0.1, 0.7, 0.2]]),
        rows=("a", "b", "c", "d"),
        columns=("x", "y", "z"),
    )


def test_the_path_joins_the_best_matches_and_leaves_out_undefined_rows():
    given = scores()
    ax = heatmap(given)
    limits = ax.get_xlim(), ax.get_ylim()
    assert match_path(given, ax) is ax
    np.testing.assert_array_equal(ax.lines[-1].get_xdata(), [0, 2, 1])
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), [0, 1, 3])
    assert (ax.get_xlim(), ax.get_ylim()) == limits


def test_without_axes_the_heat_map_is_drawn_too():
    ax = match_path(scores())
    assert len(ax.images) == 1
    assert len(ax.lines) == 1


def test_layers_of_several_models_have_names_in_common_and_are_refused():
    rng = np.random.default_rng(0)
    nets = {net: {f"l{i}": rng.standard_normal((20, 3)) for i in range(2)} for net in "ab"}
    both = compare(nets)
    with pytest.raises(InputError, match=r"^match_path: comparison must have one model on its rows, got 2\. Take one"):
        match_path(both)
    assert len(match_path(both.between("a", "b")).lines) == 1
