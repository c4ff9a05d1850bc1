"""What a reader does with the pointer and the keys: zoom, copy, play, and go from one view to another."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest

from repscope import report
from repscope.report.overview import maps
from repscope.report.payload import INTERACTIVE_SCORES
from tests.comparison.examples import comparison, ridge
from tests.report.pages import NAMES, point, two

DOUBLE_CLICK_MS = 500  # plotly takes a press this soon (300 ms) after another for a double click


def ranges(page):
    """What of the heat map is in sight, columns and rows."""
    return page.evaluate(
        """() => {
            const { xaxis, yaxis } = document.getElementById("heatmap")._fullLayout;
            return [xaxis.range, yaxis.range];
        }"""
    )


def labels(page, axis):
    """The names of layers along an axis of the heat map, as they are written now."""
    return page.locator(f"#heatmap .{axis}axislayer-above .{axis}tick text").all_text_contents()


def drag(page, start, stop):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*stop, steps=4)
    page.mouse.up()


def paste(page):
    """What the clipboard holds, put into a field of the page's own."""
    page.evaluate("() => document.body.append(Object.assign(document.createElement('textarea'), { id: 'pasted' }))")
    page.locator("#pasted").focus()
    page.keyboard.press("Control+V")
    return page.locator("#pasted").input_value()


def models(count, size, **fields):
    """All layers of several models against all, symmetric, each score another number."""
    owner = tuple(f"net {k}" for k in range(count) for _ in range(size))
    values = (ridge(count * size) + ridge(count * size).T) / 2
    np.fill_diagonal(values, 1.0)
    names = tuple(f"l{i}" for i in range(size)) * count
    return comparison(values, rows=names, columns=names, row_model=owner, column_model=owner, **fields)


def test_dragging_zooms_and_a_double_click_shows_all_again(visit, tmp_path):
    side = 60
    page = visit(comparison(ridge(side)).to_html(tmp_path / "r.html"))
    whole = [[-0.5, side - 0.5]] * 2
    assert ranges(page) == whole
    sparse = labels(page, "x")
    assert len(sparse) < side
    drag(page, point(page, 19.6, 9.6), point(page, 31.4, 21.4))
    page.wait_for_function("() => document.querySelectorAll('#heatmap .xaxislayer-above .xtick text').length === 12")
    (left, right), (low, high) = ranges(page)
    assert [left, right, low, high] == pytest.approx([9.6, 21.4, 19.6, 31.4], abs=0.2)
    expected = [f"conv{i + 1}" for i in range(10, 22)]
    assert labels(page, "x") == expected

    # What is done while zoomed leaves what is in sight alone, and every layer its name.
    page.wait_for_timeout(DOUBLE_CLICK_MS)
    page.mouse.click(*point(page, 25, 15))
    assert page.locator("#pair .score").inner_text() == f"{ridge(side)[25, 15]:.3f}"
    page.uncheck("#best")
    assert ranges(page) == [[left, right], [low, high]]
    assert labels(page, "x") == expected

    page.wait_for_timeout(DOUBLE_CLICK_MS)
    page.mouse.dblclick(*point(page, 25, 15))
    page.wait_for_function("() => document.getElementById('heatmap')._fullLayout.xaxis.range[0] < 0")
    assert ranges(page) == whole
    assert labels(page, "x") == sparse


def test_an_image_names_every_layer_where_it_is_zoomed_into(visit, tmp_path):
    side = int(INTERACTIVE_SCORES**0.5) + 1
    page = visit(comparison(ridge(side)).to_html(tmp_path / "r.html"))
    page.wait_for_selector("#heatmap image")
    page.locator("#heatmap").focus()
    page.keyboard.press("ArrowRight")  # an image has no pair to choose
    drag(page, point(page, 100, 200), point(page, 120, 220))
    page.wait_for_function("() => document.getElementById('heatmap')._fullLayout.xaxis.range[0] > 100")
    (left, right), _ = ranges(page)
    expected = [f"conv{i + 1}" for i in range(math.ceil(left), math.floor(right) + 1)]
    page.wait_for_function(f"() => document.querySelectorAll('#heatmap .xtick text').length === {len(expected)}")
    assert labels(page, "x") == expected
    page.wait_for_timeout(DOUBLE_CLICK_MS)
    page.mouse.dblclick(*point(page, 110, 210))
    page.wait_for_function("() => document.getElementById('heatmap')._fullLayout.xaxis.range[0] < 0")
    assert ranges(page) == [[-0.5, side - 0.5]] * 2


def test_another_order_and_another_search_show_all_again(visit, tmp_path):
    page = visit(two().to_html(tmp_path / "r.html"))
    for control in (lambda: page.select_option("#order", "similarity"), lambda: page.fill("#search", "conv")):
        drag(page, point(page, 1, 1), point(page, 3, 3))
        page.wait_for_function("() => document.getElementById('heatmap')._fullLayout.xaxis.range[0] > 0")
        control()
        size = page.evaluate("() => document.getElementById('heatmap').data[0].z.length")
        assert ranges(page) == [[-0.5, size - 0.5]] * 2


@pytest.mark.parametrize("modern", [True, False])
def test_the_table_is_copied_whole_and_with_every_digit(visit, tmp_path, modern):
    odd = two(rows=("a\ttab", *NAMES[1:]))
    page = visit(odd.to_html(tmp_path / "r.html"))
    if not modern:  # as in a browser that denies a file the clipboard
        page.evaluate("() => Object.defineProperty(window, 'isSecureContext', { value: false })")
    page.fill("#search", "a*tab")
    page.locator("#scores").scroll_into_view_if_needed()
    page.click("#copy-table")
    page.wait_for_function("() => document.getElementById('copy-table').textContent === 'Copied'")
    lines = list(csv.DictReader(io.StringIO(paste(page)), delimiter="\t"))
    assert [line["row layer"] for line in lines] == ["a tab"] * 6
    found = {line["column layer"]: float(line["score"]) for line in lines}
    assert [found[name] for name in NAMES] == odd.values[0].tolist()
    page.wait_for_function("() => document.getElementById('copy-table').textContent === 'Copy table'")


def test_the_bibtex_is_copied(visit, tmp_path):
    page = visit(two(details={"references": ["Kornblith et al. 2019"]}).to_html(tmp_path / "r.html"))
    page.locator("#made .copyable .copy").last.click()
    page.get_by_role("button", name="Copied").wait_for()
    assert paste(page).startswith("@inproceedings{kornblith2019,")


def test_printing_draws_what_was_not_looked_at_yet(visit, tmp_path):
    page = visit(two().to_html(tmp_path / "r.html"))
    last = page.locator("#scores tbody tr")
    assert last.count() == 0
    page.pdf()
    assert last.count() == 36
    assert page.locator("#depth-plot .scatterlayer .trace").count() >= 1
    assert page.locator("#correspondence-plot .shapelayer path").count() == 6


def test_printing_is_black_on_white_and_fits_the_paper(visit, tmp_path):
    page = visit(two().to_html(tmp_path / "r.html"), scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    widths = page.evaluate("() => [...document.querySelectorAll('main .plot')].map((p) => p._fullLayout?.width ?? 0)")
    assert 500 < max(widths) <= 672  # pixels of CSS; a sheet of A4 has 718 between margins of one centimetre
    assert page.evaluate("() => document.documentElement.dataset.theme") == "light"
    assert page.locator("#pair .ranked li").first.is_visible()
    assert page.locator("#copy-table").is_hidden()
    table = page.locator("#scores .scroll")
    assert table.evaluate("(box) => box.scrollHeight <= box.clientHeight + 1")
    page.emulate_media(media="screen", color_scheme="dark")
    page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("() => document.getElementById('heatmap')._fullLayout.width") > 672


def test_play_goes_through_training_once_and_stops(visit, tmp_path):
    page = visit(report.write(tmp_path / "r.html", {step: two(n=step + 100) for step in (0, 50, 900)}))
    seen = []
    page.expose_function("note", lambda text: seen.append(text))
    page.evaluate(
        """() => new MutationObserver(() => note(document.getElementById("step-value").textContent))
            .observe(document.getElementById("step-value"), { childList: true })"""
    )
    play = page.locator("#play")
    play.click()
    assert play.inner_text() == "⏸"
    assert play.get_attribute("aria-label") == "Pause"
    page.wait_for_function("() => document.getElementById('play').textContent === '▶'")
    assert seen == ["0", "50", "900"]
    play.click()
    play.click()  # stopped at the beginning
    assert play.inner_text() == "▶"
    assert play.get_attribute("aria-label") == "Play"
    page.wait_for_timeout(1000)
    assert page.locator("#step-value").inner_text() == "0"
    assert "100 examples" in page.locator("#subtitle").inner_text()


def test_the_word_step_names_the_slider_and_plays_nothing(visit, tmp_path):
    page = visit(report.write(tmp_path / "r.html", {step: two(n=step + 100) for step in (0, 50, 900)}))
    assert page.get_by_label("Step", exact=True).get_attribute("id") == "step"
    page.get_by_text("Step", exact=True).click()
    assert page.locator("#play").inner_text() == "▶"


def test_every_chart_says_in_words_what_it_is(visit, tmp_path):
    page = visit(two().to_html(tmp_path / "r.html"))
    charts = page.locator(".plot")
    assert charts.count() == 6
    assert all(chart.get_attribute("aria-label") and chart.get_attribute("role") for chart in charts.all())


def test_a_click_in_the_curve_of_training_goes_to_its_step(visit, tmp_path):
    page = visit(report.write(tmp_path / "r.html", {step: two(n=step + 100) for step in (0, 50, 900)}))
    page.locator("#training").scroll_into_view_if_needed()
    points = page.locator("#training-plot .scatterlayer .trace").first.locator("path.point")
    points.first.wait_for()
    assert points.count() == 3
    click_center(page, points.nth(1))
    assert page.locator("#step-value").inner_text() == "50"
    assert "150 examples" in page.locator("#subtitle").inner_text()


def click_center(page, mark):
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.up()


@pytest.mark.parametrize(("side", "index"), [("rows", 4), ("columns", 1)])
def test_a_click_on_a_layer_of_the_correspondence_fixes_its_best_match(visit, tmp_path, side, index):
    values = ridge(6)[[1, 0, 2, 3, 5, 4]]
    given = comparison(values, rows=NAMES, columns=NAMES)
    page = visit(given.to_html(tmp_path / "r.html"))
    page.locator("#correspondence").scroll_into_view_if_needed()
    traces = page.locator("#correspondence-plot .scatterlayer .trace")
    traces.first.wait_for()
    click_center(page, traces.nth(0 if side == "rows" else 1).locator("path.point").nth(index))
    row, column = (index, int(values[index].argmax())) if side == "rows" else (int(values[:, index].argmax()), index)
    names = page.locator("#pair .names b").all_inner_texts()
    assert names == [NAMES[row], NAMES[column]]
    assert page.locator("#pair .score").inner_text() == f"{values[row, column]:.3f}"


def test_a_click_on_two_models_shows_their_layers(visit, tmp_path):
    many = models(4, 3)
    page = visit(many.to_html(tmp_path / "r.html"))
    spot = page.evaluate(
        """() => {
            const plot = document.getElementById("overview-plot");
            const { xaxis, yaxis } = plot._fullLayout;
            const box = plot.getBoundingClientRect();
            return [box.left + xaxis._offset + xaxis.d2p(1), box.top + yaxis._offset + yaxis.d2p(3)];
        }"""
    )
    page.mouse.click(*spot)
    page.wait_for_function("() => document.getElementById('row-model').value === '3'")
    assert page.locator("#column-model").input_value() == "1"
    z = np.array(page.evaluate("() => document.getElementById('heatmap').data[0].z"))
    np.testing.assert_array_equal(z, many.between("net 3", "net 1").values)
    page.wait_for_function("() => document.getElementById('layers').getBoundingClientRect().top < 200")


@pytest.mark.parametrize("plot", ["overview-plot", "map-plot"])
def test_charts_of_models_leave_room_for_their_buttons_within_their_card(visit, tmp_path, plot):
    page = visit(models(4, 3, details={"metric": "arccos of the score"}).to_html(tmp_path / "r.html"))
    buttons, top, card = page.evaluate(
        """(id) => {
            const plot = document.getElementById(id);
            const box = (element) => element.getBoundingClientRect();
            const { right, bottom } = box(plot.querySelector(".modebar"));
            return [{ right, bottom }, box(plot).top + plot._fullLayout.margin.t, box(plot.closest(".two > *")).right];
        }""",
        plot,
    )
    assert buttons["right"] <= card
    assert buttons["bottom"] <= top


def test_layers_whose_names_are_numbers_keep_their_order(visit, tmp_path):
    names = ("stem", "1", "0")
    owners = tuple(f"net {i}" for i in range(3) for _ in names)
    axes = {"rows": names * 3, "columns": names * 3, "row_model": owners, "column_model": owners}
    page = visit(comparison(ridge(9), **axes, details={"metric": "arccos of the score"}).to_html(tmp_path / "r.html"))
    assert page.locator("#overview-layer option").all_text_contents() == ["mean best match", *names]
    assert page.locator("#map-layer option").all_text_contents() == ["all layers", *names]
    assert page.locator("#map-layer").input_value() == "all layers"


def test_the_map_of_models_is_that_of_the_layers_chosen(visit, tmp_path):
    many = models(4, 3, details={"metric": "arccos of the score"})
    page = visit(many.to_html(tmp_path / "r.html"))
    assert page.locator("#map-plot .textpoint").all_text_contents() == ["net 0", "net 1", "net 2", "net 3"]
    for name, expected in maps(many).items():
        page.select_option("#map-layer", label=name)
        drawn = page.evaluate("() => { const [t] = document.getElementById('map-plot').data; return [t.x, t.y]; }")
        np.testing.assert_allclose(np.transpose(drawn), expected.points, atol=1e-12)
        assert f"the plane shows {round(100 * expected.share)} %" in page.locator("#map-note").inner_text()
