"""What the page is made of: order of layers, overview of models, citations, images, the notebook's view."""

from __future__ import annotations

import base64
import io
import re
import sys
import unicodedata
from importlib.resources import files

import numpy as np
import pytest

from repscope.measures.catalog import CATALOG
from repscope.report import citations, order
from repscope.report.colors import palette
from repscope.report.images import png, whole
from repscope.report.overview import (
    METRIC_FORMS,
    classical_scaling,
    layer_scores,
    maps,
    mean_best_match,
    metric_of,
    overview,
)
from tests.comparison.examples import comparison, ridge
from tests.measures.examples import ALL


def models(values, count, **fields):
    size = len(values) // count
    names = tuple(f"l{i}" for i in range(size)) * count
    owner = tuple(f"m{k}" for k in range(count) for _ in range(size))
    return comparison(values, rows=names, columns=names, row_model=owner, column_model=owner, **fields)


def test_similar_rows_and_columns_come_next_to_each_other(rng):
    values = ridge(9, 7)
    rows, columns = rng.permutation(9), rng.permutation(7)
    found = order.by_similarity(values[np.ix_(rows, columns)])
    orders = rows[found[0]], columns[found[1]]
    assert all((np.diff(axis) == 1).all() or (np.diff(axis) == -1).all() for axis in orders)


def test_scores_that_say_nothing_keep_the_order_of_execution():
    assert order.by_similarity(np.full((3, 4), 0.5)) == ([0, 1, 2], [0, 1, 2, 3])
    assert order.by_similarity(np.full((2, 2), np.nan)) == ([0, 1], [0, 1])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["conv1", "layer1.0.a", "layer1.1.b", "layer2.0.a", "layer2.1.b"],
            [("conv1", 0), ("layer1", 1), ("layer2", 3)],
        ),
        (["h.layer.0.a", "h.layer.0.b", "h.layer.1.a", "h.layer.1.b"], [("h.layer.0", 0), ("h.layer.1", 2)]),
        (["a", "b", "c", "d"], []),
        (["only"], []),
    ],
)
def test_blocks_are_read_from_the_names(names, expected):
    assert order.blocks(names) == expected


def test_mean_best_match_of_two_models():
    values = [[1.0, 0.2, 0.5, 0.7], [0.2, 1.0, np.nan, 0.4], [0.1, 0.3, 1.0, 0.0], [np.nan, np.nan, 0.6, 1.0]]
    np.testing.assert_allclose(mean_best_match(models(values, 2)), [[1.0, 0.55], [0.3, 1.0]])
    far = mean_best_match(models(values, 2, kind="distance"))
    np.testing.assert_allclose(far, [[0.2, 0.45], [0.1, 0.3]])


def test_layer_scores_take_the_layers_that_all_models_have():
    given = models(np.arange(16.0).reshape(4, 4), 2)
    scores = layer_scores(given)
    np.testing.assert_array_equal(scores["l1"], [[5, 7], [13, 15]])
    partly = comparison(np.arange(4.0).reshape(2, 2), rows=("a", "b"), columns=("b", "c"))
    assert list(layer_scores(partly)) == ["b"]


def test_scaling_finds_points_of_a_plane_again(rng):
    points = rng.normal(size=(7, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    found = classical_scaling(distances)
    again = np.linalg.norm(found.points[:, None] - found.points[None], axis=-1)
    np.testing.assert_allclose(again, distances, atol=1e-12)
    assert found.share == pytest.approx(1.0)


def test_the_metrics_obey_the_triangle_inequality(rng):
    import repscope

    base = rng.normal(size=(30, 4))
    given = {f"m{k}": {"l": base @ rng.normal(size=(4, 4)) + rng.normal(size=(30, 4))} for k in range(6)}
    measures = [
        repscope.configure("cka"),
        repscope.configure("cka", estimator="biased"),
        *(repscope.configure("procrustes", kind=kind) for kind in ("angle", "distance", "squared", "cosine")),
        repscope.configure("angular_cka"),
        repscope.configure("gulp"),
        repscope.configure("shape_distance", alpha=0.5),
    ]
    for label, result in repscope.compare(given, measure=measures).items():
        d = maps(result)["l"].distances
        assert (d[:, None, :] <= d[:, :, None] + d[None, :, :] + 1e-6).all(), label
        assert not np.allclose(d, 0)


def test_the_page_can_draw_every_metric_that_is_declared():
    assert {measure.facts.metric_form for measure in ALL} - {None} == set(METRIC_FORMS)


def test_measures_without_a_metric_have_no_map():
    values = np.eye(3)
    assert metric_of(models(values, 3, measure="cca")) is None
    assert overview(models(values, 3, measure="cca"))["maps"] == {}
    with_one = models(values, 3, details={"metric": "arccos of the score"})
    assert metric_of(with_one)[0] == "arccos of CKA (linear, unbiased)"
    assert set(overview(with_one)["maps"]) == {"all layers", "l0"}
    assert overview(comparison()) is None


def test_each_work_is_cited_once():
    text = citations.bibtex(["Kornblith, Norouzi 2019, eq. 4", "Kornblith et al. 2019, App. D", "Björck & Golub 1973"])
    assert re.findall(r"^@\w+\{([^,]+),", text, re.MULTILINE) == ["kornblith2019", "bjorck1973", "repscope"]
    assert "Similarity of Neural Network Representations Revisited" in text


REFERENCES = sorted({reference for measure in CATALOG.values() for reference in measure.references})


def letters(text):
    """Text without TeX's accents or Unicode's, so that names can be compared."""
    plain = re.sub(r"\\(?:[\"'`^~]|[a-zA-Z]+ ?)|[{}]", "", text)
    return "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c)).lower()


@pytest.mark.parametrize("reference", REFERENCES)
def test_the_work_behind_a_measure_has_a_whole_entry_that_agrees_with_the_catalogue(reference):
    entry = citations.entries()[citations.key_of(reference)]
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", entry, re.MULTILINE))
    assert entry.count("{") == entry.count("}")
    assert {"title", "author", "year"} <= set(fields)
    assert {"journal", "booktitle", "eprint"} & set(fields), "where it appeared"
    named, year, title = re.match(r"(.+?) (\d{4})(?:, (?!App\.|Table)([A-Z][^,]+))?", reference).groups()
    assert fields["year"] == year
    families = [letters(author.split(",")[0]) for author in fields["author"].split(" and ")]
    if "et al." in named:
        assert families[0] == letters(named.removesuffix(" et al."))
        assert len(families) > 2
    else:
        assert families == [letters(name) for name in re.split(r", | & ", named)]
    assert title is None or letters(title) in letters(fields["title"])


def test_no_two_entries_have_one_key_and_none_is_overlooked():
    text = (files("repscope.report") / "references.bib").read_text("utf-8")
    assert len(citations.entries()) == text.count("@")


def test_braces_of_an_unknown_reference_do_not_break_the_entry():
    entry = citations.bibtex(["Ünknown {} 2001"]).split("\n\n")[0]
    assert entry.count("{") == entry.count("}") == 2


def test_images_are_what_pillow_reads():
    image = pytest.importorskip("PIL.Image")
    indices = np.array([[0, 255, 7], [3, 2, 1]], dtype=np.uint8)
    read = image.open(io.BytesIO(png(indices, palette())))
    np.testing.assert_array_equal(np.asarray(read), indices)
    np.testing.assert_array_equal(np.asarray(read.convert("RGB")), palette()[indices])
    first = image.open(io.BytesIO(whole(comparison([[0.0, 1.0], [np.nan, 0.5]]))))
    np.testing.assert_array_equal(np.asarray(first), [[255, 127], [0, 254]])


def test_a_notebook_shows_the_heat_map_and_the_warnings():
    pytest.importorskip("matplotlib")
    text = comparison(n=12, row_model="<b>a</b>", warnings=("few & bad",))._repr_html_()
    assert "few &amp; bad" in text
    assert "&lt;b&gt;a&lt;/b&gt;" in text
    assert "12 examples" in text
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', text)
    assert base64.b64decode(picture[1]).startswith(b"\x89PNG")


def test_a_notebook_shows_its_picture_once():
    plt = pytest.importorskip("matplotlib.pyplot")
    own = plt.figure()
    before = plt.get_fignums()
    comparison()._repr_html_()
    assert plt.get_fignums() == before  # what is open at the end of a cell is shown below it once more
    assert plt.gcf() is own
    plt.close(own)


def test_a_notebook_without_matplotlib_says_how_to_install_it(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("matplotlib", "repscope.plot"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = comparison()._repr_html_()
    assert "repscope[plot]" in text
    assert "pixelated" in text
