from __future__ import annotations

import dataclasses

import pytest

from repscope.studies.claims import Check, Claim
from repscope.studies.findings import Findings, Picture, Table
from repscope.studies.page import duration, render, summarised
from tests.studies.test_study import SETTINGS, study

RECORD = {
    "scale": "tiny",
    "command": "repscope reproduce example --scale tiny",
    "date": "2026-11-25",
    "settings": SETTINGS | {"recipe": {"rate": 0.5}},
    "data": {"digits": "0123456789abcdef"},
    "networks": [{"network": "Tiny-10", "seed": 0, "test accuracy": 0.5}],
    "seconds": {"training": 250.0},
    "versions": {"numpy": "2.0"},
    "device": "CPU",
    "warnings": ["too few", "too few"],
}


def example():
    """A study whose every scale has the settings of the record."""
    return dataclasses.replace(study(), settings=dict.fromkeys(("tiny", "small", "paper"), RECORD["settings"]))


@pytest.fixture
def page():
    findings = Findings(
        tables=[Table("Accuracy, %", ["index", "paper", "ours"], [["a|b", 99.3, None]], "A note.")],
        pictures=[Picture("figure-1", "All maps", None, None), Picture("figure-2", "Two", None, object())],
        claims=[Claim("It holds", "§1", (Check("it", 2, ">", 1),)), Claim("Who knows", "§2", untested="too small")],
        notes=["Mind this."],
    )
    return render(example(), findings, RECORD)


def test_the_page_says_everything(page):
    lines = page.splitlines()
    assert lines[0] == "# Is it so?"
    assert "| It holds | §1 | **holds** | it 2 > 1 |" in lines
    assert "| Who knows | §2 | **not tested at this scale** | too small |" in lines
    assert "holds: 1, not tested at this scale: 1" in lines
    assert "| a\\|b | 99.300 | – |" in lines
    assert "A note." in lines
    assert "- All of it." in lines
    assert "| widths | 2, 4 |" in lines
    assert "| recipe | rate = 0.5 |" in lines
    assert "| Tiny-10 | 0 | 0.500 |" in lines
    assert "- training: 4 min" in lines
    assert "- Data `digits`, fingerprint `0123456789abcdef`" in lines
    assert "- numpy 2.0" in lines
    assert lines.count("- too few") == 1
    assert "- Mind this." in lines
    assert "arxiv.org/abs/1905.00414" in page


def test_what_was_set_otherwise_is_said_beside_the_reductions(page):
    settings = RECORD["settings"] | {"networks": 7, "recipe": {"rate": 0.1}}
    changed = render(example(), Findings(), RECORD | {"settings": settings})
    said = "Set for this run: networks 7 in place of 3; recipe rate = 0.1 in place of rate = 0.5."
    assert f"- {said} What follows is said of the scale's own settings.\n- All of it." in changed
    assert "Set for this run" not in page


def test_figures_stand_beside_those_of_the_paper(page):
    assert "![All maps](figure-1.png)" in page
    assert "figure-1-paper.png" not in page
    assert "| ![The same in the paper](figure-2-paper.png) | ![Two](figure-2.png) |" in page


def test_every_row_of_a_table_has_as_many_cells(page):
    tables = [block.splitlines() for block in page.split("\n\n") if block.startswith("| ")]
    assert len(tables) >= 5
    for table in tables:
        counts = {line.replace("\\|", "").count("|") for line in table}
        assert len(counts) == 1, table


@pytest.mark.parametrize(("seconds", "text"), [(0.25, "0.25 s"), (99, "99 s"), (240, "4 min"), (7200, "2.0 h")])
def test_times_are_in_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text


def test_many_warnings_are_counted():
    assert summarised([f"w{i}" for i in range(9)]) == [
        "w0",
        "w1",
        "w2",
        "w3",
        "… and 5 more warnings of this kind, in the comparisons' files",
    ]
