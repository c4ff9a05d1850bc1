from __future__ import annotations

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.figure import Figure

from repscope.errors import InputError
from repscope.plot import curve, hues, panels, points


def test_a_curve_counts_layers_from_one():
    ax = curve([0.2, 0.4, 0.3])
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(line.get_ydata(), [0.2, 0.4, 0.3])
    assert not ax.collections


def test_a_band_spans_the_errors_in_the_colour_of_the_line():
    ax = Figure().add_subplot()
    assert curve([0.5, 0.7], ax, x=[4, 8], errors=[0.1, 0.2], color="C3", label="conv1") is ax
    (band,) = ax.collections
    (path,) = band.get_paths()
    low, high = path.vertices.min(axis=0), path.vertices.max(axis=0)
    np.testing.assert_allclose([low, high], [[4, 0.4], [8, 0.9]])
    assert matplotlib.colors.same_color(band.get_facecolor()[0][:3], ax.lines[0].get_color())
    assert ax.get_legend_handles_labels()[1] == ["conv1"]


def test_unknown_errors_are_not_drawn():
    assert not curve([0.5, 0.7], errors=[np.nan, np.nan]).collections


@pytest.mark.parametrize("options", [{"x": [1, 2, 3]}, {"errors": [0.1]}])
def test_a_curve_of_different_lengths_is_refused(options):
    with pytest.raises(InputError, match=r"curve: values, x and errors must have one shape \(points,\), got \(2,\)"):
        curve([0.5, 0.7], **options)


def test_points_are_where_they_belong_in_their_colours():
    ax = points([1.0, 2.0], [3.0, 5.0], colors=["red", "blue"])
    (found,) = ax.collections
    np.testing.assert_array_equal(found.get_offsets(), [[1, 3], [2, 5]])
    assert matplotlib.colors.same_color(found.get_facecolor()[0], "red")


def test_points_of_different_numbers_are_refused():
    with pytest.raises(InputError, match=r"points: x and y must have one shape \(n,\), got \(2,\) and \(3,\)"):
        points([1, 2], [1, 2, 3])


def test_hues_tell_directions_and_the_middle_is_grey():
    colors = hues([1, -1, 0, 0, 0], [0, 0, 1, -1, 0])
    assert colors.shape == (5, 3)
    assert len(np.unique(colors.round(6), axis=0)) == 5
    np.testing.assert_allclose(colors[-1], colors[-1][0])
    assert (np.ptp(colors[:-1], axis=1) > 0.2).all()
    assert np.all((colors >= 0) & (colors <= 1))


def test_panels_come_in_reading_order():
    axes = panels(2, 3, title="All")
    assert len(axes) == 6
    figure = axes[0].get_figure()
    assert all(ax.get_figure() is figure for ax in axes)
    assert figure.get_suptitle() == "All"
    figure.draw_without_rendering()
    corners = [ax.get_position() for ax in axes]
    assert corners[0].x0 < corners[1].x0 < corners[2].x0
    assert corners[0].y0 > corners[3].y0
