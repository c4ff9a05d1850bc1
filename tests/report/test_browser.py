"""The page in a real browser: what a reader does, and what the page does then."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from repscope import report
from repscope.report.payload import INTERACTIVE_SCORES
from tests.comparison.examples import comparison, ridge
from tests.report.pages import NAMES, point, two


def shown(page):
    return page.evaluate("() => document.getElementById('heatmap').data[0].z.map((line) => line.length)")


def test_hover_says_what_a_cell_is(visit, tmp_path):
    page = visit(two().to_html(tmp_path / "r.html"))
    page.mouse.move(*point(page, 1, 2))
    said = page.locator("#tooltip").inner_text()
    value = two().values[1, 2]
    for text in ("layer1.conv1", "layer1.conv2", "net a", "net b", f"{value:.3f}", "0.011 ± 0.002", "n = 512"):
        assert text in said, said
    assert f"{value - 0.0196:.3f} to {value + 0.0196:.3f}" in said


def test_the_interval_is_that_of_the_comparison(visit, tmp_path):
    given = two(conventions={"kernel": "linear", "estimator": "unbiased", "replicates": 4})
    low, high = (float(end[1, 2]) for end in given.interval())
    assert high - low > 0.06  # Student's t with few degrees of freedom, not the normal distribution's 0.039
    page = visit(given.to_html(tmp_path / "r.html"))
    page.mouse.move(*point(page, 1, 2))
    assert f"{low:.3f} to {high:.3f}" in page.locator("#tooltip").inner_text()


def test_a_click_fixes_a_pair_and_shows_what_is_known_of_it(visit, tmp_path):
    page = visit(two().to_html(tmp_path / "r.html"))
    page.mouse.click(*point(page, 3, 4))
    panel = page.locator("#pair")
    assert panel.locator(".score").inner_text() == f"{two().values[3, 4]:.3f}"
    assert panel.locator(".ranked .name").first.inner_text() == "layer2.conv1"
    headings = panel.locator("h4").all_inner_texts()
    assert headings[:2] == ["Best matches of layer2.conv1 in net b", "Best matches of layer2.conv2 in net a"]
    assert panel.locator(".spectrum .scatterlayer .trace").count() == 2
    assert "Participation ratio" in panel.inner_text()
    assert "Dominant rows" not in panel.inner_text()
    page.locator("#heatmap").focus()
    page.keyboard.press("ArrowRight")
    assert panel.locator(".score").inner_text() == f"{two().values[3, 5]:.3f}"
    page.keyboard.press("Escape")
    assert "At a glance" in panel.inner_text()


def test_a_p_value_too_small_for_single_precision_is_not_zero(visit, tmp_path):
    p_values = np.full((6, 6), 0.2)
    p_values[0, 0], p_values[1, 1] = 1e-300, 3e-8
    page = visit(two(p_values=p_values).to_html(tmp_path / "r.html"))
    for place, said in ((0, "< 1e−45"), (1, "3e−8"), (2, "0.200")):
        page.mouse.click(*point(page, place, place))
        assert f"p value\n{said}" in page.locator("#pair dl").inner_text()


def test_a_p_value_of_one_in_twenty_is_above_chance_as_the_comparison_says(visit, tmp_path):
    given = two(p_values=np.where(np.eye(6) > 0, 0.05, 0.0501))
    assert (given.within_chance == (np.eye(6) == 0)).all()
    page = visit(given.to_html(tmp_path / "r.html"))
    assert "Above chance (p ≤ 0.05)\n6 of 36" in page.locator("#pair").inner_text()
    page.check("#chance")
    assert "6 of 36 pairs" in page.locator("#count").inner_text()
    page.locator("#scores").scroll_into_view_if_needed()
    with page.expect_download() as waiting:
        page.click("#download-csv")
    waiting.value.save_as(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["p value"] for line in lines} == {"0.05"}
    assert {line["chance level"] for line in lines} == {"0.011"}


def test_layers_without_a_score_are_gaps_in_the_curve_over_depth(visit, tmp_path):
    values = two().values.copy()
    values[2] = np.nan
    page = visit(comparison(values, rows=NAMES, columns=NAMES).to_html(tmp_path / "r.html"))
    page.locator("#depth").scroll_into_view_if_needed()
    page.wait_for_selector("#depth-plot .scatterlayer .trace")
    curves = page.evaluate(
        """() => document.getElementById("depth-plot").data.filter((trace) => trace.customdata)
            .map((trace) => [trace.name, trace.x, trace.y.map((value) => Number.isFinite(value))])"""
    )
    defined = [True, True, False, True, True, True]
    assert curves == [["best match", list(range(6)), defined], ["same layer", list(range(6)), defined]]


def test_a_chosen_pair_is_found_by_name_at_other_steps(visit, tmp_path):
    whole, part = two(), two().select(rows=NAMES[1:], columns=NAMES[1:])
    page = visit(report.write(tmp_path / "r.html", {0: part, 100: whole}))
    page.mouse.click(*point(page, 3, 4))
    page.locator("#training").scroll_into_view_if_needed()
    page.wait_for_selector("#training-plot .scatterlayer .trace")
    drawn = page.evaluate("() => document.getElementById('training-plot').data.at(-1)")
    assert (drawn["name"], drawn["x"]) == ("layer2.conv1 – layer2.conv2", [0, 100])
    assert drawn["y"] == [whole.values[3, 4]] * 2
    page.evaluate(
        "() => { const s = document.getElementById('step'); s.value = 0; s.dispatchEvent(new Event('input')); }"
    )
    assert page.locator("#pair .names b").all_inner_texts() == ["layer2.conv1", "layer2.conv2"]


def test_numbers_along_a_curve_are_not_cut_off(visit, tmp_path):
    near = {step: comparison(np.full((3, 3), 0.9 + 1e-7 * step)) for step in (0, 10)}
    page = visit(report.write(tmp_path / "r.html", near))
    page.locator("#training").scroll_into_view_if_needed()
    page.wait_for_selector("#training-plot .scatterlayer .trace")
    title, first, own = page.evaluate(
        """() => {
            const plot = document.getElementById("training-plot");
            const box = (element) => element.getBoundingClientRect();
            const numbers = [...plot.querySelectorAll(".ytick text")].map((number) => box(number).left);
            return [box(plot.querySelector(".ytitle")), Math.min(...numbers), box(plot).left];
        }"""
    )
    assert own <= title["left"] < title["right"] <= first


def test_links_have_room_in_a_narrow_window(visit, tmp_path):
    names = [f"model.encoder.layers.{i}.self_attention.output.dense" for i in range(6)]
    page = visit(two(rows=names, columns=names, diagnostics={}).to_html(tmp_path / "r.html"))
    page.set_viewport_size({"width": 400, "height": 800})
    page.locator("#correspondence").scroll_into_view_if_needed()
    page.wait_for_function(
        "() => { const p = document.getElementById('correspondence-plot'); return p._fullLayout?.width < 400; }"
    )
    size = page.evaluate("() => document.getElementById('correspondence-plot')._fullLayout._size")
    assert size["w"] > 0.3 * (size["w"] + size["l"] + size["r"])


def test_search_order_and_threshold_change_what_is_shown(visit, tmp_path):
    page = visit(two().to_html(tmp_path / "r.html"))
    assert shown(page) == [6] * 6
    page.fill("#search", "*.conv1")
    assert shown(page) == [2, 2]
    assert "2 of 6 rows" in page.locator("#count").inner_text()
    page.fill("#search", "")
    page.evaluate(
        "() => { const t = document.getElementById('threshold'); t.value = 500; t.dispatchEvent(new Event('input')); }"
    )
    page.wait_for_function("() => /of 36 pairs/.test(document.getElementById('count').textContent)")
    expected = int((two().values >= 0.5).sum())
    assert f"{expected} of 36 pairs" in page.locator("#count").inner_text()
    page.check("#chance")
    assert f"{expected} of 36 pairs" in page.locator("#count").inner_text()


def test_order_by_similarity_puts_a_shuffled_axis_right(visit, tmp_path):
    shuffled = [3, 0, 5, 1, 4, 2]
    values = ridge(6)[shuffled]
    page = visit(comparison(values, rows=tuple(NAMES[i] for i in shuffled), columns=NAMES).to_html(tmp_path / "r.html"))
    page.select_option("#order", "similarity")
    z = np.array(page.evaluate("() => document.getElementById('heatmap').data[0].z"))
    assert (z.argmax(axis=1) == np.arange(6)).all() or (z.argmax(axis=1) == np.arange(6)[::-1]).all()


def test_measures_and_models_can_be_switched(visit, tmp_path):
    names = tuple(f"l{i}" for i in range(3)) * 3
    models = ("a",) * 3 + ("b",) * 3 + ("c",) * 3
    values = (ridge(9) + ridge(9).T) / 2
    np.fill_diagonal(values, 1.0)
    many = comparison(values, rows=names, columns=names, row_model=models, column_model=models)
    page = visit(report.write(tmp_path / "r.html", {"first": many, "second": two()}))
    assert page.locator("#overview h2").is_visible()
    page.select_option("#row-model", label="c")
    page.select_option("#column-model", label="a")
    z = np.array(page.evaluate("() => document.getElementById('heatmap').data[0].z"))
    np.testing.assert_allclose(z, many.between("c", "a").values)
    page.select_option("#column-model", label="all models")
    assert shown(page) == [9] * 9
    page.select_option("#measure", label="second")
    assert shown(page) == [6] * 6
    assert page.locator("#overview").is_hidden()


def test_the_slider_goes_through_the_steps_of_training(visit, tmp_path):
    steps = {step: two(n=step + 100) for step in (0, 50, 900)}
    page = visit(report.write(tmp_path / "r.html", steps))
    assert page.locator("#step-value").inner_text() == "900"
    page.locator("#step").fill("0")
    assert page.locator("#step-value").inner_text() == "0"
    assert "100 examples" in page.locator("#subtitle").inner_text()


def test_the_table_downloads_with_every_digit(visit, tmp_path):
    odd = two(rows=('a "quoted", name', *NAMES[1:]))
    page = visit(odd.to_html(tmp_path / "r.html"))
    page.locator("#scores").scroll_into_view_if_needed()
    with page.expect_download() as waiting:
        page.click("#download-csv")
    assert waiting.value.suggested_filename == "cka.csv"
    waiting.value.save_as(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 36
    found = {(line["row layer"], line["column layer"]): float(line["score"]) for line in lines}
    for i, row in enumerate(odd.row_layers):
        for j, column in enumerate(odd.column_layers):
            assert found[row, column] == odd.values[i, j]
    scores = [float(line["score"]) for line in lines]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_drawn_in_both_schemes(visit, tmp_path, scheme):
    page = visit(two().to_html(tmp_path / "r.html"), scheme=scheme)
    for name in ("correspondence", "depth", "scores"):
        page.locator(f"#{name}").scroll_into_view_if_needed()
    page.wait_for_selector("#depth-plot .scatterlayer .trace")
    assert page.locator("#correspondence-plot .shapelayer path").count() == 6
    background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != background


def test_hostile_names_are_text_in_every_view(visit, tmp_path):
    bad = '<img src=x onerror="document.title=1">'
    rows = (bad, "</script><b>b</b>", "c\ud800", "d", "e", "f")
    page = visit(
        two(rows=rows, columns=rows, row_model=bad, warnings=(bad,), diagnostics={}).to_html(tmp_path / "r.html")
    )
    page.mouse.move(*point(page, 0, 0))
    assert bad in page.locator("#tooltip").inner_text()
    page.mouse.click(*point(page, 0, 1))
    for name in ("correspondence", "depth", "scores"):
        page.locator(f"#{name}").scroll_into_view_if_needed()
    page.wait_for_selector("#depth-plot .scatterlayer .trace")
    assert page.locator("body img").count() == 0
    assert page.locator("#layers b b, #pair b b").count() == 0
    assert page.title() != "1"


def test_names_between_dollar_signs_are_no_formulas(visit, tmp_path):
    page = visit(two(row_model="$a_1$", rows=("$x$ and $y$", *NAMES[1:]), diagnostics={}).to_html(tmp_path / "r.html"))
    assert page.locator("#heatmap .ytitle").text_content() == "$a_1$"  # and nothing on the console about MathJax


def test_an_image_says_of_which_models_it_is(visit, tmp_path):
    side = int(INTERACTIVE_SCORES**0.5) + 1
    names = tuple(f"layer{i}" for i in range(side))
    models = ("first",) * 200 + ("second",) * (side - 200)
    given = comparison(ridge(side), rows=names, columns=names, row_model=models, column_model=models)
    page = visit(given.to_html(tmp_path / "r.html"))
    page.wait_for_selector("#heatmap image")
    assert page.locator("#heatmap .xtitle, #heatmap .ytitle").all_text_contents() == ["first · second"] * 2
    lines = page.evaluate("() => document.getElementById('heatmap').layout.shapes.map((line) => line.x0 ?? line.y0)")
    assert 199.5 in lines
    assert "Click" not in page.locator("#overview-lead").inner_text()
    page.locator("#scores").scroll_into_view_if_needed()
    page.wait_for_selector("#table tbody tr")
    cells = page.locator("#table tbody tr").first.locator("td").all_inner_texts()
    assert cells[1] == "layer0"
    assert cells[3] == "layer1"  # not itself


def test_too_many_layers_come_as_an_image_that_says_so(visit, tmp_path):
    side = int(INTERACTIVE_SCORES**0.5) + 1
    page = visit(comparison(ridge(side)).to_html(tmp_path / "r.html"))
    page.wait_for_selector("#heatmap image")
    assert page.locator("#heatmap image").count() == 4
    assert "drawn as an image" in page.locator("#banner").inner_text()
    assert page.locator("#correspondence").is_hidden()
