"""The file that a report is: whole, self-contained, escaped; what it says without any script."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest

from repscope import report
from repscope.errors import InputError
from repscope.report.payload import INTERACTIVE_SCORES
from tests.comparison.examples import comparison, full, ridge

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class _Reader(HTMLParser):
    """Elements with what they load, and the text that a reader sees."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._inside.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href") and not value.startswith("#")]

    def handle_endtag(self, tag):
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._inside):
            self.text.append(data)


def read(path):
    reader = _Reader()
    reader.feed(path.read_text("utf-8"))
    return reader


def data_of(path):
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)[1])


def test_it_is_one_small_file_that_loads_nothing(tmp_path):
    path = comparison(ridge(20), n=100).to_html(tmp_path / "report.html")
    assert path == tmp_path / "report.html"
    assert path.stat().st_size < 2_500_000
    assert read(path).loads == ["data:,"]
    assert "default-src 'none'" in path.read_text("utf-8")
    assert sorted(tmp_path.iterdir()) == [path]


def test_the_scores_are_in_it_bit_by_bit(tmp_path):
    given = comparison(ridge(4, 5), p_values=ridge(4, 5) / 7)
    (frame,) = data_of(given.to_html(tmp_path / "r.html"))["frames"]
    values = np.frombuffer(base64.b64decode(frame["arrays"]["values"]), "<f8")
    np.testing.assert_array_equal(values, given.values.ravel())
    p = np.frombuffer(base64.b64decode(frame["arrays"]["p_values"]), "<f4")
    np.testing.assert_array_equal(p, given.p_values.ravel().astype(np.float32))
    assert frame["rows"]["layers"] == list(given.row_layers)
    assert "null_mean" not in frame["arrays"]


def test_names_are_text_wherever_they_stand(tmp_path):
    given = comparison(
        ridge(2, 2),
        rows=(HOSTILE, "b"),
        row_model=HOSTILE,
        warnings=(HOSTILE,),
        conventions={HOSTILE: HOSTILE},
        details={"references": [HOSTILE], "command": HOSTILE},
        diagnostics={HOSTILE: {HOSTILE: {HOSTILE: 1}}},
    )
    path = given.to_html(tmp_path / "r.html", title=HOSTILE)
    reader = read(path)
    assert "img" not in reader.tags
    assert reader.tags.count("script") == 3
    assert "".join(reader.text).count(HOSTILE) >= 7
    assert data_of(path)["frames"][0]["rows"]["layers"][0] == HOSTILE


def test_everything_a_comparison_may_hold_can_be_shown(tmp_path):
    data = data_of(full().to_html(tmp_path / "r.html"))["frames"][0]
    assert data["range"][0] == "-inf"
    assert data["rows"]["layers"][1].startswith("<script>")


def test_it_says_without_a_script_how_the_numbers_were_made(tmp_path):
    given = comparison(
        n=321,
        warnings=("few examples",),
        versions={"repscope": "0.1.0", "numpy": "2.9.9"},
        seeds={"bandwidth": 77},
        details={"references": ["Song et al. 2012", "Nobody & Co 1999"], "command": "repscope compare a b"},
    )
    text = "".join(read(given.to_html(tmp_path / "r.html")).text)
    for said in ("few examples", "321", "unbiased", "2.9.9", "77", "repscope compare a b", "@article{song2012"):
        assert said in text, said
    assert "note = {Nobody & Co 1999}" in text


def test_several_comparisons_are_told_apart(tmp_path):
    one, other = comparison(), comparison(measure="svcca", conventions={"summary": "r2"})
    labels = [f["label"] for f in data_of(report.write(tmp_path / "a.html", [one, other]))["frames"]]
    assert labels == ["CKA (linear, unbiased)", "SVCCA (r2)"]
    twice = [f["label"] for f in data_of(report.write(tmp_path / "b.html", [one, one]))["frames"]]
    assert len(set(twice)) == 2
    named = [f["label"] for f in data_of(report.write(tmp_path / "c.html", {"first": one, "then": other}))["frames"]]
    assert named == ["first", "then"]


def test_training_steps_are_in_order_whatever_the_mapping_is(tmp_path):
    given = {1000: comparison(), 0: [comparison()], 50.5: {"CKA (linear, unbiased)": comparison()}}
    frames = data_of(report.write(tmp_path / "r.html", given))["frames"]
    assert [frame["step"] for frame in frames] == [0, 50.5, 1000]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "comparisons must be a Comparison, .* got none"),
        ({}, "got none"),
        ("a.npz", "got str"),
        ([comparison(), 3], "got list"),
        ({"a": 3}, "got int"),
        ({0: comparison(), 1: comparison(measure="svcca")}, "must hold the same measures at every step"),
    ],
)
def test_what_is_no_comparison_is_refused(tmp_path, given, message):
    with pytest.raises(InputError, match=message):
        report.write(tmp_path / "r.html", given)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"report: path must lie in an existing folder"):
        comparison().to_html(tmp_path / "no" / "r.html")


def test_too_many_scores_become_an_image(tmp_path):
    side = int(INTERACTIVE_SCORES**0.5) + 1
    path = comparison(ridge(side)).to_html(tmp_path / "r.html")
    frame = data_of(path)["frames"][0]
    assert frame["arrays"] == {}
    covered = np.zeros((side, side), dtype=bool)
    for tile in frame["tiles"]:
        covered[tile["y"] : tile["y"] + tile["height"], tile["x"] : tile["x"] + tile["width"]] = True
    assert covered.all()
    assert len(frame["tiles"]) == 4
    assert len(frame["best"]) == side
    small = data_of(comparison().to_html(tmp_path / "s.html"))["frames"][0]
    assert small["tiles"] is None


def test_the_charts_library_is_the_published_file():
    room = files("repscope.report") / "vendor"
    content = gzip.decompress((room / "plotly-cartesian.min.js.gz").read_bytes())
    assert hashlib.sha256(content).hexdigest() in (room / "README.md").read_text("utf-8")
    assert b"Licensed under the MIT license" in content[:300]
