"""``repscope report`` and ``--html``: from saved comparisons to a page."""

from __future__ import annotations

import json
import re

import pytest

from repscope import load
from tests.comparison.examples import comparison, ridge

pytestmark = pytest.mark.usefixtures("workplace")


def frames(path):
    text = path.read_text("utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])["frames"]


def test_compare_writes_a_page_that_names_its_command(repscope, workplace):
    done = repscope("compare", "a.npz", "b.npz", "--measure", "cka", "--measure", "svcca", "--html", "page.html", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    page = workplace / "page.html"
    assert [frame["measure"] for frame in frames(page)] == ["cka", "svcca"]
    command = "repscope compare a.npz b.npz --measure cka --measure svcca --html page.html -q"
    assert command in page.read_text("utf-8")
    repscope("compare", "a.npz", "b.npz", "--html", "page.html")  # a report may be made anew
    assert len(frames(page)) == 1


def test_a_saved_comparison_knows_its_command_and_becomes_a_page(repscope, workplace):
    repscope("compare", "a.npz", "b.npz", "-o", "out", "-q")
    assert load("out/comparison.npz").details["command"] == "repscope compare a.npz b.npz -o out -q"
    done = repscope("report", "out/comparison.npz", "--html", "page.html", "--title", "Two < three")
    assert done.code == 0
    assert done.out == ""
    assert done.err == "wrote page.html\n"
    assert "<h1>Two &lt; three</h1>" in (workplace / "page.html").read_text("utf-8")


def test_files_of_several_steps_get_a_slider(repscope, workplace):
    for step in (0, 10):
        comparison(ridge(3) * (1 + step)).save(f"step-{step}.npz")
    words = ["report", "step-10.npz", "step-0.npz", "--html", "page.html"]
    repscope(*words, "--step", 10, "--step", 0)
    assert [frame["step"] for frame in frames(workplace / "page.html")] == [0, 10]


def test_several_files_are_printed_one_after_the_other(repscope):
    comparison().save("one.npz")
    comparison(measure="svcca").save("two.npz")
    out = repscope("report", "one.npz", "two.npz").out
    assert out.index("CKA") < out.index("SVCCA")
    assert len(json.loads(repscope("report", "one.npz", "two.npz", "--json").out)) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--html", "folder"], "--html must be a file, got the folder"),
        (["--html", "no/page.html"], "--html must lie in an existing folder"),
        (["--html", "notes.html"], "which repscope did not write"),
    ],
)
def test_pages_that_cannot_be_written_are_refused_before_anything_is_computed(fails, workplace, words, message):
    (workplace / "folder").mkdir()
    (workplace / "notes.html").write_text("<p>mine</p>")
    assert message in fails("compare", "a.npz", "missing.npz", *words)
    assert (workplace / "notes.html").read_text() == "<p>mine</p>"


def test_words_of_report_that_do_not_fit_are_refused(fails):
    comparison().save("one.npz")
    assert "--html FILE" in fails("report", "one.npz", "--step", 3)
    assert "once a file, got 2 for 1 files" in fails("report", "one.npz", "--html", "p.html", "--step", 3, "--step", 4)


def test_a_result_of_a_newer_version_is_refused(fails):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("repscope.comparison.FORMAT_VERSION", 99)
        comparison().save("new.npz")
    message = fails("report", "new.npz", "--html", "page.html")
    assert "format version" in message
    assert "pip install -U repscope" in message
