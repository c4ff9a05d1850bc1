from __future__ import annotations

import itertools
import subprocess
import sys

import matplotlib as mpl
import matplotlib.colors
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from repscope.errors import InputError, MissingExtraError
from repscope.plot import heatmap
from tests.comparison.examples import comparison, ridge

RESNET = tuple(f"layer{s}.{b}.{part}" for s in (1, 2, 3, 4) for b in range(5) for part in ("conv1", "relu", "conv2"))
RESNET = (*RESNET, "fc")
BERT = tuple(
    f"encoder.layer.{i}.{part}"
    for i in range(25)
    for part in (
        *("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
        *("attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
    )
)
NAMES = {10: tuple(f"conv{i + 1}" for i in range(10)), 61: RESNET, 200: BERT}


def drawn(figure):
    figure.draw_without_rendering()
    return figure.canvas.get_renderer()


def boxes(axis, renderer):
    """The rectangles of the labels that are seen, in their order along the axis."""
    return [label.get_window_extent(renderer) for label in axis.get_ticklabels() if label.get_text()]


def axes_of(size, **options):
    return heatmap(comparison(ridge(size), rows=NAMES[size], columns=NAMES[size]), **options)


# -- the image ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", NAMES)
def test_layer_1_is_at_bottom_left(size):
    ax = axes_of(size)
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), ridge(size))
    assert image.origin == "lower"
    assert tuple(image.get_extent()) == (-0.5, size - 0.5, -0.5, size - 0.5)
    assert ax.get_xlim() == (-0.5, size - 0.5)
    assert ax.get_ylim() == (-0.5, size - 0.5)
    first = ax.transData.transform((0, 0))
    assert (first < ax.transData.transform((1, 1))).all()


def test_rows_run_upwards_and_columns_to_the_right():
    ax = heatmap(comparison(ridge(3, 4), rows=("a", "b", "c"), columns=("w", "x", "y", "z")))
    drawn(ax.figure)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["w", "x", "y", "z"]
    assert list(ax.get_yticks()) == [0, 1, 2]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("net b", "net a")
    assert ax.images[0].get_array()[2, 1] == ridge(3, 4)[2, 1]


def test_cells_are_square_unless_that_makes_a_strip():
    for shape, height_over_width in (((10, 10), 1.0), ((10, 20), 0.5), ((3, 60), 1 / 3), ((60, 3), 3.0)):
        ax = heatmap(comparison(ridge(*shape)))
        drawn(ax.figure)
        box = ax.get_window_extent()
        assert box.height / box.width == pytest.approx(height_over_width, rel=1e-6)


def test_colours():
    similar, distant = comparison(), comparison(kind="distance")
    assert heatmap(similar).images[0].get_cmap().name == "magma"
    assert heatmap(distant).images[0].get_cmap().name == "magma_r"
    assert heatmap(similar, cmap="viridis").images[0].get_cmap().name == "viridis"
    assert heatmap(similar, cmap=mpl.colormaps["gray"]).images[0].get_cmap().name == "gray"


# -- colour limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "fields", "limits"),
    [
        ([[0.2, 0.7]], {"range": (0.0, 1.0)}, (0, 1)),
        ([[0.2, 0.7]], {"range": (-1.0, 1.0)}, (0, 1)),
        ([[-0.02, 0.7]], {"range": (-1.0, 1.0)}, (-0.02, 1)),
        ([[-0.02, 0.7]], {"range": (0.0, 1.0)}, (0, 1)),
        ([[-5.0, 0.7]], {"range": (-1.0, 1.0)}, (-1, 1)),
        ([[0.2, 3.5]], {"range": (0.0, np.inf), "kind": "distance"}, (0, 3.5)),
        ([[-3.0, 0.5]], {"range": (-np.inf, 1.0)}, (-3, 1)),
        ([[0.2, np.inf]], {"range": (0.0, np.inf), "kind": "distance"}, (0, 0.2)),
        ([[0.0, 0.0]], {"range": (0.0, np.inf), "kind": "distance"}, (0, 1)),
        ([[np.nan, np.nan]], {"range": (-1.0, np.inf)}, (0, 1)),
        ([[0.4, 1.2]], {"range": (0.0, np.pi / 2), "kind": "distance"}, (0, np.pi / 2)),
    ],
)
def test_limits_come_from_the_range_of_the_measure(values, fields, limits):
    assert heatmap(comparison(values, **fields)).images[0].get_clim() == limits


def test_limits_of_the_data_and_of_the_caller():
    one = comparison([[0.2, np.nan, 0.7]])
    assert heatmap(one, limits="data").images[0].get_clim() == (0.2, 0.7)
    assert heatmap(one, limits=(0.1, 3)).images[0].get_clim() == (0.1, 3)
    assert heatmap(comparison([[0.5]]), limits="data").images[0].get_clim() == (0.5, 1.5)


@pytest.mark.parametrize("limits", ["auto", (1, 0), (0, np.inf), (np.nan, 1), (0, 1, 2), 3])
def test_other_limits_are_refused(limits):
    with pytest.raises(InputError, match="heatmap: limits must be 'range', 'data' or two finite numbers"):
        heatmap(comparison(), limits=limits)


# -- undefined, infinite and outlying scores ----------------------------------------------------------------


def test_nan_is_grey_and_counted():
    ax = heatmap(comparison([[np.nan, 0.5], [np.nan, 1.0]]))
    image = ax.images[0]
    assert np.ma.getmaskarray(image.get_array()).tolist() == [[True, False], [True, False]]
    grey = image.get_cmap()(np.ma.masked)
    nearest = np.abs(mpl.colormaps["magma"](np.linspace(0, 1, 256))[:, :3] - grey[:3]).max(axis=1).min()
    assert nearest > 0.1
    assert ax.get_title().endswith("\ngrey: undefined, 2 of 4")
    assert heatmap(comparison([[np.nan, 0.5]]), title="").get_title() == "grey: undefined, 1 of 2"
    assert "grey" not in heatmap(comparison()).get_title()


def test_infinities_take_the_colour_of_the_limit():
    ax = heatmap(comparison([[np.inf, 0.5], [-np.inf, 1.0]], kind="distance", range=(-np.inf, np.inf)))
    shown = ax.images[0].get_array()
    assert not np.ma.getmaskarray(shown).any()
    assert np.asarray(shown).tolist() == [[1.0, 0.5], [0.0, 1.0]]
    assert ax.images[0].colorbar.extend == "both"


@pytest.mark.parametrize(
    ("values", "extend"),
    [([[0.0, 1.0]], "neither"), ([[-0.1, 1.0]], "min"), ([[0.0, 1.1]], "max"), ([[-0.1, 1.1]], "both")],
)
def test_the_colour_bar_shows_that_scores_lie_outside(values, extend):
    assert heatmap(comparison(values)).images[0].colorbar.extend == extend


# -- the colour bar -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(10, 10), (8, 20), (20, 8), (3, 60)])
def test_the_colour_bar_is_as_high_as_the_image(shape):
    ax = heatmap(comparison(ridge(*shape)))
    drawn(ax.figure)
    renderer = drawn(ax.figure)  # the layout settles in two rounds, as many as savefig gives it
    bar = ax.images[0].colorbar.ax
    image, strip = ax.get_window_extent(renderer), bar.get_window_extent(renderer)
    assert strip.y0 == pytest.approx(image.y0, abs=0.5)
    assert strip.y1 == pytest.approx(image.y1, abs=0.5)
    assert 5 < strip.x0 - image.x1 < 15
    assert bar.get_tightbbox(renderer).x1 <= ax.figure.bbox.width + 1


def test_the_measure_is_named_once():
    ax = heatmap(comparison())
    assert ax.get_title() == "CKA (linear, unbiased)"
    assert ax.images[0].colorbar.ax.get_ylabel() == "similarity"
    ax = heatmap(comparison(), title="Two seeds")
    assert ax.get_title() == "Two seeds"
    assert ax.images[0].colorbar.ax.get_ylabel() == "CKA (linear, unbiased)"
    assert heatmap(comparison(), colorbar=False).images[0].colorbar is None


# -- layer names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", NAMES)
@pytest.mark.parametrize("inches", [None, 3.0, 14.0])
def test_layer_names_neither_overlap_nor_leave_the_figure(size, inches, tmp_path):
    ax = axes_of(size)
    figure = ax.figure
    if inches:  # the labels are chosen when the figure is drawn, so a new size is all right
        figure.set_size_inches(inches, inches)
    figure.savefig(tmp_path / "a.png")
    renderer = drawn(figure)
    for axis, low, high in ((ax.xaxis, "x0", "x1"), (ax.yaxis, "y0", "y1")):
        seen = boxes(axis, renderer)
        assert len(seen) >= (5 if inches == 3.0 else min(size, 20))
        for one, next_one in itertools.pairwise(seen):
            assert getattr(one, high) <= getattr(next_one, low)
        for box in seen:
            assert box.x0 >= 0
            assert box.y0 >= 0
        steps = np.diff(axis.get_majorticklocs())
        assert (steps == steps[0]).all()
        assert axis.get_majorticklocs()[0] == 0


@pytest.mark.parametrize("given", [comparison(ridge(6)), comparison(ridge(20)), comparison(ridge(3, 6))])
def test_nothing_leaves_a_figure_that_is_drawn_for_the_first_time(given):
    ax = heatmap(given)
    whole = ax.get_tightbbox(drawn(ax.figure))
    assert whole.x0 >= 0
    assert whole.y0 >= 0
    assert whole.x1 <= ax.figure.bbox.x1
    assert whole.y1 <= ax.figure.bbox.y1


def test_every_one_of_61_layers_is_named_where_there_is_room():
    ax = axes_of(61)
    drawn(ax.figure)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(RESNET[::2])
    ax.figure.set_size_inches(10, 10)
    drawn(ax.figure)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(RESNET)
    assert ax.get_yticklabels()[0].get_fontsize() >= 6


@pytest.mark.parametrize(("shape", "width"), [((10, 10), 3.5), ((3, 14), 3.5), ((61, 61), 7.2), ((3, 200), 7.2)])
def test_a_figure_of_our_own_is_as_wide_as_a_column_or_a_page(shape, width):
    figure = heatmap(comparison(ridge(*shape))).figure
    assert figure.get_figwidth() == width
    assert 0.4 * width < figure.get_figheight() < 1.4 * width


def test_a_label_names_the_layer_at_its_tick():
    ax = axes_of(200)
    drawn(ax.figure)
    for tick, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True):
        head, _, tail = label.get_text().partition("…")
        assert BERT[int(tick)].startswith(f"encoder.layer.{head}")
        assert BERT[int(tick)].endswith(tail)
    assert ax.get_ylabel() == "net a: encoder.layer.*"


def test_max_labels_and_max_characters():
    ax = axes_of(200, max_labels=7, max_characters=12)
    drawn(ax.figure)
    assert len(ax.get_xticks()) == 7
    assert max(len(label.get_text()) for label in ax.get_xticklabels()) <= 12


def test_zooming_in_names_more_layers():
    ax = axes_of(200)
    ax.set(xlim=(9.5, 29.5), ylim=(0.5, 20.5))
    drawn(ax.figure)
    assert list(ax.get_xticks()) == list(range(10, 30))


def test_short_names_stand_upright():
    short, long = comparison(ridge(4), columns=tuple("1234")), comparison(ridge(4), columns=("x" * 25, "y", "z", "w"))
    for one, rotation in ((short, 0), (long, 90)):
        ax = heatmap(one)
        drawn(ax.figure)
        assert ax.get_xticklabels()[0].get_rotation() == rotation


def test_names_with_dollar_signs_are_no_formulas(tmp_path):
    names = ("a$_{$", "$$", "\\frac{$x$", "<b>&")
    ax = heatmap(comparison(ridge(4), rows=names, columns=names, row_model="m$^$", column_model="$\\bad$"))
    ax.figure.savefig(tmp_path / "a.svg")
    drawn(ax.figure)
    assert [label.get_text() for label in ax.get_xticklabels()] == [name.replace("$", "\\$") for name in names]


# -- several models -----------------------------------------------------------------------------------------


def test_models_are_separated_and_named():
    models = ("seed 0",) * 2 + ("seed 1",) * 3
    names = ("a", "b", "a", "b", "c")
    ax = heatmap(comparison(ridge(5), rows=names, columns=names, row_model=models, column_model=models))
    drawn(ax.figure)
    assert [line.get_xdata()[0] for line in ax.lines if line.get_xdata()[0] == line.get_xdata()[1]] == [1.5]
    assert [line.get_ydata()[0] for line in ax.lines if line.get_ydata()[0] == line.get_ydata()[1]] == [1.5]
    top, right = (child for child in ax.child_axes if hasattr(child, "set_alignment"))
    assert [label.get_text() for label in top.get_xticklabels()] == ["seed 0", "seed 1"]
    assert [label.get_text() for label in right.get_yticklabels()] == ["seed 0", "seed 1"]
    np.testing.assert_allclose(top.get_xticks(), [0.5, 3.0])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("", "")


def of_models(names, layers=5):
    rows = tuple(f"layer{i}" for i in range(layers)) * len(names)
    models = tuple(name for name in names for _ in range(layers))
    return comparison(ridge(len(rows)), rows=rows, columns=rows, row_model=models, column_model=models)


@pytest.mark.parametrize(
    "names",
    [
        [f"seed {i}" for i in range(20)],
        [f"vit-large-patch16-224-in21k-finetuned-seed-{i}" for i in range(2)],
        [f"resnet18_imagenet_seed{i}" for i in range(8)],
    ],
)
def test_names_of_models_neither_overlap_nor_touch_the_colour_bar(names):
    ax = heatmap(of_models(names))
    renderer = drawn(ax.figure)
    top, right = (child for child in ax.child_axes if hasattr(child, "set_alignment"))
    shown = [label.get_text() for label in top.get_xticklabels()]
    assert len(set(shown)) == len(names)
    across, up = boxes(top.xaxis, renderer), boxes(right.yaxis, renderer)
    assert all(one.x1 <= other.x0 for one, other in itertools.pairwise(across))
    assert all(one.y1 <= other.y0 for one, other in itertools.pairwise(up))
    bar = ax.images[0].colorbar.ax.get_window_extent()
    assert max(box.x1 for box in up) <= bar.x0
    assert max(box.y1 for box in across) <= ax.title.get_window_extent(renderer).y0
    assert min(label.get_fontsize() for label in top.get_xticklabels()) >= 6


def test_without_a_layout_names_of_models_stay_beside_the_colour_bar():
    figure = Figure(figsize=(5, 4))
    FigureCanvasAgg(figure)
    ax = heatmap(of_models(["first", "second"]), figure.subplots())
    renderer = drawn(figure)
    _top, right = (child for child in ax.child_axes if hasattr(child, "set_alignment"))
    assert max(box.x1 for box in boxes(right.yaxis, renderer)) <= ax.images[0].colorbar.ax.get_window_extent().x0


def test_a_long_name_of_a_model_is_not_cut_off_at_its_ends():
    name = "facebook/" + "a-very-long-name-of-a-model-" * 6 + "seed-7"
    ax = heatmap(comparison(ridge(6), row_model=name, column_model=name))
    renderer = drawn(ax.figure)
    for label in (ax.xaxis.label, ax.yaxis.label):
        assert label.get_text().startswith("face")
        assert label.get_text().endswith("seed-7")
        box = label.get_window_extent(renderer)
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= ax.figure.bbox.x1
        assert box.y1 <= ax.figure.bbox.y1


# -- where it draws -----------------------------------------------------------------------------------------


def test_it_draws_into_given_axes():
    figure = Figure(figsize=(8, 4))
    left, right = figure.subplots(1, 2)
    assert heatmap(comparison(), left) is left
    assert comparison().plot(right, title="mine") is right
    assert right.get_title() == "mine"
    figure.draw_without_rendering()
    assert left.images[0].colorbar.ax in figure.axes  # no layout engine: the bar takes its room from the axes
    assert left.get_position().x1 < left.images[0].colorbar.ax.get_position().x0 < right.get_position().x0


def test_it_keeps_inset_axes_and_subfigures_in_place():
    figure = Figure(figsize=(8, 4), layout="constrained")
    one, two = figure.subfigures(1, 2)
    heatmap(comparison(), one.subplots())
    outer = two.subplots()
    inset = heatmap(comparison(), outer.inset_axes((0.5, 0.5, 0.4, 0.4)), colorbar=False)
    figure.draw_without_rendering()
    box, around = inset.get_window_extent(), outer.get_window_extent()
    assert around.x0 < box.x0 < box.x1 < around.x1
    assert around.y0 + around.height * 0.4 < box.y0 < box.y1 < around.y1


def test_nothing_is_known_to_pyplot_unless_it_is_in_use():
    code = (
        "import sys; from tests.comparison.examples import comparison; ax = comparison().plot();"
        "assert 'matplotlib.pyplot' not in sys.modules; ax.figure.canvas.draw();"
        "import matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as plt; assert not plt.get_fignums();"
        "ax = comparison().plot(); assert plt.gcf() is ax.figure"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_comparison_is_not_changed():
    one = comparison([[np.inf, np.nan], [0.5, 0.25]])
    before = one.values.tobytes()
    heatmap(one)
    assert one.values.tobytes() == before


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_it_can_be_printed(tmp_path, suffix):
    axes_of(10).figure.savefig(tmp_path / f"a.{suffix}")
    assert (tmp_path / f"a.{suffix}").stat().st_size > 1000


def test_the_picture_has_the_colours_of_the_scores(tmp_path):
    """From end to end: the pixel at a cell's place has the colour of that cell's score."""
    values = ridge(10)
    ax = heatmap(comparison(values))
    ax.figure.canvas.draw()
    pixels = np.asarray(ax.figure.canvas.buffer_rgba())
    for i, j in ((0, 0), (0, 9), (9, 0), (3, 7)):
        x, y = ax.transData.transform((j, i))
        expected = matplotlib.colors.to_rgba(mpl.colormaps["magma"](values[i, j]))
        np.testing.assert_allclose(pixels[pixels.shape[0] - 1 - int(y), int(x)] / 255, expected, atol=0.02)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("matplotlib", "repscope.plot"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"Plotting needs the package 'matplotlib'.*'repscope\[plot\]'"):
        comparison().plot()


# -- chance -------------------------------------------------------------------------------------------------


def with_null(**fields):
    p_values = np.array([[0.001, 0.2, 0.04, np.nan], [0.5, 1e-9, 0.06, 0.0], [0.01, 0.01, 0.01, 0.01]])
    null = {"null_mean": np.full((3, 4), 0.1), "null_sd": np.full((3, 4), 0.02), "p_values": p_values}
    return comparison(**null | fields)


def test_scores_within_chance_are_greyed_and_counted():
    one = with_null()
    ax = heatmap(one)
    veil = ax.images[1].get_array()[..., 3]
    np.testing.assert_array_equal(veil > 0, one.p_values > 0.05)
    assert ax.get_title().endswith("greyed: within chance, 3 of 12")
    np.testing.assert_array_equal(ax.images[0].get_array(), one.values)


def test_the_mean_of_the_null_stands_beside_the_colour_bar():
    heights = [line.get_ydata() for line in heatmap(with_null()).images[0].colorbar.ax.lines]
    assert heights == [pytest.approx([0.1, 0.1]), pytest.approx([0.1])]
    varied = np.linspace(0.2, 0.4, 12).reshape(3, 4)
    span, middle = (line.get_ydata() for line in heatmap(with_null(null_mean=varied)).images[0].colorbar.ax.lines)
    assert (list(span), list(middle)) == (pytest.approx([0.2, 0.4]), pytest.approx([0.3]))


def test_what_chance_explains_is_shown_only_where_it_is_known_and_wanted():
    for ax in (heatmap(comparison()), heatmap(with_null(), chance=False)):
        assert len(ax.images) == 1
        assert "chance" not in ax.get_title()
        assert not ax.images[0].colorbar.ax.lines
    nothing = with_null(p_values=np.full((3, 4), 0.01), null_mean=np.full((3, 4), np.nan))
    ax = heatmap(nothing)
    assert len(ax.images) == 1
    assert not ax.images[0].colorbar.ax.lines
