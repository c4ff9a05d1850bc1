from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from repscope.errors import InputError
from repscope.plot import PAGE, grid
from tests.comparison.examples import comparison, ridge

TEN = tuple(f"conv{i + 1}" for i in range(10))


def panels(count, **fields):
    return {f"index {k}": comparison(ridge(10) * (1 - 0.05 * k), rows=TEN, **fields) for k in range(count)}


def image_axes(figure):
    return [ax for ax in figure.axes if ax.images]


def seen(axis):
    return [label.get_text() for label in axis.get_ticklabels() if label.get_visible() and label.get_text()]


def test_panels_are_in_reading_order_with_their_keys_as_titles(tmp_path):
    given = panels(11)
    figure = grid(given)
    assert isinstance(figure, Figure)
    axes = image_axes(figure)
    assert [ax.get_title() for ax in axes] == list(given)
    for ax, one in zip(axes, given.values(), strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), one.values)
    figure.savefig(tmp_path / "a.png")
    corners = [ax.get_position().corners()[0] for ax in axes]
    assert corners[0][0] < corners[1][0] < corners[2][0]
    assert corners[0][1] == pytest.approx(corners[2][1])
    assert corners[0][1] > corners[3][1] > corners[6][1] > corners[9][1]
    np.testing.assert_allclose(np.diff([corners[k][1] for k in (0, 3, 6, 9)], n=2), 0, atol=1e-3)


def test_a_shared_scale_spans_all_panels():
    figure = grid([comparison(ridge(4) - 0.3, range=(-1.0, 1.0)), comparison(ridge(4) * 1.5, range=(0.0, 1.5))])
    axes = image_axes(figure)
    low = float((ridge(4) - 0.3).min())
    assert [ax.images[0].get_clim() for ax in axes] == [(low, 1.5)] * 2
    assert len(figure.axes) == 3
    assert figure.axes[2].get_ylabel() == "CKA (linear, unbiased)"


def test_a_shared_bar_shows_that_scores_lie_outside():
    def extend(*given, **options):
        figure = grid(given, **options)
        return figure.axes[0].images[0].colorbar.extend

    assert extend(comparison(ridge(4)), comparison(ridge(4) / 2)) == "neither"
    assert extend(comparison(ridge(4)), comparison(ridge(4) / 2), limits=(0.2, 0.95)) == "min"
    assert extend(comparison(ridge(4) / 2), comparison(ridge(4)), limits=(0.2, 0.5)) == "both"
    assert extend(comparison(ridge(4)), comparison(np.full((2, 2), np.nan)), limits=(0.0, 0.5)) == "max"


def test_own_scales_have_own_colour_bars():
    given = panels(4)
    figure = grid(given, share_limits=False, limits="data")
    for ax, one in zip(image_axes(figure), given.values(), strict=True):
        assert ax.images[0].get_clim() == (one.values.min(), one.values.max())
        assert ax.images[0].colorbar.ax.get_ylabel() == ""
    assert figure.get_suptitle() == "CKA (linear, unbiased)"
    mixed = {"a": comparison(), "b": comparison(measure="cca")}
    assert grid(mixed, share_limits=False).get_suptitle() == ""
    assert grid(mixed, title="All").get_suptitle() == "All"
    assert grid(given, share_limits=False, title="").get_suptitle() == ""


def test_a_shared_bar_of_several_measures_names_the_kind():
    figure = grid([comparison(), comparison(measure="cca")])
    assert figure.axes[-1].get_ylabel() == "similarity"
    assert [ax.get_title() for ax in image_axes(figure)] == ["CKA (linear, unbiased)", "CCA (linear, unbiased)"]


def test_only_the_outer_panels_name_common_layers():
    figure = grid(panels(5))
    figure.draw_without_rendering()
    axes = image_axes(figure)
    assert [bool(seen(ax.yaxis)) for ax in axes] == [True, False, False, True, False]
    assert [bool(seen(ax.xaxis)) for ax in axes] == [False, False, True, True, True]
    assert [ax.get_ylabel() for ax in axes] == ["net a", "", "", "net a", ""]
    assert [ax.get_xlabel() for ax in axes] == ["", "", "net b", "net b", "net b"]


def test_all_panels_name_their_own_layers():
    figure = grid({"a": comparison(ridge(3)), "b": comparison(ridge(5))})
    figure.draw_without_rendering()
    assert [len(seen(ax.yaxis)) for ax in image_axes(figure)] == [3, 5]


@pytest.mark.parametrize("share", [True, False])
def test_panels_do_not_overlap(share):
    figure = grid(panels(11), columns=4, share_limits=share, title="All indexes")
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    rectangles = [ax.get_tightbbox(renderer) for ax in image_axes(figure)]
    for i, one in enumerate(rectangles):
        assert one.x0 >= -1
        assert one.y0 >= -1
        assert one.x1 <= figure.bbox.width + 1
        for other in rectangles[:i]:
            width = min(one.x1, other.x1) - max(one.x0, other.x0)
            height = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert min(width, height) < 1
    sides = {round(ax.get_window_extent().width) for ax in image_axes(figure)}
    assert max(sides) - min(sides) <= 1
    assert min(sides) > 2.0 * figure.dpi


def test_nothing_to_draw():
    with pytest.raises(InputError, match=r"grid: comparisons must hold one or more .* got 0 and 3"):
        grid([])
    with pytest.raises(InputError, match="columns be at least 1, got 1 and 0"):
        grid([comparison()], columns=0)


def test_similarities_and_distances_do_not_share_a_scale():
    both = [comparison(), comparison(kind="distance")]
    with pytest.raises(InputError, match=r"grid: comparisons must be all similarities .* Pass share_limits=False"):
        grid(both)
    assert len(image_axes(grid(both, share_limits=False))) == 2


@pytest.mark.parametrize("share", [True, False])
def test_a_width_for_print(share):
    figure = grid(panels(6), width=PAGE, share_limits=share)
    assert figure.get_figwidth() == pytest.approx(7.2)
    figure.draw_without_rendering()
    assert min(ax.get_window_extent().width for ax in image_axes(figure)) > 1.2 * figure.dpi


def test_a_width_without_room_is_refused():
    with pytest.raises(InputError, match="grid: width must leave room for 3 columns and their names, got 1 inches"):
        grid(panels(6), width=1)


def test_panels_and_the_shared_colour_bar_show_chance():
    from repscope.plot import grid

    null = {"null_mean": np.full((3, 4), 0.1), "p_values": np.full((3, 4), 0.2)}
    one, two = comparison(**null), comparison(**null | {"null_mean": np.full((3, 4), 0.3)})
    for share, counts in ((True, [1]), (False, [1, 1])):
        figure = grid([one, two], columns=2, share_limits=share)
        assert [len(ax.images) for ax in figure.axes if ax.images] == [2, 2]
        bars = [bar.ax for bar in {ax.images[0].colorbar for ax in figure.axes if ax.images} - {None}]
        marked = [ax for ax in bars if any(line.get_label() == "mean of the null" for line in ax.lines)]
        assert len(marked) == sum(counts)
        if share:
            assert list(marked[0].lines[0].get_ydata()) == pytest.approx([0.1, 0.3])
