"""The colours on the screen: they say what the scores are, on a light page and on a dark one."""

from __future__ import annotations

import io
import json
from importlib.resources import files

import numpy as np
import pytest

from repscope import report
from repscope.report.payload import INTERACTIVE_SCORES
from tests.comparison.examples import comparison
from tests.report.pages import point, two

SCALES = json.loads((files("repscope.report") / "assets" / "colors.json").read_text("utf-8"))


def rgb(color):
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def painted(page, cells):
    """Red, green and blue of cells of the heat map, as a photograph of the window has them; shape (cells, 3)."""
    image = pytest.importorskip("PIL.Image")
    places = [point(page, *cell) for cell in cells]
    page.mouse.move(1, 1)
    photograph = np.asarray(image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    return np.array([photograph[round(y), round(x)] for x, y in places])


def of_scale(name, share):
    """The colour at a share of a scale, between its stops as plotly mixes them; shape (shares, 3)."""
    stops = np.array([rgb(stop) for stop in SCALES[name]])
    places = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(share, places, channel) for channel in stops.T], axis=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_scores_on_both_sides_of_zero_part_at_zero(visit, tmp_path, scheme):
    values = np.array([[0.9, -0.3, 0.0], [-0.6, 0.45, 0.3], [0.0, 0.6, -0.9]])
    given = comparison(values, measure="rsa", range=(-1.0, 1.0))
    page = visit(given.to_html(tmp_path / "r.html"), scheme=scheme)
    page.uncheck("#best")  # its marks lie on the cells
    cells = [(i, j) for i in range(3) for j in range(3)]
    expected = of_scale(f"diverging_{scheme}", (values.ravel() + 1) / 2)
    np.testing.assert_allclose(painted(page, cells), expected, atol=2)

    # On the range of these scores, zero is where it was.
    page.select_option("#limits", "data")
    expected = of_scale(f"diverging_{scheme}", (values.ravel() / 0.9 + 1) / 2)
    np.testing.assert_allclose(painted(page, cells), expected, atol=2)


def test_of_a_distance_the_near_pairs_are_bright(visit, tmp_path):
    values = np.array([[0.0, 1.5], [0.7, 0.2]])
    page = visit(
        comparison(values, measure="procrustes", kind="distance", range=(0.0, 2.0)).to_html(tmp_path / "r.html")
    )
    page.uncheck("#best")
    given = painted(page, [(0, 0), (0, 1), (1, 0), (1, 1)])
    np.testing.assert_allclose(given, of_scale("sequential", 1 - values.ravel() / 2), atol=2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_undefined_scores_have_a_colour_of_their_own(visit, tmp_path, scheme):
    values = np.array([[1.0, np.nan], [0.5, 0.0]])
    page = visit(comparison(values).to_html(tmp_path / "r.html"), scheme=scheme)
    page.uncheck("#best")
    given = painted(page, [(0, 0), (0, 1), (1, 0), (1, 1)])
    np.testing.assert_allclose(given[1], rgb(SCALES["undefined"]), atol=2)
    np.testing.assert_allclose(given[[0, 2, 3]], of_scale("sequential", np.array([1.0, 0.5, 0.0])), atol=2)


def test_an_image_has_the_colours_of_a_heat_map(visit, tmp_path):
    side = int(INTERACTIVE_SCORES**0.5) + 1
    values = np.where(np.arange(side)[:, None] < side // 2, 0.25, 0.75) * np.ones(side)
    values[:, : side // 2] -= 0.1
    page = visit(comparison(values).to_html(tmp_path / "r.html"))
    page.wait_for_selector("#heatmap image")
    cells = [
        (side // 4, side // 4),
        (side // 4, 3 * side // 4),
        (3 * side // 4, side // 4),
        (3 * side // 4, 3 * side // 4),
    ]
    np.testing.assert_allclose(painted(page, cells), of_scale("sequential", np.array([0.15, 0.25, 0.65, 0.75])), atol=4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_image_and_its_scale_part_at_zero(visit, tmp_path, scheme):
    side = int(INTERACTIVE_SCORES**0.5) + 1
    values = np.where(np.arange(side)[:, None] < side // 2, -0.4, 0.8) * np.ones(side)
    values[:, : side // 2] += 0.4
    given = comparison(np.minimum(values, 1), measure="rsa", range=(-1.0, 1.0))
    page = visit(given.to_html(tmp_path / "r.html"), scheme=scheme)
    page.wait_for_selector("#heatmap image")
    quarters = (side // 4, 3 * side // 4)
    cells = [(i, j) for i in quarters for j in quarters]
    expected = of_scale("diverging_light", (np.array([0.0, -0.4, 1.0, 0.8]) + 1) / 2)
    np.testing.assert_allclose(painted(page, cells), expected, atol=4)
    bar = page.evaluate("document.getElementById('heatmap').data[0].marker")
    assert (bar["cmin"], bar["cmax"]) == (-1, 1)
    assert [stop[1] for stop in bar["colorscale"]] == SCALES["diverging_light"]


def luminance(color):
    """Relative luminance of sRGB colours (WCAG 2.1)."""
    share = np.asarray(color) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    """Contrast ratio of two colours (WCAG 2.1), 1 to 21."""
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("toggled", [False, True])
def test_every_text_stands_out_from_its_ground(visit, tmp_path, scheme, toggled):
    steps = {step: two(warnings=("few examples",)) for step in (0, 50)}
    page = visit(report.write(tmp_path / "r.html", steps), scheme=scheme)
    if toggled:
        page.click("#theme")
    for name in ("layers", "training", "correspondence", "depth", "scores", "made"):
        page.locator(f"#{name}").scroll_into_view_if_needed()
        page.wait_for_timeout(100)
    page.mouse.click(*point(page, 3, 4))
    found = page.evaluate(
        r"""() => {
            const numbers = (text) => text.match(/[\d.]+/g).map(Number);
            const ground = (node) => {
                for (let at = node; at; at = at.parentElement) {
                    const [red, green, blue, alpha = 1] = numbers(getComputedStyle(at).backgroundColor);
                    if (alpha > 0.5) return [red, green, blue];
                }
                return [255, 255, 255];
            };
            const seen = [];
            const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (texts.nextNode()) {
                const owner = texts.currentNode.parentElement;
                if (!texts.currentNode.data.trim() || !owner.checkVisibility()) continue;
                if (owner.closest("script, .modebar")) continue;
                const style = getComputedStyle(owner);
                const ink = owner instanceof SVGElement ? style.fill : style.color;
                seen.push([texts.currentNode.data.trim(), numbers(ink).slice(0, 3), ground(owner)]);
            }
            return seen;
        }"""
    )
    assert len(found) > 100
    weak = [(text, ink, ground) for text, ink, ground in found if contrast(ink, ground) < 4.5]
    assert weak == []


def test_the_page_follows_the_system_when_night_falls(visit, tmp_path):
    page = visit(two().to_html(tmp_path / "r.html"))
    fill = "() => getComputedStyle(document.querySelector('#heatmap .xtick text')).fill"
    day = page.evaluate(fill)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    night = page.evaluate(fill)
    assert night != day
    page.emulate_media(color_scheme="light")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'light'")
    assert page.evaluate(fill) == day
